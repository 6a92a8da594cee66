"""A simulated market and who follows it, in one process and in a time of their own: what arrives is compared at once.

The frames are the exchange's, and go the way they go in a fleet: session, line, log, decoder, book and trades. What a
fleet has besides (two lines, Redis, processes, REST) is the fleet level's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, Final

from workers.books.whole_books import FIRST_S, PACE_MS
from workers.conformance.venues.books import VenueBook, VenueTrades
from workers.conformance.venues.needs import in_band
from workers.conformance.venues.places import Place, root_of
from workers.conformance.venues.rest import ModelRest
from workers.conformance.venues.socket import ModelSocket
from workers.ingest.line import Line
from workers.ingest.subscriptions import Refusals
from workers.model.events import Trade
from workers.settings.schema import IngestSettings
from workers.sim.engine.exchange import Exchange
from workers.sim.engine.faults import Fault
from workers.sim.flavours import FLAVOURS
from workers.sim.settings import SimSettings
from workers.store.keys import DEPTH, Keys
from workers.store.log.streams import RawEntry
from workers.venues.interface import Endpoint
from workers.venues.messages import Message
from workers.venues.session import Event
from workers.verification.truth import Findings

BEGIN_MS: Final = 1_700_000_000_000
STEP_MS: Final = 40
LONGEST_S: Final = 40.0
"""Of the market's time, which costs a tenth of ours."""
MOST_PROBLEMS: Final = 5
REMEMBERED: Final = 100
"""Moments of the truth at which a message may have told the book of an exchange that numbers nothing."""
REFUSED_RETRY_S: Final = 2.0

Sides = tuple[list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]


