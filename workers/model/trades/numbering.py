"""Ids of trades that cannot be believed at once: far beyond the last, or lower though time went on.

Ids of a symbol's trades are consecutive. A jump of a million is a day of the busiest market, or an absurd number in one
message. What follows tells them apart: a stream goes on where it really is. Lower ids are repeats; only an exchange
that began its ids anew sends lower ones with later times.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from workers.model.events import Trade

MOST_JUMP: Final = 1_000_000
"""An id further beyond the last one is believed only when it is confirmed. The busiest symbol has about 1.4 million
aggregate trades a day, and no line is away for so long without having been restarted."""
CONFIRMING: Final = 3
"""Messages in a row, one from another, that confirm each other."""

BREAK_ROOM: Final = 10_000
"""Numbers that the log leaves free behind a break, for the trades that REST may have of the stretch (see
`lua/log/append_numbered.lua`)."""

LOWER_CONFIRMING: Final = 20
"""Trades with lower ids and later times that are enough to ask the exchange whether its ids began anew."""


def is_room(first: int, last: int) -> bool:
    """Whether numbers of a log are those that it left free behind a break."""
    return last - first + 1 == BREAK_ROOM


class LowerRun(NamedTuple):
    """Trades with lower ids than those before them, though they were made later."""

    at: int
    """Place of the first."""
    end: int
    """Place after the last."""
    market: int
    """Trades of the market among them; others prove nothing."""
    is_over: bool
    """What follows goes on where the ids were before, or began anew once more."""


def lower_run(
    trades: Sequence[Trade], last_id: int, newest_ms: int, went_on_ms: int, within: int
) -> LowerRun | None:
    """The first trades that cannot be repeats although their ids are not new; None if there are none.

    A fold knows the newest time of the market trades it took: none that it took is newer, whatever is delivered again.

    Args:
        trades: in the order of the log, not yet applied.
        last_id: where the fold stands; -1: nowhere yet.
        newest_ms: its newest trade time.
        went_on_ms: by how much later trades must be.
        within: the run must begin among so many.

    Cost: O(trades) where there is such a run, O(within) else.
    """
    if last_id < 0:
        return None
    for at in range(min(within, len(trades))):
        trade = trades[at]
        if trade.trade_id > last_id:
            last_id = trade.trade_id
        elif trade.is_market and trade.trade_time >= newest_ms + went_on_ms:
            return _run_from(trades, at, last_id, went_on_ms)
        if trade.is_market and trade.trade_time > newest_ms:
            newest_ms = trade.trade_time
    return None


def _run_from(trades: Sequence[Trade], at: int, last_id: int, went_on_ms: int) -> LowerRun:
    previous, market = trades[at], 1
    for end in range(at + 1, len(trades)):
        trade = trades[end]
        if trade.trade_id <= previous.trade_id:
            if trade.is_market and trade.trade_time >= previous.trade_time + went_on_ms:
                return LowerRun(at, end, market, True)
            continue  # repeated
        if trade.trade_id > last_id and trade.trade_id != previous.trade_id + 1:
            return LowerRun(at, end, market, True)
        previous = trade
        market += trade.is_market
    return LowerRun(at, len(trades), market, False)


class Confirmation(NamedTuple):
    """What the newest trades of the exchange say of such a run."""

    began_anew: bool | None
    """None: nothing, it is asked again later."""
    first: int = 0
    """The first of the new ids that can be had."""


def confirmed(run: Sequence[Trade], newest: Sequence[Trade], last_id: int, newest_ms: int) -> Confirmation:
    """Whether ids began anew.

    Args:
        run: the trades with lower ids.
        newest: the exchange's newest trades, by id.
        last_id: where the fold stands.
        newest_ms: its newest trade time.
    """
    last = max(newest, key=lambda trade: (trade.trade_time, trade.trade_id), default=None)
    if last is None or last.trade_time < run[0].trade_time or last.trade_id < run[0].trade_id:
        return Confirmation(None)  # an answer from before
    by_id = {trade.trade_id: trade for trade in newest if trade.trade_time > newest_ms}
    same = sum(_is_same(trade, by_id.get(trade.trade_id)) for trade in run)
    if last.trade_id > last_id and same < min(CONFIRMING, len(run)):
        return Confirmation(False)
    return Confirmation(True, first_of(newest, run[0].trade_id, newest_ms))


def first_of(trades: Sequence[Trade], first: int, newest_ms: int) -> int:
    """The lowest id, 1 or more, from which on later trades than those of the fold lead to `first` without a hole."""
    later = {trade.trade_id for trade in trades if trade.trade_time > newest_ms}
    while first > 1 and first - 1 in later:
        first -= 1
    return max(first, 1)


def _is_same(trade: Trade, other: Trade | None) -> bool:
    return other is not None and (trade.trade_time, trade.price, trade.quantity) == (
        other.trade_time,
        other.price,
        other.quantity,
    )


def is_far(expected: int, seen: int) -> bool:
    """Whether an id is too far beyond the one expected to be believed at once."""
    return seen - expected > MOST_JUMP
