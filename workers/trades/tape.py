"""One owned symbol's trades: what was read and is not applied yet, and whether a hole is being filled."""

from __future__ import annotations

import time
from collections.abc import Sequence

import structlog
from prometheus_client import Counter

from workers.errors import BadNumber, MalformedFrame
from workers.model.events import Trade
from workers.model.exchange_clock import ExchangeClock
from workers.ownership import Claim
from workers.store.keys import TRADES
from workers.store.streams import Delivered
from workers.store.trade_batch import cut
from workers.trades.figures import SymbolFigures

log = structlog.get_logger()

TOLD_AT_MOST = 10
"""Unusable entries of one stream that the log names one by one."""

UNUSABLE = Counter("fleet_trades_unusable_total", "Stream entries that are no usable trade", ["venue"])
ABSURD = Counter(
    "fleet_trades_absurd_total", "Trades with a price or quantity that no market makes", ["venue"]
)
TRIMMED = Counter("fleet_trades_trimmed_total", "Entries trimmed before they were applied", ["venue"])


def monotonic_ms() -> int:
    """ms of the clock that nobody sets."""
    return time.monotonic_ns() // 1_000_000


class OwnedTape:
    """The trades of one symbol that this worker owns.

    Args:
        token: the fencing number of its lease.
        clock: the venue's clock, fed with every trade.
    """

    def __init__(self, claim: Claim, token: int, clock: ExchangeClock) -> None:
        self.claim = claim
        self.token = str(token)
        self.waiting: list[tuple[bytes, Trade]] = []
        """Read and not applied, in the order read."""
        self.useless: list[bytes] = []
        """Entries to acknowledge because nothing can be made of them."""
        self.last_stream_id = b"0-0"
        self.repairing = False
        self.read_all = False
        """Whether the last round of reading found the end of the stream."""
        self.unusable = 0
        """Entries passed over so far."""
        self.absurd = False
        """Whether the newest trade was absurd: the log says it once a run."""
        self.reread = False
        """Whether entries may have been given to an owner that never saw them: they are pending now."""
        self.restored = False
        """Whether it is known how far the fold has come."""
        self.hole_reason = ""
        """Why a hole stays open although it was asked for; empty: none does."""
        self.told_trouble: str | None = None
        """What `trades:{S}:status` says; None: not known."""
        self.next_end_ms = 0
        """When the shortest open window ends, exchange ms; 0: none is open."""
        self.lost_after: int | None = None
        """The last id applied before Redis lost its data; None: it did not."""
        self.capped_told_s = float("-inf")
        """When the log last said that the cap of the latest set bites (monotonic)."""
        self.figures = SymbolFigures(claim)
        self._clock = clock

    @property
    def key(self) -> str:
        """Its raw stream."""
        return self.claim.context.keys.raw(self.claim.symbol, TRADES)

    @property
    def caught_up(self) -> bool:
        """Whether all that the stream held when it was last read has been applied."""
        return self.read_all and not self.waiting and not self.repairing

    def exchange_ms(self) -> int | None:
        """The exchange's time now; None while it is not known."""
        return self._clock.now(monotonic_ms())

    def take(self, entries: Sequence[Delivered]) -> None:
        """Decode entries and put them in the queue; a useless one leaves a hole that its neighbours' ids show."""
        context, seen_ms = self.claim.context, monotonic_ms()
        for entry in entries:
            self.last_stream_id = entry.stream_id
            if not entry.data:
                TRIMMED.labels(context.name).inc()
                self.useless.append(entry.stream_id)
                continue
            try:
                trade = context.venue.trade(entry.data)
            except MalformedFrame as error:
                self._discard(entry.stream_id, str(error))
                continue
            except Exception as error:  # nobody foresaw it: this entry alone is passed over
                self._discard(entry.stream_id, repr(error))
                continue
            self._clock.observe(trade.event_time, seen_ms)
            self.tell_absurd(trade)
            self.waiting.append((entry.stream_id, trade))

    def put_back(self, entries: Sequence[Delivered]) -> int:
        """Take in entries that come before those waiting, unless they wait already; how many trades. O(n log n)."""
        last, before = self.last_stream_id, len(self.waiting)
        waiting = {stream_id for stream_id, _ in self.waiting}
        self.take([entry for entry in entries if entry.stream_id not in waiting])
        self.last_stream_id = last
        self.waiting.sort(key=lambda item: item[1].trade_id)
        return len(self.waiting) - before

    def tell_absurd(self, trade: Trade) -> None:
        """Count a trade that is absurd, and log the first of a run of such."""
        if trade.is_absurd:
            ABSURD.labels(self.claim.context.name).inc()
            if not self.absurd:
                log.warning("trade_absurd", key=self.key, trade_id=trade.trade_id)
        self.absurd = trade.is_absurd

    def _discard(self, stream_id: bytes, problem: str) -> None:
        UNUSABLE.labels(self.claim.context.name).inc()
        self.unusable += 1
        if self.unusable <= TOLD_AT_MOST or self.unusable % 1000 == 0:  # not a log line an entry
            log.warning(
                "trade_unusable", key=self.key, entry=stream_id.decode(), entries=self.unusable, error=problem
            )
        self.useless.append(stream_id)

    def discard_bad_numbers(self) -> None:
        """Take the trades whose price or quantity the fold cannot hold out of the queue."""
        kept = []
        for stream_id, trade in self.waiting:
            try:
                cut([(stream_id, trade)], "aggTrade")
            except BadNumber as error:
                self._discard(stream_id, str(error))
            else:
                kept.append((stream_id, trade))
        self.waiting = kept

    def applied_to(self, last_id: int, last_trade_time: int) -> None:
        """The fold stands at `last_id`: what is not newer has been acknowledged with it."""
        self.waiting = [(stream_id, trade) for stream_id, trade in self.waiting if trade.trade_id > last_id]
        if last_trade_time:
            self.next_end_ms = last_trade_time - last_trade_time % 100 + 100
