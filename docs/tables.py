"""Writes the tables of settings, metrics, scenarios and faults into the pages, from the code, so that none goes stale.

    python docs/tables.py            rewrite what stands between the marks of each page
    python docs/tables.py --check    write nothing; exit 1 and name the page when one is out of date

A page marks a table with `<!-- table: NAME -->` before and `<!-- end -->` after it.
"""

from __future__ import annotations

import ast
import re
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

DOCS: Final = Path(__file__).resolve().parent
PACKAGE: Final = DOCS.parent / "workers"
sys.path.insert(0, str(DOCS.parent))

from workers.conformance.catalogue.all import SCENARIOS  # noqa: E402 -- as above
from workers.conformance.orders.runner import fits  # noqa: E402 -- as above
from workers.conformance.venues.places import places  # noqa: E402 -- as above
from workers.settings import schema as declared  # noqa: E402 -- from this checkout, wherever it is run
from workers.settings.exchanges import DEFAULT, exchanges, settings_of  # noqa: E402 -- as above
from workers.settings.signed import SignedVenueSettings  # noqa: E402 -- as above
from workers.sim.engine import faults  # noqa: E402 -- as above
from workers.sim.flavours import FLAVOURS  # noqa: E402 -- as above

MEANING: Final = {
    "fleet.log_level": "Least level that is logged.",
    "fleet.log_format": "One JSON object a line, or text for people.",
    "fleet.heartbeat_ms": "How often a worker says that it lives; after three without a word it counts as dead.",
    "venues.*.exchange": "The venue's implementation in `workers/venues/`.",
    "venues.*.market": "Which market of the exchange. Required.",
    "venues.*.streams_per_socket": "Streams on one socket; more symbols open more sockets.",
    "venues.*.streams_per_request": "Streams named in one SUBSCRIBE frame.",
    "venues.*.websocket_url": "Base of every socket.",
    "venues.*.rest_url": "Base of every REST request.",
    "venues.*.trades": "Whether trades are followed.",
    "venues.*.weight_share": "Part of the learned weight limit the fleet may use.",
    "ingest.flush_ms": "Longest pause between two appends; it grows with the load, what comes alone waits for none.",
    "ingest.flush_entries": "Entries that are appended at once, whatever the pause.",
    "ingest.open_timeout_s": "Time a connection may take to open.",
    "ingest.backoff_first_s": "Pause before the first reconnection; doubles, with jitter.",
    "ingest.backoff_max_s": "Longest pause between reconnections.",
    "streams.depth_ms": "How much older than its newest an entry of `raw:{S}:depth` may become.",
    "streams.trades_ms": "The same for `raw:{S}:aggTrade`.",
    "streams.ticker_ms": "The same for `raw:{S}:bookTicker`.",
    "streams.snapshots": "Entries kept in `raw:{S}:snapshot`.",
    "streams.gaps": "Entries kept, about, in `gaps:{S}`.",
    "books.publish_ms": "Least pause between two publications of one book.",
    "books.read_count": "Entries read from one stream at once.",
    "books.gather_ms": "Longest pause between two rounds of reading while there is something to read.",
    "books.commit_ms": "Longest pause between two checkpoints of a book that changes; five times that with few events.",
    "books.commit_entries": "Entries after which a checkpoint is made earlier.",
    "books.snapshot_timeout_s": "Time a snapshot request may take once it is sent.",
    "books.snapshot_retry_max_s": "Longest pause between two snapshot requests of one symbol.",
    "books.crossed_ms": "How long a crossed book is withheld before it is synced anew; less if the market passes on.",
    "history.enabled": "Keep the history of the books.",
    "history.hours": "How far it reaches back.",
    "trades.read_count": "Entries read from one stream at once.",
    "trades.gather_ms": "Trades are folded that often at most; the first after a pause at once. What it spares: "
    "[rounds](decisions/event-driven-rounds.md).",
    "trades.close_grace_ms": "How long after its end a quiet window is closed by the clock.",
    "trades.repair_timeout_s": "Time a request for missing trades may take once it is sent.",
    "trades.repair_attempts": "Failed requests in a row (pauses up to 15 s) before the trades may count as missing.",
    "keeper.info_s": "Pause between two readings of exchangeInfo.",
    "api.port": "Its port; 0: any free port, told in the heartbeat.",
    "metrics.host": "Address the workers' `/metrics` listen on.",
    "exchange.enabled": "Run the simulated exchange. `fleet demo` sets it.",
    "exchange.host": "Address it listens on.",
    "exchange.port": "Its port.",
    "exchange.seed": "Seed of its random markets.",
    "exchange.rate_scale": "Factor on the number of its events.",
    "exchange.spot_symbols": "Spot symbols it lists; empty: those of the spot venues.",
    "exchange.usdm_symbols": "USD-M symbols it lists; empty: those of the USD-M venues.",
    "alerts.webhook_form": "What it takes: JSON for programs, or the form of Slack.",
    "alerts.webhook_timeout_s": "Time one try may take.",
    "alerts.commentary_timeout_s": "Time a question may take.",
    "archive.enabled": "Run the archive.",
    "archive.read_count": "Entries read from one stream at once.",
    "archive.poll_ms": "Pause between two rounds of reading.",
}
"""What `workers/settings` leaves to the name."""

