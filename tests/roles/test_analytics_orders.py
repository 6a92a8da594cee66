"""The role `analytics` where single orders are followed: level 3 while their book is in sync, level 2 else, and nothing
told twice or of what only broke."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from analytics_world import (
    BEGAN_US,
    ICEBERG,
    KEYS,
    LEFT,
    PART,
    SYMBOL,
    Driven,
    Market,
    settings_of,
    worker_of,
)
from redis.asyncio import Redis

from workers.analytics.following import OrdersFollowing
from workers.analytics.orders import OrderInference, ToldIcebergs
from workers.analytics.owned import OwnedAnalytics
from workers.analytics.symbol import SymbolAnalytics
from workers.analytics.worker import MISSED
from workers.api.server import Api
from workers.client import FleetClient
from workers.model.analytics.flicker import FlickerParameters
from workers.model.analytics.icebergs import IcebergParameters
from workers.model.books.top_of_book import TopOfBook
from workers.model.events import Trade
from workers.model.level3.events import OrderChange, OrderMessage
from workers.model.level3.sync import OrderSync
from workers.runtime.context import venue_contexts
from workers.runtime.process import Process
from workers.settings.analytics import AnalyticsSettings
from workers.store.keys import ORDERS
from workers.store.log.streams import delivered
from workers.store.log.tail import Place
from workers.store.orders.rebuilding import OrderDecoding, OrderFold


@pytest.fixture
async def market(real_server: str) -> AsyncIterator[Market]:
    client = Redis.from_url(real_server, protocol=2)
    await client.flushall()  # the server is this test process's own
    yield Market(client, real_server)
    await client.aclose()


@pytest.fixture
async def driven(real_server: str, market: Market) -> AsyncIterator[Driven]:
    """Level 3 is in sync, and the book of levels shown."""
    async with worker_of(real_server, settings_of()) as worker:
        made = Driven(worker, market.client, market)
        await made.show(0)
        assert (await made.round())["level"] == "2"
        await market.seed()
        assert (await made.round())["level"] == "3"
        yield made


FOUND, CONFIRMED = ("iceberg_found", ICEBERG), ("iceberg_confirmed", ICEBERG)
EXHAUSTED = ("iceberg_exhausted", ICEBERG)


async def test_an_iceberg_is_found_by_the_id_of_its_order_with_what_it_hides(driven: Driven) -> None:
    market = driven.market
    await market.rests("500")  # others before it in the same queue
    await market.rests()
    await market.refill(3)
    told = await driven.round()
    assert await driven.events() == [FOUND, CONFIRMED]
    [[side, price, hidden, confidence, order_id]] = json.loads(told["icebergs"])
    assert (told["level"], side, price, order_id) == ("3", "ask", 101.0, ICEBERG)
    assert hidden > 0
    assert confidence > 0.98
    await market.withdraw()
    assert json.loads((await driven.round())["icebergs"]) == []
    ended = await driven.newest()
    assert (ended["kind"], ended["order_id"], ended["figures"]["withdrawn"]) == (*EXHAUSTED, 1)
    assert ended["figures"]["traded"] == pytest.approx(1.8)


async def test_what_is_told_twice_counts_once(driven: Driven) -> None:
    market = driven.market
    await market.rests()
    taken = await market.event("changed", ICEBERG, "101.00", LEFT)
    await market.refill(3)
    await market.file(taken, market.now_us + 1)  # by another line, which the log has not kept out
    await market.withdraw()
    await driven.round()
    assert (await driven.newest())["figures"]["traded"] == pytest.approx(0.6 * 3)


async def test_orders_withdrawn_at_once_near_the_top_are_flicker(driven: Driven) -> None:
    for number in range(20):
        await driven.market.event("created", f"9{number}", "100.00", PART, side=0)
        await driven.market.event("deleted", f"9{number}", "100.00", PART, side=0, after_us=20_000)
    await driven.round()
    assert await driven.events() == [("flicker", "")]


async def test_walls_tell_their_number_of_orders(driven: Driven) -> None:
    for second in range(1, 4):
        await driven.show(second)
    told = await driven.round()
    assert json.loads(told["walls"]) == [["bid", 95.0, 13.0, 13.0, 3]]
    appeared = await driven.newest()
    assert (appeared["kind"], appeared["figures"]["orders"]) == ("wall_appeared", 3)
    await driven.market.event("changed", "9", "95.00", "0.50000000", side=0)  # an order that nobody knew
    assert json.loads((await driven.round())["walls"]) == [["bid", 95.0, 13.0, 13.0]]


async def test_a_hole_in_the_stream_of_orders_costs_nothing_of_the_levels(driven: Driven) -> None:
    for second in range(1, 4):
        await driven.show(second)
    assert json.loads((await driven.round())["walls"])
    missed = MISSED.labels("bitstamp")._value.get()
    await driven.market.client.delete(
        KEYS.raw(SYMBOL, ORDERS)
    )  # and what comes back is of before, and of now
    await driven.market.event("created", "5", "90.00", PART, side=0, after_us=-2_000_000)
    await driven.market.event("created", "6", "90.00", PART, side=0, after_us=9_000_000)
    told = await driven.round()
    assert MISSED.labels("bitstamp")._value.get() == missed + 1
    assert (told["state"], json.loads(told["walls"])) == ("shown", [["bid", 95.0, 13.0, 13.0]])


def test_level_2_tells_no_order_and_nothing_of_what_it_did_not_see() -> None:
    [context] = venue_contexts(settings_of(seed=False))
    feed = context.venue.order_feed
    assert feed is not None
    analytics, fold = SymbolAnalytics(AnalyticsSettings()), OrderFold(
        OrderSync(SYMBOL, feed.rules), OrderDecoding(feed.rules, feed.by_id, feed.message), b"0-0"
    )  # fmt: skip
    fold.sync.on_message(OrderMessage(1, [OrderChange("add", "1", "bid", "50", "1")], "b", "a", position=1))
    number = 0

    def traded(left: str) -> None:
        """A trade that takes what is visible, after which as much is visible again, or nothing."""
        nonlocal number
        number += 1
        ms = BEGAN_US // 1000 + number * 1000
        analytics.on_trade(
            Trade(SYMBOL, number, "101", "1", number, number, ms, is_buyer_maker=False, event_time=ms)
        )
        asks = [("101", left), ("102", "1")] if left else [("102", "1")]
        analytics.on_top(TopOfBook(SYMBOL, [("100", "1")], asks, 1, ms, ms, BEGAN_US, ms * 1000, ms * 1000))

    for _ in range(9):
        traded("1")
    found = [("iceberg_found", ""), ("iceberg_confirmed", "")]
    assert [(event.kind, event.order_id) for event in analytics.events] == found
    assert (analytics.level, len(json.loads(analytics.figures()["icebergs"])[0])) == (2, 4)
    analytics.begin_orders(fold)
    for _ in range(9):
        traded("1")
    assert (analytics.level, analytics.figures()["icebergs"]) == (3, "[]")
    analytics.end_orders()
    traded("")
    assert [(event.kind, event.order_id) for event in analytics.events] == found
    analytics.check()


async def test_a_break_ends_no_iceberg_and_what_goes_on_after_it_is_told_once(driven: Driven) -> None:
    market = driven.market
    await market.rests()
    await market.refill(3)
    await driven.round()
    await market.event("changed", "400", "101.00", "0.50000000", file=False)
    await market.refill(1)
    told = await driven.round()
    assert (told["level"], told["state"], told["icebergs"]) == ("2", "shown", "[]")
    await market.refill(1)
    assert (await driven.round())["level"] == "2", "nobody has a book"
    await market.seed()
    assert (await driven.round())["level"] == "3"
    assert await driven.events() == [FOUND, CONFIRMED]
    await market.rests()
    await market.refill(3)
    assert [row[4] for row in json.loads((await driven.round())["icebergs"])] == [ICEBERG]
    assert await driven.events() == [FOUND, CONFIRMED]
    await market.withdraw()
    await driven.round()
    assert await driven.events() == [FOUND, CONFIRMED, EXHAUSTED]


async def test_a_book_that_begins_anew_within_what_is_read_at_once_ends_no_iceberg(market: Market) -> None:
    """Without a seed the message after the one that does not follow begins the next book."""
    [context] = venue_contexts(settings_of(seed=False))
    feed = context.venue.order_feed
    assert feed is not None
    decoding = OrderDecoding(feed.rules, feed.by_id, feed.message)
    fold = OrderFold(OrderSync(SYMBOL, feed.rules), decoding, b"0-0")
    inference = OrderInference(IcebergParameters(), FlickerParameters(), ToldIcebergs())
    inference.begin(fold)
    await market.rests()
    await market.refill(3)
    await market.event("deleted", ICEBERG, "101.00", "0")  # and the next part is waited for
    for number in range(4):
        await market.event("created", str(number), "102.00", PART, file=bool(number))
    found: Any = await market.client.xrange(KEYS.raw(SYMBOL, ORDERS))
    told = inference.take(delivered(found))
    assert (fold.sync.synced, fold.sync.counts["lost"]) == (True, 1)
    assert [(event.kind, event.order_id) for event in told] == [FOUND, CONFIRMED]
    inference.check()


async def test_an_iceberg_whose_order_went_without_a_reason_neither_stands_nor_ends(driven: Driven) -> None:
    market = driven.market
    await market.rests()
    await market.refill(3)
    assert json.loads((await driven.round())["icebergs"])
    [owned] = driven.worker.owned.values()
    for fold in (market.owner, owned.analytics.orders.fold):
        assert fold is not None
        fold.sync.book.remove(ICEBERG)  # as a phantom is purged
    await market.event("created", "5", "90.00", PART, side=0)
    told = await driven.round()
    assert (told["level"], told["icebergs"]) == ("3", "[]")
    assert await driven.events() == [FOUND, CONFIRMED]
    owned.analytics.check()


async def test_a_book_is_used_only_while_its_owner_vouches_for_it(driven: Driven) -> None:
    market = driven.market
    await market.rests()
    await market.refill(3)
    await market.event("deleted", ICEBERG, "101.00", "0")  # and the next part is waited for
    await driven.round()
    market.owner.lose("level 2 has another top")  # which nobody but the owner compares
    assert (await driven.round())["level"] == "2"
    await market.seed()
    assert (await driven.round())["level"] == "3"
    await market.rests("500")
    await market.refill(3, "500")
    await driven.round()
    market.owner.lose("level 2 has another top")
    await market.seed()  # before anybody else has looked
    assert (await driven.round())["level"] == "3"
    await market.withdraw("500")  # of which nobody knows now what it was
    market.owner.proven = False
    await market.say()
    market_read, market.read = market.read, _nothing  # type: ignore[method-assign]
    assert (await driven.round())["level"] == "2", "what is stored may be of long ago"
    market.read = market_read  # type: ignore[method-assign]
    assert (await driven.round())["level"] == "3"
    await market.client.hdel(KEYS.lease("orders", SYMBOL), "owner")
    market.read = _nothing  # type: ignore[method-assign]
    assert (await driven.round())["level"] == "2"
    found = ["iceberg_found", "iceberg_confirmed"]
    assert await driven.events() == [FOUND, CONFIRMED, *((kind, "500") for kind in found)]


async def _nothing() -> None:
    """A dead owner."""


async def test_the_next_owner_tells_nothing_again(driven: Driven, real_server: str) -> None:
    market = driven.market
    await market.rests()
    await market.refill(3)
    await driven.round()
    async with worker_of(real_server, settings_of()) as worker:
        driven.worker = worker
        await driven.show(1)
        assert (await driven.round())["level"] == "3"
        assert await driven.events() == [FOUND, CONFIRMED]
        await market.refill(3)
        assert [row[4] for row in json.loads((await driven.round())["icebergs"])] == [ICEBERG]
        assert await driven.events() == [FOUND, CONFIRMED]
        await market.withdraw()
        await driven.round()
        assert await driven.events() == [FOUND, CONFIRMED, EXHAUSTED]


async def test_a_symbol_that_is_lost_while_its_orders_are_taken_up_is_read_no_further(driven: Driven) -> None:
    worker = driven.worker
    [owned] = worker.owned.values()
    OrdersFollowing.let_go(owned)
    look = worker._orders.look

    async def lost_meanwhile(symbols: list[OwnedAnalytics]) -> dict[OwnedAnalytics, Place]:
        begun = await look(symbols)
        worker.forget(owned.claim)
        return begun

    worker._orders.look = lost_meanwhile  # type: ignore[assignment]
    await driven.round()
    assert owned.analytics.level == 3
    assert not worker._streams


@pytest.mark.parametrize("key", [KEYS.raw(SYMBOL, ORDERS), KEYS.orders_checkpoint(SYMBOL)])
async def test_keys_of_orders_that_cannot_be_used_leave_level_2_as_it_is(driven: Driven, key: str) -> None:
    market = driven.market
    market.read = _nothing  # type: ignore[method-assign]
    await market.client.delete(key)
    await market.client.hset(key, "rubbish", "1")
    if key == KEYS.orders_checkpoint(SYMBOL):
        OrdersFollowing.let_go(next(iter(driven.worker.owned.values())))
    for second in range(1, 4):
        await driven.show(second)
    told = await driven.round()
    assert (told["level"], told["state"]) == ("2", "shown")
    assert json.loads(told["walls"]) == [["bid", 95.0, 13.0, 13.0]]
    assert driven.worker.quarantine.reason(driven.worker._contexts[0], SYMBOL, "orders")


async def test_without_the_role_orders_nobody_reads_them(real_server: str, market: Market) -> None:
    async with worker_of(real_server, settings_of(orders=False)) as worker:
        driven = Driven(worker, market.client, market)
        await driven.show(0)
        await market.seed()
        await market.rests()
        await market.refill(3)
        told = await driven.round()
        assert (told["level"], told["state"], told["icebergs"]) == ("2", "shown", "[]")
        assert KEYS.raw(SYMBOL, ORDERS) not in worker._streams
        assert await driven.events() == []


async def test_the_api_and_the_client_tell_the_level_and_the_order(driven: Driven, real_server: str) -> None:
    market = driven.market
    await market.rests()
    await market.refill(3)
    for second in range(1, 4):
        await driven.show(second)
    await driven.round()
    async with AsyncExitStack() as stack:
        process = Process("api", settings_of(), 0, real_server)
        stack.push_async_callback(process.client.aclose)
        served = Api(process)
        served.start()
        stack.push_async_callback(served.close)
        api = await stack.enter_async_context(TestClient(TestServer(served.application.build())))
        answer = await (await api.get("/analytics?events=3")).json()
        assert answer["figures"]["level"] == 3
        assert [iceberg["order_id"] for iceberg in answer["figures"]["icebergs"]] == [ICEBERG]
        assert [wall["orders"] for wall in answer["figures"]["walls"]] == [3]
        assert {event["kind"]: event["order_id"] for event in answer["events"]} == {
            "wall_appeared": None,
            **dict([FOUND, CONFIRMED]),
        }
        fleet = await stack.enter_async_context(FleetClient(real_server))
        figures = (await fleet.get_analytics(SYMBOL)).figures
        assert figures is not None
        assert figures.level == 3
        assert [iceberg.order_id for iceberg in figures.icebergs or []] == [ICEBERG]
        assert [wall.orders for wall in figures.walls or []] == [3]
        assert {event.order_id for event in await fleet.newest_analytics(SYMBOL)} == {"", ICEBERG}
