"""What is told to the load generator, and what it tells."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import aiohttp
import msgspec

from workers.bench.tape import Tape, names, update_id
from workers.errors import CommandError

TIMEOUT_S: Final = 30.0


class Sent(NamedTuple):
    """What was sent of one symbol."""

    tape: Tape
    depth_us: list[int]
    trade_ms: list[int]

    @property
    def update_id(self) -> int:
        """Where its book stands."""
        return update_id(len(self.depth_us))


class _Times(msgspec.Struct):
    depth_us: list[int]
    trade_ms: list[int]


class State(msgspec.Struct):
    """Of the generator."""

    messages: int
    streams: int
    """That somebody subscribed to."""
    unsent_bytes: int
    """That its readers have not taken yet."""


class Exchange:
    """The load generator at a port of loopback."""

    def __init__(self, port: int, symbols: int) -> None:
        self._url = f"http://127.0.0.1:{port}/bench/"
        self._tapes = {name: Tape(name, number) for number, name in enumerate(names(symbols))}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()

    async def _ask(self, path: str, kind: Any, **query: str) -> Any:
        assert self._session is not None
        try:
            async with self._session.get(self._url + path, params=query) as response:
                return msgspec.json.decode(await response.read(), type=kind)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise CommandError(f"The load generator does not answer: {error!r}.") from error

    async def answers(self) -> bool:
        """Whether it is there."""
        try:
            await self.state()
        except CommandError:
            return False
        return True

    async def set_rate(self, messages_a_second: float) -> None:
        """From now on send so many."""
        await self._ask("rate", dict[str, int], value=str(messages_a_second))

    async def state(self) -> State:
        """What it has done."""
        found: State = await self._ask("state", State)
        return found

    async def sent(self) -> dict[str, Sent]:
        """When it sent each event, by symbol."""
        found: dict[str, _Times] = await self._ask("sent", dict[str, _Times])
        return {
            name: Sent(self._tapes[name], times.depth_us, times.trade_ms) for name, times in found.items()
        }
