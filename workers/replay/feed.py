"""Feeding recordings through the ingest code, never far ahead of the workers that read them.

record ─► Line.frame ─► Appender ─► lua/log/append.lua ─► raw streams ─► the workers
snapshot ─► once the books have read everything before it ─► RecordedRest
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from workers.books.worker import BookWorker
from workers.errors import FleetError, RecordingError
from workers.ingest.appender import Appender
from workers.model.books.sync import SyncState
from workers.orders.worker import OrderWorker
from workers.recordings.recording import Recording, merged
from workers.recordings.records import Damage, Market, Opened, Received, RecordedSnapshot
from workers.recordings.streams import Stream, quote_of, stream_of
from workers.replay.ends import StreamEnds
from workers.replay.plan import ReplayPlan
from workers.replay.rest import RecordedRest
from workers.replay.sockets import Fed, SocketFrames
from workers.store.keys import DEPTH, TRADES
from workers.store.log.streams import RawEntry
from workers.trades.worker import TradeWorker

CHUNK: Final = 1_000
"""Messages appended at once; the feed is at most two of these ahead of the workers."""
STEP_US: Final = 60_000_000
"""Recorded time after which a chunk ends anyway: what is unread must be younger than the streams' retention."""
POLL_S: Final = 0.0005
ASK_S: Final = 0.5
STALLED_S: Final = 60.0
TOLD_ERRORS: Final = 20


class Interrupted(Exception):
    """The user does not want to go on."""


class _Late(NamedTuple):
    """A snapshot that came while events before it were held back for another line."""

    due_us: int
    market: Market
    snapshot: RecordedSnapshot


