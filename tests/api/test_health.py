"""/healthz and /livez: what is told is what was seen last, at once, also while Redis is frozen."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from redis.asyncio import Redis
from test_server import serving, settings

from workers.api.http.health import AWAY_S, SILENT_MS, Connections, Health, judge
from workers.api.http.markets import Markets
from workers.api.http.state_types import VenueHealth
from workers.model.symbols.shares import Share
from workers.runtime.pulse import Pulse
from workers.settings.schema import FleetSettings
from workers.store.books.watch import Sight, Watch
from workers.store.keys import Keys

WELL = VenueHealth("usdm", True, 6, 6, 100)
AWAY = VenueHealth("usdm", False, 6, 6, 100)
NONE_SHOWN = VenueHealth("usdm", True, 0, 6, 100)
USDM, SPOT = Keys(), Keys("spot:")


@pytest.mark.parametrize(
    ("venues", "unanswered_s", "state", "reason"),
    [
        ([WELL], 0.1, "ok", ""),
        ([WELL], AWAY_S + 0.1, "down", "Redis has not answered for 1.6 s"),
        ([NONE_SHOWN], 0.1, "down", "usdm: 6 of 6 books are withheld"),
        ([AWAY], 0.1, "down", "usdm: no line has living sockets to the exchange"),
        ([VenueHealth("usdm", True, 5, 6, 100)], 0.1, "degraded", "usdm: 1 of 6 books are withheld"),
        ([VenueHealth("usdm", True, 6, 6, SILENT_MS + 1)], 0.1, "degraded", "usdm: nothing has come for 5 s"),
        ([VenueHealth("usdm", True, 0, 0, None)], 0.1, "down", "usdm: no symbol is followed yet"),
        (
            [VenueHealth("usdm", True, 6, 6, 100, 2)],
            0.1,
            "degraded",
            "usdm: no line has living sockets for 2 of 6 symbols",
        ),
        (
            [WELL, VenueHealth("spot", False, 3, 3, 1)],
            0.1,
            "degraded",
            "spot: no line has living sockets to the exchange",
        ),
        ([], 0.1, "down", ""),
    ],
)
def test_what_is_seen_means(venues: list[VenueHealth], unanswered_s: float, state: str, reason: str) -> None:
    found = judge(venues, unanswered_s)
    assert (found.state, found.ok) == (state, state == "ok")
    assert found.reasons == ([reason] if reason else [])


def test_what_this_process_is_late_by_is_not_the_silence_of_redis() -> None:
    pulse = Pulse()
    health = Health("redis://127.0.0.1:1", FleetSettings(), Markets(settings()), pulse)
    assert health.away_s == AWAY_S
    pulse.observe(1.0)
    assert judge([WELL], AWAY_S + 2.9, health.away_s).state == "ok"
    assert judge([WELL], AWAY_S + 3.1, health.away_s).state == "down"
    pulse.observe(3600.0)
    assert health.away_s == 5 * AWAY_S  # but no longer than that


async def test_a_book_counts_as_shown_while_somebody_owns_it(client: Redis) -> None:
    watch = Watch(client)
    assert await watch.sights(USDM, ["A", "B"]) == [Sight(False, None)] * 2
    await client.hset(USDM.live_orderbook, mapping={"A": "x", "B": "x"})
    await client.hset(USDM.lease("books", "A"), "owner", "books-1")
    await client.hset(USDM.book_status("A"), "age_ms", 12)
    assert await watch.sights(USDM, ["A", "B"]) == [Sight(True, 12), Sight(False, None)]


async def test_what_is_unreadable_costs_itself_alone(client: Redis) -> None:
    watch = Watch(client)
    await client.hset(USDM.live_orderbook, mapping={"A": "x", "B": "x", b"\xff": "x"})
    for symbol in ("A", "B"):
        await client.hset(USDM.lease("books", symbol), "owner", "books-1")
    await client.set(USDM.book_status("A"), "rubbish")
    await client.hset(USDM.book_status("B"), "age_ms", "many")
    assert await watch.sights(USDM, ["A", "B"]) == [Sight(True, None)] * 2
    await client.delete(USDM.live_orderbook)
    await client.set(USDM.live_orderbook, "rubbish")
    assert await watch.sights(USDM, ["A", "B"]) == [Sight(False, None)] * 2


def test_what_no_process_of_a_line_follows_is_cut_off():
    told = {"alive": "usdm", "open": "usdm,spot", "processes": "2"}
    symbols = [f"S{number}" for number in range(20)]
    one = Connections([{**told, "process": "0"}, {**told, "process": "0"}])
    assert {symbol for symbol in symbols if one.has("usdm", symbol)} == set(filter(Share(0, 2).has, symbols))
    assert one.any_to("usdm")
    assert not one.any_to("spot")
    assert not one.has("spot", "S1")
    both = Connections([{**told, "process": "0"}, {**told, "process": "1"}])
    assert all(both.has("usdm", symbol) for symbol in symbols)


async def a_fleet(client: Redis) -> None:
    """What a fleet in good health has in Redis."""
    for keys, symbols in ((USDM, ("BTCUSDT", "币安人生USDT")), (SPOT, ("BNBBTC",))):
        for symbol in symbols:
            await client.hset(keys.live_orderbook, symbol, "x")
            await client.hset(keys.lease("books", symbol), "owner", "books-1")
            await client.hset(keys.book_status(symbol), "age_ms", 12)
    seconds, _ = await client.time()
    await client.zadd("fleet:workers:ingest-a", {"a": (int(seconds) + 600) * 1000})
    await client.hset("fleet:worker:a", mapping={"alive": "usdm,spot", "open": "usdm,spot"})


@pytest.fixture
async def redis(spare_server: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(spare_server, protocol=2)
    yield client
    await client.aclose()


@pytest.fixture
async def api(spare_server: str) -> AsyncIterator[TestClient]:  # type: ignore[type-arg]
    chosen = settings()
    chosen.fleet.heartbeat_ms = 60_000  # what the test writes once must last
    async for client in serving(spare_server, chosen):
        yield client


async def until(ask: Callable[[], Awaitable[Any]], fits: Callable[[Any], bool]) -> Any:
    async with asyncio.timeout(60):
        while not fits(found := await ask()):
            await asyncio.sleep(0.05)
    return found


async def test_the_health_of_a_fleet_that_comes_breaks_and_comes_back(
    api: TestClient,  # type: ignore[type-arg]
    redis: Redis,
) -> None:
    async def health() -> tuple[int, dict[str, Any]]:
        response = await api.get("/healthz")
        return response.status, await response.json()

    status, problem = await until(health, lambda found: len(found[1]["reasons"]) > 1)
    assert (status, problem["title"]) == (503, "The fleet is down")
    assert "usdm: 2 of 2 books are withheld" in problem["reasons"]
    assert problem["detail"] == "; ".join(problem["reasons"])
    await a_fleet(redis)
    status, found = await until(health, lambda found: found[0] == 200)
    assert (found["ok"], found["state"], found["reasons"]) == (True, "ok", [])
    assert found["venues"][0] == {
        "venue": "usdm", "is_connected": True, "books_shown": 2, "books_followed": 2, "silent_ms": 12,
        "books_cut_off": 0,
    }  # fmt: skip
    await redis.hdel(USDM.live_orderbook, "BTCUSDT")
    status, found = await until(health, lambda found: found[1]["state"] != "ok")
    assert (status, found["state"], found["reasons"]) == (
        200,
        "degraded",
        ["usdm: 1 of 2 books are withheld"],
    )
    await redis.hset("fleet:worker:a", "open", "")
    status, problem = await until(health, lambda found: found[0] == 503)
    assert "usdm: no line has living sockets to the exchange" in problem["reasons"]


async def test_questions_about_the_fleet_do_not_wait_for_a_redis_that_is_frozen(
    api: TestClient,  # type: ignore[type-arg]
    redis: Redis,
) -> None:
    await a_fleet(redis)

    async def status() -> int:
        return (await api.get("/healthz")).status

    await until(status, lambda found: found == 200)
    server = int((await redis.info("server"))["process_id"])
    os.kill(server, signal.SIGSTOP)
    try:  # whoever waits for Redis itself is told that the answer took too long
        paths = ("/status", "/status", "/symbols", "/gaps?symbol=BTCUSDT", "/audits?symbol=BTCUSDT")
        for response in await asyncio.gather(*map(api.get, paths)):
            problem = await response.json()
            assert (response.status, problem["title"]) == (503, "Redis does not answer"), response.url
            assert problem["detail"].startswith("it has not answered for ")
    finally:
        os.kill(server, signal.SIGCONT)
    await until(status, lambda found: found == 200)
    assert (await api.get("/status")).status == 200


async def test_health_is_told_at_once_while_redis_is_frozen(api: TestClient, redis: Redis) -> None:  # type: ignore[type-arg]
    await a_fleet(redis)

    async def status() -> int:
        return (await api.get("/healthz")).status

    await until(status, lambda found: found == 200)
    server = int((await redis.info("server"))["process_id"])
    os.kill(server, signal.SIGSTOP)
    try:
        await until(status, lambda found: found == 503)
        async with asyncio.timeout(60):  # each would take seconds if it waited for Redis
            for _ in range(200):
                problem = await (await api.get("/healthz")).json()
                assert problem["reasons"][0].startswith("Redis has not answered for ")
                assert (await api.get("/livez")).status == 200
    finally:
        os.kill(server, signal.SIGCONT)
    await until(status, lambda found: found == 200)
