"""The metrics that the code declares and the events that it logs, as its source says it."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

PACKAGE: Final = Path(__file__).resolve().parent.parent / "workers"

EVENTS: Final = {
    "fleet_figures_unreadable_total": ["redis_refused"],
    "fleet_redis_unavailable_total": ["redis_refused"],
    "fleet_leases_taken_total": ["lease_taken"],
    "fleet_rest_requests_total": ["rate_limited"],
    "fleet_connects_total": ["connected"],
    "fleet_sockets_connected": ["connected", "disconnected"],
    "fleet_socket_silent_total": ["socket_silent", "socket_without_data"],
    "fleet_streams_refused": ["subscription_refused", "subscription_accepted"],
    "fleet_oversized_frames_total": ["oversized_frame"],
    "fleet_reconnects_total": ["reconnecting"],
    "fleet_rotations_total": ["rotating"],
    "fleet_malformed_frames_total": ["malformed_frame"],
    "fleet_id_resets_total": ["id_reset"],
    "fleet_buffer_dropped_total": ["entries_lost"],
    "fleet_append_refused_total": ["redis_refused", "entries_lost"],
    "fleet_append_failed_total": ["redis_refused"],
    "fleet_malformed_entries_total": ["malformed_entry"],
    "fleet_syncs_total": ["book_synced"],
    "fleet_depth_gaps_total": ["depth_gap"],
    "fleet_books_stale_total": ["book_stale"],
    "fleet_snapshots_total": ["snapshot", "snapshot_failed"],
    "fleet_trade_holes_total": ["trade_hole"],
    "fleet_trades_repaired_total": ["trade_hole_closed"],
    "fleet_trades_breaks_total": ["trades_break"],
    "fleet_trades_unusable_total": ["trade_unusable"],
    "fleet_symbol_refreshes_total": ["symbols_refreshed", "symbol_refresh_failed"],
    "fleet_clock_steps_total": ["clock_set"],
    "fleet_rest_overlong_total": ["reply_overlong"],
    "fleet_symbol_unreadable_total": ["symbols_unreadable", "symbol_unreadable"],
    "fleet_api_stumbled_total": ["api_reader_stumbled"],
    "fleet_symbol_quarantined_total": ["symbol_quarantined", "symbol_recovered"],
    "fleet_key_unreadable_total": ["key_unreadable", "key_readable_again"],
    "fleet_symbol_status_changes_total": ["symbol_status_changed"],
    "fleet_symbol_tick_size_changes_total": ["symbol_tick_size_changed"],
    "fleet_symbol_step_size_changes_total": ["symbol_step_size_changed"],
    "fleet_symbols_retired_total": ["symbol_retired"],
    "fleet_announcements_total": ["announcement"],
    "fleet_audits_total": ["audit"],
    "fleet_api_failures_total": ["request_broke"],
    "fleet_api_replica_mismatch_total": ["replica_mismatch"],
    "fleet_api_rebuilds_total": ["replica_not_rebuilt"],
    "fleet_api_orders_rebuilds_total": ["orders_not_rebuilt"],
    "fleet_archive_files_total": ["archive_file_written"],
    "fleet_archive_failures_total": ["archive_write_failed"],
    "fleet_archive_adopted_total": ["archive_file_adopted"],
    "fleet_archive_missing_total": ["archive_rows_missing"],
    "fleet_archive_undecoded_total": ["archive_entries_undecoded"],
    "fleet_archive_unread_total": ["archive_not_read"],
    "fleet_postgres_refused_total": ["postgres_rows_refused"],
    "fleet_postgres_rewound_total": ["postgres_stream_rewound"],
    "fleet_postgres_missing_total": ["postgres_rows_missing"],
    "fleet_postgres_filled_total": ["postgres_hole_passed"],
    "fleet_postgres_up": ["postgres_away", "postgres_back"],
    "fleet_alerts_fired_total": ["alert_fired"],
    "fleet_alerts_resolved_total": ["alert_resolved"],
    "fleet_alerts_flapped_total": ["alert_flapped"],
    "fleet_alerts_grown_total": ["alert_grown"],
    "fleet_alerts_comments_failed_total": ["alerts_comment_failed"],
    "fleet_alerts_comments_skipped_total": ["alerts_comment_skipped"],
    "fleet_orders_syncs_total": ["orders_synced"],
    "fleet_orders_purged_crossing_total": ["orders_purged"],
    "fleet_orders_purged_level2_total": ["orders_purged"],
    "fleet_orders_seeds_total": ["orders_seed", "orders_seed_failed"],
}
"""The log events that stand for one increase of a metric, where there are other ones than that of its name."""

LOGGING: Final = {"debug", "info", "warning", "error", "exception"}

ROLES: Final = {
    "ingest": "ingest",
    "books": "books",
    "trades": "trades",
    "keeper": "keeper",
    "api": "api",
    "archive": "archive",
    "alerts": "alerts",
    "analytics": "analytics",
    "orders": "orders",
    "postgres": "postgres",
    "tardis": "fleet serve-tardis",
    "runtime/process.py": "every worker",
    "runtime/logs.py": "every worker",
    "runtime/pulse.py": "every worker",
    "runtime/loop_watch.py": "every worker",
    "runtime/tasks.py": "every worker",
    "runtime/backoff.py": "every worker",
    "runtime/unreadable.py": "whoever reads keys",
    "runtime/quarantine.py": "workers that own symbols",
    "runtime/ownership.py": "workers that own symbols",
    "runtime/sharing.py": "`books` and `trades`",
    "runtime/progress.py": "workers that own symbols",
    "runtime/rest.py": "workers that use REST",
    "runtime/stream_places.py": "`books`, `orders` and `trades`",
    "runtime/rounds.py": "`books`, `orders`, `analytics` and `trades`",
    "runtime/dead_streams.py": "`books` and `keeper`",
}
"""Who has the metrics of a folder or module, in the order of the page."""


class Metric(NamedTuple):
    """One metric as the code declares it."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str
    where: str


