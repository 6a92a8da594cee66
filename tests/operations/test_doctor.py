"""`fleet doctor` at a sound fleet and at everything it exists to find."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_sync

from workers.cli.application import main
from workers.model.symbols.sizing import bytes_per_trade
from workers.operations.doctor.exchange import exchange_findings
from workers.operations.doctor.findings import Finding
from workers.operations.foreground import free_ports
from workers.operations.parent import end_with_parent
from workers.settings.loading import parse
from workers.sim import SimSettings, SimulatedExchange
from workers.store.server import find_server

DAY_MS = 86_400_000
T0 = 1_790_035_200_000
SETTINGS = """
[venues.usdm]
market = "usdm"
symbols = ["BTCUSDT"]
rest_url = "{url}/usdm"
websocket_url = "{ws}/usdm"
[venues.spot]
market = "spot"
symbols = ["BTCUSDT"]
rest_url = "{url}/spot"
websocket_url = "{ws}/spot"
"""


class Server:
    """A server of our own, to be spoilt."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.url = f"unix://{folder / 's'}"
        base = ["--port", "0", "--unixsocket", "s", "--save", "", "--maxmemory-policy", "noeviction"]
        self.process = subprocess.Popen(
            [str(find_server(os.environ["PATH"])), *base, *options],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            preexec_fn=end_with_parent,  # noqa: PLW1509 -- sets one flag of the new process, takes no lock
        )
        self.client = redis_sync.Redis(unix_socket_path=str(folder / "s"))
        for _ in range(3000):
            try:
                self.client.ping()
                break
            except redis_sync.ConnectionError:
                time.sleep(0.02)

    def stop(self) -> None:
        self.client.close()
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("s"))
    yield made
    made.stop()


Doctor = Callable[..., tuple[int, dict[str, dict[str, Any]]]]


