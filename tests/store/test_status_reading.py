"""What status displays and the API's reader ask of Redis, on a bare server and on a furnished one."""

from __future__ import annotations

import time

import pytest
from redis.asyncio import Redis

from workers.store.books import shown as reading
from workers.store.books.publishing import BookStore, Publication
from workers.store.books.shown import (
    read_infos,
    read_memory,
    read_newest,
    read_symbols,
    shown_books,
    standing,
)
from workers.store.books.watch import Watch
from workers.store.keys import Keys
from workers.store.log.streams import GroupReader

KEYS = Keys("spot:")


async def furnish(client: Redis, symbol: str) -> None:
    status = {"state": "synced", "reason": "gap", "known_low": "1", "known_high": "9", "age_ms": 12}
    await client.hset(KEYS.book_status(symbol), mapping=status)
    await client.hset(KEYS.live_orderbook, symbol, f"book of {symbol}")
    await client.hset(KEYS.lease("books", symbol), mapping={"owner": "books-1", "token": 3})
    await client.hset(KEYS.trades_state(symbol), mapping={"last_id": 7, "missing_count": 2, "open": "x"})
    await client.hset(KEYS.symbol_info(symbol), mapping={"base_asset": "B"})
    await client.zadd(KEYS.history(symbol), {"block": 60_000})
    reader = GroupReader(client, "books")
    await reader.ensure(KEYS.raw(symbol, "depth"))
    for number in range(1, 5):
        await client.xadd(KEYS.raw(symbol, "depth"), {"data": "{}"}, id=f"{number}-1")
    await reader.new([KEYS.raw(symbol, "depth")], 1)


async def test_nothing_is_read_as_nothing(client: Redis) -> None:
    (found,) = await read_symbols(client, KEYS, ["A"])
    assert (found.book, found.shown, found.owner, found.trades) == ({}, False, "", {})
    assert (found.history_blocks, found.depth_lag, found.trades_lag) == (0, (0, 0), (0, 0))
    assert await read_symbols(client, KEYS, []) == []
    assert await read_infos(client, KEYS, ["A"]) == [{}]
    assert await read_newest(client, KEYS.gaps("A"), 5) == []
    (said,) = await Watch(client).statements(KEYS, ["A"])
    assert said == ("", "unknown", "", "", "", 0, 0)
    assert await Watch(client).shown(KEYS, ["A"]) == [None]
    assert await Watch(client).read({}, 5) == {}
    assert await Watch(client).ends([KEYS.gaps("A")]) == [b"0-0"]


