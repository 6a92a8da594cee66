"""The status API: what it answers, and what it says when it cannot."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient, TestServer
from redis.asyncio import Redis

from workers.api.server import StatusServer
from workers.process import Process
from workers.settings import Settings, VenueSettings
from workers.store.keys import Keys

KEYS = Keys()


@pytest.fixture
async def api(real_server: str) -> AsyncIterator[TestClient]:  # type: ignore[type-arg]
    venues = {
        "usdm": VenueSettings(market="usdm", symbols=["BTCUSDT", "币安人生USDT"]),
        "spot": VenueSettings(market="spot", symbols=["BNBBTC"]),
    }
    process = Process("api", Settings(venues=venues), 0, real_server)
    await process.client.flushall()  # the server is this test process's own
    async with TestClient(TestServer(StatusServer(process).application())) as client:
        yield client
    await process.client.aclose()


@pytest.fixture
async def redis(real_server: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(real_server, protocol=2)
    yield client
    await client.aclose()


async def test_an_empty_fleet_is_described_as_such(api: TestClient) -> None:  # type: ignore[type-arg]
    found = await (await api.get("/status")).json()
    assert found["workers"] == []
    assert set(found["venues"]["usdm"]) == {"BTCUSDT", "币安人生USDT"}
    assert found["venues"]["spot"]["BNBBTC"]["shown"] is False
    assert (await api.get("/healthz")).status == 200
    assert b"fleet_api_requests_total" in await (await api.get("/metrics")).read()
    assert "/status" in (await (await api.get("/")).json())["paths"]


async def test_a_book_is_given_as_published_or_not_at_all(api: TestClient, redis: Redis) -> None:  # type: ignore[type-arg]
    refused = await api.get("/orderbook?symbol=BTCUSDT")
    assert (refused.status, refused.content_type) == (503, "application/problem+json")
    await redis.hset(KEYS.book_status("BTCUSDT"), mapping={"state": "broken", "reason": "gap"})
    assert "gap" in (await (await api.get("/orderbook")).json())["detail"]
    await redis.hset(KEYS.live_orderbook, "BTCUSDT", '{"s":"BTCUSDT","b":[["1.0","2"]]}')
    shown = await api.get("/orderbook")
    assert await shown.text() == '{"s":"BTCUSDT","b":[["1.0","2"]]}'
    status = await (await api.get("/status")).json()
    assert status["venues"]["usdm"]["BTCUSDT"]["shown"] is True


@pytest.mark.parametrize(
    ("path", "status"), [("/nothing", 404), ("/orderbook?symbol=NO", 404), ("/orderbook?venue=moon", 404)]
)
async def test_unknown_things_are_problems_that_say_what_to_do(
    api: TestClient, path: str, status: int
) -> None:  # type: ignore[type-arg]
    response = await api.get(path)
    assert response.status == status
    problem = await response.json()
    assert problem["status"] == status
    assert problem["detail"]


async def test_without_redis_the_answer_is_503(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[type-arg]
    async def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("refused")

    monkeypatch.setattr("redis.asyncio.Redis.execute_command", refuse)
    response = await api.get("/healthz")
    assert response.status == 503
    assert "Redis" in (await response.json())["title"]
