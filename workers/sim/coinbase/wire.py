"""JSON text of Coinbase's messages, key by key in the captured order."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from workers.sim.coinbase.symbols import with_plain_numbers
from workers.sim.engine.history import Fill
from workers.sim.engine.orders import SimOrder
from workers.sim.engine.symbols import Spelling, SymbolSpec

UNNUMBERED: Final = '"sequence_num":0'
"""In the place of the number that each socket gives to a frame of Advanced."""
_SCATTER: Final = 7919
_ORDERS: Final = 0x48E3_0000_0000_4000_8000_0000_0000_0000
_TAKERS: Final = 0x3E5B_0000_0000_4000_8000_0000_0000_0000

Levels = Iterable[tuple[int, int]]
Rows = list[tuple[str, str, str]]
"""Of single orders: price, what is left, and id."""


def rfc3339(nanos: int) -> str:
    """`2026-08-24T22:34:13.813365299Z`, without zeros at the end of the fraction."""
    seconds, part = divmod(nanos, 10**9)
    fraction = f".{part:09d}".rstrip("0").rstrip(".")
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{fraction}Z"


def sent_at(ms: int) -> str:
    """A time at which something was sent, within a millisecond, to the ns."""
    return rfc3339(ms * 10**6 + ms * _SCATTER % 10**6)


def matched_at(ms: int, salt: int = 0) -> str:
    """A time of the engine within a millisecond, to the µs."""
    return rfc3339(ms * 10**6 + (ms + salt) * _SCATTER % 1000 * 1000)


def maker_side(fill: Fill) -> str:
    """The side of the order that was there before."""
    return "buy" if fill.buyer_is_maker else "sell"


class CoinbaseWire(Spelling):
    """What both ways have in common; prices and quantities of trades have no zeros at the end."""

    def __init__(self, spec: SymbolSpec) -> None:
        super().__init__(spec)
        self.of_trades = Spelling(with_plain_numbers(spec))


class AdvancedWire(CoinbaseWire):
    """Spells the messages of one product for Advanced; their numbers are those of nobody yet."""

    def book(self, kind: str, bids: Levels, asks: Levels, sent_ms: int, engine_ms: int) -> str:
        """A `snapshot` or an `update` of `l2_data`; an update may have no levels."""
        price, quantity, moment = self.price, self.quantity, matched_at(engine_ms)
        rows = [
            f'{{"side":"{side}","event_time":"{moment}","price_level":"{price(p)}","new_quantity":"{quantity(q)}"}}'
            for side, levels in (("bid", bids), ("offer", asks))
            for p, q in levels
        ]
        return (
            f'{{"channel":"l2_data","timestamp":"{sent_at(sent_ms)}",{UNNUMBERED},"events":[{{"type":"{kind}",'
            f'"product_id":"{self.spec.symbol}","updates":[{",".join(rows)}]}}]}}'
        )

    def trades(self, kind: str, fills: Iterable[Fill], sent_ms: int) -> str:
        """A `snapshot` or an `update` of `market_trades`, the newest first."""
        rows = ",".join(self.trade(fill) for fill in sorted(fills, reverse=True))
        return (
            f'{{"channel":"market_trades","timestamp":"{sent_at(sent_ms)}",{UNNUMBERED},'
            f'"events":[{{"type":"{kind}","trades":[{rows}]}}]}}'
        )

    def trade(self, fill: Fill) -> str:
        """One trade, with the maker's side."""
        return (
            f'{{"product_id":"{self.spec.symbol}","trade_id":"{fill.trade_id}",'
            f'"price":"{self.of_trades.price(fill.price)}","size":"{self.of_trades.quantity(fill.quantity)}",'
            f'"time":"{matched_at(fill.time, fill.trade_id)}","side":"{maker_side(fill).upper()}"}}'
        )


