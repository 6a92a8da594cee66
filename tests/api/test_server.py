"""What the API answers when there is little or nothing to say, and how it says that it cannot answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from redis.asyncio import Redis
from test_topics import WINDOW

from workers.api.server import Api
from workers.model.books.audit import AuditOutcome
from workers.model.symbols.selection import SymbolRule
from workers.runtime.process import Process
from workers.settings.api import ApiSettings
from workers.settings.schema import Settings
from workers.store.books.audits import Audit, AuditStore
from workers.store.fleet.followed import publish
from workers.store.keys import Keys
from workers.venues.binance.settings import BinanceSettings

KEYS = Keys()
PATHS = [
    "/status",
    "/symbols",
    "/orderbook",
    "/nearest-level/1.5",
    "/trades",
    "/bars/1m",
    "/stats",
    "/gaps",
    "/audits",
]


def settings(**api: object) -> Settings:
    venues = {
        "usdm": BinanceSettings(market="usdm", symbols=["BTCUSDT", "币安人生USDT"]),
        "spot": BinanceSettings(market="spot", symbols=["BNBBTC"]),
    }
    return Settings(venues=venues, api=ApiSettings(**api))  # type: ignore[arg-type]


async def serving(url: str, chosen: Settings) -> AsyncGenerator[TestClient]:  # type: ignore[type-arg]
    process = Process("api", chosen, 0, url)
    await process.client.flushall()  # the server is this test process's own
    api = Api(process)
    api.start()
    async with TestClient(TestServer(api.application.build())) as client:
        yield client
    await api.close()
    await process.client.aclose()


@pytest.fixture
async def api(real_server: str) -> AsyncIterator[TestClient]:  # type: ignore[type-arg]
    async for client in serving(real_server, settings(cors_origins=["https://example.org"], body_bytes=1000)):
        yield client


@pytest.fixture
async def redis(real_server: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(real_server, protocol=2)
    yield client
    await client.aclose()


async def test_an_empty_fleet_is_described_as_such(api: TestClient) -> None:  # type: ignore[type-arg]
    found = await (await api.get("/status")).json()
    assert found["fleet"]["workers"] == []
    assert found["fleet"]["redis"]["used_memory"] > 0
    assert [(one["venue"], one["symbol"]) for one in found["symbols"]] == [
        ("usdm", "BTCUSDT"),
        ("usdm", "币安人生USDT"),
        ("spot", "BNBBTC"),
    ]
    nothing = found["symbols"][0]
    assert (nothing["shown"], nothing["state"], nothing["last_update_id"]) == (False, "not owned", None)
    assert nothing["trust"] == {"score": 0, "why": ["withheld: not owned"]}
    assert (await api.get("/livez")).status == 200
    assert (await api.get("/healthz")).status == 503
    assert b"fleet_api_requests_total" in await (await api.get("/metrics")).read()
    symbols = await (await api.get("/symbols")).json()
    assert [one["default_symbol"] for one in symbols["venues"]] == ["BTCUSDT", "BNBBTC"]
    for path in ("/trades", "/bars/1m", "/gaps", "/audits"):
        assert (await api.get(path)).status == 200


async def test_audits_say_what_the_book_was_compared_with(api: TestClient, redis: Redis) -> None:  # type: ignore[type-arg]
    store = AuditStore(redis, KEYS, 10)
    await store.record("BTCUSDT", Audit(1, AuditOutcome.MATCH))
    await store.record(
        "BTCUSDT", Audit(2, AuditOutcome.MISMATCH, "best level mismatch", 7, source="bookTicker")
    )
    found = (await (await api.get("/audits")).json())["audits"]
    assert [(one["time_ms"], one["source"], one["outcome"]) for one in found] == [
        (2, "bookTicker", "mismatch"),
        (1, "snapshot", "match"),
    ]


async def test_a_book_out_of_sync_is_withheld_with_its_reason(api: TestClient, redis: Redis) -> None:  # type: ignore[type-arg]
    await redis.hset(KEYS.book_status("BTCUSDT"), mapping={"state": "broken", "reason": "gap"})
    await redis.hset(KEYS.lease("books", "BTCUSDT"), mapping={"owner": "books-1", "token": 1})
    refused = await api.get("/orderbook")
    assert (refused.status, refused.content_type) == (503, "application/problem+json")
    assert refused.headers["Retry-After"] == "1"
    problem = await refused.json()
    assert (problem["state"], problem["reason"]) == ("broken", "gap")
    assert "GET /status" in problem["detail"]
    unowned = await (await api.get("/nearest-level/1?venue=spot")).json()
    assert unowned["state"] == "not owned"


@pytest.mark.parametrize(
    ("path", "status", "where"),
    [
        ("/nothing", 404, None),
        ("/orderbook?symbol=NO", 404, "query.symbol"),
        ("/orderbook?venue=moon", 404, "query.venue"),
        ("/orderbook?symbol=moon:BTCUSDT", 404, "query.symbol"),
        ("/orderbook?symbol=spot:BNBBTC&venue=usdm", 404, "query.venue"),
        ("/orderbook?symbol=%00", 404, "query.symbol"),
        ("/orderbook?depth=0", 422, "query.depth"),
        ("/orderbook?depth=x", 422, "query.depth"),
        ("/orderbook?depht=5", 422, "query.depht"),
        ("/orderbook?depth=1&depth=2", 422, "query.depth"),
        ("/nearest-level/-5", 422, "path.price"),
        ("/nearest-level/1.2345678901234567", 422, "path.price"),
        ("/nearest-level/5?price=6", 422, "query.price"),
        ("/bars/2m", 422, "path.interval"),
        ("/bars/1m?from=5&to=4", 422, "query.to"),
        ("/trades?limit=100000", 422, "query.limit"),
        ("/trades?from=nan", 422, "query.from"),
    ],
)
async def test_a_problem_says_what_where_and_what_to_do(
    api: TestClient,  # type: ignore[type-arg]
    path: str,
    status: int,
    where: str | None,
) -> None:
    response = await api.get(path)
    assert (response.status, response.content_type) == (status, "application/problem+json")
    problem = await response.json()
    assert (problem["status"], problem.get("where")) == (status, where)
    assert problem["title"]
    assert problem["detail"]


@pytest.mark.parametrize(
    ("query", "venue", "symbol"),
    [
        ("symbol=btcusdt", "usdm", "BTCUSDT"),
        ("symbol=USDM:BtcUsdt", "usdm", "BTCUSDT"),
        ("symbol=币安人生usdt", "usdm", "币安人生USDT"),
        ("symbol=spot:bnbbtc", "spot", "BNBBTC"),
        ("symbol=bnbbtc&venue=SPOT", "spot", "BNBBTC"),
        ("symbol=spot:bnbbtc&venue=spot", "spot", "BNBBTC"),
        ("venue=Spot", "spot", "BNBBTC"),
    ],
)
async def test_a_symbol_may_be_written_in_any_way(
    api: TestClient,  # type: ignore[type-arg]
    query: str,
    venue: str,
    symbol: str,
) -> None:
    found = await (await api.get(f"/trades?{query}")).json()
    assert (found["venue"], found["symbol"]) == (venue, symbol)


async def test_an_unknown_symbol_is_called_so_with_the_nearest_names(api: TestClient) -> None:  # type: ignore[type-arg]
    problem = await (await api.get("/trades?symbol=BTCUSDC")).json()
    assert problem["title"] == "BTCUSDC is not followed at usdm"
    assert problem["detail"] == "the nearest names: BTCUSDT; GET /symbols lists all"
    problem = await (await api.get("/trades?venue=spt")).json()
    assert problem["title"] == "There is no venue 'spt'"
    assert problem["detail"] == "there are usdm, spot. Did you mean 'spot'?"


async def test_while_nobody_has_said_what_patterns_choose_a_symbol_is_not_called_unknown(
    real_server: str,
) -> None:
    venues = {"usdm": BinanceSettings(market="usdm", symbols=["ETHUSDT", "*USDC"])}
    async with aclosing(serving(real_server, Settings(venues=venues))) as clients:
        api = await anext(clients)
        response = await api.get("/trades?symbol=BTCUSDC")
        assert (response.status, (await response.json())["title"]) == (503, "usdm has no symbols yet")
        assert (await api.get("/trades?symbol=ETHUSDT")).status == 200
        async with api.ws_connect("/ws") as socket, asyncio.timeout(60):
            await socket.send_json({"op": "subscribe", "channel": "book", "symbols": ["BTCUSDC"]})
            assert (await socket.receive_json())["status"] == 503


async def test_a_symbol_the_exchange_does_not_list_is_called_so_everywhere(
    api: TestClient, redis: Redis
) -> None:  # type: ignore[type-arg]
    venue = settings().venues["usdm"]
    rule = SymbolRule.parse(venue.symbols, venue.max_symbols)
    await publish(redis, "usdm", rule.text, rule.exact, {}, {"BTCUSDT": ["BTCUSDC"]})

    async def problem(path: str) -> dict[str, object]:
        async with asyncio.timeout(60):
            while (response := await api.get(path)).status != 404:  # the list is read once a second
                await asyncio.sleep(0.05)
        found: dict[str, object] = await response.json()
        return found

    for path in ("/orderbook", "/nearest-level/1.5", "/trades", "/bars/1m", "/stats", "/history"):
        told = await problem(f"{path}?symbol=btcusdt")
        assert told["title"] == "The exchange of usdm does not list BTCUSDT", path
        assert told["detail"] == "the nearest names: BTCUSDC"
    for channel in ("book", "trades", "bars", "stats", "status"):
        told = await problem(f"/sse?channel={channel}&symbols=BTCUSDT")
        assert "does not list BTCUSDT" in str(told["title"])
    async with api.ws_connect("/ws") as socket:
        await socket.send_json({"op": "subscribe", "id": 1, "channel": "book", "symbols": ["BTCUSDT"]})
        refused = await socket.receive_json()
        assert (refused["type"], refused["detail"]) == ("error", "the nearest names: BTCUSDC")
    assert (await api.get("/trades?symbol=币安人生USDT")).status == 200


async def test_of_a_few_values_all_are_listed(api: TestClient) -> None:  # type: ignore[type-arg]
    problem = await (await api.get("/bars/2m")).json()
    assert problem["detail"].startswith("Expected one of 100ms, 1m, 5m, 15m, 1h, 4h, 1d;")
    problem = await (await api.get("/bars/1m?format=x")).json()
    assert problem["detail"].startswith("Expected one of records, klines;")
    problem = await (await api.get("/sse?channel=x&symbols=BTCUSDT")).json()
    assert problem["detail"].startswith("Expected one of book, trades, bars, stats, status")


async def test_numbers_of_heartbeats_are_numbers(api: TestClient, redis: Redis) -> None:  # type: ignore[type-arg]
    seconds, _ = await redis.time()
    told = {"pid": 5, "rate": "0.25", "since_ms": 1_795_834_103_409, "alive": "usdm,spot", "version": "1e5"}
    await redis.zadd("fleet:workers:analytics", {"123": (int(seconds) + 25) * 1000})  # of any role there is
    await redis.hset("fleet:worker:123", mapping=told)
    async with asyncio.timeout(60):
        # for half a second everybody is told what was read before
        while not (workers := (await (await api.get("/status")).json())["fleet"]["workers"]):
            await asyncio.sleep(0.05)
    assert workers[0] == {**told, "rate": 0.25, "name": "123", "role": "analytics"}


@pytest.mark.parametrize(
    ("body", "status", "where"),
    [
        (b"{", 422, "body"),
        (b"\xff", 422, "body"),
        (b"[]", 422, "body"),
        (b"{}", 422, "body.price"),
        (b'{"price":"abc"}', 422, "body.price"),
        (b'{"price":-1}', 422, "body.price"),
        (b'{"price":1,"stamp":1}', 422, "body.stamp"),
        (b'{"price":1,"symbol":"NO"}', 404, "body.symbol"),
        (b'{"price":1,"timestamp":-1}', 422, "body.timestamp"),
        (b'{"stamp":1,', 422, "body"),
        (b'{"stamp":"\xff"}', 422, "body"),
        (b'{"stamp":' + b"[" * 985, 422, "body"),
        (b"[" * 985, 422, "body"),
        (b" " * 2000, 413, None),
    ],
)
async def test_a_body_that_cannot_be_used_is_a_problem(
    api: TestClient,  # type: ignore[type-arg]
    body: bytes,
    status: int,
    where: str | None,
) -> None:
    response = await api.post("/quantity", data=body)
    problem = await response.json()
    assert (response.status, problem.get("where")) == (status, where)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_body_that_is_not_encoded_as_it_says_is_a_problem(api: TestClient, encoding: str) -> None:  # type: ignore[type-arg]
    response = await api.post("/quantity", data=b"none", headers={"Content-Encoding": encoding})
    assert (response.status, (await response.json())["where"]) == (422, "body")


async def test_a_price_that_is_none_is_told_in_words(api: TestClient) -> None:  # type: ignore[type-arg]
    problem = await (await api.post("/quantity", data=b'{"price":"abc"}')).json()
    assert problem["detail"].startswith(
        "Expected a plain decimal above zero, of at most 15 significant digits;"
    )


@pytest.mark.parametrize("held", ["text", {"start": "60000"}, {**WINDOW, "low_price": "none"}])
async def test_a_window_that_is_none_is_said_to_be_unreadable(
    api: TestClient,  # type: ignore[type-arg]
    redis: Redis,
    held: Any,
) -> None:
    key = KEYS.stats("BTCUSDT", "1m")
    await (redis.set(key, held) if isinstance(held, str) else redis.hset(key, mapping=held))
    for path in ("/stats", "/bars/1m", "/stats?numbers=1"):
        response = await api.get(path)
        assert (response.status, (await response.json())["title"]) == (503, "A key cannot be read")
    assert (await api.get("/bars/5m")).status == 200
    await redis.delete(key)
    await redis.hset(key, mapping=WINDOW)
    assert (await api.get("/stats")).status == 200


async def test_another_method_is_refused_and_the_right_one_named(api: TestClient) -> None:  # type: ignore[type-arg]
    response = await api.delete("/orderbook")
    assert (response.status, response.content_type) == (405, "application/problem+json")
    assert "GET" in response.headers["Allow"]


async def test_head_is_get_without_the_body(api: TestClient) -> None:  # type: ignore[type-arg]
    for path in ("/livez", "/symbols", "/openapi.json", "/orderbook?symbol=NOPE"):
        given, head = await api.get(path), await api.head(path)
        assert (head.status, await head.read()) == (given.status, b"")
        for name in ("ETag", "Content-Length", "Content-Type"):
            assert head.headers.get(name) == given.headers.get(name)
    for path in ("/sse?channel=status&symbols=BTCUSDT", "/ws"):
        assert (await api.head(path)).status == 405, "what it sent would be taken for the next answer"


async def test_pages_of_allowed_origins_may_read(api: TestClient) -> None:  # type: ignore[type-arg]
    allowed = await api.get("/healthz", headers={"Origin": "https://example.org"})
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://example.org"
    refused = await api.get("/healthz", headers={"Origin": "https://example.net"})
    assert "Access-Control-Allow-Origin" not in refused.headers
    headers = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
    asked_first = await api.options("/quantity", headers=headers)
    assert asked_first.status == 204
    assert "POST" in asked_first.headers["Access-Control-Allow-Methods"]
    assert asked_first.headers["Access-Control-Allow-Origin"] == "https://example.org"


async def test_what_the_client_has_already_is_not_sent_again(api: TestClient) -> None:  # type: ignore[type-arg]
    first = await api.get("/openapi.json")
    again = await api.get("/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")
    other = await api.get("/openapi.json", headers={"If-None-Match": '"other"'})
    assert other.status == 200


async def test_large_answers_are_compressed_for_those_who_can_read_them(api: TestClient) -> None:  # type: ignore[type-arg]
    async with api.get("/openapi.json", headers={"Accept-Encoding": "gzip"}) as packed:
        assert packed.headers["Content-Encoding"] == "gzip"
        text = await packed.text()
    async with api.get("/openapi.json", headers={"Accept-Encoding": "identity"}) as plain:
        assert "Content-Encoding" not in plain.headers
        assert await plain.text() == text
    async with api.get("/openapi.json", headers={"Accept-Encoding": "br, gzip;q=0"}) as refused:
        assert "Content-Encoding" not in refused.headers


async def test_every_path_is_described_and_shown(api: TestClient) -> None:  # type: ignore[type-arg]
    found = await (await api.get("/openapi.json")).json()
    described = set(found["paths"])
    assert {path.split("/")[1] for path in PATHS} <= {path.split("/")[1] for path in described}
    page = await (await api.get("/docs")).text()
    assert [path for path in described if path not in page] == []
    assert "<script" not in page
    meaning = found["components"]["schemas"]["HistoryAnswer"]["properties"]["seconds_held"]["description"]
    assert meaning == "Seconds of which the book is known."
    assert meaning in page


async def test_without_redis_the_answer_is_503(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[type-arg]
    async def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("refused")

    monkeypatch.setattr("workers.store.wire.WiredClient.execute_command", refuse)
    response = await api.get("/gaps")
    assert response.status == 503
    assert "Redis" in (await response.json())["title"]


async def test_a_fault_of_ours_is_a_problem_too(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[type-arg]
    async def wrong(*_: object, **__: object) -> None:
        raise KeyError("start")

    monkeypatch.setattr("workers.api.http.routes.fleet.read_infos", wrong)
    response = await api.get("/symbols")
    assert (response.status, response.content_type) == (500, "application/problem+json")
    assert (await response.json())["detail"]
    metrics = await (await api.get("/metrics")).text()
    assert 'fleet_api_failures_total{path="/symbols"} 1.0' in metrics


async def test_an_answer_that_takes_too_long_is_given_up(
    real_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(*_: object, **__: object) -> None:
        await asyncio.sleep(60)

    async for client in serving(real_server, settings(timeout_s=0.05)):
        monkeypatch.setattr("workers.api.http.routes.fleet.read_infos", slow)
        response = await client.get("/symbols")
        assert response.status == 503
        assert "too long" in (await response.json())["title"]
