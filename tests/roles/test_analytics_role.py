"""The role `analytics`: figures and events of what books and trades brought, fenced, and withheld with the book."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient, TestServer
from redis.asyncio import Redis

from workers.analytics.symbol import OF_THE_BOOK, SymbolAnalytics
from workers.analytics.worker import AnalyticsWorker
from workers.api.server import Api
from workers.client import FleetClient
from workers.errors import StateUnreadable
from workers.model.books.top_of_book import TopOfBook, encode_top
from workers.operations.role import unwanted
from workers.runtime.ownership import Claim
from workers.runtime.process import Process
from workers.settings.analytics import AnalyticsSettings
from workers.settings.schema import Settings
from workers.store.keys import TRADES, Keys
from workers.venues.binance.settings import BinanceSettings

KEYS = Keys()
SYMBOL, OTHER = "BTCUSDT", "ETHUSDT"
T0 = 1_723_161_541_000
TOKEN = 7


def top_of(ms: int, *, wall: str = "1", synced_at: int = T0) -> TopOfBook:
    bids = [[f"{100 - number}.0", "1"] for number in range(10)]
    asks = [[f"{101 + number}.0", "3" if number == 0 else "1"] for number in range(10)]
    bids[5][1] = wall
    levels = [[(price, quantity) for price, quantity in side] for side in (bids, asks)]
    return TopOfBook(SYMBOL, *levels, 1, ms, ms, synced_at, ms * 1000, ms * 1000)


class Driven:
    """A worker that owns two symbols, and what Redis has of the first."""

    def __init__(self, worker: AnalyticsWorker, client: Redis) -> None:
        self.worker = worker
        self.client = client
        self.number = 0

    async def take(self, symbol: str) -> None:
        await self.client.hset(KEYS.lease("analytics", symbol), "token", TOKEN)
        await self.worker.recover(Claim(self.worker._contexts[0], symbol), TOKEN)

    async def show(self, top: TopOfBook) -> None:
        payload = encode_top(top)
        await self.client.hset(KEYS.live_orderbook, SYMBOL, payload)
        await self.client.xadd(KEYS.book_top(SYMBOL), {"data": payload})

    async def trade(self, ms: int, price: str = "100.0", quantity: str = "2") -> None:
        self.number += 1
        data = (
            f'{{"e":"aggTrade","E":{ms},"a":{self.number},"s":"{SYMBOL}","p":"{price}","q":"{quantity}",'
            f'"f":{self.number},"l":{self.number},"T":{ms},"m":true}}'
        )
        entry = {"data": data, "received": ms * 1000, "line": "a"}
        await self.client.xadd(KEYS.raw(SYMBOL, TRADES), entry, id=f"{ms}-{self.number}")

    async def round(self) -> dict[str, str]:
        """One whole round, and what the hash says then."""
        for owned in self.worker.owned.values():
            owned.published_at = 0.0
            owned.analytics.check()
        self.worker._deadlines.set(" all", 0.0)
        await self.worker.step()
        found = await self.client.hgetall(KEYS.analytics(SYMBOL))
        return {name.decode(): value.decode() for name, value in found.items()}

    async def events(self) -> list[str]:
        entries = await self.client.xrange(KEYS.analytics_events(SYMBOL))
        return [event["kind"] for _, fields in entries for event in json.loads(fields[b"data"])]


@pytest.fixture
async def driven(real_server: str) -> AsyncIterator[Driven]:
    settings = Settings(
        venues={"usdm": BinanceSettings(market="usdm", symbols=[SYMBOL, OTHER])},
        analytics=AnalyticsSettings(enabled=True),
    )
    process = Process("analytics", settings, 0, real_server)
    await process.client.flushall()  # the server is this test process's own
    worker = AnalyticsWorker(process)
    worker.ownership.safe = lambda claim: True  # type: ignore[method-assign]  # what is taken here is owned
    client = Redis.from_url(real_server, protocol=2)
    made = Driven(worker, client)
    await made.take(SYMBOL)
    await made.take(OTHER)
    yield made
    await client.aclose()
    await worker._reader_client.aclose()
    await process.client.aclose()


async def test_figures_and_walls_are_those_of_the_book_and_its_trades(driven: Driven) -> None:
    for second in range(4):
        await driven.show(top_of(T0 + second * 1000, wall="20"))
    await driven.trade(T0 + 2500, "100.0", "2")
    await driven.trade(T0 + 2600, "103.0", "1")
    told = await driven.round()
    assert (told["state"], told["spread"], told["mid"]) == ("shown", "1", "100.5")
    assert float(told["microprice"]) == pytest.approx((100 * 3 + 101 * 1) / 4)
    assert (told["vwap"], told["order_flow_imbalance"], told["volatility"]) == ("101", "0", "0")
    assert json.loads(told["walls"]) == [["bid", 95.0, 20.0, 20.0]]
    assert float(told["quote_bid"]) < float(told["microprice"]) < float(told["quote_ask"])
    assert told["event_time"] == str(T0 + 3000)
    assert await driven.events() == ["wall_appeared"]
    await driven.show(top_of(T0 + 4000))
    assert json.loads((await driven.round())["walls"]) == []
    assert await driven.events() == ["wall_appeared", "wall_vanished"]
    assert await driven.client.exists(KEYS.analytics_events(OTHER)) == 0


async def test_what_is_said_of_a_book_is_withheld_with_it_and_inferred_anew(driven: Driven) -> None:
    for second in range(4):
        await driven.show(top_of(T0 + second * 1000, wall="20"))
    await driven.trade(T0 + 2500)
    await driven.round()
    await driven.client.hdel(KEYS.live_orderbook, SYMBOL)
    told = await driven.round()
    assert (told["state"], told["vwap"]) == ("withheld", "100")
    assert {told[name] for name in OF_THE_BOOK} == {""}
    await driven.show(top_of(T0 + 5000, wall="20", synced_at=T0 + 4500))
    told = await driven.round()
    assert (told["state"], told["walls"], told["order_flow_imbalance"]) == ("shown", "[]", "0")
    assert await driven.events() == ["wall_appeared"]


def test_a_book_that_was_lost_between_two_looks_is_another_book() -> None:
    analytics = SymbolAnalytics(AnalyticsSettings())
    for second in range(4):
        analytics.on_top(top_of(T0 + second * 1000, wall="20"))
    analytics.on_top(top_of(T0 + 4000, synced_at=T0 + 3500))
    assert [event.kind for event in analytics.events] == ["wall_appeared"]
    analytics.check()


@pytest.mark.parametrize("key", [KEYS.book_top(SYMBOL), KEYS.raw(SYMBOL, TRADES)])
async def test_figures_are_withheld_while_what_they_are_of_cannot_be_read(driven: Driven, key: str) -> None:
    await driven.show(top_of(T0))
    await driven.trade(T0)
    assert (await driven.round())["state"] == "shown"
    await driven.client.delete(key)
    await driven.client.set(key, "rubbish")
    assert (await driven.round())["state"] == "withheld"


async def test_an_owner_that_was_followed_by_another_writes_nothing(driven: Driven) -> None:
    await driven.client.hset(KEYS.lease("analytics", SYMBOL), "token", TOKEN + 1)
    lost: list[str] = []
    driven.worker.ownership.lost = lambda claim, token: lost.append(claim.symbol)  # type: ignore[method-assign]
    await driven.show(top_of(T0))
    assert await driven.round() == {}
    assert lost == [SYMBOL]


async def test_rubbish_of_one_symbol_stops_no_other_and_rubbish_entries_are_passed_over(
    driven: Driven,
) -> None:
    await driven.client.set(KEYS.book_top(OTHER), "rubbish")
    await driven.client.xadd(KEYS.book_top(SYMBOL), {"data": "rubbish"})
    await driven.client.xadd(KEYS.raw(SYMBOL, TRADES), {"data": "{}", "received": 1}, id=f"{T0}-1")
    await driven.show(top_of(T0))
    assert (await driven.round())["state"] == "shown"
    claim = Claim(driven.worker._contexts[0], OTHER)
    assert not driven.worker.quarantine.due(*claim, "read")


def test_it_runs_only_where_it_is_wanted() -> None:
    venues = {"usdm": BinanceSettings(market="usdm", symbols=[SYMBOL])}
    assert unwanted("analytics", Settings(venues=venues))
    assert not unwanted("analytics", Settings(venues=venues, analytics=AnalyticsSettings(enabled=True)))


@pytest.fixture
async def api(driven: Driven, real_server: str) -> AsyncIterator[TestClient]:  # type: ignore[type-arg]
    process = Process("api", driven.worker._process.settings, 0, real_server)
    served = Api(process)
    served.start()
    async with TestClient(TestServer(served.application.build())) as client:
        yield client
    await served.close()
    await process.client.aclose()


async def test_the_api_serves_figures_with_their_time_and_events_and_withholds_them_with_the_book(
    driven: Driven,
    api: TestClient,  # type: ignore[type-arg]
) -> None:
    nothing = await (await api.get("/analytics?symbol=ETHUSDT&events=5")).json()
    assert nothing == {"venue": "usdm", "symbol": OTHER, "owner": None, "figures": None, "events": []}
    await driven.client.hset(KEYS.lease("analytics", SYMBOL), "owner", "analytics-1")
    for second in range(5):
        await driven.show(top_of(T0 + second * 1000, wall="20" if second < 4 else "1"))
        await driven.round()
    await driven.trade(T0 + 4500)
    await driven.round()
    answer = await (await api.get("/analytics?events=1")).json()
    figures = answer["figures"]
    assert (answer["owner"], figures["state"], figures["event_time"]) == ("analytics-1", "shown", T0 + 4500)
    assert (figures["mid"], figures["vwap"], figures["walls"], figures["told_ms"] > T0) == (
        100.5,
        100,
        [],
        True,
    )
    assert [(event["kind"], event["price"]) for event in answer["events"]] == [("wall_vanished", 95.0)]
    both = (await (await api.get("/analytics?events=9")).json())["events"]
    assert [event["kind"] for event in both] == ["wall_vanished", "wall_appeared"]
    assert (await (await api.get("/analytics")).json())["events"] == []
    await driven.client.hdel(KEYS.live_orderbook, SYMBOL)
    await driven.round()
    withheld = (await (await api.get("/analytics")).json())["figures"]
    assert (withheld["state"], withheld["vwap"]) == ("withheld", 100)
    assert {withheld[name] for name in OF_THE_BOOK} == {None}
    assert (await api.get("/analytics?events=x")).status == 422
    assert (await api.get("/analytics?symbol=NOSUCH")).status == 404


async def test_the_client_reads_figures_and_events_and_refuses_rubbish(
    driven: Driven, real_server: str
) -> None:
    for second in range(4):
        await driven.show(top_of(T0 + second * 1000, wall="20"))
    await driven.round()
    async with FleetClient(real_server) as fleet:
        owner, figures = await fleet.get_analytics(SYMBOL)
        assert figures is not None
        assert figures.walls is not None
        assert (owner, figures.mid, [wall.price for wall in figures.walls]) == ("", 100.5, [95.0])
        await driven.client.xadd(KEYS.analytics_events(SYMBOL), {"data": "rubbish"})
        assert [event.kind for event in await fleet.newest_analytics(SYMBOL)] == ["wall_appeared"]
        two = [{"kind": "flicker", "side": side, "price": 1.0, "time_us": 5} for side in ("bid", "ask")]
        await driven.client.xadd(KEYS.analytics_events(SYMBOL), {"data": json.dumps(two)})
        assert [event.side for event in await fleet.newest_analytics(SYMBOL, 1)] == ["ask"]
        await driven.client.hset(KEYS.analytics(SYMBOL), "mid", "rubbish")
        with pytest.raises(StateUnreadable):
            await fleet.get_analytics(SYMBOL)
