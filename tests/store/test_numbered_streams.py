"""A log of what the exchange does not number: one writer's book at a time, and each trade once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from numbered_entries import AT_ONCE, BOOK, KEPT, NEVER, SLOW, TRADES, change, trade
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from workers.model.trades.numbering import BREAK_ROOM
from workers.store.keys import names_of, writer_of
from workers.store.log.numbered import NumberedStreams
from workers.store.log.streams import RawEntry


async def kinds(client: Redis) -> list[tuple[str, str]]:
    found = await client.xrange(BOOK)
    return [(i.decode(), fields.get(b"kind", b"update").decode()) for i, fields in found]


async def names(client: Redis) -> list[str]:
    return [fields[b"data"].decode() for _, fields in await client.xrange(TRADES)]


async def test_the_log_numbers_what_it_takes_and_its_ms_never_go_back(client: Redis) -> None:
    batch = [change(1, "snapshot"), change(5), change(3)._replace(number=7), change(9, "break")]
    done = await NumberedStreams(client, NEVER).append(batch, KEPT)
    assert (done.appended, done.repeats, done.refused) == (4, 0, 0)
    expected = [("1001-1", "snapshot"), ("1005-2", "update"), ("1005-3", "update"), ("1009-4", "break")]
    assert await kinds(client) == expected


async def test_a_turn_begins_with_a_snapshot(client: Redis) -> None:
    done = await NumberedStreams(client, NEVER).append(
        [change(1), change(2, "checksum"), change(3, "break"), change(4, "snapshot"), change(5)], KEPT
    )
    assert (done.appended, done.refused, done.silent_ms) == (2, 3, {})
    assert [kind for _, kind in await kinds(client)] == ["snapshot", "update"]


async def test_another_line_stands_by_while_the_writer_writes(client: Redis) -> None:
    streams = NumberedStreams(client, 60_000)
    alone = await streams.append([change(1, turn="x", line="b")], KEPT)
    assert alone.silent_ms[BOOK] > 10**12  # nobody has ever written
    await streams.append([change(1, "snapshot")], KEPT)
    done = await streams.append([change(1, "snapshot", "x", "b"), change(2, turn="x", line="b")], KEPT)
    assert (done.appended, done.refused, done.refused_by_key) == (0, 2, {BOOK: 2})
    assert 0 <= done.silent_ms[BOOK] < 60_000
    assert await kinds(client) == [("1001-1", "snapshot")]


async def test_a_silent_writer_is_followed_and_what_it_brings_later_is_refused(client: Redis) -> None:
    await NumberedStreams(client, NEVER).append([change(1, "snapshot"), change(2)], KEPT)
    done = await NumberedStreams(client, AT_ONCE).append([change(9, "snapshot", "x", "b")], KEPT)
    assert done.appended == 1
    late = [change(1, "snapshot"), change(2), change(3), change(4, "snapshot"), change(5, "break")]
    for silent_ms in (NEVER, AT_ONCE):
        done = await NumberedStreams(client, silent_ms).append(late, KEPT)
        assert (done.appended, done.refused) == (0, 5)
    assert (await NumberedStreams(client, NEVER).append([change(10, turn="x", line="b")], KEPT)).appended == 1


async def lose(client: Redis, streams: NumberedStreams, *lost: RawEntry) -> None:
    """Append entries, and have a fail-over to a server that has not got them."""
    writer, entries = await client.hgetall(writer_of(BOOK)), await client.xrange(BOOK)
    assert (await streams.append(lost, KEPT)).appended == len(lost)
    await client.delete(BOOK, writer_of(BOOK))
    for stream_id, fields in entries:
        await client.xadd(BOOK, fields, id=stream_id)
    await client.hset(writer_of(BOOK), mapping=writer)


async def test_a_book_of_which_a_fail_over_lost_something_ends_there(client: Redis) -> None:
    """No number of its readers shows that."""
    streams = NumberedStreams(client, NEVER)
    await streams.append([change(1, "snapshot"), change(2)], KEPT)
    await lose(client, streams, change(3), change(4))
    for _ in range(2):  # sent again, as the first reply was lost
        done = await streams.append([change(5), change(6, "checksum")], KEPT)
        assert (done.appended, done.refused) == (0, 2)
        assert done.silent_ms[BOOK] > NEVER  # so the line subscribes anew at once
    assert await kinds(client) == [("1001-1", "snapshot"), ("1002-2", "update"), ("1005-3", "break")]
    assert (await streams.append([change(7, "snapshot", "t2"), change(8, turn="t2")], KEPT)).appended == 2


async def test_a_whole_book_makes_good_what_a_fail_over_lost(client: Redis) -> None:
    streams = NumberedStreams(client, NEVER)
    await streams.append([change(1, "snapshot")], KEPT)
    await lose(client, streams, change(2))
    assert (await streams.append([change(3, "snapshot"), change(4)], KEPT)).appended == 2
    assert [kind for _, kind in await kinds(client)] == ["snapshot", "snapshot", "update"]


async def test_a_writer_whose_book_ended_frees_its_turn_at_once(client: Redis) -> None:
    streams = NumberedStreams(client, NEVER)
    await streams.append([change(1, "snapshot"), change(2), change(3, "break"), change(4)], KEPT)
    other = [change(5, "snapshot", "x", "b")]
    assert (await streams.append(other, KEPT)).appended == 0  # it went on after the break
    await streams.append([change(6, "break")], KEPT)
    standing_by = await streams.append([change(7, turn="x", line="b")], KEPT)
    assert standing_by.silent_ms[BOOK] > NEVER  # so that line subscribes anew at once
    assert (await streams.append(other, KEPT)).appended == 1
    back = [change(1, "snapshot", "t2", received=10**9)]
    assert (await streams.append(back, KEPT)).refused == 1


async def test_the_writers_own_line_goes_on_over_another_socket_at_once(client: Redis) -> None:
    streams = NumberedStreams(client, NEVER)
    first = [change(1, "snapshot"), change(2)]
    second = [change(1, "snapshot", "t2", received=10**9), change(2, turn="t2")]
    await streams.append(first, KEPT)
    await streams.append(second, KEPT)
    again = await streams.append([*first, change(3), *second], KEPT)  # tried again, and the old socket's last
    assert (again.appended, again.repeats, again.refused) == (0, 2, 3)
    assert again.silent_ms == {}  # the last entry of the call is the writer's
    assert [kind for _, kind in await kinds(client)] == ["snapshot", "update"] * 2


async def test_an_older_snapshot_of_the_writers_own_line_does_not_take_its_turn(client: Redis) -> None:
    """As when a call of a process that is gone comes after the first of its successor."""
    streams = NumberedStreams(client, NEVER)
    await streams.append([change(1, "snapshot", "t2", received=2_000)], KEPT)
    assert (await streams.append([change(1, "snapshot", "t1", received=1_000)], KEPT)).refused == 1
    assert (await streams.append([change(1, "snapshot", "t3", received=3_000)], KEPT)).appended == 1


async def test_a_stream_that_is_gone_begins_with_a_snapshot(client: Redis) -> None:
    streams = NumberedStreams(client, NEVER)
    await streams.append([change(1, "snapshot")], KEPT)
    await client.delete(BOOK)
    assert (await streams.append([change(2)], KEPT)).refused == 1
    assert (await streams.append([change(1, "snapshot", "x", "b")], KEPT)).appended == 1


async def test_keys_of_another_type_are_refused_before_anything_is_written(client: Redis) -> None:
    streams = NumberedStreams(client, NEVER)
    for key in (BOOK, writer_of(BOOK)):
        await client.set(key, "x")
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            await streams.append([trade("n", 1), change(1, "snapshot")], KEPT)
        assert await client.exists(TRADES, names_of(TRADES)) == 0
        await client.delete(key)
    await client.hset(names_of(TRADES), "x", "y")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await streams.append([change(1, "snapshot"), trade("n", 1)], KEPT)
    assert await client.exists(BOOK) == 0


async def test_names_are_text_whatever_they_look_like(client: Redis) -> None:
    streams = NumberedStreams(client, NEVER)
    given = [str(2**63 - 1), str(2**63 - 2), "01", "1", "1.0", "0b3c-9 a", "1"]
    done = await streams.append([trade(name, 1_000 + n) for n, name in enumerate(given)], KEPT)
    assert (done.appended, done.repeats) == (6, 1)
    assert await names(client) == given[:-1]
    assert await streams.known_names(TRADES, [*given, "2"]) == set(given)


@pytest.mark.parametrize("limits", [(50, 10**6), (10**9, 50)])
async def test_what_is_older_than_any_name_remembered_is_no_new_trade(
    client: Redis, limits: tuple[int, int]
) -> None:
    """As when an exchange begins each subscription with its last trades, hours old for a symbol that rests."""
    streams = NumberedStreams(client, NEVER, *limits)
    tape = [trade(f"n{n}", 1_000 + n) for n in range(200)]
    for first in range(0, 200, 10):
        await streams.append(tape[first : first + 10], KEPT)
    assert await client.zcard(names_of(TRADES)) <= 53
    again = await streams.append([t._replace(line="b") for t in tape], KEPT)
    assert (again.appended, again.repeats) == (0, 200)
    await streams.append([trade("later", 100_000)], KEPT)
    between = await streams.append([trade("between", 1_200), tape[199]], KEPT)
    assert (between.appended, between.repeats) == (
        1,
        1,
    )  # it was missed by all, and nothing as new is forgotten


@pytest.mark.parametrize("calls", ["one call", "several"])
async def test_a_break_of_trades_leaves_numbers_free_behind_it(client: Redis, calls: str) -> None:
    streams = NumberedStreams(client, NEVER)
    back = RawEntry(TRADES, 1_005, 0, b"{}", 1_005_000, "a", "break", number=1_001, name="break a-1")
    batch = [trade("n1", 1_001), back, trade("n2", 1_006), trade("n3", 1_007)]
    for call in [batch] if calls == "one call" else [[entry] for entry in batch]:
        await streams.append(call, KEPT)
    numbers = [int(entry_id.partition(b"-")[2]) for entry_id, _ in await client.xrange(TRADES)]
    assert numbers == [1, 2, 3 + BREAK_ROOM, 4 + BREAK_ROOM]


async def test_a_turn_that_a_late_call_begins_ends_where_something_was_refused(client: Redis) -> None:
    a, b = NumberedStreams(client, NEVER), NumberedStreams(client, NEVER)
    await b.append([change(1, "snapshot", "t1", "b")], KEPT)
    began = [change(1, "snapshot", "t2")]
    await a.append(began, KEPT)
    await a.append([change(2, turn="t2")], KEPT)  # refused, as all of this turn
    late = NumberedStreams(client, AT_ONCE)  # tried once before; now the other line has fallen silent
    assert (await late.append(began, KEPT)).appended == 1
    assert (await a.append([change(3, turn="t2")], KEPT)).refused == 1
    assert [kind for _, kind in await kinds(client)] == ["snapshot", "snapshot", "break"]


async def test_of_trades_that_a_fail_over_lost_a_break_tells_once(client: Redis) -> None:
    lines = {line: NumberedStreams(client, NEVER) for line in "ab"}
    for line, streams in lines.items():
        back = RawEntry(TRADES, 1_001, 0, b"{}", 1_001_000, line, "break", name=f"break {line}-1")
        await streams.append([back, trade("n1", 1_001, line)], KEPT)
    entries = await client.xrange(TRADES)
    held = await client.zrange(names_of(TRADES), 0, -1, withscores=True)
    for line, streams in lines.items():
        await streams.append([trade("n2", 1_002, line)], KEPT)
    await client.delete(TRADES, names_of(TRADES))  # the other server has not got the last
    await client.xadd(TRADES, entries[0][1], id=entries[0][0])
    await client.zadd(names_of(TRADES), dict(held))
    for line in "aba":  # as one line, the other, and one that had no reply
        await lines[line].append([trade("n3", 1_003, line), trade("n4", 1_004, line)], KEPT)
    found = await client.xrange(TRADES)
    assert [fields.get(b"kind", fields[b"data"]) for _, fields in found] == [b"n1", b"break", b"n3", b"n4"]
    assert (found[1][0], found[1][1][b"data"]) == (b"1003-2", b'{"since":1001}')
    assert found[2][0] == b"1003-%d" % (3 + BREAK_ROOM)


async def test_what_is_no_more_remembered_by_name_is_not_taken_for_lost(client: Redis) -> None:
    streams = NumberedStreams(client, NEVER, names_most=3)
    other = NumberedStreams(client, NEVER, names_most=3)
    back = RawEntry(TRADES, 1_001, 0, b"{}", 1_001_000, "a", "break", name="break a-1")
    await streams.append([back, trade("n1", 1_001)], KEPT)
    await other.append([trade(f"m{n}", 1_010 + n, "b") for n in range(9)], KEPT)
    await streams.append([trade("n2", 1_020)], KEPT)
    assert "break" not in [fields.get(b"kind", b"").decode() for _, fields in await client.xrange(TRADES)]


@SLOW
@given(st.data())
async def test_each_trade_comes_once_whatever_is_delivered_again(client: Redis, data: st.DataObject) -> None:
    await client.flushdb()
    unit = data.draw(st.sampled_from([1, 400]))
    tape = [(f"{2**63 - 1 - n}", 1_000 + unit * n) for n in range(data.draw(st.integers(1, 60)))]
    streams = NumberedStreams(
        client, NEVER, names_ms=2_000, names_most=data.draw(st.sampled_from([10, 1000]))
    )
    there = 0
    cursors = {"a": 0, "b": 0}
    while there < len(tape):
        line = data.draw(st.sampled_from("ab"))
        again = data.draw(st.integers(0, cursors[line]))  # each subscription brings older ones again
        end = min(len(tape), cursors[line] + data.draw(st.integers(1, 9)))
        done = await streams.append([trade(name, ms, line) for name, ms in tape[again:end]], KEPT)
        assert done.appended == max(0, end - there)
        cursors[line], there = end, max(there, end)
    assert await names(client) == [name for name, _ in tape]
