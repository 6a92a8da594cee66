"""The fleet's own state in Redis: who is alive, and who owns which symbol.

Every live worker of a role sees the same list and computes the same owner for each symbol (rendezvous
hashing), so that few symbols move when a worker comes or goes. The lease makes it safe: only its holder's
fencing number is accepted by the scripts that write.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from redis.asyncio import Redis

from workers.errors import StateUnreadable
from workers.settings.schema import FleetSettings
from workers.store import keys as names
from workers.store.keys import Keys
from workers.store.replies import unusable
from workers.store.scripts import Scripts

MOST_DIGITS: Final = 15
"""Of a time in ms."""
AT_ONCE: Final = 250
"""Leases in one call: Redis serves nobody else meanwhile, for about a millisecond."""


class Registry:
    """Heartbeats of the workers.

    A heartbeat is a member of the role's sorted set, scored with the ms it runs out by the server's clock.
    """

    def __init__(self, client: Redis, settings: FleetSettings) -> None:
        self._client: Any = client
        self._lifetime_ms = settings.heartbeat_ms * 3
        self.late_ms = 0
        """How late this worker's own heartbeats may come: it is starved."""

    async def server_ms(self) -> int:
        """ms since 1970 by the server's clock, which all workers have in common."""
        return _milliseconds(await self._client.time())

    async def beat(
        self, role: str, name: str, details: Mapping[str, str | int | float]
    ) -> list[StateUnreadable]:
        """Say that a worker lives, and what it does; keys of another type are made anew, and returned.

        Two round trips.
        """
        bad = []
        types = {names.workers(role): b"zset", names.worker(name): b"hash"}
        looking = self._client.pipeline(transaction=False)
        looking.time()
        for key in types:
            looking.type(key)
        told, *kinds = await looking.execute()
        now = _milliseconds(told)
        for (key, wanted), kind in zip(types.items(), kinds, strict=True):
            if kind not in (b"none", wanted):
                bad.append(StateUnreadable(key, f"it was a {kind.decode()}, and is made anew"))
                await self._client.delete(key)
        pipe = self._client.pipeline(transaction=False)
        pipe.zadd(names.workers(role), {name: now + self._lifetime_ms + self.late_ms})
        pipe.zremrangebyscore(names.workers(role), "-inf", now - 10 * self._lifetime_ms)
        pipe.zremrangebyscore(names.workers(role), now + 10 * self._lifetime_ms, "+inf")  # nobody's heartbeat
        pipe.hset(names.worker(name), mapping={"role": role, "beat_ms": now, **details})
        pipe.pexpire(names.worker(name), self._lifetime_ms * 10)
        await pipe.execute()
        return bad

    async def leave(self, role: str, name: str) -> None:
        """Say that a worker stops, so that others need not wait for its heartbeat to run out."""
        pipe = self._client.pipeline(transaction=False)
        pipe.zrem(names.workers(role), name)
        pipe.delete(names.worker(name))
        await pipe.execute()

    async def live(self, role: str) -> list[str]:
        """The live workers of a role, sorted by name; nobody while the key holds another type. One round trip."""
        return (await self._living([role]))[0]

    async def _living(self, roles: Sequence[str]) -> list[list[str]]:
        pipe = self._client.pipeline(transaction=False)
        pipe.time()
        for role in roles:
            pipe.zrange(names.workers(role), 0, -1, withscores=True)
        told, *found = await pipe.execute(raise_on_error=False)
        if isinstance(told, Exception):
            raise told
        now = _milliseconds(told)
        end = now + 10 * self._lifetime_ms  # a later heartbeat is none: its worker would own symbols for ever
        return [
            []
            if unusable(names.workers(role), beats)
            else sorted(_text(name) for name, until in beats if now <= until < end)
            for role, beats in zip(roles, found, strict=True)
        ]

    async def workers(self, roles: Iterable[str]) -> list[dict[str, str]]:
        """What every live worker of the given roles says of itself, with `name` and `role`; text, whatever it says.

        Two round trips.
        """
        asked = list(roles)
        living = await self._living(asked)
        live = [(role, name) for role, found in zip(asked, living, strict=True) for name in found]
        if not live:
            return []
        pipe = self._client.pipeline(transaction=False)
        for _, name in live:
            pipe.hgetall(names.worker(name))
        told = []
        for (role, name), found in zip(live, await pipe.execute(raise_on_error=False), strict=True):
            fields = {} if unusable(names.worker(name), found) else found
            details = {_text(key): _text(value) for key, value in fields.items()}
            told.append({**details, "name": name, "role": role})
        return told


def _milliseconds(told: tuple[int, int]) -> int:
    """A time as the server tells it, in ms since 1970."""
    seconds, micros = told
    return int(seconds) * 1000 + int(micros) // 1000


