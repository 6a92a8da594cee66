"""What is held, as the messages of tardis-machine: each kind of one symbol, in the order of the local times.

A book begins with a whole one: at the beginning of the stretch, made of what came before it. Before a whole book in
the middle, and before a trade whose id does not follow, stands a `Disconnect` of the symbol.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final

from workers.archive.files.rows import POSITIONS, Values
from workers.recordings.tardis import messages as told
from workers.recordings.tardis.messages import Message
from workers.recordings.tardis.rows import Row
from workers.research.contract_rows import contract_rows
from workers.research.symbol_data import LATE_MS
from workers.research.tardis_rows import Names, TradeCells
from workers.tardis.holdings import Holdings, Part
from workers.tardis.tickers import past_tickers
from workers.venues.tardis.settings import CONSECUTIVE

_AT: Final = POSITIONS["trades"]
Messages = AsyncIterator[Message]


class Past:
    """A symbol of an exchange, between two local times (µs), the second excluded."""

    def __init__(self, holdings: Holdings, parts: list[Part], symbol: str, from_us: int, to_us: int) -> None:
        self._holdings = holdings
        self._parts = parts
        self.symbol = symbol
        self._from_us, self._to_us = from_us, to_us
        self._around = max(0, from_us // 1000 - LATE_MS), to_us // 1000 + LATE_MS

    def of(self, kind: str) -> Messages:
        """The messages of a type that is told as it came."""
        by_kind: dict[str, Callable[[], Messages]] = {
            "book_change": self._changes,
            "trade": self._trades,
            "derivative_ticker": self._tickers,
            "liquidation": self._liquidations,
            "book_ticker": self._best,
        }
        return by_kind[kind]()

    def _is_within(self, local: int) -> bool:
        return self._from_us <= local < self._to_us

    async def _changes(self) -> Messages:
        local = 0
        for part in self._parts:
            data = self._holdings.data(part, self.symbol)
            # two parts may have the same time: the second goes on with its whole book
            async for book in data.messages_by_arrival(max(self._from_us, local + 1), self._to_us):
                if book.hole_from:
                    yield told.Disconnect(self.symbol, max(book.hole_from, self._from_us))
                local = book.local_timestamp
                yield told.BookChange(self.symbol, book)

    async def _trades(self) -> Messages:
        local = 0
        for part in self._parts:
            cells = TradeCells(Names(part.venue, self.symbol))
            follows = part.context is not None or part.venue in CONSECUTIVE
            before, after = local, 0
            async for rows in self._holdings.data(part, self.symbol).trades(*self._around):
                for row in rows:
                    number = row[_AT["agg_trade_id"]]
                    torn = _is_hole(row) or (follows and after and number is not None and number > after)
                    if torn and self._is_within(local):
                        yield told.Disconnect(self.symbol, local)
                    after = number + 1 if number is not None else 0
                    for _, _, time, came, name, side, price, amount in cells.rows([row]):
                        if came > before and self._is_within(came):
                            local = came
                            yield told.Trade(
                                self.symbol, None if name is None else str(name), price, amount, side, time, came
                            )  # fmt: skip

    async def _tickers(self) -> Messages:
        async for (
            _,
            _,
            time,
            local,
            funding_time,
            funding,
            predicted,
            interest,
            last,
            index,
            mark,
        ) in self._contracts("derivatives"):
            yield told.DerivativeTicker(
                self.symbol, last, interest, funding, funding_time, predicted, index, mark, time, local
            )

    async def _liquidations(self) -> Messages:
        async for _, _, time, local, name, side, price, amount in self._contracts("liquidations"):
            yield told.Liquidation(self.symbol, name, price, amount, side, time, local)

    async def _best(self) -> Messages:
        for part in self._parts:
            if part.context is not None:
                data = self._holdings.data(part, self.symbol)
                async for ticker in past_tickers(data, part.context, self._from_us, self._to_us):
                    yield ticker

    async def _contracts(self, kind: str) -> AsyncIterator[Row]:
        local = 0
        for part in self._parts:
            before = local
            data = self._holdings.data(part, self.symbol)
            async for row in contract_rows(data, kind, *self._around):
                if row[3] >= self._to_us:
                    break
                if row[3] > before and self._is_within(row[3]):
                    local = row[3]
                    yield row


def _is_hole(row: Values) -> bool:
    """A row that says that trades are missing at its place."""
    return row[_AT["agg_trade_id"]] is None and row[_AT["undecoded"]] is None
