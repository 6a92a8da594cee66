"""`fleet run ROLE`: one program of the fleet as this process. supervisord.conf calls it; people seldom do."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Final

import structlog

from workers.errors import SettingsError
from workers.model.symbols.shares import MOST_PROCESSES
from workers.operations.open_files import raise_limit
from workers.operations.parent import end_with_parent, has_lost_supervisord
from workers.runtime.logs import configure_logging
from workers.settings.loading import load, redis_url
from workers.settings.schema import Settings
from workers.terminal.exit_codes import EXIT_FINE, EXIT_SETTINGS

log = structlog.get_logger()

WORKERS: Final = {
    "ingest-a": "workers.ingest.worker",
    "ingest-b": "workers.ingest.worker",
    "books": "workers.books.worker",
    "trades": "workers.trades.worker",
    "keeper": "workers.keeper.worker",
    "api": "workers.api.server",
}
"""The module of each role; it has `async def main(process)`."""

WANTED: Final = {
    "orders": "workers.orders.worker",
    "alerts": "workers.alerts.worker",
    "analytics": "workers.analytics.worker",
}
"""Those that end at once where nobody wants them."""

PROGRAMS: Final = ("redis", "exchange", "archive", "postgres", *WANTED)


def unwanted(role: str, settings: Settings) -> str:
    """Why a role has nothing to do by these settings; empty: it has."""
    if role == "orders" and not any(venue.orders for venue in settings.venues.values()):
        return "no venue has orders = true"
    if role == "alerts" and not settings.alerts.rules:
        return "there are no alerts.rules"
    if role == "analytics" and not settings.analytics.enabled:
        return "analytics.enabled is false"
    return ""


def main(arguments: Sequence[str]) -> int:
    """Run one role until it is told to stop; the exit code."""
    parser = argparse.ArgumentParser(
        prog="fleet run",
        description="Run one role of the fleet in this process, as supervisord does.",
        epilog="Example: fleet run books --number 1. Exit codes: 0 stopped as asked or not wanted, "
        "1 cannot work, 2 settings, 3 the port or the socket is taken.",
    )
    parser.add_argument("role", choices=[*WORKERS, *PROGRAMS])
    parser.add_argument(
        "--number", type=int, default=0, help="which of several processes of the role, from 0"
    )
    parser.add_argument(
        "--of", type=int, default=1, help="how many processes of the role there are, which share its symbols"
    )
    parser.add_argument(
        "--config", type=Path, help="settings file (else FLEET_CONFIG, else config/default.toml)"
    )
    chosen = parser.parse_args(arguments)
    if chosen.role.startswith("ingest") and not 0 <= chosen.number < chosen.of <= MOST_PROCESSES:
        parser.error(f"--number {chosen.number} --of {chosen.of}: of at most {MOST_PROCESSES}, from 0 on")
    end_with_parent()
    if has_lost_supervisord(os.environ):
        sys.stderr.write("supervisord is gone\n")
        return 0
    raise_limit()
    try:
        effective = load(chosen.config, os.environ)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_SETTINGS
    if chosen.role == "redis":
        from workers.operations.redis_program import run_redis  # noqa: PLC0415 -- workers do not need it

        return run_redis(effective.settings)
    if chosen.role == "exchange":
        from workers.operations.exchange_program import run_exchange  # noqa: PLC0415 -- workers do not need the simulator

        return run_exchange(effective.settings)
    if chosen.role == "archive":
        from workers.operations.archive_program import run_archive  # noqa: PLC0415 -- as above

        return run_archive(effective.settings, chosen.number)
    if chosen.role == "postgres":
        from workers.operations.postgres_program import run_postgres  # noqa: PLC0415 -- as above

        return run_postgres(effective.settings, chosen.number)
    if reason := unwanted(chosen.role, effective.settings):
        configure_logging(effective.settings.fleet.log_level, effective.settings.fleet.log_format)
        log.info("role_not_wanted", role=chosen.role, reason=reason)
        return EXIT_FINE
    from workers.runtime.process import run_role  # noqa: PLC0415 -- the server's wrapper starts without it

    role_main = import_module({**WORKERS, **WANTED}[chosen.role]).main
    url = redis_url(effective.settings)
    return run_role(chosen.role, effective.settings, chosen.number, url, role_main, chosen.of)
