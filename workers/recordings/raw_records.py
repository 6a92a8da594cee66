"""Captures of cryptofeed since 2025: a JSON object a line, of several sockets and of REST, in the order of `ts`.

    {"t":"header","ts":1756074116.72,…}
    {"t":"connect","conn":"1","ts":1756074116.73,"url":"wss://ws.okx.com:8443/ws/v5/public"}
    {"t":"send","conn":"1","ts":1756074116.74,"data":"{\\"op\\":\\"subscribe\\",…}"}
    {"t":"recv","conn":"1","ts":1756074116.79,"data":"{\\"event\\":\\"subscribe\\",…}"}
    {"t":"http","ts":1756074117.2,"url":"https://www.bitstamp.net/api/v2/order_book/btcusd","data":"{\\"timestamp\\":…}"}

`data` is the text as it was sent. A socket is named by `conn`, its place by `url` or `addr`.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Final

import msgspec

from workers.errors import RecordingError
from workers.recordings.cryptofeed import reply_of
from workers.recordings.records import Note, Opened, Parsed, Received

RECOGNISED: Final = re.compile(rb'\{\s*"t"\s*:\s*"(header|http|connect|send|recv)"')
_UNITS: Final = ((10**11, 1_000_000), (10**14, 1_000), (10**17, 1))
"""Up to where a time is in seconds, ms or µs, and what makes µs of it; beyond is ns."""


class _Line(msgspec.Struct, gc=False):
    t: str
    ts: msgspec.Raw = msgspec.Raw(b"0")
    conn: str | int | None = None
    url: str = ""
    addr: str = ""
    data: str = ""


_decoder = msgspec.json.Decoder(_Line)


def _microseconds(path: str, number: int, text: bytes) -> int:
    try:
        value = Decimal(text.strip(b'" ').decode())
        return next((int(value * factor) for below, factor in _UNITS if value < below), int(value // 1000))
    except (InvalidOperation, UnicodeDecodeError, ValueError, OverflowError) as error:
        raise RecordingError(path, number, f"{text[:40]!r} is no time") from error


def parse_line(path: str, number: int, line: bytes) -> Parsed:
    """What one line holds.

    Raises:
        RecordingError: nothing that can be used; it names the file and the line.
    """
    try:
        found = _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RecordingError(path, number, f"this is no line of such a capture: {error}") from error
    time_us = _microseconds(path, number, bytes(found.ts))
    url, socket = found.url or found.addr, "" if found.conn is None else str(found.conn)
    if found.t == "recv":
        return Received(time_us, number, found.data.encode(errors="replace"), socket)
    if found.t == "connect":
        return Opened(time_us, number, url, socket)
    if found.t == "http":
        return reply_of(path, number, time_us, url, found.data.encode(errors="replace"))
    return Note(time_us, number, url if found.t == "send" else "")
