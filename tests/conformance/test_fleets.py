"""Which fleet a scenario runs on, and how the results of several fleets come together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from workers.conformance.catalogue.all import CALM, SCENARIOS
from workers.conformance.fleet.runner import MANY_BOOKS, _side_by_side, fleets
from workers.conformance.result import Result
from workers.errors import CommandError


def result(name: str) -> Result:
    return Result(name, "fleet", "It passes.")


def test_each_scenario_runs_on_one_fleet_and_only_one_fleet_has_many_books_of_a_scenario():
    found = fleets(SCENARIOS)
    ran = [scenario for scenarios in found.values() for scenario in scenarios]
    assert sorted(one.name for one in ran) == sorted(one.name for one in SCENARIOS if one.fleet is not None)
    assert not any(one.fleet.alone for one in found["together"])
    assert all(one.fleet.alone for one in found["alone"] + found["crowd"])
    assert all(len(one.fleet.books) < MANY_BOOKS for one in found["alone"])
    books = {name for one in found["alone"] for name in one.fleet.books} | set(CALM)
    assert len(books) < 30
    assert fleets([one for one in SCENARIOS if one.fleet is None]) == {}


async def test_results_come_when_they_are_there_whoever_is_slow():
    first_given, second_given = asyncio.Event(), asyncio.Event()

    async def one() -> AsyncIterator[Result]:
        yield result("a")
        await asyncio.wait_for(second_given.wait(), 60)
        yield result("c")

    async def other() -> AsyncIterator[Result]:
        await asyncio.wait_for(first_given.wait(), 60)
        yield result("b")

    names = []
    async for given in _side_by_side([one(), other()]):
        names.append(given.name)
        (first_given if given.name == "a" else second_given).set()
    assert names == ["a", "b", "c"]


async def test_when_one_fails_the_others_are_ended_in_good_order():
    ended = asyncio.Event()

    async def fails() -> AsyncIterator[Result]:
        yield result("a")
        raise CommandError("The fleet did not start.")

    async def waits() -> AsyncIterator[Result]:
        try:
            await asyncio.Event().wait()
            yield result("never")
        finally:
            ended.set()

    with pytest.raises(CommandError, match="did not start"):
        async for _ in _side_by_side([fails(), waits()]):
            pass
    assert ended.is_set()
