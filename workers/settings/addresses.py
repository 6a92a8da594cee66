"""Where a Redis server is: the forms of URL the fleet understands, checked before anything is done with them.

    redis://[[user]:password@]host[:port][/db]
    rediss://…                                    the same over TLS
    unix://[[user]:password@]/path[?db=1]
    redis+sentinel://[[user]:password@]host[:port][,host[:port]…]/master[/db]
    rediss+sentinel://…                           the same over TLS

Options follow after `?`. What the fleet must decide itself (the protocol, how replies are decoded) is left out where a
URL has it, because other programs share such URLs; what it does not know is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from workers.errors import AddressUnusable

SCHEMES: Final = ("redis://", "rediss://", "unix://", "redis+sentinel://", "rediss+sentinel://")
REDIS_PORT: Final = 6379
SENTINEL_PORT: Final = 26379

_NUMBERS: Final = {"socket_timeout": float, "socket_connect_timeout": float, "ssl_min_version": int}
_PLAIN: Final = frozenset(
    {"db", "username", "password", "client_name", "socket_keepalive", *_NUMBERS}
    | {f"ssl_{name}" for name in ("cert_reqs", "ca_certs", "ca_path", "ca_data", "certfile", "keyfile")}
    | {f"ssl_{name}" for name in ("password", "check_hostname", "ciphers")}
)
_OF_SENTINEL: Final = frozenset({"sentinel_username", "sentinel_password"})
_OURS: Final = frozenset(
    {
        "protocol",
        "decode_responses",
        "encoding",
        "encoding_errors",
        "health_check_interval",
        "max_connections",
    }
    | {"retry_on_timeout", "legacy_responses", "socket_read_size"}
)
"""Decided by the fleet, whatever a URL says."""


class Address(NamedTuple):
    """A server, as redis-py's connections take it."""

    options: Mapping[str, Any]
    sentinels: tuple[tuple[str, int], ...] = ()
    master: str = ""
    sentinel_options: Mapping[str, Any] = {}
    tls: bool = False


def address_of(url: str) -> Address:
    """What a URL says.

    Raises:
        AddressUnusable: it cannot be used, and why.
    """
    scheme, mark, rest = url.partition("://")
    if not mark or f"{scheme}://" not in SCHEMES:
        raise AddressUnusable(url, f"it must begin with {', '.join(SCHEMES[:-1])} or {SCHEMES[-1]}")
    place, _, query = rest.partition("?")
    if "#" in url or "@" in query:
        raise _unencoded(url)
    options = _options(url, query, sentinel=scheme.endswith("+sentinel"))
    if scheme.endswith("+sentinel"):
        return _of_sentinels(url, scheme, place, options)
    start, slash, path = place.partition("/")
    login, host = _login(start)
    if scheme == "unix":
        if not slash or host:
            problem = "the path of a socket follows unix://, such as unix:///run/redis.sock"
            raise _unencoded(url) if "@" in path else AddressUnusable(url, problem)
        return Address({**login, **options, "path": unquote(f"/{path}")})
    try:
        parsed = urlsplit(f"//{host}")
        port = parsed.port
    except ValueError:
        raise _unencoded(url) from None
    if "@" in path:
        raise _unencoded(url)
    if port == 0:
        raise AddressUnusable(url, "0 is no port")
    if path.strip("/"):
        options.setdefault("db", _database(url, unquote(path).strip("/")))
    server = {"host": unquote(parsed.hostname or "localhost"), "port": port or REDIS_PORT}
    return Address({**login, **options, **server}, tls=scheme == "rediss")


def _login(start: str) -> tuple[dict[str, str], str]:
    """(user and password, the rest) of what stands before the path."""
    before, _, rest = start.rpartition("@")
    user, _, password = before.partition(":")
    named = {"username": unquote(user), "password": unquote(password)}
    return {name: value for name, value in named.items() if value}, rest


def _unencoded(url: str) -> AddressUnusable:
    return AddressUnusable(
        url,
        "it cannot be taken apart; write the characters / ? # @ : % of a password as %2F %3F %23 %40 %3A %25",
    )


def _database(url: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text, re.ASCII):
        raise AddressUnusable(
            url, f"the database {text[:40]!r} is no number, such as the 1 of redis://host:6379/1"
        )
    return int(text)


def _options(url: str, query: str, *, sentinel: bool) -> dict[str, Any]:
    known = _PLAIN | _OF_SENTINEL if sentinel else _PLAIN
    options: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in _OURS:
            continue
        if name not in known:
            if "password" in "".join(options):
                raise AddressUnusable(url, "what follows the password is no option; & in one is written %26")
            near = get_close_matches(name, known, 1)
            raise AddressUnusable(url, f"there is no option {name[:40]!r}", near[0] if near else "")
        options[name] = _value(url, name, value)
    return options


def _value(url: str, name: str, value: str) -> Any:
    if name == "db":
        return _database(url, value)
    if name in ("socket_keepalive", "ssl_check_hostname"):
        if value.lower() not in ("true", "false", "yes", "no", "1", "0"):
            raise AddressUnusable(url, f"the option {name} is true or false")
        return value.lower() in ("true", "yes", "1")
    if name in _NUMBERS:
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", value, re.ASCII):
            raise AddressUnusable(url, f"the option {name} is a number")
        return _NUMBERS[name](float(value))
    return value


def _of_sentinels(url: str, scheme: str, place: str, options: dict[str, Any]) -> Address:
    # what stands before the last @ is the login, whatever it holds
    login, after = _login(place) if "@" in place else ({}, place)
    hosts, _, path = after.partition("/")
    master, _, database = path.strip("/").partition("/")
    if not master:
        raise AddressUnusable(url, "the name of the master follows the sentinels, such as /mymaster")
    if database:
        options.setdefault("db", _database(url, database))
    sentinels = []
    for text in hosts.split(","):
        found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\s]+)(?::([0-9]{1,5}))?", text)
        if found is None or (found[2] and not 0 < int(found[2]) < 65536):
            name = text.partition(":")[0][:80]  # what follows may be a password
            raise AddressUnusable(url, f"{name!r} is no sentinel, such as host:{SENTINEL_PORT}")
        sentinels.append((found[1].strip("[]"), int(found[2] or SENTINEL_PORT)))
    options = {**login, **options}
    own = {name.removeprefix("sentinel_"): options.pop(name) for name in _OF_SENTINEL & options.keys()}
    return Address(options, tuple(sentinels), unquote(master), own, tls=scheme.startswith("rediss"))
