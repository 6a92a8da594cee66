"""Books that the exchange does not number, on two lines: one writes, turns begin with whole books, holes end them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up_venue import MadeUp
from redis.asyncio import Redis

from workers.ingest.appender import Appender, Standby
from workers.ingest.line import Line
from workers.ingest.turns import AGAIN_S, QUIET_AGAIN_S, Turns
from workers.model.books.sync import SyncState
from workers.model.events import Kind
from workers.model.symbols.selection import SymbolRule
from workers.runtime.context import VenueContext
from workers.settings.schema import IngestSettings
from workers.store.fleet.followed import FollowedSymbols
from workers.store.keys import DEPTH, Keys
from workers.store.log.numbered import NumberedStreams
from workers.store.log.streams import GroupReader, RawEntry, newest_ms
from workers.venues.binance.settings import BinanceSettings
from workers.venues.entries import depth_of

S, KEYS, VENUE = "BTC", Keys(), MadeUp()
KEY = KEYS.raw(S, "depth")
KEPT = {KEY: 600_000, KEYS.raw(S, "aggTrade"): 600_000}
NOW_US = 1_790_000_000_000_000
SILENT_MS = 1


def book(quantity: int, *, whole: bool = False, symbol: str = S) -> bytes:
    told = {"k": "book", "s": symbol, "whole": whole, "b": [["10", str(quantity)]], "a": [["11", "1"]]}
    return msgspec.json.encode(told)


def lined(line: str, into: list[RawEntry]) -> Line:
    return Line(VENUE, KEYS, line, IngestSettings(), [S, "ETH"], into.append)


def test_a_line_writes_turns_that_are_told_apart_by_socket() -> None:
    entries: list[RawEntry] = []
    line = lined("a", entries)
    first, second = VENUE.session(""), VENUE.session("")
    line.frame(book(1, whole=True), NOW_US, first)
    line.frame(book(2), NOW_US, first)
    line.frame(book(1, whole=True), NOW_US, second)
    line.frame(book(3), NOW_US, first)
    assert [entry.kind for entry in entries] == ["snapshot", "update", "snapshot", "update"]
    turns = [entry.turn for entry in entries]
    assert turns[0] == turns[1] == turns[3] != turns[2]
    numbers = [entry.number for entry in entries]
    assert numbers == sorted(set(numbers))
    assert " " not in "".join(turns)
    assert lined("a", []).frame(b"{", NOW_US) is None  # and no rubbish ends anything


def test_a_socket_that_ends_ends_its_books_and_no_others() -> None:
    entries: list[RawEntry] = []
    line = lined("a", entries)
    first, second = VENUE.session(""), VENUE.session("")
    line.frame(book(1, whole=True), NOW_US, first)
    line.frame(book(1, whole=True, symbol="ETH"), NOW_US, second)
    line.ended(first, NOW_US + 5_000)
    line.ended(first, NOW_US + 6_000)  # said twice it is said once
    [end] = entries[2:]
    assert (end.key, end.kind, end.turn, end.event_ms) == (KEY, "break", entries[0].turn, NOW_US // 1000 + 5)


async def test_a_line_whose_turn_was_over_writes_again_over_the_socket_it_has(client: Redis) -> None:
    await client.flushall()
    streams, entries = NumberedStreams(client, SILENT_MS), list[RawEntry]()
    lines = {name: lined(name, entries) for name in "ab"}
    sessions = {name: VENUE.session("") for name in "ab"}

    async def told(name: str, number: int, *, whole: bool) -> None:
        lines[name].frame(book(number, whole=whole), NOW_US + number, sessions[name])
        await streams.append(entries, KEPT)
        entries.clear()

    await told("b", 1, whole=True)
    lines["b"].torn(sessions["b"], [("depth", S)], NOW_US + 2)
    await told("a", 3, whole=True)
    lines["a"].ended(sessions["a"], NOW_US + 4)
    await told("b", 5, whole=True)
    await told("b", 6, whole=False)
    log = await GroupReader(client, "books").range(KEY, "0-0", 99)
    assert [entry.received_us - NOW_US for entry in log] == [1, 2, 3, 4, 5, 6]


async def test_a_line_that_was_silent_takes_over_again_over_the_socket_it_has(client: Redis) -> None:
    await client.flushall()
    streams, entries = NumberedStreams(client, SILENT_MS), list[RawEntry]()
    lines = {name: lined(name, entries) for name in "ab"}
    sessions = {name: VENUE.session("") for name in "ab"}

    async def told(name: str, number: int, *, whole: bool) -> None:
        lines[name].frame(book(number, whole=whole), NOW_US + number, sessions[name])
        await streams.append(entries, KEPT)
        entries.clear()

    await told("b", 1, whole=True)
    await asyncio.sleep(2 * SILENT_MS / 1000)
    await told("a", 2, whole=True)
    await told("b", 3, whole=False)
    await asyncio.sleep(2 * SILENT_MS / 1000)  # now a is silent
    await told("b", 4, whole=True)
    lines["b"].taking_over(DEPTH, S)
    await told("b", 5, whole=True)
    await told("b", 6, whole=False)
    log = await GroupReader(client, "books").range(KEY, "0-0", 99)
    assert [entry.received_us - NOW_US for entry in log] == [1, 2, 5, 6]


def test_trades_go_by_their_names() -> None:
    entries: list[RawEntry] = []
    told = msgspec.json.encode({"k": "trade", "s": S, "i": "a-1", "p": "1", "q": "2"})
    lined("a", entries).frame(told, NOW_US)
    assert [(entry.name, entry.numbered, entry.data) for entry in entries] == [("a-1", True, told)]


STEPS = st.lists(
    st.sampled_from(["a", "b", "a ends", "b ends", "a renews", "b renews", "lost on a", "lost on b"])
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(STEPS)
async def test_the_log_of_two_lines_folds_to_the_book_of_one_writer(
    client: Redis, steps: Sequence[str]
) -> None:
    """Each line reads the same market; whatever is lost, the fold of the log is the book of its writer, or none."""
    await client.flushall()
    streams = NumberedStreams(client, SILENT_MS)
    entries: list[RawEntry] = []
    lines = {name: lined(name, entries) for name in "ab"}
    sessions = {name: VENUE.session("") for name in "ab"}
    missed = dict.fromkeys("ab", True)
    now_us, quantity = NOW_US, 0
    for step in [*steps, "a renews", "b renews"]:
        now_us += 20_000
        name = step[0] if step[0] in "ab" else step[-1]
        if step.endswith("ends"):
            lines[name].ended(sessions[name], now_us)
            sessions[name], missed[name] = VENUE.session(""), True
        elif step.endswith("renews"):
            lines[name].frame(book(max(quantity, 1), whole=True), now_us, sessions[name])
            missed[name] = False
        else:
            quantity += 1
            for other in "ab":
                if (
                    step == f"lost on {other}"
                ):  # and its session noticed: the stream is torn until its whole book
                    lines[other].torn(sessions[other], [("depth", S)], now_us)
                    missed[other] = True
                elif not missed[other]:
                    lines[other].frame(book(quantity), now_us, sessions[other])
        if entries:
            await streams.append(entries, KEPT)
            entries.clear()
    sync = VENUE.book_rule.sync(S)
    for entry in await GroupReader(client, "books").range(KEY, "0-0", 10_000):
        sync.on_event(depth_of(VENUE, S, entry), 0)
        if sync.state is SyncState.SYNCED:
            sync.book.check()
    if sync.state is SyncState.SYNCED:
        assert sync.book.best_bid == ("10", str(max(quantity, 1)))
    else:
        assert sync.reason == "connection"


def made_up() -> VenueContext:
    return VenueContext(
        "made-up",
        VENUE,
        BinanceSettings(market="spot", symbols=["BTC", "ETH"]),
        KEYS,
        FollowedSymbols("made-up", SymbolRule.parse(["BTC", "ETH"], 0)),
    )


async def test_what_lives_and_whose_writer_is_late_is_taken_over_now_and_then(client: Redis) -> None:
    await client.xadd(KEY, {"data": b""}, id="1000-1")
    standby: dict[str, Standby] = {}
    turns = Turns(standby, [made_up()], 5_000, partial(newest_ms, client))
    assert await turns.due(100.0) == {}
    standby[KEY] = Standby(4_000, 100.0, 1_000)
    assert await turns.due(100.5) == {}  # the writer may be quiet like its market
    assert await turns.due(101.5) == {"made-up": [("depth", "BTC")]}
    standby[KEY] = Standby(6_000, 102.0, 1_000)
    assert await turns.due(102.0) == {}  # just tried
    assert (
        await turns.due(101.5 + AGAIN_S) == {}
    )  # nothing came meanwhile, and the log has it: the market is quiet
    standby[KEY] = Standby(9_000, 107.0, 1_000)
    assert await turns.due(107.0) == {"made-up": [("depth", "BTC")]}


async def test_what_the_writer_died_before_is_claimed_until_the_log_has_it(client: Redis) -> None:
    """The market of BTC falls quiet with an entry that only the line standing by has; ETH's writer had its last one."""
    other = KEYS.raw("ETH", "depth")
    kept, gaps = {KEY: 10**12, other: 10**12}, {KEY: ("gaps", "depth"), other: ("gaps", "depth")}
    writer, standing_by = (Appender(client, line, IngestSettings(), kept, gaps, 10) for line in "ab")
    turns = Turns(standing_by.standby, [made_up()], 5_000, partial(newest_ms, client))

    async def append(to: Appender, line: str, key: str, number: int, kind: Kind = "update") -> None:
        ms = 1_000 + number
        to.add(RawEntry(key, ms, 0, b"{}", ms * 1_000, line, kind, f"turn-{line}", number))
        await to.flush()

    for key in (KEY, other):
        await append(writer, "a", key, 1, "snapshot")
        await append(standing_by, "b", key, 1, "snapshot")
        await append(standing_by, "b", key, 2)
        await append(standing_by, "b", key, 9, "break")  # which claims nothing, and gives no claim up
    await append(writer, "a", other, 2)  # later than the line that stands by
    refused_at = standing_by.standby[KEY].at
    assert set(standing_by.standby) == {KEY, other}
    assert await turns.due(refused_at + 0.1) == {}
    for again in range(3):  # whatever the first tries came to
        late = await turns.due(refused_at + 60 + again * QUIET_AGAIN_S)
        assert late == {"made-up": [("depth", "BTC")]}
        assert await turns.due(refused_at + 61 + again * QUIET_AGAIN_S) == {}
    await append(writer, "a", KEY, 2)  # it had only been stopped
    assert await turns.due(refused_at + 300) == {}
    await append(standing_by, "b", other, 10)
    assert await turns.due(standing_by.standby[other].at + 60) == {"made-up": [("depth", "ETH")]}
    await client.delete(other)
    await append(standing_by, "b", other, 11, "snapshot")  # the whole book begins its turn
    assert await turns.due(refused_at + 999) == {}
