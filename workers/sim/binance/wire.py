"""JSON text of every stream event, key by key in the captured order (Binance docs, wire captures).

Built as text, not through an encoder: prices and quantities are strings that need no escaping, and one
text is shared by all subscribers.
"""

from __future__ import annotations

from typing import Final

from workers.sim.binance.symbols import dated
from workers.sim.engine.derivatives import Quote
from workers.sim.engine.history import AggregateTrade, Fill
from workers.sim.engine.symbols import Spelling, SymbolSpec

PERPETUAL_DELIVERY_MS: Final = 4_133_404_800_000
DATED_DELIVERY_MS: Final = 1_798_185_600_000  # 2026-12-25 08:00 UTC
ONBOARD_MS: Final = 1_569_398_400_000


def contract(spec: SymbolSpec) -> tuple[str, int]:
    """Contract type and delivery time in ms of a USD-M symbol."""
    return ("CURRENT_QUARTER", DATED_DELIVERY_MS) if dated(spec) else ("PERPETUAL", PERPETUAL_DELIVERY_MS)


class DepthIds:
    """Update ids of one depth event: first and last change in it, last of the event before."""

    __slots__ = ("first", "last", "previous")

    def __init__(self, first: int, last: int, previous: int) -> None:
        self.first = first
        self.last = last
        self.previous = previous