def _metric(call: ast.Call, constants: dict[str, ast.expr], where: str) -> Metric | None:
    kind = call.func.id if isinstance(call.func, ast.Name) else ""
    kind = {"Metric": "Counter"}.get(kind, kind)
    if (
        kind not in ("Counter", "Gauge", "Histogram")
        or not call.args
        or not isinstance(call.args[0], ast.Constant)
    ):
        return None
    labels = call.args[2] if len(call.args) > 2 else ast.Tuple([])
    if isinstance(labels, ast.Name):
        labels = constants[labels.id]
    meaning = ast.literal_eval(call.args[1])
    return Metric(str(call.args[0].value), kind.lower(), tuple(ast.literal_eval(labels)), meaning, where)


def metrics() -> list[Metric]:
    """Every metric the code declares, by role and in the order of the code."""
    found: list[Metric] = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).parts
        where = "/".join(parts) if parts[0] == "runtime" else parts[0]
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = {
            node.target.id if isinstance(node, ast.AnnAssign) else node.targets[0].id: node.value
            for node in tree.body
            if (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value)
            or (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name))
        }
        calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
        found += [metric for call in calls if (metric := _metric(call, constants, where))]
    order = list(ROLES)
    return sorted(found, key=lambda metric: order.index(metric.where))


@cache
def log_events() -> frozenset[str]:
    """Every name of an event that the code logs."""
    names = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and _logs(node.func):
                names.update(name.value for name in node.args[:1] if isinstance(name, ast.Constant))
    return frozenset(names)


def _logs(function: ast.expr) -> bool:
    """Whether it is a method of a log; `getattr(log, level)` chooses one."""
    name = function.attr if isinstance(function, ast.Attribute) else ""
    return name in LOGGING or isinstance(function, ast.Call)


def events_of(metric: str) -> list[str]:
    """The log events of a metric: that of its name is found, others are told by `EVENTS`."""
    event = metric.removeprefix("fleet_").removesuffix("_total")
    return EVENTS.get(metric) or [event] * (event in log_events())
