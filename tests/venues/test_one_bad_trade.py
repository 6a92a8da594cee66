"""A message of several trades, one of which cannot be read: the others are filed, and the socket goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from workers.settings.exchanges import settings_of
from workers.venues.messages import Message
from workers.venues.registry import venue_of
from workers.venues.session import Broken, Unusable


class Wire(NamedTuple):
    """A frame of some trades of an exchange, the frames before and after it, and what spoils a trade."""

    frame: Callable[[list[Any]], Any]
    trades: list[Any]
    key: Any
    """Under which a trade has its time."""
    before: tuple[Any, ...] = ()
    after: Any = None
    market: str = "spot"


def coinbase(number: int, channel: str, event: Any) -> Any:
    return {
        "channel": channel,
        "timestamp": "2026-08-09T21:05:48Z",
        "sequence_num": number,
        "events": [event],
    }


WIRES = {
    "bybit": Wire(
        lambda rows: {"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": 1786310819681, "data": rows},
        [{"T": 1786310819680, "s": "BTCUSDT", "S": "Sell", "v": "0.004", "p": "65114.20",
          "i": f"2280000000{number}", "BT": False} for number in (1, 2, 3)],
        "T",
    ),
    "okx": Wire(
        lambda rows: {"arg": {"channel": "trades-all", "instId": "BTC-USDT"}, "data": rows},
        [{"instId": "BTC-USDT", "tradeId": str(number), "px": "42219.9", "sz": "0.12", "side": "buy",
          "ts": "1630048897897"} for number in (1, 2, 3)],
        "ts",
    ),
    "kraken": Wire(
        lambda rows: {"channel": "trade", "type": "update", "data": rows},
        [{"symbol": "BTC/USD", "side": "buy", "price": 105944.2, "qty": 0.1, "trade_id": number,
          "timestamp": "2023-10-06T17:35:55.440295Z"} for number in (1, 2, 3)],
        "timestamp",
    ),
    "coinbase": Wire(
        lambda rows: coinbase(0, "market_trades", {"type": "snapshot", "trades": rows}),
        [{"product_id": "BTC-USD", "trade_id": str(number), "price": "65083.67", "size": "0.01", "side": "SELL",
          "time": "2026-08-09T21:05:48.167634Z"} for number in (3, 2, 1)],
        "time",
        after=coinbase(1, "heartbeats", {"heartbeat_counter": 1}),
        market="advanced",
    ),
    "bitfinex": Wire(
        lambda rows: [7, rows, 1, 1790134414850],
        [[number, 1617643611128, 0.7, 230890] for number in (3, 2, 1)],
        1,
        before=({"event": "subscribed", "channel": "trades", "chanId": 7, "symbol": "tBTCUSD", "pair": "BTCUSD"},),
        after=[7, "hb", 2, 1790134429000],
    ),
}  # fmt: skip


@pytest.mark.parametrize("rubbish", [None, "x", -1, {}, "0001-01-01T00:00:00"])
@pytest.mark.parametrize("exchange", WIRES)
def test_a_trade_that_cannot_be_read_costs_no_other(exchange: str, rubbish: Any) -> None:
    wire = WIRES[exchange]
    settings = settings_of(exchange)(symbols=["S"], market=wire.market)  # type: ignore[call-arg]
    session = venue_of(exchange, settings).session("wss://ws.kraken.com/v2")
    for frame in wire.before:
        session.received(json.dumps(frame), 0)
    first, second, third = wire.trades
    spoiled = second.copy()
    spoiled[wire.key] = rubbish
    events = session.received(json.dumps(wire.frame([first, spoiled, third])), 0)
    messages = [event for event in events if isinstance(event, Message)]
    assert len(messages) == 2
    assert [event.update_id for event in messages] == sorted(event.update_id for event in messages)
    assert [type(event) for event in events if not isinstance(event, Message)] == [Unusable]
    if wire.after is not None:
        assert not any(isinstance(event, Broken) for event in session.received(json.dumps(wire.after), 0))
