"""The websocket side over real sockets."""

import asyncio
import contextlib
import json

import aiohttp
import pytest
import websockets
from sim_readers import NaiveBook

from workers.sim import SimSettings, serve


def of(kind: str):
    return lambda frame: frame.get("data", frame).get("e") == kind


async def test_serve_says_where_it_is_and_stops_when_told():
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    settings = SimSettings(port=0, spot_symbols=(), usdm_symbols=("BTCUSDT",))
    task = asyncio.create_task(serve(settings, ready=ready.set_result, stop=stop))
    url = await ready
    async with aiohttp.ClientSession() as http, http.get(url + "/usdm/fapi/v1/ping") as reply:
        assert reply.status == 200
    stop.set()
    await asyncio.wait_for(task, 60)


async def test_acknowledged_then_silent_on_the_wrong_path_case_or_symbol(world):
    here = await world()
    public = await here.connect("/usdm/public/ws")
    names = ["btcusdt@aggTrade", "BTCUSDT@depth@100ms", "nosuchusdt@depth@100ms", "btcusdt@depth@33ms"]
    assert await public.ask({"method": "SUBSCRIBE", "params": names, "id": 1}) == {"result": None, "id": 1}
    good = await here.connect("/usdm/public/ws/btcusdt@depth@100ms")
    for _ in range(5):
        await good.until(of("depthUpdate"))
    assert await public.ask({"method": "LIST_SUBSCRIPTIONS", "id": 2}) == {"result": names, "id": 2}
    assert [frame for frame in public.frames if "e" in frame] == []


async def test_legacy_root_delivers_the_public_class_only(world):
    here = await world()
    legacy = await here.connect("/usdm/stream?streams=btcusdt@aggTrade/btcusdt@depth@100ms/btcusdt@trade")
    market = await here.connect("/usdm/market/stream?streams=btcusdt@aggTrade/btcusdt@depth@100ms")
    await market.until(of("aggTrade"))
    await legacy.until(of("depthUpdate"))
    await legacy.until(of("trade"))
    assert {frame["stream"] for frame in market.frames} == {"btcusdt@aggTrade"}
    assert "btcusdt@aggTrade" not in {frame["stream"] for frame in legacy.frames}
    private = await here.connect("/usdm/private/ws?listenKey=abc")
    assert (await private.ask({"method": "LIST_SUBSCRIPTIONS", "id": 1}))["result"] == []


async def test_framing_follows_root_and_property(world):
    here = await world()
    client = await here.connect("/spot/ws/btcusdt@depth@100ms")
    assert (await client.until(of("depthUpdate")))["s"] == "BTCUSDT"
    await client.ask({"method": "SET_PROPERTY", "params": ["combined", True], "id": 1})
    frame = await client.until(lambda frame: "stream" in frame)
    assert list(frame) == ["stream", "data"]
    assert frame["stream"] == "btcusdt@depth@100ms"
    assert (await client.ask({"method": "GET_PROPERTY", "params": ["combined"], "id": 2}))["result"] is True
    combined = await here.connect("/spot/stream")
    reply = await combined.ask({"method": "SUBSCRIBE", "params": ["btcusdt@bookTicker"], "id": 3})
    assert reply == {"result": None, "id": 3}
    assert (await combined.until(lambda frame: "stream" in frame))["stream"] == "btcusdt@bookTicker"


async def test_unicode_streams_in_url_and_request(world):
    here = await world(rate_scale=30.0)
    for path in ("/spot/ws/币安人生usdt@depth@100ms", "/usdm/public/stream?streams=币安人生usdt@depth@100ms"):
        client = await here.connect(path)
        assert (await client.until(of("depthUpdate"))).get("stream") in (None, "币安人生usdt@depth@100ms")
    client = await here.connect("/usdm/public/stream")
    await client.ask({"method": "SUBSCRIBE", "params": ["币安人生usdt@depth@0ms"], "id": 1})
    assert (await client.until(of("depthUpdate")))["stream"] == "币安人生usdt@depth@0ms"
    assert (await client.ask({"method": "LIST_SUBSCRIPTIONS", "id": 2}))["result"] == [
        "币安人生usdt@depth@0ms"
    ]


@pytest.mark.parametrize("path", ["/usdm/nonsense/ws", "/spot/stream/nonsense", "/coinm/ws", "/nothing"])
async def test_unknown_paths_are_404(world, path):
    here = await world()
    with pytest.raises(websockets.InvalidStatus) as refused:
        await here.connect(path)
    assert refused.value.response.status_code == 404


