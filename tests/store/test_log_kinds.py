"""Entries that are no updates, in a log that goes by the exchange's ids: against a twin, and as books."""

from __future__ import annotations

import json
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from workers.model.books.in_band import InBandSync, StreamRule
from workers.model.books.sequence import SequenceRule
from workers.model.books.sync import SyncState
from workers.model.events import DepthEvent, Kind
from workers.store.log.streams import RawEntry, RawStreams

KEY = "raw:{BTCUSDT}:depth"
KEPT = {KEY: 10**12}
RESET_MS = 10_000
SLOW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def entry(
    ms: int,
    update_id: int,
    kind: Kind = "update",
    line: str = "a",
    received: int = 0,
    data: bytes = b"",
    key: str = KEY,
) -> RawEntry:
    return RawEntry(key, ms, update_id, data or b"%d %d" % (ms, update_id), received or ms * 1000, line, kind)


class Filed(NamedTuple):
    """An entry as the log has it."""

    ms: int
    number: int
    kind: str
    line: str
    received: int
    data: bytes
    event_ms: int
    """Of a restart its own; else that it is filed under."""


class Twin:
    """`lua/log/append.lua` for one stream, in plain Python."""

    def __init__(self) -> None:
        self.log: list[Filed] = []

    def append(self, batch: list[RawEntry]) -> tuple[int, int, int]:
        appended = resets = 0
        for new in batch:
            ms, number, is_reset = self._place(new)
            if ms >= 0:
                kind = "restart" if is_reset and new.kind == "snapshot" else new.kind
                event_ms = new.event_ms if kind == "restart" else ms
                self.log.append(Filed(ms, number, kind, new.line, new.received_us, new.data, event_ms))
                appended += 1
                resets += is_reset
        return appended, len(batch) - appended, resets

    def _place(self, new: RawEntry) -> tuple[int, int, bool]:
        dropped = (-1, -1, False)
        last_ms, last_id = (self.log[-1].ms, self.log[-1].number) if self.log else (0, -1)
        since = [there for there in self.log if there.ms >= new.event_ms]
        if new.kind == "update":
            if new.update_id <= last_id:
                return dropped if new.event_ms < last_ms + RESET_MS else (new.event_ms, new.update_id, True)
            restarts = [there for there in since if there.kind == "restart"]
            if restarts and new.event_ms < last_ms:
                restart = restarts[-1]
                own = restart.line == new.line
                if new.received_us < restart.received if own else new.event_ms < restart.event_ms:
                    return dropped
            return max(last_ms, new.event_ms), new.update_id, False
        whole, same = ("snapshot", "restart"), (new.line, new.received_us, new.data)
        for there in since:
            alike = there.kind == new.kind or (there.kind in whole and new.kind in whole)
            if alike and (there.line, there.received, there.data) == same:
                return dropped
        ms = max(new.event_ms, last_ms + 1)
        if new.kind == "snapshot" and new.update_id < last_id and new.event_ms >= last_ms + RESET_MS:
            return ms, new.update_id, True
        if new.kind == "restart":
            restarts = [there for there in since if there.kind == "restart"]
            if restarts and restarts[-1].line != new.line and new.event_ms <= restarts[-1].event_ms:
                return dropped
            return ms, new.update_id, False
        return ms, max(0, last_id), False


async def filed(client: Redis, key: str = KEY) -> list[Filed]:
    found = []
    for stream_id, fields in await client.xrange(key):
        ms, _, number = stream_id.decode().partition("-")
        assert list(fields)[:3] == [b"data", b"received", b"line"]
        kind = fields.get(b"kind", b"update").decode()
        found.append(
            Filed(
                int(ms),
                int(number),
                kind,
                fields[b"line"].decode(),
                int(fields[b"received"]),
                fields[b"data"],
                int(fields.get(b"event_ms", ms)),
            )
        )
    return found


