"""One plant at one rate: brought up, loaded, measured, let run dry, compared."""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

from workers.bench.exchange import Exchange, Sent
from workers.bench.latency import Percentiles
from workers.bench.plant import Lag, Plant
from workers.bench.reader import Reader
from workers.bench.tape import names
from workers.bench.usage import Usage, usage_by_role
from workers.errors import CommandError
from workers.settings.paths import LONGEST_SOCKET, temporary_place
from workers.store.connection import connect_reader

START_S: Final = 180.0
START_S_PER_SYMBOL: Final = 0.3
"""How long a plant may take to have every book: so long, and so much more for each symbol."""
RUN_IN_S: Final = 2.0
"""Under the load before measuring begins."""
RUN_DRY_S: Final = 45.0
"""How long a plant may take, after the last message, to have handled all."""
NOT_COMPARED: Final = f"not compared: not all was handled within {RUN_DRY_S:.0f} s of the last message"
KEPT_UP_S: Final = 1.0
"""A plant that has handled all so soon after the last message is said to keep up."""
FIRST_RATE: Final = 10.0
"""Messages a second and symbol while a plant starts, at most: no more than come later, but at least one."""
BURST_S: Final = 10.0
"""How long a burst lasts, or as long as is measured before it."""
CAUGHT_UP_S: Final = 5.0
"""A plant that has handled all so soon after a burst is said to have caught up."""
LAG_EVERY_S: Final = 0.25
SAMPLED: Final = 3
"""Symbols whose delays are measured: a reader of all would be a load of its own."""
MOST_STARTS: Final = 3
POLL_S: Final = 0.05


class Burst(NamedTuple):
    """What became of a burst, after which nothing more was sent."""

    factor: float
    """Times the rate before."""
    seconds: float
    messages: int
    caught_up_s: float | None
    """Until all was handled, from its end on; None: not in time."""
    most: Lag | None
    """The worst that the plant told of itself."""


class Measured(NamedTuple):
    """What was found of one plant at one rate."""

    plant: str
    rate: float
    symbols: int
    seconds: float
    messages: int
    """Sent within the seconds measured."""
    cpu_percent: dict[str, float]
    """Of one core, by process; `exchange` is the load generator."""
    cpu_ms_per_1000: dict[str, float]
    """ms of CPU per 1,000 messages sent, by process."""
    resident_mb: dict[str, float]
    """At the end of those seconds."""
    delays_ms: dict[str, Percentiles | None]
    run_dry_s: dict[str, float | None]
    """By stage: seconds from the last message until it had all of them; None: not in time."""
    kept_up: bool
    handled_per_s: float | None
    """Messages a second from the beginning of the load until all were handled; None: they never were."""
    unsent_mb: float
    """What the plant had not taken from its sockets at the end of those seconds."""
    differences: list[str]
    burst: Burst | None


Make = Callable[[Path, int, int], Plant]
"""A plant in a folder, with the port of the exchange and one of its own."""
Tell = Callable[[str], None]


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return int(first.getsockname()[1]), int(second.getsockname()[1])


@asynccontextmanager
async def running(make: Make, rate: float, symbols: int, tell: Tell) -> AsyncIterator[tuple[Plant, Exchange]]:
    """A plant that has every book, at a low rate; everything is ended and removed afterwards.

    Args:
        rate: messages a second, over all symbols, that come later.

    Raises:
        CommandError: it does not come so far.
    """
    home = Path(tempfile.mkdtemp(prefix="fleet-bench-", dir=temporary_place(LONGEST_SOCKET)))
    port, own = _free_ports()
    start_s = START_S + START_S_PER_SYMBOL * symbols
    try:
        plant = make(home, port, own)
        try:
            async with plant.processes.watched(), Exchange(port, symbols) as exchange:
                tell(f"{plant.name}: starting")
                plant.processes["exchange"].start()
                await _until(exchange.answers, "the load generator", plant, home, start_s)
                for name in plant.roles:
                    plant.processes[name].start()

                async def subscribed() -> bool:
                    return (await exchange.state()).streams == 2 * symbols

                await _until(subscribed, f"{plant.name} to subscribe", plant, home, start_s)
                await exchange.set_rate(min(FIRST_RATE * symbols, max(rate, symbols)))
                await _until(plant.ready, f"{plant.name} to have every book", plant, home, start_s)
                yield plant, exchange
        finally:
            await plant.aclose()
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def _until(
    done: Callable[[], Awaitable[bool]], what: str, plant: Plant, home: Path, within_s: float
) -> None:
    deadline = time.monotonic() + within_s
    while True:
        try:
            if await done():
                return
        except ConnectionError:
            pass  # its server is not there yet
        for name in ("exchange", *plant.roles):
            if plant.processes[name].starts > MOST_STARTS:
                raise CommandError(f"{name} of {plant.name} ends again and again: {_last_words(home, name)}")
        if time.monotonic() > deadline:
            raise CommandError(f"Waited {within_s:.0f} s in vain for {what}.")
        await asyncio.sleep(POLL_S)