@pytest.fixture
def doctor(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Doctor:
    monkeypatch.setenv("FLEET_CONFIG", "default.toml")
    monkeypatch.setenv("FLEET_HOME", str(tmp_path_factory.mktemp("h")))
    monkeypatch.setenv("REDIS_URL", server.url)
    monkeypatch.setenv("FLEET_VENUES__USDM__SYMBOLS", "BTCUSDT")
    monkeypatch.setenv("FLEET_API__PORT", str(free_ports(1)[0]))  # whatever listens on this machine

    def run(**changes: str) -> tuple[int, dict[str, dict[str, Any]]]:
        for name, value in changes.items():
            monkeypatch.setenv(name, value)
        code = main(["doctor", "--offline", "--json"])
        told = json.loads(capfd.readouterr().out)
        by_name: dict[str, dict[str, Any]] = {}
        for finding in told["findings"]:
            if finding["name"] not in by_name or finding["level"] == "problem":
                by_name[finding["name"]] = finding
        assert (code == 1) == (told["problem"] > 0)
        return code, by_name

    return run


def fill(server: Server, minutes: int = 10) -> None:
    """One trade and one depth event a second, each as long as real ones."""
    pipe = server.client.pipeline(transaction=False)
    for second in range(minutes * 60):
        ms = T0 + second * 1000
        pipe.xadd(
            "raw:{BTCUSDT}:depth", {"data": "d" * 1500, "received": ms, "line": "a"}, id=f"{ms}-{second + 1}"
        )
        pipe.xadd(
            "raw:{BTCUSDT}:aggTrade",
            {"data": "t" * 170, "received": ms, "line": "a"},
            id=f"{ms}-{second + 1}",
        )
        pipe.zadd("trades:{BTCUSDT}:latest", {f"{second:0250d}": ms})
    pipe.execute()


def test_a_sound_server_has_no_problem(doctor: Doctor, server: Server):
    server.client.config_set("appendonly", "yes")
    code, found = doctor()
    assert code == 0
    assert {found[name]["level"] for name in ("redis", "eviction", "persistence", "packages")} == {"ok"}
    assert found["redis"]["details"]["version"][0] in "789"
    assert "hiredis" in found["packages"]["found"]


def test_eviction_is_a_problem(doctor: Doctor, server: Server):
    server.client.config_set("maxmemory-policy", "allkeys-lru")
    code, found = doctor()
    assert code == 1
    assert found["eviction"]["level"] == "problem"
    assert "allkeys-lru" in found["eviction"]["found"]
    assert "CONFIG SET maxmemory-policy noeviction" in found["eviction"]["do"]


def test_memory_that_will_not_last_a_day_is_a_problem(doctor: Doctor, server: Server):
    fill(server)
    info = server.client.info("server")
    kind = "valkey" if "valkey_version" in info else "redis"
    day = DAY_MS // 1000
    _, found = doctor()
    estimate = found["memory"]["details"]["estimate"]
    assert estimate["trades_a_day"] == pytest.approx(day, rel=0.01)
    assert estimate["trades"] == pytest.approx(day * bytes_per_trade("json", kind), rel=0.01)
    assert estimate["total"] == pytest.approx(
        sum(estimate[name] for name in ("trades", "streams", "history", "bars", "other")), rel=0.01
    )
    # the streams keep 10 and 30 minutes; the depth stream holds its ten already
    raw = server.client.memory_usage("raw:{BTCUSDT}:aggTrade", samples=0)
    depth = server.client.memory_usage("raw:{BTCUSDT}:depth", samples=0)
    assert estimate["streams"] == pytest.approx(3 * raw + depth, rel=0.1)
    assert found["memory"]["level"] == "ok"
    server.client.config_set("maxmemory", int(estimate["total"] * 1.1))
    assert doctor()[1]["memory"]["level"] == "warning"
    server.client.config_set("maxmemory", int(estimate["total"] * 0.7))
    code, found = doctor()
    assert (code, found["memory"]["level"]) == (1, "problem")
    assert "redis.maxmemory_mb" in found["memory"]["do"]
    code, found = doctor(FLEET_TRADES__MEMBER="packed")
    packed = found["memory"]["details"]["estimate"]["trades"]
    assert packed == pytest.approx(day * bytes_per_trade("packed", kind), rel=0.01)
    assert doctor(FLEET_TRADES__LATEST_MAX="1000")[1]["memory"]["details"]["estimate"]["trades"] < packed / 50


def test_memory_of_a_million_trades_in_both_forms(doctor: Doctor):
    for member in ("json", "packed"):
        _, found = doctor(FLEET_TRADES__MEMBER=member)
        assert f"in force is {member}" in found["trades held"]["found"]
        forms = found["trades held"]["details"]["bytes_per_million"]
        assert forms["packed"] * 2 < forms["json"]


def test_a_server_without_persistence_is_a_warning(doctor: Doctor):
    assert doctor()[1]["persistence"]["level"] == "warning"


def test_a_server_that_does_not_answer_is_a_problem(doctor: Doctor):
    code, found = doctor(REDIS_URL="unix:///nowhere/redis.sock")
    assert (code, found["redis"]["level"]) == (1, "problem")
    assert "REDIS_URL" in found["redis"]["do"]


@pytest.mark.parametrize("user", ["", "fleet:wrong@"])
def test_a_server_that_wants_a_password_is_not_away(doctor: Doctor, server: Server, user: str):
    server.client.config_set("requirepass", "secret")
    try:
        code, found = doctor(REDIS_URL=server.url.replace("://", f"://{user}"))
    finally:
        server.client.config_set("requirepass", "")
    assert (code, found["redis"]["level"]) == (1, "problem")
    assert "refuses the login" in found["redis"]["found"]
    assert "user:password@" in found["redis"]["do"]


def test_before_the_first_start_there_is_no_server_and_no_problem(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("REDIS_URL")
    _, found = doctor(FLEET_REDIS__PORT=str(free_ports(1)[0]), FLEET_API__PORT="0")
    assert found["redis"]["level"] == "ok"
    assert "would start" in found["redis"]["found"]
    assert found["ports"]["level"] == "ok"
    assert found["redis port"]["level"] == "warning"
    assert "redis port" not in doctor(FLEET_REDIS__PORT="0", FLEET_API__PORT="0")[1]
    monkeypatch.setattr(
        "workers.operations.doctor.server.find_server", lambda *_: (_ for _ in ()).throw(not_found())
    )
    assert doctor()[1]["redis"]["level"] == "problem"


def not_found() -> Exception:
    from workers.errors import ServerNotFound

    return ServerNotFound("redis-server")


def test_a_taken_port_is_a_problem(doctor: Doctor):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        code, found = doctor(FLEET_API__PORT=str(port))
    assert (code, found["ports"]["level"]) == (1, "problem")
    assert str(port) in found["ports"]["found"]
    assert "FLEET_API__PORT" in found["ports"]["do"]


def test_the_port_of_each_simulated_exchange_is_looked_at(doctor: Doctor):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        code, found = doctor(FLEET_EXCHANGE__ENABLED="true", FLEET_EXCHANGE__FLAVOURS__OKX=str(port))
    assert (code, found["ports"]["level"]) == (1, "problem")
    assert f"exchange.flavours.okx: port {port}" in found["ports"]["found"]
    assert "FLEET_EXCHANGE__FLAVOURS__OKX" in found["ports"]["do"]


def test_a_low_limit_of_open_files(doctor: Doctor, monkeypatch: pytest.MonkeyPatch):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        low = max(
            200, len(os.listdir("/proc/self/fd")) + 100
        )  # the other tests of this process have files open
        resource.setrlimit(resource.RLIMIT_NOFILE, (low, before[1]))
        assert doctor()[1]["file limit"]["level"] == "ok", "the roles raise it themselves"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    for most, level in ((200, "problem"), (600, "warning")):
        monkeypatch.setattr("workers.operations.doctor.machine.raise_limit", lambda most=most: most)
        assert doctor()[1]["file limit"]["level"] == level
    assert doctor(FLEET_API__MOST_CLIENTS="100")[1]["file limit"]["level"] == "ok"


def test_a_full_disk_and_missing_packages(doctor: Doctor, monkeypatch: pytest.MonkeyPatch):
    usage = __import__("shutil").disk_usage("/")
    for free, level in ((10**8, "problem"), (5 * 10**9, "warning"), (10**11, "ok")):
        changed = usage._replace(free=free)
        monkeypatch.setattr(
            "workers.operations.doctor.machine.shutil.disk_usage", lambda _, changed=changed: changed
        )
        assert doctor()[1]["disk"]["level"] == level
    monkeypatch.setattr(
        "workers.operations.doctor.machine._installed", lambda name: "" if name == "uvloop" else "1"
    )
    code, found = doctor()
    assert (code, found["packages"]["found"]) == (1, "uvloop is not installed")


def test_for_people_each_finding_says_what_to_do(
    doctor: Doctor, server: Server, capfd: pytest.CaptureFixture[str]
):
    server.client.config_set("maxmemory-policy", "volatile-ttl")
    assert main(["doctor", "--offline"]) == 1
    said = capfd.readouterr().out
    assert "problem  eviction" in said
    assert "means" in said
    assert "do     redis-cli CONFIG SET" in said
    assert said.splitlines()[-1].startswith("1 problem")


Examined = Callable[..., Awaitable[dict[str, Finding]]]


@pytest.fixture
async def exchange() -> AsyncIterator[tuple[SimulatedExchange, Examined]]:
    simulated = SimSettings(port=0, spot_symbols=("BTCUSDT",), usdm_symbols=("BTCUSDT",), levels_per_side=50)
    async with SimulatedExchange(simulated) as running:
        urls = {"url": running.url.rstrip("/"), "ws": running.websocket_url.rstrip("/")}

        async def examine(**changes: str) -> dict[str, Finding]:
            effective = parse(SETTINGS.format(**{**urls, **changes}), "my.toml", {})
            return {finding.name: finding for finding in await exchange_findings(effective)}

        yield running, examine


def set_fault(running: SimulatedExchange, text: str) -> None:
    from workers.sim.engine.faults import Fault

    running.exchange.faults.add(Fault.parse(text), running.exchange.now_ms)
    running.exchange.advance(running.exchange.now_ms + 1)


async def test_an_exchange_that_answers(exchange: tuple[SimulatedExchange, Examined]):
    found = await exchange[1]()
    assert {finding.level for finding in found.values()} == {"ok"}
    assert set(found) == {
        f"{venue} {what}" for venue in ("usdm", "spot") for what in ("REST", "socket", "clock")
    }
    assert abs((found["usdm clock"].details or {})["offset_ms"]) < 1_000


@pytest.mark.parametrize(
    ("status", "spot_says", "usdm_says"),
    [
        (451, "wss://data-stream.binance.vision", "another region"),
        (403, "proxy", "proxy"),
        (418, "Retry-After", "Retry-After"),
        (429, "weight_share", "weight_share"),
        (503, "status page", "status page"),
    ],
)
async def test_what_a_refusal_means(
    exchange: tuple[SimulatedExchange, Examined], status: int, spot_says: str, usdm_says: str
):
    running, examine = exchange
    set_fault(running, f"rest_status value={status}")
    set_fault(running, f"refuse value={status}")
    found = await examine()
    for name, says in (("spot REST", spot_says), ("usdm REST", usdm_says), ("spot socket", spot_says)):
        assert found[name].level == "problem"
        assert says in found[name].do
        assert (found[name].details or {})["status"] == status
    assert "usdm clock" not in found


async def test_a_host_that_is_not_there(exchange: tuple[SimulatedExchange, Examined]):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = f"127.0.0.1:{closed.getsockname()[1]}"
        found = await exchange[1](url=f"http://{nowhere}", ws=f"ws://{nowhere}")
    assert {finding.level for finding in found.values()} == {"problem"}
    assert "curl -sv" in found["usdm REST"].do
    assert "curl -sv http://" in found["usdm socket"].do


@pytest.mark.parametrize(
    ("offset_ms", "level", "says"),
    [(2_000, "warning", "behind"), (-2_000, "warning", "ahead of"), (60_000, "problem", "behind"),
     (900_000, "problem", "behind"), (-900_000, "problem", "ahead of")],
)  # fmt: skip
async def test_a_clock_that_is_off(offset_ms: int, level: str, says: str):
    simulated = SimSettings(
        port=0,
        spot_symbols=("BTCUSDT",),
        usdm_symbols=("BTCUSDT",),
        levels_per_side=50,
        clock_offset_ms=offset_ms,
    )
    async with SimulatedExchange(simulated) as running:
        urls = {"url": running.url.rstrip("/"), "ws": running.websocket_url.rstrip("/")}
        found = await exchange_findings(parse(SETTINGS.format(**urls), "my.toml", {}))
    clocks = [finding for finding in found if finding.name.endswith("clock")]
    assert [finding.level for finding in clocks] == [level, level]
    assert says in clocks[0].found
    assert ("malformed" in clocks[0].means) == (offset_ms == 900_000)


async def test_a_clock_of_whole_seconds_is_no_clock_that_is_off():
    """Kraken rounds its time down: taken as it is, a right clock would be up to a second ahead of it."""
    async with SimulatedExchange(SimSettings(port=0, flavour="kraken")) as running:
        text = (
            f'[venues.kraken]\nexchange = "kraken"\nmarket = "spot"\nsymbols = ["BTC-USD"]\n'
            f'rest_url = "{running.url}"\nwebsocket_url = "{running.websocket_url}"\n'
        )
        found = await exchange_findings(parse(text, "my.toml", {}))
    [clock] = [finding for finding in found if finding.name.endswith("clock")]
    assert clock.level == "ok", clock
    assert clock.details is not None
    assert clock.details["uncertainty_ms"] >= 499.5
