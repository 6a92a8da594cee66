"""JSON text of Bitstamp's messages: numbers are text; those of trades are numbers besides, as Python prints them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from workers.sim.bitstamp.symbols import PERPETUAL, wire_name
from workers.sim.engine.history import Fill
from workers.sim.engine.orders import OrderEvent, SimOrder
from workers.sim.engine.symbols import Spelling, SymbolSpec

FIRST_PERPETUAL_ID: Final = 2_001_939_623_936_278_528
"""Ids of perpetuals do not fit in a double."""
FIRST_ORDER_ID: Final = 2_050_545_360_601_216
_STEP: Final = 7
_STEPS: Final = 5


class BitstampWire(Spelling):
    """Spells the messages of one market."""

    def __init__(self, spec: SymbolSpec) -> None:
        super().__init__(spec)
        self.name = wire_name(spec.symbol)
        self.perpetual = spec.symbol.endswith(PERPETUAL)
        self._first_id = FIRST_PERPETUAL_ID if self.perpetual else 0

    def trade_id(self, fill_id: int) -> int:
        """The id of a fill: one counter for all markets, so it rises by several."""
        return self._first_id + _STEP * fill_id + fill_id % _STEPS

    def first_fill(self, wire_id: int) -> int:
        """The first fill whose id is not less."""
        fill_id = max(0, wire_id - self._first_id) // _STEP
        return fill_id if self.trade_id(fill_id) >= wire_id else fill_id + 1

    def book(self, bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]], micros: int) -> str:
        """Levels and time of a book: `data` of a message, and the reply of REST."""
        return (
            f'{{"timestamp":"{micros // 1_000_000}","microtimestamp":"{micros}",'
            f'"bids":{self.levels(bids)},"asks":{self.levels(asks)}}}'
        )

    def book_message(
        self, channel: str, bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]], micros: int
    ) -> str:
        """A message of a channel of books."""
        return f'{{"data":{self.book(bids, asks, micros)},"channel":"{channel}_{self.name}","event":"data"}}'

    def trade_message(self, fill: Fill) -> str:
        """A message of `live_trades`; `timestamp` is in s, of perpetuals in ms."""
        identity, micros = self.trade_id(fill.trade_id), fill.time * 1000 + fill.trade_id % 1000
        amount, price = self.quantity(fill.quantity), self.price(fill.price)
        first, second = FIRST_ORDER_ID + 2 * fill.trade_id, FIRST_ORDER_ID + 2 * fill.trade_id + 1
        buyer, seller = (first, second) if fill.buyer_is_maker else (second, first)
        return (
            f'{{"data":{{"id":{identity},"id_str":"{identity}","type":{int(fill.buyer_is_maker)},'
            f'"amount":{_number(amount)},"amount_str":"{amount}","price":{_number(price)},"price_str":"{price}",'
            f'"timestamp":"{fill.time if self.perpetual else fill.time // 1000}","microtimestamp":"{micros}",'
            f'"buy_order_id":{buyer},"sell_order_id":{seller}}},'
            f'"channel":"live_trades_{self.name}","event":"trade"}}'
        )

    def order_message(self, event: OrderEvent, micros: int, event_id: str, before: str) -> str:
        """A message of `live_orders`: what is left, and what was there at the beginning."""
        order, price = event.order, self.price(abs(event.price_key))
        amount, created = self.quantity(event.quantity), self.quantity(order.created)
        traded = self.quantity(0 if event.kind == "created" else order.created - event.quantity)
        return (
            f'{{"data":{{"id":{order.order_id},"id_str":"{order.order_id}","order_type":{int(order.key < 0)},'
            f'"order_subtype":0,"datetime":"{micros // 1_000_000}","microtimestamp":"{micros}",'
            f'"amount":{_number(amount)},"amount_str":"{amount}","amount_traded":"{traded}",'
            f'"amount_at_create":"{created}","price":{_number(price)},"price_str":"{price}","is_liquidation":false}},'
            f'"channel":"live_orders_{self.name}","event":"order_{event.kind}","event_id":"{event_id}",'
            f'"pre_event_id":"{before}","order_source":"orderbook"}}'
        )

    def order_row(self, order: SimOrder) -> tuple[str, str, str]:
        """Price, what is left, and id."""
        return self.price(abs(order.key)), self.quantity(order.quantity), str(order.order_id)

    def order_book(self, bids: Iterable[SimOrder], asks: Iterable[SimOrder], micros: int) -> str:
        """The reply of REST with `group=2`."""
        sides = {
            "bids": [self.order_row(order) for order in bids],
            "asks": [self.order_row(order) for order in asks],
        }
        head = {"timestamp": str(micros // 1_000_000), "microtimestamp": str(micros)}
        return json.dumps(head | sides, separators=(",", ":"))

    def transaction(self, fill: Fill) -> dict[str, str]:
        """A trade of REST; its time has no more than seconds."""
        return {
            "date": str(fill.time // 1000),
            "tid": str(self.trade_id(fill.trade_id)),
            "amount": self.quantity(fill.quantity),
            "type": str(int(fill.buyer_is_maker)),
            "price": self.price(fill.price),
        }


def _number(text: str) -> str:
    """`0.00921`, `1e-05`; whole ones without a point."""
    value = float(text)
    return str(int(value)) if value.is_integer() else json.dumps(value)
