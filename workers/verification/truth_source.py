"""Asking the simulated exchange what really happened."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import msgspec

from workers.errors import CommandError
from workers.runtime.rest_reply import printable, read_body
from workers.verification.truth import Levels, TruthTrade

PAGE: Final = 50_000
TIMEOUT_S: Final = 20.0
MOST_BYTES: Final = 256 * 2**20
"""Of one answer; a page of trades has some 10 MB."""


@dataclass(frozen=True)
class TruthBook:
    """A book exactly as after an update id."""

    bids: Levels
    asks: Levels


class TruthSource:
    """The ground truth endpoints of one simulated exchange.

    Args:
        url: its base, such as `http://127.0.0.1:7400`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()

    async def _ask(self, method: str, path: str, **query: str | int) -> Any:
        assert self._session is not None
        try:
            async with self._session.request(
                method, self.url + path, params=query, allow_redirects=False
            ) as response:
                body, overlong = await read_body(response, MOST_BYTES)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise CommandError(f"The simulated exchange at {self.url} does not answer: {error!r}.") from error
        if overlong:
            raise CommandError(f"{self.url}{path} with {query} answers with more than {MOST_BYTES:,} bytes.")
        if response.status != 200:
            raise CommandError(
                f"{path} with {query} gave status {response.status}: {printable(body[:200].decode(errors='replace'))}"
            )
        return msgspec.json.decode(body)

    async def ready(self) -> bool:
        """Whether the exchange answers."""
        try:
            await self.summary()
        except CommandError:
            return False
        return True

    async def summary(self) -> dict[str, dict[str, Any]]:
        """Per market and symbol, the first and last ids of everything."""
        found: dict[str, dict[str, Any]] = (await self._ask("GET", "/control/truth/summary"))["markets"]
        return found

    async def book(
        self, market: str, symbol: str, update_id: int | None, depth: int | None = None, stream: int = 0
    ) -> TruthBook:
        """The book exactly as after `update_id` (None: as it is now); all levels, or the best `depth`.

        Args:
            stream: the levels of the stream whose id that is, where an exchange numbers each depth apart.
        """
        query: dict[str, str | int] = {"market": market, "symbol": symbol}
        if update_id is not None:
            query |= {"u": update_id, "stream": stream}
        if depth is not None:
            query["depth"] = depth
        found = await self._ask("GET", "/control/truth/book", **query)
        return TruthBook(found["bids"], found["asks"])

    async def trades(self, market: str, symbol: str, from_id: int) -> list[TruthTrade]:
        """Every aggregate trade from an id on."""
        trades: list[TruthTrade] = []
        while True:
            found = await self._ask(
                "GET", "/control/truth/trades", market=market, symbol=symbol, from_id=from_id, limit=PAGE
            )
            trades += [TruthTrade.of(row) for row in found["trades"]]
            if len(found["trades"]) < PAGE:
                return trades
            from_id = trades[-1].trade_id + 1

    async def orders(self, market: str, symbol: str) -> dict[str, Any]:
        """Every single order of a symbol as it is now, and after which event."""
        found: dict[str, Any] = await self._ask("GET", "/control/truth/orders", market=market, symbol=symbol)
        return found

    async def pause(self) -> None:
        """Stop the markets; everything generated has been sent when this returns."""
        await self._ask("POST", "/control/pause")
