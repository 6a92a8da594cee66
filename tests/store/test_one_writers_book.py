"""Whatever two lines do, a log of what the exchange does not number has one writer's book at a time: against a twin."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from numbered_entries import AT_ONCE, BOOK, KEPT, NEVER, SLOW, change
from redis.asyncio import Redis

from workers.model.books.in_band import InBandSync, StreamRule
from workers.model.books.sequence import SequenceRule
from workers.model.books.sync import SyncState
from workers.model.events import DepthEvent, Kind, Level
from workers.store.log.numbered import NumberedStreams
from workers.store.log.streams import RawEntry


class Filed(NamedTuple):
    """An entry of the log."""

    ms: int
    number: int
    kind: str
    line: str
    data: bytes


class Twin:
    """`lua/log/append_numbered.lua` for one book, in plain Python."""

    def __init__(self) -> None:
        self.log: list[Filed] = []
        self.writer = ("", "")
        self.number = self.began = 0
        self.ended = False
        self.past: list[tuple[str, str]] = []

    def append(self, batch: list[RawEntry], *, silent: bool, known: tuple[str, int]) -> tuple[int, int, int]:
        outcomes = [self._append(new, silent=silent, known=known) for new in batch]
        return outcomes.count("append"), outcomes.count("repeat"), outcomes.count("refuse")

    def _append(self, new: RawEntry, *, silent: bool, known: tuple[str, int]) -> str:
        turn = (new.line, new.turn)
        if turn == self.writer:
            if new.number <= self.number:
                return "repeat"
            if new.kind not in ("snapshot", "restart") and known[0] == new.turn and known[1] > self.number:
                self.writer, self.past = ("", ""), []
                self._file(new._replace(kind="break", data=b""))
                return "refuse"
        elif new.kind not in ("snapshot", "restart") or turn in self.past:
            return "refuse"
        elif self.writer[0]:
            goes_on = new.line == self.writer[0] and new.received_us > self.began
            if not (goes_on or silent or self.ended):
                return "refuse"
            self.past.append(self.writer)
        if turn != self.writer:
            self.writer, self.began = turn, new.received_us
        self.number, self.ended = new.number, new.kind == "break"
        self._file(new)
        return "append"

    def _file(self, new: RawEntry) -> None:
        last_ms = self.log[-1].ms if self.log else 0
        self.log.append(Filed(max(last_ms, new.event_ms), len(self.log) + 1, new.kind, new.line, new.data))


@dataclass
class Socket:
    """A line: its market as it sees it, and what it has not sent yet. Two lines see it quite differently here."""

    line: str
    turns: int = 0
    number: int = 0
    bids: dict[str, str] = field(default_factory=dict)
    outbox: list[RawEntry] = field(default_factory=list)
    calls: list[tuple[list[RawEntry], dict[str, tuple[str, int]]]] = field(default_factory=list)
    """What was sent, and what the line knew then."""
    known: dict[str, tuple[str, int]] = field(default_factory=dict)

    def say(self, clock: int, kind: Kind, levels: dict[str, str]) -> None:
        self.number += 1
        data = {"b": list(levels.items()), "whole": self.bids, "turn": f"{self.line}{self.turns}", "n": clock}
        one = change(self.number, kind, f"t{self.turns}", self.line, clock, json.dumps(data).encode())
        self.outbox.append(one._replace(event_ms=clock))

    def connect(self, clock: int) -> None:
        self.turns, self.number = self.turns + 1, 0
        self.say(clock, "snapshot", self.bids)

    def trade_on(self, clock: int, price: int, quantity: int) -> None:
        level = {str(price): f"{quantity}.{self.line == 'a':d}"}
        self.bids = {**self.bids, **level}
        self.say(clock, "update", level)


async def read(client: Redis) -> list[Filed]:
    found = []
    for stream_id, fields in await client.xrange(BOOK):
        ms, _, number = stream_id.decode().partition("-")
        kind = fields.get(b"kind", b"update").decode()
        found.append(Filed(int(ms), int(number), kind, fields[b"line"].decode(), fields[b"data"]))
    return found


def fold(log: list[Filed]) -> None:
    """After each entry the book is that of the line which wrote it, or there is none."""
    sync, turn = InBandSync("S", SequenceRule.SPOT, StreamRule(by_id=False)), ""
    for filed in log:
        sent = json.loads(filed.data or b'{"b":[],"whole":{}}')
        if sent.setdefault("turn", turn) != turn:
            assert filed.kind == "snapshot"
            turn = sent["turn"]
        bids: list[Level] = [(price, quantity) for price, quantity in sent["b"]]
        kind: Kind = filed.kind  # type: ignore[assignment]  # as it was written
        sync.on_event(DepthEvent("S", filed.number, filed.number, -1, filed.ms, 0, bids, [], kind), filed.ms)
        if kind == "snapshot":
            assert sync.state is SyncState.SYNCED
        elif kind == "break":
            assert sync.state is SyncState.BROKEN
        if sync.state is SyncState.SYNCED:
            assert dict(sync.book.top(99)[0]) == sent["whole"]


@SLOW
@given(st.data())
async def test_two_lines_reconnections_takeovers_and_late_calls_make_one_writers_book(
    client: Redis, data: st.DataObject
) -> None:
    await client.flushdb()
    twin, lines = Twin(), [Socket("a"), Socket("b")]
    for line in lines:
        line.bids = {"1": "1.5" if line.line == "a" else "1.7"}
        line.connect(1_000)
    for clock in range(1_001, 1_001 + data.draw(st.integers(1, 30))):
        line = data.draw(st.sampled_from(lines))
        step = data.draw(
            st.sampled_from(["change", "change", "send", "send", "again", "connect", "whole", "break"])
        )
        call: list[RawEntry] = []
        known = line.known
        if step == "change":
            line.trade_on(clock, data.draw(st.integers(1, 4)), data.draw(st.integers(1, 9)))
        elif step == "connect":
            line.connect(clock)
        elif step in ("whole", "break"):
            line.say(clock, "snapshot" if step == "whole" else "break", line.bids if step == "whole" else {})
        elif step == "again" and line.calls:
            call, known = data.draw(st.sampled_from(line.calls))
            known = dict(known)
        elif line.outbox:
            size = data.draw(st.integers(1, len(line.outbox)))
            call, line.outbox = line.outbox[:size], line.outbox[size:]
            if data.draw(st.integers(0, 5)):
                line.calls.append((call, dict(known)))
            else:  # it never arrived: what was sent is missing, and the line says so
                line.outbox.insert(0, call[0]._replace(kind="break", data=_emptied(call[0].data)))
                call = []
        if call:
            silent = data.draw(st.sampled_from([False, False, True]))
            streams = NumberedStreams(client, AT_ONCE if silent else NEVER)
            streams._known = known
            became = twin.append(call, silent=silent, known=known.get(BOOK, ("", 0)))
            done = await streams.append(call, KEPT)
            assert (done.appended, done.repeats, done.refused) == became
            assert await read(client) == twin.log
    fold(twin.log)


def _emptied(data: bytes) -> bytes:
    return json.dumps({**json.loads(data), "b": []}).encode()
