"""Raw captures of cryptofeed until 2025: what its sockets and its REST requests received.

    configuration: {"l2_book":["BTC-USDT"],"trades":["BTC-USDT"]}
    wss://fstream.binance.com/stream?streams=batusdt@depth@100ms/batusdt@aggTrade <-> 1617647797.65
    wss://fstream.binance.com/stream <- 1617647797.7: {"method":"SUBSCRIBE","params":[…],"id":1}
    https://fapi.binance.com/fapi/v1/depth?symbol=BATUSDT&limit=1000 -> 1617647797.9072561: {"lastUpdateId":…}
    1617647798.593655: {"stream":"ctkusdt@bookTicker","data":{"e":"bookTicker","u":303212651379,…}}

Times are seconds since 1970. Lines of frames do not name their socket, so a file is of one market
and of one socket at a time.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qs, urlsplit

from workers.errors import RecordingError
from workers.recordings.exchanges import BINANCE, exchange_of_url, whole_book_of
from workers.recordings.records import Market, Note, Opened, Parsed, Received, RecordedSnapshot
from workers.recordings.snapshots import snapshot_head

RECOGNISED: Final = re.compile(rb"configuration: |wss?://\S+ <|https?://\S+ ->|\d{9,11}(\.\d+)?: ")
_STAMP: Final = re.compile(rb"(\d{9,11})(?:\.(\d{1,9}))?")
_DEFAULT_LIMITS: Final = {"spot": 100, "usdm": 500, "coinm": 500}
"""Levels a depth reply has when the request names no limit."""


def market_of(url: str) -> Market | None:
    """The Binance market behind a URL; None for another exchange."""
    host = (urlsplit(url).hostname or "").lower()
    if "binance" not in host:
        return None
    first = host.partition(".")[0]
    if first.startswith(("fstream", "fapi")):
        return "usdm"
    return "coinm" if first.startswith(("dstream", "dapi")) else "spot"


def _microseconds(path: str, number: int, stamp: bytes) -> int:
    found = _STAMP.fullmatch(stamp)
    if found is None:
        raise RecordingError(path, number, f"{stamp[:40]!r} is no time in seconds")
    return int(found[1]) * 1_000_000 + int((found[2] or b"").ljust(6, b"0")[:6])


def parse_line(path: str, number: int, line: bytes) -> Parsed:
    """What one line holds.

    Raises:
        RecordingError: nothing that can be used; it names the file and the line.
    """
    line = line.rstrip(b"\r")
    if line[:1].isdigit():
        stamp, colon, payload = line.partition(b": ")
        if not colon:
            raise RecordingError(path, number, f"nothing follows the time {stamp[:40]!r}")
        time_us = _microseconds(path, number, stamp)
        if payload[:1] not in (b"{", b"[") or payload[-1:] not in (b"}", b"]"):
            raise RecordingError(path, number, f"no whole JSON value follows the time, but {payload[-40:]!r}")
        return Received(time_us, number, payload)
    if line.startswith((b"wss://", b"ws://", b"https://", b"http://")):
        return _of_url(path, number, line)
    if line.startswith(b"configuration:"):
        return Note(0, number, "")
    raise RecordingError(path, number, f"it begins with neither a time nor a URL, but with {line[:40]!r}")


def _of_url(path: str, number: int, line: bytes) -> Parsed:
    place, _, rest = line.partition(b" ")
    arrow, _, rest = rest.partition(b" ")
    if arrow not in (b"<->", b"<-", b"->"):
        raise RecordingError(path, number, f"the URL is followed by {arrow[:40]!r}, which is no direction")
    stamp, _, body = rest.partition(b": ")
    time_us = _microseconds(path, number, stamp)
    url = place.decode(errors="replace")
    if arrow == b"<->":
        return Opened(time_us, number, url)
    return reply_of(path, number, time_us, url, body) if arrow == b"->" else Note(time_us, number, url)


def reply_of(path: str, number: int, time_us: int, url: str, body: bytes) -> RecordedSnapshot | Note:
    """What a REST reply is: a book that a stream goes on from, or nothing that is of use.

    Raises:
        RecordingError: it should be a book, and is none.
    """
    split = urlsplit(url)
    if (pair := whole_book_of(url)) is not None:
        return RecordedSnapshot(time_us, number, pair, body, 0, url)
    if exchange_of_url(url) not in (None, BINANCE) or not split.path.endswith("/depth"):
        return Note(time_us, number, url)
    head = snapshot_head(path, number, body)
    query = parse_qs(split.query)
    symbol = query.get("symbol", [head.symbol])[0]
    limit = query.get("limit", [""])[0]
    asked = int(limit) if limit.isdigit() else _DEFAULT_LIMITS[market_of(url) or "spot"]
    return RecordedSnapshot(time_us, number, symbol, body, asked, url)
