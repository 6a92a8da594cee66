"""Every write of the retrying client leaves the same when it is sent twice, its first reply being lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from workers.model.books.audit import AuditOutcome
from workers.model.books.order_book import OrderBook
from workers.model.events import Snapshot, Trade
from workers.model.history.builder import BlockBuilder
from workers.model.symbols.info import SymbolInfo
from workers.model.trades.windows import INTERVALS_MS
from workers.settings.schema import FleetSettings
from workers.store.archive.offsets import ArchiveStore
from workers.store.books.audits import Audit, AuditStore
from workers.store.books.publishing import BookStore, Publication
from workers.store.fleet.leases import Leases, Registry
from workers.store.fleet.symbols import SymbolStore
from workers.store.history.writing import HistoryStore
from workers.store.keys import Keys
from workers.store.log.streams import GapRecord, RawEntry, RawStreams, record_gap
from workers.store.records import append_once
from workers.store.scripts import Scripts
from workers.store.trades.fold import TradeStore

KEYS = Keys()
S = "BTCUSDT"
DEPTH = KEYS.raw(S, "depth")
Write = Callable[[Any], Awaitable[object]]
GAP = GapRecord("depth", 100, 105, "gap", "resync")

AHEAD = 8 * 10**15
"""A fencing number ahead of any time: those after it do not differ from run to run."""


def leases(client: Redis, role: str = "books") -> Leases:
    return Leases(client, KEYS, role, "one", 60_000)


async def leased(client: Redis, role: str = "books") -> int:
    mine = leases(client, role)
    await client.set(KEYS.fence(role, S), AHEAD)
    await mine.take([S])
    return mine.held[S]


async def append(client: Redis) -> None:
    entries = [RawEntry(DEPTH, 1_000 + n, n, b"{}", 5, "a") for n in range(1, 4)]
    await RawStreams(client, 10_000).append(entries, {DEPTH: 10_000})


async def gaps(client: Redis) -> None:
    await record_gap(client, KEYS.gaps(S), GAP, 100)
    await record_gap(client, KEYS.gaps(S), GAP._replace(first=105, last=106), 100)


async def audit(client: Redis) -> None:
    store = AuditStore(client, KEYS, 100)
    await store.record(S, Audit(5, AuditOutcome.MATCH, update_id=7))
    await store.record(S, Audit(6, AuditOutcome.MATCH, update_id=7))


async def publish(client: Redis) -> None:
    token, store = await leased(client), BookStore(client, KEYS, 100)
    status = {"state": "synced", "sync_count": 1}
    for payload in (b'{"u":7}', b'{"u":8}', None):
        await store.publish([Publication(S, token, payload, payload is None, status)])


async def commit(client: Redis) -> None:
    await append(client)
    token = await leased(client)
    await client.xgroup_create(DEPTH, "books", id="0")
    await client.xreadgroup("books", "owner", {DEPTH: ">"})
    await BookStore(client, KEYS, 100).commit(S, token, "depth", b"state", [b"1001-1", b"1002-2"])


async def snapshots(client: Redis) -> None:
    store = BookStore(client, KEYS, 100)
    for received in (5, 6):
        await store.keep_snapshot(S, b"{}", received, 4)


async def distrust(client: Redis) -> None:
    token, store = await leased(client), BookStore(client, KEYS, 100)
    await store.distrust(S, "audit mismatch")
    told = Publication(S, token, None, False, {"state": "synced", "sync_count": 3})
    assert (await store.publish([told])).distrusted == {S: "audit mismatch"}
    await store.publish([Publication(S, token, None, True, {"state": "broken", "sync_count": 3})])


async def history(client: Redis) -> None:
    token, book = await leased(client), OrderBook()
    book.load(Snapshot(S, 7, [("9", "1")], [("11", "1")], limit=1))
    builder = BlockBuilder(S, levels=5, length=10)
    builder.skip_to(600)
    builder.known(600, book, 7)
    block = builder.block()
    assert block is not None
    await HistoryStore(client, KEYS, 1.0).write(S, token, [block])


def trade(number: int) -> tuple[str, Trade]:
    return "", Trade(
        S,
        number,
        "10",
        "1",
        number,
        number,
        1_723_165_200_000 + 70 * number,
        1_723_165_200_000,
        is_buyer_maker=True,
    )


async def trades(client: Redis) -> None:
    store = TradeStore(
        client, KEYS, Scripts(client), retention_ms=0, bar_retention=dict.fromkeys(INTERVALS_MS, 0)
    )
    await store.apply(S, [trade(number) for number in range(1, 9)])
    await store.skip(S, 9, 12)
    await store.apply(S, [trade(number) for number in range(13, 20)])
    await store.close(S, 1_723_165_900_000, 1_000)


async def symbols(client: Redis) -> None:
    store = SymbolStore(client, KEYS)
    await store.store([SymbolInfo(S, "TRADING", "BTC", "USDT", "0.1", "0.1")])
    await append(client)
    await client.xgroup_create(DEPTH, "books", id="0")
    await store.retire(S, "delisted", "it is gone", 60_000)
    await store.revive(S)
    await client.hset(KEYS.live_orderbook, S, "{}")
    await store.withdraw_orphans()
    await store.note("gone", [S])


async def archive(client: Redis) -> None:
    await append(client)
    token, offsets = await leased(client, "archive"), ArchiveStore(client, client, KEYS, 100)
    await client.xgroup_create(DEPTH, "archive", id="0")
    await client.xreadgroup("archive", "owner", {DEPTH: ">"})
    await offsets.prepare(S, DEPTH, token, name="depth", offset="", file="f")
    await offsets.commit(S, DEPTH, token, name="depth", before="", offset="1002-2", ids=["1001-1", "1002-2"])
    await offsets.record_gap(S, 3, 4, "trimmed")


async def fleet(client: Redis) -> None:
    registry = Registry(client, FleetSettings())
    await registry.beat("books", "one", {"symbols": 1})
    await registry.beat("books", "two", {"symbols": 1})
    await registry.leave("books", "two")
    mine = leases(client)
    await client.mset({KEYS.fence("books", symbol): AHEAD for symbol in (S, "ETHUSDT")})
    await mine.take([S, "ETHUSDT"])
    await mine.renew()
    await mine.release(["ETHUSDT"])


def sent_twice(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is sent from now on is carried out, its reply lost, and sent again."""
    plain, pipeline = client.execute_command, client.pipeline

    async def twice(*arguments: Any, **options: Any) -> Any:
        await plain(*arguments, **options)
        return await plain(*arguments, **options)

    def of_many(*arguments: Any, **options: Any) -> Any:
        pipe = pipeline(*arguments, **options)
        execute = pipe.execute

        async def many_twice(raise_on_error: bool = True) -> Any:
            commands = list(pipe.command_stack)
            await execute(raise_on_error=False)
            pipe.command_stack = commands
            return await execute(raise_on_error=raise_on_error)

        pipe.execute = many_twice
        return pipe

    monkeypatch.setattr(client, "execute_command", twice)
    monkeypatch.setattr(client, "pipeline", of_many)


