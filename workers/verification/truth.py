"""Comparing what the fleet holds with what the simulated exchange says really happened.

Everything here is pure: levels, trades and bars in, findings out. The reference for bars is deliberately
naive, one `Decimal` at a time, and shares no code with the fold it checks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, localcontext
from typing import Any, Final

from workers.model.trades.windows import INTERVALS_MS

Levels = Sequence[Sequence[str]]
Bar = Mapping[str, str]

MOST_SENTENCES: Final = 40
BAR_NUMBERS: Final = ("volume", "quote_volume", "buy_volume")
BAR_TEXTS: Final = (
    "start",
    "last_update_time",
    "open_price",
    "high_price",
    "low_price",
    "close_price",
    "trades_count",
    "is_buyer_maker_count",
    "first_trade_id",
    "last_trade_id",
    "first_agg_trade_id",
    "last_agg_trade_id",
)
PRECISION: Final = 60
"""Digits of the naive sums: more than any of them can have."""


@dataclass
class Findings:
    """What a check found; every disagreement is counted, the first ones are told in words."""

    problems: list[str] = field(default_factory=list)
    untold: int = 0
    books_differ: set[str] = field(default_factory=set)
    book_samples: int = 0
    samples_out_of_sync: int = 0
    trades_seen: int = 0
    trades_missing: int = 0
    trades_doubled: int = 0
    trades_differ: int = 0
    bars_equal: int = 0
    bars_differ: int = 0
    orders_equal: int = 0
    """Single orders that are as in truth, of the books of which all are."""
    orders_differ: int = 0
    """Books of single orders that are not."""
    bars_expired: int = 0
    """Windows older than what the bar streams keep: there is nothing to compare."""

    def tell(self, sentence: str) -> None:
        """Note a problem."""
        if len(self.problems) < MOST_SENTENCES:
            self.problems.append(sentence)
        else:
            self.untold += 1

    def sentences(self) -> list[str]:
        """The problems in words."""
        return [*self.problems, *([f"And {self.untold} more."] if self.untold else [])]


@dataclass(frozen=True)
class TruthTrade:
    """An aggregate trade as the exchange has it."""

    trade_id: int
    price: str
    quantity: str
    first_trade_id: int
    last_trade_id: int
    time: int
    is_buyer_maker: bool
    name: str = ""
    """The exchange's id as text, where its trades are known by that."""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> TruthTrade:
        """From a row of the truth endpoint: `{"a":1,"p":"1.0","q":"2","f":1,"l":1,"T":170…,"m":false}`."""
        return cls(
            row["a"], row["p"], row["q"], row["f"], row["l"], row["T"], row["m"], row.get("i", str(row["a"]))
        )

    def member(self) -> dict[str, object]:
        """What `trades:{S}:latest` must say of it (event time and symbol apart)."""
        return {
            "agg_trade_id": self.trade_id,
            "price": self.price,
            "quantity": self.quantity,
            "first_trade_id": self.first_trade_id,
            "last_trade_id": self.last_trade_id,
            "trade_time": self.time,
            "is_buyer_maker": self.is_buyer_maker,
        }


def numbered_as_held(
    truth: Sequence[TruthTrade], held: Sequence[tuple[float, Mapping[str, Any]]]
) -> list[TruthTrade]:
    """The truth from the first held trade on, each with the number that the log gave it.

    For exchanges whose ids are not consecutive: their trades are known by `venue_trade_id`. What is not held gets a
    number that none has, below zero; without the first held trade all are given so.
    """
    ordered = sorted((int(member["agg_trade_id"]), member["venue_trade_id"]) for _, member in held)
    numbers = {name: number for number, name in reversed(ordered)}
    start = next((at for at, trade in enumerate(truth) if trade.name == ordered[0][1]), 0)
    numbered = ((numbers.get(trade.name, -1 - at), trade) for at, trade in enumerate(truth[start:]))
    return [
        replace(trade, trade_id=number, first_trade_id=number, last_trade_id=number)
        for number, trade in numbered
    ]


