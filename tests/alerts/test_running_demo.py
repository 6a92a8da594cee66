"""Alerts on a running demo: supervisord, real processes, and faults; each signal and family fires and resolves.

Meanwhile the webhook is dead and the language model hangs, and nothing else notices.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from fleet_runs import plain_environment
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from workers.conformance.fleet.control import ExchangeControl
from workers.model.alerts.signals import FAMILIES, SIGNALS
from workers.operations.foreground import free_ports
from workers.operations.supervision import Supervisor
from workers.settings.loading import load
from workers.verification.fleet import Verification
from workers.verification.stored import FleetReader

WAIT_S: Final = 90
CONFIG: Final = """
[fleet]
home = "{home}"

[processes]
books = 1
trades = 1

[venues.usdm]
exchange = "binance"
market = "usdm"
symbols = ["BTCUSDT", "ETHUSDT"]
websocket_url = "ws://127.0.0.1:{binance}/usdm"
rest_url = "http://127.0.0.1:{binance}/usdm"
channels = ["markPrice@1s", "!forceOrder@arr"]

[venues.bitstamp]
exchange = "bitstamp"
market = "all"
symbols = ["BTCUSD"]
websocket_url = "ws://127.0.0.1:{bitstamp}"
rest_url = "http://127.0.0.1:{bitstamp}"
orders = true

[books]
stale_ms = 4000

[trades]
repair_attempts = 3
repair_for_s = 6

[keeper]
info_s = 1
audit_s = 2
audit_confirm_s = 0.5
audit_weight_share = 0.5

[analytics]
enabled = true
wall_ms = 200
iceberg_confidence = 0.05    # what a calm market shows is taken for an iceberg now and then

[exchange]
enabled = true
port = {binance}
flavours = {{ bitstamp = {bitstamp} }}

[api]
port = {api}

