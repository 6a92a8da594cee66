"""Books that the exchange does not number, on two lines: one writes, turns begin with whole books, holes end them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up_venue import MadeUp
from redis.asyncio import Redis

from workers.ingest.appender import Standby
from workers.ingest.line import Line
from workers.ingest.turns import AGAIN_S, Turns
from workers.model.books.sync import SyncState
from workers.model.symbols.selection import SymbolRule
from workers.runtime.context import VenueContext
from workers.settings.schema import IngestSettings
from workers.store.fleet.followed import FollowedSymbols
from workers.store.keys import Keys
from workers.store.log.numbered import NumberedStreams
from workers.store.log.streams import GroupReader, RawEntry
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


def test_what_lives_and_whose_writer_is_late_is_taken_over_now_and_then() -> None:
    context = VenueContext(
        "made-up",
        VENUE,
        BinanceSettings(market="spot", symbols=["BTC", "ETH"]),
        KEYS,
        FollowedSymbols("made-up", SymbolRule.parse(["BTC", "ETH"], 0)),
    )
    standby: dict[str, Standby] = {}
    turns = Turns(standby, [context], 5_000)
    assert turns.due(100.0) == {}
    standby[KEY] = Standby(4_000, 100.0)
    assert turns.due(100.5) == {}  # the writer may be quiet like its market
    assert turns.due(101.5) == {"made-up": [("depth", "BTC")]}
    standby[KEY] = Standby(6_000, 102.0)
    assert turns.due(102.0) == {}  # just tried
    assert turns.due(101.5 + AGAIN_S) == {}  # and nothing came meanwhile: the market is quiet
    standby[KEY] = Standby(9_000, 107.0)
    assert turns.due(107.0) == {"made-up": [("depth", "BTC")]}