async def test_error_frames_leave_the_socket_open(world):
    here = await world()
    client = await here.connect("/spot/ws")
    await client.send("hello")
    assert (await client.until(lambda frame: "error" in frame))["error"]["code"] == 3
    assert "id" not in client.frames[0]
    assert (await client.ask({"method": "FOO", "id": 20}))["error"]["code"] == 2
    assert (await client.ask({"method": "LIST_SUBSCRIPTIONS", "id": 21}))["result"] == []


async def test_too_many_subscriptions(world):
    here = await world(max_inbound_frame_bytes=100_000)
    client = await here.connect("/usdm/public/ws")
    names = [f"s{number}@depth" for number in range(1024)]
    assert (await client.ask({"method": "SUBSCRIBE", "params": names, "id": 1}))["result"] is None
    reply = await client.ask({"method": "SUBSCRIBE", "params": ["one@depth"], "id": 2})
    assert reply == {"error": {"code": 4, "msg": "Too many subscriptions"}, "id": 2}


@pytest.mark.parametrize("kind", ["request", "pong"])
async def test_too_many_frames_close_with_1008(world, kind):
    here = await world()
    client = await here.connect("/spot/ws")
    with contextlib.suppress(websockets.ConnectionClosed):
        for number in range(10_000):  # until there were more than five in one second
            if kind == "pong":
                await client.socket.pong(b"unsolicited")
            else:
                await client.send({"method": "LIST_SUBSCRIPTIONS", "id": number})
            await asyncio.sleep(0.01)
    assert await client.closed() == (1008, "Too many requests")


async def test_pings_must_be_echoed(world):
    here = await world(spot_ping_s=0.05, spot_pong_timeout_s=2.0, spot_frames_per_second=1000)
    good = await here.connect("/spot/ws/btcusdt@depth@100ms")
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(here.exchange.url + "/spot/ws", autoping=False) as silent,
    ):
        ping = await silent.receive()
        assert ping.type is aiohttp.WSMsgType.PING
        assert len(ping.data) == 13
        assert ping.data.isdigit()
        await silent.pong(b"unsolicited")
        while (message := await silent.receive()).type is aiohttp.WSMsgType.PING:
            pass
        assert (message.data, message.extra) == (1008, "Pong timeout")
    await good.until(of("depthUpdate"))
    assert (await good.ask({"method": "LIST_SUBSCRIPTIONS", "id": 1}))["id"] == 1


async def test_client_pings_are_answered(world):
    here = await world()
    client = await here.connect("/usdm/market/ws")
    await asyncio.wait_for(await client.socket.ping(b"here?"), 60)


async def test_connections_end_with_their_life(world):
    here = await world(lifetime_s=0.2)
    client = await here.connect("/usdm/public/ws/btcusdt@depth@100ms")
    assert (await client.closed())[0] == 1001
    async with asyncio.timeout(60):
        while here.exchange.connections():
            await asyncio.sleep(0.01)


async def test_shutdown_notice_in_both_shapes_then_close(world):
    here = await world(shutdown_delay_s=0.1)
    raw, combined = await here.connect("/spot/ws"), await here.connect("/spot/stream")
    other = await here.connect("/usdm/public/ws")
    status, _ = await here.post("/control/shutdown_notice", {"market": "spot"})
    assert status == 200
    assert list(await raw.until(of("serverShutdown"))) == ["e", "E"]
    assert (await combined.until(of("serverShutdown")))["stream"] == "!serverShutdown"
    await raw.closed()
    await combined.closed()
    assert (await other.ask({"method": "LIST_SUBSCRIPTIONS", "id": 1}))["result"] == []


async def test_disconnect_resets_without_a_close_frame(world):
    here = await world()
    spot, usdm = await here.connect("/spot/ws"), await here.connect("/usdm/public/ws")
    _, reply = await here.post("/control/disconnect", {"market": "usdm", "path": "/usdm/public/ws"})
    assert len(reply["disconnected"]) == 1
    assert (await usdm.closed())[0] == 1006
    assert (await spot.ask({"method": "LIST_SUBSCRIPTIONS", "id": 1}))["id"] == 1


async def test_connection_attempts_are_limited_per_market(world):
    here = await world(connection_attempts=2)
    for _ in range(2):
        await here.connect("/spot/ws")
    with pytest.raises(websockets.InvalidStatus) as refused:
        await here.connect("/spot/ws")
    assert refused.value.response.status_code == 429
    await here.connect("/usdm/public/ws")


