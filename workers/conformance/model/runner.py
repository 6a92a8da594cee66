"""Running scenarios on the model level."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from workers.conformance.adapters.adapter import AdapterClass
from workers.conformance.model.market import RULES, ModelMarket, Rule
from workers.conformance.model.world import ModelWorld
from workers.conformance.result import Result
from workers.conformance.scenario import OnModel, Scenario


def run_model(scenarios: Iterable[Scenario], adapter: AdapterClass) -> Iterator[Result]:
    """Each scenario under both sequence rules, one result each."""
    for scenario in scenarios:
        chosen = scenario.model
        if chosen is None:
            continue
        result = Result(scenario.name, "model", scenario.reader)
        began = time.perf_counter()
        for rule in RULES:
            book = adapter(chosen.symbol, rule, chosen.limit)
            world = ModelWorld(book, _market(scenario.name, chosen, rule), chosen.limit)
            try:
                chosen.script(world)
                world.finish()
            except Exception as error:
                world.problem(f"it raised {type(error).__name__}: {error}")
            world.expect(world.compared > 0, "it was never in sync, so nothing could be compared.")
            result.problems += world.problems
            result.facts[rule] = {
                "compared": world.compared,
                "losses": world.losses,
                "snapshots": world.asked,
            }
        result.seconds = time.perf_counter() - began
        yield result


def _market(name: str, chosen: OnModel, rule: Rule) -> ModelMarket:
    """The market in which a scenario happens, the same every time."""
    return ModelMarket(
        chosen.symbol,
        rule,
        f"{name}/{rule}",
        middle=chosen.middle,
        reach=chosen.reach,
        begins_empty=chosen.begins_empty,
    )
