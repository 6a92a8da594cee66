"""Asks an API everything its OpenAPI document allows, and much that it does not: `ask_everything.py URL EXAMPLES`.

Prints how often each operation answered with each status, as JSON; a violation of the document ends it with a
traceback. A program of its own, so that making up requests does not take time from the fleet in the test's process.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.generation.modes import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance


def _range_is_wrong(response: Any) -> bool:
    """Whether `to` does not fit `from`: the one rule of ours that no schema can tell."""
    return response.status_code == 422 and str(response.json()["title"]).startswith("The range")


def ask_everything(url: str, examples: int) -> Counter[str]:
    """Ask each operation what fits the document, and what does not; every run asks the same."""
    statuses: Counter[str] = Counter()
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    for found in schema.get_all_operations():
        operation = found.ok()
        takes_something = bool(operation.definition.raw["parameters"])
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)[: 1 + takes_something]:

            @settings(
                max_examples=examples,
                derandomize=True,
                database=None,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Any) -> None:
                response = case.call()
                statuses[f"{case.method} {case.path} {response.status_code}"] += 1
                excluded = [positive_data_acceptance] if _range_is_wrong(response) else []
                case.validate_response(response, excluded_checks=excluded)

            ask()
    return statuses


if __name__ == "__main__":
    sys.stdout.write(json.dumps(ask_everything(sys.argv[1], int(sys.argv[2]))))
