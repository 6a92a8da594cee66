"""The alerts in Redis: the open ones, what became of them, and how far their owner has looked.

Only the owner of the lease writes them; whoever likes reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

import msgspec
from redis.asyncio import Redis

from workers.errors import LeaseLost
from workers.model.alerts.records import (
    EVENTS,
    Alert,
    Change,
    Comment,
    Event,
    Past,
    decode_alert,
    decode_comment,
    decode_past,
    encode,
    field_of,
)
from workers.store import keys as names
from workers.store.keys import Keys
from workers.store.replies import unusable
from workers.store.scripts import Argument, Scripts

LEASE: Final = "alerts"
"""What the owner has the lease of: all alerts."""
ROLE: Final = "alerts"


class AlertEntry(NamedTuple):
    """An entry of the stream `alerts`."""

    id: str
    event: Event
    record: Alert | Comment


class Passed(NamedTuple):
    """Entries of the stream that are passed over: how many, the last one's id, and those of ours."""

    entries: int
    last: str
    alerts: list[AlertEntry]


class OpenAlert(NamedTuple):
    """An alert that is open, and what a machine said of it, if anything."""

    alert: Alert
    comment: Comment | None


class TakenUp(NamedTuple):
    """What a new owner of the alerts finds: those that are open, and what its predecessor knew besides."""

    opened: list[Alert]
    pasts: list[Past]


