"""The language of rules: `spread_bps > 5 for 10s on *USDT`.

    SIGNAL [OPERATOR VALUE] [for DURATION] [on PATTERN[, PATTERN …]]

A *signal* is a value that the fleet serves (`workers/model/alerts/signals.py`). A number is compared (`>` `>=` `<`
`<=` `==` `!=`), so is a word (`==` `!=`); what is so or not so, and what happens, stands alone: `withheld`, `gap on
BTC*`. A duration is a number with `ms`, `s`, `m` or `h`. A pattern is a symbol as people write it, with `*` and `?`,
with or without its venue (`spot:BTC*`); of a signal of a venue it is the venue's name. Without `on` a rule is about
everything.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final, Literal, NamedTuple

from workers.errors import SettingsError
from workers.model.alerts.signals import Signal, Source, Value, near, signal_of
from workers.model.alerts.silences import Silence
from workers.model.symbols.names import upper_symbol

Severity = Literal["info", "warning", "critical"]
SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "critical")
EVENT_CLEARS_MS: Final = 60_000
"""How long nothing must happen until what happened is over, unless the rule says so."""
LONGEST_MS: Final = 30 * 86_400_000
"""The longest stretch a rule may wait for: longer ones outlast whoever would see their end."""
NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

_COMPARES: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}
_UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}
_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
WORD: Final = re.compile(r"[^\s<>=!,]+")
"""What stands between spaces, commas and operators."""
_TOKEN: Final = re.compile(r"\s*(>=|<=|==|!=|[<>=!,]|[^\s<>=!,]+)")
_PATTERN: Final = re.compile(r"(?:[a-z][a-z0-9_-]*:)?[^\s:,]{1,64}")


SHOWN: Final = 200
"""Characters of a condition, or of a word in it, that a message shows."""


class Target(NamedTuple):
    """What an alert is about: a symbol; a venue (no symbol); or the fleet (neither)."""

    venue: str = ""
    symbol: str = ""

    def __str__(self) -> str:
        if self == BEYOND_LIMIT:
            return self.symbol
        return f"{self.venue}:{self.symbol}" if self.symbol else self.venue or "fleet"


BEYOND_LIMIT: Final = Target("", "*")
"""The target of a rule's alert about all that have none of their own."""


class Condition(NamedTuple):
    """What `when` says."""

    signal: Signal
    operator: str = ""
    """Empty: the signal stands alone."""
    threshold: float | str = ""
    for_ms: int = 0
    patterns: Sequence[str] = ()


class Rule(NamedTuple):
    """One rule, checked."""

    name: str
    condition: Condition
    severity: Severity = "warning"
    resolve: float | None = None
    """Where a number must have come back to; None: not met any more is enough."""
    resolve_after_ms: int = 0
    """How long it must be back, without a break, until the alert is resolved."""
    silences: Sequence[Silence] = ()
    text: str = ""
    """The condition as people read it."""
    most_open: int = 0
    """Alerts of the rule that may be open at a time, besides the one about those beyond it; 0: any number."""
    flapping_after: int = 0
    """How often an alert fires within `flapping_within_ms` until it is taken to flap; 0: never."""
    flapping_within_ms: int = 600_000

    @property
    def source(self) -> Source:
        """Where its signal is read."""
        return self.condition.signal.source

    def is_about(self, target: Target) -> bool:
        """Whether the rule watches a target."""
        patterns = self.condition.patterns
        names = (f"{target.venue}:{target.symbol}", target.symbol) if target.symbol else (target.venue,)
        return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns for name in names)

    def is_met(self, value: Value) -> bool | None:
        """Whether a value meets the condition; None: nothing is known."""
        if value is None:
            return None
        signal, sign, threshold = self.condition.signal, self.condition.operator, self.condition.threshold
        if signal.kind == "event":
            return not isinstance(value, str) and value > 0
        if not sign:
            return value is True
        if isinstance(threshold, str):
            return (str(value) == threshold) == (sign == "==")
        if isinstance(value, str | bool) or not math.isfinite(value):
            return None
        return _COMPARES[sign](value, threshold)

    def is_clear(self, value: Value) -> bool | None:
        """Whether a value is back beyond where the alert resolves; None: nothing is known.

        Between the threshold and `resolve` neither this nor `is_met` says yes: the alert stays as it is.
        """
        met = self.is_met(value)
        if met is None or met or self.resolve is None or isinstance(value, str | bool | None):
            return None if met is None else not met
        return value <= self.resolve if self.condition.operator in (">", ">=") else value >= self.resolve

    def silent(self, now_ms: int) -> bool:
        """Whether the rule is silenced now: its alerts open and resolve, and nobody is told."""
        return any(silence.covers(now_ms) for silence in self.silences)


