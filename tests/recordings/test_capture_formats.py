"""One line at a time: the two capture formats, and each way a line can be wrong."""

from __future__ import annotations

import pytest

from workers.errors import RecordingError
from workers.recordings import cryptofeed, hftbacktest
from workers.recordings.records import Note, Received, RecordedSnapshot
from workers.recordings.streams import Quote, Stream, market_shown_by, quote_of, stream_of

DEPTH = (
    b'{"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate","E":1723161256299,"T":1723161256298,"s":"BTCUSDT",'
    b'"U":5123107832006,"u":5123107837557,"pu":5123107831937,"b":[["58710.20","0.014"]],"a":[]}}'
)
SPOT_DEPTH = (
    b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":50093239189,'
    b'"u":50093239202,"b":[["61737.63000000","0.00000000"]],"a":[]}}'
)
COINM_DEPTH = (
    b'{"stream":"bchusd_210625@depth@100ms","data":{"e":"depthUpdate","E":1618677480052,"T":1618677480038,'
    b'"s":"BCHUSD_210625","ps":"BCHUSD","U":86143353824,"u":86143354277,"pu":86143353818,"b":[],"a":[]}}'
)
TICKER = (
    b'{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":5123107839020,"s":"BTCUSDT","b":"61800.20",'
    b'"B":"2.507","a":"61800.30","A":"2.510","T":1723161256313,"E":1723161256313}}'
)
SPOT_TICKER = (
    b'{"stream":"btcusdt@bookTicker","data":{"u":50093239212,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000",'
    b'"a":"61837.64000000","A":"1.54698000"}}'
)
TRADE = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161256322,"T":1723161256322,"s":"BTCUSDT",'
    b'"t":5266583935,"p":"61800.30","q":"0.006","X":"MARKET","m":false}}'
)
SPOT_TRADE = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,'
    b'"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,"M":true}}'
)
SNAPSHOT = b'{"lastUpdateId":5123107852948,"E":1723161256501,"T":1,"bids":[["1","2"],["0.9","2"]],"asks":[["3","4"]]}'


class TestHftbacktest:
    def test_a_frame(self):
        record = hftbacktest.parse_line("f", 1, b"1723161255030314667 " + DEPTH)
        assert record == Received(1723161255030314, 1, DEPTH)

    @pytest.mark.parametrize(
        ("stamp", "time_us"),
        [
            (b"1723161255030", 1723161255030000),
            (b"1723161255030314", 1723161255030314),
            (b"1723161255030314667", 1723161255030314),
        ],
    )
    def test_the_digits_tell_the_unit_of_a_time(self, stamp: bytes, time_us: int):
        line = stamp + b" " + DEPTH
        assert hftbacktest.RECOGNISED.match(line)
        assert hftbacktest.parse_line("f", 1, line) == Received(time_us, 1, DEPTH)

    def test_windows_line_ends_do_no_harm(self):
        record = hftbacktest.parse_line("f", 1, b"1723161255030314667 " + DEPTH + b"\r")
        assert record == Received(1723161255030314, 1, DEPTH)

    def test_a_snapshot_knows_its_levels(self):
        record = hftbacktest.parse_line("f", 55, b"1723161255319702468 " + SNAPSHOT)
        assert record == RecordedSnapshot(1723161255319702, 55, "", SNAPSHOT, 2, "")

    @pytest.mark.parametrize(
        "line",
        [
            b"",
            b"{}",
            b"17231612550 " + DEPTH,
            b"17231612550303146x7 " + DEPTH,
            b"1723161255030314667",
            b"1723161255030314667 ",
            b"1723161255030314667 " + DEPTH[:-20],
            b"1723161255030314667 hello",
            b'1723161255030314667 {"lastUpdateId":5123107852948}',
            b'1723161255030314667 {"lastUpdateId":"x","bids":[],"asks":[]}',
            b'1723161255030314667 {"lastUpdateId":1,"bids":[[}',
            b"\xff\xfe\x00",
        ],
    )
    def test_what_cannot_be_used_names_file_and_line(self, line: bytes):
        with pytest.raises(RecordingError) as caught:
            hftbacktest.parse_line("some.gz", 7, line)
        assert (caught.value.path, caught.value.line) == ("some.gz", 7)


