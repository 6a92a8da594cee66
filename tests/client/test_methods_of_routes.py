"""What the API answers, the client reads: every route of the one has a method of the other, or a reason why not."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from client_world import KEYS, T0, S, World, lay_book

from workers.api.server import Api
from workers.client import Book, FleetClient, Number, PriceLevel
from workers.errors import StateUnreadable
from workers.model.books.audit import AuditOutcome
from workers.runtime.process import Process
from workers.settings.schema import Settings
from workers.store.books.audits import Audit, AuditStore
from workers.store.log.streams import GapRecord, record_gap
from workers.venues.binance.settings import BinanceSettings

METHODS: Final = {
    "/symbols": ["get_symbols"],
    "/gaps": ["get_gaps"],
    "/audits": ["get_audits"],
    "/orderbook": ["get_book", "get_top"],
    "/nearest-level/{price}": ["Book.nearest_level"],
    "/history": ["get_history"],
    "/history/book": ["get_book"],
    "/history/quantity": ["get_quantities"],
    "/orders": ["get_orders"],
    "/orders/{id}": ["get_order"],
    "/alerts": ["alerts", "newest_alerts"],
    "/analytics": ["get_analytics", "newest_analytics"],
    "/trades": ["get_trades"],
    "/bars/{interval}": ["get_bars"],
    "/stats": ["get_stats"],
    "/ws": ["books", "trades", "bars", "orders", "analytics"],
    "/sse": ["books", "trades", "bars", "orders", "analytics"],
}
EXEMPT: Final = {
    "/status": "it compares with the fleet's settings, which Redis does not have: `fleet status --json`",
    "/healthz": "of the API's process and its connections",
    "/livez": "of the API's process",
    "/metrics": "of the API's process",
    "/openapi.json": "describes the API",
    "/docs": "a page for people",
    "/": "a page for people",
    "/dashboard/{name}": "files of that page",
}
ELSEWHERE: Final = {
    "derivatives": "the API serves no derivatives",
    "liquidations": "the API serves no derivatives",
    "raw": "the API serves nothing undecoded",
    "aclose": "ends the client",
}
"""Methods for which there is no route."""
PAGE: Final = (Path(__file__).parents[2] / "docs" / "client.md").read_text(encoding="utf-8")


@pytest.fixture
async def routes() -> set[str]:
    settings = Settings(venues={"usdm": BinanceSettings(market="usdm", symbols=[S])})
    process = Process("api", settings, 0, "redis://127.0.0.1:1")
    built = Api(process).application.build()
    await process.client.aclose()
    return {
        route.resource.canonical
        for route in built.router.routes()
        if route.method == "GET" and route.resource is not None
    }


def public_methods() -> Iterator[str]:
    for name, _ in inspect.getmembers(FleetClient, inspect.isfunction):
        if not name.startswith("_"):
            yield name


async def test_every_route_has_a_method_or_a_reason(routes: set[str]):
    assert routes == METHODS.keys() | EXEMPT.keys()
    assert not METHODS.keys() & EXEMPT.keys()


def test_every_method_stands_in_the_table_exists_and_is_described():
    named = {name for names in METHODS.values() for name in names}
    assert named - {"Book.nearest_level"} | ELSEWHERE.keys() == set(public_methods())
    assert callable(Book.nearest_level)
    missing = [
        name for name in named | ELSEWHERE.keys() if not re.search(rf"\b{name.split('.')[-1]}\(", PAGE)
    ]
    assert not missing


async def test_the_newest_window_of_each_interval(world: World, fleet: FleetClient):
    assert await fleet.get_stats(S) == {}
    await world.fold(1, 2, 3)
    stats = await fleet.get_stats(S)
    assert {"1m", "1h", "1d"} <= stats.keys()
    assert (stats["1m"].interval, stats["1m"].trades_count, stats["1m"].closed) == ("1m", 3, False)
    assert stats["1m"] == (await fleet.get_bars(S, "1m"))[-1]


async def test_holes_newest_first_and_nothing_that_others_wrote(world: World, fleet: FleetClient):
    assert await fleet.get_gaps(S) == []
    for first in (5, 9):
        gap = GapRecord("aggTrade", first, first + 1, "ids jump", "rest")
        assert await record_gap(world.redis, KEYS.gaps(S), gap, 100)
    await world.redis.xadd(KEYS.gaps(S), {"what": "others wrote"})
    found = await fleet.get_gaps(S)
    assert [(gap.channel, gap.first, gap.last, gap.reason, gap.repaired) for gap in found] == [
        ("aggTrade", 9, 10, "ids jump", "rest"),
        ("aggTrade", 5, 6, "ids jump", "rest"),
    ]
    assert len(await fleet.get_gaps(S, 2)) == 1  # of the two newest entries one is of others
    await world.redis.delete(KEYS.gaps(S))
    await world.redis.set(KEYS.gaps(S), "rubbish")
    with pytest.raises(StateUnreadable):
        await fleet.get_gaps(S)


async def test_audits_newest_first(world: World, fleet: FleetClient):
    store = AuditStore(world.redis, KEYS, 100)
    await store.record(
        S, Audit(T0, AuditOutcome.MATCH, update_id=7, snapshot_id=6, compared=40, waited_s=0.5)
    )
    await store.record(S, Audit(T0 + 1, AuditOutcome.MISMATCH, "differs", source="bookTicker"))
    newest, first = await fleet.get_audits(S)
    assert (newest.outcome, newest.source, newest.last_update_id) == ("mismatch", "bookTicker", -1)
    assert (first.time_ms, first.outcome, first.last_update_id, first.snapshot_id) == (T0, "match", 7, 6)
    assert (first.compared, first.waited_s) == (40, 0.5)


def book_of(known_low: str, known_high: str, *levels: str) -> Book:
    bids = [PriceLevel(Number(price), Number("1")) for price in levels if Number(price) < Number("100")]
    asks = [PriceLevel(Number(price), Number("2")) for price in levels if Number(price) > Number("100")]
    return Book(S, 1, T0, T0, Number(known_low), Number(known_high), bids, asks)


@pytest.mark.parametrize(
    ("price", "nearest"),
    [
        ("99.4", "99"), ("100", "99"), ("100.6", "101"), ("98.01", "98"),
        ("97.4", None), ("102", "101"), ("102.5", None), ("1", None),
    ],
)  # fmt: skip
async def test_the_level_nearest_to_a_price_where_no_other_can_be_nearer(price: str, nearest: str | None):
    level = book_of("97.5", "103", "99", "98", "101").nearest_level(price)
    assert (level and str(level.price)) == nearest


@pytest.mark.parametrize("price", ["nan", "inf", "x", ""])
async def test_what_is_no_price_has_no_nearest_level(price: str):
    with pytest.raises(ValueError, match="is no"):
        book_of("0", "inf", "99").nearest_level(price)


async def test_the_ends_of_a_book_that_is_known_whole_and_one_without_levels(
    world: World, fleet: FleetClient
):
    whole = book_of("0", "inf", "99", "101")
    assert [str(level.price) for price in ("1", "10000") if (level := whole.nearest_level(price))] == [
        "99",
        "101",
    ]
    assert book_of("0", "inf").nearest_level("5") is None
    await lay_book(world)
    book: Any = await fleet.get_book(S)
    assert str(book.nearest_level("100.4").price) == "100.5"
