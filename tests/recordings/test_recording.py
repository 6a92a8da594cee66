"""Whole capture files: format, market, symbols, damage, and several merged."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_capture_formats import COINM_DEPTH, DEPTH, SNAPSHOT, SPOT_DEPTH, TICKER

from workers.errors import RecordingError
from workers.recordings.recording import Recording, merged
from workers.recordings.records import Damage, Received, RecordedSnapshot

START = 1723161255


def hft(seconds: float, payload: bytes) -> bytes:
    return b"%d %s" % (int((START + seconds) * 10**6) * 1000, payload)


def feed(seconds: float, payload: bytes) -> bytes:
    return b"%.6f: %s" % (START + seconds, payload)


def written(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def test_an_hftbacktest_capture(tmp_path: Path):
    recording = Recording(
        written(tmp_path / "a", hft(0, DEPTH), hft(1, SNAPSHOT), hft(2, TICKER), hft(3, TICKER))
    )
    assert recording.market == "usdm"
    assert recording.symbols == ["BTCUSDT"]
    assert {stream.name: count for stream, count in recording.streams.items()} == {
        "btcusdt@depth@0ms": 1,
        "btcusdt@bookTicker": 2,
    }
    assert recording.snapshot_limit == 2
    snapshot = list(recording.records())[1]
    assert isinstance(snapshot, RecordedSnapshot)
    assert snapshot.symbol == "BTCUSDT"


@pytest.mark.parametrize(("frame", "market"), [(SPOT_DEPTH, "spot"), (DEPTH, "usdm"), (COINM_DEPTH, "coinm")])
def test_the_market_comes_from_the_messages(tmp_path: Path, frame: bytes, market: str):
    path = written(tmp_path / "a", hft(0, TICKER), hft(1, frame))
    assert Recording(path).market == market
    assert Recording(path, "spot").market == "spot"


def test_the_market_comes_from_the_urls(tmp_path: Path):
    url = b"wss://dstream.binance.com/stream?streams=a <-> 1723161255.1"
    assert Recording(written(tmp_path / "a", url, feed(0, DEPTH))).market == "coinm"
    depth = b"https://dapi.binance.com/dapi/v1/depth?symbol=A&limit=1000 -> 1723161255.1: " + SNAPSHOT
    recording = Recording(written(tmp_path / "b", depth))
    assert (recording.market, recording.symbols, dict(recording.snapshots)) == ("coinm", [], {"A": 1})


@pytest.mark.parametrize(
    ("line", "excerpt"),
    [
        (b"wss://ws.gemini.com <-> 1617666422.653664", "ws.gemini.com"),
        (b"wss://api.huobi.pro:8443/ws <-> 1646003666.6408682", "api.huobi.pro"),
    ],
)
def test_exchanges_that_are_none_of_ours_are_refused_by_name(tmp_path: Path, line: bytes, excerpt: str):
    path = written(tmp_path / "a", b"configuration: {}", line, feed(0, b'{"event":"systemStatus"}'))
    with pytest.raises(RecordingError, match=excerpt) as caught:
        Recording(path)
    assert caught.value.line == 2


def test_two_markets_in_one_file_are_refused(tmp_path: Path):
    urls = (
        b"wss://fstream.binance.com/stream <-> 1617647797.6",
        b"wss://stream.binance.com/stream <-> 1617647797.7",
    )
    with pytest.raises(RecordingError, match="usdm, spot"):
        Recording(written(tmp_path / "a", *urls, feed(0, DEPTH)))


@pytest.mark.parametrize(
    "lines",
    [
        (b"",),
        (b"exchange,symbol,timestamp", b"a,b,c"),
        (b"\x00\x01\x02",),
        (hft(0, b'{"topic":"orderbook.50.BTCUSDT","type":"snapshot"}'),),
        (hft(0, b'{"result":null,"id":1}'),),
    ],
)
def test_what_is_no_binance_capture_is_refused(tmp_path: Path, lines: tuple[bytes, ...]):
    with pytest.raises(RecordingError):
        Recording(written(tmp_path / "a", *lines))


def test_a_bad_line_is_damage_and_the_rest_goes_on(tmp_path: Path):
    path = written(tmp_path / "a", hft(0, DEPTH), hft(1, DEPTH)[:-9], b"", b"?", hft(2, TICKER))
    found = [(type(record), record.line) for record in Recording(path).records()]
    assert found == [(Received, 1), (Damage, 2), (Damage, 4), (Received, 5)]


def test_a_file_cut_short_ends_with_damage(tmp_path: Path):
    import gzip

    whole = gzip.compress(b"".join(hft(second, DEPTH) + b"\n" for second in range(5_000)), mtime=0)
    path = tmp_path / "a.gz"
    path.write_bytes(whole[: len(whole) // 2])
    records = list(Recording(path).records())
    assert isinstance(records[-1], Damage)
    assert len(records) > 100
    assert records[-1].error.line == len(records)


def test_a_snapshot_that_could_be_of_two_symbols_is_damage(tmp_path: Path):
    other = DEPTH.replace(b"btcusdt", b"ethusdt").replace(b"BTCUSDT", b"ETHUSDT")
    path = written(tmp_path / "a", hft(0, DEPTH), hft(1, other), hft(2, SNAPSHOT))
    *_, last = Recording(path).records()
    assert isinstance(last, Damage)
    assert "2 symbols" in str(last.error)


def test_files_are_merged_by_time_each_in_its_order(tmp_path: Path):
    first = Recording(written(tmp_path / "a", hft(0, DEPTH), hft(4, DEPTH), hft(3, DEPTH), hft(9, DEPTH)))
    second = Recording(written(tmp_path / "b", feed(2, DEPTH), b"nonsense", feed(5, DEPTH)))
    found = [(recording is first, record.line) for recording, record in merged([first, second])]
    assert found == [(True, 1), (False, 1), (False, 2), (True, 2), (True, 3), (False, 3), (True, 4)]
