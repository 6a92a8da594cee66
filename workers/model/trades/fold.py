"""The trades fold as a pure function: windows, bars, the latest set and the counters of one symbol.

`lua/trades/apply_trades.lua` is the same fold inside Redis, field by field; this one takes trades one at a time and
has exact integers of any size, so that what the script does can be checked against it.

Windows are cut by trade time on UTC boundaries; inside a window trades stand in the order of their ids. A trade
whose window is over (a newer one is open, or the clock closed it) is late: the window's newest version with the
trade in it is appended to the bars as a revision, one for each window and batch.

A bar is `complete` if the ids prove that no trade of it is missing: every id from its first trade to the first trade
of a later window was seen. A window closed by the clock is `unproven` until that trade has come. Others lack more than
the proof (`Window.reason`): the windows the fold began in, those on either side of an accepted hole, a window that only
a late trade made known.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from workers.model.events import Trade
from workers.model.trades.decimals import COARSE, FINE
from workers.model.trades.interval_fold import IntervalFold
from workers.model.trades.latest import MEMBERS, EventType, Member
from workers.model.trades.windows import INTERVALS_MS, Reason, check, needs_fine

TRIMMED_AT_MOST: Final = 500
"""Members of the latest set removed by one call at most: less than a millisecond of server time."""

Passing = Literal["skip", "break", "fill", "pass"]
"""Of ids that never come: missing trades; numbers of the log at which any number of trades may be missing, which counts
as one; numbers at which none is missing any more; numbers that no trade has."""


class Hole(msgspec.Struct, frozen=True):
    """Ids that nobody has sent: `expected` up to the one before `seen`."""

    expected: int
    seen: int


class Applied(msgspec.Struct, frozen=True):
    """What became of a batch."""

    applied: int
    """Market trades that are now in the windows."""
    not_market: int
    """Trades passed over because they are no market trades (insurance fund, ADL)."""
    repeated: int
    """Trades that had been applied before."""
    late: int
    """Applied trades that came after one of their windows was over."""
    last_id: int
    """The last id of the fold now."""
    last_trade_time: int
    """Newest trade time of the fold, ms."""
    hole: Hole | None
    """Where the batch stopped; nothing from `seen` on was applied or acknowledged."""
    capped: int = 0
    """Trades taken out of the latest set before their time because it held too many."""


class Skipped(msgspec.Struct, frozen=True):
    """What accepting a hole did."""

    missing: int
    last_id: int


class Closed(msgspec.Struct, frozen=True):
    """What closing by clock did."""

    bars: int
    next_end: int
    """When the next open window ends, ms; 0 if none is open."""
    capped: int = 0
    """Trades taken out of the latest set before their time because it held too many."""


class TradesFold:
    """The fold of one symbol's trades. The bars are all kept: retention is the server's affair.

    Args:
        retention_ms: how far back the latest set goes from the newest trade; 0 keeps all.
        latest_max: trades the latest set may hold; 0: any number.
        event_type: what the trades are, as said in the latest set.
        member: how trades stand in the latest set.
        provable: whether the ids are the venue's own; else they are numbers of the log, which prove nothing.
    """

    def __init__(
        self,
        *,
        retention_ms: int = 0,
        latest_max: int = 0,
        event_type: EventType = "aggTrade",
        member: Member = "json",
        provable: bool = True,
    ) -> None:
        self._retention_ms = retention_ms
        self._latest_max = latest_max
        self._event_type = event_type
        self._member = MEMBERS[member]
        self._intervals = {
            name: IntervalFold(length, provable=provable) for name, length in INTERVALS_MS.items()
        }
        self._latest: list[tuple[int, bytes]] = []
        self._counts = dict.fromkeys(("applied", "repeated", "not_market", "missing", "late", "capped"), 0)
        self._last_id = -1
        self._last_trade_time = 0
        self._hole_next_id = 0
        self._ids_since = self._ids_after = self._restarts = 0
        self._lack: Reason = "began"
        self._digits = COARSE.digits
        self._breaks = 0

    def apply(self, trades: Sequence[Trade], entries_ms: Sequence[int] = ()) -> Applied:
        """Take a batch, up to the first hole.

        Args:
            trades: it.
            entries_ms: of each trade, the ms of its raw entry; 0 for one that came over REST. Empty: all did.
        """
        before, hole = dict(self._counts), None
        moved = False
        for trade in trades:
            check(trade)
        for trade, ms in zip(trades, entries_ms or [0] * len(trades), strict=True):
            if 0 < ms < self._ids_since:
                self._counts["repeated"] += 1
                continue
            if self._last_id >= 0 and trade.trade_id > self._last_id + 1:
                hole = Hole(self._last_id + 1, trade.trade_id)
                break
            if trade.trade_id <= self._last_id:
                self._counts["repeated"] += 1
                continue
            self._take(trade)
            moved = True
        for interval in self._intervals.values():
            interval.append_revised()
        if hole:
            self._hole_next_id = hole.seen
        elif moved:
            self._hole_next_id = 0
        self._trim(self._last_trade_time)
        gained = {name: self._counts[name] - before[name] for name in before}
        return Applied(
            gained["applied"],
            gained["not_market"],
            gained["repeated"],
            gained["late"],
            self._last_id,
            self._last_trade_time,
            hole,
            gained["capped"],
        )

    def _take(self, trade: Trade) -> None:
        self._last_id = trade.trade_id
        if not trade.is_market:
            self._counts["not_market"] += 1
            for interval in self._intervals.values():
                interval.fold_not_market(trade)
            return
        self._counts["applied"] += 1
        if needs_fine(trade):
            self._digits = FINE.digits
        late = [interval.fold(trade, self._lack) for interval in self._intervals.values()]
        self._counts["late"] += any(late)
        self._lack = ""
        self._last_trade_time = max(self._last_trade_time, trade.trade_time)
        insort(self._latest, (trade.trade_time, self._member(trade, self._event_type)))

    def _trim(self, now_ms: int) -> None:
        old = 0
        if self._retention_ms:
            cutoff = now_ms - self._retention_ms
            old = sum(1 for time, _ in self._latest[:TRIMMED_AT_MOST] if time < cutoff)
        over = len(self._latest) - self._latest_max if self._latest_max else 0
        trimmed = min(max(old, over), TRIMMED_AT_MOST)
        self._counts["capped"] += max(trimmed - old, 0)
        del self._latest[:trimmed]

    def skip(self, first: int, last: int, passing: Passing = "skip") -> Skipped | None:
        """Accept that `first`..`last` will never come; None if the hole does not begin after the last id.

        Unless it is filled, or only passed, the newest window of every interval is incomplete from now on, and so are
        the windows that the first trade after the hole falls into.
        """
        if self._last_id < 0 or first > self._last_id + 1:
            return None
        missing = last - self._last_id
        if missing <= 0:
            return Skipped(0, self._last_id)
        self._last_id, self._hole_next_id = last, 0
        if passing in ("fill", "pass"):
            return Skipped(missing, last)
        for interval in self._intervals.values():
            interval.mark_missing()
            interval.append_revised()
        if passing == "break":
            self._breaks += 1
        else:
            self._counts["missing"] += missing
        self._lack = "missing"
        return Skipped(missing, last)

    def restart(self, first: int, last_id: int, since_ms: int) -> bool:
        """Go on with ids that began anew lower; False if the fold does not stand at `last_id`, or they are not.

        Args:
            first: the first of the new ids.
            last_id: where the fold stands, among the old ids.
            since_ms: the ms of the first raw entry with new ids: entries before it are repeated from now on.
        """
        if self._last_id >= 0 and since_ms == self._ids_since:
            return True
        if self._last_id < 0 or last_id != self._last_id or first > last_id:
            return False
        for interval in self._intervals.values():
            interval.mark_missing()
            interval.append_revised()
        self._restarts += 1
        self._last_id, self._hole_next_id, self._lack = first - 1, 0, "missing"
        self._ids_since, self._ids_after = since_ms, self._last_trade_time
        return True

    def close(self, now_ms: int, grace_ms: int) -> Closed:
        """Close the windows that ended `grace_ms` or longer before `now_ms`; none while a hole waits for repair."""
        closed, ends = 0, []
        for interval in self._intervals.values():
            window = interval.newest
            if window is None or window.closed:
                continue
            if window.start + interval.length + grace_ms <= now_ms and not self._hole_next_id:
                interval.close(window)
                closed += 1
            else:
                ends.append(window.start + interval.length)
        before = self._counts["capped"]
        self._trim(now_ms)
        return Closed(closed, min(ends, default=0), self._counts["capped"] - before)

    def stats(self, interval: str) -> dict[str, str]:
        """The stats hash of an interval: its newest window, open or closed; empty before the first trade."""
        window = self._intervals[interval].newest
        return (
            {**self._intervals[interval].fields(window), "closed": str(int(window.closed))} if window else {}
        )

    def bars(self, interval: str) -> list[tuple[str, dict[str, str]]]:
        """The bar stream of an interval: entry id and fields, oldest first."""
        return self._intervals[interval].bars

    def latest(self) -> list[tuple[int, bytes]]:
        """The latest set: score (trade time, ms) and member, in the set's order."""
        return self._latest

    def state(self) -> dict[str, str]:
        """The state hash; empty before the first trade."""
        if self._last_id < 0:
            return {}
        fields = {
            "last_id": str(self._last_id),
            "last_trade_time": str(self._last_trade_time),
            "incomplete_next": str({"": 0, "missing": 1, "began": 2}[self._lack]),
            "hole_next_id": str(self._hole_next_id),
            "bars_before": " ".join(["0-0"] * len(self._intervals)),
            **{f"{name}_count": str(count) for name, count in self._counts.items()},
        }
        if self._ids_since:
            fields["ids_since"], fields["ids_after"] = str(self._ids_since), str(self._ids_after)
            fields["restarts_count"] = str(self._restarts)
        if self._breaks:
            fields["breaks_count"] = str(self._breaks)
        if self._digits != COARSE.digits:
            fields["digits"] = str(self._digits)
        if any(interval.revisions for interval in self._intervals.values()):
            fields["revisions"] = " ".join(str(one.revisions) for one in self._intervals.values())
        for name, interval in self._intervals.items():
            if interval.newest:
                fields[name] = interval.state(self._digits)
        return fields
