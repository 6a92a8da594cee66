"""Reading what the fleet says of a symbol, for status displays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypedDict

from workers.store.books import GROUP as BOOKS
from workers.store.keys import DEPTH, TRADES, Keys
from workers.store.streams import GroupReader


class GroupLag(TypedDict):
    """How far a consumer group is behind: entries not yet delivered, entries not yet acknowledged."""

    waiting: int
    pending: int


class SymbolStatus(TypedDict):
    """The status hash of the book, the open 100 ms window, the trades state, and the groups' lag."""

    book: dict[str, str]
    shown: bool
    stats: dict[str, str]
    trades: dict[str, str]
    info: dict[str, str]
    depth_group: GroupLag
    trades_group: GroupLag


_TRADES_STATE = (
    "last_id",
    "last_trade_time",
    "applied_count",
    "repeated_count",
    "missing_count",
    "late_count",
    "not_market_count",
)


def _decoded(found: dict[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in found.items()}


class ShownBook(NamedTuple):
    """Whether a book may be used now, and what is shown of it."""

    payload: bytes | None
    """The field in `LIVE_ORDERBOOK`; None: withheld."""
    state: str
    """Where it may not be used: why; else as in `book:{S}:status`."""
    reason: str
    is_shown: bool
    """There is a payload, and a worker that would take it back."""


NOT_OWNED = ("not owned", "no worker holds its lease; the fleet may have stopped")


async def shown_books(client: Any, symbols: Sequence[tuple[Keys, str]]) -> list[ShownBook]:
    """What is shown of books, each as the keys of its venue and its symbol. Cost: one round trip, 3 commands a book."""
    if not symbols:
        return []
    pipe = client.pipeline(transaction=False)
    for keys, symbol in symbols:
        pipe.hget(keys.live_orderbook, symbol)
        pipe.hmget(keys.book_status(symbol), "state", "reason")
        pipe.exists(keys.lease(BOOKS, symbol))
    replies = iter(await pipe.execute())
    found = []
    for payload, told, owned in zip(replies, replies, replies, strict=True):
        state, reason = ((value or b"").decode() for value in told)
        if not owned:
            state, reason = NOT_OWNED
        found.append(ShownBook(payload, state or "unknown", reason, payload is not None and bool(owned)))
    return found


async def symbol_status(client: Any, keys: Keys, symbol: str) -> SymbolStatus:
    """Everything a status display shows of one symbol. Cost: one round trip and two more for the groups."""
    pipe = client.pipeline(transaction=False)
    pipe.hgetall(keys.book_status(symbol))
    pipe.hexists(keys.live_orderbook, symbol)
    pipe.hgetall(keys.stats(symbol, "100ms"))
    pipe.hmget(keys.trades_state(symbol), *_TRADES_STATE)
    pipe.hgetall(keys.symbol_info(symbol))
    book, shown, stats, trades, info = await pipe.execute()
    lags = []
    for group, channel in (("books", DEPTH), ("trades", TRADES)):
        waiting, pending = await GroupReader(client, group).lag(keys.raw(symbol, channel))
        lags.append(GroupLag(waiting=waiting, pending=pending))
    return SymbolStatus(
        book=_decoded(book),
        shown=bool(shown),
        stats=_decoded(stats),
        trades={
            name: value.decode()
            for name, value in zip(_TRADES_STATE, trades, strict=True)
            if value is not None
        },
        info=_decoded(info),
        depth_group=lags[0],
        trades_group=lags[1],
    )
