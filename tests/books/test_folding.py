"""Several entries of a book taken in at once: whatever they are, it is in every part what one by one makes of them."""

from __future__ import annotations

import random
import zlib
from collections import deque
from collections.abc import Sequence
from enum import Enum
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.books.book import OwnedBook
from workers.books.folding import take_all, take_several
from workers.errors import MalformedFrame
from workers.model.books.checkpoint import decode_checkpoint, encode_checkpoint
from workers.model.books.checksum import ChecksumRule
from workers.model.books.order_book import OrderBook
from workers.model.books.sync import SyncState
from workers.model.books.top_of_book import TOP_LEVELS
from workers.model.events import DepthEvent, Kind, Level, Snapshot
from workers.model.history.builder import BlockBuilder
from workers.model.history.recorder import HistoryRecorder
from workers.runtime.context import venue_contexts
from workers.runtime.ownership import Claim
from workers.settings.schema import BookSettings, Settings
from workers.store.log.streams import Delivered
from workers.venues.binance.settings import BinanceSettings
from workers.venues.binance.venue import Binance
from workers.venues.facts import Continuity, Facts

S = "BNBBTC"
START_MS = 1_700_000_000_000
CLOCKS = frozenset({"heard_at", "current_at", "committed_at", "status_at", "snapshot_at", "refresh_check_at"})
"""Attributes that hold the time of this machine."""
NOT_COMPARED = CLOCKS | {
    "wake",
    "claim",
    "_settings",
    "_events",
    "stream_rule",
    "rule",
    "snapshot_pauses",
    "_relapses",
}


def crc(bids: Sequence[Level], asks: Sequence[Level]) -> int:
    return zlib.crc32(repr((bids, asks)).encode())


class Market(NamedTuple):
    """What kind of venue, and how its book is set up."""

    facts: Facts
    levels: int = 5_000
    two_snapshots: bool = False
    compares_best: bool = False


MARKETS = [
    Market(Facts(Continuity.FIRST, "rest")),
    Market(Facts(Continuity.PREVIOUS, "rest")),
    Market(Facts(Continuity.RISING, "rest")),
    Market(Facts(Continuity.FIRST, "rest"), levels=5),
    Market(Facts(Continuity.FIRST, "rest"), two_snapshots=True),
    Market(Facts(Continuity.PREVIOUS, "rest"), compares_best=True),
    Market(Facts(Continuity.CONNECTION, "in band")),
    Market(Facts(Continuity.PLUS_ONE, "in band")),
    Market(Facts(Continuity.CONNECTION, "in band", levels=8, cut=True)),
    Market(Facts(Continuity.CONNECTION, "in band", checksum=ChecksumRule(3, crc))),
]


class Tape(Binance):
    """A venue whose entries are events as msgspec writes them."""

    def __init__(self, facts: Facts) -> None:
        super().__init__("tape", BinanceSettings(market="spot", symbols=[S]))
        self.facts, self.book_rule = facts, facts.book_rule

    def depth(self, data: bytes, symbol: str = "", kind: Kind = "update") -> DepthEvent:
        try:
            return msgspec.json.decode(data, type=DepthEvent)
        except msgspec.MsgspecError as error:
            raise MalformedFrame("tape", "depth event", str(error), data) from None


def owned(market: Market, checkpoint: bytes = b"") -> OwnedBook:
    """A book, fresh or restored, whose history is taken down."""
    venue = BinanceSettings(market="spot", symbols=[S], book_ticker=market.compares_best)
    [context] = venue_contexts(Settings(venues={"spot": venue}))
    context = context._replace(venue=Tape(market.facts))
    sync = context.venue.book_rule.sync(
        S, max_levels=market.levels, crossed_limit_ms=1_500, two_snapshots=market.two_snapshots
    )
    if checkpoint:
        sync.restore(decode_checkpoint(checkpoint))
    book = OwnedBook(Claim(context, S), 1, sync, BookSettings())
    book.recorder = HistoryRecorder(sync, BlockBuilder(S, levels=10, length=8))
    return book


def state(thing: Any) -> Any:
    """All that an object holds, but for clocks."""
    if isinstance(thing, dict):
        return {key: state(value) for key, value in thing.items()}
    if isinstance(thing, list | deque) or (isinstance(thing, tuple) and hasattr(thing, "_fields")):
        return [state(one) for one in thing]
    names = [*getattr(thing, "__dict__", ()), *getattr(type(thing), "__slots__", ())]
    if isinstance(thing, Enum | msgspec.Struct) or not type(thing).__module__.startswith("workers."):
        return thing
    return {name: state(getattr(thing, name)) for name in names if name not in NOT_COMPARED} or thing


