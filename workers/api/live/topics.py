"""What can be subscribed to: one topic per channel, market and variant, whose messages all its subscribers share."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import structlog
from prometheus_client import Counter

from workers.api.books.live import LiveBooks
from workers.api.books.replica import Withheld
from workers.api.http.markets import Market
from workers.api.http.routes.trades import bar_record
from workers.api.http.state_types import SymbolState
from workers.api.http.types import TradeRecord
from workers.api.live import messages
from workers.api.live.messages import Channel, encode
from workers.api.live.outlet import Outlet, Source
from workers.errors import WireError
from workers.model.events import Level, Trade
from workers.model.trades.numbering import is_room
from workers.store.books.shown import text_of
from workers.store.books.watch import Entry
from workers.store.log.follower import entry_id
from workers.store.log.streams import Delivered, delivered, parts
from workers.venues.entries import is_break, number_of, trade_of

log = structlog.get_logger()

UNREADABLE = Counter("fleet_api_bar_unreadable_total", "Entries of bar streams that are no bars", ["venue"])
HOLES = Counter("fleet_api_trade_holes_total", "Jumps of trade ids in what live clients are sent", ["venue"])

HOLE_PATIENCE_S: Final = 60.0
"""How long the fold may take to fill a hole before live clients are told that it is one."""
MOST_HOLES: Final = 100
"""Holes of one market that wait to be filled."""
MOST_IN_MESSAGE: Final = 500
"""Repaired trades in one message."""

CONNECTION: Final = "connection"
"""Why trades are missing of a venue whose ids do not tell which."""
PATIENCE_S = 1.0
"""How long a new book topic waits for its book before it says that there is none."""
_WARMING = ("unknown", "rebuilding")


class Topic:
    """Something to subscribe to.

    `subscribers` maps each client to what it needs remembered of it.
    """

    channel: Channel

    def __init__(self, market: Market) -> None:
        self.market = market
        self.source = Source(self.channel, market.venue, market.symbol)
        self.subscribers: dict[Outlet, object] = {}

    def join(self, outlet: Outlet) -> None:
        """A client subscribes."""
        self.subscribers[outlet] = None

    def leave(self, outlet: Outlet) -> None:
        """A client is gone, or does not want it any more."""
        self.subscribers.pop(outlet, None)
        outlet.withdraw(self)

    def tell(self, message: bytes, count: int = 1) -> None:
        """Send a message that no later one replaces; `count`: how many things it tells."""
        for outlet in self.subscribers:
            outlet.put(self.source, message, count)


class NewestTopic(Topic):
    """One of which clients need the newest message alone."""

    def __init__(self, market: Market) -> None:
        super().__init__(market)
        self._message = b""
        """Empty while there is none."""

    def join(self, outlet: Outlet) -> None:
        """A client subscribes: it gets what the others have."""
        super().join(outlet)
        if self._message:
            outlet.put_latest(self, self.channel, self._message)

    def show(self, message: bytes) -> None:
        """Send a message in place of the last."""
        self._message = message
        for outlet in self.subscribers:
            outlet.put_latest(self, self.channel, message)


class _Shown(NamedTuple):
    """What was published last of a book."""

    place: tuple[int, int]
    """The replica's generation, and the update id."""
    event_time: int
    bids: list[Level]
    asks: list[Level]
    known: tuple[str, str]


