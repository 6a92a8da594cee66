"""A book rebuilt from Redis is the book its owner has: from any checkpoint, to the end or to an update id."""

from __future__ import annotations

import random

import msgspec
import pytest
from chained_rules import CHAINED
from redis.asyncio import Redis

from workers.errors import MalformedFrame, StateUnreadable
from workers.model.books.checkpoint import encode_checkpoint
from workers.model.books.in_band import BookRule
from workers.model.books.sync import BookSync, SequenceRule, SyncState
from workers.model.events import DepthEvent, Snapshot
from workers.store.books.rebuilding import Rebuilt, begin, rebuild
from workers.store.keys import Keys
from workers.store.log.streams import Delivered, RawEntry, RawStreams

KEYS = Keys()
S = "BTCUSDT"
RAW = KEYS.raw(S, "depth")
EVENTS = 1200


def decode(symbol: str, entry: Delivered) -> DepthEvent:
    try:
        return msgspec.json.decode(entry.data, type=DepthEvent)
    except msgspec.DecodeError as error:
        raise MalformedFrame("test", "depth event", str(error), entry.data) from error


class Log:
    """A stream of events, the owner that folds it, and what it committed on the way."""

    def __init__(self, rule: SequenceRule) -> None:
        draw = random.Random(rule.value)
        self.rule, self.sync = rule, BookSync(S, rule)
        self.entries: list[RawEntry] = []
        self.checkpoints: dict[int, bytes] = {}
        self.tops: dict[int, object] = {}
        spot, last = rule is SequenceRule.SPOT, 100
        for number in range(EVENTS):
            u = last + draw.randint(1, 5)
            side = [(f"{100 - draw.randint(1, 50)}", f"{draw.randint(0, 3)}")]
            other = [(f"{100 + draw.randint(1, 50)}", f"{draw.randint(0, 3)}")]
            event = DepthEvent(S, last + 1, u, -1 if spot else last, 5, 0, side, other)
            last = u
            self.entries.append(RawEntry(RAW, 1000 + number, u, msgspec.json.encode(event), 1, "a"))
            self.sync.on_event(event, 0)
            if number == 0:
                self.sync.on_snapshot(Snapshot(S, u, [("50", "1")], [("150", "1")], limit=5), 0)
            self.tops[u] = self.sync.book.top(100)
            if number % 100 == 50:
                self.checkpoints[u] = encode_checkpoint(self.sync.checkpoint(f"{1000 + number}-{u}"))

    async def write(self, client: Redis) -> None:
        await RawStreams(client, 10_000).append(self.entries, {RAW: 10**9})

    async def rebuilt(self, client: Redis, at: int | None = None) -> Rebuilt:
        return await rebuild(client, KEYS, S, rule=BookRule(self.rule), decode=decode, now_ms=0, at=at)


@pytest.fixture(params=CHAINED)
def written(request: pytest.FixtureRequest) -> Log:
    return Log(request.param)


async def test_it_equals_the_owners_book_from_every_checkpoint(client: Redis, written: Log) -> None:
    await written.write(client)
    for checkpoint in written.checkpoints.values():
        await client.set(KEYS.book_checkpoint(S), checkpoint)
        found = await written.rebuilt(client)
        assert found.state is SyncState.SYNCED
        assert found.stream_id.decode() == f"{1000 + EVENTS - 1}-{written.sync.last_update_id}"
        assert found.unusable == 0
        assert encode_checkpoint(found.sync.checkpoint("0-0")) == encode_checkpoint(
            written.sync.checkpoint("0-0")
        )


async def test_it_stops_at_the_update_id_wanted(client: Redis, written: Log) -> None:
    await written.write(client)
    ids = list(written.tops)
    first, checkpoint = min(written.checkpoints.items())
    await client.set(KEYS.book_checkpoint(S), checkpoint)
    for at in (first, first + 1, first + 2, ids[200] - 1, ids[200], ids[1000], 10**9):
        last = max(u for u in ids if u <= at)
        found = await written.rebuilt(client, at)
        assert found.sync.last_update_id == last
        assert found.book.top(100) == written.tops[last]
        assert found.stream_id.endswith(b"-%d" % last)
    with pytest.raises(StateUnreadable, match="beyond the wanted"):
        await written.rebuilt(client, first - 1)


async def test_without_a_checkpoint_or_with_a_hole_it_is_not_in_sync(client: Redis, written: Log) -> None:
    assert (await written.rebuilt(client)).state is SyncState.WAITING
    await written.write(client)
    found = await written.rebuilt(client)
    assert (found.state, found.book.counts) == (SyncState.WAITING, (0, 0))
    await client.set(KEYS.book_checkpoint(S), min(written.checkpoints.items())[1])
    await client.xdel(RAW, f"1060-{list(written.tops)[60]}")
    assert (await written.rebuilt(client)).state is SyncState.BROKEN


async def test_what_cannot_be_used_is_counted_or_refused(client: Redis, written: Log) -> None:
    await written.write(client)
    await client.set(KEYS.book_checkpoint(S), max(written.checkpoints.items())[1])
    await client.xadd(RAW, {"data": b"{", "received": 1, "line": "a"}, id="9999999-9999999")
    found = await written.rebuilt(client)
    assert (found.unusable, found.state, found.stream_id) == (1, SyncState.SYNCED, b"9999999-9999999")
    await client.set(KEYS.book_checkpoint(S), b"MFBK damaged")
    with pytest.raises(StateUnreadable, match="checkpoint"):
        await written.rebuilt(client)


async def test_where_ids_only_order_a_log_that_may_lack_something_is_not_gone_on_from(client: Redis) -> None:
    log = Log(SequenceRule.RISING)
    await log.write(client)
    await client.set(KEYS.book_checkpoint(S), min(log.checkpoints.items())[1])
    assert (await log.rebuilt(client)).book.top(100) == log.sync.book.top(100)
    await client.xtrim(RAW, minid="1050", approximate=False)
    assert (await log.rebuilt(client)).state is SyncState.SYNCED
    await client.xtrim(RAW, minid="1051", approximate=False)
    assert (await log.rebuilt(client)).state is SyncState.WAITING
    await client.delete(RAW)
    await client.set(RAW, "x")
    assert await begin(client, KEYS, BookRule(log.rule).sync(S)) == b"0-0"
