"""Running scenarios on single orders: each on every market whose exchange tells them and knows what happens."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from workers.conformance.orders.world import OrdersWorld
from workers.conformance.result import Result
from workers.conformance.scenario import OnOrders, Scenario
from workers.conformance.venues.places import Place


def fits(chosen: OnOrders, place: Place) -> bool:
    """Whether a scenario can happen to the single orders of a market."""
    feed = place.order_feed()
    return feed is not None and chosen.needs(feed)


def run_orders(scenarios: Iterable[Scenario], places: Sequence[Place]) -> Iterator[Result]:
    """Each scenario on the markets it fits, one result each; none where it fits none."""
    for scenario in scenarios:
        chosen = scenario.orders
        fitting = [place for place in places if chosen is not None and fits(chosen, place)]
        if chosen is None or not fitting:
            continue
        result = Result(scenario.name, "model", scenario.reader, venues=[place.name for place in fitting])
        began = time.perf_counter()
        for place in fitting:
            world = played(chosen, place)
            result.problems += world.problems
            counts = {"compared": world.compared, "losses": len(world.reasons), "entries": world.entries}
            result.facts[place.name] = counts
        result.seconds = time.perf_counter() - began
        yield result


def played(chosen: OnOrders, place: Place) -> OrdersWorld:
    """The world after a scenario has happened in it."""
    world = OrdersWorld(place, **chosen.settings)
    try:
        chosen.script(world)
        world.finish()
    except Exception as error:
        world.problem(f"it raised {type(error).__name__}: {error}")
    return world
