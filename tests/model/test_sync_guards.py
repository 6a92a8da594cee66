"""The property of `test_sync_properties` can fail: each guard of the sync machine, taken out by hand, is missed."""

from __future__ import annotations

import inspect
import random
import sys
import textwrap

import pytest
from chained_rules import CHAINED
from test_sync_properties import ACTIONS, Line, assert_right

from workers.model.books.book_side import BookSide
from workers.model.books.sequence import Run
from workers.model.books.sync import BookSync, SequenceRule

MOST_SEEDS = 1_500
GUARDS = {
    "a hole between spot events": (SequenceRule, "follows", "event.first_id <= last_id + 1", "True"),
    "a hole between futures events": (SequenceRule, "follows", "event.previous_id == last_id", "True"),
    "events the snapshot contains": (SequenceRule, "contained", "return event.last_id <=", "return -1 >="),
    "a snapshot before the buffered events": (BookSync, "on_snapshot", "last_id < run.start", "False"),
    "a first event that was not the first": (BookSync, "on_snapshot", "not self._from_first_event", "False"),
    "a copy of an applied event": (BookSync, "_advance", "event.last_id <= last_id", "False"),
    "a hole after a silence": (BookSync, "_advance", "self.rule.continues(event, last_id)", "True"),
    "events that jump over a held snapshot": (BookSync, "_approach", "self.rule.continues(event, last_id)", "True"),
    "a hole between buffered events": (
        BookSync, "_buffer", "not self.rule.follows(event, end)", "False",
    ),
    "the oldest event dropped from the buffer": (
        Run, "append", "self.start = self.events.popleft().last_id", "self.events.popleft()",
    ),
    "a refresh with a snapshot from before it": (BookSync, "_begin_overlap", "last_id < run.start", "False"),
    "a lost book still shown": (BookSync, "lose", "self.book.clear()", "pass"),
    "levels dropped for want of room": (BookSide, "drop_farthest", "farthest_edge >= self.edge", "False"),
}  # fmt: skip


def violated(rule: SequenceRule, seed: int) -> bool:
    """Whether a random interleaving shows a book that is wrong."""
    rng = random.Random(f"{rule}{seed}")
    line = Line(rng, rule)
    try:
        for action in rng.choices(ACTIONS, k=40):
            getattr(line, action)()
            assert_right(line.sync, line.exchange)
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("guard", GUARDS)
def test_without_the_guard_a_wrong_book_is_seen(guard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, method, text, instead = GUARDS[guard]
    source = textwrap.dedent(inspect.getsource(getattr(owner, method)))
    assert source.count(text) == 1, "the guard is spelled otherwise now"
    names: dict[str, object] = dict(vars(sys.modules[owner.__module__]))
    exec(source.replace(text, instead), names)
    monkeypatch.setattr(owner, method, names[method])
    assert any(violated(rule, seed) for seed in range(MOST_SEEDS) for rule in CHAINED)


def test_with_all_guards_none_is_seen() -> None:
    assert not any(violated(rule, seed) for seed in range(50) for rule in CHAINED)
