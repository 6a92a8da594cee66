"""Reading JSON that stands in Redis, where others may have written anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

Stored = TypeVar("Stored")


def decoder_of(kind: type[Stored]) -> Callable[[bytes | str], Stored]:
    """What reads values of a type; it raises msgspec.DecodeError for all that is none, also for what is no UTF-8 or is
    nested too deeply."""
    decode = msgspec.json.Decoder(kind).decode

    def decoded(payload: bytes | str) -> Stored:
        try:
            return decode(payload)
        except (UnicodeError, RecursionError) as error:
            raise msgspec.DecodeError(str(error)) from error

    return decoded
