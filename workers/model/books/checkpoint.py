"""A book's state as bytes, from which another worker goes on without asking the exchange.

Format 1: `MFBK`, one byte of version, CRC-32 of what follows (4 bytes, big endian), then zlib level 1 of one
msgpack map. Measured on a 2 vCPU VM (encode, decode, size; of which zlib, and the size without it):

    1,000 levels a side    0.8 ms  0.9 ms  11 kB    0.5 ms  0.2 ms   32 kB
    5,000 levels a side    3.6 ms  5.5 ms  55 kB    1.8 ms  0.6 ms  160 kB

A fleet writes one per symbol and second into an append-only file, so the size decides.
"""

from __future__ import annotations

import msgspec

from workers.errors import BadNumber, StateUnreadable
from workers.model.books.order_book import parse_changes, price_key
from workers.model.books.sequence import SequenceRule
from workers.model.events import Level
from workers.model.sealed import Seal

FORMAT_VERSION = 1
LARGEST_STATE = 64 * 1024 * 1024
"""Bytes after decompression that are still believed; the largest book (5,000 levels a side) has 200 kB."""

_SEAL = Seal(b"MFBK", FORMAT_VERSION, "a checkpoint of a book", LARGEST_STATE)


class Checkpoint(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What `BookSync.checkpoint` gives and `restore` needs.

    Of a book that was not synced only the counters and the reason.
    """

    symbol: str
    rule: str
    """The value of the `SequenceRule` the events were chained by."""
    stream_id: str
    """The entry of `raw:{S}:depth` up to and including which the book is a fold."""
    synced: bool
    unconfirmed: bool
    last_update_id: int
    last_event_time: int
    """Exchange ms."""
    synced_at: int
    lost_at: int
    crossed_since_ms: int | None
    sync_count: int
    gap_count: int
    reason: str
    known: tuple[str, str]
    """`known_low`, `known_high`."""
    proven_best: tuple[float, float]
    bids: list[Level]
    """Best first, every level held."""
    asks: list[Level]
    single_source: bool = False
    """No second snapshot has agreed with the book yet, though one shall."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Checkpoint)


def encode_checkpoint(state: Checkpoint) -> bytes:
    """The bytes of a state that `BookSync.checkpoint` gave. O(n)."""
    return _SEAL.deflate(_encoder.encode(state))


def decode_checkpoint(data: bytes, key: str = "checkpoint") -> Checkpoint:
    """The reverse. O(n).

    Raises:
        StateUnreadable: truncated, damaged, of another format, or not the state of a book; it names `key`.
    """
    plain = _SEAL.inflate(data, key)
    try:
        state = _decoder.decode(plain)
        SequenceRule(state.rule)
        parse_changes(state.bids, state.asks)
        for edge in state.known:
            if edge not in ("0", "inf"):
                price_key(edge)
    except (msgspec.DecodeError, ValueError, BadNumber) as error:
        raise StateUnreadable(key, str(error).rstrip(".")) from error
    return state
