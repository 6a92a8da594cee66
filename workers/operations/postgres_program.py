"""`fleet run postgres`: the PostgreSQL sink, where the settings want it."""

from __future__ import annotations

from importlib.util import find_spec

import structlog

from workers.errors import ExtraMissing
from workers.runtime.logs import configure_logging
from workers.runtime.process import run_role
from workers.settings.loading import redis_url
from workers.settings.schema import Settings
from workers.terminal.exit_codes import EXIT_FINE, EXIT_SETTINGS

log = structlog.get_logger()


def run_postgres(settings: Settings, number: int) -> int:
    """Store until told to stop; 0 at once where `postgres.enabled` is false, 2 without the extra or a usable DSN."""
    configure_logging(settings.fleet.log_level, settings.fleet.log_format)
    if not settings.postgres.enabled:
        log.info("postgres_not_wanted", reason="postgres.enabled is false")
        return EXIT_FINE
    problem = ""
    if find_spec("psycopg") is None:
        problem = str(ExtraMissing("Tables in PostgreSQL", "psycopg", "postgres"))
    elif not settings.postgres.dsn:
        problem = "FLEET_POSTGRES__DSN names no database"
    elif not _is_usable(settings.postgres.dsn):
        problem = "FLEET_POSTGRES__DSN is no connection string of libpq"
    if problem:
        log.error("postgres_not_started", error=problem)
        return EXIT_SETTINGS
    from workers.postgres.worker import main  # noqa: PLC0415 -- needs the extra

    return run_role("postgres", settings, number, redis_url(settings), main)


def _is_usable(dsn: str) -> bool:
    """Whether libpq can read it; what it says of one that it cannot read would show a part of it."""
    import psycopg  # noqa: PLC0415 -- an extra
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415 -- an extra

    try:
        conninfo_to_dict(dsn)
    except psycopg.Error:
        return False
    return True
