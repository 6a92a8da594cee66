"""What becomes of alerts, against a naive twin that looks through all that was ever seen."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from alert_examples import BTC, rule
from hypothesis import given
from hypothesis import strategies as st

from workers.model.alerts.machine import AlertMachine
from workers.model.alerts.records import Alert, decode_alert, encode
from workers.model.alerts.rules import Rule, Target
from workers.model.alerts.signals import Value

APART_MS = 50


class Look(NamedTuple):
    at: int
    value: Value


class NaiveTwin:
    """Decides at each look from the whole past."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.past: list[Look] = []
        self.began = 0
        """Looks before this one were before the last change."""
        self.is_open = False

    def stretch(self, wanted: str) -> int:
        """How long the newest looks have all said so, without a pause that is too long; -1: the newest does not."""
        first = None
        later = None
        for look in reversed(self.past[self.began :]):
            so = self.rule.is_met(look.value) if wanted == "met" else self.rule.is_clear(look.value)
            if not so or (later is not None and later - look.at > APART_MS):
                break
            first = later = look.at
        return -1 if first is None else self.past[-1].at - first

    def look(self, look: Look) -> str:
        self.past.append(look)
        if not self.is_open and self.stretch("met") >= self.rule.condition.for_ms:
            self.is_open, self.began = True, len(self.past)
            return "fired"
        if self.is_open and 0 <= self.stretch("clear") >= self.rule.resolve_after_ms:
            self.is_open, self.began = False, len(self.past)
            return "resolved"
        return ""


RULES = [
    rule("spread_bps > 5"),
    rule("spread_bps > 5 for 60ms"),
    rule("spread_bps >= 5 for 100ms", resolve=3, resolve_after_s=0.08),
    rule("spread_bps < 5 for 30ms", resolve=6),
    rule("withheld for 40ms", resolve_after_s=0.05),
    rule("book_state != synced for 40ms"),
]
VALUES = {
    "spread_bps": st.sampled_from([None, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 7.0]),
    "withheld": st.sampled_from([None, True, True, False]),
    "book_state": st.sampled_from([None, "synced", "stale", "broken"]),
}


@pytest.mark.parametrize("watched", RULES, ids=lambda rule: rule.text)
@given(data=st.data())
def test_alerts_fire_and_resolve_as_the_whole_past_says(watched: Rule, data: st.DataObject):
    name = watched.condition.signal.name
    looks = data.draw(st.lists(st.tuples(st.integers(1, 70), VALUES[name]), max_size=60))
    machine, twin, at = AlertMachine([watched]), NaiveTwin(watched), 10_000
    for pause, value in looks:
        at += pause
        changes = machine.look(BTC, {name: value}, at, apart_ms=APART_MS)
        assert [change.event for change in changes] == [
            event for event in [twin.look(Look(at, value))] if event
        ]
        if data.draw(st.integers(0, 9)) == 0:  # the owner is another worker from here on
            twin.began = len(twin.past)
            machine = AlertMachine(
                [watched], [decode_alert(encode(alert)) for alert in machine.open_alerts()]
            )
        assert bool(machine.open_alerts()) == twin.is_open


def fire(machine: AlertMachine, at: int, **values: Value) -> list[str]:
    return [change.event for change in machine.look(BTC, values, at, apart_ms=1_000)]


def test_one_alert_a_rule_and_target_however_often_it_is_met():
    machine = AlertMachine([rule("mid > 1"), rule("mid > 2", "higher")])
    assert fire(machine, 1_000, mid=1.5) == ["fired"]
    assert fire(machine, 1_100, mid=3.0) == ["fired"]
    assert fire(machine, 1_200, mid=3.0) == []
    assert [alert.rule for alert in machine.open_alerts()] == ["wide", "higher"]
    assert machine.open_alerts()[0].last_value == 3.0


def test_what_happens_again_meanwhile_is_counted_and_not_told():
    machine = AlertMachine([rule("gap", resolve_after_s=1)])
    assert fire(machine, 1_000, gap=2.0) == ["fired"]
    assert fire(machine, 1_500, gap=0.0) == []
    assert fire(machine, 2_000, gap=3.0) == ["updated"]
    [alert] = machine.open_alerts()
    assert (alert.count, alert.last_met_ms) == (5, 2_000)
    assert fire(machine, 2_900, gap=0.0) == []
    assert fire(machine, 3_800, gap=0.0) == []
    assert fire(machine, 3_900, gap=0.0) == ["resolved"]


