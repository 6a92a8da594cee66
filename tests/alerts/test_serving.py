"""Alerts as they are served: over HTTP and live, to the client and on the command line."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from alert_examples import BTC, alert
from redis.asyncio import Redis

from workers.api.server import Api
from workers.cli.application import main
from workers.client import FleetClient
from workers.model.alerts.records import Alert, Change, Comment, field_of
from workers.model.alerts.rules import BEYOND_LIMIT, Target
from workers.runtime.process import Process
from workers.settings.schema import Settings
from workers.store.alerts.book import LEASE, ROLE, AlertBook
from workers.store.fleet.leases import Leases
from workers.store.keys import Keys
from workers.venues.binance.settings import BinanceSettings

SETTINGS = Settings(venues={"usdm": BinanceSettings(market="usdm", symbols=["BTCUSDT", "ETHUSDT"])})
NASTY = "\x1b[31m<script>"


class Held:
    """A server with the keys of alerts, as their owner writes them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client: Any = Redis.from_url(url, protocol=2)
        self.book = AlertBook(self.client)
        self.token = 0

    async def own(self) -> None:
        leases = Leases(self.client, Keys(), ROLE, "alerts-1", 600_000)
        await leases.take([LEASE])
        self.token = leases.held[LEASE]

    async def change(self, *changes: Change) -> None:
        await self.book.commit(self.token, changes)

    async def comment(self, text: str) -> None:
        comment = Comment(alert().id, text, "m1", 5)
        await self.book.commit(self.token, comments=[(field_of("wide", BTC), comment)])


@pytest.fixture
async def held(real_server: str) -> AsyncIterator[Held]:
    made = Held(real_server)
    await made.client.flushall()
    yield made
    await made.client.aclose()


@pytest.fixture
async def api(held: Held) -> AsyncIterator[TestClient]:  # type: ignore[type-arg]
    process = Process("api", SETTINGS, 0, held.url)
    served = Api(process)
    served.start()
    async with TestClient(TestServer(served.application.build())) as client:
        yield client
    await served.close()
    await process.client.aclose()


async def test_open_alerts_their_comments_and_what_became_of_others(api: TestClient, held: Held):  # type: ignore[type-arg]
    answer = await (await api.get("/alerts")).json()
    assert answer == {"owner": None, "open": [], "left_out": 0, "newest": []}  # nobody looks
    await held.own()
    await held.change(
        Change("fired", alert()), Change("fired", alert("low")), Change("resolved", alert("low"))
    )
    await held.comment("It is wide.")
    answer = await (await api.get("/alerts?limit=2")).json()
    assert answer["owner"] == "alerts-1"
    [opened] = answer["open"]
    assert (opened["alert"]["rule"], opened["alert"]["value"]) == ("wide", 7.5)
    assert opened["comment"]["text"] == "It is wide."
    assert opened["comment"]["machine_written"] is True
    assert [one["event"] for one in answer["newest"]] == ["commented", "resolved"]
    assert answer["newest"][0]["alert"] is None
    assert (await api.get("/alerts?limit=0")).status == 422


def of_many() -> list[Alert]:
    """One that flaps, and the one about those beyond a limit."""
    flaps, beyond = alert(), alert(target=BEYOND_LIMIT)
    flaps.flapping, flaps.firings, flaps.met = True, 7, False
    beyond.left_out, beyond.facts = 480, {"targets": "usdm:AUSDT, usdm:BUSDT"}
    return [flaps, beyond]


async def test_how_many_are_left_out_is_answered_and_told_to_live_clients(api: TestClient, held: Held):  # type: ignore[type-arg]
    await held.own()
    await held.change(*(Change("fired", one) for one in of_many()))
    answer = await (await api.get("/alerts")).json()
    assert answer["left_out"] == 480
    assert {one["alert"]["symbol"]: one["alert"]["flapping"] for one in answer["open"]} == {
        "BTCUSDT": True,
        "*": False,
    }
    async with api.ws_connect("/ws") as socket, asyncio.timeout(60):
        await socket.send_json({"op": "subscribe", "id": 1, "channel": "alerts", "symbols": ["ETHUSDT"]})
        await socket.receive_json()
        opened = await socket.receive_json()
        assert [one["alert"]["symbol"] for one in opened["open"]] == ["*"]


async def test_a_key_of_another_type_is_named(api: TestClient, held: Held):  # type: ignore[type-arg]
    await held.client.set("{alerts}:open", "x")
    response = await api.get("/alerts")
    assert (response.status, "{alerts}:open" in (await response.json())["detail"]) == (503, True)


