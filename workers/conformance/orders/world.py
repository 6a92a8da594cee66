"""Single orders of a simulated market as a fleet would have them, each compared with the truth as it comes.

Two lines, Redis and processes are left to the tests of the role.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from workers.conformance.venues.market_world import MarketWorld, first_difference
from workers.conformance.venues.places import Place
from workers.conformance.venues.socket import ModelSocket
from workers.errors import MalformedFrame
from workers.model.events import Level
from workers.model.level3.checkpoint import decode_orders, encode_orders
from workers.model.level3.rules import Beginning
from workers.model.level3.sync import OrderSync
from workers.settings.signed import key_of
from workers.sim.engine.faults import Fault
from workers.store.keys import ORDERS, Keys
from workers.store.log.streams import RawEntry
from workers.venues.messages import Message
from workers.venues.session import Event

ASK_S: Final = 1.5
"""Pause before a seed, or the whole book, is asked for."""
LEVELS: Final = 50


class OrdersWorld(MarketWorld):
    """The single orders of one market of one exchange, followed; `symbol` is the one that suffers.

    Args:
        settings: of the venue, besides what every test has.
    """

    longest_s = 12.0

    def __init__(self, place: Place, **settings: Any) -> None:
        self.symbol = place.symbols[0]
        chosen = place.settings()
        chosen.orders = True
        for name, value in settings.items():
            setattr(chosen, name, value)
        super().__init__(
            f"{place.name}, orders", place, chosen, [self.symbol], levels_per_side=LEVELS, key=key_of(chosen)
        )
        assert self.venue.order_feed is not None
        self.feed = self.venue.order_feed
        self.sync = OrderSync(self.symbol, self.feed.rules)
        self._key = Keys().raw(self.symbol, ORDERS)
        self.stream = ""
        """What the exchange calls the stream of the orders, once it was heard."""
        self.entries = 0
        self.reasons: list[str] = []
        """For which the book left sync."""
        self.compares_level2 = self.feed.rules.beginning is Beginning.REST
        """Whether the best prices are held against those of the levels, as the role does."""
        self._ask_at_s, self._compared_at = 0.0, 0
        for endpoint in self.venue.endpoints([self.symbol]):
            if any(stream.channel == ORDERS for stream in endpoint.subscriptions):
                self.open(endpoint)

    @property
    def _simulated(self) -> Any:
        return self.listed(self.symbol)

    def frame(self, socket: ModelSocket, payload: bytes, stream: str) -> Iterable[Event]:
        """Take in a frame."""
        events = self.line.frame(payload, self.now_us, socket.session)
        if events is None:
            self.malformed += 1
            return ()
        if any(isinstance(event, Message) and event.channel == ORDERS for event in events) and stream:
            self.stream = stream
        return events

    def told_all(self) -> None:
        """The last frame of an event of the exchange has been taken in.

        Where its messages have ids, those of one moment are several events: the book is compared after all of them.
        """
        if not self.feed.by_id:
            self._compare_changed()

    def _compare_changed(self) -> None:
        """What brought nothing leaves the book as it was."""
        if self._compared_at != self.entries:
            self.compare()
        self._compared_at = self.entries

    def _append(self, entry: RawEntry) -> None:
        if entry.key != self._key:
            return
        self.entries += 1
        was_synced = self.sync.synced
        if entry.kind == "break":
            self.sync.lose("connection")
        else:
            try:
                message = self.feed.message(entry.data)
            except MalformedFrame:
                self.sync.lose("malformed message")
            else:
                if message is not None:
                    self.sync.on_message(message)
        self._note(was_synced=was_synced)

    def _note(self, *, was_synced: bool) -> None:
        if was_synced and not self.sync.synced:
            self.reasons.append(self.sync.reason)

    def _step(self) -> None:
        for socket in list(self.sockets):
            socket.tick()
            if socket.over:
                socket.end()
                self.sockets.remove(socket)
                self.line.ended(socket.session, self.now_us)
                self.open(socket.endpoint)
        self.line.tick(self.now_us)
        if self.feed.by_id:
            self._compare_changed()
        self._consider(self.exchange.now_ms / 1000)
        if self.sync.synced and self.sync.book.whole and self.compares_level2:
            bid, ask = self._best("bids"), self._best("asks")
            self.sync.on_level2_top(bid, ask, self.now_us)
            self._note(was_synced=True)

    def _best(self, side: str) -> Level | None:
        feed = self._simulated
        levels = feed.market.book.top(1)[0 if side == "bids" else 1]
        if not levels:
            return None
        return feed.spelling.price(levels[0][0]), feed.spelling.quantity(levels[0][1])

    def _consider(self, now_s: float) -> None:
        """Ask for all orders as their owner would: after a while, and paced."""
        if self.sync.synced or not self.sockets:
            self._ask_at_s = 0.0
        elif not self._ask_at_s:
            self._ask_at_s = now_s + ASK_S
        elif now_s >= self._ask_at_s:
            self._ask_at_s = now_s + ASK_S
            if self.feed.seed_request is None or self.feed.seed is None:
                for socket in self.sockets:
                    socket.streams.renew([(ORDERS, self.symbol)])
            elif self.sync.needs_seed:
                body = self.rest.get(self.feed.seed_request(self.symbol).url)
                if body is not None:
                    self.sync.on_seed(self.feed.seed(body))

    def fault(self, text: str, *, of_orders: bool = True) -> int:
        """Switch a fault on, of the stream of the orders alone if wanted; its number."""
        scope = f" market={self.place.market} symbol={self.symbol}"
        if of_orders:
            scope += f" stream={self.stream}"
        return self.exchange.set_fault(Fault.parse(text + scope)).number

    def wrong_ages(self, most_ms: int) -> list[str]:
        """The orders that have an age, and were placed longer before than so many ms."""
        placed_ms = self._simulated.truth_orders()["placed_ms"]
        return [
            order.order_id
            for side in self.sync.book.sides()
            for queue in side.from_best()
            for order in queue
            if order.placed_us >= 0
            and order.order_id in placed_ms  # else it is gone, which is told a moment later
            and not 0 <= order.placed_us / 1000 - placed_ms[order.order_id] <= most_ms
        ]

    def take_over(self) -> None:
        """Another owner goes on from the checkpoint."""
        self.sync, _ = decode_orders(encode_orders(self.sync, "0-0"), self.feed.rules)

    def start(self) -> None:
        """Let the book come into sync."""
        self.until("the book is in sync", lambda: self.sync.trusted)
        self.run(1.0)

    def back(self, longest_s: float | None = None) -> bool:
        """Let the book leave sync and come back."""
        before = self.sync.counts["syncs"]
        return self.until(
            "the book is in sync anew",
            lambda: self.sync.trusted and self.sync.counts["syncs"] > before,
            longest_s,
        )

    def compare(self) -> None:
        """Where the book stands at what the exchange told last, it has every order of it, in its place."""
        sync = self.sync
        if not sync.trusted:
            return
        truth = self._simulated.truth_orders()
        if sync.last_id != truth["event_id"]:
            return
        self.compared += 1
        for side, name in (("bid", "bids"), ("ask", "asks")):
            held = [
                (queue.price, order.quantity, order.order_id)
                for queue in sync.book.levels("bid" if side == "bid" else "ask")
                for order in queue
            ]
            if held != truth[name]:
                at = first_difference(held, truth[name])
                ours, really = held[at : at + 1], truth[name][at : at + 1]
                self.problem(
                    f"{side} {at + 1} is {ours}, really {really} (after {truth['event_id'] or 'an event'})."
                )

    def finish(self) -> None:
        """Unless something differs already, let the market go on in good order, stop it, and compare once more."""
        if self.problems:
            return
        self.remove()
        self.until("the book is in sync in the end", lambda: self.sync.trusted)
        self.run(1.0)
        self.stop()
        before = self.compared
        self.compare()
        self.expect(self.compared > before, "the book does not stand where the exchange does in the end.")
        self.sync.book.check()
