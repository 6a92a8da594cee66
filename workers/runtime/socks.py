"""Connections through a SOCKS proxy; needs the extra `socks`."""

from __future__ import annotations

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.tracing import Trace
from aiohttp_socks import ProxyConnectionError, ProxyConnector, ProxyError, ProxyTimeoutError


class _SocksConnector(ProxyConnector):
    """What the proxy refuses, or that it is away, is an error of aiohttp, as that of any other connection."""

    async def _create_connection(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 -- aiohttp's own signature
    ) -> ResponseHandler:
        try:
            return await super()._create_connection(req, traces, timeout)
        except ProxyError as error:
            raise aiohttp.ClientConnectionError(f"the SOCKS proxy refused: {error}") from error
        except (ProxyConnectionError, ProxyTimeoutError) as error:  # they have no base in common
            raise aiohttp.ClientConnectionError(f"the SOCKS proxy does not answer: {error}") from error


def socks_connector(proxy: str, limit: int) -> aiohttp.BaseConnector:
    """A connector through `socks4://`, `socks5://` or `socks5h://`; host names are resolved by a SOCKS 5 proxy itself.

    Args:
        limit: connections at the same time; 0: any number.
    """
    scheme, _, rest = proxy.partition("://")
    plain = scheme.removesuffix("h")
    return _SocksConnector.from_url(f"{plain}://{rest}", limit=limit, rdns=plain == "socks5")
