"""REST requests: every way an exchange can fail to answer is a typed error, and a ban stops the whole fleet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from redis.asyncio import Redis

from workers.errors import RateLimited, RequestRefused, RestUnavailable
from workers.runtime.context import VenueContext
from workers.runtime.proxies import open_session
from workers.runtime.rest import RestClient
from workers.settings.exchanges import settings_of
from workers.store.fleet.budget import Urgency
from workers.store.keys import Keys, budget
from workers.venues.binance.settings import BinanceSettings
from workers.venues.binance.venue import Binance
from workers.venues.registry import venue_of

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Exchange:
    """Answers every GET with what the test says."""

    def __init__(self) -> None:
        self.answer: Answer
        self.asked = 0
        self.url = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        return await self.answer(request)


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    found = Exchange()
    app = web.Application()
    app.router.add_get("/{path:.*}", found.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


@pytest.fixture
async def rest(exchange: Exchange, client: Redis) -> AsyncIterator[RestClient]:
    settings = BinanceSettings(market="spot", symbols=["A"], rest_url=exchange.url, weight_per_minute=6000)
    context = VenueContext("spot", Binance("spot", settings), settings, Keys(), ["A"])
    async with open_session("") as session:
        yield RestClient(session, client, context)


def answering(status: int, body: str = "", **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(
            status=status, text=body, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )

    return answer


async def get(rest: RestClient, timeout_s: float = 5) -> bytes:
    return await rest.get(rest._venue.snapshot_request("A"), Urgency.BROKEN, timeout_s)


async def test_a_good_answer_feeds_its_used_weight_back(
    rest: RestClient, exchange: Exchange, client: Redis
) -> None:
    exchange.answer = answering(200, "{}", X_MBX_USED_WEIGHT_1M="5990")
    assert await get(rest) == b"{}"
    assert await client.hget(budget("spot"), "used") == b"5990"
    assert await rest.budget.ask(50, Urgency.BROKEN) > 0


@pytest.mark.parametrize("status", [429, 418])
async def test_a_ban_is_told_to_the_whole_fleet(
    rest: RestClient, exchange: Exchange, client: Redis, status: int
) -> None:
    exchange.answer = answering(
        status, '{"code":-1003,"msg":"Way too much request weight used"}', Retry_After="77"
    )
    with pytest.raises(RateLimited) as caught:
        await get(rest)
    assert (caught.value.status, caught.value.retry_after_s) == (status, 77)
    assert "Way too much" in str(caught.value)
    assert 70_000 < await rest.budget.ask(1, Urgency.BROKEN) <= 77_000
    assert exchange.asked == 1


async def test_a_ban_without_a_time_waits_a_minute(rest: RestClient, exchange: Exchange) -> None:
    exchange.answer = answering(429)
    with pytest.raises(RateLimited) as caught:
        await get(rest)
    assert caught.value.retry_after_s == 60


@pytest.mark.parametrize(
    ("exchange_name", "status", "body", "wait_s"),
    [
        ("bybit", 200, '{"retCode":10006,"retMsg":"Too many visits!","result":{},"retExtInfo":{}}', 5),
        ("bybit", 403, "access too frequent", 600),
        ("kraken", 200, '{"error":["EGeneral:Too many requests"]}', 15),
        (
            "bitstamp",
            400,
            '{"response_code": "400.002", "response_explanation": "Request rate limit exceeded."}',
            60,
        ),
        ("bitfinex", 500, '["error",11010,"ratelimit: error"]', 60),
    ],
)
async def test_an_exchange_may_say_in_its_own_words_that_too_much_was_asked(
    exchange: Exchange, client: Redis, exchange_name: str, status: int, body: str, wait_s: int
) -> None:
    settings = settings_of(exchange_name)(symbols=["A"], rest_url=exchange.url)  # type: ignore[call-arg]
    context = VenueContext(exchange_name, venue_of(exchange_name, settings), settings, Keys(), ["A"])
    exchange.answer = answering(status, body)
    async with open_session("") as session:
        rest = RestClient(session, client, context)
        with pytest.raises(RateLimited) as caught:
            await rest.get(context.venue.info_request(), Urgency.BROKEN, 5)
        assert (caught.value.status, caught.value.retry_after_s) == (status, wait_s)
        assert await rest.budget.ask(1, Urgency.BROKEN) > 1_000
        exchange.answer = answering(429, body, Retry_After="900")
        await client.delete(budget(context.venue.pool))
        with pytest.raises(RateLimited) as caught:
            await rest.get(context.venue.info_request(), Urgency.BROKEN, 5)
        assert caught.value.retry_after_s == 900


async def test_a_refusal_carries_the_exchange_code(rest: RestClient, exchange: Exchange) -> None:
    exchange.answer = answering(400, '{"code":-1121,"msg":"Invalid symbol."}')
    with pytest.raises(RequestRefused, match="-1121: Invalid symbol"):
        await get(rest)


@pytest.mark.parametrize("status", [403, 408, 500, 502, 503])
async def test_what_may_pass_is_unavailable(rest: RestClient, exchange: Exchange, status: int) -> None:
    exchange.answer = answering(status, "<html>blocked</html>")
    with pytest.raises(RestUnavailable, match="no error object"):
        await get(rest)


async def test_a_slow_a_cut_and_a_dead_host_are_unavailable(rest: RestClient, exchange: Exchange) -> None:
    async def slow(_: web.Request) -> web.Response:
        await asyncio.sleep(3)
        return web.Response()

    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"lastUpdateId":')
        assert request.transport is not None
        request.transport.abort()
        return response

    exchange.answer = slow
    with pytest.raises(RestUnavailable, match="TimeoutError"):
        await get(rest, timeout_s=0.05)
    exchange.answer = cut
    with pytest.raises(RestUnavailable):
        await get(rest)
    rest._venue._rest = "http://127.0.0.1:9"
    with pytest.raises(RestUnavailable, match="status 0"):
        await get(rest)


async def test_a_request_that_is_not_answered_is_not_sent_again(
    rest: RestClient, exchange: Exchange, client: Redis
) -> None:
    """aiohttp does so by itself: the exchange counted up to twice what the budget had granted, and banned the fleet."""

    async def end(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    exchange.answer = answering(200, "{}")
    await get(rest)
    exchange.answer = end
    for asked in (2, 3):  # over the connection that is there already, and over a new one
        with pytest.raises(RestUnavailable, match="status 0"):
            await get(rest)
        assert exchange.asked == asked
    assert await client.hget(budget("spot"), "used") == b"150"
