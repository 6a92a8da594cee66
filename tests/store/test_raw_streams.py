"""Appending: each message once, whatever arrives twice, late, out of order or with a clock that went back."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from workers.store.log.streams import CONSUMER, GroupReader, RawEntry, RawStreams

KEY = "raw:{BTCUSDT}:depth"
OTHER = "raw:{币安人生USDT}:depth"
KEPT = {KEY: 600_000, OTHER: 600_000}


def entry(ms: int, update_id: int, key: str = KEY, line: str = "a") -> RawEntry:
    return RawEntry(key, ms, update_id, b'{"u":%d}' % update_id, ms * 1000, line)


async def ids(client: Redis, key: str = KEY) -> list[str]:
    return [stream_id.decode() for stream_id, _ in await client.xrange(key)]


async def test_the_bytes_are_kept_and_the_id_is_event_time_and_update_id(client: Redis) -> None:
    streams = RawStreams(client, 10_000)
    data = '{"s":"币安人生USDT", "u": 7}'.encode()
    done = await streams.append(
        [RawEntry(OTHER, 1_700_000_000_000, 7, data, 1_700_000_000_123_456, "b")], KEPT
    )
    assert (done.appended, done.repeats, done.resets) == (1, 0, 0)
    [(stream_id, fields)] = await client.xrange(OTHER)
    assert stream_id == b"1700000000000-7"
    assert fields == {b"data": data, b"received": b"1700000000123456", b"line": b"b"}


async def test_a_repeat_is_dropped_and_counted_even_with_another_time(client: Redis) -> None:
    streams = RawStreams(client, 10_000)
    await streams.append([entry(1000, 5), entry(1001, 6)], KEPT)
    done = await streams.append([entry(1000, 5, line="b"), entry(1500, 6, line="b"), entry(1501, 7)], KEPT)
    assert (done.appended, done.repeats, done.repeats_by_key) == (1, 2, {KEY: 2})
    assert await ids(client) == ["1000-5", "1001-6", "1501-7"]


async def test_a_sample_of_the_repeats_says_which_line_was_first_and_by_how_much(client: Redis) -> None:
    streams = RawStreams(client, 10_000)
    await streams.append([entry(1000, 5), entry(1001, 6)], KEPT)
    late = entry(1001, 6, line="b")._replace(received_us=1_001_750)
    assert (await streams.append([late], KEPT)).leads == [("a", 750)]
    assert (await streams.append([entry(1002, 6, line="b")], KEPT)).leads == []
    late = entry(1000, 5, line="b")._replace(received_us=1_000_250)  # not the newest any more
    assert (await streams.append([late, entry(1002, 7, line="b")], KEPT)).leads == [("a", 250)]


async def test_a_repeat_of_a_whole_batch_after_a_lost_reply_changes_nothing(client: Redis) -> None:
    streams = RawStreams(client, 10_000)
    batch = [entry(1000 + i, 10 + i) for i in range(50)]
    await streams.append(batch, KEPT)
    done = await streams.append(batch, KEPT)
    assert (done.appended, done.repeats) == (0, 50)
    assert len(await ids(client)) == 50


async def test_a_new_id_whose_clock_went_back_takes_the_last_ms(client: Redis) -> None:
    done = await RawStreams(client, 10_000).append([entry(2000, 5), entry(1990, 6), entry(2001, 7)], KEPT)
    assert done.appended == 3
    assert await ids(client) == ["2000-5", "2000-6", "2001-7"]


async def test_ids_that_start_anew_are_taken_when_time_went_on(client: Redis) -> None:
    streams = RawStreams(client, 10_000)
    await streams.append([entry(1_000_000, 500)], KEPT)
    done = await streams.append([entry(1_010_000, 3), entry(1_010_001, 4)], KEPT)
    assert (done.appended, done.resets) == (2, 1)
    assert await ids(client) == ["1000000-500", "1010000-3", "1010001-4"]


async def test_streams_are_trimmed_without_an_entry_and_what_is_none_is_left(client: Redis) -> None:
    streams = RawStreams(client, 10_000)
    await streams.append([entry(1_000_000 + n, n) for n in range(350)], KEPT)
    await client.set(OTHER, "x")
    await streams.trim({KEY: 100, OTHER: 100, "raw:{NONE}:depth": 100}, 1_000_350)
    assert (await ids(client))[-1] == "1000349-349"
    assert 100 <= await client.xlen(KEY) < 250
    assert await client.get(OTHER) == b"x"
    assert not await client.exists("raw:{NONE}:depth")


async def test_update_id_zero_of_a_new_stream_is_taken(client: Redis) -> None:
    assert (await RawStreams(client, 10_000).append([entry(1000, 0), entry(1000, 1)], KEPT)).appended == 2


async def test_old_entries_go_and_young_ones_stay(client: Redis) -> None:
    streams, longer = RawStreams(client, 10_000), {KEY: 100_000, OTHER: 300_000}
    for last in (2000, 4000):  # where nothing is known of the streams, and where the last entries are
        await streams.append(
            [entry(i * 1000, i, key) for i in range(last - 1999, last + 1) for key in longer], longer
        )
        for key, kept_ms in longer.items():
            kept = await ids(client, key)
            assert kept[-1] == f"{last}000-{last}"
            assert f"{last - kept_ms // 1000}000-{last - kept_ms // 1000}" in kept
            assert len(kept) < kept_ms // 1000 + 300  # trimming is by whole nodes of about a hundred


async def test_a_key_of_another_type_is_refused_and_nothing_is_appended_elsewhere(client: Redis) -> None:
    await client.set(KEY, "x")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await RawStreams(client, 10_000).append([entry(1, 1, OTHER), entry(1, 1)], KEPT)
    assert await client.exists(OTHER) == 0


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.data())
async def test_two_lines_in_any_batching_give_every_message_once_in_order(
    client: Redis, data: st.DataObject
) -> None:
    await client.delete(KEY)
    writers = {line: RawStreams(client, 10_000_000) for line in "ab"}
    tape = []
    ms, update_id = 1_000, 0
    for _ in range(data.draw(st.integers(1, 30))):
        ms += data.draw(st.integers(-3, 20))
        update_id += data.draw(st.integers(1, 5))
        tape.append((ms, update_id))
    cursors = {"a": 0, "b": 0}
    while min(cursors.values()) < len(tape):
        line = data.draw(st.sampled_from([line for line, at in cursors.items() if at < len(tape)]))
        size = data.draw(st.integers(1, 8))
        batch = [
            entry(ms, update_id, line=line) for ms, update_id in tape[cursors[line] : cursors[line] + size]
        ]
        await writers[line].append(batch, KEPT)
        cursors[line] += len(batch)
    assert [int(stream_id.split("-")[1]) for stream_id in await ids(client)] == [u for _, u in tape]


@pytest.mark.parametrize("told", [None, 5, 1_000_000])
async def test_what_waits_is_counted_where_the_server_has_lost_count(
    told: int | None, real_server: str
) -> None:
    """As after a restart from the append-only file, when `entries-read` is too low, or unknown."""
    client = Redis.from_url(real_server, protocol=2)
    await client.flushall()
    reader = GroupReader(client, "books")
    await reader.ensure(KEY)
    await RawStreams(client, 10_000).append([entry(number, number) for number in range(1, 11)], KEPT)
    await reader.new([KEY], 10)
    for stands_at, waiting in ((b"10-10", 0), (b"7-7", 3)):
        await client.execute_command("XGROUP", "SETID", KEY, "books", stands_at, "ENTRIESREAD", told or -1)
        assert (await reader.lag(KEY))[0] == waiting
    await client.aclose()


async def test_an_owner_reads_new_then_pending_then_nothing_once_acknowledged(client: Redis) -> None:
    reader = GroupReader(client, "books")
    assert await reader.ensure(KEY)
    assert not await reader.ensure(KEY)
    await reader.ensure(OTHER)
    await RawStreams(client, 10_000).append([entry(1, 1), entry(2, 2), entry(3, 3), entry(1, 9, OTHER)], KEPT)
    first = await reader.new([KEY, OTHER], 2)
    assert [found.stream_id for found in first[KEY]] == [b"1-1", b"2-2"]
    assert [found.data for found in first[OTHER]] == [b'{"u":9}']
    assert await reader.lag(KEY) == (1, 2)
    assert [found.stream_id for found in await reader.pending(KEY, b"0", 10)] == [b"1-1", b"2-2"]
    assert [found.stream_id for found in await reader.pending(KEY, b"1-1", 10)] == [b"2-2"]
    assert await reader.acknowledge(KEY, [b"1-1", b"2-2"]) == 2
    assert await reader.pending(KEY, b"0", 10) == []
    assert [found.stream_id for found in (await reader.new([KEY, OTHER], 10))[KEY]] == [b"3-3"]
    assert await reader.new([KEY, OTHER], 10) == {}
    consumers = await client.xinfo_consumers(KEY, "books")
    assert [consumer["name"] for consumer in consumers] == [CONSUMER.encode()]


async def test_an_entry_trimmed_before_it_was_read_again_comes_without_data(client: Redis) -> None:
    reader = GroupReader(client, "books")
    await reader.ensure(KEY)
    await RawStreams(client, 10_000).append([entry(1, 1), entry(2, 2)], KEPT)
    await reader.new([KEY], 10)
    await client.xdel(KEY, "1-1")
    assert [found.data for found in await reader.pending(KEY, b"0", 10)] == [b"", b'{"u":2}']


async def test_what_was_deleted_from_the_end_of_a_stream_is_still_known(client: Redis) -> None:
    streams = RawStreams(client, 10_000)
    await streams.append([entry(1000, 5), entry(1001, 6)], KEPT)
    await client.xdel(KEY, "1001-6")
    done = await streams.append([entry(1001, 6, line="b"), entry(999, 7), entry(1002, 8)], KEPT)
    assert (done.appended, done.repeats) == (2, 1)
    assert await ids(client) == ["1000-5", "1001-7", "1002-8"]


async def test_what_a_line_remembers_of_a_stream_counts_until_another_has_appended(client: Redis) -> None:
    a, b = RawStreams(client, 10_000), RawStreams(client, 10_000)
    await a.append([entry(1000, 5)], KEPT)
    assert (await b.append([entry(1200, 5, line="b")], KEPT)).repeats == 1  # under a time that no entry has
    await b.append([entry(1100, 6, line="b")], KEPT)
    assert (await a.append([entry(1100, 6)], KEPT)).repeats == 1
    await a.append([entry(1150, 7)], KEPT)
    assert await ids(client) == ["1000-5", "1100-6", "1150-7"]
    await client.delete(KEY)  # taken at its word: no entry is read for it
    assert (await a.append([entry(1150, 7), entry(1160, 8)], KEPT)).repeats == 1
    assert await ids(client) == ["1160-8"]


async def test_calls_within_one_part_of_the_retention_neither_trim_nor_ask_for_the_last_id(
    real_server: str,
) -> None:
    client = Redis.from_url(real_server, protocol=2)
    try:
        streams = RawStreams(client, 10_000)
        await client.delete(KEY)
        await client.config_resetstat()
        for number in range(1, 201):
            await streams.append([entry(6_000_000 + 40 * number, number)], KEPT)
        found = await client.info("commandstats")
        assert found["cmdstat_xadd"]["calls"] == 200
        assert found["cmdstat_xinfo|stream"]["calls"] == 1
        assert found["cmdstat_xtrim"]["calls"] <= 3
        await streams.append([entry(9_000_000, 201)], KEPT)  # a later time trims what is older
        assert await client.xlen(KEY) < 150
        await client.execute_command("XSETID", KEY, "999999999999-1")
        with pytest.raises(ResponseError, match="far future"):
            await streams.append([entry(9_000_001, 202)], KEPT)
    finally:
        await client.delete(KEY)
        await client.aclose()


async def test_what_follows_the_last_that_is_known_is_only_appended(real_server: str) -> None:
    client = Redis.from_url(real_server, protocol=2)
    try:
        await client.delete(KEY, OTHER)
        streams = RawStreams(client, 10_000)
        await streams.append([entry(1000, 5), entry(1000, 5, OTHER)], KEPT)
        await client.config_resetstat()
        done = await streams.append([entry(1000, 6), entry(1001, 7), entry(1001, 9, OTHER)], KEPT)
        assert (done.appended, done.repeats_by_key) == (3, {KEY: 0, OTHER: 0})
        stats = await client.info("commandstats")
        assert stats["cmdstat_xread"]["calls"] == 1
        assert stats["cmdstat_xadd"]["calls"] == 3
        assert "cmdstat_xrevrange" not in stats
        await RawStreams(client, 10_000).append([entry(1100, 8, line="b")], KEPT)
        done = await streams.append([entry(1150, 8), entry(1160, 10), entry(1002, 10, OTHER)], KEPT)
        assert (done.appended, done.repeats_by_key) == (2, {KEY: 1, OTHER: 0})
        assert await ids(client) == ["1000-5", "1000-6", "1001-7", "1100-8", "1160-10"]
        assert await ids(client, OTHER) == ["1000-5", "1001-9", "1002-10"]
        await client.execute_command("XSETID", OTHER, "1003-20")  # nothing is there after what is known
        done = await streams.append([entry(1003, 15, OTHER), entry(1004, 21, OTHER)], KEPT)
        assert (done.appended, done.repeats_by_key) == (1, {OTHER: 1})
    finally:
        await client.delete(KEY, OTHER)
        await client.aclose()


async def test_entries_of_two_lines_in_a_call_are_each_of_its_own(client: Redis) -> None:
    streams = RawStreams(client, 10_000)
    await streams.append([entry(1000, 5)], KEPT)
    await streams.append([entry(1000, 6), entry(1001, 7, line="b")], KEPT)
    found = await client.xrange(KEY)
    assert [fields[b"line"] for _, fields in found] == [b"a", b"a", b"b"]
