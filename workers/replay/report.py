"""What a replay left in Redis, as one object and as tables; what was lost or disagrees, in sentences.

Books, trades and bars are read from Redis, never taken from the feeder. Names of symbols and streams begin with
the market's key prefix (`spot:BTCUSDT`) except in the market of the first file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from workers.books.book import OwnedBook
from workers.errors import StateUnreadable
from workers.ingest.appender import Appender
from workers.model.books.checkpoint import Checkpoint
from workers.model.books.in_band import InBandSync
from workers.model.books.sync import BookSync, SyncState
from workers.model.books.top_of_book import TOP_LEVELS
from workers.model.events import Level
from workers.model.trades.windows import INTERVALS_MS
from workers.orders.book import OwnedOrders
from workers.replay.feed import Feeder
from workers.replay.orders import add_orders
from workers.replay.plan import ReplayPlan
from workers.replay.quotes import QuoteCheck
from workers.replay.tape import Tape, bars_of, tape_of
from workers.store.keys import DEPTH, TRADES
from workers.trades.tape import OddTrades
from workers.verification.stored import Book, FleetReader

GAPS_TOLD: Final = 3
ODD: Final = {
    "absurd": "trade(s) with a price or quantity that is none: the ids count, the volume does not",
    "fills_repeated": "trade(s) with fills of an earlier one, counted as the exchange sent them",
    "fills_impossible": "trade(s) whose fill ids are those of no fills, counted",
    "fills_unnamed": "fill(s) between two trades with consecutive ids, in neither of them",
}
"""What a note says of each kind."""


class BookOutcome(NamedTuple):
    """How one book fared, counted since its keys began."""

    state: str
    reason: str
    gaps: int
    left_sync: int
    top: tuple[list[Level], list[Level]] | None = None
    """What may be shown of it; None for nothing."""
    beyond_range: bool = False
    """The market has left the range of prices that the last snapshot proved."""
    checksums: tuple[int, int] | None = None
    """Of the exchange's checksums, those that the book bore out, and all; None where it sends none."""

    @classmethod
    def of(cls, owned: OwnedBook) -> BookOutcome:
        """Read it from the book's owner."""
        sync = owned.sync
        synced = sync.state is SyncState.SYNCED
        return cls(
            sync.state.value,
            sync.reason,
            sync.gap_count,
            sync.sync_count - synced - (sync.replaced if isinstance(sync, InBandSync) else 0),
            sync.book.known_top(TOP_LEVELS) if owned.showable else None,
            synced and owned.beyond_range,
            checksums_of(sync),
        )

    @property
    def problem(self) -> str:
        """Why the book is not in sync; empty when it is."""
        if self.state == SyncState.SYNCED.value:
            return ""
        reason = self.reason or "no recorded snapshot fits its events"
        if self.state == SyncState.CONFIRMING.value:
            reason = "the snapshot is newer than every recorded event"
        return f"the book {'was lost' if self.left_sync else 'never came into sync'} ({reason})"


def checksums_of(sync: BookSync) -> tuple[int, int] | None:
    """How many checksums a book bore out, and of how many."""
    if not isinstance(sync, InBandSync) or sync.stream_rule.checksum is None:
        return None
    return sync.checksums_ok, sync.checksums_of


@dataclass(frozen=True)
class Replayed:
    """What only the replay itself knows."""

    feeder: Feeder
    quotes: Mapping[str, Mapping[str, QuoteCheck]]
    """By market and symbol."""
    outcomes: Mapping[str, BookOutcome]
    """By name in the report."""
    odd: Mapping[str, OddTrades]
    """Trades that were applied, by name in the report."""
    orders: Mapping[str, OwnedOrders]
    """Single orders, by name in the report."""
    crossed: int
    """Events after which a book in sync was crossed."""
    snapshots_served: int
    seconds: float


