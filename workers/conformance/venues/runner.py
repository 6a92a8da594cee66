"""Running scenarios on the model level of the venues: each on every market that knows what happens."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from workers.conformance.result import Result
from workers.conformance.scenario import OnVenues, Scenario
from workers.conformance.venues.places import Place
from workers.conformance.venues.world import VenueWorld


def run_venues(scenarios: Iterable[Scenario], places: Sequence[Place]) -> Iterator[Result]:
    """Each scenario on the markets whose facts fit, one result each; none where no market's do."""
    for scenario in scenarios:
        chosen = scenario.venues
        fitting = [place for place in places if chosen is not None and chosen.needs(place.facts())]
        if chosen is None or not fitting:
            continue
        result = Result(scenario.name, "model", scenario.reader, venues=[place.name for place in fitting])
        began = time.perf_counter()
        for place in fitting:
            world = played(chosen, place)
            result.problems += world.problems
            result.facts[place.name] = {
                "compared": world.compared,
                "losses": sum(book.losses for book in world.books.values()),
                "asked": sum(book.asked for book in world.books.values()),
                "sockets_replaced": world.replaced,
            }
        result.seconds = time.perf_counter() - began
        yield result


def played(chosen: OnVenues, place: Place) -> VenueWorld:
    """The world after a scenario has happened in it."""
    world = VenueWorld(place)
    try:
        chosen.script(world)
        world.finish()
    except Exception as error:
        world.problem(f"it raised {type(error).__name__}: {error}")
    return world
