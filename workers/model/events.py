"""What every venue's messages become: depth events, snapshots and trades.

Prices and quantities stay the exchange's own text everywhere; times are exchange milliseconds.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Level = tuple[str, str]
"""A price level as sent: (price text, quantity text). A quantity of zero, in any spelling, deletes it."""


Kind = Literal["update", "snapshot", "restart", "break", "checksum"]
"""What an entry is to its stream: a change; a whole book; a whole book whose ids begin anew; the word that something is
missing here, so that a book ends until its next snapshot; or a checksum of the book as it stands."""


class DepthEvent(msgspec.Struct, gc=False):
    """One change of an order book: absolute quantities by price, with the ids that chain it."""

    symbol: str
    first_id: int
    """`U`: the first update id the event contains."""
    last_id: int
    """`u`: the last update id the event contains."""
    previous_id: int
    """`pu`: the last id of the event before it; -1 where the venue sends none (Binance spot)."""
    event_time: int
    """`E`, ms: when the exchange sent it."""
    transaction_time: int
    """`T`, ms: when the matching engine made it; 0 where the venue sends none."""
    bids: list[Level]
    asks: list[Level]
    kind: Kind = "update"
    checksum: int | None = None
    """What the venue says of the book after this event, where it does."""
    why: str = ""
    """Of a break: what the venue calls it, in a word; empty: a connection was lost."""


class Snapshot(msgspec.Struct, gc=False):
    """A full book as REST gave it."""

    symbol: str
    last_update_id: int
    """The id the book stands at; -1 for a symbol that never traded."""
    bids: list[Level]
    asks: list[Level]
    event_time: int = 0
    limit: int = 0
    """Levels asked for per side, 0: unknown. Of a side with far fewer see `order_book.whole_sides`."""
    partial: bool = False
    """Asked for to be compared only: of a few levels, so that it costs little."""


class BookTicker(msgspec.Struct, gc=False):
    """The best levels of a book, as the exchange says them apart from the book's own events."""

    symbol: str
    update_id: int
    """`u`: the id at which the exchange's book stood, of the same count as a depth event's."""
    bid: Level
    """A quantity of zero: the side is empty."""
    ask: Level
    event_time: int = 0
    """When the exchange sent it, ms; 0: it does not say."""


class Trade(msgspec.Struct, gc=False):
    """One aggregate trade (or one raw trade, where that is what the venue is asked for)."""

    symbol: str
    trade_id: int
    """`a` of an aggregate trade, `t` of a raw one: consecutive per symbol. Of a venue whose ids are not, what it says,
    and in the fold the log's number, which is (see `entries.trade_of`)."""
    price: str
    quantity: str
    first_trade_id: int
    last_trade_id: int
    trade_time: int
    event_time: int
    is_buyer_maker: bool
    is_market: bool = True
    """False for insurance-fund, ADL and other off-book fills, and absurd ones: its id counts, its volume does not."""
    is_absurd: bool = False
    """Its price or quantity is none a market makes (see `absurd`)."""
    name: str = ""
    """The venue's own id of it as text, where its ids are not consecutive."""