EVENTS: Final = {
    "fleet_figures_unreadable_total": ["redis_refused"],
    "fleet_trades_capped_total": ["trades_capped"],
    "fleet_redis_unavailable_total": ["redis_refused"],
    "fleet_leases_taken_total": ["lease_taken"],
    "fleet_lease_lost_total": ["lease_lost"],
    "fleet_work_hung_total": ["work_hung"],
    "fleet_loop_stuck_total": ["loop_stuck"],
    "fleet_task_failed_total": ["task_failed"],
    "fleet_rest_requests_total": ["rate_limited"],
    "fleet_connects_total": ["connected"],
    "fleet_sockets_connected": ["connected", "disconnected"],
    "fleet_stream_silent_total": ["stream_silent"],
    "fleet_socket_silent_total": ["socket_silent", "socket_without_data"],
    "fleet_socket_failed_total": ["socket_failed"],
    "fleet_stream_stopped_total": ["stream_stopped"],
    "fleet_stream_revived_total": ["stream_revived"],
    "fleet_streams_refused": ["subscription_refused", "subscription_accepted"],
    "fleet_requests_unanswered_total": ["requests_unanswered"],
    "fleet_frame_failed_total": ["frame_failed"],
    "fleet_announcement_failed_total": ["announcement_failed"],
    "fleet_stream_dead_total": ["stream_dead"],
    "fleet_tape_check_failed_total": ["tape_check_failed"],
    "fleet_derivatives_malformed_total": ["derivatives_malformed"],
    "fleet_derivatives_lost_total": ["derivatives_lost"],
    "fleet_derivatives_failed_total": ["derivatives_failed"],
    "fleet_poll_failed_total": ["poll_failed"],
    "fleet_oversized_frames_total": ["oversized_frame"],
    "fleet_reconnects_total": ["reconnecting"],
    "fleet_rotations_total": ["rotating"],
    "fleet_malformed_frames_total": ["malformed_frame"],
    "fleet_subscription_refused_total": ["subscription_refused"],
    "fleet_unknown_symbol_total": ["unknown_symbol"],
    "fleet_id_resets_total": ["id_reset"],
    "fleet_buffer_dropped_total": ["entries_lost"],
    "fleet_append_refused_total": ["redis_refused", "entries_lost"],
    "fleet_append_failed_total": ["redis_refused"],
    "fleet_redis_not_examined_total": ["redis_not_examined"],
    "fleet_redis_refused_total": ["redis_refused"],
    "fleet_malformed_entries_total": ["malformed_entry"],
    "fleet_sync_lost_total": ["sync_lost"],
    "fleet_syncs_total": ["book_synced"],
    "fleet_depth_gaps_total": ["depth_gap"],
    "fleet_checkpoint_unreadable_total": ["checkpoint_unreadable"],
    "fleet_books_stale_total": ["book_stale"],
    "fleet_entries_read_elsewhere_total": ["entries_read_elsewhere"],
    "fleet_best_level_mismatch_total": ["best_level_mismatch"],
    "fleet_snapshots_total": ["snapshot", "snapshot_failed"],
    "fleet_trade_ids_restarted_total": ["trade_ids_restarted"],
    "fleet_trade_ids_unconfirmed_total": ["trade_ids_unconfirmed"],
    "fleet_trade_ids_refuted_total": ["trade_ids_refuted"],
    "fleet_trade_holes_total": ["trade_hole"],
    "fleet_history_unreadable_total": ["history_unreadable"],
    "fleet_history_resumed_total": ["history_resumed"],
    "fleet_trades_repaired_total": ["trade_hole_closed"],
    "fleet_trades_missing_total": ["trades_missing"],
    "fleet_trades_breaks_total": ["trades_break"],
    "fleet_trades_unusable_total": ["trade_unusable"],
    "fleet_trades_fills_repeated_total": ["trades_fills_repeated"],
    "fleet_trades_fills_impossible_total": ["trades_fills_impossible"],
    "fleet_symbol_refreshes_total": ["symbols_refreshed", "symbol_refresh_failed"],
    "fleet_clock_steps_total": ["clock_set"],
    "fleet_clock_taken_over_total": ["clock_taken_over"],
    "fleet_weight_limit_refused_total": ["weight_limit_refused"],
    "fleet_rest_overlong_total": ["reply_overlong"],
    "fleet_symbol_unlisted_total": ["symbol_unlisted"],
    "fleet_symbol_unreadable_total": ["symbols_unreadable", "symbol_unreadable"],
    "fleet_keeper_stumbled_total": ["keeper_stumbled"],
    "fleet_api_stumbled_total": ["api_reader_stumbled"],
    "fleet_symbol_quarantined_total": ["symbol_quarantined", "symbol_recovered"],
    "fleet_group_set_back_total": ["group_set_back"],
    "fleet_key_unreadable_total": ["key_unreadable", "key_readable_again"],
    "fleet_symbol_status_changes_total": ["symbol_status_changed"],
    "fleet_symbol_tick_size_changes_total": ["symbol_tick_size_changed"],
    "fleet_symbol_step_size_changes_total": ["symbol_step_size_changed"],
    "fleet_symbol_tickers_failed_total": ["symbol_tickers_failed"],
    "fleet_symbols_taken_up_total": ["symbols_taken_up"],
    "fleet_symbols_retired_total": ["symbol_retired"],
    "fleet_announcements_total": ["announcement"],
    "fleet_announcements_connected": ["announcements_connected"],
    "fleet_announcements_lost_total": ["announcements_lost"],
    "fleet_audits_total": ["audit"],
    "fleet_api_failures_total": ["request_broke"],
    "fleet_api_redis_trouble_total": ["api_redis_trouble"],
    "fleet_api_replica_mismatch_total": ["replica_mismatch"],
    "fleet_api_rebuilds_total": ["replica_not_rebuilt"],
    "fleet_api_orders_rebuilds_total": ["orders_not_rebuilt"],
    "fleet_archive_files_total": ["archive_file_written"],
    "fleet_archive_failures_total": ["archive_write_failed"],
    "fleet_tardis_answer_failed_total": ["tardis_answer_failed"],
    "fleet_tardis_client_slow_total": ["tardis_client_slow"],
    "fleet_archive_adopted_total": ["archive_file_adopted"],
    "fleet_archive_missing_total": ["archive_rows_missing"],
    "fleet_archive_undecoded_total": ["archive_entries_undecoded"],
    "fleet_archive_unread_total": ["archive_not_read"],
    "fleet_postgres_away_total": ["postgres_away"],
    "fleet_postgres_refused_total": ["postgres_rows_refused"],
    "fleet_postgres_rewound_total": ["postgres_stream_rewound"],
    "fleet_postgres_missing_total": ["postgres_rows_missing"],
    "fleet_postgres_filled_total": ["postgres_hole_passed"],
    "fleet_postgres_up": ["postgres_away", "postgres_back"],
    "fleet_analytics_unusable_total": ["analytics_unusable"],
    "fleet_analytics_missed_total": ["analytics_missed"],
    "fleet_analytics_fell_back_total": ["analytics_fell_back"],
    "fleet_alerts_fired_total": ["alert_fired"],
    "fleet_alerts_resolved_total": ["alert_resolved"],
    "fleet_alerts_webhook_failed_total": ["alerts_webhook_failed"],
    "fleet_alerts_webhook_dropped_total": ["alerts_webhook_dropped"],
    "fleet_alerts_comments_failed_total": ["alerts_comment_failed"],
    "fleet_alerts_comments_skipped_total": ["alerts_comment_skipped"],
    "fleet_orders_malformed_total": ["orders_malformed"],
    "fleet_orders_lost_total": ["orders_lost"],
    "fleet_orders_syncs_total": ["orders_synced"],
    "fleet_orders_purged_crossing_total": ["orders_purged"],
    "fleet_orders_purged_level2_total": ["orders_purged"],
    "fleet_orders_read_elsewhere_total": ["orders_read_elsewhere"],
    "fleet_orders_checkpoint_unreadable_total": ["orders_checkpoint_unreadable"],
    "fleet_orders_seeds_total": ["orders_seed", "orders_seed_failed"],
    "fleet_orders_withheld_total": ["orders_withheld"],
}
"""The log events that stand for one increase of a metric."""

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


