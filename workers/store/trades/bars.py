"""Reading trade windows: closed ones from `bars:{S}:<interval>`, the newest from `stats:{S}:<interval>`.

A revision of a window stands after the last entry, wherever that is, so a range can only be read truly by looking at
everything after it. The first question about a stream pays for that; afterwards only what is new is looked at.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from redis.asyncio import Redis

from workers.errors import StateUnreadable
from workers.model.trades.windows import INTERVALS_MS
from workers.store.books.shown import text_of
from workers.store.keys import Keys
from workers.store.replies import unusable

PAGE = 500
"""Entries read at once: about 2 ms of the server's time."""

LEAST = 50
"""Entries read at once when few are wanted: revisions of older windows may stand between them."""

Fields = Mapping[str, str]
_COUNTED = (b"start", b"revision")
_WHOLE: Final = re.compile(rb"-?[0-9]{1,17}")
_DECIMAL: Final = re.compile(rb"[0-9]+(?:\.[0-9]+)?")
_SHAPES: Final = {
    **dict.fromkeys((b"start", b"revision", b"last_update_time", b"is_buyer_maker_count"), _WHOLE),
    **dict.fromkeys((b"trades_count", b"skipped_count", b"first_trade_id", b"last_trade_id"), _WHOLE),
    **dict.fromkeys((b"first_agg_trade_id", b"last_agg_trade_id", b"complete"), _WHOLE),
    **dict.fromkeys((b"open_price", b"high_price", b"low_price", b"close_price"), _DECIMAL),
    **dict.fromkeys((b"volume", b"quote_volume", b"buy_volume"), _DECIMAL),
}
"""What the fields of a window look like."""


class _Revisions:
    """What was seen so far of one stream that does not stand at its window's start, newest per window.

    Revisions, windows that only late trades made known, and bars that follow somebody else's entry with a later id.
    """

    def __init__(self) -> None:
        self.by_start: dict[int, Fields] = {}
        self.seen_from = ""
        """The oldest id looked at; empty: nothing yet."""
        self.seen_to = ""


class BarReader:
    """The windows of one venue's symbols.

    Memory: the revisions of each stream asked for, a few in a day.
    """

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client: Any = client
        self._keys = keys
        self._revisions: dict[str, _Revisions] = {}

    async def newest(
        self, symbol: str, interval: str, limit: int, before_ms: int | None = None
    ) -> list[Fields]:
        """The last `limit` closed windows, oldest first, each in its last revision.

        Args:
            before_ms: only those that start earlier; their revisions may stand later.
        """
        key = self._keys.bars(symbol, interval)
        newest: dict[int, Fields] = {}
        end, complete_from, size = "+", 0, max(limit, LEAST)
        if before_ms is not None:
            end = str(max(0, before_ms - 1))
        while True:
            found = await self._client.xrevrange(key, max=end, count=size)
            for _, raw in found:
                if _is_window(raw):
                    fields = text_of(raw)
                    newest.setdefault(int(fields["start"]), fields)
            if len(found) < size:
                complete_from = 0  # all was read
            else:
                ms, sequence = map(int, found[-1][0].split(b"-"))
                complete_from = ms if sequence == 0 else ms + 1
                end = f"({found[-1][0].decode()}"
            if sum(start >= complete_from for start in newest) >= limit or len(found) < size:
                break
        if before_ms is not None:
            for start, revised in (await self._revised(key, complete_from)).items():
                if _newer(revised, newest.get(start)):
                    newest[start] = revised
        before = math.inf if before_ms is None else before_ms
        starts = sorted(start for start in newest if complete_from <= start < before)
        return [newest[start] for start in starts[-limit:]]

    async def oldest_ms(self, symbol: str, interval: str) -> int | None:
        """From which start on windows are held, ms. One round trip."""
        found = await self._client.xrange(self._keys.bars(symbol, interval), count=1)
        return int(found[0][0].partition(b"-")[0]) if found else None

    async def between(self, symbol: str, interval: str, from_ms: int, to_ms: int, limit: int) -> list[Fields]:
        """At most `limit` closed windows with `from_ms <= start < to_ms`, oldest first, each in its last revision."""
        key = self._keys.bars(symbol, interval)
        found: dict[int, Fields] = {}
        after = str(from_ms)
        while len(found) <= limit:  # the revision that proves a window stands right before the next one
            page = await self._client.xrange(key, min=after, max=f"({to_ms}", count=PAGE)
            for _, raw in page:
                if _is_window(raw) and from_ms <= (start := int(raw[b"start"])) < to_ms:
                    found[start] = text_of(raw)
            if len(page) < PAGE:
                break
            after = f"({page[-1][0].decode()}"
        starts = sorted(found)[:limit]
        last = starts[-1] if len(starts) == limit and starts else to_ms - 1
        revisions = await self._revised(key, from_ms)
        for start, revised in revisions.items():
            if from_ms <= start <= last and _newer(revised, found.get(start)):
                found[start] = revised
        return [found[start] for start in sorted(found)[:limit]]

    async def _revised(self, key: str, from_ms: int) -> Mapping[int, Fields]:
        """Every revision that stands after a time. Cost: what was not looked at before."""
        known = self._revisions.setdefault(key, _Revisions())
        start = f"{from_ms}-0"
        if not known.seen_from:
            known.seen_from = start
        elif from_ms < int(known.seen_from.split("-")[0]):
            await self._look(key, known, start, f"({known.seen_from}")
            known.seen_from = start
        after = f"({known.seen_to}" if known.seen_to else known.seen_from
        known.seen_to = await self._look(key, known, after, "+") or known.seen_to
        return known.by_start

    async def _look(self, key: str, known: _Revisions, after: str, end: str) -> str:
        """Note the revisions between two ids; the last id seen of those up to `+`, or empty.

        Not those that stand among the entries of their own time: a reading of that time meets them.
        """
        last = ""
        while page := await self._client.xrange(key, min=after, max=end, count=PAGE):
            for entry_id, raw in page:
                away = not entry_id.startswith(raw.get(b"start", b"") + b"-")
                if away and _is_window(raw):
                    fields = text_of(raw)
                    if _newer(fields, known.by_start.get(int(fields["start"]))):
                        known.by_start[int(fields["start"])] = fields
                last = entry_id.decode()
            after = f"({last}"
        return last if end == "+" else ""

    async def open_windows(self, symbol: str, intervals: Sequence[str]) -> dict[str, Fields]:
        """The newest window of each interval that has one; one round trip.

        Raises:
            StateUnreadable: a hash holds something else.
        """
        pipe = self._client.pipeline(transaction=False)
        keys = [self._keys.stats(symbol, interval) for interval in intervals]
        for key in keys:
            pipe.hgetall(key)
        found = dict[str, Fields]()
        for interval, key, fields in zip(
            intervals, keys, await pipe.execute(raise_on_error=False), strict=True
        ):
            if (problem := unusable(key, fields)) is not None:
                raise problem
            if fields and not all(shape.fullmatch(fields.get(name, b"")) for name, shape in _SHAPES.items()):
                raise StateUnreadable(key, "it holds what is no window")
            if fields:
                found[interval] = text_of(fields)
        return found


def _is_window(raw: Mapping[bytes, bytes]) -> bool:
    """Whether an entry is one of ours: what others wrote into the stream is passed over."""
    return all(raw.get(name, b"").isdigit() for name in _COUNTED)


def _newer(fields: Fields, than: Fields | None) -> bool:
    return than is None or int(fields["revision"]) >= int(than["revision"])


def interval_ms(interval: str) -> int:
    """The length of a window."""
    return INTERVALS_MS[interval]
