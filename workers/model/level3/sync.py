"""When a level-3 book is right: seeds and messages in, a book or the reason why there is none out.

Queues cannot be patched: whatever breaks costs the whole book, and the next one knows nothing of the last one's. Time
is the exchange's, as the messages tell it, so that whoever folds a stream again comes to the same book.
"""

from __future__ import annotations

from collections import Counter, deque
from enum import Enum
from typing import Final

from workers.errors import BadNumber
from workers.model.books.level_numbers import price_key
from workers.model.events import Level
from workers.model.level3.book import DEFAULT_MAX_ORDERS, Level3Book
from workers.model.level3.events import OrderChange, OrderMessage, OrderSeed
from workers.model.level3.phantoms import Lasting, agrees, purge_beyond, purge_crossing
from workers.model.level3.rules import Beginning, Continuity, OrderRules, Unknown

MOST_BUFFERED: Final = 100_000
"""Messages kept while a seed is on its way: ten minutes of the busiest market that was recorded. With more of them all
are let go, and a seed has to be asked for anew."""

SEED_WAITS_US: Final = 10_000_000
"""A seed that is ahead of the stream for longer is asked for again: the exchange's numbers may have begun anew."""

ANEW_US: Final = 1_000_000
"""A message with a number that was is no repeat where it is so much later: the exchange's numbers began anew."""


class OrderOutcome(Enum):
    """What became of a message or a seed."""

    APPLIED = "applied"
    BUFFERED = "buffered"  # there is no book yet; it is kept for when there is a seed
    IGNORED = "ignored"  # there is no book yet, and it is of no use for one
    REPEATED = "repeated"  # it is in the book already
    LOST = "lost"  # the book is gone; `OrderSync.reason` says why
    TOO_OLD = "too old"  # of a seed: messages between it and the first buffered one are missing
    TOO_NEW = "too new"  # of a seed: the stream has not come as far; it is kept until it has


class _Loss(Exception):
    """The book cannot be gone on with."""


