"""`fleet bench`: its options, and its results as tables or JSON."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Annotated

import typer

from workers.cli.options import Config, Json
from workers.errors import CommandError
from workers.terminal.exit_codes import EXIT_DISAGREEMENT, EXIT_FINE
from workers.terminal.output import err, json_line, out, seconds_of

if TYPE_CHECKING:
    from rich.table import Table

    from workers.bench.latency import Percentiles
    from workers.bench.run import Measured
    from workers.bench.suite import Outcome, Plan

STAGES = {
    "log": "in the log",
    "book": "book published, without the pacing wait",
    "reader": "with a reader, without the pacing wait",
    "book_paced": "book published, with it",
    "reader_paced": "with a reader, with it",
}


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(epilog="Example: fleet bench --rates 172,3500 --for 10s --against cryptofeed")
    def bench(
        rates: Annotated[
            str, typer.Option(metavar="LIST", help="Messages a second over all symbols, with commas between.")
        ] = "172,3500,10000",
        symbols: Annotated[int, typer.Option(min=1, max=1000, help="Symbols followed.")] = 20,
        duration: Annotated[
            str, typer.Option("--for", metavar="TIME", help="How long each is measured.")
        ] = "15s",
        lines: Annotated[int, typer.Option(min=1, max=2, help="Ingest lines of the fleet.")] = 1,
        against: Annotated[
            str | None,
            typer.Option(metavar="PEER", help="Measure this after the fleet, at each rate: cryptofeed."),
        ] = None,
        no_idle: Annotated[
            bool, typer.Option("--no-idle", help="Leave out the whole fleet without any message.")
        ] = False,
        json: Json = False,
        config: Config = None,
    ) -> None:
        """Measure the fleet under load: CPU by role, memory, delays, where it falls behind, and whether it is right.

        A load generator plays the exchange; every measurement has a Redis server of its own, without a file.
        `--against cryptofeed` installs that once, in a venv of its own in the run directory. Code 1 means that a book
        or trade of the fleet was in the end not what had been sent. Linux only.
        """
        from workers.bench.suite import PEERS, Plan  # noqa: PLC0415 -- keeps `fleet --help` quick
        from workers.settings.loading import load  # noqa: PLC0415 -- as above

        if against is not None and against not in PEERS:
            raise typer.BadParameter(f"{against!r} is none of: {', '.join(PEERS)}", param_hint="--against")
        try:
            seconds = seconds_of(duration)
        except CommandError as error:
            raise typer.BadParameter(str(error), param_hint="--for") from error
        cache = load(config, os.environ).home / "bench"
        plan = Plan(_rates(rates), symbols, seconds, lines, not no_idle, against or "", cache)
        raise typer.Exit(_run(plan, as_json=json))


def _rates(text: str) -> list[float]:
    try:
        rates = [float(word) for word in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no list of numbers", param_hint="--rates") from error
    if not all(0 < rate <= 1_000_000 for rate in rates):
        raise typer.BadParameter("a rate is a number from 1 to 1,000,000", param_hint="--rates")
    return rates


def _run(plan: Plan, *, as_json: bool) -> int:
    from workers.bench.suite import run  # noqa: PLC0415 -- as above

    def tell(text: str) -> None:
        err.print(f"fleet bench: {text}", highlight=False, markup=False, soft_wrap=True)

    def told(measured: Measured) -> None:
        if not as_json:
            _show(measured)

    outcome = asyncio.run(run(plan, tell, told))
    if as_json:
        out.file.write(json_line(_object(outcome)))
    else:
        _conclude(outcome)
    return EXIT_FINE if outcome.is_right else EXIT_DISAGREEMENT


def _object(outcome: Outcome) -> dict[str, object]:
    measured = []
    for one in outcome.measured:
        delays = {stage: found and found._asdict() for stage, found in one.delays_ms.items()}
        measured.append({**one._asdict(), "delays_ms": delays})
    return {
        "machine": outcome.machine._asdict(),
        "idle_percent": outcome.idle_percent,
        "measured": measured,
        "falls_behind": outcome.falls_behind(),
        "is_right": outcome.is_right,
    }


def _table(title: str, *columns: str) -> Table:
    from rich.table import Table  # noqa: PLC0415 -- as above

    table = Table(title=title, title_justify="left")
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left")
    return table


def _show(one: Measured) -> None:
    """One measurement as two tables and some sentences."""
    usage = _table(
        f"{one.plant}, {one.rate:,.0f} messages/s, {one.symbols} symbols, {one.seconds:.0f} s",
        "process", "% of a core", "CPU ms per 1,000 messages", "MB",
    )  # fmt: skip
    for name, percent in one.cpu_percent.items():
        if name != "exchange":
            usage.add_row(
                name, f"{percent:.1f}", f"{one.cpu_ms_per_1000[name]:.1f}", f"{one.resident_mb[name]:.0f}"
            )
    usage.add_section()
    totals = [
        sum(found.values()) - found["exchange"]
        for found in (one.cpu_percent, one.cpu_ms_per_1000, one.resident_mb)
    ]
    usage.add_row("together", f"{totals[0]:.1f}", f"{totals[1]:.1f}", f"{totals[2]:.0f}")
    load = one.cpu_percent["exchange"], one.cpu_ms_per_1000["exchange"], one.resident_mb["exchange"]
    usage.add_row("(load generator)", f"{load[0]:.1f}", f"{load[1]:.1f}", f"{load[2]:.0f}")
    delays = _table("ms from the sending of a depth event", "until it is", "p50", "p99", "p99.9", "of")
    for stage, found in one.delays_ms.items():
        delays.add_row(STAGES[stage], *_cells(found))
    out.print(usage)
    out.print(delays)
    dry = ", ".join(
        f"{stage} {'never' if at is None else f'{at:.1f} s'}" for stage, at in one.run_dry_s.items()
    )
    verdict = "keeps up" if one.kept_up else "FALLS BEHIND"
    handled = "" if one.handled_per_s is None else f"; {one.handled_per_s:,.0f} messages/s handled"
    out.print(f"{verdict}: all handled after the last message: {dry}{handled}.", highlight=False)
    for sentence in one.differences or ["Books and trades are what was sent."]:
        out.print(sentence, highlight=False, markup=False)


def _cells(found: Percentiles | None) -> list[str]:
    if found is None:
        return ["", "", "", "0"]
    return [f"{found.p50:.2f}", f"{found.p99:.2f}", f"{found.p999:.2f}", f"{found.samples:,}"]


def _conclude(outcome: Outcome) -> None:
    """What all measurements come to."""
    if outcome.idle_percent is not None:
        idle = _table("a whole fleet, no message at all", "process", "% of a core")
        for name, percent in outcome.idle_percent.items():
            idle.add_row(name, f"{percent:.1f}")
        idle.add_section()
        idle.add_row("together", f"{sum(outcome.idle_percent.values()):.1f}")
        out.print(idle)
    for plant, limits in outcome.falls_behind().items():
        kept, behind, handled = limits["keeps_up_at"], limits["behind_at"], limits["handled_per_s"]
        words = "keeps up with none" if kept is None else f"keeps up with {kept:,.0f} messages/s"
        if behind is not None:
            words += f", falls behind at {behind:,.0f}"
        if handled is not None:
            words += f" (handles {handled:,.0f})"
        out.print(f"{plant} {words}.", highlight=False)
    machine = outcome.machine
    out.print(
        f"Machine: {machine.cores} cores, {machine.processor}; load before: {machine.load_before}.",
        highlight=False,
    )