def milliseconds_of(details: Mapping[str, str], name: str) -> int | None:
    """A time that a heartbeat tells, ms since 1970; None where it tells none, or rubbish."""
    text = details.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else None


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def owner_of(symbol: str, live: Collection[str]) -> str | None:
    """The live worker that should own a symbol, by rendezvous hashing; None when there is none."""

    def weight(worker: str) -> bytes:
        return hashlib.blake2b(f"{worker}\0{symbol}".encode(), digest_size=8).digest()

    return max(live, key=weight, default=None)


def share_of(worker: str, symbols: Collection[str], live: Collection[str]) -> set[str]:
    """The symbols a worker should own: balanced to within one symbol, with few moves.

    Symbols are dealt in a fixed order; each goes to its best worker that still has room. Cost:
    O(symbols x workers).
    """
    if worker not in live:
        return set()
    room = dict.fromkeys(live, -(-len(symbols) // len(live)))
    mine = set()
    for symbol in sorted(symbols):
        owner = owner_of(symbol, [name for name, left in room.items() if left > 0])
        if owner is None:
            break
        room[owner] -= 1
        if owner == worker:
            mine.add(symbol)
    return mine


class Leases:
    """The leases one worker holds in one role of one venue.

    `held` maps a symbol to its fencing number; a lease is trusted only until `safe_until` (monotonic
    seconds), which is earlier than the server's expiry by a margin. One that has run out is renewed all the same while
    nobody has taken the symbol since.
    """

    def __init__(self, client: Redis, keys: Keys, role: str, worker: str, lease_ms: int) -> None:
        self._scripts = Scripts(client)
        self._keys = keys
        self._role = role
        self._worker = worker
        self.length_ms = lease_ms
        """How long a lease taken or renewed now runs; its holder lengthens it while it is starved."""
        self.held: dict[str, int] = {}
        self.replaced: dict[str, StateUnreadable] = {}
        """By symbol, what was found instead of a lease or a fence and replaced, until somebody takes it out."""
        self._safe_until: dict[str, float] = {}
        self._releasing: set[str] = set()

    async def _run(self, action: str, symbols: Sequence[str]) -> list[Any]:
        """One reply a symbol, in order; what failed has its error there. Cost: one call for `AT_ONCE` symbols."""
        replies: list[Any] = []
        for first in range(0, len(symbols), AT_ONCE):
            some = symbols[first : first + AT_ONCE]
            keys = [
                key
                for symbol in some
                for key in (self._keys.lease(self._role, symbol), self._keys.fence(self._role, symbol))
            ]
            held = [self.held.get(symbol, "") for symbol in some]
            replies += await self._scripts.run(
                "fleet/lease", keys, [action, self._worker, self.length_ms, *held]
            )
        return replies

    def _token(self, symbol: str, reply: Any) -> int | None:
        """The fencing number of a reply; None for an error. Takes note of what the script had to replace."""
        if isinstance(reply, list):
            key = (
                self._keys.fence(self._role, symbol)
                if reply[1] == b"fence"
                else self._keys.lease(self._role, symbol)
            )
            self.replaced[symbol] = StateUnreadable(key, f"it was no {reply[1].decode()}, and was made anew")
            return int(reply[0])
        return reply if isinstance(reply, int) else None

    async def take(self, symbols: Iterable[str]) -> set[str]:
        """Try to take symbols; those taken now (not those already held)."""
        wanted = [symbol for symbol in symbols if symbol not in self.held]
        started, length_s = time.monotonic(), self.length_ms / 1000
        replies = await self._run("take", wanted)
        taken = set()
        for symbol, reply in zip(wanted, replies, strict=True):
            token = self._token(symbol, reply)
            if token is not None and token > 0:
                self.held[symbol] = token
                self._safe_until[symbol] = started + length_s * 0.9
                taken.add(symbol)
        return taken

    async def renew(self) -> set[str]:
        """Renew everything held; the symbols lost to another worker (or to expiry) are returned."""
        symbols = [symbol for symbol in self.held if symbol not in self._releasing]
        started, length_s = time.monotonic(), self.length_ms / 1000
        replies = await self._run("renew", symbols)
        lost = set()
        for symbol, reply in zip(symbols, replies, strict=True):
            if symbol not in self.held:
                continue  # forgotten meanwhile
            token = self._token(symbol, reply)
            if token == self.held[symbol]:
                self._safe_until[symbol] = started + length_s * 0.9
            elif token is not None:
                lost.add(symbol)
                self.forget(symbol)
        return lost

    async def release(self, symbols: Iterable[str]) -> None:
        """Give symbols back, so that another worker may take them at once."""
        given = [symbol for symbol in symbols if symbol in self.held]
        self._releasing.update(given)  # a renewal on its way after it would bring the lease back
        try:
            await self._run("release", given)
        finally:
            self._releasing.difference_update(given)
        for symbol in given:
            self.forget(symbol)

    def forget(self, symbol: str) -> None:
        """Drop a lease without asking: somebody told us that it is lost."""
        self.held.pop(symbol, None)
        self._safe_until.pop(symbol, None)

    def safe(self, symbol: str) -> bool:
        """Whether the lease surely has not run out yet."""
        return time.monotonic() < self._safe_until.get(symbol, 0.0)
