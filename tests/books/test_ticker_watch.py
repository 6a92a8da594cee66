"""What becomes of a book that the exchange's tickers contradict."""

from __future__ import annotations

import fakeredis
import pytest

from workers.books.book import OwnedBook
from workers.books.tickers import POLL_S, TickerWatch
from workers.model.books.sync import SyncState
from workers.model.events import Snapshot
from workers.runtime.context import VenueContext
from workers.runtime.ownership import Claim
from workers.settings.schema import BookSettings
from workers.store.keys import DEPTH, TICKER, Keys
from workers.store.log.streams import Delivered
from workers.venues.binance.settings import BinanceSettings
from workers.venues.binance.venue import Binance

KEYS = Keys("spot:")
S = "BNBBTC"
TICKERS = KEYS.raw(S, TICKER)


class World:
    """One spot book, its ticker watch and a server; every call of `look` is `POLL_S` later."""

    def __init__(self, *, followed: bool = True) -> None:
        settings = BinanceSettings(market="spot", symbols=[S], book_ticker=followed)
        context = VenueContext("spot", Binance("spot", settings), settings, KEYS, [S])
        books = BookSettings(snapshot_retry_s=1, snapshot_retry_max_s=4, snapshot_delay_ms=0)
        self.client = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer())
        self.watch = TickerWatch(self.client, [context], 100)
        self.book = OwnedBook(Claim(context, S), 1, context.venue.book_rule.sync(S), books)
        self.now = 1e9  # later than the clock that `OwnedBook` looks at
        self.u = 100
        self.sync()

    def sync(self) -> None:
        self.event()
        snapshot = Snapshot(S, self.u, [("9", "1"), ("8", "1")], [("11", "2"), ("12", "2")], limit=1000)
        self.book.sync.on_snapshot(snapshot, 0)
        self.book.noticed()

    def event(self, bids: str = "[]") -> None:
        """The next depth event."""
        self.u += 1
        data = f'{{"s":"{S}","E":{self.u},"U":{self.u},"u":{self.u},"b":{bids},"a":[]}}'
        self.book.take(Delivered(f"1-{self.u}".encode(), data.encode(), 0), 0)

    async def ticker(self, bid: str, quantity: str) -> None:
        """A ticker of the id the book stands at."""
        data = f'{{"u":{self.u},"s":"{S}","b":"{bid}","B":"{quantity}","a":"11","A":"2"}}'
        await self.client.xadd(TICKERS, {"data": data, "received": "1", "line": "a"}, id=f"1-{self.u}")

    async def look(self, later_s: float = POLL_S) -> None:
        self.now += later_s
        await self.watch.look([self.book], self.now, int(self.now * 1000))

    async def contradict(self) -> None:
        for _ in range(2):
            self.event()
            await self.ticker("9", "5")
        await self.look()


@pytest.fixture
async def world() -> World:
    made = World()
    await made.look()
    return made


async def test_tickers_that_agree_change_nothing(world: World) -> None:
    for _ in range(3):
        world.event()
        await world.ticker("9.0", "1.000")
    await world.look()
    assert world.book.best_levels is not None
    assert world.book.best_levels.compared == 3
    assert world.book.sync.state is SyncState.SYNCED
    assert await world.client.exists(KEYS.audit(S)) == 0


async def test_a_contradicted_book_is_lost_withdrawn_and_recorded(world: World) -> None:
    world.book.published, world.book.withdraw = True, False
    await world.contradict()
    assert (world.book.sync.state, world.book.sync.reason) == (SyncState.BROKEN, "best level mismatch")
    assert world.book.withdraw
    [(_, audit)] = await world.client.xrange(KEYS.audit(S))
    told = {name.decode(): value.decode() for name, value in audit.items()}
    assert (told["source"], told["outcome"], told["u"]) == ("bookTicker", "mismatch", str(world.u))
    assert (told["compared"], told["differing"]) == ("2", "1")
    assert told["differences"] == "bid 9 held 1 exchange 5"
    assert told["time"] == str(int(world.now * 1000))


async def test_one_disagreement_counts_once_it_has_stood_for_a_second(world: World) -> None:
    world.event()
    await world.ticker("9", "5")
    await world.look()
    world.event('[["8","3"]]')
    await world.look(0.5)
    assert world.book.sync.state is SyncState.SYNCED
    await world.look(0.6)
    assert world.book.sync.state is SyncState.BROKEN


async def test_a_fresh_sync_begins_without_suspicion(world: World) -> None:
    world.event()
    await world.ticker("9", "5")
    await world.look()
    world.book.sync.lose("gap", 0)
    world.book.noticed()
    world.sync()
    await world.look(2)
    assert world.book.sync.state is SyncState.SYNCED


async def test_levels_the_book_does_not_claim_are_not_compared(world: World) -> None:
    world.event('[["11","1"]]')  # crossed: withheld by itself
    await world.ticker("9", "5")
    world.event('[["11","0"]]')
    await world.look()
    assert world.book.best_levels is not None
    assert world.book.best_levels.compared == 0


async def test_an_unusable_ticker_costs_nothing_else(world: World) -> None:
    world.event()
    await world.ticker("abc", "5")
    world.event()
    await world.ticker("9", "1")
    await world.look()
    assert world.book.best_levels is not None
    assert (world.book.best_levels.compared, world.book.best_levels.disagreed) == (1, 0)


async def test_where_no_ticker_is_followed_nothing_is_read() -> None:
    world = World(followed=False)
    await world.look()
    assert world.book.best_levels is None
    world.event()
    await world.ticker("9", "5")
    await world.look()
    assert world.book.sync.state is SyncState.SYNCED
    assert world.book.key == KEYS.raw(S, DEPTH)
