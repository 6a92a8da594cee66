"""The model level: our book passes every scenario, a plain one fails the documented ones, and no guard is idle."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from workers.conformance.adapters import synced_book
from workers.conformance.adapters.adapter import AdapterClass
from workers.conformance.adapters.plain_book import PlainBook
from workers.conformance.adapters.synced_book import SyncedBook
from workers.conformance.catalogue.all import SCENARIOS
from workers.conformance.model.runner import run_model
from workers.conformance.result import Result
from workers.model.books.crossing import Crossing
from workers.model.books.order_book import OrderBook
from workers.model.books.sync import BookSync, Outcome, SequenceRule, SnapshotOutcome, SyncState

ON_MODEL = [scenario for scenario in SCENARIOS if scenario.model is not None]
NAMES = [scenario.name for scenario in ON_MODEL]
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "conformance.md"


def played(names: list[str], adapter: AdapterClass = SyncedBook) -> dict[str, Result]:
    chosen = [scenario for scenario in ON_MODEL if scenario.name in names]
    return {result.name: result for result in run_model(chosen, adapter)}


@pytest.mark.parametrize("name", NAMES)
def test_our_book_passes(name: str):
    result = played([name])[name]
    assert result.problems == []
    assert all(result.facts[rule]["compared"] > 30 for rule in ("spot", "futures"))


def test_the_same_again_is_the_same_again():
    assert [played([name])[name].facts for name in NAMES[:6]] == [
        played([name])[name].facts for name in NAMES[:6]
    ]


def test_a_plain_book_fails_the_documented_scenarios_and_no_others():
    told = re.search(r"`PlainBook` fails\n\n((?:- `.*\n)+)", DOCUMENT.read_text(encoding="utf-8"))
    assert told is not None
    documented = set(re.findall(r"- `([a-z-]+)`", told.group(1)))
    results = played(NAMES, PlainBook)
    assert {name for name, result in results.items() if not result.passed} == documented
    assert len(documented) >= 10
    assert f"Of the {len(ON_MODEL)} scenarios of the model level" in DOCUMENT.read_text(encoding="utf-8")


class RaisingBook(PlainBook):
    """A library that cannot bear keys it does not know."""

    def on_event(self, wire_json: bytes) -> None:
        if b'"zz"' in wire_json:
            raise KeyError("zz")
        super().on_event(wire_json)


def test_what_a_library_raises_is_a_finding():
    problems = played(["unknown-keys"], RaisingBook)["unknown-keys"].problems
    assert any("raised KeyError" in problem for problem in problems)


class SilentBook(PlainBook):
    """A library that never shows anything cannot be wrong; it is no book either."""

    def in_sync(self) -> bool:
        return False


def test_a_book_that_shows_nothing_does_not_pass():
    assert any("never in sync" in problem for problem in played(["calm"], SilentBook)["calm"].problems)


def no_gaps(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SequenceRule, "follows", lambda self, event, last_id: True)


def no_age(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SequenceRule, "start_of", lambda self, event: 0)


def old_is_new(patch: pytest.MonkeyPatch) -> None:
    def apply(self: BookSync, event, now_ms: int) -> Outcome:
        return Outcome.APPLIED if self._apply(event, now_ms) else Outcome.LOST

    patch.setattr(BookSync, "_old", apply)


def crossed_is_fine(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(BookSync, "publishable", property(lambda self: self.state is SyncState.SYNCED))


def passed_is_taken_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Crossing, "_taken_back", lambda self, event: True)


def range_unbounded(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OrderBook, "known_levels", lambda self, side: self.levels(side))


def never_refreshed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(synced_book, "REFRESH_BELOW", 0.0)


def differences_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OrderBook, "differences", lambda self, other: [])


def any_snapshot(patch: pytest.MonkeyPatch) -> None:
    def enter(self: BookSync, snapshot, now_ms: int) -> SnapshotOutcome:
        return self._enter(snapshot, now_ms)

    patch.setattr(BookSync, "_begin_overlap", enter)


def empty_is_a_book(patch: pytest.MonkeyPatch) -> None:
    real = BookSync.on_snapshot

    def accept(self: BookSync, snapshot, now_ms: int) -> SnapshotOutcome:
        if snapshot.last_update_id == -1 and self.state is not SyncState.SYNCED and self._run.events:
            return self._enter(snapshot, now_ms)
        return real(self, snapshot, now_ms)

    patch.setattr(BookSync, "on_snapshot", accept)


def buffer_alone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SyncedBook, "_over_the_log", lambda self, snapshot: None)


def ids_only_grow(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(BookSync, "_old", lambda self, event, now_ms: Outcome.STALE)


GUARDS: list[tuple[Callable[[pytest.MonkeyPatch], None], list[str]]] = [
    (no_gaps, ["lost-event", "swapped-events", "truncated-event", "cjk-and-digit-symbols"]),
    (no_age, ["snapshot-stale"]),
    (old_is_new, ["duplicated-events"]),
    (crossed_is_fine, ["crossed-book"]),
    (passed_is_taken_back, ["crossed-book-passed"]),
    (range_unbounded, ["drift"]),
    (never_refreshed, ["drift"]),
    (differences_ignored, ["snapshot-wrong-level"]),
    (any_snapshot, ["late-snapshot"]),
    (empty_is_a_book, ["snapshot-minus-one", "first-snapshot-minus-one"]),
    (buffer_alone, ["snapshot-lags"]),
    (ids_only_grow, ["ids-restarted"]),
]


def test_the_guards_are_documented():
    text = DOCUMENT.read_text(encoding="utf-8")
    for _, broken in GUARDS:
        assert f"| {', '.join(f'`{name}`' for name in broken)} |\n" in text


@pytest.mark.parametrize(("remove", "broken"), [pytest.param(*pair, id=pair[0].__name__) for pair in GUARDS])
def test_without_its_guard_a_scenario_fails(
    remove: Callable[[pytest.MonkeyPatch], None], broken: list[str], monkeypatch: pytest.MonkeyPatch
):
    remove(monkeypatch)
    results = played(broken)
    assert [name for name in broken if results[name].passed] == []
