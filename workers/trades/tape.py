"""One owned symbol's trades: what was read and is not applied yet, and whether a hole is being filled."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import structlog
from prometheus_client import Counter

from workers.errors import BadNumber, MalformedFrame
from workers.model.events import Trade
from workers.model.trades.exchange_clock import ExchangeClock
from workers.model.trades.fills import Fills, Range
from workers.model.trades.numbering import LowerRun, lower_run
from workers.runtime.ownership import Claim
from workers.store.keys import TRADES
from workers.store.log.streams import NO_HOLE, Delivered, GapRecord, parts
from workers.store.trades.batch import cut, entry_ms
from workers.trades.figures import SymbolFigures
from workers.venues.entries import is_break, number_of, trade_of

log = structlog.get_logger()

MOST_WAITING = 10_000
"""Trades of one symbol held in memory while they cannot be applied; the stream holds the rest."""
SENT_WITHIN_MS = 1_000
"""How much later than the trade its message tells the time: what it says beyond that, ingest has not judged."""
CAPPED_TOLD_EVERY_S = 60.0
TOLD_AT_MOST = 10
"""Anomalies of one kind and stream that the log names one by one."""

UNUSABLE = Counter("fleet_trades_unusable_total", "Stream entries that are no usable trade", ["venue"])
ABSURD = Counter(
    "fleet_trades_absurd_total", "Trades with a price or quantity that no market makes", ["venue"]
)
FILLS_REPEATED = Counter(
    "fleet_trades_fills_repeated_total", "Trades with fills that an earlier trade had", ["venue"]
)
FILLS_IMPOSSIBLE = Counter(
    "fleet_trades_fills_impossible_total", "Trades whose fill ids are those of no fills", ["venue"]
)
FILLS_UNNAMED = Counter(
    "fleet_trades_fills_unnamed_total", "Fills between two trades that neither of them has", ["venue"]
)
CAPPED = Counter(
    "fleet_trades_capped_total",
    "Trades taken out of the latest set before their time because it held too many",
    ["venue"],
)
TRIMMED = Counter("fleet_trades_trimmed_total", "Entries trimmed before they were applied", ["venue"])


def monotonic_ms() -> int:
    """ms of the clock that nobody sets."""
    return time.monotonic_ns() // 1_000_000


class OddTrades(NamedTuple):
    """Trades applied that are not as they should be; all but the last are trades, of which each counts once."""

    absurd: int = 0
    fills_repeated: int = 0
    fills_impossible: int = 0
    fills_unnamed: int = 0
    """Fills that no trade had when the next came."""


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
        self.is_numbered = claim.context.venue.facts.trade_ids != "consecutive"
        """Whether the trades go by the log's numbers, and the venue's own ids only name them."""
        self.breaks: dict[int, bytes] = {}
        """Entries that say that something is missing at their place, by number, until the fold has passed them."""
        self.last_stream_id = b"0-0"
        self.repairing = False
        self.read_all = False
        """Whether the last round of reading found the end of the stream."""
        self.unusable = 0
        """Entries passed over so far."""
        self.odd = OddTrades()
        """Of the trades this worker applied."""
        self.remarks: list[GapRecord] = []
        """What the gaps stream is to say of trades that were applied."""
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
        self._capped_told_s = float("-inf")
        """When the log last said that the cap of the latest set bites (monotonic)."""
        self.figures = SymbolFigures(claim)
        self.last_id = -1
        """Where the fold stands, as far as this worker knows; -1: nowhere yet."""
        self.last_trade_time = 0
        """Newest trade time of the fold, ms."""
        self.ids_since = 0
        """The ms of the first entry with ids that began anew; 0: none did."""
        self.lower_since_s: float | None = None
        """Since when trades with lower ids wait (monotonic); None: none do."""
        self._clock = clock
        self._judged_to: int | None = None
        """The last id of which was said what is odd about it; None: it is not known how far the fold has come."""
        self._absurd = False
        """Whether the newest trade was absurd: the log says it once a run."""
        self._fills = Fills()

    @property
    def key(self) -> str:
        """Its raw stream."""
        return self.claim.context.keys.raw(self.claim.symbol, TRADES)

    @property
    def caught_up(self) -> bool:
        """Whether all that the stream held when it was last read has been applied."""
        return self.read_all and not self.waiting and not self.repairing

    @property
    def listens(self) -> bool:
        """Whether a new entry of its stream can be read at once."""
        return not (self.repairing or self.reread) and len(self.waiting) < MOST_WAITING

    def exchange_ms(self) -> int | None:
        """The exchange's time now; None while it is not known."""
        return self._clock.now(monotonic_ms())

    def take(self, entries: Sequence[Delivered]) -> None:
        """Decode entries and put them in the queue; a useless one leaves a hole that its neighbours' ids show."""
        context, seen_ms = self.claim.context, monotonic_ms()
        for entry in entries:
            self.last_stream_id = entry.stream_id
            if is_break(entry):
                self._take_break(entry)
                continue
            if not entry.data:
                TRIMMED.labels(context.name).inc()
                self.useless.append(entry.stream_id)
                continue
            try:
                trade = trade_of(context.venue, self.claim.symbol, entry)
            except MalformedFrame as error:
                self._discard(entry.stream_id, str(error))
                continue
            except Exception as error:  # nobody foresaw it: this entry alone is passed over
                self._discard(entry.stream_id, repr(error))
                continue
            self._clock.observe(min(trade.event_time, trade.trade_time + SENT_WITHIN_MS), seen_ms)
            self.waiting.append((entry.stream_id, trade))

    def _take_break(self, entry: Delivered) -> None:
        """Where ids are the venue's own they show what is missing; a number that was passed needs no more."""
        number = number_of(entry)
        if self.is_numbered and number > self.last_id:
            self.breaks[number] = entry.stream_id
        else:
            self.useless.append(entry.stream_id)

    def put_back(self, entries: Sequence[Delivered]) -> int:
        """Take in entries that come before those waiting, unless they wait already; how many trades. O(n log n)."""
        last, before = self.last_stream_id, len(self.waiting)
        waiting = {stream_id for stream_id, _ in self.waiting}
        self.take([entry for entry in entries if entry.stream_id not in waiting])
        self.last_stream_id = last
        self.waiting.sort(key=lambda item: parts(item[0]))
        return len(self.waiting) - before

    def begin_after(self, fills: Range | None) -> None:
        """Learn which fills were in the trades that an earlier owner applied, before the first that this one does."""
        if self._judged_to is None:
            self._fills = Fills(fills)

    def judge(self, trade: Trade) -> None:
        """Count and tell what is odd about a trade that was applied: once, however often it is read."""
        if self._judged_to is not None and trade.trade_id <= self._judged_to:
            return
        self._judged_to = trade.trade_id
        odd = None if self.is_numbered else self._fills.follow(trade)
        if trade.is_absurd:
            ABSURD.labels(self.claim.context.name).inc()
            self.odd = self.odd._replace(absurd=self.odd.absurd + 1)
            if not self._absurd:
                log.warning("trade_absurd", key=self.key, trade_id=trade.trade_id)
        self._absurd = trade.is_absurd
        if odd is None:
            return
        if odd.unnamed:  # on futures those of the insurance fund and of ADL: nothing to be told one by one
            FILLS_UNNAMED.labels(self.claim.context.name).inc(odd.unnamed)
            self.odd = self.odd._replace(fills_unnamed=self.odd.fills_unnamed + odd.unnamed)
        if odd.impossible:
            FILLS_IMPOSSIBLE.labels(self.claim.context.name).inc()
            self.odd = self.odd._replace(fills_impossible=self.odd.fills_impossible + 1)
            if _worth_telling(self.odd.fills_impossible):
                log.warning("trades_fills_impossible", key=self.key, trade_id=trade.trade_id,
                            first=trade.first_trade_id, last=trade.last_trade_id)  # fmt: skip
        if odd.repeated:
            FILLS_REPEATED.labels(self.claim.context.name).inc()
            self.odd = self.odd._replace(fills_repeated=self.odd.fills_repeated + 1)
            if _worth_telling(self.odd.fills_repeated):
                log.warning("trades_fills_repeated", key=self.key, trade_id=trade.trade_id,
                            first=trade.first_trade_id, last=trade.last_trade_id, repeated=odd.repeated)  # fmt: skip
            self._remark(trade, odd.repeated)

    def _remark(self, trade: Trade, repeated: int) -> None:
        """Mark a trade with repeated fills in the gaps; those in a row as one, or they would push out real holes."""
        number, first = trade.trade_id, trade.trade_id
        if self.remarks and self.remarks[-1].last == number - 1:
            first = self.remarks.pop().first
        fills = trade.last_trade_id - trade.first_trade_id + 1
        reason = (
            f"fills repeated: {repeated} of the {fills} fills {trade.first_trade_id} to {trade.last_trade_id} "
            f"of trade {number} had come with an earlier trade; it counts as the exchange sent it"
        )
        self.remarks.append(GapRecord(TRADES, first, number, reason, NO_HOLE))

    def _discard(self, stream_id: bytes, problem: str) -> None:
        UNUSABLE.labels(self.claim.context.name).inc()
        self.unusable += 1
        if _worth_telling(self.unusable):
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

    def count_capped(self, capped: int, latest_max: int) -> None:
        """Count what the cap of the latest set took out; say so when it begins to, and once a minute while it does."""
        if not capped:
            return
        CAPPED.labels(self.claim.context.name).inc(capped)
        if (now := time.monotonic()) >= self._capped_told_s + CAPPED_TOLD_EVERY_S:
            self._capped_told_s = now
            log.warning("trades_capped", venue=self.claim.context.name, symbol=self.claim.symbol, trades=capped,
                        latest_max=latest_max)  # fmt: skip

    def lower_run(self, went_on_ms: int, within: int) -> LowerRun | None:
        """Trades among the first `within` waiting with lower ids than the fold's though they are later (see there)."""
        if self.is_numbered:
            went_on_ms = 1  # the log orders them
        trades = [trade for _, trade in self.waiting]
        run = lower_run(trades, self.last_id, self.last_trade_time, went_on_ms, within)
        if run is None:
            self.lower_since_s = None
        elif self.lower_since_s is None:
            self.lower_since_s = time.monotonic()
            self.restored = False  # the server may have lost its end, and the fold stand earlier
        return run

    def give_up(self, at: int, end: int) -> None:
        """Pass over waiting trades, by their places, whose ids are not the exchange's."""
        self.useless += [stream_id for stream_id, _ in self.waiting[at:end]]
        del self.waiting[at:end]
        self.lower_since_s = None

    def began_anew(self, first: int, since_ms: int) -> None:
        """The fold goes on with lower ids, from `first` on."""
        self.last_id, self.ids_since, self.lower_since_s = first - 1, since_ms, None
        self._judged_to, self._fills = first - 1, Fills()
        if self.waiting and self.waiting[0][1].trade_id < first:  # 0, which no fold can stand before
            self.give_up(0, 1)

    def applied_to(self, last_id: int, last_trade_time: int, taken: int = 0) -> None:
        """The fold stands at `last_id`; of the first `taken` all before the first newer one has been acknowledged."""
        if self._judged_to is None:
            self._judged_to = last_id  # what is no newer was judged by whoever applied it
        elif last_id < self._judged_to:  # the fold began anew
            self._judged_to, self._fills = last_id, Fills()
        batch, self.waiting = self.waiting[:taken], self.waiting[taken:]
        kept = []
        for stream_id, trade in batch:
            is_older = entry_ms(stream_id) < self.ids_since
            if trade.trade_id > last_id and not is_older:
                kept.append((stream_id, trade))
                continue
            if kept:  # behind a hole
                self.useless.append(stream_id)
            if not is_older:
                self.judge(trade)
        self.waiting[:0] = kept
        self.last_id, self.last_trade_time = last_id, last_trade_time
        for number in [number for number in self.breaks if number <= last_id]:
            self.useless.append(self.breaks.pop(number))
        if last_trade_time:
            self.next_end_ms = last_trade_time - last_trade_time % 100 + 100


def _worth_telling(count: int) -> bool:
    """Whether the log names this one of many: not a log line an entry."""
    return count <= TOLD_AT_MOST or count % 1000 == 0