class _Reader:
    """The words of a condition, one after another."""

    def __init__(self, text: str, place: str, rule: str) -> None:
        self.text, self.place, self.rule = text, place, rule
        self.words = [(found[1], found.start(1) + 1) for found in _TOKEN.finditer(text)]
        self.at = 0

    def problem(self, said: str, suggestion: str = "", *, column: int) -> SettingsError:
        where = f"rule {self.rule!r}, character {column} of {self.text[:SHOWN]!r}"
        return SettingsError(self.place, f"{where}: {said}", suggestion)

    def peek(self) -> str:
        return self.words[self.at][0] if self.at < len(self.words) else ""

    def take(self, wanted: str) -> tuple[str, int]:
        if self.at >= len(self.words):
            raise self.problem(f"{wanted} is missing", column=len(self.text) + 1)
        self.at += 1
        return self.words[self.at - 1]


def parse_condition(text: str, place: str, rule: str) -> Condition:
    """The condition that a `when` says.

    Args:
        place: where it was written, for messages.
        rule: its name.

    Raises:
        SettingsError: it says none; the message has the place, the rule and the character.
    """
    if len(text) > 1_000:
        raise SettingsError(place, f"rule {rule!r}: a condition has at most 1000 characters")
    reader = _Reader(text, place, rule)
    hidden = next((at for at, sign in enumerate(text, 1) if not (sign.isprintable() or sign.isspace())), 0)
    if hidden:
        raise reader.problem("there are signs that cannot be seen", column=hidden)
    name, column = reader.take("a signal")
    sign, threshold = "", ""
    literal: float | str = ""
    if reader.peek() in ("=", "!"):
        sign, at = reader.take("")
        raise reader.problem(f"{sign!r} is no operator", f"{sign}=", column=at)
    if reader.peek() in _COMPARES:
        sign, at = reader.take("an operator")
        threshold, _ = reader.take("a value")
        literal = _literal(threshold)
        if isinstance(literal, str) and sign not in ("==", "!="):
            raise reader.problem(f"{threshold!r} is no number, and a word is not {sign} another", column=at)
    signal = signal_of(name, word=isinstance(literal, str))
    if signal is None:
        raise reader.problem(f"{name!r} is no signal", near(name), column=column)
    _check_kind(reader, signal, sign, literal, column)
    for_ms = 0
    if reader.peek() == "for":
        reader.take("")
        word, at = reader.take("a duration")
        if not (found := _DURATION.fullmatch(word)):
            raise reader.problem(
                f"{word[:SHOWN]!r} is no duration: write one like 10s, 500ms, 5m or 1h", column=at
            )
        if float(found[1]) * _UNITS_MS[found[2]] > LONGEST_MS:
            raise reader.problem(f"a duration is at most {LONGEST_MS // 3_600_000}h", column=at)
        for_ms = round(float(found[1]) * _UNITS_MS[found[2]])
        if signal.kind == "event":
            raise reader.problem(f"{name!r} happens at a moment: it does not last", column=at)
    return Condition(signal, sign, literal, for_ms, _patterns(reader, signal))


