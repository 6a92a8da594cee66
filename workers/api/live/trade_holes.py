"""Trades that the raw stream does not have: pushed once the fold has fetched them, or told to be missing.

The sockets of both lines may have missed trades; the ids jump then. The fold asks REST for them and puts them into
`trades:{S}:latest`, where they are taken from for live clients too. Those get the later trades meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

import structlog
from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from workers.api.live.topics import HOLE_PATIENCE_S, Hole, TradesTopic
from workers.errors import StateUnreadable
from workers.model.events import Trade
from workers.runtime.tasks import end, seen
from workers.store.books.watch import Watch
from workers.store.log.ranges import Ranges, around
from workers.store.refusals import refusal_of

log = structlog.get_logger()

UNREAD = Counter("fleet_api_trade_holes_unread_total", "Times Redis did not tell what filled holes of trades")
REPAIRED = Counter("fleet_api_trades_repaired_total", "Trades sent to live clients after a repair", ["venue"])
MISSING = Counter("fleet_api_trades_missing_total", "Trades live clients were told not to get", ["venue"])

POLL_S: Final = 0.25
MOST_PUSHED: Final = 10_000
"""Trades of one hole that are pushed; who wants more pages through GET /trades."""

NOT_HELD: Final = "the fleet does not have them"
NOT_YET: Final = f"not repaired within {HOLE_PATIENCE_S:.0f} s; GET /trades may have them later"
UNREADABLE: Final = "what the fleet has of that time cannot be read"
TOO_MANY: Final = f"more than {MOST_PUSHED}; GET /trades?after_id= has them"


class Filling(NamedTuple):
    """What is known of a hole: the trades that filled it, in the order of their ids, and the ids still missing."""

    found: list[Trade]
    missing: list[tuple[int, int]]


def filling(hole: Hole, rows: Sequence[Trade]) -> Filling:
    """Sort out what was held around a hole. O(n log n)."""
    by_id = {row.trade_id: row for row in rows if hole.first <= row.trade_id <= hole.last}
    found = [by_id[trade_id] for trade_id in sorted(by_id)]
    missing, expected = [], hole.first
    for trade_id in [*sorted(by_id), hole.last + 1]:
        if trade_id > expected:
            missing.append((expected, trade_id - 1))
        expected = trade_id + 1
    return Filling(found, missing)


class TradeHoles:
    """Looks after the holes of all topics, beside the reader.

    Args:
        client: must not be the reader's own, which answers questions one after the other.
    """

    def __init__(self, client: Redis, watch: Watch) -> None:
        self._client = client
        self._watch = watch
        self._filling: asyncio.Task[None] | None = None

    async def poll(self, topics: Sequence[TradesTopic]) -> None:
        """Begin to fill what can be filled, unless that is under way."""
        if any(topic.holes for topic in topics) and (self._filling is None or self._filling.done()):
            self._filling = seen(asyncio.create_task(self._fill_all(topics), name="api: trade holes"))

    async def _fill_all(self, topics: Sequence[TradesTopic]) -> None:
        try:
            await self.fill([topic for topic in topics if topic.holes])
        except (RedisError, OSError) as error:  # they stay open
            UNREAD.inc()
            log.warning("api_trade_holes_unread", error=str(error))

    async def fill(self, topics: Sequence[TradesTopic]) -> None:
        """Send what filled the holes that the fold has passed, or that are too old to wait for.

        Raises:
            RedisError, OSError: Redis did not answer; the holes not yet filled stay.
        """
        keys = [topic.market.context.keys.trades_state(topic.market.symbol) for topic in topics]
        for topic, reached in zip(topics, await self._watch.folded(keys), strict=True):
            while topic.holes:
                hole = topic.holes[0]
                # a fold that stands beyond what came still counts in ids from before they began anew
                passed = hole.last <= reached <= topic.last_id
                if not passed and time.monotonic() < hole.deadline:
                    break
                rows = await self._rows(topic, hole) if hole.size <= MOST_PUSHED else []
                if rows is None and time.monotonic() < hole.deadline:
                    break  # it may be cured; the other topics do not wait for that
                if not topic.holes or topic.holes[0] is not hole:
                    continue  # given up meanwhile
                topic.holes.popleft()
                why = UNREADABLE if rows is None else NOT_HELD if passed else NOT_YET
                self._send(topic, hole, rows or [], why)

    async def _rows(self, topic: TradesTopic, hole: Hole) -> list[Trade] | None:
        """The trades of a hole that are held; None: what is held cannot be read."""
        market, rows = topic.market, list[Trade]()
        pages = Ranges(self._client, market.context.keys).trades(
            market.symbol, *around(hole.from_ms, hole.to_ms)
        )
        try:
            async for page in pages:
                rows += [row for row in page if hole.first <= row.trade_id <= hole.last]
        except StateUnreadable:
            return None
        except ResponseError as error:
            if refusal_of(error).of_server:
                raise
            return None
        return rows

    def _send(self, topic: TradesTopic, hole: Hole, rows: Sequence[Trade], why: str) -> None:
        venue = topic.market.venue
        if hole.size > MOST_PUSHED:
            MISSING.labels(venue).inc(hole.size)
            topic.tell_missing(hole.first, hole.last, TOO_MANY)
            return
        found, missing = filling(hole, rows)
        REPAIRED.labels(venue).inc(len(found))
        topic.send_repaired(found)
        for first, last in () if hole.is_room else missing:
            MISSING.labels(venue).inc(last - first + 1)
            log.warning("api_trades_missing", venue=venue, symbol=topic.market.symbol, first=first, last=last)
            topic.tell_missing(first, last, why)

    async def close(self) -> None:
        """End what is under way."""
        if self._filling is not None:
            await end([self._filling])