class Wire(Spelling):
    """Spells the events of one symbol."""

    def __init__(self, spec: SymbolSpec) -> None:
        super().__init__(spec)
        self._spot = spec.market == "spot"

    def depth(self, ids: DepthIds, bids: str, asks: str, event_time: int, engine_time: int) -> str:
        """A diff, or a USD-M partial book, from level texts.

        Spot `{"e":"depthUpdate","E","s","U","u","b","a"}`; USD-M
        `{"e":"depthUpdate","E","T","s","ps","U","u","pu","b","a","st"}`.
        """
        symbol = self.spec.symbol
        if self._spot:
            return (
                f'{{"e":"depthUpdate","E":{event_time},"s":"{symbol}","U":{ids.first},"u":{ids.last},'
                f'"b":{bids},"a":{asks}}}'
            )
        return (
            f'{{"e":"depthUpdate","E":{event_time},"T":{engine_time},"s":"{symbol}","ps":"{self.spec.pair}",'
            f'"U":{ids.first},"u":{ids.last},"pu":{ids.previous},"b":{bids},"a":{asks},"st":1}}'
        )

    def partial(self, ids: DepthIds, bids: str, asks: str, event_time: int, engine_time: int) -> str:
        """A partial book: spot has neither symbol nor time, USD-M looks like a diff."""
        if self._spot:
            return f'{{"lastUpdateId":{ids.last},"bids":{bids},"asks":{asks}}}'
        return self.depth(ids, bids, asks, event_time, engine_time)

    def changes(self, merged: dict[int, int]) -> tuple[str, str]:
        """Bid and ask texts of signed changes: bids descending, asks ascending."""
        keys = sorted(merged, reverse=True)
        bids = self.levels((key, merged[key]) for key in keys if key > 0)
        asks = self.levels((-key, merged[key]) for key in keys if key < 0)
        return bids, asks

    def mark_price(self, quote: Quote) -> str:
        """`{"e":"markPriceUpdate","E","s","p","i","P","r","T","st"}`; a dated contract has no funding."""
        rate, at = ("", 0) if dated(self.spec) else (quote.funding_rate, quote.next_funding_time)
        return (
            f'{{"e":"markPriceUpdate","E":{quote.time},"s":"{self.spec.symbol}","p":"{quote.mark_price}",'
            f'"i":"{quote.index_price}","P":"{quote.index_price}","r":"{rate}","T":{at},"st":1}}'
        )

    def force_order(self, fill: Fill, event_time: int) -> str:
        """`{"e":"forceOrder","E","o":{"s","ps","S","o","f","q","p","ap","X","l","z","T"},"st"}`"""
        price, quantity = self.price(fill.price), self.quantity(fill.quantity)
        return (
            f'{{"e":"forceOrder","E":{event_time},"o":{{"s":"{self.spec.symbol}","ps":"{self.spec.pair}",'
            f'"S":"{"SELL" if fill.buyer_is_maker else "BUY"}","o":"LIMIT","f":"IOC","q":"{quantity}",'
            f'"p":"{price}","ap":"{price}","X":"FILLED","l":"{quantity}","z":"{quantity}","T":{fill.time}}},"st":1}}'
        )

    def book_ticker(self, update_id: int, best: tuple[int, int, int, int], time: int) -> str:
        """Best levels: spot `{"u","s","b","B","a","A"}`, USD-M adds `e`, `ps`, `T`, `E`, `st`."""
        bid, bid_quantity, ask, ask_quantity = best
        prices = (
            f'"b":"{self.price(bid)}","B":"{self.quantity(bid_quantity)}",'
            f'"a":"{self.price(-ask)}","A":"{self.quantity(ask_quantity)}"'
        )
        if self._spot:
            return f'{{"u":{update_id},"s":"{self.spec.symbol}",{prices}}}'
        return (
            f'{{"e":"bookTicker","u":{update_id},"s":"{self.spec.symbol}","ps":"{self.spec.pair}",'
            f'{prices},"T":{time},"E":{time},"st":1}}'
        )

    def trade(self, trade: Fill, event_time: int) -> str:
        """A single fill; USD-M says with `X` whether it was a market trade."""
        maker = "true" if trade.buyer_is_maker else "false"
        price, quantity = self.price(trade.price), self.quantity(trade.quantity)
        if self._spot:
            return (
                f'{{"e":"trade","E":{event_time},"s":"{self.spec.symbol}","t":{trade.trade_id},'
                f'"p":"{price}","q":"{quantity}","T":{trade.time},"m":{maker},"M":true}}'
            )
        return (
            f'{{"e":"trade","E":{event_time},"T":{trade.time},"s":"{self.spec.symbol}",'
            f'"t":{trade.trade_id},"p":"{price}","q":"{quantity}","X":"{trade.category}","m":{maker},"st":1}}'
        )

    def aggregate(self, trade: AggregateTrade, event_time: int) -> str:
        """An aggregate trade; USD-M puts `a` before `s` and adds `nq` and `st`."""
        maker = "true" if trade.buyer_is_maker else "false"
        price, quantity = self.price(trade.price), self.quantity(trade.quantity)
        ids = f'"f":{trade.first_id},"l":{trade.last_id},"T":{trade.time},"m":{maker}'
        if self._spot:
            return (
                f'{{"e":"aggTrade","E":{event_time},"s":"{self.spec.symbol}","a":{trade.aggregate_id},'
                f'"p":"{price}","q":"{quantity}",{ids},"M":true}}'
            )
        return (
            f'{{"e":"aggTrade","E":{event_time},"a":{trade.aggregate_id},"s":"{self.spec.symbol}",'
            f'"p":"{price}","q":"{quantity}","nq":"{self.quantity(trade.normal_quantity)}",{ids},"st":1}}'
        )

    def contract_info(self, status: str, event_time: int) -> str:
        """A listing, halt or delisting: `{"e":"contractInfo","E","s","ps","ct","dt","ot","cs","st"}`."""
        kind, delivery = contract(self.spec)
        return (
            f'{{"e":"contractInfo","E":{event_time},"s":"{self.spec.symbol}","ps":"{self.spec.pair}",'
            f'"ct":"{kind}","dt":{delivery},"ot":{ONBOARD_MS},"cs":"{status}","st":1}}'
        )

    def rest_aggregate(self, trade: AggregateTrade) -> dict[str, object]:
        """An aggregate trade as REST and the ground truth give it."""
        row: dict[str, object] = {
            "a": trade.aggregate_id,
            "p": self.price(trade.price),
            "q": self.quantity(trade.quantity),
        }
        if not self._spot:
            row["nq"] = self.quantity(trade.normal_quantity)
        row |= {"f": trade.first_id, "l": trade.last_id, "T": trade.time, "m": trade.buyer_is_maker}
        if self._spot:
            row["M"] = True
        return row

    def rest_trade(self, trade: Fill) -> dict[str, object]:
        """A single fill as REST `trades` gives it."""
        notional = trade.price * self.spec.tick_units * trade.quantity
        decimals = self.spec.price_decimals + self.spec.quantity_decimals
        whole, part = divmod(notional, 10**decimals)
        row: dict[str, object] = {
            "id": trade.trade_id,
            "price": self.price(trade.price),
            "qty": self.quantity(trade.quantity),
            "quoteQty": f"{whole}.{part:0{decimals}d}",
            "time": trade.time,
            "isBuyerMaker": trade.buyer_is_maker,
        }
        row["isBestMatch" if self._spot else "isRPITrade"] = True if self._spot else trade.retail
        return row