async def test_a_snapshot_leaves_the_last_update_id_what_it_is(client: Redis) -> None:
    streams = RawStreams(client, RESET_MS)
    await streams.append(
        [entry(1000, 5), entry(900, 99, "snapshot", "b"), entry(1000, 5, line="b"), entry(1000, 6)], KEPT
    )
    await streams.append([entry(2000, 99, "checksum"), entry(1000, 6), entry(2001, 7)], KEPT)
    ids = [(f.ms, f.number, f.kind) for f in await filed(client)]
    assert ids == [
        (1000, 5, "update"),
        (1001, 5, "snapshot"),
        (1001, 6, "update"),
        (2000, 6, "checksum"),
        (2001, 7, "update"),
    ]


@pytest.mark.parametrize("kind", ["snapshot", "checksum", "break"])
async def test_in_an_empty_stream_it_has_the_number_zero(client: Redis, kind: Kind) -> None:
    done = await RawStreams(client, RESET_MS).append([entry(1000, 7, kind), entry(1000, 3)], KEPT)
    assert (done.appended, done.repeats) == (2, 0)
    assert [(f.ms, f.number) for f in await filed(client)] == [(1000, 0), (1000, 3)]


async def test_after_a_restart_ids_count_from_its_own(client: Redis) -> None:
    streams = RawStreams(client, RESET_MS)
    await streams.append([entry(1000, 500), entry(1001, 1, "restart"), entry(1002, 2)], KEPT)
    done = await streams.append([entry(1001, 1, "restart", "b", received=7), entry(1002, 2, line="b")], KEPT)
    assert (done.appended, done.repeats, done.resets) == (0, 2, 0)  # the other line saw the same restart
    late = await streams.append([entry(1000, 501, line="b"), entry(1003, 3, line="b")], KEPT)
    assert (late.appended, late.repeats) == (1, 1)  # 501 is from before it
    assert [(f.ms, f.number) for f in await filed(client)] == [(1000, 500), (1001, 1), (1002, 2), (1003, 3)]


async def test_what_follows_a_restart_that_is_filed_late_is_no_repeat(client: Redis) -> None:
    """Whole books push the log's time ahead of the exchange's: the restart is filed under a later ms than its own."""
    streams = RawStreams(client, RESET_MS)
    await streams.append(
        [entry(1000, 500), entry(1000, 500, "snapshot"), entry(1000, 500, "snapshot", "b")], KEPT
    )
    await streams.append([entry(1000, 1, "restart")], KEPT)
    assert (await filed(client))[-1][:2] == (1003, 1)
    late = await streams.append([entry(999, 501, line="b"), entry(1001, 2, line="b")], KEPT)
    assert (late.appended, late.repeats) == (1, 1)
    assert (await filed(client))[-1][:2] == (1003, 2)


async def test_a_whole_book_of_lower_ids_begins_them_anew_where_every_socket_had_ended(client: Redis) -> None:
    """The exchange was away and counts from one again: no line saw the ids go back on a socket."""
    lines, market = {line: RawStreams(client, RESET_MS) for line in "ab"}, Market()
    frames = [("a", market.frame("snapshot", market.bids)), ("a", market.change(2, 2))]
    market.ms, market.number, market.bids = market.ms + RESET_MS, 7, {"5": "5"}
    for line in "abab":
        frames.append((line, market.frame("snapshot", market.bids)))
        frames.append((line, market.change(3, len(frames))))
    sync = InBandSync("S", SequenceRule.SPOT, StreamRule(by_id=True))
    for received, (line, (ms, number, kind, sent)) in enumerate(frames, 1):
        for repeats in (0, 1):  # tried again
            done = await lines[line].append([entry(ms, number, kind, line, received, sent)], KEPT)
            assert done.repeats == repeats
    for f in await filed(client):
        take(sync, f)
    assert sync.state is SyncState.SYNCED
    assert dict(sync.book.top(99)[0]) == market.bids


