"""JSON text of OKX's messages, key by key in the captured order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from workers.sim.engine.derivatives import FUNDING_MS, Quote
from workers.sim.engine.history import Fill
from workers.sim.engine.symbols import Spelling
from workers.sim.okx.symbols import CONTRACT_VALUES, INSTRUMENT_TYPES

LISTED_MS: Final = 1_548_133_413_000
ORDERS: Final = 19
"""Most orders at one level."""
FIELDS_OF_SWAPS: Final = ("ctVal", "ctValCcy", "ctMult", "ctType", "settleCcy", "instFamily", "uly")


class OkxWire(Spelling):
    """Spells the messages of one instrument."""

    def okx_levels(self, levels: Iterable[tuple[int, int]]) -> str:
        """`[["78722.3","0.38699412","0","10"],…]`: price, size, a zero, and how many orders; no orders, no size."""
        price, quantity = self.price, self.quantity
        texts = [f'["{price(p)}","{quantity(q)}","0","{1 + q % ORDERS if q else 0}"]' for p, q in levels]
        return "[" + ",".join(texts) + "]"

    def book(
        self,
        action: str,
        bids: Iterable[tuple[int, int]],
        asks: Iterable[tuple[int, int]],
        ts: int,
        ids: tuple[int, int],
    ) -> str:
        """A message of `books`: `snapshot` or `update`, with its id and the one before (-1 for a snapshot).

        `checksum` has been 0 since the middle of 2026.
        """
        return (
            f'{{"arg":{{"channel":"books","instId":"{self.spec.symbol}"}},"action":"{action}",'
            f'"data":[{{"asks":{self.okx_levels(asks)},"bids":{self.okx_levels(bids)},"ts":"{ts}","checksum":0,'
            f'"seqId":{ids[0]},"prevSeqId":{ids[1]}}}]}}'
        )

    def merged_trade(self, fills: list[Fill], seq_id: int) -> str:
        """A message of `trades`: the fills of one taker at one price, `tradeId` being the last of them."""
        last = fills[-1]
        size = self.quantity(sum(fill.quantity for fill in fills))
        return (
            f'{{"arg":{{"channel":"trades","instId":"{self.spec.symbol}"}},"data":[{self._trade(last, size)},'
            f'"count":"{len(fills)}","source":"0","seqId":{seq_id}}}]}}'
        )

    def single_trade(self, fill: Fill) -> str:
        """A message of `trades-all`: one fill."""
        text = self._trade(fill, self.quantity(fill.quantity))
        return (
            f'{{"arg":{{"channel":"trades-all","instId":"{self.spec.symbol}"}},'
            f'"data":[{text},"source":"0"}}]}}'
        )

    def _trade(self, fill: Fill, size: str) -> str:
        side = "sell" if fill.buyer_is_maker else "buy"
        return (
            f'{{"instId":"{self.spec.symbol}","tradeId":"{fill.trade_id}","px":"{self.price(fill.price)}",'
            f'"sz":"{size}","side":"{side}","ts":"{fill.time}"'
        )

    def figures(self, channel: str, quote: Quote) -> str:
        """A message of `mark-price`, `index-tickers`, `funding-rate` or `open-interest`."""
        symbol = self.spec.pair if channel == "index-tickers" else self.spec.symbol
        told = {
            "mark-price": f'"markPx":"{quote.mark_price}"',
            "index-tickers": f'"idxPx":"{quote.index_price}"',
            "funding-rate": f'"fundingRate":"{quote.funding_rate}","fundingTime":"{quote.next_funding_time}",'
            f'"nextFundingRate":"","nextFundingTime":"{quote.next_funding_time + FUNDING_MS}"',
            "open-interest": f'"oi":"{quote.open_interest}"',
        }[channel]
        return (
            f'{{"arg":{{"channel":"{channel}","instId":"{symbol}"}},'
            f'"data":[{{"instId":"{symbol}",{told},"ts":"{quote.time}"}}]}}'
        )

    def liquidation(self, fill: Fill) -> str:
        """A message of `liquidation-orders`."""
        kind = INSTRUMENT_TYPES[self.spec.market]
        side, position = ("sell", "long") if fill.buyer_is_maker else ("buy", "short")
        return (
            f'{{"arg":{{"channel":"liquidation-orders","instType":"{kind}"}},"data":[{{"details":[{{"bkLoss":"0",'
            f'"bkPx":"{self.price(fill.price)}","ccy":"","posSide":"{position}","side":"{side}",'
            f'"sz":"{self.quantity(fill.quantity)}","ts":"{fill.time}"}}],"instFamily":"{self.spec.pair}",'
            f'"instId":"{self.spec.symbol}","instType":"{kind}","uly":"{self.spec.pair}"}}]}}'
        )

    def rest_trade(self, fill: Fill) -> dict[str, str]:
        """A fill as REST gives it."""
        return {
            "instId": self.spec.symbol,
            "side": "sell" if fill.buyer_is_maker else "buy",
            "sz": self.quantity(fill.quantity),
            "px": self.price(fill.price),
            "source": "0",
            "tradeId": str(fill.trade_id),
            "ts": str(fill.time),
        }

    def instrument(self, state: str, grid: int) -> dict[str, str]:
        """An instrument as REST and the stream `instruments` give it; fields of contracts are empty for spot."""
        spec = self.spec
        swap = spec.market == "swap"
        row = {
            "instType": INSTRUMENT_TYPES[spec.market],
            "instId": spec.symbol,
            "baseCcy": "" if swap else spec.base_asset,
            "quoteCcy": "" if swap else spec.quote_asset,
            **dict.fromkeys(FIELDS_OF_SWAPS, ""),
            "tickSz": self.price(grid),
            "lotSz": spec.step_size,
            "minSz": spec.step_size,
            "listTime": str(LISTED_MS),
            "expTime": "",
            "state": state,
        }
        if swap:
            row |= {
                "ctVal": CONTRACT_VALUES.get(spec.base_asset, "1"),
                "ctValCcy": spec.base_asset,
                "ctMult": "1",
                "ctType": "linear",
                "settleCcy": spec.quote_asset,
                "instFamily": spec.pair,
                "uly": spec.pair,
            }
        return row
