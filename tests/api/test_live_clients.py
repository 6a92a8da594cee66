"""Live clients on a running fleet: chains that hold, states that are told, slow readers that harm nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer
from in_process import KEYS, Fleet, fleet_of
from test_live_books import no_faults, no_snapshots, truth_book, within

from workers.api.live.hub import Wanted
from workers.api.server import Api
from workers.runtime.process import Process
from workers.settings.api import ApiSettings
from workers.settings.schema import Settings


def changed(settings: Settings, **api: object) -> Settings:
    values = {name: getattr(settings, name) for name in settings.__struct_fields__}
    return Settings(**{**values, "api": ApiSettings(**api)})  # type: ignore[arg-type]


@pytest.fixture
async def fleet(real_server: str) -> AsyncIterator[Fleet]:
    async with fleet_of(real_server) as running:
        running.be_patient()
        for role in ("ingest-a", "books", "trades"):
            running.start(role, f"{role}-1")
        await running.until(running.all_shown)
        yield running


@pytest.fixture
async def api(fleet: Fleet) -> AsyncIterator[TestClient]:  # type: ignore[type-arg]
    chosen = changed(fleet.settings, most_clients=5, most_subscriptions=4, client_queue=5, heartbeat_s=4)
    process = Process("api", chosen, 0, fleet.url)
    served = Api(process)
    served.start()
    async with TestClient(TestServer(served.application.build())) as client:
        client.api = served  # type: ignore[attr-defined]
        yield client
    await served.close()
    await process.client.aclose()


class Live:
    """A connection, with what it was sent and not asked for yet."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket

    async def ask(self, **fields: Any) -> dict[str, Any]:
        await self.socket.send_json({"id": 7, **fields})
        return await self.next(lambda found: found.get("id") == 7)

    async def next(
        self, fits: Any = lambda found: "channel" in found and "id" not in found
    ) -> dict[str, Any]:
        async with asyncio.timeout(60):
            while True:
                found: dict[str, Any] = await self.socket.receive_json()
                if fits(found):
                    return found


@pytest.fixture
async def live(api: TestClient) -> AsyncIterator[Live]:  # type: ignore[type-arg]
    async with api.ws_connect("/ws") as socket:
        yield Live(socket)


async def test_snapshots_are_the_exchanges_books(fleet: Fleet, live: Live) -> None:
    told = await live.ask(op="subscribe", channel="book", symbols=["BTCUSDT", "usdm:SOLUSDT"], depth=15)
    assert told == {
        "type": "subscribed",
        "id": 7,
        "channel": "book",
        "symbols": ["usdm:BTCUSDT", "usdm:SOLUSDT"],
    }
    seen: dict[str, int] = {}
    for _ in range(12):
        found = await live.next()
        assert (found["type"], len(found["b"]), len(found["a"])) == ("snapshot", 15, 15)
        assert found["u"] >= seen.get(found["symbol"], 0)
        seen[found["symbol"]] = found["u"]
        truth = await truth_book(fleet, found["symbol"], found["u"])
        assert found["b"] == within(truth["bids"], found["known_low"], found["known_high"])[:15]
        assert found["a"] == within(truth["asks"], found["known_low"], found["known_high"])[:15]
    assert set(seen) == {"BTCUSDT", "SOLUSDT"}


