"""JSON text of Coinbase's messages, key by key in the captured order."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from workers.sim.coinbase.symbols import with_plain_numbers
from workers.sim.engine.history import Fill
from workers.sim.engine.symbols import Spelling, SymbolSpec

UNNUMBERED: Final = '"sequence_num":0'
"""In the place of the number that each socket gives to a frame of Advanced."""
_SCATTER: Final = 7919
_ORDERS: Final = 0x48E3_0000_0000_4000_8000_0000_0000_0000

Levels = Iterable[tuple[int, int]]


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

    def match(self, kind: str, fill: Fill, sequence: int) -> str:
        """A `match` or a `last_match`, with the maker's side."""
        taker = UUID(int=_ORDERS + fill.time)
        maker = UUID(int=_ORDERS + (fill.trade_id << 64))
        return (
            f'{{"type":"{kind}","trade_id":{fill.trade_id},"maker_order_id":"{maker}","taker_order_id":"{taker}",'
            f'"side":"{maker_side(fill)}","size":"{self.of_trades.quantity(fill.quantity)}",'
            f'"price":"{self.of_trades.price(fill.price)}","product_id":"{self.spec.symbol}",'
            f'"sequence":{sequence},"time":"{matched_at(fill.time, fill.trade_id)}"}}'
        )

    def heartbeat(self, sequence: int, last_trade_id: int, now_ms: int) -> str:
        """Once a second."""
        return (
            f'{{"type":"heartbeat","sequence":{sequence},"last_trade_id":{last_trade_id},'
            f'"product_id":"{self.spec.symbol}","time":"{matched_at(now_ms)}"}}'
        )
