"""Replies of a pipeline whose commands succeed or fail each by itself."""

from __future__ import annotations

from typing import Any

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