class BookTopic(Topic):
    """The best `depth` levels of a book, as snapshots or as a chain of differences.

    A client that is slow gets the newest state next: in a chain that is a snapshot, from which the chain goes on.
    """

    channel: Channel = "book"

    def __init__(self, market: Market, books: LiveBooks, depth: int, *, diffs: bool, publish_ms: int) -> None:
        super().__init__(market)
        self._books = books
        self._depth = depth
        self._diffs = diffs
        self._pause_s = publish_ms / 1000
        self._due = 0.0
        self._since = time.monotonic()
        self._shown: _Shown | None = None
        self._gone: Withheld | None = None
        self._snapshot = b""
        """The message of what is shown, once somebody needed it."""

    def join(self, outlet: Outlet) -> None:
        """A client subscribes: it gets the state the others have."""
        super().join(outlet)
        if self._shown is not None:
            self._send_snapshot(outlet)
        elif self._gone is not None:
            outlet.put_latest(self, self.channel, self._gone_message(self._gone))

    def publish(self, now: float) -> None:
        """Send what is new, if it is time (monotonic seconds)."""
        replica = self._books.replica(self.market)
        why = self._books.withheld(replica)
        if why is not None:
            self._withhold(why, now)
            return
        place = (replica.generation, replica.last_update_id)
        if now < self._due or (self._shown is not None and self._shown.place == place):
            return
        self._due = now + self._pause_s
        bids, asks = replica.top(self._depth)
        known = replica.book.known_low, replica.book.known_high
        before, self._gone, self._snapshot = self._shown, None, b""
        self._shown = _Shown(place, replica.event_time, bids, asks, known)
        diff = b""
        for outlet, had in self.subscribers.items():
            follows = before is not None and had == before.place and had[0] == place[0]
            if self._diffs and follows and not outlet.waiting(self):
                diff = diff or self._difference(before, self._shown)
                outlet.put_latest(self, self.channel, diff)
                self.subscribers[outlet] = place
            else:
                self._send_snapshot(outlet)

    def _send_snapshot(self, outlet: Outlet) -> None:
        shown = self._shown
        assert shown is not None
        self._snapshot = self._snapshot or encode(
            messages.BookSnapshot(
                self.market.venue,
                self.market.symbol,
                shown.place[1],
                shown.event_time,
                shown.bids,
                shown.asks,
                *shown.known,
            )
        )
        outlet.put_latest(self, self.channel, self._snapshot)
        self.subscribers[outlet] = shown.place

    def _difference(self, before: _Shown | None, shown: _Shown) -> bytes:
        assert before is not None
        return encode(
            messages.BookDiff(
                self.market.venue,
                self.market.symbol,
                before.place[1],
                shown.place[1],
                shown.event_time,
                changes(before.bids, shown.bids),
                changes(before.asks, shown.asks),
                *shown.known,
            )
        )

    def _withhold(self, why: Withheld, now: float) -> None:
        new = self._shown is None and self._gone is None
        if why == self._gone or (new and why.state in _WARMING and now - self._since < PATIENCE_S):
            return
        self._gone, self._shown, self._snapshot = why, None, b""
        message = self._gone_message(why)
        for outlet in self.subscribers:
            outlet.put_latest(self, self.channel, message)
            self.subscribers[outlet] = None

    def _gone_message(self, why: Withheld) -> bytes:
        return encode(messages.BookGone(self.market.venue, self.market.symbol, why.state, why.reason))


def changes(before: Sequence[Level], now: Sequence[Level]) -> list[Level]:
    """What makes the levels `now` of those `before`; quantity "0" takes one away. O(n).

    What goes comes before what is set: of a level that is only spelled anew (`1.0`, then `1.00`) the old text goes
    first, so that a client ends up right whether it finds levels by text or by number.
    """
    held = dict(before)
    made = [level for level in now if held.pop(level[0], None) != level[1]]
    return [(price, "0") for price in held] + made


class Hole(NamedTuple):
    """Trades the raw stream does not have: ids `first` to `last`, traded between their neighbours' times."""

    first: int
    last: int
    from_ms: int
    to_ms: int
    deadline: float
    """Until when the fold may fill it (monotonic seconds)."""

    is_room: bool = False
    """Whether the log left these numbers free for what REST may have of a break, so that none need be a trade."""

    @property
    def size(self) -> int:
        """How many ids."""
        return self.last - self.first + 1


