"""The whole suite, from the command line to the exit code."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

from workers.conformance.adapters.adapter import load_adapter
from workers.conformance.catalogue.all import CALM, chosen
from workers.conformance.fleet.every_venue import run_every_venue
from workers.conformance.fleet.quota import Quota
from workers.conformance.fleet.runner import run_fleet
from workers.conformance.model.runner import run_model
from workers.conformance.orders.runner import run_orders
from workers.conformance.report import list_rows, list_table, report_object, result_line, result_table
from workers.conformance.result import LEVELS, Level, Result
from workers.conformance.scenario import Scenario
from workers.conformance.venues.places import Place, places
from workers.conformance.venues.runner import run_venues
from workers.errors import WrongArgument
from workers.runtime.logs import configure_logging
from workers.settings.exchanges import DEFAULT
from workers.settings.paths import LONGEST_SOCKET, temporary_place
from workers.terminal.exit_codes import EXIT_DISAGREEMENT, EXIT_FINE
from workers.terminal.output import err, note, out

OUR_BOOK: Final = "workers.conformance.adapters.synced_book:SyncedBook"


def run_suite(
    names: Sequence[str],
    levels: Sequence[str],
    venues: Sequence[str],
    adapter: str | None,
    keep: Path | None,
    *,
    cpu_share: float = 1.0,
    listing: bool,
    as_json: bool,
) -> int:
    """Run the wanted scenarios; the exit code.

    Args:
        venues: the exchanges, all that are simulated without any.
        cpu_share: of a core, to which every worker of the fleet is held once all books are shown.

    Raises:
        WrongArgument: there is no such scenario, level, adapter or share.
        CommandError: the fleet did not start.
    """
    Quota([], cpu_share)
    wanted, default, markets = _wanted(levels, venues, adapter)
    scenarios = chosen(names, wanted, default=default, others=bool(markets))
    if listing and as_json:
        out.write_json({"scenarios": list_rows(scenarios)})
        return EXIT_FINE
    if listing:
        out.print(list_table(scenarios))
        return EXIT_FINE
    for impossible in [one for one in scenarios if not one.possible]:
        scenarios.remove(impossible)
        err.print(f"{impossible.name} is not run: {impossible.needs} is not installed.", highlight=False)
    began = time.monotonic()
    with _run_directory(keep) as home:
        results = asyncio.run(
            _run(scenarios, wanted, adapter or OUR_BOOK, home, cpu_share, default=default, markets=markets)
        )
    seconds = time.monotonic() - began
    err.print(result_table(results, seconds))
    if as_json:
        out.write_json(report_object(results, seconds))
    return EXIT_FINE if all(result.passed for result in results) else EXIT_DISAGREEMENT


def _wanted(
    levels: Sequence[str], venues: Sequence[str], adapter: str | None
) -> tuple[list[Level], bool, list[Place]]:
    """The levels, whether on the default exchange, and the markets of others."""
    wanted = [level for level in LEVELS if level in levels or not levels]
    for level in levels:
        if level not in LEVELS:
            raise WrongArgument(f"{level!r} is no level", LEVELS)
    markets = places([name for name in venues if name != DEFAULT]) if set(venues) != {DEFAULT} else []
    if adapter is None:
        return wanted, not venues or DEFAULT in venues, markets
    if "fleet" in levels:
        raise WrongArgument("An adapter runs on the model level; the fleet level runs the fleet")
    if set(venues) - {DEFAULT}:
        raise WrongArgument(f"An adapter is given the messages of {DEFAULT}")
    return ["model"], True, []


@contextlib.contextmanager
def _run_directory(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        place = temporary_place(f"together/{LONGEST_SOCKET}")
        with tempfile.TemporaryDirectory(prefix="fleet-conform-", dir=place) as folder:
            yield Path(folder)
        return
    if keep.exists() and any(keep.iterdir()):
        raise WrongArgument(f"{keep} is not empty; name a new folder")
    yield keep.absolute()
    note(f"The logs are in {keep}, of each fleet in its folder log.")


async def _run(
    scenarios: Sequence[Scenario],
    levels: Sequence[Level],
    adapter: str,
    home: Path,
    cpu_share: float,
    *,
    default: bool,
    markets: Sequence[Place],
) -> list[Result]:
    results = []
    if "model" in levels:
        configure_logging("critical", "console")
        on_default = run_model(scenarios, load_adapter(adapter)) if default else ()
        for result in chain(on_default, run_venues(scenarios, markets), run_orders(scenarios, markets)):
            results.append(result)
            _tell(result)
    if "fleet" in levels and default:
        async for result in run_fleet(scenarios, CALM, home, cpu_share):
            results.append(result)
            _tell(result)
    for scenario in scenarios:
        if scenario.every_venue and "fleet" in levels and markets:
            result = Result(scenario.name, "fleet", scenario.reader)
            results.append(await run_every_venue(result, markets, home / "venues"))
            _tell(result)
    return results


def _tell(result: Result) -> None:
    err.print(result_line(result), highlight=False, soft_wrap=True)
    for sentence in result.problems:
        note(f"    {sentence}")
