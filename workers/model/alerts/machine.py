"""What becomes of each rule at each target: quiet, pending, firing, resolved. Time is an argument.

A rule's condition is *pending* from the look that first meets it, and the alert *fires* when the condition rises
(`workers/model/alerts/watched.py`). A firing alert is left as it is by looks that know nothing or find the value
between the threshold and `resolve`; it is *resolved* when the condition is over. There is one alert a rule and target
at a time, however often the condition is met meanwhile.

An alert that *flaps* stays open, and what its condition does meanwhile is counted and not told, until it is steady:
then it is resolved, or, where the condition stands, an alert like any other again.

Where as many alerts are open as a rule, or all rules, may have, a condition that rises is *left out*: it has no alert,
now or later, until it is over. One more alert of the rule, at the target `*`, says how many are left out. It fires at
the end of the look at everything, so that it says how many they are; it is told again when they are twice as many as
it told, and resolved when none was left out for a minute.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from workers.model.alerts.records import Alert, Change, Past, field_of, open_alert
from workers.model.alerts.rules import BEYOND_LIMIT, EVENT_CLEARS_MS, Condition, Rule, Target
from workers.model.alerts.signals import Signal, Source, Value
from workers.model.alerts.watched import Turn, Watched

Facts = Mapping[str, str | float | bool | None]

NAMED: Final = 20
"""Of those that are left out: how many are named."""
LEFT_OUT: Final = Condition(Signal("left_out", "number", Source.WORKERS), ">", 0.0)
"""What the alert about those beyond a limit is about."""


class AlertMachine:
    """The state of all rules.

    Args:
        rules: those in force.
        opened: alerts that were open when the last owner stopped: they fire no second time.
        pasts: what that owner knew besides.
        most_open: alerts of all rules that may be open at a time, besides those about what is left out; 0: any number.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        opened: Iterable[Alert] = (),
        pasts: Iterable[Past] = (),
        most_open: int = 0,
    ) -> None:
        self._rules = list(rules)
        self._by_name = {rule.name: rule for rule in rules}
        self._most_open = most_open
        self._open = Counter[str]()
        self._left_out: dict[str, dict[Target, None]] = {rule.name: {} for rule in rules}
        self._unsaved: dict[str, Past | None] = {}
        known = {(past.rule, past.target): past for past in pasts}
        self._watched = {key: Watched(past=past) for key, past in known.items()}
        for alert in opened:
            key = (alert.rule, alert.target)
            self._watched[key] = Watched(alert, known.get(key))
            self._open[alert.rule] += alert.target != BEYOND_LIMIT
        for (name, target), watched in self._watched.items():
            if watched.left_out_ms:
                self._left_out.setdefault(name, {})[target] = None

    def open_alerts(self) -> list[Alert]:
        """Those that are open now."""
        return [watched.alert for watched in self._watched.values() if watched.alert is not None]

    @property
    def pending(self) -> int:
        """Conditions that are met, and not for long enough yet."""
        return sum(not watched.stands and watched.met_since is not None for watched in self._watched.values())

    @property
    def left_out(self) -> int:
        """How many have no alert of their own because of a limit."""
        return sum(len(targets) for targets in self._left_out.values())

    def take_unsaved(self) -> dict[str, Past | None]:
        """What the next owner must know besides the open alerts, as far as it changed since the last call; None:
        nothing of that field any more."""
        unsaved, self._unsaved = self._unsaved, {}
        return unsaved

    def look(
        self,
        target: Target,
        values: Mapping[str, Value],
        now_ms: int,
        *,
        apart_ms: int,
        facts: Facts | None = None,
    ) -> list[Change]:
        """What changes now that the values of a target are known.

        Args:
            values: by the name of the signal; a signal that is not there was not looked at, None is not known.
            apart_ms: two looks farther apart than this are no unbroken stretch.
            facts: what to note of the target where an alert fires.
        """
        changes: list[Change] = []
        for rule in self._rules:
            name = rule.condition.signal.name
            if name in values and rule.is_about(target):
                changes += self._look(rule, target, values[name], now_ms, apart_ms, facts or {})
        return changes

    def _look(
        self, rule: Rule, target: Target, value: Value, now_ms: int, apart_ms: int, facts: Facts
    ) -> Iterator[Change]:
        key, met = (rule.name, target), rule.is_met(value)
        watched = self._watched.get(key)
        if watched is None:
            if not met:
                return
            watched = self._watched[key] = Watched()
        forgot = watched.forget_old(rule.flapping_within_ms, now_ms)
        turn = watched.look(rule, met=met, clear=rule.is_clear(value), now_ms=now_ms, apart_ms=apart_ms)
        if watched.alert is not None:
            yield from self._look_again(rule, watched, watched.alert, turn, value, now_ms)
        elif turn == "risen" and not watched.left_out_ms:
            yield from self._fire(rule, target, watched, value, now_ms, facts)
        elif watched.left_out_ms and not watched.stands and not watched.flapping:
            self._let_go(rule.name, target, watched)
        if turn or forgot:
            self._note(rule.name, target, watched)
        if watched.is_idle:
            del self._watched[key]

    def _fire(
        self, rule: Rule, target: Target, watched: Watched, value: Value, now_ms: int, facts: Facts
    ) -> Iterator[Change]:
        if target != BEYOND_LIMIT and not self._has_room(rule):
            watched.left_out_ms = now_ms
            self._left_out[rule.name][target] = None
            return
        since_ms = now_ms if watched.met_since is None else watched.met_since
        alert = watched.alert = open_alert(rule, target, value, since_ms, now_ms)
        alert.facts = dict(facts)
        if watched.flapping:
            alert.flapping, alert.firings = True, rule.flapping_after
        self._open[rule.name] += target != BEYOND_LIMIT
        yield Change("fired", alert)

    def _has_room(self, rule: Rule) -> bool:
        if rule.most_open and self._open[rule.name] >= rule.most_open:
            return False
        return not self._most_open or self._open.total() < self._most_open

    def _look_again(
        self, rule: Rule, watched: Watched, alert: Alert, turn: Turn, value: Value, now_ms: int
    ) -> Iterator[Change]:
        if alert.silenced and not rule.silent(now_ms):
            alert.silenced = False
            yield Change("unsilenced", alert)
        counted = False
        if rule.is_met(value):
            alert.last_value, alert.last_met_ms = value, now_ms
            if rule.condition.signal.kind == "event" and isinstance(value, int | float):
                alert.count += int(value)
                counted = True
        if turn == "steady" and watched.stands:
            alert.flapping = False
            yield Change("steady", alert)
        elif turn == "risen" or (turn == "over" and watched.flapping):
            alert.met, alert.firings = watched.stands, alert.firings + (turn == "risen")
            yield Change("updated", alert)
        elif turn:
            why = "the condition is over" if turn == "over" else "the condition is over, and flaps no more"
            yield self._resolved(rule.name, watched, alert, now_ms, why)
        elif counted:
            yield Change("updated", alert)

    def _resolved(self, name: str, watched: Watched, alert: Alert, now_ms: int, why: str) -> Change:
        watched.alert = None
        self._open[name] -= alert.target != BEYOND_LIMIT
        alert.resolved_ms, alert.resolution = now_ms, why
        return Change("resolved", alert)

    def _let_go(self, name: str, target: Target, watched: Watched) -> None:
        if watched.left_out_ms:
            watched.left_out_ms = 0
            del self._left_out[name][target]

    def _note(self, name: str, target: Target, watched: Watched) -> None:
        self._unsaved[field_of(name, target)] = watched.past(name, target.venue, target.symbol)

    def keep(
        self, targets: Collection[Target], now_ms: int, *, apart_ms: int, undecided: Collection[str] = ()
    ) -> list[Change]:
        """What changes at the end of a look at everything: what nobody watches any more is resolved, of a target that
        is gone or of a rule that is, or is another now; and those that are left out are counted.

        Args:
            undecided: venues of which it is not known yet which symbols are followed.
        """
        changes: list[Change] = []
        for (name, target), watched in list(self._watched.items()):
            rule, alert = self._by_name.get(name), watched.alert
            why = ""
            if rule is None or not (target == BEYOND_LIMIT or rule.is_about(target)):
                why = "the rule is gone"
            elif alert is not None and (alert.condition, alert.severity) != (rule.text, rule.severity):
                why = "the rule was changed"
            elif target != BEYOND_LIMIT and target not in targets and target.venue not in undecided:
                why = "not followed any more"
            if why:
                if alert is not None:
                    changes.append(self._resolved(name, watched, alert, now_ms, why))
                self._let_go(name, target, watched)
                watched.fired = ()
                self._note(name, target, watched)
                del self._watched[name, target]
            elif rule is not None and watched.forget_old(rule.flapping_within_ms, now_ms):
                self._note(name, target, watched)
                if watched.is_idle:
                    del self._watched[name, target]
        for rule in self._rules:
            changes += self._count_left_out(rule, now_ms, apart_ms)
        return changes

    def _count_left_out(self, rule: Rule, now_ms: int, apart_ms: int) -> Iterator[Change]:
        """What becomes of the alert about those of a rule that have none of their own."""
        left_out = self._left_out[rule.name]
        counting = rule._replace(condition=LEFT_OUT, resolve=None, resolve_after_ms=EVENT_CLEARS_MS)
        facts: Facts = {"targets": ", ".join(str(target) for target in islice(left_out, NAMED))}
        for change in self._look(counting, BEYOND_LIMIT, float(len(left_out)), now_ms, apart_ms, facts):
            change.alert.left_out, change.alert.facts = len(left_out), dict(facts)
            yield change
        watched = self._watched.get((rule.name, BEYOND_LIMIT))
        alert = watched.alert if watched is not None else None
        if alert is None or alert.left_out == len(left_out):
            return
        alert.left_out, alert.facts = len(left_out), dict(facts)
        told = alert.value if isinstance(alert.value, float) else 0.0
        if len(left_out) < 2 * told or alert.flapping:
            yield Change("updated", alert)
        else:
            alert.value = float(len(left_out))
            yield Change("grown", alert)
