"""Cutting a batch of trades for `apply_trades.lua`: runs, groups and the flat list of arguments.

A run is trades with consecutive ids within one 100 ms window, a group is runs with consecutive ids within one
minute. Both are summed here, with Python's exact integers, so that the script has little left to do per trade.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Final

from workers.errors import BadNumber
from workers.model.events import Trade
from workers.model.trades.decimals import COARSE, FINE, Scale
from workers.model.trades.latest import MEMBERS, EventType, Member
from workers.model.trades.windows import EARLIEST_MS, LATEST_MS, check
from workers.store.scripts import Argument

Batch = Sequence[tuple[bytes | str, Trade]]
"""Trades in the order they came, each with its raw stream id (empty for one that came over REST)."""

_BUCKETS_PER_GROUP: Final = 600


def entry_ms(stream_id: bytes | str) -> int:
    """The ms of a stream id."""
    text = stream_id if isinstance(stream_id, str) else stream_id.decode()
    return int(text.partition("-")[0])


class _Tally:
    """What has no place in a sum: repeated trades, and stream ids to acknowledge."""

    __slots__ = ("entries", "repeated")

    def __init__(self) -> None:
        self.entries = self.repeated = 0


class _Run(_Tally):
    """The sums of some trades with consecutive ids, in units of a scale."""

    __slots__ = (
        "bucket",
        "buy",
        "close",
        "count",
        "fine",
        "first_agg",
        "first_trade",
        "high",
        "high_units",
        "last_agg",
        "last_trade",
        "low",
        "low_units",
        "maker",
        "open",
        "quote",
        "skipped",
        "time",
        "volume",
    )

    def __init__(self, bucket: int, trade: Trade, units: int) -> None:
        self.entries = self.repeated = 0
        self.bucket = bucket
        self.fine = False
        self.count = self.skipped = self.maker = 0
        self.volume = self.quote = self.buy = 0
        self.time = trade.trade_time
        self.first_agg = self.last_agg = trade.trade_id
        self.first_trade = self.last_trade = trade.first_trade_id
        self.open = self.high = self.low = self.close = trade.price
        self.high_units = self.low_units = units

    def run_block(self, scale: Scale) -> str:
        """The text of a run (see the script's header), its sums as plain decimals."""
        return self._block(
            scale.plain_quantity(self.volume), scale.plain_product(self.quote), scale.plain_quantity(self.buy)
        )

    def group_block(self, scale: Scale) -> str:
        """The text of a group, its sums as integers of as many decimals as `digits` says."""
        unit = 10 ** (scale.digits - self.digits)
        if unit == 1:
            return self._block(self.volume, self.quote, self.buy)
        return self._block(self.volume // unit, self.quote // unit**2, self.buy // unit)

    @property
    def digits(self) -> int:
        """Decimals that the volumes need."""
        return FINE.digits if self.fine else COARSE.digits

    def _block(self, volume: int | str, quote: int | str, buy: int | str) -> str:
        return (
            f"{self.bucket * 100} {self.first_agg} {self.last_agg} {self.count} {self.skipped} {self.time} {self.open}"
            f" {self.high} {self.low} {self.close} {volume} {quote} {buy} {self.maker} {self.first_trade}"
            f" {self.last_trade}"
        )

    def add(self, run: _Run) -> None:
        """Take the run that follows."""
        self.last_agg = run.last_agg
        self.skipped += run.skipped
        self.entries += run.entries
        self.repeated += run.repeated
        if not run.count:
            return
        self.count += run.count
        self.fine = self.fine or run.fine
        self.maker += run.maker
        self.volume += run.volume
        self.quote += run.quote
        self.buy += run.buy
        self.time = max(self.time, run.time)
        if run.high_units > self.high_units:
            self.high, self.high_units = run.high, run.high_units
        if run.low_units < self.low_units:
            self.low, self.low_units = run.low, run.low_units
        self.close, self.last_trade = run.close, run.last_trade


class _Cut:
    """A batch while it is being cut."""

    def __init__(
        self, scale: Scale, event_type: EventType, member: Member, after: int, ids_since: int, may_wait: bool
    ) -> None:
        self.scale = scale
        self.event_type = event_type
        self.member = MEMBERS[member]
        self.after = after
        self.ids_since = ids_since
        self.may_wait = may_wait
        self.lead = _Tally()
        self.runs: list[_Run] = []
        self.members: list[Argument] = []
        self.stream_ids: list[Argument] = []

    def read(self, batch: Batch) -> None:
        """Cut into runs; one pass, one trade at a time."""
        event_type, member_of, ids_since = self.event_type, self.member, self.ids_since
        members, stream_ids, runs = self.members, self.stream_ids, self.runs
        price_units, quantity_units = self.scale.price_units, self.scale.quantity_units
        is_fine, fine_unit = self.scale is FINE, 10 ** (FINE.digits - COARSE.digits)
        tally: _Tally = self.lead
        run: _Run | None = None
        current = self.after
        for stream_id, trade in batch:
            number, time = trade.trade_id, trade.trade_time
            if stream_id:
                stream_ids.append(stream_id)
            if number <= current or (ids_since and stream_id and entry_ms(stream_id) < ids_since):
                tally.entries += bool(stream_id)
                tally.repeated += 1
                continue
            try:
                units, quantity = price_units(trade.price), quantity_units(trade.quantity)
            except BadNumber:
                check(trade)
                raise
            if not EARLIEST_MS <= time < LATEST_MS:
                check(trade)
            market = trade.is_market
            if (
                run is None
                or number != current + 1
                or run.bucket != time // 100
                or (market and not run.count)
            ):
                run = tally = _Run(time // 100, trade, units)
                runs.append(run)
            current = run.last_agg = number
            if stream_id:
                run.entries += 1
            if not market:
                run.skipped += 1
                continue
            run.count += 1
            if is_fine and (units % fine_unit or quantity % fine_unit):
                run.fine = True
            run.volume += quantity
            run.quote += units * quantity
            if trade.is_buyer_maker:
                run.maker += 1
            else:
                run.buy += quantity
            if units > run.high_units:
                run.high, run.high_units = trade.price, units
            elif units < run.low_units:
                run.low, run.low_units = trade.price, units
            if time > run.time:  # noqa: PLR1730 -- max() is a call, and this is once per trade
                run.time = time
            run.close, run.last_trade = trade.price, trade.last_trade_id
            members.append(time)
            members.append(member_of(trade, event_type))

    def groups(self) -> list[list[_Run]]:
        """The runs in groups; trades outside the market begin no group with market trades."""
        groups: list[list[_Run]] = []
        last: _Run | None = None
        for run in self.runs:
            if (
                last is None
                or run.first_agg != last.last_agg + 1
                or run.bucket // _BUCKETS_PER_GROUP != last.bucket // _BUCKETS_PER_GROUP
                or not groups[-1][0].count
            ):
                groups.append([run])
            else:
                groups[-1].append(run)
            last = run
        return groups

    def arguments(self) -> list[Argument]:
        """From the number of groups to the last stream id (see the script's header)."""
        groups, scale = self.groups(), self.scale
        blocks: list[Argument] = []
        for group in groups:
            total = group[0]
            if len(group) > 1:
                total = copy(total)
                for run in group[1:]:
                    total.add(run)
                blocks += (
                    len(group),
                    total.count,
                    total.entries,
                    total.repeated,
                    total.digits,
                    total.group_block(scale),
                )
                blocks += [run.run_block(scale) for run in group]
            else:
                blocks += (
                    0,
                    total.count,
                    total.entries,
                    total.repeated,
                    total.digits,
                    total.group_block(scale),
                )
        member_at = 22 + len(blocks)
        return [
            len(groups),
            self.lead.repeated,
            self.lead.entries,
            member_at,
            member_at + len(self.members),
            self.ids_since,
            int(self.may_wait),
            *blocks,
            *self.members,
            *self.stream_ids,
        ]


def cut(
    batch: Batch,
    event_type: EventType,
    after: int = -1,
    member: Member = "json",
    ids_since: int = 0,
    *,
    may_wait: bool = False,
) -> list[Argument]:
    """The arguments of `apply_trades.lua` that describe a batch, from its 15th on.

    Args:
        batch: the trades.
        event_type: what they are, as said in the latest set.
        after: trades up to this id are known to be repeated (-1: none).
        member: how trades stand in the latest set.
        ids_since: entries before this ms have ids from before they began anew, and are repeated.
        may_wait: whether the windows of 5 m and longer need not be brought up to date.

    Raises:
        BadNumber: a price, quantity or time that the fold cannot take; the place names the trade.
    """
    try:
        return _cut(_Cut(COARSE, event_type, member, after, ids_since, may_wait), batch)
    except BadNumber:
        return _cut(_Cut(FINE, event_type, member, after, ids_since, may_wait), batch)


def _cut(cutting: _Cut, batch: Batch) -> list[Argument]:
    cutting.read(batch)
    return cutting.arguments()
