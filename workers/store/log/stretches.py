"""Stretches of a raw trade stream that no line received: what the log has around them, and what was claimed of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
from redis.asyncio import Redis

from workers.model.events import Trade
from workers.store.keys import Keys
from workers.store.log.streams import Delivered, delivered
from workers.store.scripts import Argument, Scripts
from workers.store.trades.batch import entry_ms

KEPT_MS: Final = 86_400_000
"""For how long a claim is kept whose trades were not applied to the end: longer than any takeover takes."""
PAGE: Final = 1_000
PAGES: Final = 20
NEIGHBOURS: Final = 10
"""Entries among which a trade is looked for on either side."""

_since = msgspec.json.Decoder(dict[str, int])
_trade = msgspec.json.Decoder(Trade)


class Surroundings(NamedTuple):
    """Entries around a break that are no breaks, in their order."""

    earlier: list[Delivered]
    """Back to the first whose event was when the lines still received the trades."""
    later: list[Delivered]


class Claimed(NamedTuple):
    """Trades of a stretch that are the fold's alone."""

    number: int
    """That of the break in the log."""
    is_whole: bool
    """Whether no other trade of the stretch is missing."""
    trades: list[Trade]


class Stretches:
    """The stretches of one venue's symbols.

    Args:
        client: may retry: a claim is made once.
    """

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client: Any = client
        self._keys = keys
        self._scripts = Scripts(client)

    async def around(self, key: str, stream_id: bytes, slack_ms: int) -> Surroundings | None:
        """What the log has around a break; None: its entry is gone, or it lies too far behind its beginning.

        Args:
            slack_ms: how much later than its events the time may be from which on trades are missing.

        Cost: three round trips, and one for each further 1,000 entries between the beginning and the break.
        """
        entries = delivered(await self._client.xrange(key, stream_id, stream_id))
        if not entries:
            return None
        since_ms = _since_ms(entries[0].data) - slack_ms
        later = delivered(await self._client.xrange(key, b"(" + stream_id, count=NEIGHBOURS))
        earlier: list[Delivered] = []
        until, count = stream_id, NEIGHBOURS
        for _ in range(PAGES):
            page = delivered(await self._client.xrevrange(key, b"(" + until, count=count))
            earlier += (entry for entry in page if entry.kind != "break")
            if len(page) < count or since_ms <= 0 or entry_ms(page[-1].stream_id) < since_ms:
                break
            until, count = page[-1].stream_id, PAGE
        else:
            return None
        following = [entry for entry in later if entry.kind != "break"]
        return Surroundings(_from_last_before(earlier, since_ms)[::-1], following)

    async def claim(
        self, symbol: str, number: int, trades: Sequence[Trade], *, is_whole: bool
    ) -> Claimed | None:
        """Claim those trades of a stretch that the log does not have; what was claimed of it before stays.

        None: a later stretch has been claimed already. Cost: one round trip (see `lua/trades/claim_trades.lua`).
        """
        flat: list[Argument] = []
        for trade in trades:
            flat += (trade.name, trade.trade_time, msgspec.json.encode(trade))
        names, claimed = self._keys.raw_names(symbol), self._keys.raw_claimed(symbol)
        arguments: list[Argument] = [number, KEPT_MS, int(is_whole), *flat]
        return _claimed(await self._scripts.run("trades/claim_trades", [names, claimed], arguments))

    async def claimed(self, symbol: str) -> Claimed | None:
        """What was claimed last, unless it has been applied."""
        return _claimed(await self._client.get(self._keys.raw_claimed(symbol)))

    async def forget(self, symbol: str) -> None:
        """All that was claimed has been applied."""
        await self._client.delete(self._keys.raw_claimed(symbol))


def _claimed(text: bytes | None) -> Claimed | None:
    if not text:
        return None
    number, is_whole, *rows = text.split(b"\n")
    return Claimed(int(number), is_whole == b"1", [_trade.decode(row) for row in rows])


def _since_ms(data: bytes) -> int:
    """Since when trades are missing, ms; 0: nobody knows."""
    try:
        return _since.decode(data).get("since", 0) if data else 0
    except msgspec.MsgspecError:
        return 0


def _from_last_before(newest_first: list[Delivered], since_ms: int) -> list[Delivered]:
    """Up to the first entry that is older than a time; where none is known, the newest alone."""
    if since_ms <= 0:
        return newest_first[:1]
    for place, entry in enumerate(newest_first):
        if entry_ms(entry.stream_id) < since_ms:
            return newest_first[: place + 1]
    return newest_first