class OrderSync:
    """The book of one symbol and whether it is right.

    `counts` has, since the start: `syncs`, `lost`, `repeated`, `unknown` (changes of orders that nobody knew),
    `replaced` (seeded orders whose creation came after the seed), `purged_crossing`, `purged_level2`, `checksums`,
    `level2_compared`, `level2_differed`.
    """

    def __init__(self, symbol: str, rules: OrderRules, max_orders: int = DEFAULT_MAX_ORDERS) -> None:
        self.symbol = symbol
        self.rules = rules
        self.book = Level3Book(max_orders, window=rules.window)
        self.synced = False
        self.reason = "not begun"
        """Empty where it is right; what is behind a colon is of this one case."""
        self.counts: Counter[str] = Counter()
        self.last_id = ""
        self.last_position = 0
        self.synced_us = self.last_us = 0
        self.highest_rank = -1
        """Of a window: of all orders that were in view, so that one that comes back is known as old."""
        self._buffer: deque[OrderMessage] = deque()
        self._seed: OrderSeed | None = None
        self._seeded_us = 0
        """Where the stream stood when that seed came."""
        self.crossing = Lasting()
        """Since when, and for how many messages, the book is crossed: for a moment it is where a taker's order is
        published as resting before its match."""
        self._differing = Lasting()

    @property
    def needs_seed(self) -> bool:
        """A seed of REST has to be asked for, and something has come that it can be joined to."""
        return (
            self.rules.beginning is Beginning.REST
            and not self.synced
            and bool(self._buffer)
            and (self._seed is None or self._buffer[-1].time_us - self._seeded_us > SEED_WAITS_US)
        )

    @property
    def trusted(self) -> bool:
        """The book is in sync and, at this moment, not crossed."""
        return self.synced and not self.book.crossed

    def lose(self, reason: str) -> OrderOutcome:
        """Take the whole book out of sync: by us, or because its stream has a hole. What was buffered goes too."""
        if self.synced:
            self.counts["lost"] += 1
        self.synced, self.reason = False, reason
        self.book.clear()
        self._buffer.clear()
        self._seed = None
        self.last_id, self.last_position = "", 0
        self.crossing, self._differing = Lasting(), Lasting()
        return OrderOutcome.LOST

    def on_message(self, message: OrderMessage) -> OrderOutcome:
        """Fold one message in. O(changes · log n)."""
        try:
            if message.whole:
                return self._begin(message)
            if not self.synced:
                return self._before_sync(message)
            return self._fold(message)
        except _Loss as loss:
            return self.lose(str(loss))
        except BadNumber as error:
            return self.lose(f"bad number: {error}")

    def on_seed(self, seed: OrderSeed) -> OrderOutcome:
        """Begin the book with what REST gave, and with the buffered messages after it. O(n log n)."""
        if self.synced or self.rules.beginning is not Beginning.REST or not self._buffer:
            return OrderOutcome.IGNORED
        if seed.position < self._first_seed_position():
            self._seed = None
            return OrderOutcome.TOO_OLD
        if seed.position > self._buffer[-1].position:
            self._seed, self._seeded_us = seed, self._buffer[-1].time_us
            return OrderOutcome.TOO_NEW
        try:
            return self._join(seed)
        except _Loss as loss:
            return self.lose(str(loss))
        except BadNumber as error:
            return self.lose(f"bad number: {error}")

    def on_level2_top(
        self, best_bid: Level | None, best_ask: Level | None, now_us: int, *, same: bool | None = None
    ) -> bool:
        """Compare the best levels with the venue's level 2 of about the same time. False: they differ.

        The two feeds are some 100 ms apart, so a difference says something only once it lasts. Then seeded orders
        in front of the level-2 top are purged; where there are none the book is lost.

        Args:
            same: what a caller has found who remembers earlier tops; None: the book as it is now is compared.
        """
        if not self.synced:
            return False
        if same is None:
            same = agrees(self.book, best_bid, best_ask)
        self.counts["level2_compared"] += 1
        self.counts["level2_differed"] += not same
        if self._differing.after(now_us, holds=not same):
            purged = purge_beyond(self.book, best_bid, best_ask) if self.rules.phantoms else 0
            self.counts["purged_level2"] += purged
            if not purged:
                self.lose("level 2 has another top")
            self._differing = Lasting()
            return self.synced and agrees(self.book, best_bid, best_ask)
        return same

    def _first_seed_position(self) -> int:
        """The oldest seed that the buffered messages can follow."""
        first = self._buffer[0].position
        return first - 1 if self.rules.continuity is Continuity.SEQUENCE else first

    def _before_sync(self, message: OrderMessage) -> OrderOutcome:
        if self.rules.beginning is Beginning.IN_BAND:
            return OrderOutcome.IGNORED
        if self.rules.beginning is Beginning.EMPTY:
            self._start(whole=False, now_us=message.time_us)
            self._take(message)
            return OrderOutcome.APPLIED
        if self._buffer:
            last = self._buffer[-1]
            if self._is_repeated(message, last.message_id, last.position, last.time_us):
                self.counts["repeated"] += 1
                return OrderOutcome.REPEATED
            if not self._follows(message, last.message_id, last.position):
                self.lose("a message is missing before the seed")
        if len(self._buffer) >= MOST_BUFFERED:
            self.lose("no seed came in time")
        self._buffer.append(message)
        if self._seed is not None and message.position >= self._seed.position:
            return self.on_seed(self._seed)
        return OrderOutcome.BUFFERED

    def _begin(self, message: OrderMessage) -> OrderOutcome:
        """A snapshot in band replaces everything, whenever it comes."""
        self._start(whole=True, now_us=message.time_us)
        self._take(message)
        return OrderOutcome.APPLIED

    def _join(self, seed: OrderSeed) -> OrderOutcome:
        buffered = list(self._buffer)
        self._start(whole=True, now_us=buffered[-1].time_us)
        for change in seed.orders:
            self._add(change, seen=False)
        if self.book.full:
            raise _Loss("more orders than the bound allows")
        for message in buffered:
            if message.position <= seed.position:
                self._stands_at(message)
            elif self.last_position and not self._follows(message, self.last_id, self.last_position):
                raise _Loss("a message is missing after the seed")
            else:
                self._take(message)
        return OrderOutcome.APPLIED

    def _start(self, *, whole: bool, now_us: int) -> None:
        self.book.clear(whole=whole)
        self._buffer.clear()
        self._seed = None
        self.crossing, self._differing = Lasting(), Lasting()
        self.synced, self.reason, self.synced_us = True, "", now_us
        self.counts["syncs"] += 1

    def _fold(self, message: OrderMessage) -> OrderOutcome:
        if self._is_repeated(message, self.last_id, self.last_position, self.last_us):
            self.counts["repeated"] += 1
            return OrderOutcome.REPEATED
        if not self._follows(message, self.last_id, self.last_position):
            raise _Loss("a message is missing")
        self._take(message)
        return OrderOutcome.APPLIED

    def _is_repeated(self, message: OrderMessage, last_id: str, last_position: int, last_us: int) -> bool:
        if self.rules.continuity is Continuity.CHAIN:
            return message.message_id <= last_id
        if self.rules.continuity is not Continuity.SEQUENCE or message.position > last_position:
            return False
        return message.time_us < last_us + ANEW_US

    def _follows(self, message: OrderMessage, last_id: str, last_position: int) -> bool:
        if self.rules.continuity is Continuity.CHAIN:
            return message.previous_id == last_id
        return self.rules.continuity is Continuity.ELSEWHERE or message.position == last_position + 1

    def _take(self, message: OrderMessage) -> None:
        """Apply a message that follows, and see what the book is then."""
        for change in message.changes:
            self._apply(change, seen=not message.whole)
        if self.rules.levels:
            self.book.keep_levels(self.rules.levels)
        self._stands_at(message)
        if self.book.full:
            raise _Loss("more orders than the bound allows")
        if message.checksum is not None and self.rules.checksum is not None:
            self.counts["checksums"] += 1
            if self.rules.checksum(self.book) != message.checksum:
                raise _Loss("checksum")
        if self.crossing.after(message.time_us, holds=self.book.crossed):
            if self.rules.phantoms:
                self.counts["purged_crossing"] += purge_crossing(self.book)
            if self.book.crossed:
                raise _Loss("crossed")
            self.crossing = Lasting()

    def _stands_at(self, message: OrderMessage) -> None:
        self.last_id, self.last_position, self.last_us = message.message_id, message.position, message.time_us

    def _apply(self, change: OrderChange, *, seen: bool) -> None:
        kind = change.kind
        if kind == "add":
            self._add(change, seen=seen)
        elif kind == "remove":
            if self.book.remove(change.order_id) is None:
                self._miss(change)
        elif kind == "fill":
            try:
                if self.book.reduce(change.order_id, change.quantity) is None:
                    raise _Loss("a fill of an order that is not known")
            except ValueError as error:
                raise _Loss(f"bad order: {error}") from None
        else:
            self._set(change, seen=seen)

    def _set(self, change: OrderChange, *, seen: bool) -> None:
        order = self.book.order(change.order_id)
        if order is None:
            if change.kind == "put":
                self._add(change, seen=seen)
            else:
                self._miss(change)
            return
        moved = self.rules.moves and change.price and not _same_price(order.queue.price, change.price)
        if change.side != order.queue.side and (moved or change.kind == "put"):
            raise _Loss("an order is on the other side")
        if not seen:
            raise _Loss("an order is created twice")
        quantity = change.quantity or order.quantity
        if moved:
            # where an order is told as it stands, nobody told that it kept its place
            rank = change.rank if change.kind == "set" else None
            self.book.move(change.order_id, change.price, quantity, rank=rank)
        else:
            self.book.set_quantity(change.order_id, quantity, keeps_place=self.rules.keeps_place)

    def _add(self, change: OrderChange, *, seen: bool) -> None:
        if change.rank is not None and self.rules.window:
            seen = seen and change.rank > self.highest_rank
            self.highest_rank = max(self.highest_rank, change.rank)
        held = self.book.order(change.order_id)
        if held is not None:
            if held.seen or not seen:
                raise _Loss("an order is created twice")
            self.counts["replaced"] += 1
            self.book.remove(change.order_id)
        try:
            self.book.add(
                change.order_id,
                change.side,
                change.price,
                change.quantity,
                rank=change.rank,
                placed_us=change.time_us if seen or not self.rules.window else -1,
                seen=seen,
            )
        except ValueError as error:
            raise _Loss(f"bad order: {error}") from None

    def _miss(self, change: OrderChange) -> None:
        """A change names an order that is not known."""
        unknown = self.rules.unknown
        if unknown is Unknown.LOSS:
            raise _Loss("a change of an order that is not known")
        if unknown is Unknown.DOUBT:
            self.counts["unknown"] += 1
            if change.price:
                self.book.doubt(change.side, change.price)


def _same_price(held: str, sent: str) -> bool:
    return held == sent or price_key(held) == price_key(sent)