def check_levels(
    name: str, update_id: int, held: tuple[Levels, Levels], truth: tuple[Levels, Levels], into: Findings
) -> bool:
    """Compare two sides of a book, text by text; the first difference of a side is told."""
    equal = True
    for side, ours, theirs in (("bid", held[0], truth[0]), ("ask", held[1], truth[1])):
        mine, real = [tuple(level) for level in ours], [tuple(level) for level in theirs]
        if mine == real:
            continue
        equal = False
        place = next(
            (at for at, pair in enumerate(zip(mine, real, strict=False)) if pair[0] != pair[1]),
            min(len(mine), len(real)),
        )
        into.tell(
            f"{name} at update id {update_id}: {side} {place + 1} is {_level(mine, place)}, "
            f"really {_level(real, place)} ({len(mine)} levels compared with {len(real)})."
        )
    if not equal:
        into.books_differ.add(name)
    return equal


def _level(levels: Sequence[tuple[str, ...]], place: int) -> str:
    return " x ".join(levels[place]) if place < len(levels) else "absent"


def within(levels: Levels, low: str, high: str) -> list[Sequence[str]]:
    """The levels whose price lies in `low..high`; `inf` is no bound."""
    bottom, top = Decimal(low), Decimal(high)
    return [level for level in levels if bottom <= Decimal(level[0]) <= top]


def check_trades(
    name: str, held: Sequence[tuple[float, Mapping[str, Any]]], truth: Sequence[TruthTrade], into: Findings
) -> None:
    """Compare the latest set (score and member) with the truth's trades from the first held one on."""
    members: dict[int, Mapping[str, Any]] = {}
    for score, member in held:
        number = int(member["agg_trade_id"])
        if number in members:
            into.trades_doubled += 1
            into.tell(f"{name}: trade {number} is held twice.")
        elif score != member["trade_time"]:
            into.trades_differ += 1
            into.tell(f"{name}: trade {number} has score {score:g}, its time is {member['trade_time']}.")
        members[number] = member
    into.trades_seen += len(members)
    for trade in truth:
        found = members.pop(trade.trade_id, None)
        if found is None:
            into.trades_missing += 1
            into.tell(f"{name}: trade {trade.trade_id} is missing.")
            continue
        wrong = [key for key, value in trade.member().items() if found.get(key) != value]
        if wrong:
            into.trades_differ += 1
            key, really = wrong[0], trade.member()[wrong[0]]
            into.tell(f"{name}: trade {trade.trade_id} has {key} {found.get(key)!r}, really {really!r}.")
    for number in members:
        into.trades_differ += 1
        into.tell(f"{name}: trade {number} is held, but never was.")


def naive_bars(trades: Iterable[TruthTrade], length_ms: int) -> dict[int, dict[str, str]]:
    """Every window of one length, by its start, straight from the definition; trades as the exchange counts them."""
    groups: dict[int, list[TruthTrade]] = {}
    for trade in trades:
        groups.setdefault(trade.time - trade.time % length_ms, []).append(trade)
    return {start: _naive_bar(start, group) for start, group in groups.items()}


def _naive_bar(start: int, trades: Sequence[TruthTrade]) -> dict[str, str]:
    with localcontext(prec=PRECISION):
        volume = sum((Decimal(trade.quantity) for trade in trades), Decimal(0))
        quote = sum((Decimal(trade.quantity) * Decimal(trade.price) for trade in trades), Decimal(0))
        bought = sum((Decimal(trade.quantity) for trade in trades if not trade.is_buyer_maker), Decimal(0))
    first, last = trades[0], trades[-1]
    return {
        "start": str(start),
        "last_update_time": str(max(trade.time for trade in trades)),
        "open_price": first.price,
        "high_price": max(trades, key=lambda trade: Decimal(trade.price)).price,
        "low_price": min(trades, key=lambda trade: Decimal(trade.price)).price,
        "close_price": last.price,
        "volume": str(volume),
        "quote_volume": str(quote),
        "buy_volume": str(bought),
        "trades_count": str(len(trades)),
        "is_buyer_maker_count": str(sum(trade.is_buyer_maker for trade in trades)),
        "first_trade_id": str(first.first_trade_id),
        "last_trade_id": str(last.last_trade_id),
        "first_agg_trade_id": str(first.trade_id),
        "last_agg_trade_id": str(last.trade_id),
    }


