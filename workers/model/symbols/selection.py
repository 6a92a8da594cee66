"""Which symbols of a venue are followed: the settings' words over what the exchange lists.

    rule = SymbolRule.parse(["BTCUSDT", "*USDC", "!*DOWNUSDC"], most=50)
    selection = Selection(rule)
    selection.take(listed, volumes).followed    # BTCUSDT, then the most traded USDC pairs

Names are followed whatever their status, patterns choose among what is trading. Who is followed stays until the
exchange ends it: a book is not given up because another market became busier.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from workers.model.symbols.info import SymbolInfo
from workers.model.symbols.names import upper_symbol

EVERYTHING: Final = "all"
NOT_LISTED: Final = "not listed"
NOT_CHOSEN: Final = "not chosen"


class SymbolRule(NamedTuple):
    """What a venue's settings say of its symbols.

    exact: names. patterns, excluded: shell patterns over names. most: symbols at most, 0 for any number.
    """

    exact: tuple[str, ...]
    patterns: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    most: int = 0

    @classmethod
    def parse(cls, words: Iterable[str], most: int = 0) -> SymbolRule:
        """A rule from words: `BTCUSDT`, `*USDT`, `all`, and `!*DOWNUSDT` for what no pattern shall choose."""
        exact, patterns, excluded = [], [], []
        for word in words:
            if word.startswith("!"):
                excluded.append(word[1:])
            elif word == EVERYTHING:
                patterns.append("*")
            elif "*" in word:
                patterns.append(word)
            else:
                exact.append(word)
        return cls(tuple(exact), tuple(patterns), tuple(excluded), most)

    @property
    def text(self) -> str:
        """The rule in one line: equal rules have equal texts."""
        words = [*self.exact, *self.patterns, *(f"!{pattern}" for pattern in self.excluded)]
        return " ".join([*words, str(self.most)])

    def wants(self, symbol: str) -> bool:
        """Whether a pattern chooses a symbol and no exclusion takes it out."""
        return any(fnmatchcase(symbol, pattern) for pattern in self.patterns) and not any(
            fnmatchcase(symbol, pattern) for pattern in self.excluded
        )


def spelled(word: str, venue: str) -> str:
    """A word of a venue's list as exchanges spell it, in whichever case; `usdm:` before one of usdm says nothing."""
    mark = "!" if word.startswith("!") else ""
    prefix, colon, name = word.removeprefix(mark).rpartition(":")
    if colon and prefix.lower() != venue.lower():
        return word
    return word if word == EVERYTHING else mark + upper_symbol(name)


class Selected(NamedTuple):
    """What one look at the exchange's list made of the selection.

    retired: symbol -> why. doubtful: followed and missing for the first time, so still followed. left_out: how many
    the patterns choose for which there was no room.
    """

    followed: list[str]
    added: list[str]
    retired: dict[str, str]
    doubtful: list[str]
    left_out: int = 0


class Selection:
    """The symbols followed, looked over each time the exchange's list was read.

    Args:
        followed: as they were before, the most important first.
        known: symbols the exchange has listed at some time. A name it never listed is waited for; one that it
            listed once and has no more is given up like any other.
    """

    def __init__(self, rule: SymbolRule, followed: Iterable[str] = (), known: Iterable[str] = ()) -> None:
        self.rule = rule
        self.followed = list(dict.fromkeys(followed))
        self._known = set(known)
        self._missed: set[str] = set()

    def candidates(self, listed: Mapping[str, SymbolInfo]) -> list[str]:
        """Symbols the patterns choose that trade and are not followed."""
        known = {*self.followed, *self.rule.exact}
        return [
            symbol
            for symbol, info in listed.items()
            if info.phase == "trading" and symbol not in known and self.rule.wants(symbol)
        ]

    def take(
        self, listed: Mapping[str, SymbolInfo], volumes: Mapping[str, float], unreadable: Collection[str] = ()
    ) -> Selected:
        """Look the selection over. A list without any symbol is not believed and changes nothing.

        Args:
            unreadable: names whose entry in the list could not be read, which says nothing of them: who is followed
                stays. An empty name is an entry of which not even the name is known: then nobody is missing for sure.
            volumes: how much each symbol traded, in one unit; where there is not room for all candidates, and
                in the order of those taken up, the most traded come first, then the name decides.

        A symbol that is missing is given up when it is missing a second time: a list may be cut short.
        Cost: O(listed x patterns + candidates x log candidates).
        """
        if not listed:
            return Selected(self.followed, [], {}, [])
        before = self.followed
        missing = [symbol for symbol in before if symbol not in listed and symbol not in unreadable]
        if "" in unreadable:
            missing = []
        gone = self._missed.intersection(missing)
        self._missed = set(missing) - gone
        exact = [symbol for symbol in self.rule.exact if self._stays_named(symbol, listed, gone, before)]
        kept = [
            symbol
            for symbol in before
            if symbol not in self.rule.exact
            and self.rule.wants(symbol)
            and symbol not in gone
            and not (symbol in listed and listed[symbol].phase == "ended")
        ]
        fresh = sorted(self.candidates(listed), key=lambda symbol: (-volumes.get(symbol, 0.0), symbol))
        chosen = [*kept, *fresh]
        self.followed = [*exact, *self._bounded(chosen, len(exact))]
        self._known.update(listed)
        added = [symbol for symbol in self.followed if symbol not in before]
        retired = {
            symbol: self._why(symbol, listed, gone) for symbol in before if symbol not in self.followed
        }
        awaited = set(self.rule.exact) - self._known
        doubtful = [symbol for symbol in missing if symbol in self.followed and symbol not in awaited]
        left_out = len(exact) + len(chosen) - len(self.followed)
        return Selected(self.followed, added, retired, doubtful, left_out)

    def _stays_named(
        self, symbol: str, listed: Mapping[str, SymbolInfo], gone: Collection[str], before: Sequence[str]
    ) -> bool:
        if symbol in listed or symbol not in self._known:
            return True
        return symbol in before and symbol not in gone

    def _bounded(self, symbols: Sequence[str], named: int) -> Sequence[str]:
        return symbols[: max(0, self.rule.most - named)] if self.rule.most else symbols

    @staticmethod
    def _why(symbol: str, listed: Mapping[str, SymbolInfo], gone: Collection[str]) -> str:
        if symbol in gone:
            return NOT_LISTED
        info = listed.get(symbol)
        return info.status if info is not None and info.phase == "ended" else NOT_CHOSEN
