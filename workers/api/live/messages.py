"""Everything a live client is sent, over WebSocket or SSE, as types; each message is encoded once for all clients."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from workers.api.http.alert_types import AlertEvent, AlertWithComment
from workers.api.http.analytics_types import AnalyticsEventRecord, AnalyticsFigures
from workers.api.http.order_types import OrderLevel
from workers.api.http.state_types import SymbolState
from workers.api.http.types import BarRecord, TradeRecord
from workers.model.events import Level

Channel = Literal["book", "trades", "bars", "stats", "status", "alerts", "orders", "analytics"]
Mode = Literal["snapshots", "diffs"]


class BookSnapshot(Struct, tag_field="channel", tag="book"):
    """The best levels of a book."""

    venue: str
    symbol: str
    u: int
    E: int
    b: list[Level]
    a: list[Level]
    known_low: str
    known_high: str
    type: Literal["snapshot"] = "snapshot"


class BookDiff(Struct, tag_field="channel", tag="book"):
    """What changed within the best levels since `prev_u`; quantity "0": no longer among them."""

    venue: str
    symbol: str
    prev_u: int
    u: int
    E: int
    b: list[Level]
    a: list[Level]
    known_low: str
    known_high: str
    type: Literal["diff"] = "diff"


class BookGone(Struct, tag_field="channel", tag="book"):
    """The book is withheld; what was sent of it is no longer true."""

    venue: str
    symbol: str
    state: str
    reason: str
    type: Literal["withheld"] = "withheld"


class Trades(Struct, tag_field="channel", tag="trades", omit_defaults=True):
    """Trades as they came in."""

    venue: str
    symbol: str
    trades: list[TradeRecord]
    repaired: bool = False
    """They are older than those sent before: both lines had missed them. Left out where they are not."""


class TradesMissing(Struct, tag_field="channel", tag="trades"):
    """Ids that jumped, and will not be sent; or where trades are missing of a venue that does not tell which."""

    venue: str
    symbol: str
    first: int
    last: int
    count: int | None
    """null: it is not known how many."""
    reason: str
    type: Literal["missing"] = "missing"


class Dropped(Struct):
    """Messages that a slow client did not get."""

    channel: Channel
    venue: str
    symbol: str
    count: int
    """Trades, or bars."""
    type: Literal["dropped"] = "dropped"


class Bar(Struct, tag_field="channel", tag="bars"):
    """A window that changed, or was closed."""

    venue: str
    symbol: str
    interval: str
    closed: bool
    bar: BarRecord


class Stats(Struct, tag_field="channel", tag="stats"):
    """The newest window of an interval."""

    venue: str
    symbol: str
    interval: str
    stats: BarRecord


class Status(Struct, tag_field="channel", tag="status"):
    """An element of `/status`."""

    venue: str
    symbol: str
    status: SymbolState


class OpenAlerts(Struct, tag_field="channel", tag="alerts"):
    """The alerts that are open now, of a market, its venue and the fleet."""

    venue: str
    symbol: str
    open: list[AlertWithComment]
    type: Literal["open"] = "open"


class AlertTold(Struct, tag_field="channel", tag="alerts"):
    """What became of an alert."""

    venue: str
    symbol: str
    told: AlertEvent
    type: Literal["event"] = "event"


class OrdersSnapshot(Struct, tag_field="channel", tag="orders"):
    """The best levels with the heads of their queues, as their owner published them; fields as of `/orders`."""

    venue: str
    symbol: str
    last_id: str
    last_number: int
    event_us: int
    synced_at_us: int
    is_whole: bool
    orders_count: int
    bids: list[OrderLevel]
    asks: list[OrderLevel]
    type: Literal["snapshot"] = "snapshot"


class OrdersGone(Struct, tag_field="channel", tag="orders"):
    """The orders are withheld; what was sent of them is no longer true."""

    venue: str
    symbol: str
    state: str
    reason: str
    type: Literal["withheld"] = "withheld"


class FiguresNow(Struct, tag_field="channel", tag="analytics"):
    """What is computed of a symbol now, as `/analytics` tells it."""

    venue: str
    symbol: str
    owner: str | None
    """null: nobody computes, and the figures are old."""
    figures: AnalyticsFigures | None
    type: Literal["figures"] = "figures"


class FiguresGone(Struct, tag_field="channel", tag="analytics"):
    """The figures cannot be read; what was sent of them may be old."""

    venue: str
    symbol: str
    state: str
    reason: str
    type: Literal["withheld"] = "withheld"


class AnalyticsTold(Struct, tag_field="channel", tag="analytics"):
    """A wall, iceberg or flicker that was told."""

    venue: str
    symbol: str
    event: AnalyticsEventRecord
    type: Literal["event"] = "event"


encode = msgspec.json.Encoder().encode
