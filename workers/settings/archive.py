"""What can be set of the archive: the role `archive`."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct, field

from workers.model.trades.windows import Interval
from workers.settings.numbers import Count, Milliseconds, Seconds


class ArchiveSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """Cold storage in Parquet files (docs/how-to/archive.md); needs the extra `archive`."""

    enabled: bool = False
    url: str = "archive"
    """A folder, relative to the run directory, or any URL that fsspec knows (`s3://bucket/archive`)."""
    kinds: list[Literal["trades", "bars", "depth", "raw", "history"]] = field(
        default_factory=lambda: ["trades", "bars", "depth", "raw", "history"]
    )
    """What is archived; `raw`: the further channels of the venues' `channels`; `history`: the books of every second."""
    intervals: list[Interval] = field(default_factory=lambda: list(get_args(Interval)))
    """Which bars."""
    rotate_rows: Count = 100_000
    """Rows after which a file ends."""
    rotate_mb: Count = 64
    """Megabytes of memory the rows of one file may take."""
    rotate_s: Annotated[float, Meta(gt=0)] = 300
    """Age at which a file of trades, depth or 100 ms bars ends; never more than half of what the stream keeps."""
    rotate_bars_s: Annotated[float, Meta(gt=0)] = 3_600
    """Age at which a file of longer bars ends."""
    buffer_mb: Count = 256
    """Megabytes that all rows in memory may take; beyond it files end early, then reading waits."""
    read_count: Count = 500
    poll_ms: Milliseconds = 200
    hole_wait_s: Seconds = 120
    """How long trades after a hole wait for its repair."""
    compression_level: Annotated[int, Meta(ge=1, le=22)] = 3
    """Of zstd."""
