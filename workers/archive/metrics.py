"""What the archive counts."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge

_LABELS: Final = ("venue", "kind")

ROWS = Counter("fleet_archive_rows_total", "Rows written to archive files", _LABELS)
FILES = Counter("fleet_archive_files_total", "Archive files written", _LABELS)
BYTES = Counter("fleet_archive_bytes_total", "Bytes of archive files written", _LABELS)
FAILURES = Counter("fleet_archive_failures_total", "Archive files that could not be written", _LABELS)
ADOPTED = Counter("fleet_archive_adopted_total", "Whole files of an earlier owner that were counted", _LABELS)
REPAIRED_ROWS = Counter(
    "fleet_archive_repaired_total", "Trades taken from the repaired set into files", ["venue"]
)
MISSING = Counter(
    "fleet_archive_missing_total", "Holes in the archive (each is in the gaps stream of its symbol)", _LABELS
)
UNDECODED = Counter("fleet_archive_undecoded_total", "Entries kept as bytes: they cannot be decoded", _LABELS)
LAG = Gauge(
    "fleet_archive_lag_seconds", "Age of the oldest entry read and not in a file (0: none)", ["venue"]
)
BUFFERED = Gauge("fleet_archive_buffered_rows", "Rows read and not in a file yet")
BUFFERED_BYTES = Gauge("fleet_archive_buffered_bytes", "Memory they take, about")