async def report(
    client: Any,
    reader: FleetReader,
    plan: ReplayPlan,
    replayed: Replayed,
    appender: Appender,
    unsettled: Sequence[str],
) -> dict[str, Any]:
    """The object `--json` prints."""
    feeder, problems = replayed.feeder, list(unsettled)
    found: dict[str, Any] = {
        "messages": {
            f"{plan.prefix(market)}{stream.name}": count
            for market, counts in feeder.messages.items()
            for stream, count in counts.items()
        }
    }
    found |= {
        "gaps": 0,
        "resyncs": 0,
        "crossed": replayed.crossed,
        "books": {},
        "states": {},
        "checksums": {},
    }
    found["sequence_gaps"] = sum(feeder.sequence_gaps.values())
    problems += [
        f"{market}: {count} hole(s) in the numbers of a connection's frames."
        for market, count in feeder.sequence_gaps.items()
        if count
    ]
    found["venues"] = {
        context.name: {"exchange": context.settings.exchange, "market": context.settings.market}
        for context in reader.contexts
    }
    found["notes"] = list(plan.notes)
    found |= {"bookticker": _quotes(plan, replayed, problems), "trades": {}, "bars": {}}
    found["orders"] = {}
    await add_orders(client, reader, replayed.orders, found, problems)
    found |= {"not_market": {}, "contradictory": {}, **{name: {} for name in OddTrades._fields}}
    for book in reader.books:
        await _add_symbol(client, reader, book, plan, replayed, found, problems)
    if replayed.crossed:
        problems.append(f"After {replayed.crossed} events a book in sync was crossed.")
    if appender.dropped:
        problems.append(f"{appender.dropped} entries were dropped before they reached Redis.")
    problems += [str(error) for error in feeder.errors]
    if feeder.malformed > len(feeder.errors):
        problems.append(f"{feeder.malformed - len(feeder.errors)} more lines cannot be used.")
    seconds = max(replayed.seconds, 1e-6)
    return found | {
        "seconds": round(seconds, 3),
        "messages_per_second": round(feeder.count / seconds, 1),
        "snapshots": {"recorded": feeder.snapshots, "fetched": replayed.snapshots_served},
        "repeats": appender.repeats + feeder.repeats,
        "malformed": feeder.malformed,
        "problems": problems,
    }


async def _add_symbol(
    client: Any,
    reader: FleetReader,
    book: Book,
    plan: ReplayPlan,
    replayed: Replayed,
    found: dict[str, Any],
    problems: list[str],
) -> None:
    market = book.context.name
    streams = [stream for stream in replayed.feeder.messages[market] if stream.symbol == book.symbol]
    if any(stream.is_depth for stream in streams):
        outcome = replayed.outcomes.get(book.name, BookOutcome("unowned", "its lease was lost", 0, 0))
        await _add_book(client, reader, book, outcome, found, problems)
    if any(plan.is_of_trades(market, stream) for stream in streams):
        await _add_trades(client, reader, book, found, problems)
        _add_odd(book.name, replayed.odd.get(book.name, OddTrades()), found)
        if contradictory := replayed.feeder.contradictory(market, book.symbol):
            found["contradictory"][book.name] = contradictory
            problems.append(
                f"{book.name}: {contradictory} trade(s) came with the id of another one, which counts"
                f"{await _contradictions_told(client, book)}."
            )


def _quotes(plan: ReplayPlan, replayed: Replayed, problems: list[str]) -> dict[str, dict[str, int]]:
    found = {}
    for market, counts in replayed.feeder.messages.items():
        quoted = {stream.symbol for stream in counts if stream.is_ticker}
        for symbol, check in replayed.quotes[market].items():
            if symbol not in quoted:
                continue
            name = f"{plan.prefix(market)}{symbol}"
            found[name] = {"exact": check.exact, "of": check.of}
            if sentence := check.sentence(name):
                problems.append(sentence)
    return found