def _last_words(home: Path, name: str) -> str:
    lines = (home / "log" / f"{name}.log").read_text("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


async def measure(
    make: Make, rate: float, symbols: int, seconds: float, tell: Tell, burst_factor: float = 0.0
) -> Measured:
    """Measure a plant at a rate of messages a second, over all symbols.

    Args:
        burst_factor: for a while after what is measured so many times the rate; 0: nothing. Delays are of both.
    """
    async with running(make, rate, symbols, tell) as (plant, exchange):
        pids = {name: plant.processes[name].pid for name in ("exchange", *plant.roles)}
        tell(f"{plant.name}: {rate:,.0f} messages/s of {symbols} symbols for {seconds:.0f} s")
        loaded, before_load = time.monotonic(), await exchange.state()
        await exchange.set_rate(rate)
        await asyncio.sleep(RUN_IN_S)
        client = connect_reader(plant.url)
        sampled = names(symbols)[:SAMPLED]
        reader = Reader(client, [stream for symbol in sampled for stream in plant.streams(symbol)])
        reading = asyncio.create_task(reader.run(), name="bench: reader")
        try:
            began, first, usage = time.monotonic(), await exchange.state(), usage_by_role(pids)
            await asyncio.sleep(seconds)
            took, last, after = time.monotonic() - began, await exchange.state(), usage_by_role(pids)
            burst_s, most = min(BURST_S, seconds), None
            if burst_factor:
                most = await _burst(plant, exchange, rate * burst_factor, burst_s, tell)
            await exchange.set_rate(0)
            loaded_s = time.monotonic() - loaded
            sent = await exchange.sent()
            run_dry_s = await _run_dry(plant, sent)
        finally:
            reader.stop()
            await reading
            await client.aclose()
        dry = [at for at in run_dry_s.values() if at is not None]
        is_dry = len(dry) == len(run_dry_s)
        if is_dry:
            tell(f"{plant.name}: comparing")
        messages = last.messages - first.messages
        end = await exchange.state()
        caught_up_s = max(dry) if is_dry else None
        burst = Burst(burst_factor, burst_s, end.messages - last.messages, caught_up_s, most)
        return Measured(
            plant=plant.name,
            rate=rate,
            symbols=symbols,
            seconds=round(took, 2),
            messages=messages,
            cpu_percent=_percent(usage, after, took),
            cpu_ms_per_1000=_cpu_ms(usage, after, messages),
            resident_mb={name: round(used.resident_bytes / 2**20, 1) for name, used in after.items()},
            delays_ms=plant.delays(reader, sent),
            run_dry_s=run_dry_s,
            kept_up=is_dry and max(dry) <= (CAUGHT_UP_S if burst_factor else KEPT_UP_S),
            handled_per_s=round((end.messages - before_load.messages) / (loaded_s + max(dry)), 1)
            if is_dry
            else None,
            unsent_mb=round(last.unsent_bytes / 2**20, 1),
            differences=await plant.differences(sent) if is_dry else [NOT_COMPARED],
            burst=burst if burst_factor else None,
        )


async def _burst(plant: Plant, exchange: Exchange, rate: float, seconds: float, tell: Tell) -> Lag | None:
    """Send so many messages a second for so long; what the plant tells of itself meanwhile, at worst."""
    tell(f"{plant.name}: {rate:,.0f} messages/s for {seconds:.0f} s")
    await exchange.set_rate(rate)
    return await _worst_lag(plant, seconds)


def _cpu_ms(before: Mapping[str, Usage], after: Mapping[str, Usage], messages: int) -> dict[str, float]:
    """CPU time of each process for 1,000 messages."""
    return {
        name: round((after[name].cpu_s - usage.cpu_s) * 1e6 / max(messages, 1), 2)
        for name, usage in before.items()
    }


async def _worst_lag(plant: Plant, seconds: float) -> Lag | None:
    """What a plant tells of itself for so long, at worst."""
    deadline, worst = time.monotonic() + seconds, await plant.lag()
    while (left := deadline - time.monotonic()) > 0:
        await asyncio.sleep(min(LAG_EVERY_S, left))
        lag = await plant.lag()
        worst = worst.worse(lag) if worst and lag else lag
    return worst


def _percent(before: Mapping[str, Usage], after: Mapping[str, Usage], took_s: float) -> dict[str, float]:
    return {name: round((after[name].cpu_s - used.cpu_s) / took_s * 100, 2) for name, used in before.items()}


async def _run_dry(plant: Plant, sent: Mapping[str, Sent]) -> dict[str, float | None]:
    """By stage, how long it takes until nothing is lacking."""
    began = time.monotonic()
    found: dict[str, float | None] = dict.fromkeys(plant.lacks)
    while None in found.values() and time.monotonic() - began < RUN_DRY_S:
        for stage, lacking in (await plant.lacking(sent)).items():
            if not lacking and found[stage] is None:
                found[stage] = round(time.monotonic() - began, 2)
        await asyncio.sleep(POLL_S)
    return found


async def measure_idle(make: Make, symbols: int, seconds: float, tell: Tell) -> dict[str, float]:
    """Percent of a core, by process, of a plant that has every book and gets no message."""
    async with running(make, FIRST_RATE * symbols, symbols, tell) as (plant, exchange):
        await exchange.set_rate(0)
        tell(f"{plant.name}: no message at all, {symbols} symbols, for {seconds:.0f} s")
        await asyncio.sleep(RUN_IN_S)
        pids = {name: plant.processes[name].pid for name in plant.roles}
        began, before = time.monotonic(), usage_by_role(pids)
        await asyncio.sleep(seconds)
        return _percent(before, usage_by_role(pids), time.monotonic() - began)
