"""What the sink counts."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

ROWS = Counter("fleet_postgres_rows_total", "Rows stored in PostgreSQL", ["table"])
REPEATS = Counter(
    "fleet_postgres_repeats_total",
    "Rows that were there already: read again after Redis had lost its place",
    ["table"],
)
EXPIRED = Counter("fleet_postgres_expired_total", "Rows older than what is kept, left out", ["table"])
TRANSACTIONS = Counter("fleet_postgres_transactions_total", "Transactions committed")
AWAY = Counter(
    "fleet_postgres_away_total", "Times the database did not do what was asked, and this worker waited"
)
REFUSED = Counter(
    "fleet_postgres_refused_total", "Times the database refused the rows of one stream alone", ["table"]
)
REWOUND = Counter(
    "fleet_postgres_rewound_total", "Streams of which Redis lost entries that were stored", ["venue"]
)
MISSING = Counter(
    "fleet_postgres_missing_total", "Gaps of the database (each is a row of its table gaps)", ["venue"]
)
FILLED = Counter("fleet_postgres_filled_total", "Trades taken from the repaired set", ["venue"])
LAG = Gauge("fleet_postgres_lag_seconds", "Age of the oldest entry read and not stored (0: none)", ["venue"])
BUFFERED = Gauge("fleet_postgres_buffered_rows", "Rows read and not stored yet")
UP = Gauge("fleet_postgres_up", "1 while the database answers")