class TradesTopic(Topic):
    """The trades of a market, as its raw stream brings them, and afterwards those that a repair brings.

    Args:
        after: id of the entry of the raw stream after which it begins; its sequence number is a trade's id.
    """

    channel: Channel = "trades"

    def __init__(self, market: Market, after: bytes = b"0-0") -> None:
        super().__init__(market)
        ms, trade_id = entry_id(after)
        self._last_ms = ms
        self.last_id = trade_id if ms else -1
        """The newest trade that came, of the market or not; those after it are still to be sent. -1: none yet."""
        self.holes: deque[Hole] = deque()
        """Not yet filled, the oldest first."""

    def take(self, entries: Sequence[Entry]) -> None:
        """Send entries of the raw stream on; O(entries)."""
        venue = self.market.context.venue
        trades: list[Trade] = []
        for entry in delivered(entries):
            if is_break(entry):
                self._send(trades)
                trades = []
                self._break(entry)
                continue
            try:
                trade = trade_of(venue, self.market.symbol, entry)
            except WireError:
                continue  # the trades fold counts and logs it; if it was a trade, its id is a hole now
            if 0 <= self.last_id < trade.trade_id - 1:
                self._open_hole(trade.trade_id, trade.trade_time)
            elif trade.trade_id <= self.last_id:
                self._begin_anew()
            self.last_id, self._last_ms = trade.trade_id, trade.trade_time
            if trade.is_market:
                trades.append(trade)
        self._send(trades)

    def _break(self, entry: Delivered) -> None:
        """Something is missing at this place of the log, of a venue whose ids do not tell what."""
        number = number_of(entry)
        if self.market.context.venue.facts.trade_ids == "consecutive" or number <= self.last_id:
            return
        if 0 <= self.last_id < number - 1:
            self._open_hole(number, parts(entry.stream_id)[0])
        self.last_id = number
        self.tell_missing(number, number, CONNECTION, is_counted=False)

    def _begin_anew(self) -> None:
        """The ids fall: what was still to be filled belongs to a life of the symbol that is over."""
        while self.holes:
            self._give_up("the exchange began its ids anew")

    def _give_up(self, reason: str) -> None:
        lost = self.holes.popleft()
        if not lost.is_room:
            self.tell_missing(lost.first, lost.last, reason)

    def _open_hole(self, number: int, time_ms: int) -> None:
        """Ids up to the one before a number did not come."""
        HOLES.labels(self.market.venue).inc()
        if len(self.holes) == MOST_HOLES:
            self._give_up(f"more than {MOST_HOLES} holes at once")
        from_ms, to_ms = sorted((self._last_ms, time_ms))
        deadline = time.monotonic() + HOLE_PATIENCE_S
        consecutive = self.market.context.venue.facts.trade_ids == "consecutive"
        room = not consecutive and is_room(self.last_id + 1, number - 1)
        self.holes.append(Hole(self.last_id + 1, number - 1, from_ms, to_ms, deadline, room))

    def send_repaired(self, trades: Sequence[Trade]) -> None:
        """Send trades of a hole, in the order of their ids."""
        for first in range(0, len(trades), MOST_IN_MESSAGE):
            self._send(trades[first : first + MOST_IN_MESSAGE], repaired=True)

    def _send(self, trades: Sequence[Trade], *, repaired: bool = False) -> None:
        if not trades:
            return
        records = [
            TradeRecord(
                trade.trade_id,
                trade.price,
                trade.quantity,
                trade.trade_time,
                trade.is_buyer_maker,
                trade.first_trade_id,
                trade.last_trade_id,
                trade.name,
            )
            for trade in trades
        ]
        self.tell(
            encode(messages.Trades(self.market.venue, self.market.symbol, records, repaired)), len(records)
        )

    def tell_missing(self, first: int, last: int, reason: str, *, is_counted: bool = True) -> None:
        """Say that ids will not be sent; not counted: nobody knows how many trades that are."""
        count = last - first + 1 if is_counted else None
        message = encode(
            messages.TradesMissing(self.market.venue, self.market.symbol, first, last, count, reason)
        )
        self.tell(message, count or 1)


class WindowTopic(NewestTopic):
    """The newest window of an interval: `stats` as it changes, `bars` also each time one is closed."""

    def __init__(self, channel: Channel, market: Market, interval: str) -> None:
        self.channel = channel
        super().__init__(market)
        self.interval = interval
        self._newest: Mapping[str, str] = {}

    def changed(self, fields: Mapping[str, str]) -> None:
        """Take what `stats:{S}:*` holds now; send it if it is new."""
        if not fields or fields == self._newest:
            return
        self._newest = fields
        if self.channel == "bars" and fields.get("closed") == "1":
            return  # its bar comes by the stream
        if message := self._encoded(fields, "the newest"):
            self.show(message)

    def take(self, entries: Sequence[Entry]) -> None:
        """Send closed windows on."""
        for stream_id, raw in entries:
            fields = text_of(raw)
            message = self._encoded(fields, stream_id.decode())
            if not message:
                continue
            self.tell(message)
            if self._newest.get("start") == fields["start"]:
                self._message = b""
                for outlet in self.subscribers:
                    outlet.withdraw(self)  # the open window is over

    def _encoded(self, fields: Mapping[str, str], place: str) -> bytes:
        """The message of a window; of what is none nothing, which is counted."""
        try:
            bar = bar_record(fields, self.interval, numbers=False)
        except (KeyError, ValueError) as error:
            UNREADABLE.labels(self.market.venue).inc()
            log.warning("api_bar_unreadable", market=str(self.market), id=place, error=repr(error))
            return b""
        venue, symbol = self.market.venue, self.market.symbol
        if self.channel == "stats":
            return encode(messages.Stats(venue, symbol, self.interval, bar))
        return encode(messages.Bar(venue, symbol, self.interval, bar.closed, bar))


class StatusTopic(NewestTopic):
    """The state of a market, as `/status` tells it."""

    channel: Channel = "status"

    def read(self, state: SymbolState) -> None:
        """Send a state."""
        self.show(encode(messages.Status(self.market.venue, self.market.symbol, state)))
