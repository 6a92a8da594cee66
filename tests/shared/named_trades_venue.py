"""A venue that nobody has: its trades are named, and its facts are what a test wants."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec

from workers.errors import MalformedFrame
from workers.model.events import Trade
from workers.venues.binance.venue import Binance
from workers.venues.facts import TradeIds


class _Row(msgspec.Struct):
    i: str | int
    p: str
    q: str
    t: int
    sells: bool


_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode = msgspec.json.Decoder(_Row).decode


class MadeUp(Binance):
    """Frames such as `{"i": "a-1", "p": "0.10", "q": "5", "t": 1790035200000, "sells": false}`."""

    def trade(self, data: bytes, symbol: str) -> Trade:
        try:
            row = _decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise MalformedFrame(self.name, "trade", str(error), data) from None
        number, name = (row.i, "") if isinstance(row.i, int) else (0, row.i)
        return Trade(symbol, number, row.p, row.q, number, number, row.t, row.t, row.sells, name=name)

    def trades(self, symbol: str, body: bytes) -> list[Trade]:
        return [self.trade(bytes(row), symbol) for row in _rows(body)]


def made_up(trade_ids: TradeIds) -> Callable[[str, Any], MadeUp]:
    """For the registry."""

    def make(name: str, settings: Any) -> MadeUp:
        venue = MadeUp(name, settings)
        venue.facts = venue.facts._replace(trade_ids=trade_ids)
        return venue

    return make


def frame(
    name: str | int, ms: int, price: str = "0.10", quantity: str = "5", *, sells: bool = False
) -> bytes:
    """What the venue sends of a trade."""
    return json.dumps({"i": name, "p": price, "q": quantity, "t": ms, "sells": sells}).encode()
