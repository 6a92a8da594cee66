"""Symbols are shared out by what they cost: near the best split, with few moves, and none for loads that jitter."""

from __future__ import annotations

import random
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.model.symbols.balance import BASE, UNEVEN, Item, balance, cost, deal, standing, totals

WORKERS = ["w0", "w1", "w2", "w3"]
SMOOTHING = 0.3


def items_with(rates: list[float]) -> dict[Item, float]:
    return {("usdm", f"S{number:03d}"): rate for number, rate in enumerate(rates)}


def zipf(count: int) -> list[float]:
    return [1_000 / place for place in range(1, count + 1)]


def one_is_half(count: int) -> list[float]:
    return [500.0, *[500 / (count - 1)] * (count - 1)]


def by_number(loads: dict[Item, float], live: list[str], seed: int = 1) -> dict[Item, str]:
    """Each worker as many symbols as the others, whatever they cost."""
    items = sorted(loads)
    random.Random(seed).shuffle(items)
    return {item: live[place % len(live)] for place, item in enumerate(items)}


def greedy(loads: dict[Item, float], live: list[str]) -> float:
    """The busiest worker's load where the costliest item always goes to whoever has least: at most a third too much."""
    load = dict.fromkeys(live, 0.0)
    for item in sorted(loads, key=lambda item: -cost(loads, item)):
        load[min(load, key=lambda name: load[name])] += cost(loads, item)
    return max(load.values())


@pytest.mark.parametrize("workers", [2, 3, 4])
@pytest.mark.parametrize("rates", [zipf(600), zipf(20), one_is_half(600), one_is_half(20), [1.0] * 600])
def test_skewed_loads_end_near_the_best_split_in_parts_and_jitter_moves_nothing(
    rates: list[float], workers: int
) -> None:
    live, loads, rng = WORKERS[:workers], items_with(rates), random.Random(7)
    owners = by_number(loads, live)
    pending = balance(owners, loads, live)
    while pending:  # a few at a time, as they are made
        part = dict(islice(pending.items(), 60))
        owners |= part
        pending = {item: worker for item, worker in pending.items() if item not in part}
    assert standing(owners, loads, live).skew < UNEVEN
    known = dict(loads)
    for _ in range(200):
        for item, rate in loads.items():
            known[item] += SMOOTHING * (rate * rng.uniform(0.7, 1.3) - known[item])
        assert balance(owners, known, live) == {}


@settings(max_examples=150)
@given(st.lists(st.floats(0, 1_000), min_size=1, max_size=40), st.integers(2, 4), st.integers(0, 5))
def test_no_split_is_left_that_a_plain_one_is_much_better_than(
    rates: list[float], workers: int, seed: int
) -> None:
    live, loads = WORKERS[:workers], items_with(rates)
    owners = by_number(loads, live, seed)
    moves = balance(owners, loads, live)
    after = owners | moves
    assert len(after) == len(owners)
    assert all(owners[item] != worker for item, worker in moves.items())
    assert standing(after, loads, live).busiest <= standing(owners, loads, live).busiest + 1e-9
    assert standing(after, loads, live).busiest <= 1.25 * greedy(loads, live) + 1e-9
    assert balance(after, loads, live) == {}  # and once is enough


def test_who_comes_gets_a_part_of_each_even_of_many():
    live = [f"w{number:02d}" for number in range(9)]
    loads = items_with([1.0] * 180)
    owners = by_number(loads, live)
    moves = balance(owners, loads, [*live, "new"])
    assert set(moves.values()) == {"new"}
    assert 15 <= len(moves) <= 18
    assert {owners[item] for item in moves} == set(live)


def test_what_the_dead_had_goes_to_whoever_has_least_and_nothing_else_moves():
    loads = items_with(zipf(60))
    owners = by_number(loads, WORKERS)
    left = WORKERS[1:]
    dealt = deal(owners, owners, loads, left)
    assert {item for item in owners if dealt[item] != owners[item]} == {
        item for item, worker in owners.items() if worker == "w0"
    }
    assert deal(list(reversed(owners)), owners, loads, left[::-1]) == dealt  # whoever computes it
    # whoever is started in its place gets all of it
    assert [item for item, worker in deal(owners, owners, loads, [*left, "new"]).items() if worker == "new"]


def test_quiet_symbols_are_shared_out_by_number():
    loads = dict.fromkeys(items_with([0.0] * 30), 0.0)
    dealt = deal(loads, {}, {}, WORKERS[:3])
    assert {round(load / BASE) for load in totals(dealt, {}, WORKERS[:3]).values()} == {10}
    assert balance(dealt, loads, WORKERS[:3]) == {}
