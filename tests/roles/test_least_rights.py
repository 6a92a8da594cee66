"""The rights of config/redis-acl are enough for a fleet and for its readers, and no more is asked for."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from in_process import KEYS, SYMBOLS, Fleet, fleet_of, settle
from least_rights import EXAMINED, refused, rules_of_users, with_users
from redis.exceptions import NoPermissionError, ResponseError

import workers
from workers.api.server import Api
from workers.cli.status import _read
from workers.client import FleetClient
from workers.model.alerts.records import Alert
from workers.model.alerts.signals import Source
from workers.operations.doctor.server import server_findings
from workers.runtime.context import venue_contexts
from workers.runtime.process import Process
from workers.settings.alert_rules import rules_in_force
from workers.settings.alerts import AlertSettings, RuleSettings
from workers.settings.analytics import AnalyticsSettings
from workers.settings.loading import Effective
from workers.settings.orders import OrderSettings
from workers.settings.paths import data_folder
from workers.sim import SimSettings, SimulatedExchange
from workers.store.alerts.book import AlertBook
from workers.store.connection import connect
from workers.store.fleet.symbols import SymbolStore
from workers.store.keys import ALERTS, OPEN_ALERTS, Keys
from workers.store.server import Memory, check_version, memory_of
from workers.venues.bitstamp.settings import BitstampSettings

BITSTAMP = SimSettings(
    flavour="bitstamp", port=0, rate_scale=3.0, levels_per_side=100, symbols={"all": ("BTCUSD",)}
)
RULES = {
    "alone": "workers.analytics < 1",
    "withheld": "withheld",
    "old": "stale_ms > 1e9",
    "halted": "trades_halted",
    "late": "depth_waiting > 1e9",
    "late-trades": "trades_waiting > 1e9",
    "holes": "gap",
    "audits": "audit_mismatch",
    "liquidated": "liquidation",
    "walls": "wall_appeared",
    "trades": "trades.last_id < 0",
    "busy": "stats.1m.trades_count > 1e9",
    "funding": "derivatives.funding_rate > 1e9",
    "orders": "orders.lost > 1e9",
    "figures": "analytics.spread > 1e9",
}
"""A rule over each source there is."""


@asynccontextmanager
async def outside() -> AsyncIterator[str]:
    """A webhook and a model that comments; the URL of both."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"choices": [{"message": {"content": "nobody computes"}}]})

    application = web.Application()
    application.router.add_post("/{path:.*}", answer)
    async with TestServer(application) as server:
        yield str(server.make_url("")).rstrip("/")


def want_orders_and_figures(fleet: Fleet, bitstamp: SimulatedExchange, listener: str) -> None:
    """A second venue, whose single orders are followed, analytics, rules, and whom to tell of alerts."""
    fleet.settings.venues["bitstamp"] = BitstampSettings(
        symbols=["BTCUSD"],
        orders=True,
        websocket_url=bitstamp.websocket_url,
        rest_url=bitstamp.url,
        request_spacing_ms=20,
    )
    fleet.settings.orders = OrderSettings(
        commit_ms=100, seed_delay_ms=300, seed_retry_s=0.3, behind_ms=60_000
    )
    fleet.settings.analytics = AnalyticsSettings(enabled=True, wall_ratio=1.1, wall_ms=0)
    fleet.settings.alerts = AlertSettings(
        rules=[RuleSettings(name=name, when=when, resolve_after_s=0) for name, when in RULES.items()],
        every_ms=100,
        commands_per_s=5_000,
        webhook_url=f"{listener}/hook",
        commentary_url=f"{listener}/v1",
        commentary_model="any",
    )
    assert {rule.source for rule in rules_in_force(fleet.settings.alerts)} == set(Source)


async def answers(client: Any, path: str) -> bool:
    """Whether the API has an answer: a replica takes a moment to be built."""
    return (await client.get(path)).status == 200


async def told(fleet: Fleet, event: str, rule: str = "") -> bool:
    """Whether something became of a rule's alert, or of any."""
    return any(
        one.event == event and (not rule or (isinstance(one.record, Alert) and one.record.rule == rule))
        for one in await AlertBook(fleet.client).newest(1_000)
    )