async def _add_book(
    client: Any,
    reader: FleetReader,
    book: Book,
    outcome: BookOutcome,
    found: dict[str, Any],
    problems: list[str],
) -> None:
    name = book.name
    found["gaps"] += outcome.gaps
    found["resyncs"] += outcome.left_sync
    found["states"][name] = outcome.state
    if outcome.checksums is not None:
        ok, of = outcome.checksums
        found["checksums"][name] = {"ok": ok, "of": of}
        if ok != of:
            problems.append(f"{name}: {of - ok} of {of} checksums are not those of the book.")
    if outcome.gaps:
        problems.append(f"{name}: {outcome.gaps} gap(s) in the depth events{await _gaps_told(client, book)}.")
    if outcome.left_sync:
        problems.append(f"{name}: the book left sync {outcome.left_sync} time(s).")
    stored = None
    try:
        stored = await reader.checkpoint(book)
    except StateUnreadable as error:
        problems.append(str(error))
    if outcome.beyond_range:
        found["notes"].append(
            f"{name}: the market left the range its snapshot proves, so LIVE_ORDERBOOK withholds the book."
        )
    if outcome.problem or stored is None or not stored.synced:
        problems.append(f"{name}: {outcome.problem or 'no checkpoint of the book was stored'}.")
        found["books"][name] = {"u": -1, "bids": [], "asks": [], "levels": [0, 0]}
        return
    found["books"][name] = {
        "u": stored.last_update_id,
        "bids": [list(level) for level in stored.bids[:TOP_LEVELS]],
        "asks": [list(level) for level in stored.asks[:TOP_LEVELS]],
        "levels": [len(stored.bids), len(stored.asks)],
    }
    problems += await _disagreements(client, reader, book, outcome, stored)


async def _gaps_told(client: Any, book: Book) -> str:
    entries = await client.xrange(book.context.keys.gaps(book.symbol))
    holes = [fields for _, fields in entries if fields[b"channel"] == DEPTH.encode()]
    told = [f"between u {hole[b'from'].decode()} and {hole[b'to'].decode()}" for hole in holes[:GAPS_TOLD]]
    if len(holes) > GAPS_TOLD:
        told.append("…")
    return f": {', '.join(told)}" if told else ""


async def _disagreements(
    client: Any, reader: FleetReader, book: Book, outcome: BookOutcome, stored: Checkpoint
) -> list[str]:
    """Where the stream, the group, the checkpoint and what is shown do not say the same."""
    key = book.context.keys.raw(book.symbol, DEPTH)
    last = (await client.xinfo_stream(key))["last-generated-id"].decode()
    found = []
    if stored.stream_id != last:
        found.append(f"{book.name}: the book is a fold up to {stored.stream_id}, the stream ends at {last}.")
    group = await reader.group(book, DEPTH, "books")
    if group.pending:
        found.append(f"{book.name}: {group.pending} depth events are not acknowledged.")
    shown = (await reader.shown(book.context)).get(book.symbol)
    wanted = outcome.top and [stored.last_update_id, *(list(map(list, side)) for side in outcome.top)]
    if (shown and [shown["u"], shown["b"], shown["a"]]) != wanted:
        found.append(f"{book.name}: LIVE_ORDERBOOK does not show the book at u {stored.last_update_id}.")
    return found


async def _add_trades(
    client: Any, reader: FleetReader, book: Book, found: dict[str, Any], problems: list[str]
) -> None:
    tape: Tape = await tape_of(client, book)
    found["trades"][book.name] = {
        "count": tape.number,
        "first_id": tape.first_id,
        "last_id": tape.last_id,
        "missing": tape.missing,
        "doubled": tape.doubled,
    }
    if tape.not_market:
        found["not_market"][book.name] = tape.not_market
    found["bars"][book.name] = await bars_of(client, book)
    problems += tape.problems(book.name)
    group = await reader.group(book, TRADES, "trades")
    if not group.caught_up:
        problems.append(
            f"{book.name}: {group.waiting} trades were not read, {group.pending} not acknowledged."
        )


def _add_odd(name: str, odd: OddTrades, found: dict[str, Any]) -> None:
    for kind, count in odd._asdict().items():
        if count:
            found[kind][name] = count
            found["notes"].append(f"{name}: {count} {ODD[kind]}.")


