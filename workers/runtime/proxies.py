"""By which way a venue is reached: directly, or through a proxy of the settings or of the environment."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass
from warnings import catch_warnings, simplefilter

import aiohttp
import structlog
from yarl import URL

from workers.errors import ExtraMissing, SettingsError
from workers.masking import mask
from workers.model.host_names import is_loopback_host
from workers.runtime.context import VenueContext
from workers.settings.proxies import SOCKS, check_proxy
from workers.settings.schema import DIRECT

log = structlog.get_logger()

_WEB_SCHEMES: Final = {"ws": "http", "wss": "https"}
"""Proxies of the environment are named for HTTP; a websocket begins as HTTP."""


def proxy_for(url: str, setting: str) -> str:
    """The proxy by which a URL is reached; empty: directly.

    A venue's own setting goes before the environment (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, in small letters
    too), and is meant as it stands: `NO_PROXY` is the environment's. This machine itself is never behind a proxy
    of the environment.

    Raises:
        SettingsError: the environment names one that cannot be used.
    """
    if setting:
        return "" if setting == DIRECT else setting
    parts = urlsplit(url)
    host = parts.hostname or ""
    found: Mapping[str, str] = getproxies_environment()
    if is_loopback_host(host) or proxy_bypass(_with_port(host, parts.port)):
        return ""
    kind = _WEB_SCHEMES.get(parts.scheme, parts.scheme)
    kind = kind if found.get(kind) else "all"
    proxy = found.get(kind, "")
    proxy = proxy if "://" in proxy or not proxy else f"http://{proxy}"
    check_proxy(f"{kind.upper()}_PROXY of the environment", proxy, SettingsError)
    return proxy


def _with_port(host: str, port: int | None) -> str:
    return f"{host}:{port}" if port else host


def socks_available() -> bool:
    """Whether SOCKS proxies can be used: the extra `socks` is installed."""
    return find_spec("aiohttp_socks") is not None


async def sent_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Fail where a connection ends without an answer: aiohttp would send a GET again, which no budget has granted."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise  # nothing was sent, nor would be again
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError(str(error) or type(error).__name__) from error


def open_session(
    proxy: str, *, limit: int = 100, headers: Mapping[str, str] | None = None, timeout_s: float | None = 300.0
) -> aiohttp.ClientSession:
    """A session all of whose requests and sockets go through a proxy (empty: directly).

    It keeps no cookies: what a reply set would go out with every later request, and a few of them are more than
    a server takes.

    Raises:
        ExtraMissing: it is a SOCKS proxy, and the extra `socks` is not installed.
    """
    opened = partial(
        aiohttp.ClientSession,
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        cookie_jar=aiohttp.DummyCookieJar(),
        middlewares=(sent_once,),
    )
    if urlsplit(proxy).scheme in SOCKS:
        if not socks_available():
            raise ExtraMissing("SOCKS proxies", "aiohttp-socks", "socks")
        from workers.runtime.socks import socks_connector  # noqa: PLC0415 -- needs the extra

        return opened(connector=socks_connector(proxy, limit))
    connector = aiohttp.TCPConnector(limit=limit)
    if not proxy:
        return opened(connector=connector)
    url = URL(proxy)
    # Apart from the URL, which stands in aiohttp's error messages; it has no other way for a session before 4.0.
    with catch_warnings():
        simplefilter("ignore", DeprecationWarning)
        auth = aiohttp.BasicAuth(url.user, url.password or "") if url.user else None
        return opened(connector=connector, proxy=url.with_user(None), proxy_auth=auth)


class Sessions:
    """The HTTP sessions of a process, one for each proxy; `async with Sessions() as sessions`.

    Args:
        limit: connections of one session at the same time; 0: any number.
        timeout_s: for a whole request; None: none.
        direct: use no proxy, whatever the settings say (what is asked is this machine).
    """

    def __init__(
        self,
        *,
        limit: int = 100,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = 300.0,
        direct: bool = False,
    ) -> None:
        self._limit = limit
        self._headers = headers
        self._timeout_s = timeout_s
        self._direct = direct
        self._by_proxy: dict[str, aiohttp.ClientSession] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for session in self._by_proxy.values():
            await session.close()

    def rest(self, context: VenueContext) -> aiohttp.ClientSession:
        """The session for a venue's REST requests. Raises: ExtraMissing, SettingsError."""
        return self._of(context, context.venue.info_request().url)

    def sockets(self, context: VenueContext) -> aiohttp.ClientSession:
        """The session for a venue's sockets. Raises: ExtraMissing, SettingsError."""
        return self._of(context, context.venue.endpoints(["A"])[0].url)

    def _of(self, context: VenueContext, url: str) -> aiohttp.ClientSession:
        proxy = "" if self._direct else proxy_for(url, context.settings.proxy)
        session = self._by_proxy.get(proxy)
        if session is None:
            if proxy:
                log.info("proxy_used", venue=context.name, proxy=mask(proxy), host=urlsplit(url).hostname)
            session = self._by_proxy[proxy] = open_session(
                proxy, limit=self._limit, headers=self._headers, timeout_s=self._timeout_s
            )
        return session