async def test_a_call_tried_again_doubles_nothing(client: Redis) -> None:
    streams = RawStreams(client, RESET_MS)
    batch = [
        entry(1000, 5),
        entry(1000, 9, "snapshot"),
        entry(1000, 6),
        entry(1000, 0, "break"),
        entry(1, 1, "restart"),
    ]
    await streams.append(batch, KEPT)
    await streams.append([entry(1100 + n, 100 + n, line="b") for n in range(300)], KEPT)
    done = await streams.append(batch, KEPT)
    assert (done.appended, done.repeats) == (0, 5)
    other = await streams.append([entry(1000, 9, "snapshot", "b")], KEPT)
    assert other.appended == 1  # another line's is another one


async def test_ids_beyond_a_double_are_told_apart(client: Redis) -> None:
    large = 2**63 - 3
    streams = RawStreams(client, RESET_MS)
    for number in (large, large + 1, large + 1, large + 2, large):
        await streams.append([entry(1000, number)], KEPT)
    assert [f.number for f in await filed(client)] == [large, large + 1, large + 2]


entries = st.builds(
    entry,
    st.integers(1_000, 1_030) | st.integers(1_000, 30_000),
    st.integers(0, 40) | st.integers(2**53 - 2, 2**53 + 4) | st.integers(2**63 - 4, 2**63 - 1),
    st.sampled_from(["update", "update", "update", "snapshot", "checksum", "break", "restart"]),
    st.sampled_from("ab"),
    st.integers(1, 3),
)


async def test_what_becomes_of_an_entry_does_not_depend_on_those_it_comes_with(client: Redis) -> None:
    """Of one call, an entry before it looks further back."""
    streams, twin = RawStreams(client, RESET_MS), Twin()
    batches = [
        [entry(1000, 0), entry(1000, 0, "restart", "b", received=2), entry(11_001, 0)],
        # the first asks for restarts since 1000, the other since 1002
        [entry(1000, 1), entry(1002, 2, line="b", received=1)],
        [entry(2000, 9, "checksum"), entry(20_000, 10)],
        [entry(2000, 9, "checksum"), entry(11_003, 9, "checksum")],
    ]
    for batch in batches:
        done = await streams.append(batch, KEPT)
        assert (done.appended, done.repeats, done.resets) == twin.append(batch)
    assert await filed(client) == twin.log


@SLOW
@given(st.lists(st.lists(entries, min_size=1, max_size=8), min_size=1, max_size=8), st.data())
async def test_the_script_does_what_its_twin_does(
    client: Redis, batches: list[list[RawEntry]], data: st.DataObject
) -> None:
    await client.delete(KEY)
    lines, twin = [RawStreams(client, RESET_MS), RawStreams(client, RESET_MS)], Twin()
    for number in range(len(batches)):
        for batch in (batches[number], batches[data.draw(st.integers(0, number))]):  # and one of them again
            done = await data.draw(st.sampled_from(lines)).append(batch, KEPT)
            assert (done.appended, done.repeats, done.resets) == twin.append(batch)
    assert await filed(client) == twin.log


@SLOW
@given(st.data())
async def test_several_streams_in_a_call_are_each_as_if_alone(client: Redis, data: st.DataObject) -> None:
    """Mostly updates that rise, so that some streams of a call have only to be appended to, and others not."""
    keys = [f"raw:{{S}}:{number}" for number in range(3)]
    await client.delete(*keys)
    lines = {line: RawStreams(client, RESET_MS) for line in "ab"}
    twins, newest = {key: Twin() for key in keys}, dict.fromkeys(keys, (1_000, 10))
    for _ in range(data.draw(st.integers(1, 8))):
        line, batch = data.draw(st.sampled_from("aaab")), list[RawEntry]()
        for key in data.draw(st.lists(st.sampled_from(keys), min_size=1, max_size=8)):
            ms, number = newest[key]
            if data.draw(st.integers(0, 9)) == 0:
                batch.append(data.draw(entries)._replace(key=key, line=line))
                continue
            back = data.draw(st.sampled_from([0, 0, 0, 0, 1, 3]))
            newest[key] = ms + data.draw(st.integers(0, 30)), number + 2
            batch.append(entry(newest[key][0] - back, newest[key][1] - back, line=line, key=key))
        for _ in range(data.draw(st.sampled_from([1, 1, 2]))):
            done = await lines[line].append(batch, dict.fromkeys(keys, 10**12))
            became = {
                key: twins[key].append([new for new in batch if new.key == key])
                for key in {new.key for new in batch}
            }
            assert done.repeats_by_key == {key: repeats for key, (_, repeats, _) in became.items()}
            assert done[:3] == tuple(map(sum, zip(*became.values(), strict=True)))
    for key in keys:
        assert await filed(client, key) == twins[key].log