async def test_live_clients_are_told_of_their_symbol_its_venue_and_the_fleet(api: TestClient, held: Held):  # type: ignore[type-arg]
    await held.own()
    async with api.ws_connect("/ws") as socket, asyncio.timeout(60):
        await socket.send_json({"op": "subscribe", "id": 1, "channel": "alerts", "symbols": ["BTCUSDT"]})
        assert (await socket.receive_json())["type"] == "subscribed"
        first = await socket.receive_json()
        assert first == {
            "channel": "alerts",
            "venue": "usdm",
            "symbol": "BTCUSDT",
            "type": "open",
            "open": [],
        }
        other = alert("other", Target("usdm", "ETHUSDT"))
        wide = alert("wide", Target())
        await held.change(Change("fired", other), Change("fired", alert()), Change("fired", wide))
        await held.comment("It is wide.")
        events, opened = [], []
        while len(events) < 3 or len(opened) < 2 or opened[1]["comment"] is None:
            message = await socket.receive_json()
            if message["type"] == "event":
                events.append((message["told"]["event"], (message["told"]["alert"] or {}).get("symbol")))
            else:
                opened = message["open"]
        assert events == [("fired", "BTCUSDT"), ("fired", ""), ("commented", None)]
        assert [one["alert"]["symbol"] for one in opened] == ["", "BTCUSDT"]
        await socket.send_json({"op": "unsubscribe", "id": 2, "channel": "alerts", "symbols": ["BTCUSDT"]})


async def test_the_client_reads_alerts(held: Held):
    await held.own()
    await held.change(Change("fired", alert()))
    await held.comment("It is wide.")
    async with FleetClient(held.url) as fleet:
        [opened] = await fleet.alerts()
        assert opened.comment is not None
        assert (opened.alert, opened.comment.text) == (alert(), "It is wide.")
        assert [told.event for told in await fleet.newest_alerts()] == ["commented", "fired"]


def command(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> str:
    monkeypatch.setenv("REDIS_URL", url)
    monkeypatch.setenv("FLEET_CONFIG", "demo.toml")
    assert main(["alerts", *arguments]) == 0
    return capsys.readouterr().out


def test_the_command_shows_open_alerts(
    real_server: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    async def lay(*, opened: bool) -> None:
        held = Held(real_server)
        await held.client.flushall()
        if opened:
            await held.own()
            await held.change(Change("fired", alert(target=Target("usdm", NASTY))))
            await held.book.commit(
                held.token,
                comments=[
                    (
                        field_of("wide", Target("usdm", NASTY)),
                        Comment(f"wide/usdm:{NASTY}/1000", "Hm.", "m1", 5),
                    )
                ],
            )
        await held.client.aclose()

    asyncio.run(lay(opened=False))
    assert "no worker looks" in command(real_server, capsys, monkeypatch)
    asyncio.run(lay(opened=True))
    shown = command(real_server, capsys, monkeypatch)
    assert "warning  wide at usdm:" in shown
    assert "Written by a machine (m1)" in shown
    assert "\x1b" not in shown
    told = json.loads(command(real_server, capsys, monkeypatch, "--json"))
    assert (told["owner"], told["open"][0]["alert"]["symbol"]) == ("alerts-1", NASTY)
    assert told["open"][0]["comment"]["machine_written"] is True


def test_the_command_says_what_flaps_and_how_many_are_left_out(
    real_server: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    async def lay() -> None:
        held = Held(real_server)
        await held.client.flushall()
        await held.own()
        await held.change(*(Change("fired", one) for one in of_many()))
        await held.client.aclose()

    asyncio.run(lay())
    shown = command(real_server, capsys, monkeypatch)
    assert (
        "wide at usdm:BTCUSDT: spread_bps > 5: 7.5 (last 7.5), flapping: 7 times lately, not met now" in shown
    )
    assert "wide at 480 more: spread_bps > 5: no alert of their own (usdm:AUSDT, usdm:BUSDT, …)" in shown
    assert json.loads(command(real_server, capsys, monkeypatch, "--json"))["left_out"] == 480


async def test_the_command_follows_what_becomes_of_alerts(held: Held, tmp_path: Any):
    environment = {
        **os.environ,
        "REDIS_URL": held.url,
        "FLEET_CONFIG": "demo.toml",
        "FLEET_HOME": str(tmp_path),
    }
    await held.own()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "workers.cli", "alerts", "--follow", "--json",
        stdout=asyncio.subprocess.PIPE, env=environment,
    )  # fmt: skip
    assert process.stdout is not None
    async with asyncio.timeout(90):
        assert json.loads(await process.stdout.readline())["open"] == []
        await held.change(Change("fired", alert()))
        told = json.loads(await process.stdout.readline())
        assert (told["event"], told["alert"]["rule"]) == ("fired", "wide")
        process.terminate()
        await process.wait()