class Exchange:
    """A book of few prices that moves, and what goes wrong with the entries that tell of it."""

    def __init__(self, seed: int, market: Market) -> None:
        self.draw, self.market = random.Random(seed), market
        self.bids: dict[int, str] = {}
        self.asks: dict[int, str] = {}
        self.mid, self.ms, self.id, self.place = 1_000, START_MS, 100, 0
        self.calm = self.draw.random() < 0.5
        self.old: list[bytes] = []
        for _ in range(40):
            self.change()

    def change(self) -> tuple[list[Level], list[Level]]:
        draw = self.draw
        if draw.random() < (0.05 if self.calm else 0.4):
            self.mid += draw.choice((-2, -1, 1, 2))
        told: tuple[dict[int, str], dict[int, str]] = ({}, {})
        for side, book in enumerate((self.bids, self.asks)):
            for price in [one for one in book if (one >= self.mid if side == 0 else one <= self.mid)]:
                told[side][price] = "0"
            for _ in range(draw.randint(0, 4)):
                price = self.mid + draw.randint(1, 8) * (1 if side else -1)
                told[side][price] = draw.choice(("0", "0.00", "1", "2.50", "3"))
            for price, quantity in told[side].items():
                if float(quantity):
                    book[price] = quantity
                else:
                    book.pop(price, None)
        bids, asks = ([(self.text(price), quantity) for price, quantity in side.items()] for side in told)
        return bids, asks

    def text(self, price: int) -> str:
        return f"{price}.0" if self.draw.random() < 0.1 else str(price)

    def whole(self) -> tuple[list[Level], list[Level]]:
        bids, asks = sorted(self.bids.items(), reverse=True), sorted(self.asks.items())
        most = self.market.facts.levels or len(bids) + len(asks)
        return [(str(p), q) for p, q in bids[:most]], [(str(p), q) for p, q in asks[:most]]

    def snapshot(self) -> Snapshot:
        """What REST gives: the book of now, or with the id of an event to come."""
        draw = self.draw
        return Snapshot(S, self.id + draw.choice((0, 0, 2)), *self.whole(), limit=draw.choice((0, 5, 1_000)))

    def entry(self) -> Delivered:
        """The next entry of the log: mostly a change that follows."""
        draw, kind = self.draw, "update"
        self.ms += (
            draw.choice((0, 0, 1, 30, 120, 400)) if draw.random() < 0.9 else draw.choice((1_000, 2_700))
        )
        self.place += 1
        first, before = self.id + 1, self.id
        self.id += draw.randint(1, 3)
        bids, asks = self.change()
        luck = draw.random()
        if luck < (
            0.02 if self.calm else 0.1
        ):  # what the market never said: it crosses the book, and may be taken back or not
            bids.append((str(self.mid + 3), draw.choice(("1", "0"))))
        elif luck < 0.11:
            asks.append((draw.choice(("nan", "1e3", "-5", "12345678901234567")), "1"))
        elif luck < 0.12:
            bids.append((str(self.mid - 2), draw.choice(("x", "1e5", "0e0", "-0"))))
        in_band = self.market.facts.snapshots == "in band"
        if in_band and (luck > 0.97 or (self.place < 5 and luck > 0.5)):
            kind, (bids, asks) = draw.choice(("snapshot", "restart")), self.whole()
        elif (in_band or self.market.facts.continuity is Continuity.RISING) and luck > 0.96:
            kind = "break"
        event_ms = self.ms - draw.choice((0, 3, -700))
        previous = before if self.market.facts.continuity is Continuity.PREVIOUS else -1
        checksum = None
        if self.market.facts.checksum is not None:
            checksum = crc(*(side[:3] for side in self.whole())) if luck < 0.9 else None
        data = msgspec.json.encode(
            DepthEvent(S, first, self.id, previous, event_ms, self.ms, bids, asks, "update", checksum)
        )
        spoiled = draw.random()
        if spoiled < 0.02 and self.old:
            data = draw.choice(self.old[-20:])  # once more
        elif spoiled < 0.03:
            data = draw.choice((b"", b"{", b"[]"))
        elif spoiled < 0.04:
            self.id += 5  # a hole before the next one
        elif spoiled < 0.043:
            self.id -= 90  # ids begin anew
            self.ms += 6_000
        self.old.append(data)
        number = self.place if not self.market.facts.continuity.by_id else self.id
        return Delivered(b"%d-%d" % (self.ms, number), data, (self.ms + draw.randint(-5, 80)) * 1000, kind)


def both(books: list[OwnedBook], entries: list[Delivered], now_ms: int) -> None:
    """Of the first book one by one, of the second as the role takes them."""
    one, several = books

    def take(book: OwnedBook, entry: Delivered, ms: int) -> None:
        book.take(entry, ms)

    def stumbled(book: OwnedBook, error: Exception) -> None:
        raise error

    for entry in entries:
        one.take(entry, now_ms)
    take_all(several, entries, now_ms, take, stumbled)


