"""Trades whose ids do not show what is missing: the log has a break where no line received them, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence

import aiohttp
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up_venue import MadeUp
from redis.asyncio import Redis
from simulated_fleet import KEYS as FLEET_KEYS
from simulated_fleet import SimulatedFleet

from workers.ingest.appender import Appender
from workers.ingest.line import Line
from workers.ingest.wholeness import Wholeness, lost
from workers.settings.schema import IngestSettings
from workers.sim import SimSettings, SimulatedExchange
from workers.store.keys import TRADES, Keys, names_of
from workers.store.log.numbered import NumberedStreams
from workers.store.log.streams import GroupReader, RawEntry

S, KEYS, VENUE = "BTC", Keys(), MadeUp()
KEY = KEYS.raw(S, TRADES)
KEPT = {KEY: 600_000}
NOW_MS = 1_790_000_000_000
WHOLE_SCORE = 2**52
"""The score of a line that receives a stream whole is this and the ms since when."""


def trade(number: int) -> bytes:
    return msgspec.json.encode({"k": "trade", "s": S, "i": f"n{number}", "p": "1", "q": "2"})


class TwoLines:
    """Two lines, their sockets, and a log that each call reaches, some of them twice."""

    def __init__(self, client: Redis) -> None:
        self.streams = NumberedStreams(client, 1)
        self.reader = GroupReader(client, "trades")
        self.entries: list[RawEntry] = []
        self.now_ms = NOW_MS
        self.lines = {name: self._line(name) for name in "ab"}
        self.sockets = {name: VENUE.session("") for name in "ab"}
        self.traded = 0

    def _line(self, name: str) -> Line:
        wholeness = Wholeness(KEYS, name, self.entries.append)
        return Line(
            VENUE, KEYS, name, IngestSettings(), [S], self.entries.append, wholeness=wholeness, recorded=True
        )

    def trade(self, *names: str) -> None:
        """One trade, which reaches the sockets of these lines."""
        self.traded += 1
        for name in names:
            self.lines[name].frame(trade(self.traded), self.now_ms * 1000, self.sockets[name])

    def end(self, name: str, *, succeeded: bool = False) -> None:
        """A socket ends; the next trade comes over another."""
        before, self.sockets[name] = self.sockets[name], VENUE.session("")
        self.lines[name].ended(before, self.now_ms * 1000, succeeded=succeeded)

    def subscribe_anew(self, name: str) -> None:
        """The exchange has acknowledged that a line asked for the trades anew, over the socket it has."""
        self.lines[name].begun_anew(self.sockets[name], [(TRADES, S)], self.now_ms * 1000)

    def begin_anew(self, name: str) -> None:
        """The process of a line was killed, and the next has begun."""
        self.lines[name], self.sockets[name] = self._line(name), VENUE.session("")
        self.entries.append(lost(KEY, self.now_ms, name))

    async def send(self, *, twice: bool = False) -> None:
        for _ in range(1 + twice if self.entries else 0):
            await self.streams.append(self.entries, KEPT)
        self.entries.clear()
        self.now_ms += 10

    async def log(self) -> list[str]:
        entries = await self.reader.range(KEY, "0-0", 10_000)
        return [
            "break" if entry.kind == "break" else msgspec.json.decode(entry.data)["i"] for entry in entries
        ]


async def test_what_both_lines_missed_is_a_break_and_what_one_had_is_none(client: Redis) -> None:
    await client.flushall()
    two = TwoLines(client)
    two.trade("a", "b")  # the stream begins: nothing is missing in it
    await two.send()
    two.end("a")
    two.trade("b")
    await two.send()
    two.trade("a", "b")
    await two.send()
    assert await two.log() == ["n1", "n2", "n3"]
    lost_ms = two.now_ms - 10
    for name in "ab":
        two.end(name)
    two.trade()
    await two.send()
    two.trade("a", "b")
    await two.send(twice=True)
    assert await two.log() == ["n1", "n2", "n3", "break", "n5"]
    [entry] = [entry for entry in await two.reader.range(KEY, "0-0", 99) if entry.kind == "break"]
    assert msgspec.json.decode(entry.data) == {"since": lost_ms}


async def test_what_is_missing_before_a_stream_is_asked_for_anew_is_a_break(client: Redis) -> None:
    await client.flushall()
    two = TwoLines(client)
    two.trade("a", "b")
    await two.send()
    lost_ms = two.now_ms - 10
    two.trade("b")
    two.subscribe_anew("a")
    await two.send()
    two.trade("a", "b")
    two.trade()  # the stream is dead on both lines, whose sockets live
    for name in "ab":
        two.subscribe_anew(name)
    await two.send()
    two.trade("a", "b")
    await two.send(twice=True)
    assert await two.log() == ["n1", "n2", "n3", "break", "n5"]
    [entry] = [entry for entry in await two.reader.range(KEY, "0-0", 99) if entry.kind == "break"]
    assert msgspec.json.decode(entry.data)["since"] == lost_ms + 20


async def test_a_line_that_was_silent_before_its_socket_ended_missed_what_the_other_came_back_after(
    client: Redis,
) -> None:
    await client.flushall()
    two = TwoLines(client)
    two.trade("a", "b")
    await two.send()
    two.trade()  # the network is gone; b's socket takes longer to notice
    two.end("a")
    await two.send()
    two.trade("a")
    await two.send()
    two.end("b")
    two.trade("a", "b")
    await two.send()
    assert await two.log() == ["n1", "n3", "n4", "break"]  # nobody knew before b came back


async def test_a_socket_that_is_succeeded_breaks_nothing_and_its_heir_does(client: Redis) -> None:
    await client.flushall()
    two = TwoLines(client)
    two.trade("a")
    two.end("a", succeeded=True)
    await two.send()
    two.trade("a")
    await two.send()
    assert await two.log() == ["n1", "n2"]
    two.end("a", succeeded=True)
    two.end("a")  # before a trade came over it
    two.trade("a")
    await two.send()
    assert await two.log() == ["n1", "n2", "break", "n3"]


def test_a_socket_that_ends_loses_what_it_alone_brought_since_it_was_lost() -> None:
    told: list[RawEntry] = []
    wholeness = Wholeness(KEYS, "a", told.append)
    sockets = {symbol: VENUE.session("") for symbol in "XYZ"}
    for ms, (symbol, socket) in enumerate(sockets.items(), 1_000):
        wholeness.frame(socket, ms * 1_000)
        wholeness.trade(socket, symbol, ms, ms * 1_000)
    wholeness.begun_anew("X")
    wholeness.frame(sockets["X"], 5_000_000)
    wholeness.forget("Z")
    for symbol in "XZ":
        wholeness.ended(sockets[symbol], 9_000_000, succeeded=False)
    assert [(e.key, e.event_ms) for e in told if e.kind == "lost"] == [(KEYS.raw("X", TRADES), 1_000)]
    wholeness.trade(sockets["Y"], "X", 9_100, 9_100_000)
    assert (told[-1].kind, told[-1].number) == ("break", 1_000)
    assert (
        len({entry.name for entry in told if entry.kind == "break"}) == 4
    )  # or the log took it for a repeat


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "trade",
                "trade",
                "trade",
                "a ends",
                "b ends",
                "a killed",
                "b killed",
                "a anew",
                "b anew",
                "a",
                "b",
            ]
        ),
        st.booleans(),
    ),
    max_size=40,
)


@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(STEPS)
async def test_between_two_trades_is_a_break_if_some_are_missing_and_only_if_no_line_was_there(
    client: Redis, steps: Sequence[tuple[str, bool]]
) -> None:
    await client.flushall()
    two = TwoLines(client)
    connected, whole, expected, missing = {"a", "b"}, set[str](), [], False
    for step, twice in [*steps, ("a", False), ("trade", False)]:
        if step == "trade":
            two.trade(*sorted(connected))
            if connected:
                if expected and not whole:
                    expected.append("break")
                whole, missing = set(connected), False
                expected.append(f"n{two.traded}")
            missing = missing or not connected
        elif step in "ab":
            connected.add(step)
        elif step.endswith("anew"):
            if step[0] in connected:
                two.subscribe_anew(step[0])
            whole.discard(step[0])
        else:
            name = step[0]
            if name in connected:
                connected.discard(name)
                two.end(name) if step.endswith("ends") else two.begin_anew(name)
            whole.discard(name)
        await two.send(twice=twice)
    assert await two.log() == expected
    assert not missing


@pytest.mark.parametrize("kind", ["lost", "break"])
async def test_what_tells_of_wholeness_is_not_dropped_with_a_full_buffer(client: Redis, kind: str) -> None:
    await client.flushall()
    two = TwoLines(client)
    two.trade("a")
    if kind == "break":
        await two.send()
        two.end("a")
        two.trade("a")
    else:
        two.end("a")
    told = [entry for entry in two.entries if entry.kind == kind][-1]
    appender = Appender(
        client,
        "a",
        IngestSettings(buffer_entries=2, flush_entries=1),
        KEPT,
        {KEY: (KEYS.gaps(S), TRADES)},
        10,
    )
    rest = [told._replace(kind="update", name=f"m{n}") for n in range(3)]
    for entry in [told, *rest]:
        appender.add(entry)
    assert appender.dropped == 2
    await appender.flush()
    assert (await client.zscore(names_of(KEY), " a") is not None) == (kind == "break")


async def test_both_lines_cut_leave_a_break_and_one_of_them_none(spare_server: str) -> None:
    pair = "BTCUSD"
    simulated = SimSettings(
        flavour="bitfinex", port=0, rate_scale=5.0, levels_per_side=50, symbols={"spot": (pair,)}
    )
    key = FLEET_KEYS.raw(pair, TRADES)
    async with SimulatedExchange(simulated) as exchange:
        fleet = SimulatedFleet(exchange, "spot", [pair], "/ws/2", spare_server)
        whole_since_ms: dict[str, int] = {}
        heard_later: list[str] = []

        async def connection_of(line: str) -> int:
            address = f"{exchange.url}/control/connections"
            async with aiohttp.ClientSession() as session, session.get(address) as response:
                rows = (await response.json())["connections"]
            [number] = [row["id"] for row in rows if f"line-{line}" in row["agent"]]
            return int(number)

        async def both_whole() -> bool:
            members = await fleet.client.zrange(names_of(key), 0, -1, withscores=True)
            whole_since_ms.clear()
            whole_since_ms.update(
                (member.decode().strip(), int(score) - WHOLE_SCORE)
                for member, score in members
                if member in (b" a", b" b")
            )
            return len(whole_since_ms) == 2

        async def one_heard_since_both_whole() -> bool:
            """What came in the ms between a line's last frame and the other's first trade is nobody's, so a break."""
            if not await both_whole():
                return False
            heard_later[:] = [
                fields[b"line"].decode()
                for _, fields in await fleet.client.xrange(key)
                if int(fields[b"received"]) // 1000 >= max(whole_since_ms.values())
            ]
            return bool(heard_later)

        async def breaks() -> int:
            entries = await fleet.client.xrange(key)
            return sum(fields.get(b"kind") == b"break" for _, fields in entries)

        try:
            fleet.start("ingest-a", "a")
            fleet.start("ingest-b", "b")
            await fleet.until(one_heard_since_both_whole, 90.0)
            before = dict(whole_since_ms)
            await fleet.control("disconnect", {"id": await connection_of(heard_later[0])})

            async def back() -> bool:
                return await both_whole() and whole_since_ms != before

            await fleet.until(back, 90.0)
            assert await breaks() == 0
            await fleet.control("disconnect", {})

            async def broken() -> bool:
                return await breaks() > 0

            await fleet.until(broken, 90.0)
        finally:
            await fleet.end()
