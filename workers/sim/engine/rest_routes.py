"""REST routes of a flavour that answers plain requests: faults, limits, refusals and the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

import msgspec
from aiohttp import web

from workers.sim.engine.faults import FaultBoard
from workers.sim.engine.limits import WeightPool
from workers.sim.engine.rest_faults import RestErrors, RestFaults

Query = Mapping[str, str]
"""The parameters of a request, those in its path too."""
Answer = Callable[[Query, RestFaults], object]


class WithHeaders(NamedTuple):
    """An answer that says something in its headers."""

    body: object
    headers: dict[str, str]


class RestRefusal(Exception):
    """A request that is answered with an error body."""

    def __init__(self, status: int, body: object) -> None:
        self.status = status
        self.body = body
        super().__init__(body)


class RestRoutes:
    """Makes routes of answers, which are values to be sent as JSON.

    Args:
        market_of: the market a request concerns, empty where it names none.
        symbol_key: the parameter, of the query or the path, that names a symbol.
        symbol_of: the simulator's name of it.
        refused: the answer to a request over the limit, where it is not what `errors` has.
    """

    def __init__(
        self,
        board: FaultBoard,
        clock_ms: Callable[[], float],
        errors: RestErrors,
        market_of: Callable[[Query], str],
        symbol_key: str,
        symbol_of: Callable[[str], str] = str,
        refused: Callable[[], web.Response] | None = None,
    ) -> None:
        self._board = board
        self._clock_ms = clock_ms
        self._errors = errors
        self._refused = refused or self._busy
        self._market_of = market_of
        self._symbol_key = symbol_key
        self._symbol_of = symbol_of

    def _busy(self) -> web.Response:
        return web.json_response(self._errors.busy, status=self._errors.busy_status)

    def route(self, path: str, pool: WeightPool, answer: Answer) -> web.RouteDef:
        """A route on which every request costs one of the pool."""
        return web.get(path, self._handler(pool, answer))

    def posted(self, path: str, pool: WeightPool, answer: Answer) -> web.RouteDef:
        """The same of a POST; the answer gets its headers too, and its text as `body`."""
        return web.post(path, self._handler(pool, answer, posted=True))

    def _handler(
        self, pool: WeightPool, answer: Answer, *, posted: bool = False
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            query: Query = {**request.query, **request.match_info}
            if posted:
                query = {**query, **request.headers, "body": await request.text()}
            faults = RestFaults(
                self._board,
                self._market_of(query),
                request,
                self._errors,
                symbol_key=self._symbol_key,
                symbol=self._symbol_of(query.get(self._symbol_key, "")),
            )
            await faults.before()
            verdict = pool.charge(request.remote or "", 1, self._clock_ms())
            instead = faults.instead({})
            if instead is not None:
                return instead
            if verdict.status != 200:
                return self._refused()
            headers: dict[str, str] = {}
            try:
                found = answer(query, faults)
                if isinstance(found, WithHeaders):
                    found, headers = found
                body, status = faults.after(msgspec.json.encode(found)), 200
            except RestRefusal as refusal:
                body, status = msgspec.json.encode(refusal.body), refusal.status
            return web.Response(status=status, body=body, content_type="application/json", headers=headers)

        return handle


def kept(answer: Answer, kept_ms: float, clock_ms: Callable[[], float]) -> Answer:
    """The answer as an edge gives it, which keeps what was asked with the same parameters for some time."""
    bodies: dict[tuple[tuple[str, str], ...], tuple[float, object]] = {}

    def given(query: Query, faults: RestFaults) -> object:
        now_ms, asked = clock_ms(), tuple(sorted(query.items()))
        for old in [key for key, (until_ms, _) in bodies.items() if until_ms <= now_ms]:
            del bodies[old]
        if asked not in bodies:
            bodies[asked] = now_ms + kept_ms, answer(query, faults)
        return bodies[asked][1]

    return given


def whole(query: Query, name: str, default: int, refusal: RestRefusal) -> int:
    """A parameter that is a whole number; the refusal is raised when it is none."""
    text = query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise refusal
    return int(text)
