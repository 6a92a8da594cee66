"""Rules and alerts for the tests of alerts."""

from __future__ import annotations

from workers.model.alerts.records import Alert, open_alert
from workers.model.alerts.rules import Rule, Severity, Target, make_rule, parse_condition
from workers.model.alerts.silences import parse_silence

BTC = Target("usdm", "BTCUSDT")


def rule(
    when: str,
    name: str = "wide",
    *,
    severity: Severity = "warning",
    resolve: float | None = None,
    resolve_after_s: float | None = None,
    silence: str = "",
) -> Rule:
    return make_rule(
        name,
        parse_condition(when, "here", name),
        "here",
        severity=severity,
        resolve=resolve,
        resolve_after_s=resolve_after_s,
        silences=[parse_silence(silence, "here", name)] if silence else [],
    )


def alert(name: str = "wide", target: Target = BTC, fired_ms: int = 1_000, **rule_keys: str) -> Alert:
    return open_alert(rule("spread_bps > 5", name, **rule_keys), target, 7.5, fired_ms - 100, fired_ms)  # type: ignore[arg-type]