async def _contradictions_told(client: Any, book: Book) -> str:
    """The trades that were refused, from the gaps stream."""
    told = []
    for _, fields in await client.xrange(book.context.keys.gaps(book.symbol)):
        kind, _, what = fields[b"reason"].decode().partition(": ")
        if kind == "contradictory":
            told.append(f"{fields[b'from'].decode()}: {what}")
    told[GAPS_TOLD:] = ["…"] if len(told) > GAPS_TOLD else []
    return f" ({'; '.join(told)})" if told else ""


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def tables(found: Mapping[str, Any]) -> RenderableType:
    """The report for people."""
    parts: list[RenderableType] = [_totals(found), _books_table(found)]
    if found["trades"]:
        parts += [_trades_table(found), _bars_table(found)]
    if found["orders"]:
        parts.append(_orders_table(found))
    parts += [escape(f"note: {note}") for note in found["notes"]]
    parts += [f"[red]{escape(f'problem: {sentence}')}[/red]" for sentence in found["problems"]]
    return Group(*parts)


def _table(title: str, *names: str) -> Table:
    table = Table(title=title)
    for name in names:
        table.add_column(name, justify="right" if name else "left", overflow="fold")
    return table


def _books_table(found: Mapping[str, Any]) -> Table:
    table = _table(
        "Books", "", "state", "u", "best bid", "best ask", "levels", "bookTicker exact", "checksums"
    )
    for name, book in found["books"].items():
        best = [f"{side[0][1]} at {side[0][0]}" if side else "" for side in (book["bids"], book["asks"])]
        levels = " / ".join(map(_number, book["levels"]))
        check = found["bookticker"].get(name)
        exact = f"{check['exact']:,} of {check['of']:,}" if check else ""
        sums = found["checksums"].get(name)
        agreed = f"{sums['ok']:,} of {sums['of']:,}" if sums else ""
        table.add_row(escape(name), found["states"][name], str(book["u"]), *best, levels, exact, agreed)
    return table


def _orders_table(found: Mapping[str, Any]) -> Table:
    table = _table("Single orders", "", "state", "orders", "best bid", "best ask", "left sync", "unknown")
    for name, book in found["orders"].items():
        best = [
            f"{side[0][1]} at {side[0][0]}, of {side[0][2]}" if side else ""
            for side in (book["bids"], book["asks"])
        ]
        numbers = (_number(book["lost"]), _number(book["unknown"]))
        table.add_row(escape(name), book["state"], _number(book["orders"]), *best, *numbers)
    return table


def _trades_table(found: Mapping[str, Any]) -> Table:
    kinds = ("not_market", "absurd", "contradictory", "fills_repeated")
    heads = (kind.replace("_", " ") for kind in kinds)
    table = _table("Trades", "", "count", "first id", "last id", "missing", "doubled", *heads)
    for name, tape in found["trades"].items():
        ids = (str(tape["first_id"]), str(tape["last_id"]))
        lost = (_number(tape["missing"]), _number(tape["doubled"]))
        odd = (_number(found[kind].get(name, 0)) for kind in kinds)
        table.add_row(escape(name), _number(tape["count"]), *ids, *lost, *odd)
    return table


def _bars_table(found: Mapping[str, Any]) -> Table:
    table = _table("Bars with trades", "", *INTERVALS_MS)
    for name, counts in found["bars"].items():
        table.add_row(escape(name), *(_number(counts[interval]) for interval in INTERVALS_MS))
    return table


def _totals(found: Mapping[str, Any]) -> Table:
    table = Table(title="Replay", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for stream, count in sorted(found["messages"].items()):
        table.add_row(escape(stream), _number(count))
    for name in ("gaps", "resyncs", "crossed", "repeats", "malformed", "seconds", "messages_per_second"):
        table.add_row(name.replace("_", " "), _number(found[name]))
    return table