class Market:
    """A book whose exchange counts its changes, and what it sends of it."""

    def __init__(self) -> None:
        self.bids: dict[str, str] = {"1": "1"}
        self.ms, self.number = 1_000, 100

    def frame(self, kind: Kind, levels: dict[str, str]) -> tuple[int, int, Kind, bytes]:
        data = {"u": self.number, "b": list(levels.items()), "n": self.ms}
        return self.ms, self.number, kind, json.dumps(data).encode()

    def change(self, price: int, quantity: int) -> tuple[int, int, Kind, bytes]:
        self.ms, self.number = self.ms + 1, self.number + 1
        self.bids[str(price)] = str(quantity)
        return self.frame("update", {str(price): str(quantity)})

    def restart(self) -> tuple[int, int, Kind, bytes]:
        self.ms, self.number = self.ms + 1, 1
        return self.frame("restart", self.bids)


def take(sync: InBandSync, filed: Filed) -> None:
    sent = json.loads(filed.data)
    kind: Kind = filed.kind  # type: ignore[assignment]  # as it was written
    bids = [(price, quantity) for price, quantity in sent["b"]]
    sync.on_event(DepthEvent("S", sent["u"], sent["u"], -1, filed.ms, 0, bids, [], kind), filed.ms)


@SLOW
@given(st.data())
async def test_two_lines_with_snapshots_and_a_restart_make_one_book(
    client: Redis, data: st.DataObject
) -> None:
    """Each line brings every change and the restart, snapshots of its own in between, and calls tried again."""
    await client.delete(KEY)
    market, tape = Market(), list[tuple[int, int, Kind, bytes]]()
    tapes: dict[str, list[RawEntry]] = {"a": [], "b": []}
    for step in range(data.draw(st.integers(2, 25))):
        if step == 0 or data.draw(st.integers(0, 7)) == 0:
            for line in "ab" if step == 0 else data.draw(st.sampled_from(["a", "b", "ab"])):
                whole = market.frame("snapshot", market.bids)
                tapes[line].append(entry(*whole[:3], line, 1_000_000 + 2 * step, whole[3]))
        can_restart = all(kind != "restart" for _, _, kind, _ in tape)
        if can_restart and data.draw(st.integers(0, 7)) == 0:
            tape.append(market.restart())
        else:
            tape.append(market.change(data.draw(st.integers(1, 5)), data.draw(st.integers(1, 9))))
        for line in "ab":
            tapes[line].append(entry(*tape[-1][:3], line, 1_000_001 + 2 * step, tape[-1][3]))
    writers, cursors = {line: RawStreams(client, RESET_MS) for line in "ab"}, {"a": 0, "b": 0}
    while open_lines := [line for line in "ab" if cursors[line] < len(tapes[line])]:
        line = data.draw(st.sampled_from(open_lines))
        batch = tapes[line][cursors[line] : cursors[line] + data.draw(st.integers(1, 6))]
        await writers[line].append(batch, KEPT)
        if data.draw(st.booleans()):
            done = await writers[line].append(batch, KEPT)
            assert done.appended == 0
        cursors[line] += len(batch)
    log = await filed(client)
    assert [f.data for f in log if f.kind in ("update", "restart")] == [frame[3] for frame in tape]
    snapshots = sum(one.kind == "snapshot" for line in "ab" for one in tapes[line])
    assert sum(f.kind == "snapshot" for f in log) == snapshots
    sync = InBandSync("S", SequenceRule.SPOT, StreamRule(by_id=True))
    for f in log:
        take(sync, f)
    assert sync.state is SyncState.SYNCED
    assert dict(sync.book.top(99)[0]) == market.bids
