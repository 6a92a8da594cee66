"""One scenario on a running fleet: what its script may do, wait for and expect."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

from workers.conformance.fleet.repeated_snapshots import repeated_snapshots
from workers.conformance.fleet.world import FleetWorld
from workers.conformance.result import Result
from workers.verification.fleet import Verification
from workers.verification.stored import Book, FleetReader

WAIT_S: Final = 120.0
"""How long anything may take that must come to pass."""
POLL_S: Final = 0.05
WITHHELD_S: Final = 1.0
"""A book that lost sync is withheld for longer: it waits before it asks for one snapshot, and then for the other."""


class Counts(NamedTuple):
    """What a book had gone through at some moment."""

    syncs: int
    gaps: int
    requests: int
    again: int
    absent: int
    problems: int
    compared: int


class FleetRun:
    """A scenario under way.

    Args:
        result: where to note what differs.
        books: those it happens to.
        calm: they must stay in sync and ask for no snapshot throughout.
    """

    def __init__(
        self, world: FleetWorld, result: Result, books: Sequence[Book], *, calm: bool = False
    ) -> None:
        self.world = world
        self.books = list(books)
        self.result, self.facts = result, result.facts
        self._calm = calm
        self._faults: dict[int, str] = {}
        """Those switched on, in words, by number."""
        self._base: dict[Book, Counts] = {}
        self._began = time.monotonic()

    async def begin(self) -> None:
        """Note how things stand."""
        self._began = time.monotonic()
        self._base = {book: await self._counts(book) for book in self.books}

    async def _counts(self, book: Book) -> Counts:
        observer = self.world.observer
        sight = observer.sights[book]
        return Counts(
            sight.number("sync_count"),
            sight.number("gap_count"),
            await self.world.requests(book),
            repeated_snapshots(self.world.home / "log")[book.context.name, book.symbol],
            observer.absent[book],
            len(observer.problems[book]),
            observer.compared[book],
        )

    def problem(self, sentence: str) -> None:
        """Note what differs."""
        self.result.problems.append(sentence)

    def expect(self, held: bool, sentence: str) -> None:
        """Note a problem unless something holds."""
        if not held:
            self.problem(sentence)

    async def fault(self, text: str, *, of_books: bool = True) -> list[int]:
        """Switch a fault on, for each book of the scenario or for everybody; it is taken back in the end."""
        scopes = (
            [f" market={book.context.settings.market} symbol={book.symbol}" for book in self.books]
            if of_books
            else [""]
        )
        numbers = []
        for scope in scopes:
            numbers.append(await self.world.control.set_fault(text + scope))
            self._faults[numbers[-1]] = text + scope
        return numbers

    async def remove(self, numbers: Sequence[int] | None = None) -> None:
        """Take faults back, all of the scenario without numbers."""
        for number in list(self._faults if numbers is None else numbers):
            del self._faults[number]
            await self.world.control.remove_fault(number)

    async def hits(self, numbers: Sequence[int]) -> int:
        """How often faults struck."""
        rows = await self.world.control.faults()
        return sum(int(rows[number]["hits"]) for number in numbers if number in rows)

    async def struck(self, numbers: Sequence[int], times: int = 1) -> bool:
        """Wait until every one of some faults has struck so often."""

        async def all_struck() -> bool:
            rows = await self.world.control.faults()
            return all(number not in rows or rows[number]["hits"] >= times for number in numbers)

        faults = ", ".join(self._faults[number] for number in numbers)
        return await self.until(f"every fault has struck ({faults})", all_struck)

    async def until(
        self, what: str, condition: Callable[[], bool | Awaitable[bool]], timeout_s: float = WAIT_S
    ) -> bool:
        """Wait until something is so; a problem when it does not come."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = condition()
            if found if isinstance(found, bool) else await found:
                return True
            if time.monotonic() > deadline:
                self.problem(f"In {timeout_s:g} s it did not come true that {what}.")
                return False
            await asyncio.sleep(POLL_S)

    async def forgive(self) -> None:
        """What was published so far was wrong and nobody could know."""
        observer = self.world.observer
        await observer.look()
        await observer.compared_all()
        self._base = {
            book: counts._replace(problems=len(observer.problems[book]))
            for book, counts in self._base.items()
        }

    def syncs(self, book: Book) -> int:
        """How often a book came into sync since the scenario began."""
        return self.world.observer.sights[book].number("sync_count") - self._base[book].syncs

    def gaps(self, book: Book) -> int:
        """How many gaps a book had since then."""
        return self.world.observer.sights[book].number("gap_count") - self._base[book].gaps

    async def requests(self, book: Book) -> int:
        """How often its snapshot was asked for since then."""
        return await self.world.requests(book) - self._base[book].requests

    async def few_snapshots(self, book: Book, most: int) -> None:
        """Expect that its snapshot was asked for so often at most, but for requests no reader can do without.

        Those are the ones that were answered too late or with the copy that was there already.
        """
        asked = await self.requests(book)
        repeated = repeated_snapshots(self.world.home / "log")[book.context.name, book.symbol]
        again = repeated - self._base[book].again
        self.expect(
            asked <= most + again,
            f"{book.name} asked for {asked} snapshots, {again} of them had to be asked for again; {most} suffice.",
        )

    def absent(self, book: Book) -> int:
        """In how many looks it was not shown since then."""
        return self.world.observer.absent[book] - self._base[book].absent

    def withdrawn(self, book: Book, meanwhile: str) -> None:
        """Expect that it was seen not to be shown since then.

        It is withheld for `WITHHELD_S` at least. A machine so busy that nobody looked for that long proves nothing.
        """
        looked = self.world.observer.longest_pause_s(self._began) < WITHHELD_S
        self.expect(
            self.absent(book) > 0 or not looked,
            f"{book.name} was shown all the time, also while {meanwhile}.",
        )

    async def overtaken(self) -> None:
        """Wait until every book and every tape has passed where the exchange stands now.

        What is lost at the very end of a stream shows only when something comes after it.
        """
        marks = {}
        for source in {self.world.source_of(book) for book in self.books}:
            marks[source] = await source.summary()

        async def passed() -> bool:
            for book in self.books:
                row = marks[self.world.source_of(book)][book.context.settings.market][book.symbol]
                shown = self.world.observer.sights[book].shown
                if not shown or shown["u"] <= row["update_id"]["last"]:
                    return False
                last = await self.world.reader.last_trade_id(book)
                if last is not None and last < row["agg_trade_id"]["next"]:
                    return False
            return True

        await self.until("every book and tape has passed where the exchange stood", passed)

    def shown(self) -> bool:
        """Whether every book of the scenario is shown now."""
        return all(self.world.observer.sights[book].shown for book in self.books)

    async def resynced(self, times: int = 1) -> bool:
        """Wait until every book has come into sync so often since the beginning, and is shown."""
        return await self.until(
            f"every book came into sync {times} times more and is shown",
            lambda: self.shown() and all(self.syncs(book) >= times for book in self.books),
        )

    async def one_gap_resynced(self, most_requests: int = 1) -> None:
        """A gap has been made: expect it seen, the book withdrawn, and resynced with few snapshots.

        Each sync asks for one more than that, to compare the first one with.
        """
        if not await self.resynced(1):
            return
        for book in self.books:
            self.expect(self.gaps(book) == 1, f"{book.name} counts {self.gaps(book)} gaps, not 1.")
            self.withdrawn(book, "out of sync")
            await self.few_snapshots(book, most_requests + 1)
            recorded = await self.world.reader.gaps(book)
            self.expect(recorded > 0, f"The gap of {book.name} is not in its gaps stream.")
        self.facts["snapshots"] = {book.name: await self.requests(book) for book in self.books}

    async def undisturbed(self) -> None:
        """Expect that no book left sync, had a gap or asked for a snapshot since the beginning."""
        for book in self.books:
            counts = self.syncs(book), self.gaps(book), await self.requests(book)
            self.expect(
                counts == (0, 0, 0),
                f"{book.name} was disturbed: {counts[0]} resyncs, {counts[1]} gaps, {counts[2]} snapshots.",
            )

    async def settle(self) -> None:
        """Take the faults back, stop the markets and compare everything; they stand still afterwards."""
        await self.remove()
        by_source: dict[Any, list[Book]] = {}
        for book in self.books:
            by_source.setdefault(self.world.source_of(book), []).append(book)
        for source, books in by_source.items():
            reader = FleetReader(self.world.client, self.world.settings)
            names = {book.name for book in books}
            reader.books = [book for book in reader.books if book.name in names]
            verification = Verification(reader, source)
            await verification.finish()
            found = verification.findings
            self.result.problems += found.sentences()
            self.facts["trades"] = self.facts.get("trades", 0) + found.trades_seen
            self.facts["bars"] = self.facts.get("bars", 0) + found.bars_equal

    async def conclude(self) -> None:
        """What was seen meanwhile."""
        observer = self.world.observer
        for book in self.books:
            self.result.problems += observer.problems[book][self._base[book].problems :]
        self.facts["publications"] = sum(
            observer.compared[book] - self._base[book].compared for book in self.books
        )
        if self._calm:
            await self.undisturbed()
        self.result.seconds = time.monotonic() - self._began