def _literal(word: str) -> float | str:
    try:
        number = float(word)
    except ValueError:
        return word.strip("\"'")
    return number if math.isfinite(number) else word


def _check_kind(reader: _Reader, signal: Signal, sign: str, literal: float | str, column: int) -> None:
    is_word = isinstance(literal, str)
    if signal.kind in ("flag", "event"):
        if sign:
            raise reader.problem(f"{signal.name!r} stands alone, it is not compared", column=column)
    elif not sign:
        what = "a number" if signal.kind == "number" else "a word"
        raise reader.problem(f"{signal.name!r} is {what}: compare it with one", column=column)
    elif is_word != (signal.kind == "word"):
        wanted = "a word" if signal.kind == "word" else "a number"
        raise reader.problem(
            f"{signal.name!r} is compared with {wanted}, not with {literal!r}", column=column
        )


def _patterns(reader: _Reader, signal: Signal) -> tuple[str, ...]:
    found: list[str] = []
    if reader.peek() == "on":
        _, at = reader.take("")
        if signal.scope == "fleet":
            raise reader.problem(f"{signal.name!r} is of the whole fleet, of no venue or symbol", column=at)
        while True:
            word, at = reader.take("a symbol or a pattern")
            if not _PATTERN.fullmatch(word):
                raise reader.problem(f"{word!r} is no symbol and no pattern", column=at)
            venue, colon, symbol = word.rpartition(":")
            if signal.scope == "venue" and colon:
                raise reader.problem(f"{signal.name!r} is of a venue: name that alone", venue, column=at)
            is_symbol = signal.scope == "symbol"
            found.append(f"{venue}{colon}{upper_symbol(symbol) if is_symbol else symbol.lower()}")
            if reader.peek() != ",":
                break
            reader.take("")
    if reader.at < len(reader.words):
        word, at = reader.take("")
        raise reader.problem(f"{word!r} is not expected", column=at)
    return tuple(found)


def make_rule(
    name: str,
    condition: Condition,
    place: str,
    *,
    severity: Severity = "warning",
    resolve: float | None = None,
    resolve_after_s: float | None = None,
    silences: Sequence[Silence] = (),
) -> Rule:
    """A rule of its parts. Raises: SettingsError, with the place and the rule."""

    def refused(problem: str) -> SettingsError:
        return SettingsError(place, f"rule {name!r}: {problem}")

    sign, threshold, signal = condition.operator, condition.threshold, condition.signal
    if resolve is not None:
        if not math.isfinite(resolve):
            raise refused("`resolve` is no number that anything could come back to")
        if isinstance(threshold, str) or sign not in (">", ">=", "<", "<="):
            raise refused("`resolve` is for a number compared by >, >=, < or <=")
        if (resolve > threshold) if sign in (">", ">=") else (resolve < threshold):
            side = "above" if sign in (">", ">=") else "below"
            raise refused(f"`resolve` {resolve:g} must not be {side} the threshold {threshold:g}")
    after_ms = EVENT_CLEARS_MS if signal.kind == "event" else 0
    if resolve_after_s is not None:
        after_ms = round(resolve_after_s * 1000)
    return Rule(name, condition, severity, resolve, after_ms, silences, condition_text(condition))


def condition_text(condition: Condition) -> str:
    """A condition as people read it; parsed again it is the same."""
    words = [condition.signal.name]
    if condition.operator:
        threshold = condition.threshold
        words += [
            condition.operator,
            threshold if isinstance(threshold, str) else repr(threshold).removesuffix(".0"),
        ]
    if condition.for_ms:
        seconds, ms = divmod(condition.for_ms, 1000)
        words += ["for", f"{condition.for_ms}ms" if ms else f"{seconds}s"]
    if condition.patterns:
        words += ["on", ", ".join(condition.patterns)]
    return " ".join(words)
