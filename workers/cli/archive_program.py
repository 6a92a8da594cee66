"""`fleet run archive`: the archive, where the settings want it."""

from __future__ import annotations

import structlog

from workers.archive import parquet
from workers.archive.worker import main
from workers.cli.exit_codes import EXIT_FINE, EXIT_SETTINGS
from workers.configuration import redis_url
from workers.errors import ExtraMissing
from workers.logs import configure_logging
from workers.process import run_role
from workers.settings import Settings

log = structlog.get_logger()


def run_archive(settings: Settings, number: int) -> int:
    """Archive until told to stop; 0 at once where `archive.enabled` is false, 2 without the extra."""
    configure_logging(settings.fleet.log_level, settings.fleet.log_format)
    if not settings.archive.enabled:
        log.info("archive_not_wanted", reason="archive.enabled is false")
        return EXIT_FINE
    try:
        parquet.require()
    except ExtraMissing as error:
        log.error("archive_not_started", error=str(error))
        return EXIT_SETTINGS
    return run_role("archive", settings, number, redis_url(settings), main)
