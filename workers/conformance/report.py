"""The results for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from workers.conformance.result import Result
from workers.conformance.scenario import Scenario
from workers.settings.exchanges import DEFAULT

MOST_SENTENCES = 3


def report_object(results: Sequence[Result], seconds: float) -> dict[str, Any]:
    """Everything as one object."""
    passed = sum(result.passed for result in results)
    return {
        "scenarios": [result.as_object() for result in results],
        "passed": passed,
        "failed": len(results) - passed,
        "seconds": round(seconds, 1),
    }


def title_of(result: Result) -> str:
    """Its name, and of how many markets of other exchanges it is."""
    return result.name if result.venues == [DEFAULT] else f"{result.name} ({len(result.venues)} venues)"


def result_line(result: Result) -> str:
    """One result while the others still run."""
    mark = "[green]passed[/]" if result.passed else "[red]FAILED[/]"
    return f"{mark} {result.level:<5} {title_of(result)} ({result.seconds:.1f} s)"


def result_table(results: Sequence[Result], seconds: float) -> Table:
    """All results."""
    failed = sum(not result.passed for result in results)
    table = Table(title=f"{len(results) - failed} passed, {failed} failed, {seconds:.0f} s")
    for name in ("scenario", "level", "result"):
        table.add_column(name, no_wrap=True)
    table.add_column("seconds", justify="right")
    table.add_column("what differed")
    for result in results:
        told = [escape(sentence) for sentence in result.problems[:MOST_SENTENCES]]
        if len(result.problems) > MOST_SENTENCES:
            told.append(f"And {len(result.problems) - MOST_SENTENCES} more.")
        mark = "[green]passed[/]" if result.passed else "[red]FAILED[/]"
        table.add_row(title_of(result), result.level, mark, f"{result.seconds:.1f}", "\n".join(told))
    return table


def list_rows(scenarios: Sequence[Scenario]) -> list[dict[str, Any]]:
    """What there is to run, for programs."""
    return [
        {"name": one.name, "levels": one.levels, "world": one.world, "reader": one.reader}
        for one in scenarios
    ]


def list_table(scenarios: Sequence[Scenario]) -> Table:
    """What there is to run."""
    table = Table()
    for name in ("scenario", "levels"):
        table.add_column(name, no_wrap=True)
    for name in ("what the world does", "what a correct reader must see"):
        table.add_column(name)
    for scenario in scenarios:
        table.add_row(
            scenario.name, ", ".join(scenario.levels), escape(scenario.world), escape(scenario.reader)
        )
    return table
