"""Replies about several keys or symbols, each of which succeeds or fails by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.exceptions import ResponseError

from workers.errors import StateUnreadable
from workers.store.refusals import Refusal, refusal_of


def unusable(key: str, reply: Any) -> StateUnreadable | None:
    """What to say of a key that holds another type than was asked for; None for a good reply.

    Raises:
        RedisError: the reply is any other error, which is no fault of the key.
    """
    if not isinstance(reply, Exception):
        return None
    if refusal_of(reply) is Refusal.WRONG_TYPE:
        return StateUnreadable(key, "it is of another type")
    raise reply


def signals_of(reply: Sequence[Any], symbols: Sequence[str]) -> tuple[list[str], dict[str, ResponseError]]:
    """What `lua/orders/publish.lua` replied of these symbols: those whose lease is another's now, of which nothing was
    written, and those of which a key refuses, with its error."""
    fenced, refused = list[str](), dict[str, ResponseError]()
    for position, signal in zip(reply[::2], reply[1::2], strict=True):
        kind, _, error = signal.decode(errors="replace").partition(" ")
        if kind == "FENCED":
            fenced.append(symbols[position - 1])
        else:
            refused[symbols[position - 1]] = ResponseError(error)
    return fenced, refused