@dataclass(frozen=True)
class HeldBars:
    """One interval of one symbol as Redis has it."""

    closed: Sequence[Bar]
    """The bar stream, oldest entry first."""
    stats: Bar
    """The stats hash: the newest window, open or closed; empty before the first trade."""
    trimmed: bool
    """Whether the stream has dropped entries."""


def newest_versions(held: HeldBars) -> dict[int, Bar]:
    """The window in force at each start: the last version of closed ones, and the open one."""
    versions = {int(bar["start"]): bar for bar in held.closed}
    if held.stats and (held.stats.get("closed") != "1" or int(held.stats["start"]) not in versions):
        versions[int(held.stats["start"])] = held.stats
    return versions


def check_bars(name: str, interval: str, held: HeldBars, truth: Sequence[TruthTrade], into: Findings) -> None:
    """Compare every window of an interval with the naive one; no version may change what one before called complete."""
    expected = naive_bars(truth, INTERVALS_MS[interval])
    found = newest_versions(held)
    oldest = min((int(bar["start"]) for bar in held.closed), default=0) if held.trimmed else 0
    late = _late_windows(truth, INTERVALS_MS[interval])
    for start, change in _changed_after_proof(held.closed).items():
        if start not in late:
            into.bars_differ += 1
            into.tell(f"{name}: the {interval} bar of {start} was called complete, and then {change}.")
    for start in sorted(expected.keys() | found.keys()):
        if start < oldest:
            into.bars_expired += 1
            continue
        wrong = _difference(found.get(start), expected.get(start))
        if wrong:
            into.bars_differ += 1
            into.tell(f"{name}: the {interval} bar of {start} {wrong}.")
        else:
            into.bars_equal += 1


def _late_windows(truth: Sequence[TruthTrade], length_ms: int) -> set[int]:
    """Windows that a trade falls into after, by its id, one of a later window: of them no id can tell when they end."""
    late, newest = set(), 0
    for trade in truth:
        start = trade.time - trade.time % length_ms
        if start < newest:
            late.add(start)
        newest = max(newest, start)
    return late


def _changed_after_proof(closed: Sequence[Bar]) -> dict[int, str]:
    """By start, what a later version says otherwise than one that was called complete."""
    proven: dict[int, Bar] = {}
    changes: dict[int, str] = {}
    for bar in closed:
        start, revision = int(bar["start"]), int(bar["revision"])
        before = proven.get(start)
        if before is not None and revision > int(before["revision"]):
            key = next((key for key in bar if key != "revision" and bar[key] != before.get(key)), None)
            if key is not None:
                changes.setdefault(start, f"had {key} {bar[key]} for {before.get(key)}")
        if bar["complete"] == "1":
            proven[start] = bar
    return changes


def _difference(found: Bar | None, expected: Bar | None) -> str:
    if found is None:
        return "is missing"
    if expected is None:
        return "has no trades in truth"
    for key in BAR_TEXTS:
        if found.get(key) != expected[key]:
            return f"has {key} {found.get(key)}, really {expected[key]}"
    for key in BAR_NUMBERS:
        if key not in found or Decimal(found[key]) != Decimal(expected[key]):
            return f"has {key} {found.get(key)}, really {expected[key]}"
    return ""


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value below which `share` of the values lie (nearest rank); None without values."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
