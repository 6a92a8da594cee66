"""Checking a running fleet against the simulated exchange: samples while it runs, everything at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from redis.exceptions import RedisError

from workers.errors import CommandError, StateUnreadable
from workers.model.books.checkpoint import Checkpoint
from workers.model.trades.windows import INTERVALS_MS
from workers.store.keys import FOLDS, TRADES, TRADES_GROUP
from workers.store.refusals import refusal_of
from workers.terminal.output import Totals
from workers.verification.orders import check_orders
from workers.verification.stored import Book, FleetReader
from workers.verification.truth import (
    Findings,
    check_bars,
    check_levels,
    check_trades,
    numbered_as_held,
    percentile,
    within,
)
from workers.verification.truth_source import TruthBook, TruthSource

STARTING: Final = "starting"
SAMPLE_S: Final = 0.8
TOP: Final = 10
CATCH_UP_S: Final = 45.0
TRAILING_S: Final = 20.0
"""How long the last change, and a range that the last one left, may take to be shown and stored."""


class Verification:
    """One check of one fleet, from its start to its verdict.

    Args:
        reader: reads what the fleet holds.
        source: what really happened on Binance.
        others: the same of each other exchange, by its name.
    """

    def __init__(
        self, reader: FleetReader, source: TruthSource, others: Mapping[str, TruthSource] | None = None
    ) -> None:
        self._reader = reader
        self._source = source
        self._others = others or {}
        self.findings = Findings()
        self.phase = STARTING
        self.totals = Totals(0, 0, 0)
        self.latencies_ms: list[float] = []
        self._started = time.monotonic()
        self._stopped = False

    @property
    def _sources(self) -> list[TruthSource]:
        return [self._source, *self._others.values()]

    def _source_of(self, book: Book) -> TruthSource:
        return self._others.get(book.context.settings.exchange, self._source)

    async def _summary(self, book: Book) -> dict[str, Any]:
        found: dict[str, Any] = (await self._source_of(book).summary())[book.context.settings.market]
        truth: dict[str, Any] = found[book.symbol]
        return truth

    async def _true_book(self, book: Book, update_id: int, depth: int | None) -> TruthBook:
        """The truth at an id; where the exchange has none, as it is now."""
        facts = book.context.venue.facts
        at = update_id if facts.continuity.by_id else None
        return await self._source_of(book).book(
            book.context.settings.market, book.symbol, at, depth, facts.levels
        )

    @property
    def books(self) -> list[Book]:
        """The books to check: nothing can come of a symbol that is not listed."""
        return [book for book in self._reader.books if self._reader.is_listed(book)]

    @property
    def unlisted(self) -> list[str]:
        """A sentence for each symbol of the settings that the exchange does not list."""
        return self._reader.unlisted()

    async def wait_until_synced(self, timeout_s: float, stop: asyncio.Event) -> bool:
        """Wait until every book is shown and every symbol's trades are read; what is missing is told."""
        deadline = time.monotonic() + timeout_s
        missing = ["everything"]
        while missing and time.monotonic() < deadline and not stop.is_set():
            try:
                missing = await self._not_ready()
                self.totals = await self._reader.totals()
            except (RedisError, OSError):
                missing = ["Redis"]
            except Exception as error:  # whoever watches may fail; the fleet goes on
                missing = [f"What Redis holds ({error!r})"]
            await asyncio.sleep(0.1)
        for name in missing if not stop.is_set() else ():
            self.findings.tell(f"{name} never became ready within {timeout_s:g} s.")
        self._started = time.monotonic()
        return not missing

    async def _not_ready(self) -> list[str]:
        await self._reader.refresh()
        missing = [
            f"The choice of {context.name}'s symbols"
            for context in self._reader.contexts
            if not context.symbols.chosen
        ]
        for context in self._reader.contexts:
            shown = await self._reader.shown(context)
            for book in self.books:
                if book.context is not context:
                    continue
                if book.symbol not in shown:
                    missing.append(f"The book of {book.name}")
                elif not (await self._reader.group(book, TRADES, TRADES_GROUP)).exists:
                    missing.append(f"The trades fold of {book.name}")
        return missing

    async def sample(self) -> None:
        """Compare the top of every shown book with the truth at the same update id."""
        for context in self._reader.contexts:
            shown = await self._reader.shown(context)
            for book in self.books:
                if book.context is not context:
                    continue
                payload = shown.get(book.symbol)
                if payload is None:
                    self.findings.samples_out_of_sync += 1
                    continue
                try:
                    await self._compare_top(book, payload)
                    await self._note_latency(book)
                except Exception as error:  # rubbish in what the fleet shows is a finding, not our end
                    if isinstance(error, RedisError | OSError) and refusal_of(error).of_server:
                        raise
                    self.findings.books_differ.add(book.name)
                    self.findings.tell(f"{book.name} shows what cannot be read: {error!r}.")
        self.totals = await self._reader.totals()

    async def _compare_top(self, book: Book, payload: dict[str, Any]) -> None:
        update_id = int(payload["u"])
        if not self._stopped and not book.context.venue.facts.continuity.by_id:
            return  # nothing says which moment of the truth this is
        try:
            truth = await self._true_book(book, update_id, TOP)
        except CommandError as error:
            self.findings.books_differ.add(book.name)
            self.findings.tell(
                f"{book.name} shows update id {update_id}, for which there is no truth: {error}"
            )
            return
        self.findings.book_samples += 1
        shown = (payload["b"], payload["a"])
        check_levels(book.name, update_id, shown, (truth.bids, truth.asks), self.findings)

    async def _note_latency(self, book: Book) -> None:
        for payload in await self._reader.published(book):
            self.latencies_ms.append(int(payload["published"]) / 1000 - int(payload["E"]))

    async def run(self, seconds: float | None, stop: asyncio.Event) -> None:
        """Sample until the time is over (None: for ever) or `stop` is set."""
        for book in self.books:
            await self._reader.published(book)  # what was published while starting is no measure of latency
        deadline = time.monotonic() + seconds if seconds is not None else float("inf")
        while not stop.is_set() and (left := deadline - time.monotonic()) > 0:
            began = time.monotonic()
            with suppress(RedisError, OSError):  # the server is away: what it holds is compared later
                await self.sample()
            pause = min(left, SAMPLE_S - (time.monotonic() - began))
            if pause > 0:
                await _sleep_until(stop, pause)

    async def finish(self) -> None:
        """Stop the markets, wait until the fleet has caught up, and compare everything."""
        for source in self._sources:
            await source.pause()
        self._stopped = True
        summary = {book: await self._summary(book) for book in self.books}
        self.totals = await self._reader.totals()
        await self._wait_for_groups(summary)
        last_ids = {book: _last_update_id(book, summary[book]) for book in self.books}
        # first, and all at once: books are stale some time after the markets stopped
        await asyncio.gather(*(self._check_last_shown(book, last) for book, last in last_ids.items()))
        for book, last in last_ids.items():
            await self._check_full_book(book, last)
            await self._check_trades_and_bars(book)
            await check_orders(self._reader.client, book, self._source_of(book), self.findings)

    async def _wait_for_groups(self, summary: Mapping[Book, dict[str, Any]]) -> None:
        deadline = time.monotonic() + CATCH_UP_S
        behind = dict.fromkeys(self.books, "not looked at")
        while behind and time.monotonic() < deadline:
            for book in list(behind):
                reason = await self._behind(book, summary[book])
                if reason:
                    behind[book] = reason
                else:
                    del behind[book]
            await asyncio.sleep(0.1)
        for book, reason in behind.items():
            self.findings.tell(f"{book.name} did not catch up within {CATCH_UP_S:g} s: {reason}.")

    async def _behind(self, book: Book, truth: dict[str, Any]) -> str:
        for channel, group in FOLDS:
            state = await self._reader.group(book, channel, group)
            if not state.exists and channel == TRADES and truth["agg_trade_id"]["count"] == 0:
                continue
            if not state.caught_up:
                return f"group {group} has {state.waiting} entries waiting and {state.pending} pending"
        update_id = _last_update_id(book, truth)
        checkpoint = await self._checkpoint(book)
        reached = checkpoint.last_update_id if checkpoint else None
        if update_id is not None and reached != update_id:
            return f"its checkpoint stands at update id {reached}, the stream at {update_id}"
        last = await self._reader.last_trade_id(book)
        provable = book.context.venue.facts.trade_ids == "consecutive"
        if provable and last is not None and last != truth["agg_trade_id"]["next"] - 1:
            return f"its trades stand at {last}, the stream at {truth['agg_trade_id']['next'] - 1}"
        if await self._reader.long_windows_lag(book):
            return "its windows of 5 m and longer lag behind"
        return ""

    async def _checkpoint(self, book: Book) -> Checkpoint | None:
        try:
            return await self._reader.checkpoint(book)
        except StateUnreadable:
            return None

    async def _check_last_shown(self, book: Book, update_id: int | None) -> None:
        """The last change must have been published, though nothing came after it."""
        deadline = time.monotonic() + TRAILING_S
        while True:
            payload = (await self._reader.shown(book.context)).get(book.symbol)
            if (payload and update_id in (None, payload["u"])) or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.05)
        if payload is None:
            self.findings.books_differ.add(book.name)
            self.findings.tell(f"{book.name} is not shown at the end: {await self._why(book)}.")
            return
        if update_id not in (None, payload["u"]):
            self.findings.books_differ.add(book.name)
            self.findings.tell(
                f"{book.name} shows update id {payload['u']} at the end; the last one is {update_id}."
            )
        await self._compare_top(book, payload)

    async def _why(self, book: Book) -> str:
        status = await self._reader.status(book)
        return f"state {status.get('state', 'unknown')}, {status.get('reason') or 'no reason given'}"

    async def _knowing_checkpoint(self, book: Book) -> Checkpoint | None:
        """The stored checkpoint, given time to know both sides: the market may have stopped beyond the range."""
        deadline = time.monotonic() + TRAILING_S
        while True:
            checkpoint = await self._checkpoint(book)
            if checkpoint is None or not checkpoint.synced or time.monotonic() > deadline:
                return checkpoint
            low, high = checkpoint.known
            if within(checkpoint.bids, low, "inf") and within(checkpoint.asks, "0", high):
                return checkpoint
            await asyncio.sleep(0.1)

    async def _check_full_book(self, book: Book, update_id: int | None) -> None:
        checkpoint = await self._knowing_checkpoint(book)
        if checkpoint is None or not checkpoint.synced:
            self.findings.books_differ.add(book.name)
            self.findings.tell(f"{book.name} has no usable checkpoint at the end: {await self._why(book)}.")
            return
        at = checkpoint.last_update_id
        truth = await self._true_book(book, at, book.context.venue.facts.levels or None)
        low, high = checkpoint.known
        held = within(checkpoint.bids, low, "inf"), within(checkpoint.asks, "0", high)
        if not held[0] or not held[1]:
            self.findings.books_differ.add(book.name)
            self.findings.tell(
                f"{book.name} knows no {'asks' if held[0] else 'bids'} at update id {at} of {update_id}."
            )
        real = within(truth.bids, low, "inf"), within(truth.asks, "0", high)
        check_levels(f"{book.name}", at, held, real, self.findings)

    async def _check_trades_and_bars(self, book: Book) -> None:
        held = await self._reader.trades(book)
        if not held:
            if await self._reader.last_trade_id(book) is not None:
                self.findings.tell(f"{book.name}: the latest set is empty though trades were applied.")
            return
        before = await self._reader.ids_after(book)  # ids that began anew are lower than older ones
        first = min(int(member["agg_trade_id"]) for score, member in held if not before or score <= before)
        market, source = book.context.settings.market, self._source_of(book)
        if book.context.venue.facts.trade_ids == "consecutive":
            truth = await source.trades(market, book.symbol, first)
        else:
            truth = numbered_as_held(await source.trades(market, book.symbol, 0), held)
        check_trades(book.name, held, truth, self.findings)
        for interval in INTERVALS_MS:
            check_bars(book.name, interval, await self._reader.bars(book, interval), truth, self.findings)
            await asyncio.sleep(0)

    async def report(self) -> dict[str, Any]:
        """The verdict as one object."""
        found = self.findings
        seconds = time.monotonic() - self._started
        statuses = [await self._reader.status(book) for book in self.books]
        names = [book.name for book in self.books]
        return {
            "symbols": len(names),
            "books_equal": len(set(names) - found.books_differ),
            "books_differ": len(found.books_differ),
            "book_samples": found.book_samples,
            "samples_out_of_sync": found.samples_out_of_sync,
            "trades_seen": found.trades_seen,
            "trades_missing": found.trades_missing,
            "trades_doubled": found.trades_doubled,
            "trades_differ": found.trades_differ,
            "bars_equal": found.bars_equal,
            "bars_differ": found.bars_differ,
            "bars_expired": found.bars_expired,
            "orders_equal": found.orders_equal,
            "orders_differ": found.orders_differ,
            "resyncs": sum(max(0, int(status.get("sync_count", 0)) - 1) for status in statuses),
            "gaps": sum([await self._reader.gaps(book) for book in self.books]),
            "p50_ms": _rounded(percentile(self.latencies_ms, 0.5)),
            "p99_ms": _rounded(percentile(self.latencies_ms, 0.99)),
            "messages": self.totals.messages,
            "seconds": round(seconds, 1),
            "unlisted": self.unlisted,
            "problems": found.sentences(),
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _last_update_id(book: Book, truth: dict[str, Any]) -> int | None:
    """The last id the book's depth stream has sent; None where it has none."""
    facts = book.context.venue.facts
    if not facts.continuity.by_id:
        return None
    streams = truth["depth"]
    chain = streams.get(facts.depth_stream) or streams.get(str(facts.levels)) or streams["depth"]
    return int(chain["last_u"] or truth["update_id"]["last"])


async def _sleep_until(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
