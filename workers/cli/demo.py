"""`fleet demo`: the whole fleet on the simulated exchange, checked against what really happened."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from redis.exceptions import RedisError
from rich.markup import escape
from rich.table import Table

from workers.archive.files import parquet
from workers.errors import CommandError, ExtraMissing
from workers.masking import mask
from workers.model.host_names import http_url
from workers.model.symbols.selection import SymbolRule
from workers.operations.exchange_program import simulator_settings
from workers.operations.foreground import ForegroundFleet, stop_on_signals, with_free_ports
from workers.operations.process_numbers import chosen_text, cores
from workers.operations.redis_cli import redis_cli_line
from workers.operations.simulated import discard_simulated, mark_or_refuse
from workers.operations.simulated_venues import environment_with, refuse_other_markets
from workers.runtime.tasks import end
from workers.settings.loading import load, redis_url
from workers.store.connection import connect
from workers.terminal.exit_codes import EXIT_DISAGREEMENT, EXIT_FINE, EXIT_INTERRUPTED
from workers.terminal.output import LiveStatus, Progress, note, out, sentence
from workers.verification.fleet import STARTING, Verification
from workers.verification.stored import FleetReader
from workers.verification.truth_source import TruthSource

START_S: Final = 90.0
ENDED_EVERY_S: Final = 0.5
CONNECT_S: Final = 1.0
DEFAULT_FILE: Final = Path("demo.toml")
FAILED: Final = (
    "books_differ",
    "trades_missing",
    "trades_doubled",
    "trades_differ",
    "bars_differ",
    "orders_differ",
)


def run_demo(
    seconds: float | None,
    config: Path | None,
    faults: Sequence[str],
    venues: Sequence[str] = (),
    *,
    as_json: bool,
) -> int:
    """Run the demo until Ctrl-C, or for `seconds` with a verdict at the end; the exit code.

    Args:
        faults: what goes wrong on the exchange, besides what the settings say.
        venues: other exchanges that are simulated and followed too, such as `okx`.

    Raises:
        SettingsError: a venue that is not simulated, a fault that is none, or settings the demo cannot run with.
    """
    chosen = config or Path(os.environ.get("FLEET_CONFIG") or DEFAULT_FILE)
    given = {**os.environ, "FLEET_EXCHANGE__ENABLED": "true", **environment_with(venues)}
    effective = load(chosen, given)
    if faults:
        given["FLEET_EXCHANGE__FAULTS"] = ",".join([*effective.settings.exchange.faults, *faults])
        effective = load(chosen, given)
    simulator_settings(effective.settings)
    fleet = ForegroundFleet(chosen, with_free_ports(effective, given))
    fleet.refuse_if_running()
    refuse_other_markets(fleet.effective.settings)
    if not fleet.effective.settings.redis.url:
        discard_simulated(fleet.home)
        mark_or_refuse(fleet.home, simulated=True)
    asyncio.run(_refuse_leftovers(fleet))
    with fleet.running():
        introduce(fleet)
        result = asyncio.run(_demo(fleet, seconds))
        who = " by somebody else" if fleet.ended else ""
    if result is None:
        note(f"Stopped{who}. The logs are in {fleet.home / 'log'}.")
        return EXIT_INTERRUPTED if seconds is not None else EXIT_FINE
    if as_json:
        out.write_json(result)
    else:
        out.print(verdict_table(result))
    failed = bool(result["problems"]) or any(result[name] for name in FAILED)
    if failed:
        note(f"The logs are in {fleet.home / 'log'}.")
    return EXIT_DISAGREEMENT if failed else EXIT_FINE


async def _refuse_leftovers(fleet: ForegroundFleet) -> None:
    """A server we were told to use may hold an earlier run's keys: they would be taken for this one's."""
    settings = fleet.effective.settings
    if not settings.redis.url:
        return
    client = connect(settings.redis.url)
    try:
        found = await FleetReader(client, settings).leftovers()
    except (RedisError, OSError) as error:
        raise CommandError(
            f"Redis at {mask(settings.redis.url)} does not answer: {sentence(error)}."
        ) from error
    finally:
        await client.aclose()
    if found:
        raise CommandError(
            f"{mask(settings.redis.url)} already holds {found[0]} and {len(found) - 1} more keys of these "
            "symbols. The demo deletes nothing it did not make: name an empty database, by another "
            "number at the end of the URL."
        )


def introduce(fleet: ForegroundFleet) -> None:
    """Say on standard error where everything is."""
    settings = fleet.effective.settings
    symbol = next(iter(SymbolRule.parse(next(iter(settings.venues.values())).symbols).exact), "BTCUSDT")
    lines = [
        f"dashboard          {http_url(settings.api.host, settings.api.port)}/ (starting)",
        f"Redis              {mask(redis_url(settings))}",
        *(
            f"{'' if place else 'try':19}{line}"
            for place, command in enumerate(
                (f"HGET LIVE_ORDERBOOK {symbol}", f"XREVRANGE bars:{{{symbol}}}:1m + - COUNT 3")
            )
            if (line := redis_cli_line(settings, fleet.home, command))
        ),
        f"logs               {fleet.home / 'log'}",
        *(f"processes          {line}" for line in [chosen_text(settings, cores())] if line),
    ]
    if settings.archive.enabled:
        try:
            parquet.require()
        except ExtraMissing as error:
            lines.append(f"archive            nothing is archived: {error}")
    for line in lines:
        note(line)


class Dashboard:
    """Says once that the dashboard can be opened: its role is the last to start."""

    def __init__(self, fleet: ForegroundFleet) -> None:
        self._api = fleet.effective.settings.api
        self._told = False

    async def look(self) -> None:
        """Try whether it listens now, unless that was told already."""
        if self._told:
            return
        host, port = self._api.host, self._api.port
        try:
            async with asyncio.timeout(CONNECT_S):
                _, writer = await asyncio.open_connection(host, port)
        except OSError:  # TimeoutError is one
            return
        writer.close()
        self._told = True
        note(f"The dashboard is open: {http_url(host, port)}/")


async def _demo(fleet: ForegroundFleet, seconds: float | None) -> dict[str, Any] | None:
    """The verdict; None when Ctrl-C, or a `fleet stop` while no verdict was wanted, came first."""
    settings = fleet.effective.settings
    stop = stop_on_signals()
    client = connect(redis_url(settings))
    display = LiveStatus()
    try:
        async with AsyncExitStack() as stack:
            base = f"http://{settings.exchange.host}"
            source = await stack.enter_async_context(TruthSource(f"{base}:{settings.exchange.port}"))
            others = {
                name: await stack.enter_async_context(TruthSource(f"{base}:{port}"))
                for name, port in settings.exchange.flavours.items()
                if port
            }
            verification = Verification(FleetReader(client, settings), source, others)
            with display.running():
                beside = [
                    asyncio.create_task(_show(display, verification, fleet), name="demo: display"),
                    asyncio.create_task(
                        _stop_with_fleet(fleet, verification, stop), name="demo: end of the fleet"
                    ),
                ]
                try:
                    result = await _verify(fleet, verification, seconds, stop)
                finally:
                    await end(beside)
    except (RedisError, OSError, CommandError) as error:
        stopped = await asyncio.to_thread(fleet.is_being_stopped)
        if stopped and seconds is None:
            return None
        what = "It was stopped by somebody else" if stopped else f"It stopped answering: {sentence(error)}"
        raise CommandError(f"The demo cannot go on. {what}. The logs are in {fleet.home / 'log'}.") from error
    finally:
        await client.aclose()
    if result is None and fleet.failed:
        raise CommandError(f"The demo cannot start: {fleet.failed}")
    if result is None and seconds is not None and fleet.ended:
        raise CommandError(f"The demo was stopped by somebody else. The logs are in {fleet.home / 'log'}.")
    return result


async def _verify(
    fleet: ForegroundFleet, verification: Verification, seconds: float | None, stop: asyncio.Event
) -> dict[str, Any] | None:
    if await verification.wait_until_synced(START_S, stop):
        verification.phase = "running"
        await verification.run(seconds, stop)
        if not stop.is_set():
            verification.phase = "comparing everything"
            await verification.finish()
    elif not stop.is_set():
        for trouble in await asyncio.to_thread(fleet.troubles):
            verification.findings.tell(trouble)
    return None if stop.is_set() else await verification.report()


async def _stop_with_fleet(fleet: ForegroundFleet, verification: Verification, stop: asyncio.Event) -> None:
    """Set `stop` when supervisord has ended, or a program will not start; Redis away alone is no reason to stop."""
    while True:
        await asyncio.sleep(ENDED_EVERY_S)
        if fleet.ended or (verification.phase == STARTING and await asyncio.to_thread(fleet.failing) != ""):
            stop.set()


async def _show(display: LiveStatus, verification: Verification, fleet: ForegroundFleet) -> None:
    told, dashboard = set[str](), Dashboard(fleet)
    while True:
        fleet.revive()
        await dashboard.look()
        for line in verification.unlisted:
            if line not in told:
                told.add(line)
                note(f"{line} The demo goes on without it.")
        found, symbols = verification.findings, len(verification.books)
        display.show(
            Progress(
                verification.phase, symbols, verification.totals, found.book_samples, len(found.books_differ)
            )
        )
        await asyncio.sleep(0.25)


def verdict_table(result: Mapping[str, Any]) -> Table:
    """The verdict for people."""
    table = Table(title="Compared with what really happened", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in result.items():
        if name not in ("problems", "unlisted"):
            table.add_row(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
    for symbol in result["unlisted"]:
        table.add_row("not compared", escape(symbol))
    for problem in result["problems"]:
        table.add_row("problem", escape(problem))
    return table
