"""How many processes of each role supervisord starts: as the settings say, or by cores and symbols."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import partial
from typing import Final

from workers.model.symbols.selection import SymbolRule
from workers.model.symbols.shares import MOST_PROCESSES
from workers.settings.processes import AUTO
from workers.settings.schema import Settings

LINES: Final = ("ingest-a", "ingest-b")
USUAL_MOST: Final = 1_000
"""Symbols that patterns are taken to choose where `max_symbols` bounds nothing."""
SYMBOLS_OF: Final = {"ingest": 250, "books": 120, "trades": 250}
"""Symbols that one process has a core's time for at some ten messages a second each (docs/performance.md)."""
CORES_OF: Final = {"ingest": 4, "books": 2, "trades": 4}
"""One process for so many cores at most: the server and the other roles need theirs."""
FEWEST: Final = {"ingest": 1, "books": 2, "trades": 2}
"""Of books and trades a second one takes over within seconds what the first had; a line has the other line."""


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def symbols_expected(settings: Settings) -> int:
    """How many symbols the settings make the fleet follow; patterns count for the most they may choose."""
    rules = [SymbolRule.parse(venue.symbols, venue.max_symbols) for venue in settings.venues.values()]
    return sum((rule.most or USUAL_MOST) if rule.patterns else len(rule.exact) for rule in rules)


def by_machine(role: str, symbols: int, cores: int) -> int:
    """The number that `auto` means."""
    wanted = min(-(-symbols // SYMBOLS_OF[role]), cores // CORES_OF[role])
    return min(max(wanted, FEWEST[role]), MOST_PROCESSES)


def process_numbers(settings: Settings, cores: int) -> dict[str, int]:
    """The processes of each role whose number the settings say; `ingest`: of each line."""
    wanted = {
        "ingest": settings.processes.ingest,
        "books": settings.processes.books,
        "trades": settings.processes.trades,
    }
    symbols = symbols_expected(settings)
    numbers = {
        role: by_machine(role, symbols, cores) if number == AUTO else int(number)
        for role, number in wanted.items()
    }
    return {role: number for role, number in numbers.items() if number}


def chosen_text(settings: Settings, cores: int) -> str:
    """What was chosen where the settings say `auto`, in a line; empty where they do not."""
    chosen = settings.processes
    if AUTO not in (chosen.ingest, chosen.books, chosen.trades):
        return ""
    numbers = process_numbers(settings, cores)
    words = [
        f"{number} {role}{' a line' if role == 'ingest' else ''}"
        for role, number in numbers.items()
        if getattr(chosen, role) == AUTO
    ]
    return f"{', '.join(words)} (auto: {cores} cores, {symbols_expected(settings):,} symbols)"


def with_numbers(conf: str, numbers: Mapping[str, int]) -> str:
    """A supervisord.conf whose programs have these numbers of processes. Those of a line that has one keep its name."""
    for role, number in numbers.items():
        for program in LINES if role == "ingest" else (role,):
            conf = re.sub(
                rf"(?ms)^\[program:{program}\]$.*?(?=^\[|\Z)",
                partial(_numbered, number),
                conf,
            )
    return conf


def _numbered(number: int, found: re.Match[str]) -> str:
    section = re.sub(r"(?m)^numprocs=.*$", f"numprocs={number}", found[0])
    if number > 1:
        section = re.sub(r"(?m)^process_name=%\(program_name\)s$", r"\g<0>-%(process_num)d", section)
        section = re.sub(r"(?m)(?<!%\(process_num\)d)\.log$", "-%(process_num)d.log", section)
    return section
