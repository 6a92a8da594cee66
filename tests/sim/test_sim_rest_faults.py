"""Faults of the simulated exchange's REST and sockets, as a client meets them."""

import asyncio

import aiohttp
import msgspec
import pytest
import websockets
from test_sim_faults import DEPTH

from workers.sim.engine.faults import KINDS


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        ("rest_status path=*/depth value=429", 429, "application/json"),
        ("rest_status path=*/depth value=418", 418, "application/json"),
        ("rest_status path=*/depth value=403", 403, "text/html"),
        ("rest_status path=*/depth value=503", 503, "application/json"),
    ],
)
async def test_rest_status(world, fault, status, kind):
    here = await world(faults=(fault + " count=1",))
    got, headers, _ = await here.get("/usdm/fapi/v1/depth", symbol="BTCUSDT")
    assert (got, headers["Content-Type"].partition(";")[0]) == (status, kind)
    assert ("Retry-After" in headers) == (status in (418, 429))
    assert (await here.get("/usdm/fapi/v1/depth", symbol="BTCUSDT"))[0] == 200


async def test_snapshots_can_be_wrong_in_every_way(world):
    here = await world()
    query = {"symbol": "BTCUSDT", "limit": 1000}

    async def depth(fault: str) -> dict:
        _, row = await here.post("/control/faults", {"fault": fault})
        body = (await here.get("/usdm/fapi/v1/depth", **query))[2]
        async with here.http.delete(f"{here.exchange.url}/control/faults?id={row['id']}") as reply:
            assert (await reply.json())["removed"][0]["hits"] == 1
        return body

    here.exchange.exchange.advance(here.exchange.exchange.now_ms + 4_000)
    await here.post("/control/pause")
    stopped_ms = here.exchange.exchange.now_ms
    here.exchange.rest._clock_ms = lambda: (
        stopped_ms + 1_000
    )  # the cache has everything and is renewed no more
    usual = (await here.get("/usdm/fapi/v1/depth", **query))[2]
    last_id = here.exchange.exchange.listed("usdm")["BTCUSDT"].market.last_id
    assert (await depth("snapshot_empty"))["lastUpdateId"] == -1
    assert (await depth("snapshot_ahead"))["lastUpdateId"] == last_id
    assert (await depth("snapshot_stale value=9000"))["lastUpdateId"] < last_id
    wrong = await depth("snapshot_wrong market=usdm")
    assert wrong["lastUpdateId"] == last_id == usual["lastUpdateId"]
    assert wrong["bids"][0] != usual["bids"][0]
    assert wrong["bids"][1:] == usual["bids"][1:]


async def test_truncated_slow_and_cut_answers(world):
    here = await world()
    await here.post("/control/faults", {"kind": "rest_truncated", "count": 1})
    with pytest.raises(msgspec.DecodeError):
        await here.get("/spot/api/v3/depth", symbol="BTCUSDT")
    await here.post("/control/faults", {"kind": "rest_reset", "path": "*/time"})
    with pytest.raises(aiohttp.ClientError):
        await here.get("/spot/api/v3/time")
    async with here.http.delete(here.exchange.url + "/control/faults") as reply:
        assert [row["fault"]["kind"] for row in (await reply.json())["removed"]]
    await here.post("/control/faults", {"kind": "rest_slow", "value": 3600})
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(here.get("/spot/api/v3/time"), 0.1)


async def test_faults_can_concern_one_connection_only(world):
    here = await world()
    clients = [await here.connect("/spot/ws/" + DEPTH, user_agent_header=f"line-{name}") for name in "ab"]
    for client in clients:
        await client.until(lambda frame: "u" in frame)
    await here.post("/control/faults", {"fault": "silence agent=line-b"})
    reply = await clients[1].ask({"method": "LIST_SUBSCRIPTIONS", "id": 1})
    assert reply["result"] == [DEPTH]
    for _ in range(3):
        last = clients[0].frames[-1]["u"]
        await clients[0].until(lambda frame: frame["u"] > last)  # noqa: B023 - awaited at once
    assert clients[1].frames[-1] == reply
    await here.post("/control/faults", {"fault": "stall agent=line-b"})
    await clients[1].send({"method": "LIST_SUBSCRIPTIONS", "id": 2})
    pong = await clients[1].socket.ping()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pong, 0.2)
    assert clients[1].frames[-1]["id"] == 1
    last = clients[0].frames[-1]["u"]
    await clients[0].until(lambda frame: frame["u"] > last)


async def test_upgrades_can_be_refused(world):
    here = await world(faults=("refuse market=spot value=451 count=1",))
    with pytest.raises(websockets.InvalidStatus) as refused:
        await here.connect("/spot/ws")
    assert refused.value.response.status_code == 451
    await here.connect("/spot/ws")


async def test_connections_are_cut_told_to_go_or_given_a_short_life(world):
    here = await world(shutdown_delay_s=0.2)
    clients = [await here.connect("/spot/ws/" + DEPTH, user_agent_header=f"line-{name}") for name in "abcd"]
    for client in clients:
        await client.until(lambda frame: "u" in frame)
    await here.post("/control/faults", {"fault": "reset agent=line-a"})
    await here.post("/control/faults", {"fault": "shutdown agent=line-b"})
    _, row = await here.post("/control/faults", {"fault": "lifetime agent=line-c value=0.4"})
    for client in clients[:3]:
        await asyncio.wait_for(client.socket.wait_closed(), 60)
    assert clients[0].socket.close_code == 1006
    assert clients[1].frames[-1]["e"] == "serverShutdown" or any(
        frame.get("e") == "serverShutdown" for frame in clients[1].frames
    )
    assert not any(frame.get("e") == "serverShutdown" for frame in clients[2].frames)
    assert clients[2].socket.close_code == 1001
    again = await here.connect("/spot/ws/" + DEPTH, user_agent_header="line-c")
    await asyncio.wait_for(again.socket.wait_closed(), 60)
    last = clients[3].frames[-1]["u"]
    await clients[3].until(lambda frame: frame["u"] > last)
    _, _, body = await here.get("/control/faults")
    assert {entry["fault"]["kind"]: entry["hits"] for entry in body["faults"]} == {
        "reset": 1,
        "shutdown": 1,
        "lifetime": 2,
    }
    assert row["on"] is True


async def test_fault_endpoint(world):
    here = await world()
    assert (await here.post("/control/faults", {"fault": "nonsense"}))[0] == 400
    assert (await here.post("/control/faults", {"kind": "lose", "shape": 1}))[0] == 400
    _, row = await here.post("/control/faults", {"kind": "lose", "share": 0.5})
    assert row["on"] is True
    _, _, body = await here.get("/control/faults")
    assert [entry["fault"]["kind"] for entry in body["faults"]] == ["lose"]
    assert set(body["kinds"]) == set(KINDS)
