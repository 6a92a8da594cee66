"""The rights of config/redis-acl are enough for a fleet and for its readers, and no more is asked for."""

from __future__ import annotations

import time
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from in_process import KEYS, SYMBOLS, fleet_of, settle
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, ResponseError

from workers.api.server import Api
from workers.cli.status import _read
from workers.client import FleetClient
from workers.operations.doctor.server import server_findings
from workers.runtime.context import venue_contexts
from workers.runtime.process import Process
from workers.settings.loading import Effective
from workers.settings.paths import data_folder
from workers.store.connection import connect
from workers.store.fleet.symbols import SymbolStore
from workers.store.server import check_version, memory_of

EXAMINED = {b"info", b"config|get", b"memory|usage", b"client", b"client|setinfo"}
"""What the doctor, the keeper and redis-py ask for where they may, and do without where not."""


async def with_users(server: str) -> dict[str, str]:
    """The users of the file, made on a server; the URL of each."""
    client: Any = Redis.from_url(server, protocol=2)
    await client.flushall()
    urls = {}
    for line in (data_folder() / "config" / "redis-acl").read_text(encoding="utf-8").splitlines():
        if line.startswith("#") or not line:
            continue
        word, name, *rules = line.split()
        assert word == "user"
        secret = f"secret-of-{name}"
        await client.execute_command(
            "ACL", "SETUSER", name, *(f">{secret}" if rule[:1] == ">" else rule for rule in rules)
        )
        urls[name] = f"{server.replace('unix://', f'unix://{name}:{secret}@')}"
    await client.execute_command("ACL", "LOG", "RESET")
    await client.aclose()
    return urls


async def refused(server: str) -> set[tuple[bytes, bytes]]:
    """What users asked for and may not: (user, command or key)."""
    client: Any = Redis.from_url(server, protocol=2)
    entries = await client.execute_command("ACL", "LOG", "128")
    await client.aclose()
    found = [
        entry if isinstance(entry, dict) else dict(zip(entry[::2], entry[1::2], strict=True))
        for entry in entries
    ]
    plain = [{str(k, "utf-8") if isinstance(k, bytes) else k: v for k, v in entry.items()} for entry in found]
    as_bytes = [(entry["username"], entry["object"]) for entry in plain]
    return {tuple(v.encode() if isinstance(v, str) else v for v in pair) for pair in as_bytes}  # type: ignore[misc]


async def test_a_fleet_runs_with_the_rights_of_the_file_alone(spare_server: str) -> None:
    urls = await with_users(spare_server)
    channels = ["markPrice@1s", "openInterest", "!forceOrder@arr"]
    async with fleet_of(spare_server, venue={"channels": channels}) as fleet:
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
        [context] = venue_contexts(fleet.settings)
        symbols = SymbolStore(connect(urls["fleet"]), context.keys)
        await fleet.client.hset(KEYS.book_status("GONE"), "state", "synced")
        assert await symbols.retire("GONE", "retired", "not chosen", 60_000)
        assert await symbols.revive("GONE")
        found = await _read(Effective(fleet.settings))
        assert len(found["symbols"]) == len(SYMBOLS)
    assert {what for _, what in await refused(spare_server)} <= EXAMINED


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
        assert await memory_of(process.client) == (0, 0)
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
    assert await memory_of(Silent()) == (0, 0)  # type: ignore[arg-type]


async def test_every_key_of_a_symbol_is_among_the_rights(spare_server: str) -> None:
    for url in (await with_users(spare_server)).values():
        client: Any = connect(url)
        for key in [*KEYS.types("BTCUSDT"), *KEYS.raw_streams("BTCUSDT")]:
            assert await client.exists(key) == 0
        await client.aclose()


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