class VenueWorld:
    """One market of one exchange, followed. `books` and `trades` are by symbol; the first is the one that suffers.

    Args:
        faults: what is wrong from the start.
    """

    def __init__(self, place: Place, faults: Iterable[str] = ()) -> None:
        self.place = place
        self.settings = place.settings()
        self.venue = place.venue()
        self.facts = self.venue.facts
        simulated = SimSettings(
            flavour=place.exchange,
            symbols={place.market: place.symbols},
            levels_per_side=60,
            rate_scale=2.0,
            jump_every_s=0,
            burst_every_s=0,
            faults=tuple(faults),
        )
        self.exchange: Exchange[Any] = Exchange(FLAVOURS[place.exchange](simulated), simulated, BEGIN_MS)
        self._rest = ModelRest(self.exchange)
        self.symbols = list(self.settings.symbols)
        self.symbol = self.symbols[0]
        self.books = {symbol: VenueBook(self.venue, symbol) for symbol in self.symbols}
        self.trades = {symbol: VenueTrades(self.venue, symbol, self._trades_from) for symbol in self.symbols}
        self.line = Line(self.venue, Keys(), "a", IngestSettings(), self.symbols, self._append, recorded=True)
        self._by_key = {Keys().raw(symbol, channel): (symbol, channel)
                        for symbol in self.symbols for channel in (DEPTH, "aggTrade")}  # fmt: skip
        self.depth_streams: dict[str, str] = {}
        """What the exchange calls the stream of a book, as far as it was heard."""
        self.trade_streams: dict[str, str] = {}
        """The same of trades."""
        self.malformed = self.replaced = self.compared = 0
        self.problems: list[str] = []
        self._changed: set[str] = set()
        self._unusable = 0
        self._told: dict[str, list[int]] = {symbol: [] for symbol in self.symbols}
        self.refusals = Refusals(REFUSED_RETRY_S)
        self.sockets: list[ModelSocket] = []
        for endpoint in self.venue.endpoints(self.symbols):
            self._open(endpoint)

    def _open(self, endpoint: Endpoint) -> ModelSocket:
        root = root_of(self.exchange.flavour, self.place.market, endpoint.url)
        assert root is not None
        socket = ModelSocket(self.exchange, root, self.venue, self.settings, endpoint, self.refusals, self)
        self.sockets.append(socket)
        return socket

    @property
    def _now_us(self) -> int:
        return int(self.exchange.now_ms * 1000)

    def frame(self, socket: ModelSocket, payload: bytes, stream: str) -> Iterable[Event]:
        for symbol, ids in self._told.items():
            if stream and stream == self.depth_streams.get(symbol, stream):
                ids.append(self._feed(symbol).market.last_id)
                del ids[:-REMEMBERED]
        events = self.line.frame(payload, self._now_us, socket.session)
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

    def torn(self, socket: ModelSocket, names: list[tuple[str, str]]) -> None:
        self.line.torn(socket.session, names, self._now_us)

    def begun_anew(self, socket: ModelSocket, names: list[tuple[str, str]]) -> None:
        self.line.begun_anew(socket.session, names, self._now_us)

    def _append(self, entry: RawEntry) -> None:
        symbol, channel = self._by_key[entry.key]
        if channel == DEPTH:
            self.books[symbol].append(entry, int(self.exchange.now_ms))
            self._changed.add(symbol)
        else:
            self.trades[symbol].append(entry)

    def _feed(self, symbol: str) -> Any:
        return self.exchange.listed(self.place.market)[symbol]

    def run(self, seconds: float) -> None:
        """Let so much of the market's time pass."""
        end_ms = self.exchange.now_ms + seconds * 1000
        while self.exchange.now_ms < end_ms:
            self.exchange.advance(min(end_ms, self.exchange.now_ms + STEP_MS))
            self._step()

    def _step(self) -> None:
        for socket in list(self.sockets):
            socket.tick()
            if socket.announced and socket.successor is None and not socket.over:
                socket.successor = self._open(socket.endpoint)
            if socket.over or (socket.successor is not None and socket.successor.settled):
                self._end(socket)
                if socket.successor is None:
                    self._open(socket.endpoint)
        self.line.tick(self._now_us)
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
        body = self._rest.get(request.url) if request is not None else None
        if body is not None:
            book.begin(self.venue.snapshot(book.symbol, body), int(self.exchange.now_ms))

    def _trades_from(self, symbol: str, from_id: int, from_ms: int) -> list[Trade]:
        """What REST gives of a symbol's trades from one on, a page of them."""
        request = self.venue.trades_request(symbol, from_id, from_ms)
        body = self._rest.get(request.url) if request is not None else None
        return self.venue.trades(symbol, body) if body is not None else []

    def _end(self, socket: ModelSocket) -> None:
        """A socket is gone."""
        socket.end()
        self.sockets.remove(socket)
        self.replaced += 1
        self.line.ended(socket.session, self._now_us)

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
            self._feed(symbol).halt("halted")

    def reopen(self) -> None:
        """Let it go on."""
        for symbol in self.symbols:
            self._feed(symbol).reopen(self.exchange.now_ms)

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

    def remove(self, number: int | None = None) -> None:
        """Take a fault back, or all of them."""
        self.exchange.remove_faults(number)

    def hits(self, number: int) -> int:
        """How often a fault struck."""
        return next((active.hits for active in self.exchange.faults.all() if active.number == number), 0)

    def until(self, what: str, condition: Callable[[], bool], longest_s: float = LONGEST_S) -> bool:
        """Let time pass until something is so; a problem when it does not come."""
        end_ms = self.exchange.now_ms + longest_s * 1000
        while not condition():
            if self.exchange.now_ms >= end_ms:
                self.problem(f"in {longest_s:g} s it did not come true that {what}.")
                return False
            self.run(STEP_MS / 1000)
        return True

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

    def problem(self, sentence: str) -> None:
        """Note what differs."""
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(f"{self.place.name}: {sentence}")

    def expect(self, held: bool, sentence: str) -> None:
        """Note a problem unless something holds."""
        if not held:
            self.problem(sentence)

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
            at = self._feed(symbol).truth_id(book.sync.last_update_id, str(self.facts.levels))
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
                place = next(
                    (at for at, pair in enumerate(zip(shown, inside, strict=False)) if pair[0] != pair[1]),
                    min(len(shown), len(inside)),
                )
                ours, theirs = shown[place : place + 1], inside[place : place + 1]
                return f"{side} {place + 1} is {_text(ours)}, really {_text(theirs)}"
        return ""

    def truth(self, symbol: str, update_id: int) -> Sides:
        """The book as after an update id of the market, as deep as the stream tells it."""
        feed = self._feed(symbol)
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
        self.exchange.pause()
        self._step()
        self.line.tick(self._now_us, all_held=True)
        findings = Findings()
        for symbol, book in self.books.items():
            told = self._difference(book, self._feed(symbol).market.last_id) if book.shown else "is not shown"
            self.expect(not told, f"{symbol} {told} (in the end).")
            rows = self._feed(symbol).truth_trades(0, 10**9)["trades"]
            self.trades[symbol].compare(rows, findings)
            for sentence in self.trades[symbol].holes:
                self.problem(sentence)
        for sentence in findings.sentences():
            self.problem(sentence)
        self.expect(self.compared > 0, "nothing could be compared.")
        self.expect(findings.trades_seen > 0, "no trade was seen.")


def _text(levels: list[tuple[Decimal, Decimal]]) -> str:
    return f"{levels[0][0]:f} x {levels[0][1]:f}" if levels else "absent"
