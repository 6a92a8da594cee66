"""The world of one scenario on the model level: a market, the way of its messages, and the book that reads them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final

from workers.conformance.adapters.adapter import BookAdapter, Levels
from workers.conformance.model.market import ModelMarket, WireEvent
from workers.conformance.problems import Problems

TOP: Final = 10
ANSWER_AFTER: Final = 3
"""Events between a request for a snapshot and its answer, and between one answer and the next request."""
FINAL_EVENTS: Final = 40

Answer = Callable[[], bytes]
Numbers = tuple[Decimal | int, Decimal | int]
"""A level: price in hundredths, quantity in thousandths."""


class ModelWorld(Problems):
    """Feeds one book, and after every message compares all it shows with the truth at the same update id.

    `answers` are what the next requests for a snapshot get instead of a good one.

    Args:
        limit: levels a side of the snapshots the book asks for.
    """

    def __init__(self, book: BookAdapter, market: ModelMarket, limit: int) -> None:
        self.book, self.market, self.limit = book, market, limit
        super().__init__(market.rule)
        self.rule = market.rule
        self.answers: list[Answer] = []
        self.asked = 0
        """Requests for a snapshot that were answered."""
        self.losses = 0
        """How often the book went out of sync."""
        self.compared = 0
        self.answering = True
        self.unknowable = False
        """While true the book may differ: nothing the exchange sent shows that it is wrong."""
        self._was_in_sync = False
        self._until_answer = ANSWER_AFTER
        self._delivered_id = self.market.event_id

    def expect_asked(self, most: int) -> None:
        """At most so many requests for snapshots so far, the first one included."""
        self.expect(self.asked <= most, f"it asked for {self.asked} snapshots; {most} suffice.")

    def expect_undisturbed(self) -> None:
        """The book came into sync with its first snapshot and stayed there."""
        self.expect(self.losses == 0, f"it left sync {self.losses} times; nothing was wrong.")
        self.expect_asked(1)

    def start(self, events: int = 10) -> None:
        """Let the first events come, answer the first request, be in sync."""
        self.run(events)
        self.expect(self._in_sync(), f"it is not in sync after {events} events and a good snapshot.")

    def run(self, events: int, changes: int = 6, drift: int = 0) -> None:
        """Let so many events come one by one, requests being answered meanwhile."""
        for _ in range(events):
            self.deliver(self.market.event(changes, drift))

    def deliver(self, event: WireEvent, encoded: bytes | None = None) -> None:
        """Hand an event over, or the bytes that a spoiled one became; compare, and answer what is asked."""
        self._delivered_id = max(self._delivered_id, event.last_id)
        self._call(lambda: self.book.on_event(encoded if encoded is not None else event.encoded()))
        self.compare("an event")
        self._answer()

    def _answer(self) -> None:
        if not self.answering or not self._wants():
            self._until_answer = ANSWER_AFTER
            return
        self._until_answer -= 1
        if self._until_answer > 0:
            return
        self._until_answer = ANSWER_AFTER
        self.asked += 1
        self.send_snapshot(self.answers.pop(0)() if self.answers else self.good_snapshot())

    def good_snapshot(self, update_id: int | None = None) -> bytes:
        """The book of now, or as it was at an update id."""
        return self.market.snapshot(self.market.last_id if update_id is None else update_id, self.limit)

    def send_snapshot(self, body: bytes) -> None:
        """Hand a snapshot over, and compare."""
        self._call(lambda: self.book.on_snapshot(body))
        self.compare("a snapshot")

    def wait(self, seconds: float) -> None:
        """Let time pass without a message, and compare."""
        self._call(lambda: self.book.wait(int(seconds * 1000)))
        self.compare("a wait")

    def finish(self) -> None:
        """Let the market go on in good order: the book must be in sync in the end."""
        self.answers.clear()
        self.answering = True
        self.unknowable = False
        self.run(FINAL_EVENTS)
        self.expect(
            self._in_sync(), f"it is not in sync in the end, after {FINAL_EVENTS} events in good order."
        )
        if self._in_sync():
            at = self.book.last_update_id()
            self.expect(
                at == self.market.last_id, f"it stands at {at} in the end, not {self.market.last_id}."
            )

    def _call(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except Exception as error:
            self.problem(f"it raised {type(error).__name__}: {error}")

    def _wants(self) -> bool:
        return bool(self.book.wants_snapshot())

    def _in_sync(self) -> bool:
        return bool(self.book.in_sync())

    def compare(self, after: str) -> None:
        """Compare what the book shows with the truth at the same update id."""
        in_sync = self._in_sync()
        self.losses += self._was_in_sync and not in_sync
        self._was_in_sync = in_sync
        if not in_sync or self.unknowable:
            return
        self.compared += 1
        at = self.book.last_update_id()
        truth = self.market.truth(at)
        known, top, everything = self.book.known_range(), self.book.top(TOP), self.book.levels()
        for place, (name, side) in enumerate(zip(("bid", "ask"), truth, strict=True)):
            sign = 1 if place else -1
            where = f"{name} at update id {at} after {after}"
            shown = self._numbers(everything[place], where)
            best = self._numbers(top[place], where)
            if shown is None or best is None:
                continue
            edge = _edge(known, place, shown)
            keys = sorted(sign * price for price in side)
            inside = [
                (sign * key, side[sign * key])
                for key in (keys if edge is None else keys[: bisect_right(keys, sign * edge)])
            ]
            self._compare_side(where, shown, inside)
            # A book that says what it knows may show fewer, but none that is not so.
            wanted = len(best) if known is not None and len(best) == min(TOP, len(shown)) else TOP
            self._compare_side(
                f"top {where}", best, [(sign * key, side[sign * key]) for key in keys[:wanted]]
            )

    def _numbers(self, levels: Levels, where: str) -> list[Numbers] | None:
        try:
            return [(hundredths(price), thousandths(quantity)) for price, quantity in levels]
        except (InvalidOperation, ValueError, OverflowError):
            self.problem(f"{where}: it shows something that is no number.")
            return None

    def _compare_side(self, what: str, shown: Sequence[Numbers], truth: Sequence[Numbers]) -> None:
        if shown == truth:
            return
        for place, (ours, really) in enumerate(zip(shown, truth, strict=False), start=1):
            if ours != really:
                self.problem(f"{what}: level {place} is {_text(ours)}, really {_text(really)}.")
                return
        self.problem(f"{what}: it shows {len(shown)} levels, really there are {len(truth)}.")


def _edge(known: tuple[str, str] | None, place: int, shown: list[Numbers]) -> Decimal | int | None:
    """The worst price a side vouches for: what the book says, else its own worst level; None: to the end."""
    if known is not None:
        edge = Decimal(known[place])
        unbounded = edge.is_infinite() if place else edge == 0
        return None if unbounded else edge * 100
    return shown[-1][0] if shown else None


def _text(level: Numbers) -> str:
    return f"{Decimal(level[0]) / 100:f} x {Decimal(level[1]) / 1000:f}"


@lru_cache(maxsize=100_000)
def hundredths(text: str) -> Decimal | int:
    """A price in hundredths."""
    return _whole(Decimal(text) * 100)


@lru_cache(maxsize=100_000)
def thousandths(text: str) -> Decimal | int:
    """A quantity in thousandths."""
    return _whole(Decimal(text) * 1000)


def _whole(number: Decimal) -> Decimal | int:
    return int(number) if number.is_finite() and number == int(number) else number
