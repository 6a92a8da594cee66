"""The streams `derivatives:{S}` and `liquidations:{S}`: written by the keeper, read by everybody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from workers.errors import StateUnreadable
from workers.model.derivatives.figures import FIGURES, Figures, Liquidation
from workers.store.log.streams import parts
from workers.store.replies import unusable
from workers.store.scripts import Argument, Scripts

PER_CALL: Final = 200
"""Streams of one script call: a few ms of the server's time."""
PER_ENTRY: Final = 1_000
"""Liquidations of one entry of the log: their ids stay below those of the next one."""
_REPEATED: Final = "equal or smaller"
"""Of the server's error for an id that is not beyond the last."""


class Appended(NamedTuple):
    """What became of some updates."""

    appended: int
    bad: list[StateUnreadable]
    """Keys of another type."""


def liquidation_id(raw_id: str, place: int) -> str:
    """The id of a liquidation, by that of the entry of the log that brought it, and its place there."""
    ms, number = parts(raw_id.encode())
    return f"{ms}-{number * PER_ENTRY + min(place, PER_ENTRY - 1)}"


def liquidation_fields(row: Liquidation) -> dict[str, str | int]:
    """The fields of an entry; what the exchange does not tell is absent."""
    fields: dict[str, str | int] = {
        "side": row.side,
        "price": row.price,
        "quantity": row.quantity,
        "time": row.time_ms,
        "event_time": row.event_time_ms,
    }
    if row.average_price:
        fields["average_price"] = row.average_price
    if row.name:
        fields["id"] = row.name
    return fields


class DerivativeStreams:
    """The write side. All writes may be repeated: what is there already is not appended again."""

    def __init__(self, client: Redis) -> None:
        self._client: Any = client
        self._scripts = Scripts(client)

    async def merge(self, updates: Mapping[str, Figures], retention_ms: int) -> Appended:
        """Append what is newly known, by key of `derivatives:{S}`. A round trip per 200 keys."""
        keys, appended, bad = list(updates), 0, list[StateUnreadable]()
        for first in range(0, len(keys), PER_CALL):
            page = keys[first : first + PER_CALL]
            flat: list[Argument] = []
            for index, key in enumerate(page, 1):
                for name in FIGURES:
                    if (figure := updates[key].get(name)) is not None:
                        flat += [index, name, figure.value, figure.time_ms]
            reply = await self._scripts.run("derivatives/merge", page, [retention_ms, len(flat) // 4, *flat])
            appended += reply[0]
            bad += [StateUnreadable(page[index - 1], "it is of another type") for index in reply[1:]]
        return Appended(appended, bad)

    async def liquidations(self, rows: Sequence[tuple[str, str, Liquidation]], retention_ms: int) -> Appended:
        """Append liquidations, each by key of `liquidations:{S}` and id. One round trip."""
        pipe = self._client.pipeline(transaction=False)
        for key, entry_id, row in rows:
            oldest = max(0, parts(entry_id.encode())[0] - retention_ms)
            pipe.xadd(key, liquidation_fields(row), id=entry_id, minid=oldest, approximate=True)
        appended, bad = 0, dict[str, StateUnreadable]()
        for (key, _, _), reply in zip(rows, await pipe.execute(raise_on_error=False), strict=True):
            if isinstance(reply, ResponseError) and _REPEATED in str(reply):
                continue
            if (problem := unusable(key, reply)) is not None:
                bad[key] = problem
            else:
                appended += 1
        return Appended(appended, list(bad.values()))