def silence(books: list[OwnedBook], exchange: Exchange, ms: int) -> None:
    exchange.ms += ms
    for book in books:
        book.sync.tick(exchange.ms)
        book.noticed()


def something_else(books: list[OwnedBook], exchange: Exchange, now_ms: int) -> list[OwnedBook]:
    """What happens between two readings."""
    draw = exchange.draw
    luck = draw.random()
    whole = exchange.snapshot()
    best: list[Level | None] = [next(iter(side), None) for side in (whole.bids, whole.asks)]
    if (books[0].sync.wants_snapshot and luck < 0.5) or luck < 0.1:
        for book in books:
            book.sync.on_snapshot(whole, now_ms)
            book.noticed()
        silence(books, exchange, draw.choice((0, 11_000)))
    elif luck < 0.15:
        for book in books:
            book.sync.begin_refresh()
    elif luck < 0.2:
        for book in books:
            book.overtaking.ahead("trades", 1.0, update_id=whole.last_update_id + 4)
            book.overtaking.judge(5.0, 9.0)
    elif luck < 0.25:
        for book in books:
            book.seen_ahead(whole.last_update_id + 1, *best, "ticker")
            book.overtaking.forget()
    elif luck < 0.35:
        silence(books, exchange, draw.choice((500, 11_000)))
    elif luck < 0.4 and books[0].sync.state is SyncState.SYNCED:
        kept = encode_checkpoint(books[0].sync.checkpoint(books[0].last_stream_id.decode()))
        return [owned(exchange.market, kept), owned(exchange.market, kept)]
    return books


@given(st.integers(0, 2**32), st.sampled_from(range(len(MARKETS))))
def test_whatever_comes_several_at_once_are_as_one_by_one(seed: int, number: int) -> None:
    market = MARKETS[number]
    exchange = Exchange(seed, market)
    books = [owned(market), owned(market)]
    for _ in range(12):
        both(books, [exchange.entry() for _ in range(exchange.draw.choice((1, 2, 5, 12)))], exchange.ms)
        one, several = (state(book) for book in books)
        assert one == several
        assert books[0].sync.book.known_top(TOP_LEVELS) == books[1].sync.book.known_top(TOP_LEVELS)
        ends = [book.sync.checkpoint(book.last_stream_id.decode()) for book in books]
        assert encode_checkpoint(ends[0]) == encode_checkpoint(ends[1])
        recorders = [book.recorder for book in books]
        blocks = [recorder and state(recorder.builder.block()) for recorder in recorders]
        assert blocks[0] == blocks[1]
        books = something_else(books, exchange, exchange.ms)


def plain(market: Market) -> tuple[OwnedBook, list[Delivered]]:
    """A book in sync that has taken one event in, and twenty entries of the second after it."""
    in_band, by_id = market.facts.snapshots == "in band", market.facts.continuity.by_id
    book = owned(market)
    entries = []
    for number in range(1, 23):
        levels = [("90", "1"), ("89", "1")] if number == 1 else [("90", str(number))]
        event = DepthEvent(S, number, number, number - 1, START_MS, 0, levels, [("110", "1")], "update")
        kind = "snapshot" if in_band and number == 1 else "update"
        place = b"%d-%d" % (START_MS + number, number)
        entries.append(Delivered(place, msgspec.json.encode(event), START_MS * 1000, kind))
    first, second, *rest = entries
    book.take(first, START_MS)
    if not in_band:
        book.sync.on_snapshot(Snapshot(S, 1, [("90", "1"), ("89", "1")], [("110", "1")]), START_MS)
    book.take(second, START_MS)
    assert (book.sync.state, by_id or number) == (SyncState.SYNCED, by_id or number)
    return book, rest


@pytest.mark.parametrize("market", [MARKETS[number] for number in (0, 1, 2, 6, 7)])
def test_what_only_changes_a_book_is_set_at_once(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    book, entries = plain(market)
    applied = list[int]()
    apply = OrderBook.apply
    monkeypatch.setattr(OrderBook, "apply", lambda self, *given: (applied.append(1), apply(self, *given))[1])
    before = book.applied
    assert take_several(book, entries, START_MS) == (20, 1)
    assert (len(applied), book.applied - before, book.sync.last_update_id) == (1, 20, 22)


@pytest.mark.parametrize("market", [MARKETS[number] for number in (4, 5, 8, 9)])
def test_what_is_looked_at_between_two_events_is_not(market: Market) -> None:
    book, entries = plain(market)
    assert take_several(book, entries, START_MS) == (0, 1)


def test_a_row_ends_where_a_second_of_the_history_does() -> None:
    book, entries = plain(MARKETS[0])
    assert book.recorder is not None
    ends = book.recorder.due_ms
    late = [entry._replace(stream_id=b"%d-%d" % (ends + n, n)) for n, entry in enumerate(entries, -9)]
    assert take_several(book, late, START_MS) == (10, 1)