@pytest.mark.parametrize("compression", ["deflate", None])
async def test_deflate_is_used_when_offered(world, compression):
    here = await world()
    client = await here.connect("/usdm/public/stream?streams=btcusdt@depth@100ms", compression=compression)
    for number in range(3):
        await client.until(lambda frame: "data" in frame)
        assert (await client.ask({"method": "LIST_SUBSCRIPTIONS", "id": number}))["id"] == number
    _, _, body = await here.get("/control/connections")
    assert [row["deflated"] for row in body["connections"]] == [compression is not None]


async def test_oversized_client_frame_closes_with_1009(world):
    here = await world()
    client = await here.connect("/usdm/public/ws")
    await client.send("x" * 20_000)
    assert (await client.closed())[0] == 1009


async def test_a_subscriber_that_does_not_read_is_dropped(world):
    here = await world(send_buffer_bytes=20_000, rate_scale=20.0, burst_every_s=0.0)
    host, port = here.exchange.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(
        b"GET /usdm/public/ws/btcusdt@depth@0ms/btcusdt@bookTicker/btcusdt@depth20@100ms HTTP/1.1\r\n"
        b"Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    steps = 0
    while here.exchange.connections():
        # an hour of market time in seconds of test time, so that the kernel's buffers fill
        here.exchange.exchange.advance(here.exchange.exchange.now_ms + 500)
        here.exchange.flush()
        await asyncio.sleep(0)
        steps += 1
        assert steps < 3000
    writer.close()


async def test_a_live_book_over_the_socket_equals_the_truth(world):
    here = await world()
    client = await here.connect("/spot/ws/btcusdt@depth@100ms")
    await client.until(of("depthUpdate"))
    while True:
        _, _, snapshot = await here.get("/spot/api/v3/depth", symbol="BTCUSDT", limit=5000)
        if snapshot["lastUpdateId"] >= client.frames[0]["U"] - 1:
            break
    for _ in range(10):
        count = len(client.frames)
        await client.until(lambda frame: len(client.frames) > count)  # noqa: B023 - awaited at once
    await here.post("/control/pause")
    _, _, summary = await here.get("/control/truth/summary")
    last_u = summary["markets"]["spot"]["BTCUSDT"]["depth"]["depth@100ms"]["last_u"]
    assert last_u == summary["markets"]["spot"]["BTCUSDT"]["update_id"]["last"]
    await client.until(lambda frame: frame.get("u") == last_u)
    book = NaiveBook(snapshot)
    for event in client.frames:
        if event["u"] <= book.last_id:
            continue
        assert event["U"] <= book.last_id + 1
        book.apply(event)
        _, _, truth = await here.get("/control/truth/book", market="spot", symbol="BTCUSDT", u=event["u"])
        assert truth["lastUpdateId"] == event["u"]
        assert book.same(truth)
    assert book.last_id == last_u


async def test_pause_has_sent_everything_that_was_generated(world):
    here = await world(rate_scale=10.0)
    public = await here.connect(
        "/usdm/public/stream?streams=btcusdt@depth@500ms/1000shibusdt@depth/btcusdt@trade"
    )
    market = await here.connect("/usdm/market/ws/btcusdt@aggTrade")
    await public.until(of("depthUpdate"))
    await market.until(of("aggTrade"))
    await here.post("/control/pause")
    _, _, summary = await here.get("/control/truth/summary")
    truth = summary["markets"]["usdm"]
    assert summary["paused"] is True
    for symbol, stream in (("BTCUSDT", "btcusdt@depth@500ms"), ("1000SHIBUSDT", "1000shibusdt@depth")):
        last = truth[symbol]["update_id"]["last"]
        await public.until(
            lambda frame, stream=stream, last=last: frame["stream"] == stream and frame["data"]["u"] == last
        )
    last_trade = truth["BTCUSDT"]["trade_id"]["next"] - 1
    await public.until(lambda frame: frame["data"].get("t") == last_trade)
    await market.until(lambda frame: frame["a"] == truth["BTCUSDT"]["agg_trade_id"]["next"] - 1)
    assert market.frames[-1]["l"] == last_trade
    _, _, tape = await here.get("/control/truth/trades", market="usdm", symbol="BTCUSDT")
    seen = {frame["a"]: frame for frame in market.frames}
    assert len(tape["trades"]) == truth["BTCUSDT"]["agg_trade_id"]["count"]
    for row in tape["trades"]:
        if row["a"] in seen:
            assert row == {key: seen[row["a"]][key] for key in row}
    await here.post("/control/resume")
    await market.until(lambda frame: frame["a"] == truth["BTCUSDT"]["agg_trade_id"]["next"])
    assert json.dumps(tape["first_id"]).isdigit()
