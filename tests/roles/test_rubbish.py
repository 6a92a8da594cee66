"""Rubbish in every key of one symbol, under load: no role ends, the other symbols stay right, and it comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from in_process import KEYS, SYMBOLS, Fleet, fleet_of, settle
from structlog.testing import capture_logs

from workers.store.keys import followed_symbols, worker, workers

VICTIM, *OTHERS = SYMBOLS
ROLES = (("ingest-a", "a"), ("ingest-b", "b"), ("keeper", "k"), ("books", "books-1"), ("books", "books-2"),
         ("trades", "trades-1"), ("trades", "trades-2"))  # fmt: skip
SHARED = [followed_symbols("usdm"), "LIVE_ORDERBOOK", *(workers(role) for role, _ in ROLES),
          *(worker(name) for _, name in ROLES)]  # fmt: skip
LARGE = b"x" * 1_000_000
Spoil = Callable[[Any, str], object]
SPOILS: dict[str, Spoil] = {
    "string": lambda client, key: client.set(key, b"\xff\xfe{}"),
    "list": lambda client, key: client.rpush(key, "x"),
    "hash": lambda client, key: client.hset(key, mapping={"owner": "ghost", "state": "", b"\xff": b"\xfe"}),
    "sorted set": lambda client, key: client.zadd(key, {"{}": "inf", b"\xff": "-inf", "x": 1}),
    "stream": lambda client, key: client.xadd(key, {"data": "{}", "received": "abc"}),
    "a megabyte": lambda client, key: client.set(key, LARGE),
}


async def spoil(client: Any, key: str, how: Spoil) -> None:
    """Put something of another type in the place of a key, in one step: its owner may write it anew at any moment."""
    async with client.pipeline() as step:
        step.delete(key)
        how(step, key)
        await step.execute()


async def other_content(client: Any, key: str) -> None:
    """What a key of its right type should never hold."""
    kind = (await client.type(key)).decode()
    if kind == "hash":
        names = await client.hkeys(key)
        await client.hset(key, mapping=dict.fromkeys(names, b"\xff x") | {b"\xff": LARGE, "1e400": "-1"})
    elif kind == "string":
        await client.set(key, b"{}", keepttl=True)
    elif kind == "zset":
        await client.zadd(key, {b"\xff": 1, b"{}": "inf", b"": "-inf"})
    elif kind == "stream":
        for fields in (
            {"data": "{}", "received": "abc"},
            {b"\xff": b"\xff"},
            {"data": LARGE[:9999]},
            {"start": "x"},
        ):
            await client.xadd(key, fields)


def keys_of(symbol: str) -> list[str]:
    owned = [KEYS.lease(role, symbol) for role in ("books", "trades")]
    fences = [KEYS.fence(role, symbol) for role in ("books", "trades")]
    return [*KEYS.types(symbol), *owned, *fences]


async def current(fleet: Fleet, symbols: list[str]) -> None:
    """Wait until books and trades of some symbols are those of now."""
    since_us = time.time_ns() // 1000

    async def shown() -> bool:
        for symbol in symbols:
            payload = await fleet.client.hget("LIVE_ORDERBOOK", symbol)
            if (
                payload is None
                or int(payload.rpartition(b'"published":')[2].rstrip(b"}").partition(b",")[0]) < since_us
            ):
                return False
        return True

    await fleet.until(shown)
    await fleet.passed(*symbols)


def all_run(fleet: Fleet) -> None:
    for name, task in fleet.tasks.items():
        assert not task.done(), (name, task)


async def right_in_the_end(fleet: Fleet) -> None:
    all_run(fleet)
    await current(fleet, SYMBOLS)
    await settle(fleet)
    await fleet.check_books()
    await fleet.check_trades()
    all_run(fleet)


def told(logs: list[Any]) -> list[Any]:
    return [entry for entry in logs if entry["log_level"] in ("warning", "error", "critical")]


@pytest.mark.parametrize("kind", [*SPOILS, "other content"])
async def test_rubbish_in_every_key_of_one_symbol_at_once(real_server: str, kind: str) -> None:
    async with fleet_of(real_server) as fleet:
        for role, name in ROLES:
            fleet.start(role, name)
        await current(fleet, SYMBOLS)
        with capture_logs() as logs:
            for key in keys_of(VICTIM):
                if kind in SPOILS:
                    await spoil(fleet.client, key, SPOILS[kind])
                else:
                    await other_content(fleet.client, key)
            for _ in range(2):
                await asyncio.sleep(2)
                await current(fleet, OTHERS)
                all_run(fleet)
        assert len(told(logs)) < 100, [entry["event"] for entry in told(logs)]
        await fleet.client.delete(*keys_of(VICTIM))  # the cure that is told
        await right_in_the_end(fleet)


async def test_rubbish_in_one_key_after_the_other(real_server: str) -> None:
    async with fleet_of(real_server) as fleet:
        for role, name in ROLES:
            fleet.start(role, name)
        await current(fleet, SYMBOLS)
        with capture_logs() as logs:
            for number, key in enumerate([*keys_of(VICTIM), *SHARED]):
                if key in SHARED or number % 2:
                    await spoil(fleet.client, key, list(SPOILS.values())[number % len(SPOILS)])
                else:
                    await other_content(fleet.client, key)
                await asyncio.sleep(0.7)
                all_run(fleet)
                if key not in SHARED:
                    await fleet.client.delete(key)
            await current(fleet, OTHERS)
        assert len(told(logs)) < 300, [entry["event"] for entry in told(logs)]
        await right_in_the_end(fleet)


async def test_what_cannot_be_read_is_told_with_its_cure_and_comes_back(real_server: str) -> None:
    raw, state = KEYS.raw(VICTIM, "depth"), KEYS.trades_state(VICTIM)
    async with fleet_of(real_server) as fleet:
        for role, name in ROLES:
            fleet.start(role, name)
        await current(fleet, SYMBOLS)
        with capture_logs() as logs:
            await spoil(fleet.client, raw, SPOILS["list"])
            await fleet.client.hset(state, mapping={"last_id": "x"})

            async def told_so() -> bool:
                book = await fleet.client.hgetall(KEYS.book_status(VICTIM))
                trades = await fleet.client.hgetall(KEYS.trades_status(VICTIM))
                return (book[b"state"], trades.get(b"state")) == (b"unreadable", b"unreadable")

            await fleet.until(told_so)
            book = await fleet.client.hgetall(KEYS.book_status(VICTIM))
            assert book[b"reason"].decode() == f"{raw}: it is a list, not a stream (cure: DEL {raw})"
            trades = await fleet.client.hgetall(KEYS.trades_status(VICTIM))
            assert trades[b"reason"].decode().endswith(f"(cure: DEL {state})")
            assert await fleet.client.hget("LIVE_ORDERBOOK", VICTIM) is None
            await current(fleet, OTHERS)
        quarantined = [entry for entry in logs if entry["event"] == "symbol_quarantined"]
        assert {entry["symbol"] for entry in quarantined} == {VICTIM}
        assert {"apply", "read"} <= {entry["work"] for entry in quarantined} <= {"apply", "close", "read"}
        assert len(quarantined) <= 4  # each once for each way to say it, however often it was tried
        await fleet.client.delete(raw, state)
        await right_in_the_end(fleet)

        async def told_no_more() -> bool:  # told once a second
            is_synced = await fleet.client.hget(KEYS.book_status(VICTIM), "state") == b"synced"
            return is_synced and not await fleet.client.exists(KEYS.trades_status(VICTIM))

        await fleet.until(told_no_more)
