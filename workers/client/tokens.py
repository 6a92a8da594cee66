"""Resume tokens: where a reading stands, as text to keep and to go on from."""

from __future__ import annotations

from typing import Final

import msgspec

from workers.errors import TokenUnusable

Channel = str
"""`books`, `trades`, `bars`, `derivatives`, `liquidations`, `orders`, `analytics`, or `raw:` and the channel of a raw
stream."""
VERSION: Final = 1


class Place(msgspec.Struct, array_like=True, frozen=True):
    """How far one symbol has been read."""

    position: str
    """The id of the last stream entry."""
    trade_id: int = -1
    """Of trades: the last id; -1: none yet."""
    time_ms: int = 0
    """Of trades: the time of the last one."""


class _Token(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    channel: str
    places: dict[str, Place]


def encode_token(channel: Channel, places: dict[str, Place]) -> str:
    """The token of a reading."""
    return msgspec.json.encode(_Token(VERSION, channel, places)).decode()


def decode_token(channel: Channel, token: str) -> dict[str, Place]:
    """The places a token names.

    Raises:
        TokenUnusable: it is no token, one of another channel, or of another version.
    """
    try:
        found = msgspec.json.decode(token, type=_Token)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise TokenUnusable(token, str(error).rstrip(".")) from error
    if found.version != VERSION:
        raise TokenUnusable(token, f"it has version {found.version}, not {VERSION}")
    if found.channel != channel:
        raise TokenUnusable(token, f"it is of {found.channel}, not of {channel}")
    for place in found.places.values():
        ms, _, sequence = place.position.partition("-")
        if not (ms.isdigit() and sequence.isdigit()):
            raise TokenUnusable(token, f"{place.position!r} is no entry id")
    return found.places