async def test_each_symbol_is_told_of_itself(client: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PAGE", 2)
    for symbol in ("A", "C"):
        await furnish(client, symbol)
    found = dict(zip("ABC", await read_symbols(client, KEYS, ["A", "B", "C"]), strict=True))
    for symbol in "AC":
        one = found[symbol]
        assert (one.book["state"], one.shown, one.owner) == ("synced", True, "books-1")
        assert one.trades == {"last_id": "7", "missing_count": "2"}
        assert (one.history_blocks, one.depth_lag) == (1, (3, 1))
    assert not found["B"].shown
    assert await read_infos(client, KEYS, ["A", "B"]) == [{"base_asset": "B"}, {}]


async def test_the_log_of_trades_is_told_beside_their_fold(client: Redis) -> None:
    key, now_ms = KEYS.raw("A", "aggTrade"), int(time.time() * 1000)
    assert (await read_symbols(client, KEYS, ["A"]))[0].trades_log == (-1, -1)
    for ms, trade_id in ((now_ms - 90_000, 900), (now_ms - 60_000, 30), (now_ms + 60_000, 31)):
        await client.xadd(key, {"data": "{}"}, id=f"{ms}-{trade_id}")
    assert (await read_symbols(client, KEYS, ["A"]))[0].trades_log == (31, 30)
    await client.hset(KEYS.trades_state("A"), mapping={"last_id": 31, "ids_since": now_ms - 50_000})
    assert (await read_symbols(client, KEYS, ["A"]))[0].trades_log == (
        31,
        -1,
    )  # what is due has ids of before
    await client.delete(key)
    await client.set(key, "of another type")
    (found,) = await read_symbols(client, KEYS, ["A"])
    assert (found.trades_log, [problem.key for problem in found.unreadable]) == ((-1, -1), [key])


async def test_the_reader_sees_what_owners_show_and_say(client: Redis) -> None:
    await furnish(client, "A")
    watch = Watch(client)
    assert await watch.shown(KEYS, ["B", "A"]) == [None, b"book of A"]
    assert (await watch.statements(KEYS, ["A"]))[0] == ("books-1", "synced", "gap", "1", "9", 12, 0)
    assert await watch.hashes([KEYS.symbol_info("A"), "none"]) == [{"base_asset": "B"}, {}]
    key = KEYS.raw("A", "depth")
    assert await watch.ends([key]) == [b"4-1"]
    entries = await watch.read({key: b"2-1", KEYS.raw("B", "depth"): b"0-0"}, 1)
    assert entries == {key: [(b"3-1", {b"data": b"{}"})]}
    newest = await read_newest(client, key, 2)
    assert newest == [("4-1", {"data": "{}"}), ("3-1", {"data": "{}"})]


async def test_memory_is_that_of_the_server(real_server: str) -> None:
    client = Redis.from_url(real_server, protocol=2)
    memory = await read_memory(client)
    assert memory.used > 100_000
    assert memory.version[0].isdigit()
    await client.aclose()


@pytest.mark.parametrize(
    ("said", "owned", "shown", "state"),
    [
        ("synced", True, True, "synced"),
        ("synced", True, False, "withdrawn"),
        ("broken", True, False, "broken"),
        ("", True, False, "unknown"),
        ("synced", False, True, "not owned"),
        ("broken", False, False, "not owned"),
        ("retired", False, False, "retired"),
        ("delisted", False, False, "delisted"),
    ],
)
def test_what_the_last_owner_said_holds_while_there_is_one(
    said: str, owned: bool, shown: bool, state: str
) -> None:
    found, reason = standing(said, "gap", owned=owned, unheard_ms=0, shown=shown)
    assert found == state
    assert reason == (
        "gap" if owned or state == said else "no worker holds its lease; the fleet may have stopped"
    )


async def test_a_book_whose_owner_has_said_nothing_for_long_is_called_good_by_nobody(client: Redis) -> None:
    await furnish(client, "A")
    token = 3
    store = BookStore(client, KEYS, 10)
    status = {"state": "synced", "reason": "gap", "sync_count": 1}
    await store.publish([Publication("A", token, b'{"s":"A"}', False, status)])
    watch = Watch(client)

    async def seen() -> tuple[str, str, bool, bool, bool]:
        [shown], [read] = await shown_books(client, [(KEYS, "A")]), await read_symbols(client, KEYS, ["A"])
        state, _ = standing(
            read.book["state"], "", owned=bool(read.owner), unheard_ms=read.unheard_ms, shown=read.shown
        )
        [said], [sight] = await watch.statements(KEYS, ["A"]), await watch.sights(KEYS, ["A"])
        return shown.state, state, shown.is_shown, said.is_heard, sight.is_shown

    assert await seen() == ("synced", "synced", True, True, True)
    told = int((await client.hget(KEYS.book_status("A"), "told_ms")) or 0)
    assert told > 1_700_000_000_000
    for hours in (-1, 1):  # it hangs; or the server's clock was set back, until the owner writes again
        await client.hset(KEYS.book_status("A"), "told_ms", told + hours * 3_600_000)
        assert await seen() == ("unheard", "unheard", False, False, False)
    [shown] = await shown_books(client, [(KEYS, "A")])
    assert shown.reason.endswith("; the last was: synced, gap")
    assert shown.reason.startswith("its owner has said nothing of it for 3")
    await store.publish([Publication("A", token, None, False, status)])
    assert await seen() == ("synced", "synced", True, True, True)
