"""Reading what the fleet says of a symbol, for status displays."""

from __future__ import annotations

from typing import Any, TypedDict

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