async def contents(client: Redis) -> dict[bytes, object]:
    """All keys; of streams whose ids are the server's own, of scores that are times, and of expiries the rest."""
    found: dict[bytes, object] = {}
    for key in sorted(await client.keys("*")):
        kind, value = await client.type(key), None
        if kind == b"stream":
            entries = await client.xrange(key)
            own = key.startswith((b"gaps", b"audit", b"raw:{BTCUSDT}:snapshot")) or key.endswith(b":top")
            value = [fields for _, fields in entries] if own else entries
            groups = await client.xinfo_groups(key)
            value = value, [(group["name"], group["pending"], group["last-delivered-id"]) for group in groups]
        elif kind == b"zset":
            members = await client.zrange(key, 0, -1, withscores=True)
            value = [member for member, _ in members] if key.startswith(b"fleet:workers") else members
        elif kind == b"hash":
            value = await client.hgetall(key)
            value.pop(b"updated", None)
            value.pop(b"told_ms", None)
            value.pop(b"beat_ms", None)
            value.pop(b"repeated_count", None)  # counts just this
        else:
            value = await client.get(key)
        found[key] = value, await client.pttl(key) > 0
    return found


WRITES = [append, gaps, audit, publish, commit, snapshots, distrust, history, trades, symbols, archive, fleet]


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)
async def test_a_lost_reply_changes_nothing(
    client: Redis, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(client)
    once = await contents(client)
    assert once
    await client.flushall()  # the server is this test process's own
    with monkeypatch.context() as patch:
        if write in (
            commit,
            archive,
            symbols,
        ):  # their setting up is not the retrying client's, and refuses repeats
            real = client.xgroup_create
            patch.setattr(client, "xgroup_create", without_error(real))
        sent_twice(client, patch)
        await write(client)
    assert await contents(client) == once


def without_error(call: Any) -> Any:
    async def quietly(*arguments: Any, **options: Any) -> None:
        try:
            await call(*arguments, **options)
        except Exception as error:
            assert "BUSYGROUP" in str(error)  # noqa: PT017 -- no test of it: nothing else may happen

    return quietly


async def test_a_hole_is_one_entry_however_many_tell_of_it(client: Redis) -> None:
    key = KEYS.gaps(S)
    assert await record_gap(client, key, GAP, 100)
    assert not await record_gap(client, key, GAP._replace(reason="ids restarted"), 100)  # the next owner
    assert await record_gap(client, key, GAP._replace(first=105, last=110), 100)
    assert not await record_gap(client, key, GAP, 100)  # though it is not the newest
    assert await record_gap(client, key, GAP._replace(channel="aggTrade"), 100)
    assert await record_gap(client, key, GAP._replace(repaired="no"), 100)  # says more: what became of it
    assert await client.xlen(key) == 4
    assert list((await client.xrange(key))[0][1]) == [b"channel", b"from", b"to", b"reason", b"repaired"]


async def test_the_same_ids_much_later_are_another_hole(client: Redis) -> None:
    key = KEYS.gaps(S)
    fields = {"channel": "depth", "from": "100", "to": "105", "reason": "gap", "repaired": "resync"}
    await client.xadd(key, fields, id="1-1")
    assert await record_gap(client, key, GAP, 100)
    assert await client.xlen(key) == 2


async def test_records_are_bounded(client: Redis) -> None:
    for number in range(8):
        assert await append_once(client, "records", {"n": number}, kept=3, exactly=True)
    assert [fields[b"n"] for _, fields in await client.xrange("records")] == [b"5", b"6", b"7"]


async def test_distrust_is_said_again_until_the_sync_it_was_said_of_is_over(client: Redis) -> None:
    token, store = await leased(client), BookStore(client, KEYS, 100)
    await store.distrust(S, "audit mismatch")

    async def told(state: str, sync_count: int) -> dict[str, str]:
        status = {"state": state, "sync_count": sync_count}
        return (await store.publish([Publication(S, token, None, False, status)])).distrusted

    assert await told("synced", 3) == {S: "audit mismatch"}
    assert await told("synced", 3) == {S: "audit mismatch"}  # the reply was lost
    assert await told("synced", 4) == {}  # synced anew between two statuses
    assert not await client.exists(KEYS.book_distrust(S))
    await store.distrust(S, "audit mismatch")
    assert await told("synced", 4) == {S: "audit mismatch"}
    assert await told("broken", 4) == {}
    assert not await client.exists(KEYS.book_distrust(S))
