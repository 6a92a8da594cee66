"""REST of a simulated exchange without a server: the handler of a route is asked in the time of the market."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any, Final, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from aiohttp import web

from workers.sim.engine.exchange import Exchange
from workers.venues.requests import Post, RestRequest

ADDRESS: Final = "192.0.2.1"
_PARAMETER: Final = re.compile(r"\{(\w+)\}")


class ModelRest:
    """What an exchange answers."""

    def __init__(self, exchange: Exchange[Any]) -> None:
        routes = cast("Any", exchange.flavour).rest(exchange, lambda: exchange.now_ms).routes()
        self._routes = [(re.compile(_PARAMETER.sub(r"(?P<\1>[^/]+)", route.path)), route) for route in routes]

    def get(self, url: str) -> bytes | None:
        """The body of a good answer to a GET."""
        return self.ask(RestRequest(url, 1, "", 0))

    def ask(self, asked: RestRequest) -> bytes | None:
        """The body of a good answer; None for another one.

        Raises:
            LookupError: the exchange has no such path.
        """
        parts = urlsplit(asked.url)
        path, post = unquote(parts.path), asked.post or Post("", {})

        async def text() -> str:
            return post.body

        for pattern, route in self._routes:
            if match := pattern.fullmatch(path):
                request = SimpleNamespace(
                    headers=post.headers,
                    text=text,
                    query=dict(parse_qsl(parts.query)),
                    match_info=match.groupdict(),
                    path=path,
                    remote=ADDRESS,
                    transport=None,
                )
                return _answer(route.handler, cast("web.Request", request))
        raise LookupError(path)


def _answer(
    handler: Callable[[web.Request], Coroutine[Any, Any, web.Response]], request: web.Request
) -> bytes | None:
    """What a handler returns that waits for nothing."""
    coroutine = handler(request)
    try:
        coroutine.send(None)
    except StopIteration as done:
        response: web.Response = done.value
        return response.body if response.status == 200 and isinstance(response.body, bytes) else None
    coroutine.close()
    return None
