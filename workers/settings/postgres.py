"""What can be set of the PostgreSQL sink."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct, field

from workers.model.trades.windows import Interval
from workers.settings.numbers import LARGEST, Count, Milliseconds, Number, Seconds

Table = Literal["trades", "bars", "top_of_book", "gaps", "audits", "analytics", "analytics_events"]


class PostgresSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """A copy in PostgreSQL (docs/how-to/postgresql.md); needs the extra `postgres`."""

    enabled: bool = False
    """Run the sink."""
    dsn: str = ""
    """Where the database is, as libpq has it (`postgresql://user:password@host/name`); a secret: set it as
    `FLEET_POSTGRES__DSN`."""
    schema: Annotated[str, Meta(pattern="^[a-z_][a-z0-9_]{0,40}$")] = "marketfleet"
    """The schema of the tables; made if it is not there. Two fleets need two."""
    tables: list[Table] = field(default_factory=lambda: list(get_args(Table)))
    """What is stored; of analytics only where the role `analytics` is enabled."""
    intervals: list[Interval] = field(default_factory=lambda: list(get_args(Interval)))
    """Which bars."""
    figures_ms: Annotated[int, Meta(ge=100, le=LARGEST)] = 1_000
    """Pause between two samples of the figures of `analytics:{S}`."""
    keep_days: Number = 0
    """UTC days that are kept besides today; older ones are dropped whole. 0: all."""
    flush_ms: Count = 500
    """Longest pause between two transactions while there is something to write."""
    batch_rows: Count = 20_000
    """Rows of one transaction, about."""
    buffer_rows: Count = 200_000
    """Rows in memory, about, that wait for the database; beyond it reading waits, and Redis keeps what it keeps."""
    read_count: Count = 500
    """Entries read from one stream at once."""
    poll_ms: Milliseconds = 200
    """Pause between two rounds of reading."""
    hole_wait_s: Seconds = 120
    """How long missing trades may wait for the trades role to repair them, before they are said to be missing."""
