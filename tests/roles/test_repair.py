"""Filling holes: paging, pages that are not tidy, what is too old, and cuts as long as hours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis
from redis.exceptions import RedisError
from repair_world import FIRST, SETTINGS, SYMBOL, T0, Row, World, trades

from workers.errors import NotServed
from workers.model.events import Trade
from workers.model.pauses import Pauses
from workers.runtime.tasks import end
from workers.venues.requests import RestRequest


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses."""
    monkeypatch.setattr("workers.trades.repair.FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr("workers.trades.repair.CONFIRM_PAUSE_S", 0.0)


@pytest.fixture
async def make(client: Redis) -> AsyncIterator[Callable[[list[Trade]], World]]:
    made: list[World] = []

    def world(tape: list[Trade]) -> World:
        made.append(World(client, tape))
        return made[-1]

    yield world
    for one in made:
        one.owned.figures.remove()


Make = Callable[[list[Trade]], World]


@pytest.mark.parametrize(
    ("away_s", "spacing_ms"), [(60, 40), (600, 200), (10_800, 2_000)], ids=["60 s", "10 min", "3 h"]
)
async def test_after_a_cut_nothing_is_missing_and_the_bars_are_the_tapes(
    make: Make, away_s: int, spacing_ms: int
) -> None:
    """The longer the cut, the sparser the trades, so that a test can hold them."""
    gone = away_s * 1000 // spacing_ms
    world = make(trades(gone + 400, spacing_ms))
    await world.cut(199, 200 + gone)
    await world.check()
    assert await world.gaps() == [(FIRST + 200, FIRST + 199 + gone, f"{gone} over REST")]
    assert world.exchange.asked == [FIRST + 200 + 1000 * page for page in range(-(-gone // 1000))]


async def test_a_repair_that_was_interrupted_goes_on_where_the_fold_stands(make: Make) -> None:
    world = make(trades(5_000, 40))
    world.exchange.spoil = lambda rows: rows[:10]
    await world.store.apply(SYMBOL, [("", trade) for trade in world.tape[:100]])
    await world.repair.fill(world.owned, FIRST + 100, FIRST + 105)
    world.exchange.spoil = list
    await world.cut(99, 4_000)
    assert world.exchange.asked[1] == FIRST + 105
    await world.check()


async def test_pages_in_any_order_with_rows_twice_are_taken(make: Make) -> None:
    world = make(trades(2_600, 40))
    world.exchange.spoil = lambda rows: rows[::-1] + rows[3:9]
    await world.cut(99, 2_500)
    await world.check()


async def test_a_hole_in_the_page_is_missing_and_the_rest_is_not(make: Make) -> None:
    world = make(trades(300, 40))
    absent = range(FIRST + 120, FIRST + 123)
    world.exchange.spoil = lambda rows: [one for one in rows if one["a"] not in absent]
    await world.cut(99, 200)
    await world.check(without=absent)
    assert (FIRST + 120, FIRST + 122, "no") in await world.gaps()


async def test_where_no_trades_can_be_asked_for_nothing_waits(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, asked = make(trades(300, 40)), []

    async def get(request: RestRequest, *_: object) -> bytes:
        asked.append(request)
        raise NotServed("usdm", "it")

    monkeypatch.setattr(world.exchange, "get", get)
    await world.cut(99, 200)
    await world.check(without=range(FIRST + 100, FIRST + 200))
    assert len(asked) == 1
    assert await world.gaps() == [(FIRST + 100, FIRST + 199, "no")]


@pytest.mark.parametrize("price", ["1e3", "0.00", "-1"])
async def test_a_row_whose_price_is_none_of_a_trade_counts_as_no_trade_and_is_not_missing(
    make: Make, price: str
) -> None:
    world = make(trades(300, 40))
    world.exchange.spoil = lambda rows: [
        one | {"p": price} if one["a"] == FIRST + 150 else one for one in rows
    ]
    await world.cut(99, 200)
    world.tape[150] = replace(world.tape[150], is_market=False)
    await world.check()
    assert (await world.store.state(SYMBOL)).not_market == 1


async def test_a_row_of_a_time_to_come_is_missing_and_ends_no_window(make: Make) -> None:
    world = make(trades(300, 40))
    world.exchange.spoil = lambda rows: [
        one | {"T": 2 * T0} if one["a"] == FIRST + 150 else one for one in rows
    ]
    await world.cut(99, 200)
    await world.check(without=range(FIRST + 150, FIRST + 151))


async def test_an_id_far_ahead_is_passed_over_once_the_exchange_has_gone_on_without_it(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a pause its trades would be asked for as fast as they are made, by the budget of all."""
    taken = []

    class CountedPauses(Pauses):
        def take(self) -> float:
            taken.append(super().take())
            return taken[-1]

    monkeypatch.setattr("workers.trades.repair.Pauses", CountedPauses)
    world = make(trades(400, 100))
    far = replace(world.tape[200], trade_id=FIRST + 500_000)
    world.owned.waiting = [(b"1-1", far), (b"2-2", world.tape[320])]
    made = iter(range(FIRST + 210, FIRST + 400, 10))

    def so_far(rows: list[Row]) -> list[Row]:
        end = next(made, 0)
        return [one for one in rows if one["a"] < end]

    world.exchange.spoil = so_far
    await world.store.apply(SYMBOL, [("", trade) for trade in world.tape[:200]])
    result = await world.store.apply(SYMBOL, [("", far)])
    assert result.hole is not None
    await world.repair.fill(world.owned, result.hole.expected, result.hole.seen)
    assert world.owned.waiting == [(b"2-2", world.tape[320])]
    assert world.owned.useless == [b"1-1"]
    state = await world.store.state(SYMBOL)
    assert (state.missing, state.last_id, state.hole_next_id) == (0, FIRST + 309, 0)
    assert len(taken) == len(world.exchange.asked) - 1


@pytest.mark.parametrize("old", [1, 2, 37, 1_399])
async def test_only_what_is_too_old_for_the_exchange_is_missing(make: Make, old: int) -> None:
    """As after 60 hours away, of which futures still serve 48."""
    world = make(trades(1_600, 40))
    world.exchange.oldest = FIRST + 100 + old
    await world.cut(99, 1_500)
    await world.check(without=range(FIRST + 100, FIRST + 100 + old))
    assert await world.gaps() == [
        (FIRST + 100, FIRST + 99 + old, "no"),
        (FIRST + 100, FIRST + 1_499, f"{1_400 - old} over REST"),
    ]
    assert len(world.exchange.asked) <= 4 + 11 + 2


async def test_a_hole_that_is_all_too_old_costs_four_requests(make: Make) -> None:
    world = make(trades(1_600, 40))
    world.exchange.oldest = FIRST + 1_500
    await world.cut(99, 1_500)
    await world.check(without=range(FIRST + 100, FIRST + 1_500))
    assert world.exchange.asked == [FIRST + 100, FIRST + 1_500, FIRST + 1_499, FIRST + 1_499]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 418, 451])
async def test_a_passing_refusal_is_not_the_truth(
    make: Make, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(SETTINGS.trades, "repair_for_s", 600)
    monkeypatch.setattr("repair_world.AGE_MS", 0)
    world = make(trades(300, 40))
    world.exchange.refusals = [status] * 7
    await world.cut(99, 110)
    await world.check()
    assert world.exchange.asked == [FIRST + 100] * 8
    assert world.owned.hole_reason == ""


async def test_a_refusal_for_age_of_trades_that_are_young_is_not_believed(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repair_world.AGE_MS", 0)
    world = make(trades(300, 40))
    world.exchange.oldest = FIRST + 150
    await world.cut(99, 200)
    assert world.exchange.asked == [FIRST + 100] * 2, "it did not halve: no age explains the refusal"
    await world.check(without=range(FIRST + 100, FIRST + 200))


async def test_a_refusal_for_age_that_is_not_said_twice_is_not_believed(make: Make) -> None:
    world = make(trades(300, 40))
    world.exchange.refusals = [400]
    await world.cut(99, 101)
    await world.check()
    assert world.exchange.asked == [FIRST + 100, FIRST + 101, FIRST + 100, FIRST + 100]


async def test_a_refusal_that_lasts_is_accepted_when_the_time_is_over(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SETTINGS.trades, "repair_for_s", 1.0)
    monkeypatch.setattr("workers.trades.repair.FIRST_PAUSE_S", 0.2)
    world = make(trades(300, 40))
    world.exchange.refusals = [451] * 1_000
    reasons = []

    async def watch() -> None:
        while True:
            reasons.append(world.owned.hole_reason)
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    await world.cut(99, 110)
    await end([watching])
    await world.check(without=range(FIRST + 100, FIRST + 110))
    assert len(world.exchange.asked) > 2
    assert any("451" in reason for reason in reasons)
    assert (FIRST + 100, FIRST + 109, "no") in await world.gaps()


async def test_an_exchange_that_fails_is_asked_again_and_in_the_end_given_up(make: Make) -> None:
    world = make(trades(300, 40))
    world.exchange.broken = 1

    def breaks_once(rows: list[Row]) -> list[Row]:
        """After the first page, too: only failures in a row count."""
        world.exchange.broken = 1
        world.exchange.spoil = list
        return rows[:30]

    world.exchange.spoil = breaks_once
    await world.cut(99, 150)
    assert (await world.store.state(SYMBOL)).missing == 0
    world.exchange.broken = 2
    await world.repair.fill(world.owned, FIRST + 300, FIRST + 310)
    assert (await world.store.state(SYMBOL)).missing == 10


async def test_an_answer_that_does_not_reach_what_was_seen_is_asked_for_again(
    make: Make,
) -> None:
    """REST may be behind the stream: that it has nothing yet does not say that there is nothing."""
    world = make(trades(300, 40))
    answers = iter([0, 30, 30, 60])

    def late(rows: list[Row]) -> list[Row]:
        there = FIRST + 100 + next(answers, 1_000)
        return [one for one in rows if one["a"] < there]

    world.exchange.spoil = late
    await world.cut(99, 200)
    assert world.exchange.asked == [FIRST + 100 + n for n in (0, 0, 30, 30, 60)]
    await world.check()
    assert await world.gaps() == [(FIRST + 100, FIRST + 199, "100 over REST")]
    world.exchange.asked.clear()
    world.exchange.spoil = lambda _: []
    await world.repair.fill(world.owned, FIRST + 300, FIRST + 302)
    assert world.exchange.asked == [FIRST + 300] * 2
    assert (await world.gaps())[1:] == [(FIRST + 300, FIRST + 301, "no")]


async def test_a_repair_that_is_cut_short_tells_what_it_filled(make: Make) -> None:
    world = make(trades(2_500, 40))
    pages = iter([list])

    def fails(rows: list[Row]) -> list[Row]:
        if next(pages, None) is None:
            raise RedisError("gone")
        return rows

    world.exchange.spoil = fails
    with pytest.raises(RedisError):
        await world.cut(99, 2_400)
    assert await world.gaps() == [(FIRST + 100, FIRST + 1_099, "1000 over REST")]
