"""Captures of several sockets, and of sockets that end: what a book makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from replay_captures import replayed

from workers.replay.server import PrivateServer

START = 1_756_074_116


class JsonLines:
    """A capture of cryptofeed as it is since 2025."""

    def __init__(self) -> None:
        self.lines: list[str] = [json.dumps({"t": "header", "ts": START})]

    def add(self, kind: str, conn: str, **more: Any) -> None:
        ts = round(START + len(self.lines) / 100, 2)
        self.lines.append(json.dumps({"t": kind, "conn": conn, "ts": ts, **more}))

    def book(self, conn: str, product: str, *changes: list[str]) -> None:
        """A snapshot without changes, else those."""
        frame: dict[str, Any] = {
            "type": "snapshot",
            "product_id": product,
            "bids": [["10", "1"]],
            "asks": [["12", "1"]],
        }
        if changes:
            at = f"2025-08-24T22:21:{len(self.lines) % 60:02}.000000Z"
            frame = {"type": "l2update", "product_id": product, "changes": list(changes), "time": at}
        self.add("recv", conn, data=json.dumps(frame))

    def write(self, path: Path) -> Path:
        path.write_text("\n".join(self.lines) + "\n")
        return path


def opened(capture: JsonLines, conn: str) -> None:
    capture.add("connect", conn, url="wss://ws-feed.exchange.coinbase.com")
    capture.add("send", conn, data='{"type":"subscribe"}')


def test_two_sockets_of_one_file_are_told_apart(server: PrivateServer, tmp_path: Path):
    capture = JsonLines()
    for conn, product in (("1", "BTC-USD"), ("2", "ETH-USD")):
        opened(capture, conn)
        capture.book(conn, product)
    capture.book("1", "BTC-USD", ["buy", "10", "2"])
    capture.book("2", "ETH-USD", ["sell", "11", "3"])
    found = replayed(server.url, capture.write(tmp_path / "a.jsonl"))
    assert found["problems"] == []
    assert found["venues"] == {"coinbase-exchange": {"exchange": "coinbase", "market": "exchange"}}
    assert found["books"]["BTC-USD"]["bids"] == [["10", "2"]]
    assert found["books"]["ETH-USD"]["asks"] == [["11", "3"], ["12", "1"]]


def test_a_socket_that_is_opened_again_ends_the_books_of_the_one_before(
    server: PrivateServer, tmp_path: Path
):
    capture = JsonLines()
    opened(capture, "1")
    capture.book("1", "BTC-USD")
    capture.book("1", "BTC-USD", ["buy", "9", "2"])
    opened(capture, "1")
    lost = replayed(server.url, capture.write(tmp_path / "a.jsonl"))
    assert lost["resyncs"] == 1
    assert lost["states"] == {"BTC-USD": "broken"}


def test_the_snapshot_after_it_begins_them_anew(server: PrivateServer, tmp_path: Path):
    capture = JsonLines()
    opened(capture, "1")
    capture.book("1", "BTC-USD")
    capture.book("1", "BTC-USD", ["buy", "9", "2"])
    opened(capture, "1")
    capture.book("1", "BTC-USD")
    found = replayed(server.url, capture.write(tmp_path / "a.jsonl"))
    assert found["states"] == {"BTC-USD": "synced"}
    assert found["books"]["BTC-USD"]["bids"] == [["10", "1"]]
    assert found["resyncs"] == 1


def test_a_hole_in_the_numbers_of_a_connection_is_told(server: PrivateServer, tmp_path: Path):
    def frame(number: int, kind: str) -> bytes:
        level = {
            "side": "bid",
            "event_time": "2025-08-24T22:34:13.4Z",
            "price_level": "10",
            "new_quantity": "1",
        }
        event = {"type": kind, "product_id": "BTC-USD", "updates": [level]}
        stamp = f"2025-08-24T22:34:{10 + number}.793075885Z"
        return json.dumps(
            {"channel": "l2_data", "timestamp": stamp, "sequence_num": number, "events": [event]}
        ).encode()

    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join([frame(0, "snapshot"), frame(1, "update"), frame(3, "update")]) + b"\n")
    found = replayed(server.url, path)
    assert found["sequence_gaps"] == 1
    assert found["states"] == {"BTC-USD": "broken"}
    assert "coinbase: 1 hole(s) in the numbers of a connection's frames." in found["problems"]


def bitstamp(capture: JsonLines, time_us: int, price: str) -> None:
    """A change of a book at a microtimestamp."""
    data = {
        "timestamp": str(time_us // 10**6),
        "microtimestamp": str(time_us),
        "bids": [[price, "1"]],
        "asks": [],
    }
    frame = {"event": "data", "channel": "diff_order_book_btcusd", "data": data}
    capture.add("recv", "1", data=json.dumps(frame))


def whole_book(capture: JsonLines, time_us: int) -> None:
    """The reply of REST at a microtimestamp."""
    data = {"timestamp": str(time_us // 10**6), "microtimestamp": str(time_us), "bids": [["10", "1"]]}
    url = "https://www.bitstamp.net/api/v2/order_book/btcusd"
    capture.add("http", "", url=url, data=json.dumps(data | {"asks": [["20", "1"]]}))


def test_a_socket_opened_again_ends_books_whose_ids_only_order(server: PrivateServer, tmp_path: Path):
    first = START * 10**6
    capture = JsonLines()
    capture.add("connect", "1", url="wss://ws.bitstamp.net")
    bitstamp(capture, first, "11")
    whole_book(capture, first + 10)
    bitstamp(capture, first + 20, "12")
    capture.add("connect", "1", url="wss://ws.bitstamp.net")
    bitstamp(capture, first + 40, "13")
    lost = replayed(server.url, capture.write(tmp_path / "a.jsonl"))
    assert (lost["states"], lost["resyncs"]) == ({"BTCUSD": "broken"}, 1)


def test_a_whole_book_of_after_it_begins_them_anew(server: PrivateServer, tmp_path: Path):
    first = START * 10**6
    capture = JsonLines()
    capture.add("connect", "1", url="wss://ws.bitstamp.net")
    bitstamp(capture, first, "11")
    whole_book(capture, first + 10)
    bitstamp(capture, first + 20, "12")
    capture.add("connect", "1", url="wss://ws.bitstamp.net")
    bitstamp(capture, first + 40, "13")
    whole_book(capture, first + 50)
    bitstamp(capture, first + 60, "14")
    found = replayed(server.url, capture.write(tmp_path / "a.jsonl"))
    assert (found["states"], found["resyncs"]) == ({"BTCUSD": "synced"}, 1)
    assert found["books"]["BTCUSD"]["bids"] == [["14", "1"], ["10", "1"]]
