"""JSON text of Bybit's messages. Spot, and books of one level, put `ts` before `type`; the others after it."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from workers.sim.engine.derivatives import Quote
from workers.sim.engine.history import Fill
from workers.sim.engine.symbols import Spelling, SymbolSpec

SPOT_IDS: Final = 2_280_000_000_000_000_000
SPOT_ID_STEP: Final = 16
NAMESPACE: Final = uuid.UUID("a9188a0a-82bc-50de-be60-03eedbe3cdd7")
MOST_TRADES: Final = 1024
"""In one message."""


class BookIds(NamedTuple):
    """`u` counts the messages of a topic, `seq` is the engine's, `cts` the engine's time in ms."""

    u: int
    seq: int
    cts: int


class BybitWire(Spelling):
    """Spells the messages of one symbol."""

    def __init__(self, spec: SymbolSpec) -> None:
        super().__init__(spec)
        self.spot = spec.market == "spot"

    def _head(self, topic: str, kind: str, ts: int, *, early_time: bool) -> str:
        times = f'"ts":{ts},"type":"{kind}"' if early_time else f'"type":"{kind}","ts":{ts}'
        return f'{{"topic":"{topic}",{times},"data":'

    def book(
        self,
        depth: int,
        kind: str,
        bids: Iterable[tuple[int, int]],
        asks: Iterable[tuple[int, int]],
        ts: int,
        ids: BookIds,
    ) -> str:
        """A `snapshot` or `delta` of `orderbook.{depth}`."""
        head = self._head(
            f"orderbook.{depth}.{self.spec.symbol}", kind, ts, early_time=self.spot or depth == 1
        )
        return (
            f'{head}{{"s":"{self.spec.symbol}","b":{self.levels(bids)},"a":{self.levels(asks)},'
            f'"u":{ids.u},"seq":{ids.seq}}},"cts":{ids.cts}}}'
        )

    def trade_name(self, fill: Fill) -> str:
        """Its id: digits that rise by irregular steps on spot, a UUID elsewhere."""
        if self.spot:
            return str(SPOT_IDS + fill.trade_id * SPOT_ID_STEP + fill.trade_id * 7919 % 13)
        return str(uuid.uuid5(NAMESPACE, f"{self.spec.symbol}/{fill.trade_id}"))

    def trades(self, fills: Sequence[Fill], ticks: Sequence[str], ts: int, seq: int) -> str:
        """A message of `publicTrade`, always of type `snapshot`; `ticks` are the directions of linear trades."""
        rows = [self._trade(fill, tick, seq) for fill, tick in zip(fills, ticks, strict=True)]
        head = self._head(f"publicTrade.{self.spec.symbol}", "snapshot", ts, early_time=self.spot)
        return f"{head}[{','.join(rows)}]}}"

    def _trade(self, fill: Fill, tick: str, seq: int) -> str:
        symbol, side = self.spec.symbol, side_of(fill)
        price, size, name = self.price(fill.price), self.quantity(fill.quantity), self.trade_name(fill)
        if self.spot:
            return (
                f'{{"i":"{name}","T":{fill.time},"p":"{price}","v":"{size}","S":"{side}","seq":{seq},'
                f'"s":"{symbol}","BT":false,"RPI":false}}'
            )
        return (
            f'{{"T":{fill.time},"s":"{symbol}","S":"{side}","v":"{size}","p":"{price}","L":"{tick}",'
            f'"i":"{name}","BT":false,"RPI":false,"seq":{seq}}}'
        )

    def ticker(self, quote: Quote, before: Quote | None, sequence: int) -> str:
        """A message of `tickers`: all there is, or what has changed since the quote before."""
        told, known = ticker_figures(quote), ticker_figures(before) if before else {}
        names = {name: value for name, value in told.items() if known.get(name) != value}
        data = "".join(f',"{name}":"{value}"' for name, value in names.items())
        head = self._head(
            f"tickers.{self.spec.symbol}", "delta" if before else "snapshot", quote.time, early_time=False
        )
        return f'{head}{{"symbol":"{self.spec.symbol}"{data}}},"cs":{sequence}}}'

    def liquidation(self, fill: Fill, at_ms: int) -> str:
        """A message of `allLiquidation`; `S` is the side of the position."""
        head = self._head(f"allLiquidation.{self.spec.symbol}", "snapshot", at_ms, early_time=False)
        side = "Buy" if fill.buyer_is_maker else "Sell"
        return (
            f'{head}[{{"T":{fill.time},"s":"{self.spec.symbol}","S":"{side}",'
            f'"v":"{self.quantity(fill.quantity)}","p":"{self.price(fill.price)}"}}]}}'
        )

    def rest_trade(self, fill: Fill, seq: int) -> dict[str, object]:
        """A fill as `recent-trade` gives it."""
        return {
            "execId": self.trade_name(fill),
            "symbol": self.spec.symbol,
            "price": self.price(fill.price),
            "size": self.quantity(fill.quantity),
            "side": side_of(fill),
            "time": str(fill.time),
            "isBlockTrade": False,
            "isRPITrade": False,
            "seq": str(seq),
        }


def ticker_figures(quote: Quote) -> dict[str, str]:
    """A quote as `tickers` names it."""
    return {
        "markPrice": quote.mark_price,
        "indexPrice": quote.index_price,
        "openInterest": quote.open_interest,
        "fundingRate": quote.funding_rate,
        "nextFundingTime": str(quote.next_funding_time),
    }


def side_of(fill: Fill) -> str:
    """The taker's side."""
    return "Sell" if fill.buyer_is_maker else "Buy"
