"""Server-side websocket text frames as bytes (RFC 6455, RFC 7692).

Server frames are not masked, so one frame serves all subscribers. A deflated frame is compressed on its
own (as with `server_no_context_takeover`), which every client that negotiated the extension can read.
"""

from __future__ import annotations

import zlib
from typing import Final

_FINAL_TEXT: Final = 0x81
_COMPRESSED: Final = 0x40
_SYNC_FLUSH_TAIL: Final = b"\x00\x00\xff\xff"


def text_frame(payload: bytes) -> bytes:
    """An unfragmented, unmasked text frame."""
    return _header(_FINAL_TEXT, len(payload)) + payload


def deflated_text_frame(payload: bytes) -> bytes:
    """An unfragmented text frame compressed with no context from earlier ones."""
    compressor = zlib.compressobj(level=1, wbits=-zlib.MAX_WBITS)
    body = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    body = body.removesuffix(_SYNC_FLUSH_TAIL)
    return _header(_FINAL_TEXT | _COMPRESSED, len(body)) + body


def _header(first: int, length: int) -> bytes:
    if length < 126:
        return bytes((first, length))
    if length < 65_536:
        return bytes((first, 126)) + length.to_bytes(2, "big")
    return bytes((first, 127)) + length.to_bytes(8, "big")