class ExchangeWire(CoinbaseWire):
    """Spells the messages of one product for Exchange."""

    def snapshot(self, bids: Levels, asks: Levels, engine_ms: int) -> str:
        """The whole book."""
        return (
            f'{{"type":"snapshot","product_id":"{self.spec.symbol}","bids":{self.levels(bids)},'
            f'"asks":{self.levels(asks)},"time":"{matched_at(engine_ms)}"}}'
        )

    def update(self, bids: Levels, asks: Levels, engine_ms: int) -> str:
        """What has changed: `buy` are bids."""
        price, quantity = self.price, self.quantity
        rows = [
            f'["{side}","{price(p)}","{quantity(q)}"]'
            for side, levels in (("buy", bids), ("sell", asks))
            for p, q in levels
        ]
        return (
            f'{{"type":"l2update","product_id":"{self.spec.symbol}","changes":[{",".join(rows)}],'
            f'"time":"{matched_at(engine_ms)}"}}'
        )

    def match(self, kind: str, fill: Fill, sequence: int, orders: tuple[int, int] | None = None) -> str:
        """A `match` or a `last_match`, with the maker's side; `orders`: maker and taker, where they are known."""
        maker, taker = UUID(int=_ORDERS + (fill.trade_id << 64)), UUID(int=_ORDERS + fill.time)
        if orders is not None:
            maker, taker = UUID(int=_ORDERS + orders[0]), UUID(int=_TAKERS + orders[1])
        return (
            f'{{"type":"{kind}","trade_id":{fill.trade_id},"maker_order_id":"{maker}","taker_order_id":"{taker}",'
            f'"side":"{maker_side(fill)}","size":"{self.of_trades.quantity(fill.quantity)}",'
            f'"price":"{self.of_trades.price(fill.price)}","product_id":"{self.spec.symbol}",'
            f'"sequence":{sequence},"time":"{matched_at(fill.time, fill.trade_id)}"}}'
        )

    def _of_order(self, kind: str, order_id: int, key: int, at_ms: int, *, is_taker: bool) -> str:
        identity = UUID(int=(_TAKERS if is_taker else _ORDERS) + order_id)
        return (
            f'{{"type":"{kind}","side":"{"buy" if key > 0 else "sell"}","product_id":"{self.spec.symbol}",'
            f'"time":"{matched_at(at_ms)}","order_id":"{identity}"'
        )

    def received(
        self,
        order_id: int,
        key: int,
        quantity: int,
        at_ms: int,
        *,
        is_market: bool = False,
        is_taker: bool = False,
    ) -> str:
        """An order has come; where it rests, `open` says so. One by `market` has no price."""
        size, price = self.of_trades.quantity(quantity), self.of_trades.price(abs(key))
        what = '"order_type":"market"' if is_market else f'"price":"{price}","order_type":"limit"'
        head = self._of_order("received", order_id, key, at_ms, is_taker=is_taker)
        return f'{head},"size":"{size}",{what},"client_oid":""}}'

    def opened(self, order_id: int, key: int, quantity: int, at_ms: int) -> str:
        """It rests."""
        size, price = self.of_trades.quantity(quantity), self.of_trades.price(abs(key))
        head = self._of_order("open", order_id, key, at_ms, is_taker=False)
        return f'{head},"price":"{price}","remaining_size":"{size}"}}'

    def change(
        self, order_id: int, key: int, sizes: tuple[int, int], at_ms: int, *, is_taker: bool = False
    ) -> str:
        """It is smaller, whether it rests or not: the quantity before, and now."""
        price, (old, new) = self.of_trades.price(abs(key)), map(self.of_trades.quantity, sizes)
        head = self._of_order("change", order_id, key, at_ms, is_taker=is_taker)
        return f'{head},"reason":"STP","price":"{price}","old_size":"{old}","new_size":"{new}"}}'

    def done(
        self,
        order_id: int,
        key: int,
        left: int,
        at_ms: int,
        *,
        is_market: bool = False,
        is_taker: bool = False,
    ) -> str:
        """It rests no more, or never did: nothing of it is left, or it was cancelled."""
        head = self._of_order("done", order_id, key, at_ms, is_taker=is_taker)
        reason = "canceled" if left else "filled"
        if is_market:
            return f'{head},"reason":"{reason}"}}'
        size, price = self.of_trades.quantity(left), self.of_trades.price(abs(key))
        return f'{head},"reason":"{reason}","price":"{price}","remaining_size":"{size}"}}'

    def order_row(self, order: SimOrder) -> tuple[str, str, str]:
        """Price, what is left, and id."""
        price, quantity = self.of_trades.price(abs(order.key)), self.of_trades.quantity(order.quantity)
        return price, quantity, str(UUID(int=_ORDERS + order.order_id))

    def level3(self, bids: Rows, asks: Rows, sequence: int, at_ms: int) -> str:
        """The reply of REST with all orders."""
        body = {"bids": bids, "asks": asks, "sequence": sequence, "auction_mode": False, "auction": None}
        return json.dumps({**body, "time": matched_at(at_ms)}, separators=(",", ":"))

    def heartbeat(self, sequence: int, last_trade_id: int, now_ms: int) -> str:
        """Once a second."""
        return (
            f'{{"type":"heartbeat","sequence":{sequence},"last_trade_id":{last_trade_id},'
            f'"product_id":"{self.spec.symbol}","time":"{matched_at(now_ms)}"}}'
        )