FAULTS: Final = {
    "events": faults.EVENT_KINDS,
    "connections": faults.CONNECTION_KINDS,
    "rest": faults.REST_KINDS,
    "market": faults.MARKET_KINDS,
}
"""The kinds of faults, in the groups of the page."""


class Setting(NamedTuple):
    """One key of the settings."""

    name: str
    kind: str
    default: str
    meaning: str


class Metric(NamedTuple):
    """One metric as the code declares it."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str
    where: str


def _kind(text: str) -> str:
    """A type as the page shows it: `Literal["a", "b"]` is `"a"` or `"b"`."""
    if text.startswith("Annotated["):
        text = text.removeprefix("Annotated[").split(",", 1)[0]
    if text.startswith("list[Literal[") or text in ("list[Interval]", "list[Table]"):
        return "list"
    if text.startswith("Literal["):
        return " or ".join(f"`{word.strip()}`" for word in text[8:-1].replace("'", '"').split(","))
    names = {
        "Count": "int",
        "Milliseconds": "int",
        "Port": "int",
        "Seconds": "float",
        "list[str]": "list",
        "list[RuleSettings]": "list",
    }
    return names.get(text, "table" if text.startswith("dict") else text.replace(" | None", ""))


def _section(name: str, struct: type[msgspec.Struct], node: ast.ClassDef) -> Iterator[Setting]:
    wire = {field.name: field for field in msgspec.structs.fields(struct)}
    for place, item in enumerate(node.body):
        if not isinstance(item, ast.AnnAssign) or not isinstance(item.target, ast.Name):
            continue
        field = wire[item.target.id]
        after = node.body[place + 1] if place + 1 < len(node.body) else None
        text = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            text = " ".join(str(after.value.value).split())
        key = f"{name}.{item.target.id}"
        meaning = text or MEANING.get(key, "") or MEANING.get(f"venues.*.{item.target.id}", "")
        if not meaning:
            raise SystemExit(f"{key} has no meaning: write it under the setting, or into docs/tables.py")
        default: Any = msgspec.NODEFAULT
        if field.default is not msgspec.NODEFAULT:
            default = field.default
        elif field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        shown = "" if default is msgspec.NODEFAULT else f"`{msgspec.json.encode(default).decode()}`"
        yield Setting(key, _kind(ast.unparse(item.annotation)), shown, meaning)


def settings() -> Iterator[Setting]:
    """Every setting, in the order of `workers/settings/schema.py`; those of a venue as `venues.*.key`."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (PACKAGE / "settings").glob("*.py")]
    nodes = {node.name: node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)}
    for field in msgspec.structs.fields(declared.Settings):
        name, struct = field.name, field.type
        if typing.get_origin(struct) is dict:
            name, struct = f"{name}.*", typing.get_args(struct)[1]
            for exchange in exchanges():
                yield from _venue(exchange, nodes[SignedVenueSettings.__name__])
        yield from _section(name, struct, nodes[struct.__name__])