async def test_differences_chain_from_a_snapshot_and_begin_anew_after_a_loss(
    fleet: Fleet, live: Live
) -> None:
    await live.ask(op="subscribe", channel="book", symbols=["BTCUSDT"], depth=10, mode="diffs")
    sides: dict[str, dict[str, str]] = {"b": {}, "a": {}}
    u, kinds = 0, list[str]()
    while "withheld" not in kinds or kinds.count("diff") < 30 or kinds[-1] != "diff":
        found = await live.next()
        kinds.append(found["type"])
        if found["type"] == "withheld":
            u = 0
            await no_faults(fleet)
            continue
        if found["type"] == "snapshot":
            sides = {"b": dict(found["b"]), "a": dict(found["a"])}
        else:
            assert found["prev_u"] == u, "a break in the chain"
            for side, held in sides.items():
                for price, quantity in found[side]:
                    if quantity == "0":
                        del held[price]
                    else:
                        held[price] = quantity
        u = found["u"]
        truth = await truth_book(fleet, "BTCUSDT", u)
        assert sides["b"] == dict(truth["bids"][:10])
        assert sides["a"] == dict(truth["asks"][:10])
        if len(kinds) == 11:
            await no_snapshots(fleet)
            await fleet.client.set(KEYS.book_distrust("BTCUSDT"), "audit mismatch", ex=60)
    assert kinds[0] == "snapshot"
    lost = kinds.index("withheld")
    assert "diff" in kinds[:lost]
    assert next(kind for kind in kinds[lost:] if kind != "withheld") == "snapshot"


async def test_a_withheld_book_is_told_with_its_reason(fleet: Fleet, live: Live) -> None:
    await live.ask(op="subscribe", channel="book", symbols=["SOLUSDT"])
    await live.next()
    await no_snapshots(fleet)
    await fleet.client.set(KEYS.book_distrust("SOLUSDT"), "audit mismatch", ex=60)
    gone = await live.next(lambda found: found.get("reason") == "audit mismatch")
    assert (gone["channel"], gone["type"], gone["state"]) == ("book", "withheld", "broken")
    await no_faults(fleet)
    assert (await live.next(lambda found: found.get("type") == "snapshot"))["symbol"] == "SOLUSDT"


async def test_trades_bars_stats_and_states_arrive(fleet: Fleet, live: Live) -> None:
    await live.ask(op="subscribe", channel="trades", symbols=["BTCUSDT"])
    ids: list[int] = []
    while len(ids) < 20:
        found = await live.next(lambda found: found.get("channel") == "trades" and "trades" in found)
        ids += [trade["id"] for trade in found["trades"]]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    await live.ask(op="unsubscribe", channel="trades", symbols=["BTCUSDT"])
    await live.ask(op="subscribe", channel="bars", symbols=["BTCUSDT"], interval="100ms")
    closed = await live.next(lambda found: found.get("closed") is True)
    assert closed["bar"]["closed"] is True
    bar = (await fleet.client.xrange(KEYS.bars("BTCUSDT", "100ms"), closed["bar"]["start_ms"], count=1))[0][1]
    assert (closed["bar"]["open"], closed["bar"]["volume"]) == (
        bar[b"open_price"].decode(),
        bar[b"volume"].decode(),
    )
    await live.ask(op="subscribe", channel="bars", symbols=["BTCUSDT"], interval="1m")
    opened = await live.next(lambda found: found.get("interval") == "1m" and found["closed"] is False)
    assert opened["bar"]["trades_count"] > 0
    await live.ask(op="subscribe", channel="stats", symbols=["BTCUSDT"], interval="1h")
    stats = await live.next(lambda found: found.get("channel") == "stats" and "stats" in found)
    assert (stats["interval"], stats["symbol"]) == ("1h", "BTCUSDT")
    await live.ask(op="unsubscribe", channel="bars", symbols=["BTCUSDT"])
    await live.ask(op="subscribe", channel="status", symbols=["BTCUSDT"])
    state = await live.next(lambda found: found.get("channel") == "status" and "status" in found)
    assert state["status"]["state"] == "synced"
    assert state["status"]["trust"]["score"] > 0


