"""History equals truth: the exchange's own book at every second, across owners, blocks and a gap."""

from __future__ import annotations

import random
import time
from bisect import bisect_right
from functools import partial

import aiohttp
from in_process import KEYS, Fleet, fleet_of, settle

from workers.model.history.block import OUTSIDE, BookAt, QuantityAt, Unknown
from workers.model.history.segment import bound
from workers.runtime.context import venue_contexts
from workers.store.history.reading import HistoryReader
from workers.venues.entries import depth_of

SYMBOLS = ["BTCUSDT", "SOLUSDT"]
BROKEN = "BTCUSDT"
BLOCK_S = 5
QUERIES = 200


class Truth:
    """The exchange's book at a second, by the ids of the raw stream: the last event that was not later."""

    def __init__(self, fleet: Fleet, symbol: str) -> None:
        self.fleet, self.symbol = fleet, symbol
        self.entries: list[tuple[int, int]] = []
        self.books: dict[int, tuple[dict[str, str], dict[str, str]]] = {}

    async def read(self) -> None:
        found = await self.fleet.client.xrange(KEYS.raw(self.symbol, "depth"))
        self.entries = [tuple(map(int, stream_id.decode().split("-"))) for stream_id, _ in found]  # type: ignore[misc]

    @property
    def seconds(self) -> range:
        """Those proven by an event before and one after."""
        return range(self.entries[0][0] // 1000 + 1, -(-self.entries[-1][0] // 1000))

    def update_id(self, second: int) -> int:
        return self.entries[bisect_right(self.entries, (second * 1000, 1 << 62)) - 1][1]

    async def book(self, second: int) -> tuple[dict[str, str], dict[str, str]]:
        u = self.update_id(second)
        if u not in self.books:
            url = f"{self.fleet.exchange.url}/control/truth/book"
            query = {"market": "usdm", "symbol": self.symbol, "u": str(u)}
            async with aiohttp.ClientSession() as session, session.get(url, params=query) as response:
                sent = await response.json()
            self.books[u] = dict(sent["bids"]), dict(sent["asks"])
        return self.books[u]


async def lose_an_event(fleet: Fleet) -> None:
    async with aiohttp.ClientSession() as session:
        fault = {"fault": f"lose symbol={BROKEN} stream=*@depth* count=1"}
        await session.post(f"{fleet.exchange.url}/control/faults", json=fault)

    async def resynced() -> bool:
        status = await fleet.client.hmget(KEYS.book_status(BROKEN), "gap_count", "sync_count", "state")
        return status == [b"1", b"2", b"synced"]

    await fleet.until(resynced)


async def a_life(fleet: Fleet) -> tuple[int, int, int]:
    """Two owners, the first one killed, and a gap; the seconds of the kill, and before and after the gap."""
    fleet.start("ingest-a", "a")
    fleet.start("books", "books-1")
    await fleet.until(fleet.all_shown)
    await at_second(
        fleet, int(time.time()) + 3
    )  # the log may lag, and what was before a book was shown is not known
    killed = await last_second(fleet)
    await fleet.crash("books-1")
    fleet.start("books", "books-2")

    async def taken_over() -> bool:
        return {await fleet.owner("books", symbol) for symbol in SYMBOLS} == {"books-2"}

    await fleet.until(taken_over)
    await fleet.until(fleet.all_shown)
    await at_second(fleet, max(killed + 3, await last_second(fleet) + 1))
    lost = await last_second(fleet)
    await lose_an_event(fleet)
    found = await last_second(fleet)
    await at_second(fleet, found + 3)
    await settle(fleet)
    for name in ("a", "books-2"):
        await fleet.stop(name)
    return killed, lost, found


async def at_second(fleet: Fleet, second: int) -> None:
    """Wait until the lines have brought an event of a second."""

    async def come() -> bool:
        return await last_second(fleet) >= second

    await fleet.until(come)


async def last_second(fleet: Fleet) -> int:
    found = await fleet.client.xrevrange(KEYS.raw(BROKEN, "depth"), count=1)
    return int(found[0][0].split(b"-")[0]) // 1000


async def test_200_questions_are_answered_with_the_truth_or_with_unknown(real_server: str) -> None:
    async with fleet_of(real_server, symbols=SYMBOLS) as fleet:
        fleet.settings.history.block_s = BLOCK_S
        fleet.settings.history.write_ms = 1500  # a killed owner leaves seconds that are not written
        killed, lost, found = await a_life(fleet)
        venue = venue_contexts(fleet.settings)[0].venue
        reader = HistoryReader(fleet.client, KEYS, rule=venue.book_rule, decode=partial(depth_of, venue))
        truths = {symbol: Truth(fleet, symbol) for symbol in SYMBOLS}
        for truth in truths.values():
            await truth.read()
        known, unknown = await check_every_second(reader, truths)
        around = range(killed - 1, killed + 3)
        for symbol in SYMBOLS:
            assert {second: unknown[symbol].get(second, "known") for second in around} == dict.fromkeys(
                around, "known"
            )
        first = min(known[BROKEN])
        assert max(unknown["SOLUSDT"], default=0) < min(known["SOLUSDT"])  # only before it was in sync
        gap = {second for second in unknown[BROKEN] if second >= first}
        assert gap
        assert gap == set(range(min(gap), max(gap) + 1))
        assert lost <= min(gap) <= found
        assert {unknown[BROKEN][second] for second in gap} == {"gap"}
        assert len({second // BLOCK_S for second in known[BROKEN]}) >= 2
        wrong = await ask(reader, truths, known, random.Random(11))
        assert wrong == []
        statistics = await reader.statistics(BROKEN)
        assert statistics.gaps[-1][:2] == (min(gap), max(gap))
        assert statistics.seconds_held >= len(known[BROKEN]) - 2


async def check_every_second(
    reader: HistoryReader, truths: dict[str, Truth]
) -> tuple[dict[str, set[int]], dict[str, dict[int, str]]]:
    """Compare whole books; the seconds known, and those unknown with their reasons."""
    known: dict[str, set[int]] = {}
    unknown: dict[str, dict[int, str]] = {}
    for symbol, truth in truths.items():
        known[symbol], unknown[symbol] = set(), {}
        for second in truth.seconds:
            found = await reader.book_at(symbol, second)
            if isinstance(found, Unknown):
                unknown[symbol][second] = found.reason
                continue
            assert isinstance(found, BookAt)
            known[symbol].add(second)
            low, high = bound(found.known_low), bound(found.known_high)
            bids, asks = await truth.book(second)
            assert dict(found.bids) == {p: q for p, q in bids.items() if float(p) >= low}, (symbol, second)
            assert dict(found.asks) == {p: q for p, q in asks.items() if float(p) <= high}, (symbol, second)
            assert found.update_id == truth.update_id(second)
    return known, unknown


async def ask(
    reader: HistoryReader, truths: dict[str, Truth], known: dict[str, set[int]], draw: random.Random
) -> list[object]:
    """Random (symbol, second, price): the answers that are wrong."""
    wrong: list[object] = []
    answered = 0
    for _ in range(QUERIES):
        symbol = draw.choice(SYMBOLS)
        truth = truths[symbol]
        second = draw.choice(truth.seconds if draw.random() < 0.3 else sorted(known[symbol]))
        bids, asks = await truth.book(second)
        held = draw.choice([*bids, *asks])
        price = held if draw.random() < 0.8 else f"{float(held) + 0.1:.2f}"
        value = {float(p): q for p, q in [*bids.items(), *asks.items()]}.get(float(price), "0")
        found = await reader.quantity_at(symbol, price, second)
        if isinstance(found, QuantityAt):
            answered += 1
            if found.quantity != value:
                wrong.append((symbol, second, price, found, value))
        elif found.reason == OUTSIDE:
            book = await reader.book_at(symbol, second)
            assert isinstance(book, BookAt)
            assert not bound(book.known_low) <= float(price) <= bound(book.known_high)
        else:
            assert isinstance(await reader.book_at(symbol, second), Unknown)
    assert answered > QUERIES / 2
    return wrong
