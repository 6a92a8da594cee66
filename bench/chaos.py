"""What may happen to a fleet under way: workers killed, frozen or starved, the server killed, rubbish in keys."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from running_fleet import RunningFleet

from workers.conformance.fleet.processes import Program
from workers.store.keys import DEPTH, TRADES
from workers.verification.stored import Book

PAUSE_S = (0.5, 6.0)
"""Least and longest pause between two events."""
PAIR_SHARE = 0.15
"""Of the kills, those that strike two workers at once."""
PERIOD_S = 0.2
"""Of a starved process: it runs for its share of each period and stands still for the rest."""


class Chaos:
    """Draws events from a seed until a moment.

    Args:
        victims: the books whose keys are filled with rubbish; nothing else is done to them alone.
        kinds: of `kill`, `freeze`, `starve`, `rubbish`, `redis`, those that are drawn.
    """

    def __init__(
        self, fleet: RunningFleet, victims: Sequence[Book], kinds: Sequence[str], rng: random.Random
    ) -> None:
        self._fleet = fleet
        self._victims = list(victims)
        self._rng = rng
        self._events: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            (kind, getattr(self, f"_{kind}")) for kind in kinds
        ]
        self._lasting: set[asyncio.Task[None]] = set()
        self.counts: Counter[str] = Counter()
        self.kills: Counter[str] = Counter()
        """By program: how often it was killed. Whatever else ended a process was a fault of its own."""

    @property
    def _workers(self) -> list[Program]:
        programs = self._fleet.processes.named("")
        return [program for program in programs if not program.name.startswith(("exchange", "redis"))]

    async def run(self, until: float) -> None:
        """Let things happen until a moment (monotonic seconds), then wait until the last of them is over."""
        while True:
            await asyncio.sleep(self._rng.uniform(*PAUSE_S))
            if time.monotonic() >= until:
                break
            kind, event = self._rng.choice(self._events)
            self.counts[kind] += 1
            await event()
        await asyncio.gather(*self._lasting)

    def _last(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._lasting.add(task)
        task.add_done_callback(self._lasting.discard)

    async def _kill(self) -> None:
        for program in self._rng.sample(self._workers, 2 if self._rng.random() < PAIR_SHARE else 1):
            if program.running:
                program.signal(signal.SIGKILL)
                self.kills[program.name] += 1

    async def _redis(self) -> None:
        program = self._fleet.processes["redis-0"]
        if program.running:
            program.signal(signal.SIGKILL)
            self.kills[program.name] += 1

    async def _freeze(self) -> None:
        program, seconds = self._rng.choice(self._workers), self._rng.uniform(0.5, 8.0)
        self._last(self._frozen(program, seconds))

    @staticmethod
    async def _frozen(program: Program, seconds: float) -> None:
        program.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            program.signal(signal.SIGCONT)

    async def _starve(self) -> None:
        role = self._rng.choice(("books", "trades", "ingest", "keeper"))
        share, seconds = self._rng.uniform(0.1, 0.3), self._rng.uniform(5.0, 20.0)
        for program in self._fleet.processes.named(role):
            self._last(self._starved(program, share, seconds))

    @staticmethod
    async def _starved(program: Program, share: float, seconds: float) -> None:
        until = time.monotonic() + seconds
        try:
            while time.monotonic() < until:
                program.signal(signal.SIGSTOP)
                await asyncio.sleep(PERIOD_S * (1 - share))
                program.signal(signal.SIGCONT)
                await asyncio.sleep(PERIOD_S * share)
        finally:
            program.signal(signal.SIGCONT)

    async def _rubbish(self) -> None:
        self._last(self._spoilt(self._rng.choice(self._victims)))

    async def _spoilt(self, book: Book) -> None:
        """Fill one key of a symbol with what nobody can read; after a while an operator deletes it."""
        client: Any = self._fleet.client
        keys, symbol = book.context.keys, book.symbol
        name = self._rng.choice([
            keys.raw(symbol, DEPTH), keys.raw(symbol, TRADES), *keys.folds(symbol), *keys.kept(symbol),
            keys.book_status(symbol), keys.lease("books", symbol), keys.lease("trades", symbol),
        ])  # fmt: skip
        spoil = self._rng.choice((_wrong_type, _garbage))
        try:
            await spoil(client, name)
            await asyncio.sleep(self._rng.uniform(3.0, 12.0))
            await client.delete(name)
        except Exception as error:  # the server may be away: that is another event
            self.counts[f"rubbish not placed: {type(error).__name__}"] += 1


async def _wrong_type(client: Any, name: str) -> None:
    kind = (await client.type(name)).decode()
    await client.delete(name)
    if kind == "list":
        await client.set(name, b"\xff\x00rubbish")
    else:
        await client.rpush(name, b"\xff\x00rubbish")


async def _garbage(client: Any, name: str) -> None:
    """As its type is, but with values that mean nothing."""
    kind = (await client.type(name)).decode()
    if kind == "hash":
        fields = list(await client.hkeys(name)) or [b"state"]
        await client.hset(name, mapping=dict.fromkeys(fields, b"\xffrubbish"))
    elif kind == "stream":
        await client.xadd(name, {b"data": b"{}", b"received": b"abc", b"start": b"x"})
    elif kind == "zset":
        await client.zadd(name, {b"\xffrubbish": time.time() * 1000})
    else:
        await client.set(name, b"\xff\x00rubbish")