class AlertBook:
    """The alerts of a fleet.

    Args:
        kept: entries kept, about, in the stream.
    """

    def __init__(self, client: Redis, kept: int = 10_000) -> None:
        self._client: Any = client
        self._scripts = Scripts(client)
        self._kept = kept

    async def commit(
        self,
        token: int,
        changes: Sequence[Change] = (),
        places: Mapping[str, str] | None = None,
        comments: Sequence[tuple[str, Comment]] = (),
        pasts: Mapping[str, Past | None] | None = None,
    ) -> None:
        """Store and tell changes, and comments by the fields of their alerts; the same again changes nothing. One
        call.

        Args:
            pasts: by field, what is to be known besides; None: nothing any more.

        Raises:
            LeaseLost: another worker owns the alerts now.
        """
        rows: list[Argument] = []
        for change in changes:
            rows += [change.event, change.field, change.alert.id, encode(change.alert)]
        for field, comment in comments:
            rows += ["commented", field, comment.alert, encode(comment)]
        if not rows and not places and not pasts:
            return
        arguments = [token, self._kept, len(rows) // 4, len(pasts or {}), *rows]
        for field, past in (pasts or {}).items():
            arguments += [field, encode(past) if past is not None else b""]
        for name, place in (places or {}).items():
            arguments += [name, place]
        keys = [
            Keys().lease(ROLE, LEASE),
            names.ALERTS,
            names.OPEN_ALERTS,
            names.ALERT_COMMENTS,
            names.ALERT_PLACES,
            names.ALERT_PASTS,
        ]
        if await self._scripts.run("alerts/commit", keys, arguments) < 0:
            raise LeaseLost(LEASE, token)

    async def places(self) -> dict[str, str]:
        """How far each stream was looked at, and alerts were sent. One round trip."""
        found = await self._client.hgetall(names.ALERT_PLACES)
        return {
            name.decode(errors="replace"): place.decode(errors="replace") for name, place in found.items()
        }

    async def take_up(self) -> TakenUp:
        """What a new owner goes on with. It removes what is no alert: nothing else could open there."""
        opened = await self.opened()
        fields = {field_of(one.alert.rule, one.alert.target) for one in opened}
        held = await self._client.hkeys(names.OPEN_ALERTS)
        if others := [field for field in held if field.decode(errors="replace") not in fields]:
            await self._client.hdel(names.OPEN_ALERTS, *others)
        pasts = list[Past]()
        for field, value in (await self._client.hgetall(names.ALERT_PASTS)).items():
            try:
                past = decode_past(value)
            except msgspec.MsgspecError:
                past = None
            if past is None or field.decode(errors="replace") != field_of(past.rule, past.target):
                await self._client.hdel(names.ALERT_PASTS, field)
            else:
                pasts.append(past)
        return TakenUp([one.alert for one in opened], pasts)

    async def opened(self) -> list[OpenAlert]:
        """The open alerts, the oldest first; what is no alert of ours is left out. One round trip.

        Raises:
            StateUnreadable: a key is of another type.
        """
        pipe = self._client.pipeline(transaction=False)
        keys = names.OPEN_ALERTS, names.ALERT_COMMENTS
        for key in keys:
            pipe.hgetall(key)
        replies = await pipe.execute(raise_on_error=False)
        for key, reply in zip(keys, replies, strict=True):
            if (problem := unusable(key, reply)) is not None:
                raise problem
        held, comments = replies
        found = []
        for field, value in held.items():
            try:
                alert = decode_alert(value.partition(b"\n")[2])
                comment = decode_comment(comments[field]) if field in comments else None
            except msgspec.MsgspecError:
                continue
            if field.decode(errors="replace") == field_of(alert.rule, alert.target):
                found.append(OpenAlert(alert, comment if comment and comment.alert == alert.id else None))
        return sorted(found, key=lambda one: (one.alert.fired_ms, one.alert.id))

    async def owner(self) -> str:
        """The worker that looks; empty: nobody does. One round trip."""
        found = await self._client.hget(Keys().lease(ROLE, LEASE), "owner")
        return found.decode(errors="replace") if found else ""

    async def newest(self, count: int) -> list[AlertEntry]:
        """What became of alerts, newest first. One round trip."""
        return alert_entries(await self._client.xrevrange(names.ALERTS, count=count))

    async def after(self, place: str, count: int) -> list[AlertEntry]:
        """The entries after one, the oldest first, at most so many. One round trip, and one more for each so many of
        others that stand before ours."""
        while found := await self._client.xrange(names.ALERTS, min=f"({place}", max="+", count=count):
            if entries := alert_entries(found):
                return entries
            place = found[-1][0].decode()
        return []

    async def last(self) -> str:
        """The id of the newest entry; `0-0` where there is none. One round trip."""
        found = await self._client.xrevrange(names.ALERTS, count=1)
        return found[0][0].decode() if found else "0-0"

    async def waiting(self, place: str, most: int) -> list[str]:
        """The ids of the newest entries after one, newest first, at most so many. One round trip."""
        found = await self._client.xrevrange(names.ALERTS, max="+", min=f"({place}", count=most)
        return [entry_id.decode() for entry_id, _ in found]

    async def passed(self, place: str, end: str, count: int) -> Passed:
        """The oldest entries after one, up to an end, at most so many. One round trip."""
        found = await self._client.xrange(names.ALERTS, min=f"({place}", max=end, count=count)
        return Passed(len(found), found[-1][0].decode() if found else end, alert_entries(found))

    async def spend(self, now_ms: int, questions: int, tokens_a_day: int, cost: int) -> bool:
        """Reserve a question of a cost in tokens, or give back tokens (negative); False: a limit is reached. One
        call."""
        hour, day = now_ms // 3_600_000, now_ms // 86_400_000
        arguments = [hour, questions, day, tokens_a_day, cost]
        return bool(await self._scripts.run("alerts/spend", [names.ALERT_SPENDING], arguments))


def alert_entries(entries: Sequence[Any]) -> list[AlertEntry]:
    """Entries of the stream; what others wrote into it is left out."""
    found = []
    for entry_id, fields in entries:
        event = fields.get(b"event", b"").decode(errors="replace")
        if event not in EVENTS:
            continue
        decode = decode_comment if event == "commented" else decode_alert
        try:
            found.append(AlertEntry(entry_id.decode(), cast(Event, event), decode(fields.get(b"data", b""))))
        except msgspec.MsgspecError:
            continue
    return found