async def test_requests_that_cannot_be_used_are_told_and_the_rest_goes_on(live: Live) -> None:
    deep = "[" * 60_000
    cut_off, nested = '{"op":"subscribe","x":1,', f'{{"x":{deep}'
    for text in ("{", "[]", '{"op":"subscribe","channel":"book"}', "\x00", deep, nested, cut_off):
        await live.socket.send_str(text)
        assert (await live.next(lambda _: True))["type"] == "error"
    for text, values in (
        ('{"op":"dance"}', "subscribe, unsubscribe, ping"),
        (
            '{"op":"subscribe","channel":"x","symbols":["S"]}',
            "book, trades, bars, stats, status, alerts, orders, analytics",
        ),
        (
            '{"op":"subscribe","channel":"bars","symbols":["S"],"interval":"2m"}',
            "100ms, 1m, 5m, 15m, 1h, 4h, 1d",
        ),
    ):
        await live.socket.send_str(text)
        assert (await live.next(lambda _: True))["detail"].startswith(f"Expected one of {values};")
    refused = await live.ask(op="subscribe", channel="book", symbols=["NOPE"])
    assert (refused["type"], refused["id"], refused["status"]) == ("error", 7, 404)
    assert refused["title"] == "NOPE is not followed at usdm"
    refused = await live.ask(op="subscribe", channel="book", symbols=["btcusd"])
    assert refused["detail"].startswith("the nearest names: BTCUSDT;")
    told = await live.ask(op="subscribe", channel="status", symbols=["btcusdt", "USDM:BTCUSDT"])
    assert told["symbols"] == ["usdm:BTCUSDT"]
    await live.ask(op="unsubscribe", channel="status", symbols=["usdm:btcusdt"])
    assert (await live.ask(op="subscribe", channel="book", symbols=["BTCUSDT"], depth=0))["type"] == "error"
    await live.ask(op="subscribe", channel="book", symbols=["BTCUSDT", "SOLUSDT"])
    await live.ask(op="subscribe", channel="trades", symbols=["BTCUSDT", "SOLUSDT"])
    refused = await live.ask(op="subscribe", channel="stats", symbols=["BTCUSDT"])
    assert "Too many subscriptions" in refused["title"]
    await live.socket.send_json({"op": "ping", "id": "x"})
    assert (await live.next(lambda found: found.get("type") == "pong"))["id"] == "x"


async def test_there_is_a_limit_of_clients(api: TestClient) -> None:  # type: ignore[type-arg]
    sockets = [await api.ws_connect("/ws") for _ in range(5)]
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await api.ws_connect("/ws")
    assert refused.value.status == 503
    for socket in sockets:
        await socket.close()
    served: Api = api.api  # type: ignore[attr-defined]
    async with asyncio.timeout(30):
        while served.hub.clients:
            await asyncio.sleep(0.01)
    await (await api.ws_connect("/ws")).close()


async def test_pages_of_other_sites_may_not_connect(api: TestClient) -> None:  # type: ignore[type-arg]
    for origin in ("https://example.net", "null", "http://["):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await api.ws_connect("/ws", headers={"Origin": origin})
        assert refused.value.status == 403
    own = f"http://{api.host}:{api.port}"
    await (await api.ws_connect("/ws", headers={"Origin": own})).close()
    assert (await api.get("/ws")).status == 422


async def test_a_slow_reader_is_conflated_and_told_of_drops_while_others_get_all(api: TestClient) -> None:  # type: ignore[type-arg]
    served: Api = api.api  # type: ignore[attr-defined]
    slow = served.hub.enter("ws")  # nobody takes from its outlet
    async with api.ws_connect("/ws") as socket:
        live = Live(socket)
        await live.ask(op="subscribe", channel="trades", symbols=["BTCUSDT"])
        await live.ask(op="subscribe", channel="book", symbols=["BTCUSDT"])
        await served.hub.subscribe(slow, Wanted(channel="trades", symbols=["BTCUSDT"]))
        await served.hub.subscribe(slow, Wanted(channel="book", symbols=["BTCUSDT"], mode="diffs"))
        messages = books = 0
        last: dict[str, Any] = {}
        while messages < 18 or books < 5:
            found = await live.next()
            messages += "trades" in found
            books += found["channel"] == "book"
            last = found if found["channel"] == "book" else last
    waiting = [msgspec.json.decode(message) for message in await slow.outlet.take()]
    assert (waiting[0]["type"], waiting[0]["channel"]) == ("dropped", "trades")
    assert waiting[0]["count"] > 0
    assert len([one for one in waiting if "trades" in one]) == 5
    (book,) = (one for one in waiting if one["channel"] == "book")
    assert book["type"] == "snapshot", "after conflation the chain begins anew"
    assert book["u"] >= last["u"]
    served.hub.leave(slow)
    async with asyncio.timeout(30):
        while served.hub.clients:  # the other connection's end is noticed a little later
            await asyncio.sleep(0.01)
    assert served.reader.streams == 1, "the book's own stream, until it is idle"


