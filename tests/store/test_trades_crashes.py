"""Whatever two lines lose, whenever the owner dies: windows, bars and the latest set are those of the tape itself.

The log is written as ingest writes it (both lines, in any interleaving, through `append.lua`), read as the owner of the
group, and folded with what REST still has of the holes. Owners die between reading and applying, after an answer that
they never saw, and in the middle of a repair; the next one takes over with a new fencing number.
"""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import fakeredis
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from test_trades_properties import KEYS, SYMBOL, contents, expected, newest_versions, tapes

from workers.errors import LeaseLost
from workers.model.events import Trade
from workers.model.trades.fold import Hole, TradesFold
from workers.model.trades.windows import INTERVALS_MS
from workers.store.keys import TRADES
from workers.store.log.streams import Delivered, GroupReader, RawEntry, RawStreams
from workers.store.scripts import Scripts
from workers.store.trades.fold import TradeStore

RAW = KEYS.raw(SYMBOL, TRADES)
LINES = ("a", "b")


class Course(NamedTuple):
    """What happens, drawn in advance."""

    tape: list[Trade]
    lost: dict[str, set[int]]
    """By line, the places in the tape whose trade it lost."""
    gone: set[int]
    """Places that REST does not have either."""
    events: list[tuple[str, int, str]]
    """Who does something (a line, or the owner), how much at once, and how the owner's round ends."""


ENDS = [
    "well",
    "well",
    "answer lost",
    "dies after reading",
    "dies after applying",
    "dies repairing",
    "scripts forgotten",
]


@st.composite
def courses(draw: st.DrawFn) -> Course:
    tape = draw(tapes())
    places = st.sets(st.integers(0, len(tape) - 1), max_size=6)
    event = st.tuples(st.sampled_from(["a", "b", "owner", "owner"]), st.integers(1, 8), st.sampled_from(ENDS))
    lost = {line: draw(places) for line in LINES}
    return Course(tape, lost, draw(places), draw(st.lists(event, max_size=25)))


class Owner:
    """The owner of the symbol, as the trades role is one."""

    def __init__(self, world: World, token: str) -> None:
        self._world = world
        self.token = token
        self.waiting: list[tuple[bytes, Trade]] = []

    def take(self, entries: list[Delivered]) -> None:
        self.waiting += [(entry.stream_id, self._world.by_id[int(entry.data)]) for entry in entries]

    async def recover(self) -> None:
        after: bytes | str = "0"
        while entries := await self._world.reader.pending(RAW, after, 5):
            self.take(entries)
            after = entries[-1].stream_id

    async def apply(self, batch: list[tuple[bytes, Trade]]) -> Hole | None:
        result = await self._world.store.apply(SYMBOL, batch, self.token)
        self.waiting = [one for one in self.waiting if one[1].trade_id > result.last_id]
        return result.hole

    async def repair(self, hole: Hole, *, dies: bool) -> None:
        """Fill the hole from its beginning on, a trade at a time."""
        for number in range(hole.expected, hole.seen):
            if number in self._world.gone_ids:
                await self._world.store.skip(SYMBOL, number, number, self.token)
            else:
                await self._world.store.apply(SYMBOL, [(b"", self._world.by_id[number])], self.token)
            if dies:
                return