def _venue(exchange: str, signed: ast.ClassDef) -> Iterator[Setting]:
    """What an exchange has besides what every venue has; `signed` declares the key of those that take one."""
    source = PACKAGE / "venues" / exchange / "settings.py"
    struct = settings_of(exchange)
    [node] = [
        node
        for node in ast.parse(source.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name == struct.__name__
    ]
    yield from _section(f"venues.*.{exchange}", struct, node)
    if issubclass(struct, SignedVenueSettings):
        yield from _section(f"venues.*.{exchange}", struct, signed)


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


def log_events() -> set[str]:
    """Every name of an event that the code may log."""
    names = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                names.add(node.args[0].value)
    return {name for name in names if isinstance(name, str)}


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]] | list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def settings_table(section: str) -> str:
    """The table of one section."""
    rows = [
        (f"`{found.name.rpartition('.')[2]}`", found.kind, found.default, found.meaning)
        for found in settings()
        if found.name.rpartition(".")[0] == section
    ]
    return _table(("key", "type", "default", "meaning"), rows)


def metrics_table(where: str) -> str:
    """The table of one role's metrics."""
    rows = []
    for metric in metrics():
        if metric.where == where:
            labels = ", ".join(f"`{label}`" for label in metric.labels)
            events = ", ".join(f"`{event}`" for event in EVENTS.get(metric.name, []))
            rows.append((f"`{metric.name}`", metric.kind, labels, f"{metric.meaning}.", events))
    return _table(("metric", "type", "labels", "meaning", "log event"), rows)


