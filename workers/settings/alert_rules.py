"""The rules that `[alerts]` says, checked: what is wrong is told with the rule and its place."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from workers.errors import SettingsError
from workers.model.alerts.rules import (
    LONGEST_MS,
    NAME,
    SHOWN,
    WORD,
    Condition,
    Rule,
    condition_text,
    make_rule,
    parse_condition,
)
from workers.model.alerts.signals import near, signal_of
from workers.model.alerts.silences import parse_silence
from workers.settings.alerts import AlertSettings, RuleSettings
from workers.settings.symbols import Refusal

MOST_RULES: Final = 1_000
MOST_SILENCES: Final = 100
"""Of one rule."""
FLAPS_AT_ONCE: Final = "what fires once does not flap: use 0 for never, or 2 and more"
LOCAL: Final = frozenset({"127.0.0.1", "localhost", "::1"})


def rules_of(alerts: AlertSettings, refused: Refusal) -> list[Rule]:
    """The rules of the settings.

    Raises:
        SettingsError: one cannot be used; it names the rule and where it stands.
    """
    rules = alerts.rules
    if alerts.flapping_after == 1:
        raise refused("alerts.flapping_after", FLAPS_AT_ONCE, "")
    if len(rules) > MOST_RULES:
        problem = f"there are {len(rules)} rules; at most {MOST_RULES} are looked at"
        raise refused("alerts.rules", problem, "")
    made: list[Rule] = []
    names: set[str] = set()
    for index, rule in enumerate(rules):
        key = f"alerts.rules[{index}]"
        if not NAME.fullmatch(rule.name):
            raise refused(
                f"{key}.name",
                f"{rule.name[:SHOWN]!r} cannot name a rule: use a-z, 0-9, - and _, at most 64",
                "",
            )
        if rule.name in names:
            raise refused(f"{key}.name", f"there are two rules {rule.name!r}", "")
        names.add(rule.name)
        place = refused(f"{key}.{'when' if rule.when else 'signal'}", "", "").place
        _check_lengths(rule, key, refused)
        condition = _condition(rule, key, place, refused)
        silences = [
            parse_silence(text, refused(f"{key}.silence", "", "").place, rule.name) for text in rule.silence
        ]
        made.append(
            make_rule(
                rule.name,
                condition,
                place,
                severity=rule.severity,
                resolve=rule.resolve,
                resolve_after_s=rule.resolve_after_s,
                silences=silences,
            )._replace(
                most_open=alerts.most_open_a_rule if rule.most_open is None else rule.most_open,
                flapping_after=alerts.flapping_after if rule.flapping_after is None else rule.flapping_after,
                flapping_within_ms=round(alerts.flapping_within_s * 1000),
            )
        )
    return made


def _check_lengths(rule: RuleSettings, key: str, refused: Refusal) -> None:
    """Refuse stretches of time that never end, and are no number at all, and numbers that make no sense."""
    for name in ("for_s", "resolve_after_s"):
        seconds = getattr(rule, name)
        if seconds is not None and not seconds * 1000 <= LONGEST_MS:  # NaN is not
            problem = f"rule {rule.name!r}: `{name}` is at most {LONGEST_MS // 1000}"
            raise refused(f"{key}.{name}", problem, "")
    if rule.flapping_after == 1:
        raise refused(f"{key}.flapping_after", f"rule {rule.name!r}: {FLAPS_AT_ONCE}", "")
    if len(rule.silence) > MOST_SILENCES:
        raise refused(f"{key}.silence", f"rule {rule.name!r}: at most {MOST_SILENCES} silences", "")


def _condition(rule: RuleSettings, key: str, place: str, refused: Refusal) -> Condition:
    """What a rule's `when` says, or its typed keys: these are written as text, and parsed alike."""
    typed = rule.signal or rule.operator or rule.threshold is not None or rule.for_s or rule.symbols
    if bool(rule.when) == bool(typed):
        problem = "it needs `when`, or `signal` and what belongs to it, and not both"
        raise refused(key, f"rule {rule.name!r}: {problem}", "")
    if rule.when:
        return parse_condition(rule.when, place, rule.name)
    if bool(rule.operator) != (rule.threshold is not None):
        raise refused(key, f"rule {rule.name!r}: `operator` and `threshold` belong together", "")
    threshold = rule.threshold if rule.threshold is not None else ""
    if isinstance(threshold, str) and threshold and not WORD.fullmatch(threshold):
        problem = f"rule {rule.name!r}: `threshold` {threshold[:SHOWN]!r} has more than a word"
        raise refused(f"{key}.threshold", problem, "")
    signal = signal_of(rule.signal, word=isinstance(threshold, str) and bool(threshold))
    if signal is None or not WORD.fullmatch(rule.signal):
        problem = f"rule {rule.name!r}: {rule.signal[:SHOWN]!r} is no signal"
        raise refused(f"{key}.signal", problem, near(rule.signal[:SHOWN]))
    text = condition_text(Condition(signal, rule.operator, threshold, round(rule.for_s * 1000), rule.symbols))
    return parse_condition(text, place, rule.name)


def check_alerts(alerts: AlertSettings, refused: Refusal) -> None:
    """Refuse rules that cannot be used, and addresses. Raises: SettingsError."""
    rules_of(alerts, refused)
    for name in ("webhook_url", "commentary_url"):
        url = getattr(alerts, name)
        if url and not url.startswith(("http://", "https://")):
            raise refused(f"alerts.{name}", "it must begin with http:// or https://", "")
    if alerts.commentary_url and not alerts.commentary_model:
        raise refused("alerts.commentary_model", "alerts.commentary_url needs a model to ask", "")
    parts = urlsplit(alerts.commentary_url)
    if alerts.commentary_key and parts.scheme == "http" and parts.hostname not in LOCAL:
        raise refused(
            "alerts.commentary_url", "a key is sent over https:// alone, except to this machine", ""
        )


def rules_in_force(alerts: AlertSettings) -> list[Rule]:
    """The rules of settings that were checked when they were loaded."""

    def refused(key: str, problem: str, suggestion: str) -> SettingsError:
        return SettingsError(key, problem, suggestion)

    return rules_of(alerts, refused)
