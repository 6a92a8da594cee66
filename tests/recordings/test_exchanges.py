"""Of which exchange a capture is, and how it was subscribed; captures without times, and of JSON lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.errors import RecordingError
from workers.recordings import bare, raw_records
from workers.recordings.exchanges import Source, exchange_of_frame, exchange_of_url
from workers.recordings.recording import Recording
from workers.recordings.records import Note, Opened, Received, RecordedSnapshot

BYBIT = (
    b'{"topic":"orderbook.50.BTCUSDT","ts":1787612486096,"type":"snapshot","data":{"s":"BTCUSDT","b":[["1","1"]],'
    b'"a":[["2","1"]],"u":7,"seq":1},"cts":1787612486090}'
)
OKX = (
    b'{"arg":{"channel":"books","instId":"BTC-USDT-SWAP"},"action":"snapshot","data":[{"asks":[["2","1","0","1"]],'
    b'"bids":[["1","1","0","1"]],"ts":"1787612486096","checksum":0,"seqId":5,"prevSeqId":-1}]}'
)


@pytest.mark.parametrize(
    ("frame", "exchange"),
    [
        (BYBIT, "bybit"),
        (OKX, "okx"),
        (b'{"stream":"btcusdt@depth","data":{}}', "binance"),
        (b'{"event":"bts:subscription_succeeded","channel":"diff_order_book_btcusd","data":{}}', "bitstamp"),
        (b'{"event":"subscribed","channel":"book","chanId":7,"symbol":"tBTCUSD"}', "bitfinex"),
        (
            b'{"channel":"l2_data","timestamp":"2026-08-24T22:34:13.79Z","sequence_num":0,"events":[]}',
            "coinbase",
        ),
        (b'{"type":"l2update","product_id":"BTC-USD","changes":[]}', "coinbase"),
        (b'{"channel":"status","type":"update","data":[]}', "kraken"),
        (b'[320,{"b":[]},"book-1000","XBT/USD"]', "kraken"),
        (b'{"result":null,"id":1}', None),
    ],
)
def test_a_frame_shows_its_exchange(frame: bytes, exchange: str | None):
    assert exchange_of_frame(frame) == exchange


def test_a_url_names_its_exchange():
    assert exchange_of_url("wss://ws.okx.com:8443/ws/v5/public") == "okx"
    assert exchange_of_url("wss://ws-feed.pro.coinbase.com") == "coinbase"
    assert exchange_of_url("wss://ws.gemini.com") is None


def test_the_market_comes_from_the_frames_or_is_given(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(OKX + b"\n")
    assert Recording(path).market == "okx-swap"
    assert Recording(path).symbols == ["BTC-USDT-SWAP"]
    assert Recording(path, source=Source.parse("okx:futures")).market == "okx-futures"
    with pytest.raises(RecordingError, match="no message of Kraken"):
        Recording(path, source=Source.parse("kraken"))
    with pytest.raises(ValueError, match="gemini"):
        Source.parse("gemini")


def test_what_is_no_known_kind_is_told_the_kinds(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(b"time,price\n1,2\n")
    with pytest.raises(RecordingError, match=r"hftbacktest.*cryptofeed.*bare frames"):
        Recording(path)
    path.write_bytes(b'{"price":1}\n')
    with pytest.raises(RecordingError, match=r"binance, bitfinex.*okx"):
        Recording(path)


@pytest.mark.parametrize(
    ("frame", "time_us"),
    [
        (BYBIT, 1787612486096000),
        (b'{"data":{"microtimestamp":"1787612486338338"}}', 1787612486338338),
        (b'{"timestamp":"2026-08-24T22:34:13.793075885Z"}', 1787610853793075),
        (b'{"event":"info"}', 0),
    ],
)
def test_a_bare_frame_is_of_its_own_time(frame: bytes, time_us: int):
    assert bare.parse_line("f", 1, frame) == Received(time_us, 1, frame)


def test_half_a_bare_frame_is_refused():
    with pytest.raises(RecordingError, match="whole JSON"):
        bare.parse_line("f", 1, BYBIT[:-1])


@pytest.mark.parametrize(
    "ts", [b"1756074116.79", b"1756074116790", b"1756074116790000", b"1756074116790000000"]
)
def test_json_lines_name_their_socket_and_any_unit_of_time(ts: bytes):
    line = b'{"t":"recv","conn":"2","ts":%s,"data":"{\\"a\\":\\"\xc3\xa9\\"}"}' % ts
    assert raw_records.parse_line("f", 1, line) == Received(1756074116790000, 1, '{"a":"é"}'.encode(), "2")


def test_json_lines_of_other_kinds():
    def parsed(line: bytes) -> object:
        return raw_records.parse_line("f", 1, line)

    place = b'"ts":1756074116,"url":"wss://ws.okx.com/ws/v5/public"'
    assert parsed(b'{"t":"connect","conn":1,%s}' % place) == Opened(
        1756074116000000, 1, "wss://ws.okx.com/ws/v5/public", "1"
    )
    assert isinstance(parsed(b'{"t":"send","conn":1,"ts":1756074116,"data":"ping"}'), Note)
    url = "https://www.bitstamp.net/api/v2/order_book/btcusd"
    assert parsed(b'{"t":"http","ts":1756074116,"url":"%s","data":"{}"}' % url.encode()) == RecordedSnapshot(
        1756074116000000, 1, "btcusd", b"{}", 0, url
    )
    for wrong in (b'{"t":"recv"', b'{"t":"recv","ts":"x","data":""}', b'{"t":"recv","ts":1e999,"data":""}'):
        with pytest.raises(RecordingError):
            parsed(wrong)