[alerts]
every_ms = 200
commands_per_s = 2000
flapping_after = 0           # what a healthy market does again and again is waited for until it is over
webhook_timeout_s = 2
commentary_url = "http://127.0.0.1:{model}/v1"
commentary_model = "hangs"
commentary_timeout_s = 6
commentary_per_hour = 1000
commentary_tokens_per_day = 1000000
"""

RULES: Final = {
    # A healthy market does it, and ends it.
    "analytics": "analytics.depth_imbalance > 0.01 on BTCUSDT",
    "trades": "trades.applied_count < 400 on BTCUSDT",
    "liquidation": "liquidation on BTCUSDT",
    "iceberg_found": "iceberg_found",
    "wall_appeared": "wall_appeared",
    # PRICE: the price jumps by a half, on a coarse grid, through levels with the largest quantity there is; and back.
    "mid": "mid > 100000 on BTCUSDT",
    "best_bid": "best_bid > 100000 on BTCUSDT",
    "best_ask": "best_ask > 100000 on BTCUSDT",
    "derivatives": "derivatives.mark_price > 100000 on BTCUSDT",
    "stats": "stats.1m.close_price > 100000 on BTCUSDT",
    "spread": "spread > 100 on BTCUSDT",
    "spread_bps": "spread_bps > 10 on BTCUSDT",
    "wall_eaten": "wall_eaten",
    "iceberg_confirmed": "iceberg_confirmed on BTCUSDT",
    # HOLE: trades are lost and REST answers 500 (halted) until they are given up (missing); a book's message is lost.
    "trades_halted": "trades_halted on ETHUSDT",
    "missing_trades": "missing_trades on ETHUSDT",
    "gap": "gap on ETHUSDT",
    # SILENCE: the stream of a book brings nothing; a message of single orders is lost, and REST does not answer.
    "stale_ms": "stale_ms > 3000 on ETHUSDT",
    "book_state": "book_state == stale on ETHUSDT",
    "book": "book.age_ms > 3000 on ETHUSDT",
    "orders": "orders.state != synced on bitstamp:*",
    # WRONG: a message of a book has a wrong quantity, which an audit finds.
    "audit_mismatch": "audit_mismatch on ETHUSDT",
    # FROZEN: the processes of books and trades stand still (SIGSTOP); Redis holds 64 MB more.
    "shown_age_ms": "shown_age_ms > 2000 on bitstamp:*",
    "unheard_ms": "unheard_ms > 5000 on bitstamp:*",
    "behind_ms": "behind_ms > 8000 on bitstamp:*",
    "withheld": "withheld on bitstamp:*",
    "depth_waiting": "depth_waiting > 20 on bitstamp:*",
    "trades_waiting": "trades_waiting > 10 on BTCUSDT",
    "workers": "workers.trades < 1",
    "redis_memory_mb": "redis_memory_mb > 60",
    # CUT: every socket of the venue is cut, and none is opened anew.
    "lines_alive": "lines_alive < 2 on usdm",
    "feed_silent": "feed_silent on usdm",
}
"""Of each signal and family a rule, by its name, below what brings it about."""
BY_ITSELF: Final = ("analytics", "trades", "liquidation", "iceberg_found", "wall_appeared")
PRICE: Final = (
    "mid", "best_bid", "best_ask", "derivatives", "stats", "spread", "spread_bps", "wall_eaten", "iceberg_confirmed"
)  # fmt: skip
HOLE: Final = ("trades_halted", "missing_trades", "gap")
SILENCE: Final = ("stale_ms", "book_state", "book", "orders")
WRONG: Final = ("audit_mismatch",)
FROZEN: Final = (
    "shown_age_ms", "unheard_ms", "behind_ms", "withheld", "depth_waiting", "trades_waiting", "workers",
    "redis_memory_mb",
)  # fmt: skip
CUT: Final = ("lines_alive", "feed_silent")
SPOILED: Final = "ETHUSDT"
"""The symbol whose trades are lost and whose book is wrong for a while; everything else must be as in truth."""


class Outside:
    """A webhook that refuses connections, later accepts them and never answers; a model that never answers, later
    sends a byte a second."""

    def __init__(self, webhook: int, model: int) -> None:
        self._ports = {"webhook": webhook, "model": model}
        self._servers: list[asyncio.Server] = []
        self.asked = {"webhook": 0, "model": 0}
        self.trickles = False

    async def listen(self, name: str) -> None:
        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.asked[name] += 1
            with suppress(OSError):
                if name == "model" and self.trickles:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n")
                    while not writer.is_closing():
                        writer.write(b" ")
                        await asyncio.sleep(1)
                while await reader.read(65_536):
                    pass
            writer.close()

        self._servers.append(await asyncio.start_server(take, "127.0.0.1", self._ports[name]))

    def close(self) -> None:
        for server in self._servers:
            server.close()


class Demo:
    """A running demo, and what is asked of it and done to it."""

    def __init__(self, home: Path, ports: dict[str, int], session: aiohttp.ClientSession) -> None:
        self.supervisor = Supervisor(home)
        self.client: Any = Redis(unix_socket_path=str(home / "run" / "redis.sock"))
        self.binance = ExchangeControl(f"http://127.0.0.1:{ports['binance']}")
        self.bitstamp = ExchangeControl(f"http://127.0.0.1:{ports['bitstamp']}")
        self._api = f"http://127.0.0.1:{ports['api']}"
        self._session = session
        self._faults: list[tuple[ExchangeControl, int]] = []

    async def fault(self, text: str, exchange: ExchangeControl | None = None) -> None:
        of = exchange or self.binance
        self._faults.append((of, await of.set_fault(text)))

    async def faults_over(self) -> None:
        for exchange, number in self._faults:
            await exchange.remove_fault(number)
        self._faults.clear()

    async def alerts(self) -> dict[str, Any]:
        """What `GET /alerts` answers; while nobody answers there is none."""
        with suppress(aiohttp.ClientError):
            async with self._session.get(f"{self._api}/alerts") as response:
                if response.status == 200:
                    found: dict[str, Any] = await response.json()
                    return found
        return {"open": []}

    async def until(self, what: Callable[[], Awaitable[Collection[str]]]) -> None:
        """Wait until nothing is missing."""
        missing: Collection[str] = ()
        try:
            async with asyncio.timeout(WAIT_S):
                while missing := await what():
                    await asyncio.sleep(0.2)
        except TimeoutError:
            raise AssertionError(f"these did not come: {sorted(missing)}") from None

    async def open(self, rules: Collection[str]) -> None:
        """Wait until each rule had an open alert in an answer of `GET /alerts`."""
        seen: set[str] = set()

        async def missing() -> Collection[str]:
            seen.update(one["alert"]["rule"] for one in (await self.alerts())["open"])
            return set(rules) - seen

        await self.until(missing)

    async def resolved(self, rules: Collection[str]) -> None:
        """Wait until each rule had none, in one answer or another."""
        seen: set[str] = set()

        async def still() -> Collection[str]:
            seen.update(set(rules) - {one["alert"]["rule"] for one in (await self.alerts())["open"]})
            return set(rules) - seen

        await self.until(still)

    def signal(self, program: str, number: signal.Signals) -> None:
        for row in self.supervisor.processes():
            if row["group"] == program and row["pid"]:
                os.kill(row["pid"], number)

    async def metric(self, role: str, name: str) -> float:
        """A metric of the one worker of a role, summed over its labels."""
        worker = (await self.client.zrange(f"fleet:workers:{role}", 0, -1))[0].decode()
        url = (await self.client.hget(f"fleet:worker:{worker}", "metrics")).decode()
        async with self._session.get(url) as response:
            families = text_string_to_metric_families(await response.text())
            return sum(one.value for family in families for one in family.samples if one.name == name)


def rules_text() -> str:
    return "".join(
        f'[[alerts.rules]]\nname = "{name}"\nwhen = "{when}"\nresolve_after_s = 0.2\n'
        for name, when in RULES.items()
    )


@asynccontextmanager
async def running_demo(folder: Path, outside: dict[str, int]) -> AsyncIterator[tuple[Demo, Verification]]:
    """A demo, from when everything it follows is shown."""
    home, names = folder / "home", ("binance", "bitstamp", "api")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    config = folder / "alerts.toml"
    config.write_text(CONFIG.format(home=home, **ports, **outside) + rules_text(), encoding="utf-8")
    environment = plain_environment(
        FLEET_ALERTS__WEBHOOK_URL=f"http://127.0.0.1:{outside['webhook']}/hook",
        FLEET_EXCHANGE__PORT=str(ports["binance"]),
        FLEET_EXCHANGE__FLAVOURS__BITSTAMP=str(ports["bitstamp"]),
        FLEET_API__PORT=str(ports["api"]),
    )
    command = [sys.executable, "-P", "-m", "workers.cli", "demo", "--config", str(config)]
    with (folder / "demo.txt").open("w") as said:
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdout=said, stderr=said, start_new_session=True
        )
    try:
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(aiohttp.ClientSession())
            demo = Demo(home, ports, session)
            stack.push_async_callback(demo.client.aclose)
            for exchange in (demo.binance, demo.bitstamp):
                await stack.enter_async_context(exchange)
            reader = FleetReader(demo.client, load(config, environment).settings)
            check = Verification(reader, demo.binance, {"bitstamp": demo.bitstamp})
            assert await check.wait_until_synced(240, asyncio.Event()), check.findings.sentences()
            yield demo, check
    finally:
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.wait(), 150)


@pytest.mark.e2e
@pytest.mark.full
async def test_each_signal_fires_and_resolves_on_a_running_demo_whoever_is_dead_outside(
    folder: Path,
) -> None:
    webhook, model = free_ports(2)
    outside = Outside(webhook, model)
    await outside.listen("model")
    async with running_demo(folder, {"webhook": webhook, "model": model}) as (demo, check):
        stop = asyncio.Event()
        sampling = asyncio.create_task(check.run(None, stop))
        await by_itself_and_price(demo)
        await outside.listen("webhook")  # refused until now, and never answered from now on
        await holes(demo)
        outside.trickles = True
        await silence_and_wrong(demo)
        await frozen_and_cut(demo)
        stop.set()
        await sampling
        assert await demo.metric("alerts", "fleet_alerts_webhook_sent_total") == 0
        assert await demo.metric("alerts", "fleet_alerts_comments_total") == 0
        assert await demo.metric("alerts", "fleet_alerts_webhook_failed_total") > 1
        assert await demo.metric("alerts", "fleet_alerts_comments_failed_total") > 1
        assert min(outside.asked.values()) >= 1  # pauses between two tries grow
        assert await demo.metric("alerts", "fleet_alerts_commands_total") > 1_000
        await check.finish()
    outside.close()
    found, latencies_ms = check.findings, sorted(check.latencies_ms)
    assert found.book_samples > 50
    assert len(latencies_ms) > 300
    assert latencies_ms[len(latencies_ms) // 2] < 1_000
    assert [one for one in found.sentences() if SPOILED not in one] == []
    assert found.books_differ <= {SPOILED}


async def by_itself_and_price(demo: Demo) -> None:
    await demo.open(BY_ITSELF)
    await demo.resolved(BY_ITSELF)
    await demo.fault("tick_size market=usdm symbol=BTCUSDT value=5000")
    await demo.fault("largest_quantity market=usdm symbol=BTCUSDT")
    await demo.fault("price market=usdm symbol=BTCUSDT value=127000")
    await demo.fault("burst market=usdm symbol=BTCUSDT value=4")
    await demo.open(PRICE)
    await demo.faults_over()
    await demo.fault("price market=usdm symbol=BTCUSDT value=84500")
    await demo.resolved(PRICE)
    await demo.faults_over()


async def holes(demo: Demo) -> None:
    await demo.fault(f"rest_status path=*/aggTrades symbol={SPOILED} value=500")
    await demo.fault(f"lose stream=*@aggTrade symbol={SPOILED} count=2")
    await demo.fault(f"lose stream=*@depth* symbol={SPOILED} count=2")
    await demo.open(HOLE)
    await demo.faults_over()
    await demo.resolved(HOLE)


async def silence_and_wrong(demo: Demo) -> None:
    await demo.fault(f"silence stream=*@depth* symbol={SPOILED}")
    await demo.fault("rest_status path=*/order_book/* value=500", demo.bitstamp)
    await demo.fault("lose stream=live_orders_* count=2", demo.bitstamp)
    await demo.open(SILENCE)
    await demo.faults_over()
    await demo.resolved(SILENCE)
    await demo.fault(f"corrupt stream=*@depth* symbol={SPOILED} share=0.3")
    await demo.open(WRONG)
    await demo.faults_over()
    await demo.resolved(WRONG)


async def frozen_and_cut(demo: Demo) -> None:
    for program in ("books", "trades"):
        demo.signal(program, signal.SIGSTOP)
    await demo.client.set("ballast", b"x" * 2**26)
    await demo.open(FROZEN)
    await demo.client.delete("ballast")
    demo.signal("trades", signal.SIGKILL)
    demo.signal("books", signal.SIGCONT)
    await demo.resolved(FROZEN)
    await demo.fault("refuse market=usdm")
    await demo.fault("reset market=usdm")
    await demo.open(CUT)
    await demo.faults_over()
    await demo.resolved(CUT)


def test_every_signal_and_family_is_brought_about_on_a_running_demo() -> None:
    waves = (*BY_ITSELF, *PRICE, *HOLE, *SILENCE, *WRONG, *FROZEN, *CUT)
    assert sorted(waves) == sorted(RULES) == sorted({*SIGNALS, *FAMILIES})
