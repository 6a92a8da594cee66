"""Who may ask: which names this server answers to, which pages may connect, and whose token is known.

A page of another site can make the visitor's browser ask this server under a name of that site (DNS rebinding), so only
names known to be ours are answered. Beyond loopback a token is asked for, unless the settings say `api.open = true`.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest
from typing import Final
from urllib.parse import urlsplit

from aiohttp import HttpVersion11, web
from prometheus_client import Counter

from workers.errors import OriginRefused, SettingsError, TokenNeeded, WrongHost
from workers.model.host_names import address_of, host_of, is_loopback_host
from workers.settings.api import ApiSettings

REFUSED: Final = Counter("fleet_api_refused_total", "Requests refused before anything was looked at", ["why"])

WITHOUT_TOKEN: Final = frozenset({"/", "/dashboard/{name}", "/docs", "/openapi.json", "/healthz", "/livez"})
"""What says nothing of the market: the page that asks for the token, the description, and whether all is well."""
PROTOCOL: Final = "marketfleet"
"""The subprotocol a WebSocket client names beside `bearer.<token>`, where it cannot send a header."""


class Access:
    """The guard before every request.

    Raises:
        SettingsError: anybody on the network could ask, and the settings do not say that this is meant.
    """

    def __init__(self, settings: ApiSettings) -> None:
        if not (settings.open or settings.token_sha256 or is_loopback_host(host_of(settings.host))):
            problem = "other machines could ask without a token: set api.token_sha256, or api.open = true"
            raise SettingsError("api.host", problem)
        self._digests = [bytes.fromhex(digest) for digest in settings.token_sha256]
        self._names = {host_of(name) for name in (settings.host, *settings.hosts)} - {""}
        self._origins = settings.cors_origins

    @property
    def is_locked(self) -> bool:
        """Whether a token is asked for."""
        return bool(self._digests)

    def check(self, request: web.Request, path: str) -> None:
        """Let a request pass, or not.

        Args:
            path: as it is declared.

        Raises:
            WrongHost: it is for a server of another name.
            TokenNeeded: it has no token, or one that is not known.
        """
        if not self._is_ours(request):
            REFUSED.labels("host").inc()
            host = request.headers.get("Host", "")[:80]
            detail = "api.hosts names those by which this one may be asked"
            raise WrongHost(f"No server of the name {host!r} is here", detail, "Host")
        if self._digests and path not in WITHOUT_TOKEN and not self._knows(request):
            REFUSED.labels("token").inc()
            detail = "send Authorization: Bearer and a token of which api.token_sha256 has the SHA-256"
            raise TokenNeeded("A token is needed", detail, "Authorization")

    def check_origin(self, request: web.Request) -> None:
        """Let a page of this server, or of `api.cors_origins`, connect. Raises: OriginRefused."""
        origin = request.headers.get("Origin", "")
        if not origin or origin in self._origins or "*" in self._origins:
            return
        try:
            name = urlsplit(origin).netloc.lower()
        except ValueError:  # it is no address
            name = ""
        if name != request.headers.get("Host", "").lower():
            REFUSED.labels("origin").inc()
            detail = "api.cors_origins names those that may"
            raise OriginRefused("Pages of this origin may not connect", detail, "Origin")

    def _is_ours(self, request: web.Request) -> bool:
        header = request.headers.get("Host")
        if header is None:  # every browser sends it; HTTP/1.0 does not ask for it
            return request.version < HttpVersion11
        name = host_of(header)
        if name in self._names or is_loopback_host(name):
            return True
        transport = request.transport
        bound = transport.get_extra_info("sockname") if transport is not None else None
        if not isinstance(bound, Sequence) or isinstance(bound, str | bytes):
            return False
        here = address_of(str(bound[0]))  # the address the connection came in at
        return here is not None and here == address_of(name)

    def _knows(self, request: web.Request) -> bool:
        digest = sha256(_token(request).encode("utf-8", "surrogateescape")).digest()
        return any(compare_digest(digest, known) for known in self._digests)


def _token(request: web.Request) -> str:
    """What a request brings to identify itself; empty where it brings nothing."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return token.strip()
    offered = map(str.strip, request.headers.get("Sec-WebSocket-Protocol", "").split(","))
    return next(
        (protocol.removeprefix("bearer.") for protocol in offered if protocol.startswith("bearer.")), ""
    )