class TestCryptofeed:
    @pytest.mark.parametrize(
        ("stamp", "us"),
        [
            (b"1617647798.593655", 1617647798593655),
            (b"1618677480.08607", 1618677480086070),
            (b"1617647797.9072561", 1617647797907256),
            (b"1617647797", 1617647797000000),
        ],
    )
    def test_a_frame_and_its_time(self, stamp: bytes, us: int):
        assert cryptofeed.parse_line("f", 3, stamp + b": " + TICKER) == Received(us, 3, TICKER)

    def test_a_snapshot(self):
        url = "https://fapi.binance.com/fapi/v1/depth?symbol=BATUSDT&limit=1000"
        record = cryptofeed.parse_line("f", 4, url.encode() + b" -> 1617647797.9072561: " + SNAPSHOT)
        assert record == RecordedSnapshot(1617647797907256, 4, "BATUSDT", SNAPSHOT, 1000, url)

    @pytest.mark.parametrize(
        ("url", "limit"),
        [
            ("https://api.binance.com/api/v3/depth?symbol=A", 100),
            ("https://fapi.binance.com/fapi/v1/depth?symbol=A", 500),
        ],
    )
    def test_a_snapshot_without_limit_has_the_documented_one(self, url: str, limit: int):
        record = cryptofeed.parse_line("f", 4, url.encode() + b" -> 1617647797.9: " + SNAPSHOT)
        assert isinstance(record, RecordedSnapshot)
        assert record.limit == limit

    @pytest.mark.parametrize(
        "line",
        [
            b'configuration: {"l2_book":["BTC-USDT"]}',
            b'wss://fstream.binance.com/stream <- 1617647797.7: {"method":"SUBSCRIBE","params":[],"id":1}',
            b"https://api.binance.com/api/v3/exchangeInfo -> 1617647797.7: {}",
        ],
    )
    def test_what_feeds_nothing_is_a_note(self, line: bytes):
        assert isinstance(cryptofeed.parse_line("f", 1, line), Note)

    @pytest.mark.parametrize(
        "line",
        [
            b"hello",
            b"1617647798.593655",
            b"1617647798.59x655: " + TICKER,
            b"1617647798.593655: " + TICKER[:-5],
            b"1617647798.593655: ",
            b"wss://fstream.binance.com",
            b"wss://fstream.binance.com <> 1617647797.65",
            b"wss://fstream.binance.com <-> soon",
            b"https://fapi.binance.com/fapi/v1/depth?symbol=A -> 1617647797.9: " + SNAPSHOT[:-9],
            b'https://fapi.binance.com/fapi/v1/depth?symbol=A -> 1617647797.9: {"code":-1003,"msg":"no"}',
        ],
    )
    def test_what_cannot_be_used_names_file_and_line(self, line: bytes):
        with pytest.raises(RecordingError) as caught:
            cryptofeed.parse_line("some.zst", 9, line)
        assert (caught.value.path, caught.value.line) == ("some.zst", 9)

    @pytest.mark.parametrize(
        ("url", "market"),
        [
            ("wss://fstream.binance.com/stream?streams=a@depth", "usdm"),
            ("https://fapi.binance.com/fapi/v1/depth", "usdm"),
            ("wss://dstream.binance.com/stream", "coinm"),
            ("https://dapi.binance.com/dapi/v1/depth", "coinm"),
            ("wss://stream.binance.com:9443/stream", "spot"),
            ("https://www.binance.com/api/v1/depth", "spot"),
            ("wss://ws.kraken.com", None),
        ],
    )
    def test_the_market_of_a_url(self, url: str, market: str | None):
        assert cryptofeed.market_of(url) == market


class TestStreams:
    @pytest.mark.parametrize(
        ("frame", "name", "symbol"),
        [
            (DEPTH, "btcusdt@depth@0ms", "BTCUSDT"),
            ('{"stream":"币安人生usdt@trade","data":{}}'.encode(), "币安人生usdt@trade", "币安人生USDT"),
            (b'{"stream":"\\u5e01usdt@trade","data":{}}', "币usdt@trade", "币USDT"),
            (
                b'{"data":{},"stream":"ethusd_210625@depth@100ms"}',
                "ethusd_210625@depth@100ms",
                "ETHUSD_210625",
            ),
            (b'{"e":"depthUpdate","s":"BTCUSDT"}', "btcusdt@depth", "BTCUSDT"),
            (b'{"e":"aggTrade","s":"BTCUSDT"}', "btcusdt@aggTrade", "BTCUSDT"),
        ],
    )
    def test_the_stream_of_a_frame(self, frame: bytes, name: str, symbol: str):
        stream = stream_of(frame)
        assert stream is not None
        assert (stream.name, stream.symbol) == (name, symbol)
        assert stream_of(frame) is stream

    @pytest.mark.parametrize(
        "frame", [b'{"result":null,"id":1}', b"[1]", b"{", b'{"stream":"x', b"\xff", b""]
    )
    def test_what_has_no_stream(self, frame: bytes):
        assert stream_of(frame) is None

    @pytest.mark.parametrize(
        ("name", "depth", "ticker", "trades"),
        [
            ("a@depth", True, False, False),
            ("a@depth@0ms", True, False, False),
            ("a@depth20@100ms", False, False, False),
            ("a@bookTicker", False, True, False),
            ("a@aggTrade", False, False, True),
            ("a@trade", False, False, True),
            ("a@kline_1m", False, False, False),
        ],
    )
    def test_what_a_stream_carries(self, name: str, depth: bool, ticker: bool, trades: bool):
        stream = Stream(name)
        assert (stream.is_depth, stream.is_ticker, stream.is_trades) == (depth, ticker, trades)

    @pytest.mark.parametrize(
        ("frame", "market"),
        [
            (DEPTH, "usdm"),
            (SPOT_DEPTH, "spot"),
            (COINM_DEPTH, "coinm"),
            (TICKER, "usdm"),
            (SPOT_TICKER, "spot"),
            (TRADE, "usdm"),
            (SPOT_TRADE, "spot"),
            (b'{"stream":"btcusdt@kline_1m","data":{}}', None),
        ],
    )
    def test_the_market_a_frame_shows(self, frame: bytes, market: str | None):
        stream = stream_of(frame)
        assert stream is not None
        assert market_shown_by(stream, frame) == market

    def test_quotes(self):
        assert quote_of(TICKER) == Quote(5123107839020, ("61800.20", "2.507"), ("61800.30", "2.510"))
        bare = b'{"u":1,"s":"A","b":"1","B":"2","a":"3","A":"4"}'
        assert quote_of(bare) == Quote(1, ("1", "2"), ("3", "4"))

    @pytest.mark.parametrize(
        "frame", [b'{"stream":"a@bookTicker","data":{"u":1}}', b"{", TICKER.replace(b"5123", b'"')]
    )
    def test_broken_quotes(self, frame: bytes):
        assert quote_of(frame) is None
