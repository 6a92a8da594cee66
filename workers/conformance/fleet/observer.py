"""Looking at a fleet all the time: everything it publishes is compared with the truth at the same update id."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final, cast

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from workers.errors import CommandError
from workers.store.books.shown import text_of, whole
from workers.verification.stored import Book
from workers.verification.truth import Findings, check_levels
from workers.verification.truth_source import TruthSource

LOOK_S: Final = 0.1
TOP: Final = 10
OPEN_ENDS: Final = {"known_low": "0", "known_high": "inf"}
"""The fields of a status that say how far a book is known, and what they say where that is to its end."""
AT_ONCE: Final = 8
MOST_PER_BOOK: Final = 20


@dataclass
class Sight:
    """A book as it was seen last."""

    status: Mapping[str, str] = field(default_factory=dict)
    shown: Mapping[str, Any] | None = None

    def number(self, name: str) -> int:
        """A whole number of the status; 0 where it has none."""
        return whole(self.status.get(name, ""))


class Observer:
    """Watches books until cancelled.

    `problems` are sentences by book; `absent` counts the looks in which a book was not shown; `compared` the
    publications compared.

    Args:
        source_of: where the truth of a book is told.
    """

    def __init__(
        self, client: Redis, books: Iterable[Book], source_of: Callable[[Book], TruthSource]
    ) -> None:
        self._client = client
        self._books = list(books)
        self._source_of = source_of
        self._seen_to: dict[Book, str] = dict.fromkeys(self._books, "-")
        self._last_id: dict[Book, int] = {}
        self._looking = asyncio.Lock()
        self._looked: list[float] = []
        self._queue: asyncio.Queue[tuple[Book, dict[str, Any], set[str]]] = asyncio.Queue()
        self.sights: dict[Book, Sight] = defaultdict(Sight)
        self.problems: dict[Book, list[str]] = defaultdict(list)
        self.absent: Counter[Book] = Counter()
        self.compared: Counter[Book] = Counter()

    async def run(self) -> None:
        """Look all the time, and compare what was found as fast as it can be; until cancelled."""
        comparing = asyncio.create_task(self._compare_all(), name="conformance: comparing")
        try:
            while True:
                # A server that is away is looked for again.
                with suppress(RedisError, OSError):
                    await self.look()
                await asyncio.sleep(LOOK_S)
        finally:
            comparing.cancel()

    async def look(self) -> None:
        """Look once: what is shown, what is said of it, and what was published since the last look.

        Raises:
            RedisError: the server did not answer.
        """
        async with self._looking:
            before = dict(self.sights)
            await self._look_at_hashes()
            self.noted_look()
            for book, payload in await self._published():
                ends = _ends(before.get(book, Sight()), self.sights[book], payload)
                self._queue.put_nowait((book, payload, ends))

    def noted_look(self) -> None:
        """Note that everything was looked at now."""
        self._looked.append(time.monotonic())

    def longest_pause_s(self, since: float) -> float:
        """The longest time between two looks after a moment (monotonic seconds), or from one of them until now."""
        moments = [since, *(moment for moment in self._looked if moment > since), time.monotonic()]
        return max(later - earlier for earlier, later in pairwise(moments))

    async def compared_all(self) -> None:
        """Wait until everything found has been compared."""
        await self._queue.join()

    async def _compare_all(self) -> None:
        async def compare_some() -> None:
            while True:
                book, payload, ends = await self._queue.get()
                try:
                    await self._compare(book, payload, ends)
                except Exception as error:
                    self._tell(book, f"A publication of {book.name} could not be compared: {error!r}")
                finally:
                    self._queue.task_done()

        await asyncio.gather(*(compare_some() for _ in range(AT_ONCE)))

    async def _look_at_hashes(self) -> None:
        pipe = self._client.pipeline(transaction=True)
        for book in self._books:
            pipe.hget(book.context.keys.live_orderbook, book.symbol)
            pipe.hgetall(book.context.keys.book_status(book.symbol))
        replies = await pipe.execute(raise_on_error=False)
        for book, payload, status in zip(self._books, replies[::2], replies[1::2], strict=True):
            said = {} if isinstance(status, Exception) else text_of(status)
            shown = _content(payload)
            sight = self.sights[book] = Sight(said, shown)
            self.absent[book] += shown is None
            state = said.get("state", "synced")
            if shown and state != "synced" and sight.number("updated") > shown["published"] // 1000:
                self._tell(book, f"{book.name} is shown though its status says {state}.")

    async def _published(self) -> list[tuple[Book, dict[str, Any]]]:
        pipe = self._client.pipeline(transaction=False)
        for book in self._books:
            pipe.xrange(book.context.keys.book_top(book.symbol), min=self._seen_to[book])
        found = []
        for book, entries in zip(self._books, await pipe.execute(raise_on_error=False), strict=True):
            if isinstance(entries, Exception):
                continue  # rubbish stands there, as a scenario wants it
            for _, fields in cast(list[tuple[bytes, dict[bytes, bytes]]], entries):
                payload = _content(fields.get(b"data"))
                if payload is None:
                    continue
                self._check_order(book, int(payload["u"]))
                found.append((book, payload))
            if entries:
                self._seen_to[book] = f"({entries[-1][0].decode()}"
        return found

    def _check_order(self, book: Book, update_id: int) -> None:
        if update_id < self._last_id.get(book, 0):
            self._tell(book, f"{book.name} was published at {update_id} after {self._last_id[book]}.")
        self._last_id[book] = update_id

    async def _compare(self, book: Book, payload: dict[str, Any], ends: set[str]) -> None:
        update_id = int(payload["u"])
        bids, asks = payload["b"], payload["a"]
        if bids and asks and Decimal(bids[0][0]) >= Decimal(asks[0][0]):
            self._tell(book, f"{book.name} was published crossed at update id {update_id}.")
        try:
            truth = await self._source_of(book).book(
                book.context.settings.market, book.symbol, update_id, TOP
            )
        except CommandError as error:
            if "gave status" in str(error):
                self._tell(book, f"{book.name} was published at {update_id}, which never was: {error}")
            return
        findings = Findings()
        # A book whose known range ends early shows fewer levels, each of which must be right.
        bids_shown = max(1, len(bids)) if "known_low" in ends else TOP
        asks_shown = max(1, len(asks)) if "known_high" in ends else TOP
        real = truth.bids[:bids_shown], truth.asks[:asks_shown]
        check_levels(book.name, update_id, (bids, asks), real, findings)
        self.compared[book] += 1
        for sentence in findings.sentences():
            self._tell(book, f"Published wrong: {sentence}")

    def _tell(self, book: Book, sentence: str) -> None:
        if len(self.problems[book]) < MOST_PER_BOOK:
            self.problems[book].append(sentence)


def _ends(before: Sight, now: Sight, payload: Mapping[str, Any]) -> set[str]:
    """Where the known range of a book may have ended when this was published between two looks.

    A status that was told after the publication says nothing of it, so the one before counts too.
    """
    said = [now.status]
    if now.number("updated") > payload["published"] // 1000:
        said.append(before.status)
    return {name for name, end in OPEN_ENDS.items() if any(status.get(name, end) != end for status in said)}


def _content(payload: Any) -> dict[str, Any] | None:
    """A published payload; None for none, and for rubbish."""
    with suppress(msgspec.DecodeError):
        found = msgspec.json.decode(payload) if isinstance(payload, bytes) else None
        return found if isinstance(found, dict) and "u" in found else None
    return None