async def test_a_client_that_does_not_answer_pings_is_let_go(api: TestClient) -> None:  # type: ignore[type-arg]
    served: Api = api.api  # type: ignore[attr-defined]
    socket = await api.ws_connect("/ws", autoping=False)
    assert len(served.hub.clients) == 1
    async with asyncio.timeout(60):
        while served.hub.clients:
            await asyncio.sleep(0.05)
    await socket.close()


async def test_events_are_the_same_messages(fleet: Fleet, api: TestClient) -> None:  # type: ignore[type-arg]
    async with api.get("/sse?channel=book&symbols=BTCUSDT,SOLUSDT&depth=5") as response:
        assert response.content_type == "text/event-stream"
        seen = set()
        async with asyncio.timeout(60):
            while len(seen) < 4:
                line = (await response.content.readline()).decode()
                if not line.startswith("data: "):
                    assert line.strip() == "" or line.startswith(":")
                    continue
                found = msgspec.json.decode(line.removeprefix("data: "))
                seen.add((found["symbol"], found["u"]))
                truth = await truth_book(fleet, found["symbol"], found["u"])
                assert found["b"] == truth["bids"][:5]
    for query, status in (("channel=book&symbols=NO", 404), ("channel=x&symbols=BTCUSDT", 422), ("", 422)):
        assert (await api.get(f"/sse?{query}")).status == status
    served: Api = api.api  # type: ignore[attr-defined]
    async with asyncio.timeout(30):
        while served.hub.clients:
            await asyncio.sleep(0.01)


async def test_a_client_that_reads_nothing_holds_little_and_is_let_go(api: TestClient) -> None:  # type: ignore[type-arg]
    served: Api = api.api  # type: ignore[attr-defined]
    sizes: list[int] = []
    reader, writer = await asyncio.open_connection(str(api.host), int(api.port or 0), limit=1024)
    upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: eHh4eHh4eHh4eHh4eHh4eA==\r\n"
    writer.write(
        f"GET /ws HTTP/1.1\r\nHost: localhost\r\n{upgrade}Sec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    wish = msgspec.json.encode(
        {"op": "subscribe", "channel": "book", "symbols": ["BTCUSDT", "SOLUSDT"], "depth": 1000}
    )
    writer.write(bytes([0x81, 0x80 | len(wish)]) + bytes(4) + wish)  # masked with zeros
    async with asyncio.timeout(60):
        while not served.hub.clients:
            await asyncio.sleep(0.01)
        while served.hub.clients:  # until it does not answer a ping
            sizes += [client.outlet.waits for client in served.hub.clients]
            await asyncio.sleep(0.01)
    assert max(sizes) <= 5 + 2, "the queue, and one message per book"
    async with asyncio.timeout(30):  # its socket too, though it still has not read what was sent
        while api.server.runner.server.connections:  # type: ignore[union-attr]
            await asyncio.sleep(0.05)
    writer.close()


async def test_a_client_of_events_that_reads_nothing_is_let_go(api: TestClient) -> None:  # type: ignore[type-arg]
    served: Api = api.api  # type: ignore[attr-defined]
    address = str(api.host), int(api.port or 0)
    writers = []
    for _ in range(3):
        _, writer = await asyncio.open_connection(*address, limit=1024)
        query = "channel=book&symbols=BTCUSDT,SOLUSDT&depth=1000"
        writer.write(f"GET /sse?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        writers.append(writer)
    async with asyncio.timeout(60):
        while len(served.hub.clients) < 3:
            await asyncio.sleep(0.01)
        while served.hub.clients or api.server.runner.server.connections:  # type: ignore[union-attr]
            await asyncio.sleep(0.05)
    for writer in writers:
        writer.close()
