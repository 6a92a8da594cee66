"""Lower ids: what a fold took never looks like ids that began anew, however it is delivered again."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.model.events import Trade
from workers.model.trades.numbering import LOWER_CONFIRMING, Confirmation, LowerRun, confirmed, lower_run

T0 = 1_723_161_540_000
WENT_ON_MS = 5_000


def trade(number: int, time_ms: int, is_market: bool = True) -> Trade:
    return Trade("S", number, "1.5", "2", number, number, time_ms, time_ms, False, is_market)


@st.composite
def tapes(draw: st.DrawFn) -> list[Trade]:
    """Trades whose times mostly rise, at times by more than a restart takes, and some that are none of the market."""
    time_ms, made = T0, []
    for number in range(draw(st.integers(1, 60))):
        time_ms += draw(st.sampled_from([0, 1, 90, 4_000, 9_000, 60_000, -3_000, -20_000]))
        made.append(trade(1000 + number, time_ms, draw(st.integers(0, 5)) > 0))
    return made


def standing(folded: list[Trade]) -> tuple[int, int]:
    """Where the fold of these stands."""
    return folded[-1].trade_id, max((one.trade_time for one in folded if one.is_market), default=0)


@settings(max_examples=300, deadline=None)
@given(tape=tapes(), data=st.data())
def test_what_was_folded_never_looks_like_ids_that_began_anew(tape: list[Trade], data: st.DataObject) -> None:
    reached = data.draw(st.integers(1, len(tape)))
    last_id, newest_ms = standing(tape[:reached])
    again: list[Trade] = []
    for _ in range(data.draw(st.integers(1, 4))):  # a takeover, pending entries, the other line, a repair
        first = data.draw(st.integers(0, reached - 1))
        again += tape[first : data.draw(st.integers(first, len(tape)))]
    again += tape[data.draw(st.integers(0, reached)) :]
    assert newest_ms == 0 or lower_run(again, last_id, newest_ms, WENT_ON_MS, len(again)) is None


@settings(max_examples=200, deadline=None)
@given(tape=tapes(), first=st.integers(0, 900), data=st.data())
def test_ids_that_began_anew_are_found_after_whatever_is_delivered_again(
    tape: list[Trade], first: int, data: st.DataObject
) -> None:
    reached = data.draw(st.integers(1, len(tape)))
    last_id, newest_ms = standing(tape[:reached])
    if newest_ms == 0:
        return
    again = tape[data.draw(st.integers(0, reached)) :]
    latest_ms = max(newest_ms, *(one.trade_time for one in tape))
    anew = [trade(first + n, latest_ms + WENT_ON_MS + n) for n in range(LOWER_CONFIRMING)]
    run = lower_run([*again, *anew, anew[-1], *anew[:5]], last_id, newest_ms, WENT_ON_MS, 1_000)
    assert run == LowerRun(len(again), len(again) + 26, LOWER_CONFIRMING, is_over=False)
    assert lower_run([*again, *anew], last_id, newest_ms, WENT_ON_MS, len(again)) is None


def test_a_run_is_over_where_the_ids_go_on_as_before() -> None:
    stray = trade(3, T0 + 60_000)
    followed = [stray, trade(101, T0 + 60_001), trade(102, T0 + 60_002)]
    assert lower_run(followed, 100, T0, WENT_ON_MS, 10) == LowerRun(0, 1, 1, is_over=True)
    passing = [
        trade(n, T0 + 60_000 + n) for n in range(95, 110)
    ]  # only a few ids lower, it grows past the old ones
    assert lower_run(passing, 100, T0, WENT_ON_MS, 10) == LowerRun(0, 15, 15, is_over=False)
    twice = [trade(5, T0 + 60_000), trade(6, T0 + 60_001), trade(2, T0 + 90_000)]
    assert lower_run(twice, 100, T0, WENT_ON_MS, 10) == LowerRun(0, 2, 2, is_over=True)
    assert lower_run(passing, -1, 0, WENT_ON_MS, 10) is None


def test_the_exchange_confirms_or_refutes_or_says_nothing() -> None:
    run = [trade(n, T0 + 60_000 + n) for n in range(5, 30)]
    # its newest trades are these, and some that the log took for repeats
    newest = [trade(n, T0 + 30_000 + n) for n in range(1, 5)] + run
    assert confirmed(run, newest, 1_000, T0) == Confirmation(True, 1)
    assert confirmed(run, newest[2:], 1_000, T0) == Confirmation(True, 3)
    # it is far beyond them
    assert confirmed(run, [trade(700, T0 + 90_000)], 1_000, T0) == Confirmation(True, 5)
    # it goes on where it was
    assert confirmed(run, [trade(1_001, T0 + 90_000)], 1_000, T0) == Confirmation(False)
    # an old answer, none, and one of before
    assert confirmed(run, [trade(1_000, T0)], 1_000, T0).began_anew is None
    assert confirmed(run, [], 1_000, T0).began_anew is None
    # the same ids, but other trades
    other = [msgspec.structs.replace(one, price="7") for one in run]
    assert confirmed(run, [*other, trade(1_001, T0 + 90_000)], 1_000, T0) == Confirmation(False)
    # a few ids lower, and beyond the old ones by now
    assert confirmed(run, [*run, trade(30, T0 + 90_000)], 10, T0) == Confirmation(True, 5)
