"""A symbol's tape, the exchange that has it over REST, and the repair between them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from redis.asyncio import Redis

from workers.errors import RequestRefused, RestUnavailable
from workers.model.events import Trade
from workers.model.trades.exchange_clock import ExchangeClock
from workers.model.trades.fold import TradesFold
from workers.model.trades.windows import INTERVALS_MS
from workers.runtime.context import venue_contexts
from workers.runtime.ownership import Claim
from workers.settings.schema import Settings, TradeSettings
from workers.store.keys import Keys
from workers.store.scripts import Scripts
from workers.store.trades.fold import TradeStore
from workers.trades.repair import Repair
from workers.trades.tape import OwnedTape, monotonic_ms
from workers.venues.binance.settings import BinanceSettings
from workers.venues.requests import RestRequest

SYMBOL = "BTCUSDT"
KEYS = Keys()
T0 = 1_723_161_541_000
FIRST = 3_466_782_974
AGE_MS = 48 * 3_600_000
Row = dict[str, Any]
SETTINGS = Settings(
    venues={"usdm": BinanceSettings(market="usdm", symbols=[SYMBOL])},
    trades=TradeSettings(repair_attempts=2, repair_for_s=0),
)


def trades(count: int, spacing_ms: float) -> list[Trade]:
    return [
        Trade(SYMBOL, FIRST + n, f"{61_800 + n % 17}.{n % 10}0", f"{n % 7}.00{n % 9 + 1}", 2 * n, 2 * n + 1,
              T0 + int(n * spacing_ms), T0 + int(n * spacing_ms), n % 3 == 0)
        for n in range(count)
    ]  # fmt: skip


def row(trade: Trade) -> Row:
    return {
        "a": trade.trade_id,
        "p": trade.price,
        "q": trade.quantity,
        "f": trade.first_trade_id,
        "l": trade.last_trade_id,
        "T": trade.trade_time,
        "m": trade.is_buyer_maker,
    }


class Exchange:
    """`GET aggTrades` over a tape: in the place of a `RestClient`."""

    def __init__(self, tape: list[Trade]) -> None:
        self.by_id = {trade.trade_id: trade for trade in tape}
        self.last = tape[-1].trade_id
        self.oldest = 0
        self.asked: list[int] = []
        self.spoil: Callable[[list[Row]], list[Row]] = list
        self.broken = 0
        self.refusals: list[int] = []
        """Statuses of the next answers."""

    async def get(self, request: RestRequest, *_: object) -> bytes:
        query = parse_qs(urlsplit(request.url).query)
        first = int(query["fromId"][0])
        self.asked.append(first)
        if self.broken:
            self.broken -= 1
            raise RestUnavailable(request.url, 503, "no")
        if self.refusals:
            raise RequestRefused(request.url, self.refusals.pop(0), "no error object")
        if first < self.oldest:
            raise RequestRefused(request.url, 400, "-1130: Data sent for parameter 'fromId' is not valid.")
        numbers = range(first, min(first + int(query["limit"][0]), self.last + 1))
        return json.dumps(self.spoil([row(self.by_id[n]) for n in numbers if n in self.by_id])).encode()


class World:
    """A symbol's tape, its exchange, and the repair between them."""

    def __init__(self, client: Redis, tape: list[Trade]) -> None:
        self.client: Any = client
        self.tape = tape
        self.exchange = Exchange(tape)
        self.store = TradeStore(client, KEYS, Scripts(client), retention_ms=0, bar_retention={})
        self.repair = Repair(cast(Any, self.exchange), self.store, client, SETTINGS)
        clock = ExchangeClock()
        clock.observe(tape[-1].trade_time + AGE_MS, monotonic_ms())
        self.owned = OwnedTape(Claim(venue_contexts(SETTINGS)[0], SYMBOL), 1, clock)
        self.owned.token = ""
        self.twin = TradesFold()

    async def cut(self, last_before: int, first_after: int) -> None:
        """Fold up to a place of the tape, nothing until another, then what follows; fill the hole that shows."""
        before, after = self.tape[: last_before + 1], self.tape[first_after:]
        for at in range(0, len(before), 500):
            await self.store.apply(SYMBOL, [("", trade) for trade in before[at : at + 500]])
        result = await self.store.apply(SYMBOL, [("", trade) for trade in after[:500]])
        assert result.hole is not None
        await self.repair.fill(self.owned, result.hole.expected, result.hole.seen)
        for at in range(0, len(after), 500):
            result = await self.store.apply(SYMBOL, [("", trade) for trade in after[at : at + 500]])
            assert result.hole is None

    async def gaps(self) -> list[tuple[int, int, str]]:
        found = [fields for _, fields in await self.client.xrange(KEYS.gaps(SYMBOL))]
        return [(int(gap[b"from"]), int(gap[b"to"]), gap[b"repaired"].decode()) for gap in found]

    async def check(self, without: range = range(0)) -> None:
        """Bars and open windows are those of the tape, without the ids that were not to be had."""
        for trade in self.tape:
            if trade.trade_id in without:
                self.twin.skip(trade.trade_id, trade.trade_id)
            else:
                self.twin.apply([trade])
        for interval in INTERVALS_MS:
            bars = await self.client.xrange(KEYS.bars(SYMBOL, interval))
            assert [
                (entry.decode(), {name.decode(): value.decode() for name, value in fields.items()})
                for entry, fields in bars
            ] == self.twin.bars(interval), interval
            stats = await self.client.hgetall(KEYS.stats(SYMBOL, interval))
            assert {name.decode(): value.decode() for name, value in stats.items()} == self.twin.stats(
                interval
            )
        assert (await self.store.state(SYMBOL)).missing == len(without)
