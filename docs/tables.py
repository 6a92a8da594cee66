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
sys.path[:0] = [str(DOCS.parent), str(DOCS)]

import declared_metrics  # noqa: E402 -- beside this file

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
        "Number": "int",
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
    for metric in declared_metrics.metrics():
        if metric.where == where:
            labels = ", ".join(f"`{label}`" for label in metric.labels)
            events = ", ".join(f"`{event}`" for event in declared_metrics.events_of(metric.name))
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
    wheres = {metric.where for metric in declared_metrics.metrics()}
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