def scenarios_table(_: str) -> str:
    """The table of the conformance suite's scenarios."""
    markets = places()
    rows = []
    for one in SCENARIOS:
        known = [DEFAULT] if one.model is not None or one.fleet is not None else []
        known += [
            each.exchange
            for each in markets
            if one.every_venue
            or (one.venues and one.venues.needs(each.facts()))
            or (one.orders and fits(one.orders, each))
        ]
        exchanges = "all" if len(set(known)) == len(FLAVOURS) else ", ".join(dict.fromkeys(known))
        rows.append((f"`{one.name}`", ", ".join(one.levels), exchanges, one.world, one.reader))
    head = ("scenario", "levels", "exchanges", "what the world does", "what a correct reader must see")
    return _table(head, rows)


def faults_table(group: str) -> str:
    """The table of one group of the simulated exchange's faults."""
    rows = [(f"`{kind}`", sentence) for kind, sentence in FAULTS[group].items()]
    return _table(("kind", "what it does"), rows)


def pages() -> dict[Path, str]:
    """Each page with tables, as it should be."""
    sections = {found.name.rpartition(".")[0] for found in settings()}
    wheres = {metric.where for metric in metrics()}
    made = {}
    for name, known, table in (
        ("configuration.md", sections, settings_table),
        ("metrics.md", wheres, metrics_table),
        ("conformance.md", {"scenarios"}, scenarios_table),
        ("how-to/faults.md", set(FAULTS), faults_table),
    ):
        path = DOCS / name
        text = path.read_text(encoding="utf-8")
        marked = set(re.findall(r"<!-- table: (\S+) -->", text))
        if marked != known:
            raise SystemExit(f"docs/{name} has the tables {sorted(marked)}; there should be {sorted(known)}")
        made[path] = re.sub(
            r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)",
            lambda place, table=table: f"{place[1]}{table(place[2])}\n{place[3]}",
            text,
            flags=re.DOTALL,
        )
    return made


def main(arguments: list[str]) -> int:
    """Rewrite the pages, or check them."""
    stale = [path for path, text in pages().items() if path.read_text(encoding="utf-8") != text]
    if arguments == ["--check"]:
        for path in stale:
            sys.stderr.write(f"{path.name} is out of date: run python docs/tables.py\n")
        return 1 if stale else 0
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
