"""The results of a bench as tables and sentences, or as one JSON object."""

from __future__ import annotations

import asyncio
from typing import Final

from redis.exceptions import RedisError
from rich.table import Table

from workers.bench.latency import Percentiles
from workers.bench.run import Burst, Measured
from workers.bench.suite import Outcome, Plan, run
from workers.errors import CommandError
from workers.terminal.exit_codes import EXIT_DISAGREEMENT, EXIT_FINE
from workers.terminal.output import err, out, sentence

STAGES: Final = {
    "log": "in the log",
    "book": "book published, without the pacing wait",
    "reader": "with a reader, without the pacing wait",
    "book_paced": "book published, with it",
    "reader_paced": "with a reader, with it",
}


def run_bench(plan: Plan, *, as_json: bool) -> int:
    """Measure, telling each result when it is there; the exit code.

    Raises:
        CommandError: a plant cannot be started, or its server ended.
    """

    def tell(text: str) -> None:
        err.print(f"fleet bench: {text}", highlight=False, markup=False, soft_wrap=True)

    def told(measured: Measured) -> None:
        if not as_json:
            _show(measured)

    try:
        outcome = asyncio.run(run(plan, tell, told))
    except RedisError as error:
        raise CommandError(f"The server of a plant does not answer any more: {sentence(error)}.") from error
    if as_json:
        out.write_json(_object(outcome))
    else:
        _conclude(outcome)
    return EXIT_FINE if outcome.is_right else EXIT_DISAGREEMENT


def _object(outcome: Outcome) -> dict[str, object]:
    measured = []
    for one in outcome.measured:
        delays = {stage: found and found._asdict() for stage, found in one.delays_ms.items()}
        burst = one.burst and {**one.burst._asdict(), "most": one.burst.most and one.burst.most._asdict()}
        measured.append({**one._asdict(), "delays_ms": delays, "burst": burst})
    return {
        "machine": outcome.machine._asdict(),
        "idle_percent": outcome.idle_percent,
        "measured": measured,
        "falls_behind": outcome.falls_behind(),
        "is_right": outcome.is_right,
    }


def _table(title: str, *columns: str) -> Table:
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
    if one.burst is not None:
        out.print(_burst_told(one.burst), highlight=False)
    verdict = "keeps up" if one.kept_up else "FALLS BEHIND"
    handled = "" if one.handled_per_s is None else f"; {one.handled_per_s:,.0f} messages/s handled"
    out.print(f"{verdict}: all handled after the last message: {dry}{handled}.", highlight=False)
    for told in one.differences or ["Books and trades are what was sent."]:
        out.print(told, highlight=False, markup=False)


def _burst_told(burst: Burst) -> str:
    caught_up = (
        "never caught up"
        if burst.caught_up_s is None
        else f"caught up {burst.caught_up_s:.1f} s after its end"
    )
    load = f"{burst.factor:g} times the rate for {burst.seconds:.0f} s"
    told = f"Burst, {load} ({burst.messages:,} messages): {caught_up}"
    if burst.most is None:
        return f"{told}."
    waiting, behind_ms, dropped = burst.most
    return (
        f"{told}; at worst {waiting:,} entries waited and a book was {behind_ms:,} ms behind, as it told; "
        f"{dropped:,} messages dropped."
    )


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