async def watch_orders_and_figures(fleet: Fleet) -> None:
    """Single orders, analytics and alerts at work: books published and taken over, walls told, an alert over."""
    keys = Keys("bitstamp:")

    async def whole() -> bool:
        found = await fleet.client.hgetall(keys.orders_status("BTCUSD"))
        return found.get(b"state") == b"synced" and await fleet.client.exists(
            keys.orders_top("BTCUSD"), keys.orders_checkpoint("BTCUSD")
        ) == 2  # fmt: skip

    async def computed() -> bool:
        hashes = (keys.analytics("BTCUSD"), KEYS.analytics(SYMBOLS[0]))
        return {await fleet.client.hget(key, "state") for key in hashes} == {b"shown"}

    fleet.start("alerts", "alerts-1")
    fleet.start("orders", "orders-1")
    await fleet.until(lambda: told(fleet, "fired", "alone"))
    await fleet.until(lambda: told(fleet, "commented"))
    await fleet.until(whole)
    await fleet.stop("orders-1")
    fleet.start("orders", "orders-2")
    fleet.start("analytics", "analytics-1")
    await fleet.until(lambda: told(fleet, "resolved", "alone"))
    await fleet.until(lambda: told(fleet, "fired", "walls"))
    await fleet.until(whole)
    await fleet.until(computed)


