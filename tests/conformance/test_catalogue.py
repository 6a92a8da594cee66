"""The catalogue: what is declared can be run, and scenarios that run together keep out of each other's way."""

from __future__ import annotations

import inspect
import json
import re
import tomllib
from collections import Counter

import msgspec
import pytest

from workers.cli.application import main
from workers.conformance.adapters.adapter import load_adapter
from workers.conformance.adapters.plain_book import PlainBook
from workers.conformance.catalogue.all import CALM, SCENARIOS, chosen
from workers.conformance.fleet import answers as fleet_answers
from workers.conformance.fleet import rubbish as fleet_rubbish
from workers.conformance.fleet import settings as fleet_settings
from workers.conformance.fleet import sockets as fleet_sockets
from workers.conformance.fleet import streams as fleet_streams
from workers.conformance.fleet import subscriptions as fleet_subscriptions
from workers.conformance.fleet import trade_ids as fleet_trade_ids
from workers.conformance.fleet.settings import (
    MARKETS,
    SHORT_DAY,
    fleet_file,
    simulator,
    symbols_of,
)
from workers.conformance.orders import scripts as order_scripts
from workers.conformance.report import report_object, result_line, result_table
from workers.conformance.result import LEVELS, Result
from workers.conformance.venues import scripts as venue_scripts
from workers.errors import WrongArgument
from workers.operations.self_test import STARVED
from workers.settings.loading import parse
from workers.sim.engine.faults import KINDS
from workers.sim.settings import SimSettings

ON_FLEET = [scenario for scenario in SCENARIOS if scenario.fleet is not None]
INCOMPARABLE = {"unlist"}
"""Faults after which nothing could be compared: the truth of a symbol goes with it when it is taken off."""
ALL_BOOKS = [*CALM, *(name for scenario in ON_FLEET for name in scenario.fleet.books)]


def test_there_are_many_and_each_says_what_it_is():
    assert len(SCENARIOS) >= 50
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)
    assert len(ON_FLEET) >= 30
    assert sum(scenario.model is not None for scenario in SCENARIOS) >= 20
    for scenario in SCENARIOS:
        assert scenario.levels
        assert scenario.world.endswith(".")
        assert scenario.reader.endswith(".")


def test_scenarios_that_run_together_share_no_book():
    together = [name for one in ON_FLEET if not one.fleet.alone for name in one.fleet.books]
    assert [name for name, times in Counter(together).items() if times > 1] == []


def test_the_settings_of_the_whole_suite_are_valid(tmp_path):
    ports = {"exchange": 1, "brief": 2, "api": 3}
    text = fleet_file(tmp_path, symbols_of(ALL_BOOKS), ports, "unix:///tmp/none.sock")
    settings = parse(text, "suite", {}).settings
    assert list(settings.venues) == list(MARKETS)
    assert settings.venues["legacy"].market_path == ""
    assert tomllib.loads(text)["venues"]["usdm"]["symbols"][0] == "CALM1USDT"
    text = fleet_file(tmp_path, symbols_of(ALL_BOOKS), ports, "unix:///tmp/none.sock", patient=True)
    patient = parse(text, "suite", {}).settings
    assert patient.ingest.silence_s > settings.ingest.silence_s
    encoded = simulator(1, symbols_of(ALL_BOOKS), ["lose count=1", SHORT_DAY])
    decoded = msgspec.json.decode(encoded, type=SimSettings)
    assert "币安人生USDT" in decoded.listed("usdm")
    assert decoded.faults == ("lose count=1", SHORT_DAY)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in INCOMPARABLE])
def test_every_fault_of_the_exchange_strikes_in_some_scenario(kind: str):
    modules = (
        fleet_answers,
        fleet_rubbish,
        fleet_settings,
        fleet_sockets,
        fleet_streams,
        fleet_subscriptions,
        fleet_trade_ids,
        venue_scripts,
        order_scripts,
    )
    sources = [inspect.getsource(module) for module in modules]
    begun = [text for one in ON_FLEET for text in one.fleet.from_start]
    assert any(re.search(rf'"{kind}[ "]', source) for source in sources) or any(
        text.partition(" ")[0] == kind for text in begun
    )


def test_what_takes_long_is_run_by_the_full_tests():
    assert {scenario.name for scenario in SCENARIOS if scenario.takes_long} <= set(STARVED)


def test_names_and_patterns_choose():
    assert [one.name for one in chosen(["kill-*"], LEVELS)] == [
        name for name in (one.name for one in SCENARIOS) if name.startswith("kill-")
    ]
    assert [one.name for one in chosen(["drift", "calm"], LEVELS)] == ["calm", "drift"]
    assert chosen([], LEVELS) == list(SCENARIOS)
    with pytest.raises(WrongArgument, match="Did you mean 'lost-event'"):
        chosen(["lost-events"], LEVELS)
    with pytest.raises(WrongArgument, match="No scenario"):
        chosen(["kill-books"], ["model"])


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("PlainBook", "write module:Class"),
        ("no_such_module:Book", "No module named"),
        ("workers.conformance.adapters.plain_book:Book", "has no attribute 'Book'"),
        ("builtins:dict", "lacks on_event, on_snapshot"),
    ],
)
def test_an_adapter_that_is_none_is_refused(name: str, problem: str):
    with pytest.raises(WrongArgument, match=problem):
        load_adapter(name)


def test_an_adapter_is_found_by_its_name():
    assert load_adapter("workers.conformance.adapters.plain_book:PlainBook") is PlainBook


def test_the_report_counts_and_tells():
    good = Result("calm", "model", "Nothing.", 0.1)
    bad = Result("drift", "fleet", "Nothing.", 2.0, ["a", "b", "c [x]", "d"], {"n": 1})
    report = report_object([good, bad], 3.04)
    assert (report["passed"], report["failed"], report["seconds"]) == (1, 1, 3.0)
    assert report["scenarios"][1] == {
        "name": "drift",
        "level": "fleet",
        "venues": ["binance"],
        "passed": False,
        "seconds": 2.0,
        "expected": "Nothing.",
        "problems": ["a", "b", "c [x]", "d"],
        "facts": {"n": 1},
    }
    assert "FAILED" in result_line(bad)
    assert result_table([good, bad], 3.0).row_count == 2


def test_the_list_is_one_object_for_programs(capsys: pytest.CaptureFixture[str]):
    assert main(["conform", "--list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["scenarios"]
    assert [row["name"] for row in found] == [one.name for one in SCENARIOS]
    assert all(row["levels"] and row["world"] and row["reader"] for row in found)


@pytest.mark.parametrize("words", [("--level", "none"), ("--level", "fleet", "--adapter", "a:B")])
def test_what_cannot_be_run_is_refused_as_a_wrong_command_line(words: tuple[str, ...]):
    assert main(["conform", "--list", *words]) == 2
