"""Following a book's events to take down its history: which seconds are over, and whether they are known."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from workers.model.books.checkpoint import Checkpoint
from workers.model.books.in_band import BookRule
from workers.model.books.order_book import price_key
from workers.model.books.sync import BookSync, Outcome, SequenceRule, SyncState
from workers.model.events import DepthEvent
from workers.model.history.block import BookAt, HistoryBlock, Unknown
from workers.model.history.builder import DEFAULT_LEVELS, BlockBuilder

LONGEST_SILENCE_S = 3_600
"""Seconds of which nothing is known are written down only if they are no more than this."""


class HistoryRecorder:
    """Closes the seconds of a builder as the events of one book come in.

    Call `before` with each event before the sync machine gets it, and `after` with what became of it. An event
    proves the seconds before it: only if it follows in the chain was nothing missed. Within a second an event
    costs a comparison and a dict update per change.
    """

    def __init__(self, sync: BookSync, builder: BlockBuilder) -> None:
        self.builder = builder
        self._sync = sync
        self._syncs = sync.sync_count
        self.events = 0
        """Taken down since the start."""
        self._spoiled = ""
        """Why the second under way is unknown, whatever comes."""

    @property
    def due_ms(self) -> int:
        """An event later than this ends a second."""
        return -1 if self.builder.next_second is None else self.builder.next_second * 1000

    def before(self, event: DepthEvent, ms: int) -> None:
        """An event with the time `ms` (of its stream entry) is about to change the book."""
        upcoming = self.builder.next_second
        if upcoming is not None and ms <= upcoming * 1000:
            return
        sync = self._sync
        if sync.sync_count != self._syncs:
            self._syncs = sync.sync_count
            self._spoiled = self._spoiled or sync.reason or SyncState.WAITING.value
            self.builder.break_off()
        problem = self._problem()
        if not problem and event.last_id <= sync.last_update_id:
            return  # a copy of an older one proves nothing
        if not problem and not sync.rule.follows(event, sync.last_update_id):
            problem = "gap"
        last = (ms - 1) // 1000
        if upcoming is None or (problem and self._skips(last)):
            self.builder.skip_to(last + 1)
            return
        for second in range(upcoming, last + 1):
            if reason := problem or self._spoiled:
                self.builder.unknown(second, reason)
                self._spoiled = ""
            else:
                self.builder.known(second, sync.book, sync.last_update_id)
        self._spoiled = problem

    def after(self, event: DepthEvent, outcome: Outcome) -> None:
        """The event went through the sync machine."""
        self.events += 1
        if outcome is Outcome.APPLIED:
            self.builder.touch(event.bids, event.asks)
            if self._sync.crossed_since_ms is not None:
                self._spoiled = "crossed"

    def applied(self, events: Sequence[DepthEvent]) -> None:
        """Several events up to `due_ms` were folded at once; all but the last have left the book uncrossed."""
        self.events += len(events)
        self.builder.touch(
            chain.from_iterable([event.bids for event in events]),
            chain.from_iterable([event.asks for event in events]),
        )
        if self._sync.crossed_since_ms is not None:
            self._spoiled = "crossed"

    def attach(self, sync: BookSync) -> None:
        """Go on with another book that stands at the same event."""
        self._spoiled = self._spoiled or self._problem()
        self.builder.break_off()
        self._sync, self._syncs = sync, sync.sync_count

    def miss(self, ms: int, reason: str) -> None:
        """Nothing is known of the time until `ms`."""
        last = (ms - 1) // 1000
        if self._skips(last):
            self.builder.skip_to(last + 1)
        for second in range(self.builder.next_second or 0, last + 1):
            self.builder.unknown(second, reason)
        self._spoiled = reason

    def _skips(self, last: int) -> bool:
        """Whether there is nothing, or too much, to be told of the seconds up to `last`."""
        upcoming = self.builder.next_second
        return upcoming is None or last - upcoming >= LONGEST_SILENCE_S

    def _problem(self) -> str:
        """Why the book does not tell of a second that ends now; `""` if it does."""
        sync = self._sync
        if sync.state is not SyncState.SYNCED:
            return sync.reason or sync.state.value
        if sync.unconfirmed:
            return "unconfirmed"
        if sync.single_source:
            return sync.reason or "unconfirmed"
        if sync.crossed_since_ms is not None:
            return "crossed"
        return "beyond range" if sync.book.edge_distance() <= 0 else ""


class HistoryFold:
    """A block carried on over the stream entries after it, by whoever does not own the book.

    It knows what the block's last second knew: the levels inside its known range. Give it every entry whose time
    is later than that second.
    """

    def __init__(
        self,
        block: HistoryBlock,
        rule: BookRule,
        *,
        levels: int = DEFAULT_LEVELS,
        length: int | None = None,
    ) -> None:
        """`length`: seconds of the blocks to come; None: as many as the block has."""
        self.builder = BlockBuilder(block.symbol, levels=levels, length=length or block.length)
        self.builder.resume(block)
        self._sync = rule.sync(block.symbol, max_levels=max(levels, 1) * 5)
        self._sync.restore(checkpoint_of(block.symbol, rule.sequence, block.book_at(block.last)))
        self.recorder = HistoryRecorder(self._sync, self.builder)

    @property
    def sound(self) -> bool:
        """Whether the book is still known; once it is not, only its owner can tell more."""
        return self._sync.state is SyncState.SYNCED

    def take(self, event: DepthEvent, ms: int) -> None:
        """The next entry's event, and the time of the entry."""
        self.recorder.before(event, ms)
        self.recorder.after(event, self._sync.on_event(event, ms))


def checkpoint_of(symbol: str, rule: SequenceRule, book: BookAt | Unknown) -> Checkpoint:
    """The book of a second as the state of one that is kept in step."""
    known = not isinstance(book, Unknown)
    bids, asks = ([], []) if isinstance(book, Unknown) else (book.bids, book.asks)
    return Checkpoint(
        symbol=symbol,
        rule=rule.value,
        stream_id="",
        synced=known,
        unconfirmed=False,
        last_update_id=-1 if isinstance(book, Unknown) else book.update_id,
        last_event_time=book.second * 1000,
        synced_at=0,
        lost_at=0,
        crossed_since_ms=None,
        sync_count=1,
        gap_count=0,
        reason=book.reason if isinstance(book, Unknown) else "",
        known=("inf", "0") if isinstance(book, Unknown) else (book.known_low, book.known_high),
        proven_best=(
            price_key(bids[0][0]) if bids else 0.0,
            price_key(asks[0][0]) if asks else 0.0,
        ),
        bids=bids,
        asks=asks,
    )
