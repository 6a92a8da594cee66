"""Comparing a book with an independent source: a REST snapshot brought forward, or the best-level ticker.

The sequence rules say that no event is missing; they do not say that the snapshot a book began with was true.
On 17 April 2021 Binance COIN-M served two snapshots whose best level was wrong while every id fitted. So a
book is compared, level by level and at the very same update id, with what the exchange says another time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from enum import Enum
from typing import NamedTuple

from workers.model.books.checkpoint import Checkpoint
from workers.model.books.order_book import (
    Difference,
    OrderBook,
    Side,
    price_key,
    quantity_value,
)
from workers.model.books.reference import Reference
from workers.model.books.sequence import SequenceRule
from workers.model.events import DepthEvent, Level, Snapshot

SAME_ID_MS = 30_000
"""Pause after which a snapshot of the same update id counts as another one: REST caches live under a second."""
TICKER_DISAGREEMENTS = 2
"""Comparisons in a row that make a wrong best level certain; recordings of good books have 0 in thousands."""
TICKER_STANDING_MS = 1_000
"""How long a single disagreement must stand, no other comparison having come, to be certain too."""


class AuditOutcome(Enum):
    """What an audit found."""

    MATCH = "match"
    MISMATCH = "mismatch"  # confirmed by two snapshots
    UNCONFIRMED = "unconfirmed"  # one snapshot contradicts the book; that snapshot may be the odd one
    UNKNOWN = "unknown"  # no comparison was possible


class Comparison(NamedTuple):
    """Two books side by side at one update id, inside the price range that both know."""

    update_id: int
    compared: int
    """Prices compared: those at which at least one of the two has a level."""
    differences: list[Difference]
    """`held_quantity` is the book's, `snapshot_quantity` the exchange's."""
    low: str
    """Bids were compared from this price upwards (`"0"`: to their end)."""
    high: str
    """Asks were compared up to this price (`"inf"`: to their end)."""


class Shown(NamedTuple):
    """What was published of a book: its best levels at an update id."""

    update_id: int
    bids: list[Level]
    asks: list[Level]


class Verdict(NamedTuple):
    """The outcome of an audit, and why."""

    outcome: AuditOutcome
    reason: str


def describe(difference: Difference) -> str:
    """One difference as text: `bid 61800.20 held 2.9 exchange 3.1`."""
    side, price, held, sent = difference
    return f"{side} {price} held {held} exchange {sent}"


def _bound(price: str) -> float:
    return math.inf if price == "inf" else 0.0 if price == "0" else price_key(price)


def compare(held: OrderBook, exchange: OrderBook, update_id: int) -> Comparison:
    """Compare two books that stand at the same update id. O(n log n)."""
    low = max(held.known_low, exchange.known_low, key=_bound)
    high = min(held.known_high, exchange.known_high, key=_bound)
    return Comparison(update_id, sum(held.count_compared(exchange)), held.differences(exchange), low, high)


def compare_shown(shown: Shown, exchange: OrderBook, known: tuple[str, str]) -> list[Difference]:
    """Where published levels differ from the exchange's at the same update id.

    Only between the worst published level of a side and the best one is a missing price an error, and only
    inside `known`, the range the publishing book knew; a side published empty says nothing. Raises BadNumber.
    """
    published = OrderBook()
    published.load(Snapshot("", shown.update_id, shown.bids, shown.asks))
    low, high = _bound(known[0]), _bound(known[1])
    return [
        found
        for found in published.differences(exchange)
        if (found.side == "bid" and shown.bids and price_key(found.price) >= low)
        or (found.side == "ask" and shown.asks and price_key(found.price) <= high)
    ]


def compare_checkpoint(
    checkpoint: Checkpoint,
    snapshot: Snapshot,
    events: Iterable[DepthEvent],
    shown: Shown | None,
    max_levels: int,
) -> Comparison | str:
    """Compare the book a checkpoint holds with a snapshot at or before it; or say why that is impossible.

    Args:
        events: the stream from the snapshot's id at the latest, to the checkpoint's or further.
        shown: compared too, where an event ends at its id; its differences are added.
        max_levels: bound of the levels of the books.

    Raises BadNumber when the snapshot, or what was shown, has something that is no number.
    """
    at = checkpoint.last_update_id
    if not checkpoint.synced:
        return "book not in sync"
    if checkpoint.unconfirmed:
        return "book ahead of its stream"  # it stands at its own snapshot's id: events up to there may be missing
    if snapshot.last_update_id > at:
        return "checkpoint behind"
    held = OrderBook(max_levels)
    held.restore(checkpoint.bids, checkpoint.asks, checkpoint.known, checkpoint.proven_best)
    reference = Reference(snapshot, SequenceRule(checkpoint.rule), max_levels)
    compared = compare(held, reference.book, at) if reference.update_id == at else None
    published: list[Difference] | None = None
    problem = ""
    for event in events:
        problem = reference.advance(event)
        stands = reference.update_id
        if problem or (compared is None and stands > at):
            break
        if compared is None and stands == at:
            compared = compare(held, reference.book, at)
        if shown is not None and published is None and stands == shown.update_id:
            published = compare_shown(shown, reference.book, checkpoint.known)
        if compared is not None and (shown is None or stands >= shown.update_id):
            break
    if compared is None:
        return problem or "no event ends at the checkpoint's id"
    if published:
        named = {(found.side, price_key(found.price)) for found in compared.differences}
        more = [found for found in published if (found.side, price_key(found.price)) not in named]
        compared = compared._replace(differences=compared.differences + more)
    return compared


def differs(checkpoint: Checkpoint, snapshot: Snapshot, max_levels: int) -> bool:
    """Whether a snapshot shows other levels than a book, wherever in the stream either stands. Raises BadNumber."""
    held = OrderBook(max_levels)
    held.restore(checkpoint.bids, checkpoint.asks, checkpoint.known, checkpoint.proven_best)
    reference = Reference(snapshot, SequenceRule(checkpoint.rule), max_levels)
    return bool(checkpoint.synced and compare(held, reference.book, snapshot.last_update_id).differences)


class _Suspicion(NamedTuple):
    snapshot_id: int
    noticed_ms: int
    synced_at: int
    levels: frozenset[tuple[Side, float]]


class Confirmation:
    """Decides when a book that snapshots contradict is wrong, rather than the snapshots.

    A mismatch is confirmed when one price differs in two audits of one unbroken sync, the second with a
    snapshot of a later update id (or of the same id, 30 s later: a quiet book's id does not grow). Until then it
    is unconfirmed. A wrong level stays wrong until an event sets it, so a level that agrees the second time
    was either the odd snapshot's fault or has been put right by the stream: neither calls for a resync.
    """

    def __init__(self) -> None:
        self._suspicion: _Suspicion | None = None

    @property
    def suspicious(self) -> bool:
        """Whether the last comparison contradicted the book."""
        return self._suspicion is not None

    def judge(self, found: Comparison, snapshot_id: int, synced_at: int, now_ms: int) -> Verdict:
        """The verdict on one comparison.

        Args:
            snapshot_id: update id of the snapshot it was made with.
            synced_at: since when the book has been in sync (ms), which tells one sync from the next.
        """
        if not found.compared:
            return Verdict(AuditOutcome.UNKNOWN, "no price known to both")
        if not found.differences:
            self._suspicion = None
            return Verdict(AuditOutcome.MATCH, "")
        before = self._suspicion
        levels = frozenset((one.side, price_key(one.price)) for one in found.differences)
        now = _Suspicion(snapshot_id, now_ms, synced_at, levels)
        if before is None or before.synced_at != synced_at:
            self._suspicion = now
            return Verdict(AuditOutcome.UNCONFIRMED, "first snapshot that differs")
        waited = now_ms - before.noticed_ms >= SAME_ID_MS
        if snapshot_id < before.snapshot_id or (snapshot_id == before.snapshot_id and not waited):
            return Verdict(AuditOutcome.UNCONFIRMED, "no later snapshot yet")
        if not levels & before.levels:
            self._suspicion = now
            return Verdict(AuditOutcome.UNCONFIRMED, "other levels than last time")
        self._suspicion = now  # should nobody act on it, the next audit says it again
        return Verdict(AuditOutcome.MISMATCH, "the same levels differ in two snapshots")


Best = tuple[Level | None, Level | None]
"""Best bid and best ask; None for an empty side."""


class BestLevelCheck:
    """Compares a book's best levels with the exchange's ticker wherever both are known at one update id.

    Conclusive are two disagreements in a row, with no agreement between them, or one that has stood for a second
    without another comparison. In recordings of Binance spot and futures (2021, 2024) all of some 2,000
    comparisons of good books agree; with a faulty snapshot 4 of 4 disagree until an event sets the level.

    Every call is O(1). Call `reset` when the book leaves sync.
    """

    def __init__(self, *, remembered: int = 1024) -> None:
        self._remembered = remembered
        self._tickers: dict[int, Best] = {}
        self._books: dict[int, Best] = {}
        self.compared = self.disagreed = 0
        self.update_id = -1
        """At which the last comparison was made."""
        self.reset()

    def reset(self) -> None:
        """Forget what was seen; the counters stay."""
        self._tickers.clear()
        self._books.clear()
        self._in_a_row = 0
        self._asked_ms: int | None = None
        self.differences: list[Difference] = []
        """The last comparison's, for the log."""

    def observe_ticker(self, u: int, bid: str, bid_quantity: str, ask: str, ask_quantity: str) -> None:
        """A `bookTicker` message arrived (`u`, `b`, `B`, `a`, `A`). Raises BadNumber."""
        best = (bid, bid_quantity), (ask, ask_quantity)
        if u in self._tickers:
            return  # the other line's copy
        for price, quantity in best:  # here, not when the book comes to it: the ticker is to blame
            if quantity_value(quantity):
                price_key(price)
        self._remember(self._tickers, u, best)
        if (held := self._books.get(u)) is not None:
            self._compare(u, held, best)

    def observe_book(self, u: int, best_bid: Level | None, best_ask: Level | None) -> None:
        """The book stands at `u` now, with these best levels, taken from an `OrderBook`."""
        best = best_bid, best_ask
        if u in self._books:
            return
        self._remember(self._books, u, best)
        if (sent := self._tickers.get(u)) is not None:
            self._compare(u, best, sent)

    def verdict(self, now_ms: int) -> str | None:
        """`"best level mismatch"` once that is certain, else None. Call it every second or so."""
        if not self._in_a_row:
            return None
        if self._asked_ms is None:
            self._asked_ms = now_ms
        stood = now_ms - self._asked_ms >= TICKER_STANDING_MS
        return "best level mismatch" if stood or self._in_a_row >= TICKER_DISAGREEMENTS else None

    def _remember(self, seen: dict[int, Best], u: int, best: Best) -> None:
        seen[u] = best
        if len(seen) > self._remembered:
            del seen[next(iter(seen))]

    def _compare(self, u: int, held: Best, sent: Best) -> None:
        self.update_id = u
        self.differences = [
            *_best_differences("bid", held[0], sent[0]),
            *_best_differences("ask", held[1], sent[1]),
        ]
        self.compared += 1
        if self.differences:
            self.disagreed += 1
            self._in_a_row += 1
        else:
            self._in_a_row, self._asked_ms = 0, None


def _best_differences(side: Side, held: Level | None, sent: Level | None) -> Sequence[Difference]:
    """How one side's best levels differ; a quantity of zero is an empty side."""
    if held == sent:
        return ()
    mine = held if held and quantity_value(held[1]) else None
    theirs = sent if sent and quantity_value(sent[1]) else None
    if mine and theirs and price_key(mine[0]) == price_key(theirs[0]):
        if Decimal(mine[1]) == Decimal(theirs[1]):
            return ()
        return (Difference(side, mine[0], mine[1], theirs[1]),)
    found = [Difference(side, mine[0], mine[1], "0")] if mine else []
    return [*found, Difference(side, theirs[0], "0", theirs[1])] if theirs else found
