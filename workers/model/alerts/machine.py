"""What becomes of each rule at each target: quiet, pending, firing, resolved. Time is an argument.

A rule's condition is *pending* from the look that first meets it, and the alert *fires* with the first look at which
it has been met for `for` without a break. A look that knows nothing, or comes too long after the one before it,
breaks that: what was not seen is not taken for met. A firing alert is left as it is by looks that know nothing or
find the value between the threshold and `resolve`; it is *resolved* once the value has been back for `resolve_after`
without a break. There is one alert a rule and target at a time, however often the condition is met meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from workers.model.alerts.records import Alert, Change, open_alert
from workers.model.alerts.rules import Rule, Target
from workers.model.alerts.signals import Value

Facts = Mapping[str, str | float | bool | None]


class _Watched:
    """One rule at one target."""

    __slots__ = ("alert", "clear_since", "looked_ms", "met_since")

    def __init__(self, alert: Alert | None = None) -> None:
        self.alert = alert
        self.met_since: int | None = None
        self.clear_since: int | None = None
        self.looked_ms = 0


class AlertMachine:
    """The state of all rules.

    Args:
        rules: those in force.
        opened: alerts that were open when the last owner stopped: they fire no second time.
    """

    def __init__(self, rules: Sequence[Rule], opened: Iterable[Alert] = ()) -> None:
        self._rules = list(rules)
        self._by_name = {rule.name: rule for rule in rules}
        self._watched = {(alert.rule, alert.target): _Watched(alert) for alert in opened}

    def open_alerts(self) -> list[Alert]:
        """Those that are open now."""
        return [watched.alert for watched in self._watched.values() if watched.alert is not None]

    @property
    def pending(self) -> int:
        """Conditions that are met, and not for long enough yet."""
        return sum(
            watched.alert is None and watched.met_since is not None for watched in self._watched.values()
        )

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
        watched = self._watched.get((rule.name, target))
        met = rule.is_met(value)
        if watched is None:
            if not met:
                return
            watched = self._watched[rule.name, target] = _Watched()
        if not 0 <= now_ms - watched.looked_ms <= apart_ms:  # a clock that went back breaks it too
            watched.met_since = watched.clear_since = None
        watched.looked_ms = now_ms
        if watched.alert is not None:
            yield from self._look_again(rule, watched, watched.alert, value, now_ms)
        elif not met:
            del self._watched[rule.name, target]
        else:
            if watched.met_since is None:
                watched.met_since = now_ms
            if now_ms - watched.met_since >= rule.condition.for_ms:
                alert = watched.alert = open_alert(rule, target, value, watched.met_since, now_ms)
                alert.facts = dict(facts)
                watched.clear_since = None
                yield Change("fired", alert)

    def _look_again(
        self, rule: Rule, watched: _Watched, alert: Alert, value: Value, now_ms: int
    ) -> Iterator[Change]:
        if alert.silenced and not rule.silent(now_ms):
            alert.silenced = False
            yield Change("unsilenced", alert)
        if rule.is_met(value):
            watched.clear_since = None
            alert.last_value, alert.last_met_ms = value, now_ms
            if rule.condition.signal.kind == "event" and isinstance(value, int | float):
                alert.count += int(value)
                yield Change("updated", alert)
        elif not rule.is_clear(value):
            watched.clear_since = None
        else:
            if watched.clear_since is None:
                watched.clear_since = now_ms
            if now_ms - watched.clear_since >= rule.resolve_after_ms:
                yield self._resolved((rule.name, alert.target), alert, now_ms, "the condition is over")

    def _resolved(self, key: tuple[str, Target], alert: Alert, now_ms: int, why: str) -> Change:
        del self._watched[key]
        alert.resolved_ms, alert.resolution = now_ms, why
        return Change("resolved", alert)

    def keep(self, targets: Collection[Target], now_ms: int) -> list[Change]:
        """Resolve what nobody watches any more: of a target that is gone, or of a rule that is."""
        changes: list[Change] = []
        for (name, target), watched in list(self._watched.items()):
            rule = self._by_name.get(name)
            why = ""
            if rule is None or not rule.is_about(target):
                why = "the rule is gone"
            elif target not in targets:
                why = "not followed any more"
            if why and watched.alert is not None:
                changes.append(self._resolved((name, target), watched.alert, now_ms, why))
            elif why:
                del self._watched[name, target]
        return changes
