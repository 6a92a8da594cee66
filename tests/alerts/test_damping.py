"""The limit on open alerts and the damping of those that flap, against a naive twin that keeps everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

import pytest
from alert_examples import BTC, rule
from hypothesis import given, settings
from hypothesis import strategies as st
from test_machine import APART_MS, Look, NaiveTwin

from workers.model.alerts.machine import AlertMachine
from workers.model.alerts.notices import sentence
from workers.model.alerts.records import Alert, Past, decode_alert, decode_past, encode
from workers.model.alerts.rules import BEYOND_LIMIT, EVENT_CLEARS_MS, Rule, Target
from workers.model.alerts.signals import Value

WITHIN_MS = 200
TARGETS = [Target("usdm", f"{name}USDT") for name in "AB"]


def limited(when: str = "mid > 1", *, most_open: int = 0, flapping_after: int = 0, **keys: float) -> Rule:
    made = rule(when, **keys)  # type: ignore[arg-type]
    return made._replace(most_open=most_open, flapping_after=flapping_after, flapping_within_ms=WITHIN_MS)


class Owners:
    """One owner of the alerts after another, and what they store."""

    def __init__(self, *rules: Rule, most_open: int = 0) -> None:
        self.rules, self.most_open = rules, most_open
        self.machine = AlertMachine(rules, most_open=most_open)
        self.pasts: dict[str, bytes] = {}

    def look(self, target: Target, value: Value, at: int, signal: str = "mid") -> list[str]:
        """What is told."""
        changes = self.machine.look(target, {signal: value}, at, apart_ms=APART_MS)
        return self._stored([change.event for change in changes])

    def round(self, values: dict[Target, Value], at: int) -> list[str]:
        """A look at everything, and its end; what is told."""
        told = [event for target, value in values.items() for event in self.look(target, value, at)]
        changes = self.machine.keep(set(TARGETS) | values.keys(), at, apart_ms=APART_MS)
        return told + self._stored([change.event for change in changes])

    def _stored(self, events: list[str]) -> list[str]:
        for field, past in self.machine.take_unsaved().items():
            self.pasts.pop(field, None)
            if past is not None:
                self.pasts[field] = encode(past)
        return [event for event in events if event != "updated"]

    def alerts(self) -> list[Alert]:
        return self.machine.open_alerts()

    def beyond(self) -> Alert | None:
        return next((alert for alert in self.alerts() if alert.target == BEYOND_LIMIT), None)

    def next(self) -> None:
        """Another worker owns the alerts from here on."""
        alerts = [decode_alert(encode(alert)) for alert in self.alerts()]
        pasts: list[Past] = [decode_past(past) for past in self.pasts.values()]
        self.machine = AlertMachine(self.rules, alerts, pasts, self.most_open)


class DampedTwin:
    """Decides from every look and every change there ever was."""

    def __init__(self, rule: Rule, most_open: int) -> None:
        self.rule, self.most_open = rule, most_open
        self.raw = {target: NaiveTwin(rule) for target in TARGETS}
        self.looks: dict[Target, list[tuple[int, bool, bool]]] = {target: [] for target in TARGETS}
        """When, whether anything was known, and whether the condition rose or was over then."""
        self.rises: dict[Target, list[int]] = {target: [] for target in TARGETS}
        self.flapping: set[Target] = set()
        self.state: dict[Target, str] = {}

    def restart(self) -> None:
        for target, raw in self.raw.items():
            raw.began = len(raw.past)
            self.looks[target] = []

    def calm(self, target: Target) -> bool:
        looks = self.looks[target]
        later = looks[-1]
        if not later[1]:
            return False
        for look in reversed(looks[:-1]):
            if later[2] or later[0] - look[0] > APART_MS or not look[1]:
                break
            later = look
        return looks[-1][0] - later[0] >= WITHIN_MS

    def look(self, target: Target, value: Value, at: int) -> list[str]:
        raw = self.raw[target]
        turn = raw.look(Look(at, value))
        self.looks[target].append((at, value is not None, bool(turn)))
        was_open = self.state.get(target) == "open"
        if turn == "fired" and target not in self.flapping:
            self.rises[target].append(at)
            recent = [rise for rise in self.rises[target] if at - rise < WITHIN_MS]
            if self.rule.flapping_after and len(recent) >= self.rule.flapping_after:
                self.flapping.add(target)
                self.rises[target] = []
            has_room = list(self.state.values()).count("open") < self.most_open
            self.state[target] = "open" if has_room else "left out"
            return ["fired"] if has_room else []
        if turn == "resolved" and target not in self.flapping:
            del self.state[target]
            return ["resolved"] if was_open else []
        if not turn and target in self.flapping and self.calm(target):
            self.flapping.remove(target)
            if not raw.is_open:
                del self.state[target]
            return [("steady" if raw.is_open else "resolved")] if was_open else []
        return []

    def count(self, state: str) -> int:
        return list(self.state.values()).count(state)


PAUSES = (0, 10, 10, 10, 20, 40, 40, 50, 60)
"""Few different ones, so that what is due is due at the very moment of a look."""
SWINGING: Mapping[bool, Sequence[Value]] = {
    True: (0.0, 0.0, 0.0, 1.5, 2.0, None),
    False: (2.0, 2.0, 2.0, 1.5, 0.0, None),
}
"""By whether the condition was met when it was last looked at."""


@pytest.mark.parametrize("for_all", [False, True], ids=["of a rule", "of all"])
@pytest.mark.parametrize("when", ["mid > 1", "mid > 1 for 20ms", "mid >= 2"])
@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), swings=st.floats(0.02, 0.6))
def test_what_is_told_is_what_a_twin_that_forgets_nothing_tells(
    when: str, for_all: bool, seed: int, swings: float
):
    hysteresis = {"resolve": 1.0, "resolve_after_s": 0.06} if ">=" in when else {}
    watched = limited(when, most_open=0 if for_all else 1, flapping_after=2 + seed % 2, **hysteresis)
    owners, twin, at = Owners(watched, most_open=1 if for_all else 0), DampedTwin(watched, 1), 10_000
    values: dict[Target, Value] = {}
    random = Random(seed)
    for _ in range(200):
        at += random.choice(PAUSES)
        target = random.choice(TARGETS)
        if random.random() < swings:
            values[target] = random.choice(SWINGING[(values.get(target) or 0.0) >= 2.0])
        value = values.get(target)
        assert owners.look(target, value, at) == twin.look(target, value, at)
        if random.random() < 0.03:
            twin.restart()
            owners.next()
        listed = {alert.target for alert in owners.alerts()}
        assert listed == {target for target, state in twin.state.items() if state == "open"}
        assert {alert.target for alert in owners.alerts() if alert.flapping} == twin.flapping & listed
        assert owners.machine.left_out == twin.count("left out")


def test_of_hundreds_that_fire_at_once_some_are_told_and_one_says_how_many_more():
    owners = Owners(limited(most_open=20))
    targets = [Target("usdm", f"C{number}USDT") for number in range(500)]
    assert owners.round(dict.fromkeys(targets, 2.0), 1_000) == ["fired"] * 21
    beyond = owners.beyond()
    assert beyond is not None
    assert (beyond.left_out, beyond.value, len(owners.alerts())) == (480, 480.0, 21)
    assert str(beyond.facts["targets"]).startswith("usdm:C20USDT, usdm:C21USDT")
    assert "wide at 480 more, mid > 1: no alert of their own (usdm:C20USDT, " in sentence("fired", beyond)
    owners.next()
    assert owners.round(dict.fromkeys(targets, 2.0), 1_020) == []
    assert owners.machine.left_out == 480


def test_it_is_told_again_when_twice_as_many_are_left_out_and_is_over_when_none_was_for_a_minute():
    owners = Owners(limited(most_open=1))
    targets = [Target("usdm", f"C{number}USDT") for number in range(9)]

    def met(number: int, at: int) -> list[str]:
        return owners.round(
            {target: 2.0 if index < number else 0.0 for index, target in enumerate(targets)}, at
        )

    assert met(3, 1_000) == ["fired", "fired"]
    assert met(4, 1_040) == []
    beyond = owners.beyond()
    assert beyond is not None
    assert (beyond.left_out, beyond.value) == (3, 2.0)
    assert met(5, 1_080) == ["grown"]
    assert met(8, 1_120) == []
    owners.next()
    assert met(9, 1_160) == ["grown"]
    assert met(1, 1_200) == []
    at = 1_200
    while owners.beyond() is not None:
        at += APART_MS
        told = met(1, at)
        assert told in ([], ["resolved"])
    assert at - 1_200 == EVENT_CLEARS_MS
    assert [alert.symbol for alert in owners.alerts()] == ["C0USDT"]
    assert owners.machine.left_out == 0
    assert owners.pasts == {}


def test_who_was_left_out_fires_the_next_time_if_there_is_room():
    owners = Owners(limited(most_open=1))
    first, second = TARGETS[:2]
    assert owners.round({first: 2.0, second: 2.0}, 1_000) == ["fired", "fired"]
    assert owners.round({first: 0.0, second: 2.0}, 1_010) == ["resolved"]
    assert owners.round({first: 0.0, second: 0.0}, 1_020) == []
    assert owners.round({first: 0.0, second: 2.0}, 1_030) == ["fired"]
    assert {alert.target for alert in owners.alerts()} == {second, BEYOND_LIMIT}


def test_an_alert_that_flaps_is_told_once_and_over_when_it_is_steady():
    owners = Owners(limited(flapping_after=3))
    told = [owners.look(BTC, value, 1_000 + 10 * at) for at, value in enumerate([2.0, 0.0] * 8)]
    assert told == [["fired"], ["resolved"], ["fired"], ["resolved"], ["fired"], *[[]] * 11]
    [alert] = owners.alerts()
    assert (alert.flapping, alert.firings, alert.met) == (True, 8, False)
    assert "flapping: 8 times lately" in sentence("fired", alert)
    owners.next()
    calm = [owners.look(BTC, 0.0, 1_160 + 40 * at) for at in range(6)]
    assert calm == [*[[]] * 5, ["resolved"]]
    assert alert.firings == 8
    assert owners.alerts() == []
    assert owners.pasts == {}
    assert owners.look(BTC, 2.0, 2_000) == ["fired"]
    assert not owners.alerts()[0].flapping


def test_one_that_flapped_and_stands_is_an_alert_like_any_other_again():
    owners = Owners(limited(flapping_after=2))
    assert [owners.look(BTC, value, 1_000 + at) for at, value in enumerate([2.0, 0.0, 2.0])] == [
        ["fired"], ["resolved"], ["fired"]
    ]  # fmt: skip
    held = [owners.look(BTC, 2.0, 1_002 + 40 * at) for at in range(1, 6)]
    assert held == [[], [], [], [], ["steady"]]
    assert owners.look(BTC, 0.0, 1_210) == ["resolved"]


def test_firings_before_a_restart_count_and_those_of_long_ago_do_not():
    owners = Owners(limited(flapping_after=3))
    for at, value in enumerate([2.0, 0.0, 2.0, 0.0]):
        owners.look(BTC, value, 1_000 + at)
    owners.next()
    assert owners.look(BTC, 2.0, 1_100) == ["fired"]
    assert owners.alerts()[0].flapping
    late = Owners(limited(flapping_after=3))
    for at, value in enumerate([2.0, 0.0, 2.0, 0.0]):
        late.look(BTC, value, 1_000 + at)
    late.next()
    assert late.round({}, 1_000 + WITHIN_MS + 2) == []
    assert late.pasts == {}
    assert late.look(BTC, 2.0, 1_300) == ["fired"]
    assert not late.alerts()[0].flapping


def test_what_happens_again_and_again_is_counted_while_it_flaps():
    owners = Owners(limited("gap", flapping_after=2, resolve_after_s=0.001))
    for at, number in enumerate([1.0, 0.0, 0.0, 2.0, 0.0, 0.0, 4.0]):
        owners.look(BTC, number, 1_000 + at, "gap")
    [alert] = owners.alerts()
    assert (alert.flapping, alert.count, alert.firings) == (True, 6, 3)


def test_a_rule_or_symbol_that_is_gone_leaves_nothing_behind():
    owners = Owners(limited(most_open=1, flapping_after=3))
    owners.round(dict.fromkeys(TARGETS, 2.0), 1_000)
    assert owners.machine.left_out == 1
    changes = owners.machine.keep(set(), 1_010, apart_ms=APART_MS)
    assert [change.event for change in changes] == ["resolved", "updated"]
    owners._stored([])
    assert (owners.machine.left_out, list(owners.pasts)) == (0, ["wide/*"])
    other = limited("mid > 1", most_open=1)._replace(name="other")
    owners.rules = (other,)
    owners.next()
    changes = owners.machine.keep(set(), 1_020, apart_ms=APART_MS)
    assert [(change.event, change.alert.resolution) for change in changes] == [
        ("resolved", "the rule is gone")
    ]
    owners._stored([])
    assert owners.pasts == {}
