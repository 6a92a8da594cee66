"""The figures and events of a symbol as whoever likes reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import Struct
from redis.asyncio import Redis

from workers.errors import StateUnreadable
from workers.model.analytics.events import AnalyticsEvent
from workers.model.books.order_book import Side
from workers.model.stored_json import decoder_of
from workers.store.keys import ANALYTICS_GROUP, Keys
from workers.store.replies import unusable

_events = decoder_of(list[AnalyticsEvent])


class WallNow(Struct, array_like=True):
    """A wall that stands; `ratio`: its quantity by that of the levels around it; `orders`: how many it is made of,
    None where that is not known."""

    side: Side
    price: float
    quantity: float
    ratio: float
    orders: int | None = None


class IcebergNow(Struct, array_like=True):
    """A level that seems to hold an iceberg: the estimate of what is hidden, and how sure it is (0 … 1); of level 3 the
    order that shows its part, or showed the last one."""

    side: Side
    price: float
    hidden: float
    confidence: float
    order_id: str = ""


class Figures(Struct, kw_only=True):
    """The hash `analytics:{S}`: None where there is no such figure now; withheld: all but `vwap`.

    level: what icebergs and flicker are inferred from: 3, single orders, or 2, levels and trades.
    window_ms: what figures of a window reach back. event_time: exchange ms of the newest top or trade. told_ms: when it
    was written, ms by the server's clock.
    """

    state: Literal["shown", "withheld"]
    event_time: int
    told_ms: int
    window_ms: int
    level: Literal[2, 3] = 2
    spread: float | None = None
    spread_bps: float | None = None
    mid: float | None = None
    microprice: float | None = None
    depth_imbalance: float | None = None
    order_flow_imbalance: float | None = None
    liquidity: float | None = None
    volatility: float | None = None
    vwap: float | None = None
    quote_bid: float | None = None
    quote_ask: float | None = None
    reservation: float | None = None
    walls: list[WallNow] | None = None
    icebergs: list[IcebergNow] | None = None


class AnalyticsNow(NamedTuple):
    """What is told of a symbol now.

    owner: the worker that computes; empty: nobody does, and `figures` are old. figures: None: there never were any.
    """

    owner: str
    figures: Figures | None


class AnalyticsReader:
    """The analytics of one venue."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client: Any = client
        self._keys = keys

    async def now(self, symbol: str) -> AnalyticsNow:
        """One round trip. Raises: StateUnreadable, if the hash has what no owner writes."""
        [found] = await analytics_now(self._client, [(self._keys, symbol)])
        if isinstance(found, StateUnreadable):
            raise found
        return found

    async def newest(self, symbol: str, count: int) -> list[AnalyticsEvent]:
        """The newest events, newest first: at most `count`. One round trip: each entry has at least one."""
        key = self._keys.analytics_events(symbol)
        entries = await self._client.xrevrange(key, count=count) if count else []
        return events_of(entries)[:count]


async def analytics_now(
    client: Redis, symbols: Sequence[tuple[Keys, str]]
) -> list[AnalyticsNow | StateUnreadable]:
    """What is told of several symbols now, or which hash has what no owner writes. One round trip."""
    pipe: Any = client.pipeline(transaction=False)
    for keys, symbol in symbols:
        pipe.hgetall(keys.analytics(symbol))
        pipe.hget(keys.lease(ANALYTICS_GROUP, symbol), "owner")
    replies = await pipe.execute(raise_on_error=False)
    found: list[AnalyticsNow | StateUnreadable] = []
    for (keys, symbol), fields, owner in zip(symbols, replies[::2], replies[1::2], strict=True):
        key = keys.analytics(symbol)
        named = owner.decode(errors="replace") if isinstance(owner, bytes) else ""
        try:
            found.append(unusable(key, fields) or AnalyticsNow(named, figures_of(key, fields)))
        except StateUnreadable as error:
            found.append(error)
    return found


def figures_of(key: str, fields: dict[bytes, bytes]) -> Figures | None:
    """The fields of the hash; None: it is not there. Raises: StateUnreadable."""
    if not fields:
        return None
    try:
        values: dict[str, Any] = {name.decode(): value.decode() for name, value in fields.items() if value}
        for name in ("walls", "icebergs"):
            if name in values:
                values[name] = msgspec.json.decode(values[name])
        return msgspec.convert(values, Figures, strict=False)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise StateUnreadable(key, str(error).rstrip(".")) from error


def events_of(entries: Sequence[Any]) -> list[AnalyticsEvent]:
    """Of entries, newest first, the events, newest first; what others wrote among them is left out."""
    return [event for _, fields in entries for event in reversed(events_in(fields))]


def events_in(fields: Mapping[bytes, bytes]) -> list[AnalyticsEvent]:
    """The events of one entry, oldest first; none, if it is none of ours."""
    try:
        return _events(fields.get(b"data", b""))
    except msgspec.MsgspecError:
        return []
