"""Frames that exchanges really sent, with rubbish in them, through a line to its readers: none ends anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import mutated

from workers.errors import MalformedFrame
from workers.ingest.line import Line
from workers.settings.exchanges import settings_of
from workers.settings.schema import IngestSettings
from workers.store.keys import DEPTH, ORDERS, Keys
from workers.store.log.streams import RawEntry
from workers.venues.entries import depth_of, trade_of
from workers.venues.registry import venue_of

FILES: Final[dict[str, tuple[str, str, dict[str, Any]]]] = {
    "kraken_book": ("kraken", "BTC-USD", {}),
    "okx_books": ("okx", "BTC-USDT", {}),
    "bybit_orderbook": ("bybit", "BTCUSDT", {"depth": 50}),
    "coinbase_l2": ("coinbase", "BTC-USD", {}),
    "bitstamp_diff": ("bitstamp", "BTCUSD", {}),
    "bitstamp_live_orders": ("bitstamp", "BTCUSD", {"orders": True}),
    "binance_us_depth": ("binance", "BTCUSDT", {"market": "spot"}),
}
"""By the file: its exchange, its symbol and the settings that it was recorded with."""
TRADES: Final = {
    "kraken": b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"buy","price":105944.20,'
              b'"qty":0.00027625,"ord_type":"limit","trade_id":10218208,"timestamp":"2023-10-06T17:35:55.440295Z"}]}',
    "okx": b'{"arg":{"channel":"trades-all","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","tradeId":"130639474",'
           b'"px":"42219.9","sz":"0.12060306","side":"buy","ts":"1630048897897"}]}',
    "bybit": b'{"topic":"publicTrade.BTCUSDT","ts":1786310821917,"type":"snapshot","data":[{"i":"2280000001739247417",'
             b'"T":1786310821917,"p":"1923.28","v":"0.04537","S":"Sell","seq":178477362706,"s":"BTCUSDT","BT":false}]}',
    "coinbase": b'{"channel":"market_trades","timestamp":"2026-08-24T22:34:15Z","sequence_num":12,"events":[{"type":'
                b'"update","trades":[{"product_id":"BTC-USD","trade_id":"1068572091","price":"65083.67","size":"0.01",'
                b'"time":"2026-08-09T21:05:48.167634Z","side":"SELL"}]}]}',
    "bitstamp": b'{"data":{"id":2001939623936278528,"id_str":"2001939623936278528","type":0,"amount":0.00921,'
                b'"amount_str":"0.00921","price":77204,"price_str":"77204","timestamp":"1789456400586","microtimestamp":'
                b'"1789456400586000"},"channel":"live_trades_btcusd","event":"trade"}',
    "binance": b'{"e":"aggTrade","E":1672515782136,"s":"BTCUSDT","a":12345,"p":"0.001","q":"100","f":100,"l":105,'
               b'"T":1672515782136,"m":true,"M":true}',
}  # fmt: skip
"""As the exchanges' documents have them: the files have none."""


@pytest.mark.parametrize("name", FILES)
def test_what_was_recorded_may_be_spoiled_anywhere(recorded_folder: Path, name: str) -> None:
    exchange, symbol, chosen = FILES[name]
    recorded = (recorded_folder / "venues" / "tickvault" / f"{name}.jsonl").read_bytes().splitlines()[:16]
    frames = [*recorded, TRADES[exchange]]
    venue = venue_of(exchange, settings_of(exchange)(symbols=[symbol], **chosen))  # type: ignore[call-arg]

    @settings(max_examples=40)
    @given(st.lists(st.sampled_from(frames) | mutated(frames), max_size=20))
    def check(sent: list[bytes]) -> None:
        entries: list[RawEntry] = []
        line = Line(venue, Keys(f"{exchange}:"), "a", IngestSettings(), [symbol], entries.append)
        session = venue.session("wss://ws.kraken.com/v2")
        for number, frame in enumerate(sent):
            line.frame(frame, 1_790_134_414_850_000 + number, session)
        line.tick(1_790_134_500_000_000, all_held=True)
        assert line.counts["failed"] == 0
        book = venue.book_rule.sync(symbol)
        for entry in entries:
            filed = _Filed(entry)
            try:
                if entry.key.endswith(DEPTH):
                    book.on_event(depth_of(venue, symbol, filed), 0)
                    book.book.check()
                elif entry.key.endswith(ORDERS):
                    assert venue.order_feed is not None
                    venue.order_feed.message(entry.data)
                else:
                    trade_of(venue, symbol, filed)
            except MalformedFrame as error:
                str(error).encode()

    with structlog.testing.capture_logs():
        check()


class _Filed:
    """An entry as its readers get it."""

    def __init__(self, entry: RawEntry) -> None:
        self.stream_id = b"%d-%d" % (max(entry.event_ms, 0), entry.update_id or entry.number)
        self.data, self.kind = entry.data, entry.kind