async def test_a_fleet_runs_with_the_rights_of_the_file_alone(
    spare_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    urls = await with_users(spare_server)
    channels = ["markPrice@1s", "openInterest", "!forceOrder@arr"]
    async with (
        SimulatedExchange(BITSTAMP) as bitstamp,
        outside() as listener,
        fleet_of(spare_server, venue={"channels": channels}) as fleet,
    ):
        want_orders_and_figures(fleet, bitstamp, listener)
        fleet.url = urls["fleet"]
        fleet.settings.redis.url = urls["fleet"]
        roles = ("ingest-a", "ingest-b", "books", "trades", "keeper")
        for role in roles:
            fleet.start(role, f"{role}-1")
        await fleet.until(fleet.all_shown)
        await fleet.stop("books-1")
        await fleet.crash("trades-1")
        fleet.start("books", "books-2")
        fleet.start("trades", "trades-2")
        await fleet.until(fleet.all_shown)

        async def written() -> bool:
            found = [
                await fleet.client.exists(KEYS.history(s), KEYS.symbol_info(s), KEYS.derivatives(s))
                for s in SYMBOLS
            ]
            told = await fleet.client.exists(*(KEYS.liquidations(s) for s in SYMBOLS))
            return found == [3] * len(SYMBOLS) and told > 0

        await fleet.until(written)
        await watch_orders_and_figures(fleet)
        await settle(fleet)
        await fleet.check_books()
        await fleet.check_trades()
        process = Process("api", fleet.settings, 0, urls["reader"])
        api = Api(process)
        api.start()
        async with TestClient(TestServer(api.application.build())) as client:
            for path in ("/status", "/orderbook/top", "/trades", "/bars/1m", "/stats", "/gaps", "/metrics"):
                answer = await client.get(path)
                assert answer.status in (200, 404), (path, await answer.text())
            for path in ("/orders?venue=bitstamp", f"/analytics?symbol={SYMBOLS[0]}", "/alerts"):
                await fleet.until(partial(answers, client, path))
        await api.close()
        await process.client.aclose()
        async with FleetClient(urls["reader"]) as reading:
            assert (await reading.get_top(SYMBOLS[0])).bids
            assert await reading.get_symbols()
            assert await reading.get_trades(SYMBOLS[0])
            assert await reading.get_bars(SYMBOLS[0], "100ms")
            await reading.get_history(SYMBOLS[0])
            await reading.get_book(SYMBOLS[0])
            async with reading.derivatives(SYMBOLS, from_ms=1) as contracts:
                assert await anext(contracts)
            async with reading.raw(SYMBOLS, "markPrice@1s", from_ms=1) as messages:
                assert await anext(messages)
            assert await reading.newest_alerts()
            await reading.alerts()
            assert (await reading.get_analytics(SYMBOLS[0])).owner
            async with reading.analytics(SYMBOLS, from_ms=1) as events:
                assert await anext(events)
            async with reading.orders(["bitstamp:BTCUSD"]) as tops:
                assert await anext(tops)
        context, _ = venue_contexts(fleet.settings)
        symbols = SymbolStore(connect(urls["fleet"]), context.keys)
        await fleet.client.hset(KEYS.book_status("GONE"), "state", "synced")
        assert await symbols.retire("GONE", "retired", "not chosen", 60_000)
        assert await symbols.revive("GONE")
        found = await _read(Effective(fleet.settings))
        assert len(found["symbols"]) == len(SYMBOLS) + 1
    assert {what for _, what in await refused(spare_server)} <= EXAMINED
    assert "no permissions" not in capsys.readouterr().out


async def test_a_user_without_info_and_config_can_start_and_is_told_what_is_not_examined(
    spare_server: str,
) -> None:
    urls = await with_users(spare_server)
    async with fleet_of(spare_server) as fleet:
        fleet.settings.redis.url = urls["fleet"]
        process = Process("books", fleet.settings, 0, urls["fleet"])
        began = time.monotonic()
        await process.wait_for_redis()
        assert time.monotonic() - began < 60
        assert await memory_of(process.client) == Memory()
        assert await check_version(process.client, "here")  # HELLO tells it
        findings, needed = await server_findings(Effective(fleet.settings), runs=True)
        assert findings[0][:2] == ("redis", "warning")
        assert "may not ask" in findings[0].found
        assert needed == 0.0
        await process.client.aclose()


async def test_a_server_that_tells_nothing_of_itself_is_used_all_the_same() -> None:
    class Silent:
        async def info(self, _: str) -> Any:
            raise ResponseError("unknown command 'INFO', with args beginning with: 'server'")

        async def execute_command(self, *_: Any) -> Any:
            raise ResponseError("unknown command 'HELLO'")

    assert await check_version(Silent(), "here") == ""  # type: ignore[arg-type]
    assert await memory_of(Silent()) == Memory()  # type: ignore[arg-type]


async def test_every_key_of_a_symbol_is_among_the_rights(spare_server: str) -> None:
    for url in (await with_users(spare_server)).values():
        client: Any = connect(url)
        for key in [*KEYS.types("BTCUSDT"), *KEYS.raw_streams("BTCUSDT")]:
            assert await client.exists(key) == 0
        await client.aclose()


BY_REDIS_PY = {"hello", "select", "multi", "exec", "zrevrange"}
"""What the driver sends of itself: at connecting, around a pipeline, for a descending ZRANGE."""


def test_no_right_is_given_that_no_code_uses() -> None:
    root = Path(workers.__file__).parent
    code = "\n".join(file.read_text(encoding="utf-8") for file in root.rglob("*.py"))
    scripts = "\n".join(file.read_text(encoding="utf-8") for file in (data_folder() / "lua").rglob("*.lua"))
    kept = [key for symbol in SYMBOLS for key in Keys("bitstamp:", ["openInterest"]).types(symbol)]
    kept += [KEYS.live_orderbook, Keys("x:").live_orderbook, KEYS.lease("books", "X"), ALERTS, OPEN_ALERTS]
    for user, rules in rules_of_users().items():
        for command in (rule[1:] for rule in rules if rule[:1] == "+"):
            method, sent = command.replace("|", "_"), command.replace("|", " ").upper()
            used = f".{method}(" in code or f'"{sent}"' in code or f"'{sent}'" in scripts
            assert used or command in BY_REDIS_PY, (user, command)
        for pattern in (rule.partition("~")[2] for rule in rules if "~" in rule):
            assert any(fnmatchcase(key, pattern) for key in kept), (user, pattern)


async def test_a_reader_writes_nothing(spare_server: str) -> None:
    urls = await with_users(spare_server)
    reader: Any = connect(urls["reader"])
    for command in (
        ("SET", "raw:{A}:depth", "1"),
        ("XADD", "raw:{A}:depth", "*", "a", "b"),
        ("DEL", "LIVE_ORDERBOOK"),
    ):
        with pytest.raises(NoPermissionError):
            await reader.execute_command(*command)
    fleet: Any = connect(urls["fleet"])
    for command in (
        ("SET", "other", "1"),
        ("FLUSHALL",),
        ("CONFIG", "GET", "*"),
        ("KEYS", "*"),
        ("SCRIPT", "FLUSH"),
    ):
        with pytest.raises(NoPermissionError):
            await fleet.execute_command(*command)
    await reader.aclose()
    await fleet.aclose()
