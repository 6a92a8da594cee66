"""What the rules watch, as a list that is made anew only when the followed symbols change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from workers.model.alerts.rules import Rule, Target
from workers.model.alerts.signals import Scope, Signal
from workers.runtime.context import VenueContext
from workers.store.alerts.reading import Watch

FLEET = Target()


class Watching:
    """The targets of all rules, and what is watched of each."""

    def __init__(self, rules: Sequence[Rule], contexts: Sequence[VenueContext]) -> None:
        self._rules = rules
        self._contexts = contexts
        self._symbols: list[list[str]] = []
        self.symbols: list[Watch] = []
        """Of the symbols of which anything is watched."""
        self.targets: set[Target] = set()
        """Everything there is now, watched or not."""

    @property
    def undecided(self) -> list[str]:
        """Venues whose symbols are patterns, and nobody said yet what these choose."""
        return [context.name for context in self._contexts if not context.symbols.chosen]

    def refresh(self) -> None:
        """Take note of the symbols that are followed now."""
        symbols = [list(context.symbols) for context in self._contexts]
        if self.targets and symbols == self._symbols:
            return
        self._symbols = symbols
        self.targets = {FLEET, *(Target(context.name) for context in self._contexts)}
        self.symbols = []
        for context, names in zip(self._contexts, symbols, strict=True):
            for name in names:
                target = Target(context.name, name)
                self.targets.add(target)
                if signals := self.signals(target, "symbol"):
                    self.symbols.append(Watch(context.keys, target, signals))

    def signals(self, target: Target, scope: Scope) -> list[Signal]:
        """What is watched of a target."""
        found = {
            rule.condition.signal.name: rule.condition.signal
            for rule in self._rules
            if rule.condition.signal.scope == scope and rule.is_about(target)
        }
        return list(found.values())

    def wide(self) -> Iterator[tuple[Target, list[Signal]]]:
        """What is watched of venues and of the fleet."""
        for context in self._contexts:
            yield Target(context.name), self.signals(Target(context.name), "venue")
        yield FLEET, [rule.condition.signal for rule in self._rules if rule.condition.signal.scope == "fleet"]

    def pages(self, most: int) -> Iterator[list[Watch]]:
        """The watched symbols in pages of about so many commands at most."""
        page: list[Watch] = []
        commands = 0
        for watch in self.symbols:
            if page and commands + watch.commands > most:
                yield page
                page, commands = [], 0
            page.append(watch)
            commands += watch.commands
        if page:
            yield page
