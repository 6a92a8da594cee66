"""Event arrays of hftbacktest 2: a `.npz` with one array `data` of its `event_dtype`, written without numpy.

    ev u8 | exch_ts i8 | local_ts i8 | px f8 | qty f8 | order_id u8 | ival i8 | fval f8

`ev` is the kind of the event, the side, and that it is seen at the exchange and by us. Times are ns. The simulator
wants both times in order and no message before it was sent: an exchange time ahead of ours becomes ours, one that goes
back that of the event before.
"""

from __future__ import annotations

import struct
import tempfile
import zipfile
from collections.abc import Iterable
from typing import BinaryIO, Final

from workers.recordings.tardis.books import BookMessage
from workers.recordings.tardis.rows import Row

DEPTH: Final = 1
TRADE: Final = 2
CLEAR: Final = 3
SNAPSHOT: Final = 4
BUY: Final = 1 << 29
SELL: Final = 1 << 28
BOTH: Final = 1 << 31 | 1 << 30
"""Seen at the exchange, and by us."""
_FIELDS: Final = (
    ("ev", "<u8"), ("exch_ts", "<i8"), ("local_ts", "<i8"), ("px", "<f8"), ("qty", "<f8"), ("order_id", "<u8"),
    ("ival", "<i8"), ("fval", "<f8"),
)  # fmt: skip
_event: Final = struct.Struct("<QqqddQqd")
_CHUNK: Final = 1 << 20
_HEADER: Final = 256


class EventArray:
    """Takes messages and trades in the order of their local times; `write` makes the file. Events wait on disk."""

    def __init__(self) -> None:
        self._events = tempfile.TemporaryFile(prefix="fleet-events-")  # noqa: SIM115 -- ends with the array
        self._exchange = self._local = 0
        self.count = 0

    def book(self, message: BookMessage) -> None:
        """A change of the book; before a whole one, both sides are cleared."""
        self._times(message.timestamp, message.local_timestamp)
        kind = SNAPSHOT if message.is_snapshot else DEPTH
        if message.is_snapshot:
            for side in (BUY, SELL):
                self._add(CLEAR | side, float("nan"), 0.0)
        for side, levels in ((BUY, message.bids), (SELL, message.asks)):
            for price, quantity in levels:
                self._add(kind | side, float(price), float(quantity))

    def trades(self, rows: Iterable[Row]) -> None:
        """Rows of `trades`."""
        sides = {"buy": BUY, "sell": SELL}
        for _, _, timestamp, local, _, taker, price, amount in rows:
            self._times(timestamp, local)
            self._add(TRADE | sides.get(taker, 0), float(price), float(amount))

    def _times(self, timestamp: int, local: int) -> None:
        self._local = max(self._local, local * 1000)
        self._exchange = max(self._exchange, min(timestamp * 1000, self._local))

    def _add(self, event: int, price: float, quantity: float) -> None:
        packed = _event.pack(event | BOTH, self._exchange, self._local, price, quantity, 0, 0, 0.0)
        self._events.write(packed)
        self.count += 1

    def write(self, file: BinaryIO) -> None:
        """Write everything as `.npz`, and end."""
        described = f"{{'descr': {list(_FIELDS)!r}, 'fortran_order': False, 'shape': ({self.count},), }}"
        header = b"\x93NUMPY\x01\x00" + struct.pack("<H", _HEADER - 10)
        header += described.encode().ljust(_HEADER - 11) + b"\n"
        with self._events, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
            large = self.count * _event.size > zipfile.ZIP64_LIMIT
            with packed.open("data.npy", "w", force_zip64=large) as member:
                member.write(header)
                self._events.seek(0)
                while chunk := self._events.read(_CHUNK):
                    member.write(chunk)