class World:
    """The log, its two writers, and whoever owns the symbol just now."""

    def __init__(self, client: Redis, course: Course) -> None:
        self.client: Any = client
        self.course = course
        self.by_id = {trade.trade_id: trade for trade in course.tape}
        self.gone_ids = {course.tape[place].trade_id for place in course.gone}
        self.store = TradeStore(
            client, KEYS, Scripts(client), retention_ms=0, bar_retention={}, long_windows_s=1e9
        )
        self.reader = GroupReader(client, "trades")
        self._streams = RawStreams(client, 10**12)
        self._sent = dict.fromkeys(LINES, 0)
        self._owners = 0

    async def deliver(self, line: str, count: int) -> None:
        """The next trades of one line, without those it lost."""
        begin, tape = self._sent[line], self.course.tape
        self._sent[line] = min(len(tape), begin + count)
        entries = [
            RawEntry(RAW, trade.trade_time, trade.trade_id, b"%d" % trade.trade_id, 1, line)
            for place, trade in enumerate(tape[begin : begin + count], begin)
            if place not in self.course.lost[line]
        ]
        if entries:
            await self._streams.append(entries, {RAW: 10**12})

    async def next_owner(self) -> Owner:
        self._owners += 1
        owner = Owner(self, str(self._owners))
        await self.client.hset(KEYS.lease("trades", SYMBOL), "token", owner.token)
        await owner.recover()
        return owner

    async def round(self, owner: Owner, count: int, end: str) -> Owner:
        """One round of the owner; the owner of the next one."""
        owner.take((await self.reader.new([RAW], count)).get(RAW, []))
        if end == "dies after reading":
            return await self.next_owner()
        if end == "scripts forgotten":
            await self.client.script_flush()
        batch = list(owner.waiting)
        hole = await owner.apply(batch) if batch else None
        if end == "answer lost":
            owner.waiting = batch  # and is sent again, with what comes next
            return owner
        if end == "dies after applying":
            heir = await self.next_owner()
            with pytest.raises(LeaseLost):
                await owner.apply([(b"", self.course.tape[0])])
            return heir
        if hole:
            await owner.repair(hole, dies=end == "dies repairing")
            if end == "dies repairing":
                return await self.next_owner()
        return owner

    async def run(self) -> None:
        await self.reader.ensure(RAW)
        owner = await self.next_owner()
        for who, count, end in self.course.events:
            if who == "owner":
                owner = await self.round(owner, count, end)
            else:
                await self.deliver(who, count)
        for line in LINES:
            await self.deliver(line, len(self.course.tape))
        for _ in range(2 * len(self.course.tape)):
            owner = await self.round(owner, len(self.course.tape), "well")

    def truth(self, first: int, last: int) -> TradesFold:
        """The fold over the tape itself, one trade at a time."""
        fold = TradesFold()
        for number in range(first, last + 1):
            # What a line brought is not asked of REST.
            if number in self.gone_ids and number not in self.brought:
                assert fold.skip(number, number) is not None
            else:
                assert fold.apply([self.by_id[number]]).hole is None
        return fold

    brought: set[int]

    async def check(self) -> None:
        entries = await self.client.xrange(RAW)
        self.brought = {int(fields[b"data"]) for _, fields in entries}
        assert (await self.client.xpending(RAW, "trades"))["pending"] == 0
        await self.store.close(SYMBOL, 0, 0)
        got = await contents(self.client)
        if not self.brought:
            assert got["state"] == {}
            return
        want = expected(self.truth(min(self.brought), max(self.brought)))
        for content in (got, want):
            content["state"].pop(
                "repeated_count", None
            )  # how often something came again is not a matter of the tape
        for content in (got, want):
            for name in ("revisions", *INTERVALS_MS):
                content["state"].pop(name, None)
        assert got["state"].items() <= want["state"].items()
        assert got["latest"] == want["latest"]
        assert newest_versions(got) == newest_versions(want)


CRASHING = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


async def live_through(client: Redis, course: Course) -> None:
    world = World(client, course)
    await world.run()
    await world.check()


@CRASHING
@given(course=courses())
def test_no_crash_and_no_line_changes_the_result_on_fakeredis(course: Course) -> None:
    async def run() -> None:
        client = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer())
        await live_through(client, course)
        await client.aclose()

    asyncio.run(run())


@CRASHING
@given(course=courses())
def test_no_crash_and_no_line_changes_the_result_on_a_real_server(real_server: str, course: Course) -> None:
    async def run() -> None:
        client = Redis.from_url(real_server, protocol=2)
        await client.flushall()  # the server is this test process's own
        await live_through(client, course)
        await client.aclose()

    asyncio.run(run())
