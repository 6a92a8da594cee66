"""Reading trades as they come, without holes where the fleet could fill them.

The raw stream holds what the sockets brought; what a repair fetched later is only in `trades:{S}:latest`. So where
the ids jump, the reading of that symbol waits until the fold has passed the hole, and takes the missing trades from
there. The same way it goes on from a token or a time older than the stream: the latest set holds 24 hours.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from workers.client.decoding import WireDecoder, decoder_of, trade
from workers.client.feed import BLOCK_MS, Feed
from workers.client.naming import keys_of
from workers.client.records import Gap, Trade
from workers.client.tokens import Place
from workers.errors import MalformedFrame
from workers.model.events import Trade as WireTrade
from workers.model.trades.numbering import is_room
from workers.model.trades.reordering import Reordering
from workers.store.keys import TRADES, Keys
from workers.store.log.follower import START, Entry, Lost, entry_id
from workers.store.log.ranges import Ranges, around
from workers.store.log.streams import delivered
from workers.store.refusals import Refusal, refusal_of
from workers.venues.entries import is_break

HOLE_BLOCK_MS: Final = 50
"""How long a read waits while a hole is open."""
OUT_OF_ORDER: Final = 2_000
"""Members of the latest set stand by time; ids are at most about this far from that order."""
WAITING: Final = 20_000
"""Trades of a symbol held behind a hole; then its stream is not read until the hole is done."""


def _is_wrong_type(error: BaseException) -> bool:
    return isinstance(error, ResponseError) and refusal_of(error) is Refusal.WRONG_TYPE


class _Break(NamedTuple):
    """The word that trades are missing at its place, nobody knows how many."""

    number: int
    time_ms: int


def _in_order() -> Reordering[WireTrade]:
    return Reordering(lambda row: row.trade_id, OUT_OF_ORDER)


@dataclass
class _Hole:
    """Ids `first` (None: from the beginning of what is held) to `last`, traded between two times."""

    first: int | None
    last: int
    from_ms: int
    to_ms: int
    deadline: float
    pages: AsyncIterator[list[WireTrade]] | None = None
    order: Reordering[WireTrade] = field(default_factory=_in_order)
    from_beginning: bool = False
    is_room: bool = False
    """Whether the log left these numbers free for what REST may have of a break, so that none need be a trade."""

    def __post_init__(self) -> None:
        self.from_beginning = self.first is None


@dataclass
class _State:
    """How far one symbol has come."""

    keys: Keys
    symbol: str
    last_id: int
    last_ms: int
    position: str
    hole: _Hole | None = None
    broke_at: int = -1
    """The number of the last break."""
    waiting: deque[tuple[str, WireTrade | _Break | None]] = field(default_factory=deque)


class TradeFeed(Feed[Trade]):
    """Every market trade of several symbols, each symbol's in the order of its ids.

    Args:
        repair_wait_s: how long a symbol waits for a hole to be filled before its trades go on with a `Gap`.
    """

    channel = "trades"

    def __init__(
        self,
        connect: Callable[[], Redis],
        symbols: Sequence[str],
        *,
        resume: str | None = None,
        from_ms: int | None = None,
        repair_wait_s: float = 15.0,
        exchange: str = "binance",
    ) -> None:
        super().__init__(connect, symbols, lambda keys, symbol: keys.raw(symbol, TRADES), resume, from_ms)
        self._repair_wait_s = repair_wait_s
        self._exchange = exchange
        self._decoders: dict[str, WireDecoder] = {}
        """By the prefix of a name: that of its venue."""
        self._states: dict[str, _State] = {}

    def _newest(self, position: str) -> Place:
        ms, trade_id = entry_id(position)
        return Place(position, trade_id if ms else -1, ms)

    def _begin(self, name: str, place: Place) -> None:
        self._states[name] = _State(*keys_of(name), place.trade_id, place.time_ms, place.position)

    async def _began(self) -> None:
        for name in self._states:
            venue = name.rpartition(":")[0]
            if venue not in self._decoders:
                self._decoders[venue] = await decoder_of(self._client, name, self._exchange)
        for state in self._states.values():
            if state.last_id >= 0 or state.position == START:
                continue
            try:
                first = await self._client.xrange(state.keys.raw(state.symbol, TRADES), count=1)
            except ResponseError as error:
                if not _is_wrong_type(error):
                    raise
                continue  # the reading sets it aside
            ms, trade_id = entry_id(first[0][0]) if first else (0, 0)
            if ms > state.last_ms:
                state.hole = self._hole(None, trade_id - 1, state.last_ms, ms + 1)

    def _hole(self, first: int | None, last: int, from_ms: int, to_ms: int) -> _Hole:
        return _Hole(first, last, from_ms, to_ms, time.monotonic() + self._repair_wait_s)

    def _block_ms(self) -> int:
        holes = [state.hole for state in self._states.values() if state.hole]
        if any(hole.pages is not None or hole.first is None for hole in holes):
            return 0
        return HOLE_BLOCK_MS if holes else BLOCK_MS

    def _wanted(self) -> list[str] | None:
        full = [name for name, state in self._states.items() if len(state.waiting) >= WAITING]
        return [key for key, name in self._name_of.items() if name not in full] if full else None

    def _lost(self, name: str, lost: Lost) -> None:
        if lost.restarted:  # what was only trimmed shows in the ids
            super()._lost(name, lost)
            self._states[name].last_id = -1

    def _take(self, name: str, entries: Sequence[Entry]) -> None:
        state, decoder = self._states[name], self._decoders[name.rpartition(":")[0]]
        for entry in delivered(entries):
            position = entry.stream_id.decode()
            row: WireTrade | _Break | None = None
            if is_break(entry):
                ms, number = entry_id(position)
                row = _Break(number, ms)
            else:
                with suppress(MalformedFrame):
                    row = decoder.trade(name, entry)
            if state.hole:
                state.waiting.append((position, row))
            else:
                self._arrived(name, state, position, row)

    def _arrived(self, name: str, state: _State, position: str, row: WireTrade | _Break | None) -> None:
        if row is None:  # if it was a trade, its id is a hole now
            state.position = position
            place = Place(position, state.last_id, state.last_ms)
            self._put(name, place, Gap(name, self.channel, "undecodable", position, position, None))
            return
        number, time_ms = row if isinstance(row, _Break) else (row.trade_id, row.trade_time)
        if state.last_id >= 0 and number > state.last_id + 1:
            from_ms, to_ms = sorted((state.last_ms, time_ms))
            state.hole = self._hole(state.last_id + 1, number - 1, *around(from_ms, to_ms))
            state.hole.is_room = state.broke_at == state.last_id and is_room(state.last_id + 1, number - 1)
            state.waiting.appendleft((position, row))
            return
        if isinstance(row, _Break):
            state.position, state.last_id, state.broke_at = position, number, number
            place = Place(position, number, state.last_ms)
            self._put(name, place, Gap(name, self.channel, "connection", position, position, None))
            return
        if row.trade_id <= state.last_id:
            ids = (str(state.last_id), str(row.trade_id))
            self._put(name, None, Gap(name, self.channel, "restarted", *ids, None))
        state.position = position
        self._pass(name, state, position, row)

    def _pass(self, name: str, state: _State, position: str, row: WireTrade) -> None:
        state.last_id, state.last_ms = row.trade_id, row.trade_time
        if row.is_market:
            place = Place(state.position, row.trade_id, row.trade_time)
            self._put(name, place, trade(name, position, row))

    async def _look(self) -> None:
        for name, state in self._states.items():
            if state.hole and await self._may_be_read(state, state.hole):
                await self._read_page(name, state, state.hole)

    async def _may_be_read(self, state: _State, hole: _Hole) -> bool:
        """Whether the fold has passed the hole, or has had its time."""
        if hole.pages is not None or hole.first is None or time.monotonic() >= hole.deadline:
            return True
        try:
            reached = await self._client.hget(state.keys.trades_state(state.symbol), "last_id")
        except ResponseError as error:
            if not _is_wrong_type(error):
                raise
            return False
        return reached is not None and reached.isdigit() and int(reached) >= hole.last

    async def _read_page(self, name: str, state: _State, hole: _Hole) -> None:
        if hole.pages is None:
            hole.pages = Ranges(self._client, state.keys).trades(state.symbol, hole.from_ms, hole.to_ms)
        try:
            page = await anext(hole.pages, None)
        except BaseException as error:  # what was not given out yet is read again
            hole.pages, hole.order = None, _in_order()
            if not _is_wrong_type(error):
                raise
            page = None  # nothing can be had
        within = [row for row in page or () if (hole.first or 0) <= row.trade_id <= hole.last]
        for row in hole.order.put(within):
            self._repaired(name, state, hole, row)
        if page is not None:
            return
        for row in hole.order.rest():
            self._repaired(name, state, hole, row)
        if not hole.from_beginning:
            if hole.first is not None and hole.first <= hole.last and not hole.is_room:
                self._missing(name, state, hole.first, hole.last)
            state.last_id = hole.last
        state.hole = None  # what is missing of a beginning is the next hole
        while state.waiting and not state.hole:
            self._arrived(name, state, *state.waiting.popleft())

    def _repaired(self, name: str, state: _State, hole: _Hole, row: WireTrade) -> None:
        if hole.first is not None and row.trade_id > hole.first and not hole.is_room:
            self._missing(name, state, hole.first, row.trade_id - 1)
        if hole.first is None or row.trade_id >= hole.first:
            hole.first = row.trade_id + 1
            self._pass(name, state, "", row)

    def _missing(self, name: str, state: _State, first: int, last: int) -> None:
        place = Place(state.position, last, state.last_ms)
        gap = Gap(name, self.channel, "ids jump", str(first), str(last), last - first + 1)
        self._put(name, place, gap)