def test_an_owner_that_takes_over_fires_nothing_again_and_resolves_what_was_open():
    first = AlertMachine([rule("mid > 1")])
    assert fire(first, 1_000, mid=2.0) == ["fired"]
    second = AlertMachine([rule("mid > 1")], [decode_alert(encode(alert)) for alert in first.open_alerts()])
    assert fire(second, 9_000, mid=2.0) == []
    assert fire(second, 9_100, mid=None) == []
    [change] = second.look(BTC, {"mid": 0.5}, 9_200, apart_ms=1_000)
    assert (change.event, change.alert.id, change.alert.resolved_ms) == (
        "resolved",
        "wide/usdm:BTCUSDT/1000",
        9_200,
    )


def test_in_a_silence_nobody_is_told_and_at_its_end_what_is_still_open_is():
    hour = 3_600_000
    machine = AlertMachine([rule("mid > 1", silence="01:00-02:00")])
    [change] = machine.look(BTC, {"mid": 2.0}, hour, apart_ms=hour)
    assert (change.event, change.alert.silenced) == ("fired", True)
    assert fire(machine, 2 * hour - 1, mid=2.0) == []
    [change] = machine.look(BTC, {"mid": 2.0}, 2 * hour, apart_ms=hour)
    assert (change.event, change.alert.silenced) == ("unsilenced", False)


def test_what_nobody_watches_any_more_is_resolved_and_says_why():
    open_alerts: list[Alert] = []
    machine = AlertMachine([rule("mid > 1"), rule("mid > 1 on ETH*", "other")])
    fire(machine, 1_000, mid=2.0)
    machine.look(Target("usdm", "ETHUSDT"), {"mid": 2.0}, 1_000, apart_ms=1_000)
    open_alerts = machine.open_alerts()
    assert len(open_alerts) == 3
    left = AlertMachine([rule("mid > 1")], open_alerts)
    found = {
        (c.alert.rule, c.alert.symbol, c.alert.resolution) for c in left.keep({BTC}, 5_000, apart_ms=1_000)
    }
    assert found == {("other", "ETHUSDT", "the rule is gone"), ("wide", "ETHUSDT", "not followed any more")}
    assert [alert.symbol for alert in left.open_alerts()] == ["BTCUSDT"]


@pytest.mark.parametrize("now", [rule("mid > 1", severity="critical"), rule("mid > 1.5")])
def test_the_alert_of_a_rule_that_was_changed_ends_and_the_new_rule_has_its_own(now: Rule):
    machine = AlertMachine([rule("mid > 1")])
    fire(machine, 1_000, mid=2.0)
    assert AlertMachine([rule("mid > 1")], machine.open_alerts()).keep({BTC}, 2_000, apart_ms=1_000) == []
    changed = AlertMachine([now], machine.open_alerts())
    [change] = changed.keep({BTC}, 2_000, apart_ms=1_000)
    assert (change.event, change.alert.resolution) == ("resolved", "the rule was changed")
    assert fire(changed, 2_500, mid=2.0) == ["fired"]
    [alert] = changed.open_alerts()
    assert (alert.condition, alert.severity) == (now.text, now.severity)


def test_of_a_venue_whose_symbols_are_not_known_yet_nothing_is_given_up():
    eth = Target("usdm", "ETHUSDT")
    limited = rule("mid > 1")._replace(most_open=1)
    machine = AlertMachine([limited])
    for target in (BTC, eth):
        machine.look(target, {"mid": 2.0}, 1_000, apart_ms=1_000)
    assert (len(machine.open_alerts()), machine.left_out) == (1, 1)
    assert [change.event for change in machine.keep((), 1_000, apart_ms=1_000, undecided=["usdm"])] == [
        "fired"
    ]  # how many are left out
    assert machine.left_out == 1
    machine.keep((), 2_000, apart_ms=1_000, undecided=["spot"])
    assert (BTC in {alert.target for alert in machine.open_alerts()}, machine.left_out) == (False, 0)


def test_a_clock_that_goes_back_proves_nothing():
    machine = AlertMachine([rule("mid > 1 for 1s")])
    assert fire(machine, 9_000, mid=2.0) == []
    assert fire(machine, 1_000, mid=2.0) == []
    assert fire(machine, 1_900, mid=2.0) == []
    assert fire(machine, 2_000, mid=2.0) == ["fired"]
