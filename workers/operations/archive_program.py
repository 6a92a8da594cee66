"""`fleet run archive`: the archive, where the settings want it."""

from __future__ import annotations

import structlog

from workers.archive.files import parquet
from workers.archive.worker import main
from workers.errors import ExtraMissing
from workers.runtime.logs import configure_logging
from workers.runtime.process import run_role
from workers.settings.loading import redis_url
from workers.settings.schema import Settings
from workers.terminal.exit_codes import EXIT_FINE, EXIT_SETTINGS

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