class Feeder:
    """Takes recordings apart and feeds them.

    Args:
        lines: for each market, its context, its line (which must append to `append`), its quotes.
        ends: where the raw streams end.
        workers: their loops; one that ends takes the replay with it.
        hold_ms: for how long the lines hold messages back.
        speed: 1 is real time by the recorded clock; None: as fast as the workers read.
    """

    def __init__(
        self,
        plan: ReplayPlan,
        markets: Mapping[Market, Fed],
        appender: Appender,
        books: BookWorker,
        trades: TradeWorker,
        orders: OrderWorker,
        rest: RecordedRest,
        ends: StreamEnds,
        workers: Iterable[asyncio.Task[None]],
        stop: asyncio.Event,
        *,
        hold_ms: int,
        speed: float | None,
    ) -> None:
        self._plan = plan
        self._markets = markets
        self._appender = appender
        self._books = books
        self._trades = trades
        self._orders = orders
        self._rest = rest
        self._ends = ends
        self._workers = list(workers)
        self._stop = stop
        self._hold_ms = hold_ms
        self._speed = speed
        self._left_out = {market: plan.left_out(market) for market in markets}
        self._sockets = SocketFrames(plan, markets)
        self._unread = {
            fed.context.keys.raw(symbol, TRADES)
            for fed in markets.values()
            if fed.context.settings.trades == "none"
            for symbol in fed.context.symbols
        }
        """Trade streams nobody folds."""
        self._numbered: set[str] = set()
        """Streams appended to since the last flush whose ids are numbers of the log."""
        self.messages: dict[Market, Counter[Stream]] = {market: Counter() for market in markets}
        self.count = 0
        """Frames fed or at least recognised."""
        self.other = 0
        """Frames of no stream: replies to requests of the recorder."""
        self.snapshots = 0
        self.malformed = 0
        self.errors: list[RecordingError] = []
        """The first errors, each with file and line."""
        self._now_us = 0
        self._chunk = self._chunk_us = 0
        self._last: dict[str, int] = {}
        """By raw stream key, the update id appended last."""
        self._before: dict[str, int] = {}
        """The same, at the end of the chunk before."""
        self._known: dict[str, int] = {}
        """Where streams end that held what we append already: its readers will not be given it again."""
        self._unheard: set[tuple[Market, str]] = set()
        """Symbols whose snapshot came before their first event."""
        self._late: deque[_Late] = deque()
        self._started: tuple[float, int] | None = None

    @property
    def sequence_gaps(self) -> Mapping[Market, int]:
        """Holes in the numbers of a connection's frames."""
        return self._sockets.sequence_gaps

    @property
    def repeats(self) -> int:
        """Messages that came again."""
        return sum(fed.line.repeats for fed in self._markets.values())

    def contradictory(self, market: Market, symbol: str) -> int:
        """Trades of a symbol that came with the id of another one."""
        return self._markets[market].line.contradictory[symbol]

    def entry(self, entry: RawEntry) -> None:
        """Where the lines hand their entries."""
        if entry.key in self._unread:
            return
        if entry.numbered:
            self._numbered.add(entry.key)
        else:
            self._last[entry.key] = entry.update_id
        self._appender.add(entry)

    async def run(self) -> None:
        """Feed everything; return when the workers have read it.

        Raises:
            Interrupted: `stop` was set.
            RedisError: the server went away.
        """
        for recording, record in merged(self._plan.recordings):
            if recording.market not in self._markets:
                continue
            if isinstance(record, Received):
                if self._attentive or self._chunk >= CHUNK or abs(record.time_us - self._chunk_us) > STEP_US:
                    await self._advance(record.time_us)
                self._chunk += 1
                stream = self._received(recording, record)
                if self._unheard and stream is not None and stream.is_depth:
                    await self._first_event(recording.market, stream.symbol)
            elif isinstance(record, RecordedSnapshot):
                await self._advance(record.time_us)
                await self._snapshot(recording.market, record)
            elif isinstance(record, Opened):
                self._sockets.opened(recording, record)
            elif isinstance(record, Damage):
                self._damaged(record.error)
        for fed in self._markets.values():
            fed.line.tick(self._now_us, all_held=True)
        await self._flush()
        for late in self._late:
            await self._release(late.market, late.snapshot)
        await self._read_up_to(self._last)
        for market, fed in self._markets.items():
            for symbol in fed.context.symbols:
                await self._judged(market, symbol)

    @property
    def _attentive(self) -> bool:
        """Whether each record must be looked at before it is fed."""
        return self._speed is not None or bool(self._late)

    async def _advance(self, time_us: int) -> None:
        """Come to the next record: end the chunk where it is full, wait where the recorded clock says so."""
        jump = abs(time_us - self._chunk_us) > STEP_US
        if jump or self._chunk >= CHUNK:
            await self._append()
            long_ago, self._before = self._before, dict(self._last)
            # what comes after a jump in time trims what is new now, so all of it must have been read
            await self._read_up_to(self._before if jump else long_ago)
            self._chunk, self._chunk_us = 0, time_us
        while self._late and self._late[0].due_us <= time_us:
            self._now_us = time_us
            late = self._late.popleft()
            await self._release(late.market, late.snapshot)
        if self._speed:
            await self._wait_until_due(time_us, self._speed)

    def _damaged(self, error: RecordingError) -> None:
        self.malformed += 1
        if len(self.errors) < TOLD_ERRORS:
            self.errors.append(error)

    def _received(self, recording: Recording, record: Received) -> Stream | None:
        market = recording.market
        if recording.venue is not None:
            return self._of_socket(recording, record)
        fed = self._markets[market]
        self._now_us = record.time_us
        stream = stream_of(record.frame)
        if stream is None or stream not in self._left_out[market]:
            found = fed.line.frame(record.frame, record.time_us)
            if found is None:
                problem = f"the frame cannot be used: {record.frame[:60]!r}…"
                self._damaged(RecordingError(str(recording.path), record.line, problem))
                return None
            if stream is None:
                self.other += 1
                return None
        if stream.is_ticker:
            quote = quote_of(record.frame)
            if quote is None:
                problem = "the bookTicker is not whole"
                self._damaged(RecordingError(str(recording.path), record.line, problem))
                return None
            check = fed.quotes.get(stream.symbol)
            if check is not None:
                check.quoted(quote)
        self.messages[market][stream] += 1
        self.count += 1
        return stream

    def _of_socket(self, recording: Recording, record: Received) -> Stream | None:
        """Feed a frame of a venue whose sockets remember something; its stream if it was of a book."""
        self._now_us = record.time_us
        streams = self._sockets.received(recording, record)
        if streams is None:
            problem = f"the frame cannot be used: {record.frame[:60]!r}…"
            self._damaged(RecordingError(str(recording.path), record.line, problem))
            return None
        self.messages[recording.market].update(streams)
        self.count += len(streams)
        self.other += not streams
        return next((stream for stream in streams if stream.is_depth), None)

    async def _wait_until_due(self, time_us: int, speed: float) -> None:
        """Sleep until the recorded clock has come to a record."""
        if self._started is None:
            self._started = time.monotonic(), time_us
        began, first_us = self._started
        wait_s = began + (time_us - first_us) / 1e6 / speed - time.monotonic()
        if wait_s <= 0.001:
            return
        await self._append()
        try:
            await asyncio.wait_for(self._stop.wait(), wait_s)
        except TimeoutError:
            self._check()
            return
        raise Interrupted

    async def _append(self) -> None:
        for fed in self._markets.values():
            fed.line.tick(self._now_us)
        await self._flush()

    async def _flush(self) -> None:
        await self._appender.flush()
        numbered, self._numbered = self._numbered, set()
        self._last |= await self._ends.last(numbered)

    async def _read_up_to(self, update_ids: Mapping[str, int]) -> None:
        """Wait until the workers have taken in these entries."""
        for key, update_id in update_ids.items():

            def taken(key: str = key, update_id: int = update_id) -> bool:
                return self._taken(key) >= update_id

            await self.until(taken, f"read {key}", key)

    def _taken(self, key: str) -> int:
        owned = self._books.books.get(key) or self._trades.tapes.get(key) or self._orders.books.get(key)
        if owned is None:
            return -1
        return max(int(owned.last_stream_id.partition(b"-")[2]), self._known.get(key, -1))

    def _check(self) -> None:
        if self._stop.is_set():
            raise Interrupted
        for worker in self._workers:
            if worker.done():
                worker.result()
                raise FleetError("A worker ended before the recording did.")

    async def until(self, reached: Callable[[], bool], what: str, key: str = "") -> None:
        """Give way until something is reached; now and then ask how far the readers of the stream `key` are.

        Raises:
            FleetError: it was not, for a minute: a defect, better told than waited for.
        """
        began = asked = time.monotonic()
        while not reached():
            self._check()
            now = time.monotonic()
            if key and now - asked > ASK_S:
                asked = now
                self._known[key] = await self._ends.delivered(key)
            if now - began > STALLED_S:
                raise FleetError(f"The workers did not {what} within {STALLED_S:g} s.")
            await asyncio.sleep(POLL_S)

    async def _snapshot(self, market: Market, snapshot: RecordedSnapshot) -> None:
        self.snapshots += 1
        self._now_us = snapshot.time_us
        line = self._markets[market].line
        line.tick(self._now_us)
        if line.holds(DEPTH, snapshot.symbol):  # what is held back came before the snapshot
            self._late.append(_Late(snapshot.time_us + 1000 * self._hold_ms, market, snapshot))
        else:
            await self._release(market, snapshot)

    async def _release(self, market: Market, snapshot: RecordedSnapshot) -> None:
        """Let the books come up to the snapshot's place in the recording, then give it out."""
        fed = self._markets[market]
        if snapshot.symbol not in fed.context.symbols:
            return
        await self._append()
        key = fed.context.keys.raw(snapshot.symbol, DEPTH)
        await self._read_up_to({key: self._last.get(key, -1)})
        self._rest.release(market, snapshot.symbol, snapshot.body)
        await self._judged(market, snapshot.symbol)
        book = self._books.books[key]
        if book.sync.wants_snapshot and not book.heard:
            self._unheard.add((market, snapshot.symbol))

    async def _first_event(self, market: Market, symbol: str) -> None:
        """A snapshot came before it: nothing more may be fed until the book has both."""
        if (market, symbol) not in self._unheard:
            return
        self._unheard.discard((market, symbol))
        await self._append()
        key = self._markets[market].context.keys.raw(symbol, DEPTH)
        await self._read_up_to({key: self._last.get(key, -1)})
        await self._judged(market, symbol)

    async def _judged(self, market: Market, symbol: str) -> None:
        """Wait until the book has made of the released snapshots what it can."""
        fed = self._markets[market]
        if fed.context.venue.facts.snapshots != "rest":
            return
        key = fed.context.keys.raw(symbol, DEPTH)
        await self.until(lambda: key in self._books.books, f"own {key}")

        def judged() -> bool:
            book = self._books.books.get(key)
            if book is None:
                return False
            wants = book.heard and book.sync.wants_snapshot
            return not wants or self._rest.asked_in_vain(market, symbol)

        await self.until(judged, f"take in the snapshot of {symbol}")
        book = self._books.books[key]
        if book.sync.state is SyncState.SYNCED and book.sync.last_update_id == self._taken(key):
            fed.quotes[symbol].stood(
                book.sync.last_update_id, book.sync.book.best_bid, book.sync.book.best_ask
            )
