"""`audit:{S}`, the last audit in the status, and finding a snapshot's place in the stream."""

from __future__ import annotations

from redis.asyncio import Redis

from workers.model.books.audit import AuditOutcome, Shown
from workers.model.books.checkpoint import encode_checkpoint
from workers.model.books.order_book import Difference
from workers.model.books.sync import BookSync, SequenceRule
from workers.model.events import Snapshot
from workers.store.books.audits import Audit, AuditStore, LastAudit
from workers.store.keys import Keys
from workers.store.log.streams import RawEntry, RawStreams

KEYS = Keys("spot:")
S = "BTCUSDT"
WHEN = 1_795_218_600_123  # 2026-11-20T23:50:00.123Z


def audits(client: Redis, kept: int = 1000) -> AuditStore:
    return AuditStore(client, KEYS, kept)


async def append(client: Redis, *update_ids: int) -> None:
    key = KEYS.raw(S, "depth")
    entries = [RawEntry(key, 1000 + u // 10, u, b"data %d" % u, 7, "a") for u in update_ids]
    await RawStreams(client, 10_000).append(entries, {key: 10**9})


async def test_an_audit_is_recorded_and_named_in_the_status(client: Redis) -> None:
    await client.hset(KEYS.book_status(S), mapping={"state": "synced", "last_update_id": 5})
    differences = [Difference("bid", f"9.{digit}", "2.9", "3.1") for digit in range(8)]
    audit = Audit(WHEN, AuditOutcome.MISMATCH, "why", 123, 120, 2000, differences, "9", "11", 1.23456)
    await audits(client).record(S, audit)
    [(_, fields)] = await client.xrange("spot:audit:{BTCUSDT}")
    assert {name.decode(): value.decode() for name, value in fields.items()} == {
        "time": str(WHEN),
        "source": "snapshot",
        "u": "123",
        "snapshot_id": "120",
        "outcome": "mismatch",
        "reason": "why",
        "compared": "2000",
        "differing": "8",
        "differences": "; ".join(f"bid 9.{digit} held 2.9 exchange 3.1" for digit in range(5)),
        "low": "9",
        "high": "11",
        "waited_s": "1.235",
    }
    status = await client.hgetall("spot:book:{BTCUSDT}:status")
    assert status[b"last_audit"] == b"mismatch 2026-11-20T23:50:00Z u=123"
    assert status[b"last_audit_ms"] == str(WHEN).encode()
    assert status[b"state"] == b"synced"


async def test_the_stream_of_audits_is_bounded(client: Redis) -> None:
    store = audits(client, kept=10)
    for number in range(500):
        await store.record(S, Audit(WHEN + number, AuditOutcome.MATCH))
    assert await client.xlen(KEYS.audit(S)) < 250


async def test_the_last_audits_are_found_again(client: Redis) -> None:
    store = audits(client)
    assert await store.last_audits([]) == {}
    await store.record(S, Audit(WHEN, AuditOutcome.UNKNOWN, "stream behind"))
    found = await store.last_audits([S, "ETHUSDT"])
    assert found == {S: LastAudit(WHEN, "unknown"), "ETHUSDT": LastAudit(0, "")}


async def test_what_is_not_there_is_said_to_be_missing(client: Redis) -> None:
    store = audits(client)
    assert await store.state(S) == ""
    assert await store.last_update_id(S) == -1
    assert await store.checkpoint(S) is None
    assert await store.shown(S) is None
    assert await store.entries_from(S, 1) == []


async def test_state_checkpoint_and_shown_payload_are_read(client: Redis) -> None:
    store = audits(client)
    sync = BookSync(S, SequenceRule.SPOT)
    sync.on_snapshot(Snapshot(S, 7, [("9", "1")], [("11", "1")]), 0)
    await client.set(KEYS.book_checkpoint(S), encode_checkpoint(sync.checkpoint("5-7")))
    await client.hset(KEYS.book_status(S), "state", "confirming")
    times = b'"E":1,"T":0,"synced_at":1,"received":2,"published":3'
    payload = b'{"s":"BTCUSDT","b":[["9","1"]],"a":[],"u":7,%b,"more":[1]}' % times
    await client.hset("spot:LIVE_ORDERBOOK", S, payload)
    assert await store.state(S) == "confirming"
    assert await store.shown(S) == Shown(7, [("9", "1")], [])
    checkpoint = await store.checkpoint(S)
    assert checkpoint is not None
    assert (checkpoint.stream_id, checkpoint.synced) == ("5-7", False)
    await client.hset("spot:LIVE_ORDERBOOK", S, b"{")
    assert await store.shown(S) is None


async def test_entries_from_an_update_id_on_are_found_by_their_stream_ids(client: Redis) -> None:
    store = audits(client)
    ids = list(range(10, 4000, 10))
    await append(client, *ids)
    assert await store.last_update_id(S) == 3990
    for wanted in (0, 10, 11, 2000, 2001, 3350, 3360, 3370, 3990, 3991):
        found = await store.entries_from(S, wanted)
        expected = [u for u in ids if u >= wanted]
        assert [int(entry.stream_id.partition(b"-")[2]) for entry in found] == expected
        assert [entry.data for entry in found] == [b"data %d" % u for u in expected]
        assert {entry.received_us for entry in found} <= {7}
