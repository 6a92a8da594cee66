"""What all readings have in common: one connection, places, a token, and going on after an outage."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from workers.client.naming import folded, keys_of, settled
from workers.client.records import Gap, Interrupted, Notice
from workers.client.tokens import Channel, Place, decode_token, encode_token
from workers.model.pauses import Pauses
from workers.store.connection import heeding_cancellation
from workers.store.keys import Keys
from workers.store.log.follower import (
    LAST_OF_MS,
    START,
    Entry,
    Lost,
    StreamFollower,
    before,
    last_ids,
    not_streams,
)
from workers.store.refusals import Refusal, refusal_of

BLOCK_MS: Final = 500
"""How long a read waits; far below the time after which a connection counts as dead."""
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 2.0
ASIDE_S: Final = 2.0
"""How long a key that is no stream is left alone."""
AWAY: Final = (RedisConnectionError, RedisTimeoutError, OSError)
"""What says that the server does not answer; a wrong password is told apart before."""

Record = TypeVar("Record")


class Feed(AsyncIterator["Record | Notice"], Generic[Record]):
    """Records of several symbols as they come, in the order of each symbol's stream, with notices among them.

    It ends when it is closed, never by itself. Redis may come and go meanwhile (`Interrupted`). Nothing is read ahead:
    while the records of one read are taken, the next is not asked for.

    Args:
        connect: makes the client to read with, which must not retry by itself.
        channel: `books`, `trades` or `bars`.
        symbols: `BTCUSDT` of the first venue, `spot:BTCUSDT` of another, in capitals or not.
        key_of: the stream of a symbol.
        resume: a token, to go on exactly where it was taken; symbols it does not name begin as without it.
        from_ms: begin with entries of this time; None: with what comes from now on.
    """

    channel: Channel

    def __init__(
        self,
        connect: Callable[[], Redis],
        symbols: Sequence[str],
        key_of: Callable[[Keys, str], str],
        resume: str | None,
        from_ms: int | None,
    ) -> None:
        if isinstance(symbols, str):
            symbols = [symbols]
        self.symbols = list(dict.fromkeys(map(folded, symbols)))
        self._connect = connect
        self._key_for = key_of
        self._resumed = decode_token(self.channel, resume) if resume else {}
        self._from_ms = from_ms = None if from_ms is None else max(from_ms, 1)
        self._name_of = {key_of(*keys_of(name)): name for name in self.symbols}
        self._key_of = {name: key for key, name in self._name_of.items()}
        self._queue: deque[tuple[str, Place | None, Record | Notice]] = deque()
        self._places: dict[str, Place] = {}
        if from_ms is not None:
            fresh = [name for name in self.symbols if name not in self._resumed]
            self._places = {name: Place(before(from_ms), -1, from_ms) for name in fresh}
        self._client: Any = None
        self._follower: StreamFollower | None = None
        self._aside: dict[str, tuple[str, float]] = {}
        """Keys that are no streams: the place to go on at, and since when they are left alone."""
        self._spoiled: set[str] = set()
        """Those of which a `Gap` says so."""
        self._closed = False
        self._pauses = Pauses(FIRST_PAUSE_S, LONGEST_PAUSE_S)

    @property
    def token(self) -> str:
        """Where the reading stands: after the last record that was taken.

        Before the first record is asked for, a reading that begins now stands nowhere yet.
        """
        return encode_token(self.channel, {**self._resumed, **self._places})

    async def aclose(self) -> None:
        """End the reading and its connection."""
        self._closed = True
        if self._client is not None:
            await self._client.aclose()

    async def __aenter__(self) -> Feed[Record]:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __aiter__(self) -> Feed[Record]:
        return self

    async def __anext__(self) -> Record | Notice:
        while not self._queue:
            if self._closed:
                raise StopAsyncIteration
            with heeding_cancellation():
                await self._fill()
        name, place, record = self._queue.popleft()
        if place is not None:
            self._places[name] = place
        return record

    def _put(self, name: str, place: Place | None, record: Record | Notice) -> None:
        """Add a record; once it is taken the symbol stands at `place`."""
        self._queue.append((name, place, record))

    async def _fill(self) -> None:
        """One read; an outage is waited for."""
        try:
            if self._follower is None:
                if self._client is None:
                    self._client = self._connect()
                self._follower = await self._start()
            await self._read(self._block_ms())
            await self._look()
            self._pauses.reset()
        except (AuthenticationError, ResponseError):
            raise
        except AWAY as error:
            if self._closed:
                return
            if isinstance(error.__cause__, AuthenticationError):
                raise error.__cause__ from None
            if self._pauses.is_first:
                self._queue.append(("", None, Interrupted(str(error) or type(error).__name__)))
            await asyncio.sleep(self._pauses.take())

    async def _read(self, block_ms: int) -> None:
        """Take what is new, and wait for it so long, ms."""
        assert self._follower is not None
        now = time.monotonic()
        for key in [key for key, (_, since) in self._aside.items() if now - since >= ASIDE_S]:
            self._follower.positions[key] = self._aside.pop(key)[0]
        try:
            followed = await self._follower.read(block_ms, self._wanted())
        except ResponseError as error:
            if refusal_of(error) is not Refusal.WRONG_TYPE:
                raise
            await self._set_aside(self._follower.positions)
            return
        for lost in followed.lost:
            self._lost(self._name_of[lost.key], lost)
        for key, entries in followed.entries.items():
            self._spoiled.discard(key)
            self._take(self._name_of[key], entries)

    async def _set_aside(self, positions: dict[str, str]) -> None:
        """Leave keys that are no streams alone for a while: each fails the read of all."""
        for key in await not_streams(self._client, list(positions)):
            position = positions.pop(key)
            self._aside[key] = position, time.monotonic()
            if key not in self._spoiled:
                self._spoiled.add(key)
                name = self._name_of[key]
                self._put(name, None, Gap(name, self.channel, "no stream", position, "", None))

    async def _start(self) -> StreamFollower:
        """Find where to begin."""
        self._rename(await settled(self._client, self.symbols))
        positions, named = {}, set()
        newest = await last_ids(self._client, list(self._name_of))
        for key, name in self._name_of.items():
            place = self._resumed.get(name) or self._places.get(name)
            if place is None:
                place = self._newest(newest.get(key, START))
            positions[key] = place.position
            if place.position != START and not place.position.endswith(f"-{LAST_OF_MS}"):
                named.add(key)
            self._places[name] = place
            self._begin(name, place)
        await self._began()
        return StreamFollower(self._client, positions, named)

    def _rename(self, names: Mapping[str, str]) -> None:
        """Take the names as keys have them: which venue is the first is known only now."""
        self.symbols = list(dict.fromkeys(names[name] for name in self.symbols))
        self._resumed = {names.get(name, name): place for name, place in self._resumed.items()}
        self._places = {names.get(name, name): place for name, place in self._places.items()}
        self._name_of = {self._key_for(*keys_of(name)): name for name in self.symbols}
        self._key_of = {name: key for key, name in self._name_of.items()}

    def _newest(self, position: str) -> Place:
        """The place after the newest entry there is."""
        return Place(position)

    def _block_ms(self) -> int:
        return BLOCK_MS

    def _wanted(self) -> list[str] | None:
        """The keys to read now; None: all."""
        return None

    def _begin(self, name: str, place: Place) -> None:
        """A symbol begins at a place."""

    async def _began(self) -> None:
        """All symbols have a place; nothing was read yet."""

    def _lost(self, name: str, lost: Lost) -> None:
        reason = "restarted" if lost.restarted else "trimmed"
        place = Place(START) if lost.restarted else None
        self._put(name, place, Gap(name, self.channel, reason, lost.after, lost.first, None))

    def _undecodable(self, name: str, position: str) -> None:
        place = Place(position) if position else None
        self._put(name, place, Gap(name, self.channel, "undecodable", position, position, None))

    @abstractmethod
    def _take(self, name: str, entries: Sequence[Entry]) -> None:
        """Make records of what a symbol's stream brought."""

    async def _look(self) -> None:
        """Called after every read, also one that brought nothing."""
