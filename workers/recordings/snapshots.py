"""Recognising the body of a REST `depth` reply in a capture."""

from __future__ import annotations

from typing import Final

import msgspec

from workers.errors import RecordingError

_FRAMES: Final = (b'{"stream"', b'{"e"')
_HEAD: Final = 200
"""Bytes in which `lastUpdateId` stands: COIN-M replies begin with a few short keys at the most."""


class SnapshotHead(msgspec.Struct, gc=False):
    """`{"lastUpdateId":86143357460,"symbol":"BCHUSD_210625","bids":[…],"asks":[…]}`; the symbol on COIN-M."""

    lastUpdateId: int  # noqa: N815 -- the wire's own key
    bids: list[msgspec.Raw]
    asks: list[msgspec.Raw]
    symbol: str = ""


_decoder = msgspec.json.Decoder(SnapshotHead)


def is_snapshot(payload: bytes) -> bool:
    """Whether this may be a depth reply rather than a frame."""
    if payload.startswith(_FRAMES):
        return False
    return b'"lastUpdateId"' in payload[:_HEAD]


def snapshot_head(path: str, number: int, payload: bytes) -> SnapshotHead:
    """The parts of a depth reply that file it.

    Raises:
        RecordingError: it is none.
    """
    try:
        return _decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RecordingError(path, number, f"this is no depth reply: {error}") from error
