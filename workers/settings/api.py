"""What can be set of the HTTP side: the role `api`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field

from workers.settings.numbers import Count, Port


class ApiSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """The HTTP side."""

    host: str = "127.0.0.1"
    """Address the API listens on. Beyond loopback it needs `token_sha256` or `open`."""
    token_sha256: list[Annotated[str, Meta(pattern="^[0-9a-fA-F]{64}$")]] = field(default_factory=list)
    """SHA-256 in hexadecimal of each token that may ask; empty: no token is needed."""
    open: bool = False
    """Answer anybody who reaches `host`, without a token."""
    hosts: list[str] = field(default_factory=list)
    """Names and addresses, besides loopback and the bound address, by which the server may be asked."""
    port: Port = 8080
    default_symbol: str = ""
    """The symbol of a request that names none; empty: the first symbol of the venue."""
    cors_origins: list[str] = field(default_factory=list)
    """Origins whose pages may read the API from a browser, such as `https://example.org`; `*`: all."""
    timeout_s: Annotated[float, Meta(gt=0)] = 10
    """Time an answer may take; then 503."""
    body_bytes: Count = 65_536
    """Largest body of a request."""
    gzip_bytes: Count = 4_096
    """Answers of this size or more are compressed for those who accept gzip."""
    most_rows: Count = 5_000
    """Most trades, bars, gaps or audits in one answer."""
    most_seconds: Count = 3_600
    """Most seconds in one answer of `/history/quantity`."""
    read_ms: Count = 10
    """Pause between two rounds of reading the streams that clients or replicas follow."""
    status_ms: Count = 100
    """How often the owners' statements about followed books are read; a withdrawn book is withheld as soon."""
    idle_s: Count = 60
    """A symbol nobody asked for this long is no longer followed."""
    publish_ms: Count = 100
    """Least pause between two messages of one book to a client."""
    most_clients: Count = 1_000
    """WebSocket and SSE connections at the same time; more are refused."""
    most_subscriptions: Count = 200
    """Subscriptions of one connection."""
    client_queue: Count = 1_000
    """Trade and bar messages held for a client that reads too slowly; beyond it they are dropped and counted."""
    heartbeat_s: Annotated[float, Meta(gt=0)] = 20
    """Pause between two pings; a client that does not answer within half of it is disconnected."""
    most_connections: Count = 2_000
    """Connections at the same time, as far as the system's limit of open files allows; whoever has been idle longest
    makes room for more."""
    most_connections_of_address: Count = 200
    """The same for each address but this machine's own; a proxy on another machine has one for all its clients."""
    request_s: Annotated[float, Meta(gt=0)] = 10
    """Time a new connection may take to send its first request's head."""
    keepalive_s: Annotated[float, Meta(gt=0)] = 75
    """Time a connection may be idle between two requests."""
    unread_s: Annotated[float, Meta(gt=0)] = 20
    """Time a client may read nothing of what waits for it."""
    unsent_bytes: Count = 67_108_864
    """Bytes that may wait for all clients together; beyond it those for whom most waits are disconnected."""
