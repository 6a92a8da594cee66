"""A simulated market, its books and trades as a fleet would have them, compared with the truth as they come.

What a fleet has besides (two lines, Redis, processes, REST) is the fleet level's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from workers.books.whole_books import FIRST_S, PACE_MS
from workers.conformance.venues.books import VenueBook, VenueTrades
from workers.conformance.venues.market_world import STEP_MS, MarketWorld, first_difference
from workers.conformance.venues.needs import in_band
from workers.conformance.venues.places import Place
from workers.conformance.venues.socket import ModelSocket
from workers.model.events import Trade
from workers.sim.engine.faults import Fault
from workers.store.keys import DEPTH, Keys
from workers.store.log.streams import RawEntry
from workers.venues.messages import Message
from workers.venues.session import Event
from workers.verification.truth import Findings

REMEMBERED: Final = 100
"""Moments of the truth at which a message may have told the book of an exchange that numbers nothing."""

Sides = tuple[list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]


class VenueWorld(MarketWorld):
    """One market of one exchange, followed. `books` and `trades` are by symbol; the first is the one that suffers."""

    longest_s = 40.0

    def __init__(self, place: Place) -> None:
        super().__init__(place.name, place, place.settings(), place.symbols, levels_per_side=60)
        self.facts = self.venue.facts
        self.symbols = list(self.settings.symbols)
        self.symbol = self.symbols[0]
        self.books = {symbol: VenueBook(self.venue, symbol) for symbol in self.symbols}
        self.trades = {symbol: VenueTrades(self.venue, symbol, self._trades_from) for symbol in self.symbols}
        self._by_key = {Keys().raw(symbol, channel): (symbol, channel)
                        for symbol in self.symbols for channel in (DEPTH, "aggTrade")}  # fmt: skip
        self.depth_streams: dict[str, str] = {}
        """What the exchange calls the stream of a book, as far as it was heard."""
        self.trade_streams: dict[str, str] = {}
        """The same of trades."""
        self.replaced = 0
        self._changed: set[str] = set()
        self._unusable = 0
        self._told: dict[str, list[int]] = {symbol: [] for symbol in self.symbols}
        for endpoint in self.venue.endpoints(self.symbols):
            self.open(endpoint)

    def frame(self, socket: ModelSocket, payload: bytes, stream: str) -> Iterable[Event]:
        """Take in a frame, and note what of the truth it may tell."""
        for symbol, ids in self._told.items():
            if stream and stream == self.depth_streams.get(symbol, stream):
                ids.append(self.listed(symbol).market.last_id)
                del ids[:-REMEMBERED]
        events = self.line.frame(payload, self.now_us, socket.session)
        if events is None:
            self.malformed += 1
            return ()
        for event in events:
            if isinstance(event, Message) and stream:
                streams = self.depth_streams if event.channel == DEPTH else self.trade_streams
                streams[event.symbol] = stream
        return events

    def told_all(self) -> None:
        """The exchange has told a change to its end, in one frame or several: the books must be its now."""
        unusable = self.malformed + sum(book.unusable for book in self.books.values())
        if unusable == self._unusable:  # else only the next message can show what is missing
            for symbol in self._changed:
                self.compare(symbol)
        self._unusable = unusable
        self._changed.clear()

    def _append(self, entry: RawEntry) -> None:
        symbol, channel = self._by_key[entry.key]
        if channel == DEPTH:
            self.books[symbol].append(entry, int(self.exchange.now_ms))
            self._changed.add(symbol)
        else:
            self.trades[symbol].append(entry)

    def _step(self) -> None:
        for socket in list(self.sockets):
            socket.tick()
            if socket.announced and socket.successor is None and not socket.over:
                socket.successor = self.open(socket.endpoint)
            if socket.over or (socket.successor is not None and socket.successor.settled):
                self._end(socket)
                if socket.successor is None:
                    self.open(socket.endpoint)
        self.line.tick(self.now_us)
        self.told_all()
        now_s = self.exchange.now_ms / 1000
        for book in self.books.values():
            book.tick(int(self.exchange.now_ms))
            self._consider(book, now_s)

    def _consider(self, book: VenueBook, now_s: float) -> None:
        """Ask for the whole book as its owner would: after a while, and paced."""
        if not book.sync.wants_snapshot:
            book.ask_at_s = 0.0
        elif not book.ask_at_s:
            book.ask_at_s = now_s + FIRST_S
        elif now_s >= book.ask_at_s:
            book.ask_at_s = now_s + max(FIRST_S, PACE_MS / 1000)
            book.asked += in_band(self.facts) or book.syncs > 0  # over REST every book begins with a request
            if not in_band(self.facts):
                self._fetch(book)
                return
            for socket in self.sockets:
                socket.streams.renew([(DEPTH, book.symbol)])

    def _fetch(self, book: VenueBook) -> None:
        """Ask for the whole book over REST."""
        request = self.venue.snapshot_request(book.symbol)
        body = self.rest.get(request.url) if request is not None else None
        if body is not None:
            book.begin(self.venue.snapshot(book.symbol, body), int(self.exchange.now_ms))

    def _trades_from(self, symbol: str, from_id: int, from_ms: int) -> list[Trade]:
        """What REST gives of a symbol's trades from one on, a page of them."""
        request = self.venue.trades_request(symbol, from_id, from_ms)
        body = self.rest.get(request.url) if request is not None else None
        return self.venue.trades(symbol, body) if body is not None else []

    def _end(self, socket: ModelSocket) -> None:
        """A socket is gone."""
        socket.end()
        self.sockets.remove(socket)
        self.replaced += 1
        self.line.ended(socket.session, self.now_us)

    def reset(self) -> None:
        """Every socket is cut, and others are opened while the market stands still: no trade is missed."""
        self.exchange.pause()
        for socket in list(self.sockets):
            socket.over = True
        self.run(STEP_MS / 1000)
        self.until(
            "every request is answered", lambda: all(socket.streams.answered for socket in self.sockets)
        )
        self.exchange.resume(self.exchange.now_ms)

    def halt(self) -> None:
        """Let the market stand still."""
        for symbol in self.symbols:
            self.listed(symbol).halt("halted")

    def reopen(self) -> None:
        """Let it go on."""
        for symbol in self.symbols:
            self.listed(symbol).reopen(self.exchange.now_ms)

    def fault(self, text: str, *, of_depth: bool = False, of_trades: bool = False) -> int:
        """Switch a fault on, for the symbol that suffers; its number. Args: of_…: for its book, its trades alone."""
        scope = f" market={self.place.market} symbol={self.symbol}"
        if of_depth:
            scope += f" stream={self.depth_streams[self.symbol]}"
        if of_trades:
            scope += f" stream={self.trade_streams[self.symbol]}"
        return self.exchange.set_fault(Fault.parse(text + scope)).number

    def maintain(self, text: str) -> bool:
        """Strike every socket with a fault of maintenance; False where the exchange has no words for it."""
        return all([socket.maintain(Fault.parse(text)) for socket in list(self.sockets)])  # noqa: C419 -- each of them

    def hits(self, number: int) -> int:
        """How often a fault struck."""
        return next((active.hits for active in self.exchange.faults.all() if active.number == number), 0)

    def struck(self, number: int, times: int = 1) -> bool:
        """Let time pass until a fault has struck so often."""
        return self.until("the fault has struck", lambda: self.hits(number) >= times)

    def all_shown(self) -> bool:
        """Whether every book is shown."""
        return all(book.shown for book in self.books.values())

    def start(self) -> None:
        """Let all books come into sync."""
        self.until("every book is shown", self.all_shown)
        self.run(1.0)

    def back(self, *symbols: str) -> bool:
        """Let the books of some symbols (none named: of the one that suffers) leave sync and come back."""
        chosen = [self.books[symbol] for symbol in symbols or (self.symbol,)]
        before = [book.syncs for book in chosen]
        return self.until(
            "the books are in sync anew",
            lambda: all(book.shown and book.syncs > was for book, was in zip(chosen, before, strict=True)),
        )

    def expect_undisturbed(self, *symbols: str) -> None:
        """These books (none named: all) came into sync once and stayed there."""
        for symbol in symbols or self.symbols:
            book = self.books[symbol]
            counts = book.losses, book.asked
            self.expect(
                counts == (0, 0), f"{symbol} left sync {counts[0]} times and asked {counts[1]} times."
            )

    def compare(self, symbol: str) -> None:
        """What a book shows is the truth at its id; at one after the last where the exchange numbers nothing."""
        book = self.books[symbol]
        if not book.shown:
            return
        self.compared += 1
        if self.facts.continuity.by_id:
            at = self.listed(symbol).truth_id(book.sync.last_update_id, str(self.facts.levels))
            moments = [at]
        else:
            ids = self._told[symbol]
            moments = [*reversed(ids[bisect_left(ids, book.seen_at) :]), book.seen_at or ids[-1]]
        differences = ""
        for at in moments:
            told = self._difference(book, at)
            if not told:
                book.seen_at = at
                return
            differences = differences or told
        self.problem(f"{symbol} {differences} (after update id {moments[0]}).")

    def _difference(self, book: VenueBook, update_id: int) -> str:
        truth = self.truth(book.symbol, update_id)
        low, high = Decimal(book.sync.book.known_low), Decimal(book.sync.book.known_high)
        for side, really in zip(("bid", "ask"), truth, strict=True):
            shown = [
                (Decimal(price), Decimal(quantity))
                for price, quantity in book.sync.book.known_levels("bid" if side == "bid" else "ask")
            ]
            inside = [level for level in really if low <= level[0] <= high]
            if shown != inside:
                place = first_difference(shown, inside)
                ours, theirs = shown[place : place + 1], inside[place : place + 1]
                return f"{side} {place + 1} is {_text(ours)}, really {_text(theirs)}"
        return ""

    def truth(self, symbol: str, update_id: int) -> Sides:
        """The book as after an update id of the market, as deep as the stream tells it."""
        feed = self.listed(symbol)
        _, levels = feed.market.changes.book_at(update_id)
        depth = self.facts.levels or len(levels)
        bids = sorted((key for key in levels if key > 0), reverse=True)[:depth]
        asks = sorted((key for key in levels if key < 0), reverse=True)[:depth]
        price, quantity = feed.spelling.price, feed.spelling.quantity
        return (
            [(Decimal(price(key)), Decimal(quantity(levels[key]))) for key in bids],
            [(Decimal(price(-key)), Decimal(quantity(levels[key]))) for key in asks],
        )

    def finish(self) -> None:
        """Let the market go on in good order, stop it, and compare everything."""
        self.remove()
        self.until("every book is shown in the end", self.all_shown)
        self.run(1.0)
        self.stop()
        findings = Findings()
        for symbol, book in self.books.items():
            told = (
                self._difference(book, self.listed(symbol).market.last_id) if book.shown else "is not shown"
            )
            self.expect(not told, f"{symbol} {told} (in the end).")
            rows = self.listed(symbol).truth_trades(0, 10**9)["trades"]
            self.trades[symbol].compare(rows, findings)
            for sentence in self.trades[symbol].holes:
                self.problem(sentence)
        for sentence in findings.sentences():
            self.problem(sentence)
        self.expect(self.compared > 0, "nothing could be compared.")
        self.expect(findings.trades_seen > 0, "no trade was seen.")


def _text(levels: list[tuple[Decimal, Decimal]]) -> str:
    return f"{levels[0][0]:f} x {levels[0][1]:f}" if levels else "absent"
