"""Secrets in what is printed: one rule for every URL that reaches a log, a message or a terminal.

It leaves out rather too much than a part of a password: people write passwords with `/`, `#`, `@`, `:` and `?` into
URLs as they are, and no parser can tell then where they end.
"""

from __future__ import annotations

import re
from typing import Final

MASK: Final = "***"

_SECRET_OPTION: Final = re.compile(
    r"([?&;][^=&\s]*(?:pass|secret|token|key|auth|credential|sig|session|pwd)[^=&\s]*=).*",
    re.IGNORECASE | re.DOTALL,
)
"""From the first option that sounds like a secret on: one that holds `&` has no other end."""
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_WHOLE_URL: Final = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*://")
_PORT: Final = re.compile(r"[0-9]+")


def mask(text: str) -> str:
    """A URL, or a text with URLs in it, without what may be a password; the rest as it is.

    User and host stay, `redis://user:***@host/0`; what stands alone before an `@` may be the password itself, and
    goes: `redis://***@host/0`.
    """
    if "://" not in text:
        return text
    if _WHOLE_URL.match(text):
        return _masked(text)
    return _URL.sub(lambda found: _masked(found[0]), text)


def mask_address(text: str) -> str:
    """The same for a text that was meant as one URL, whatever it looks like: `user:password@host` has no scheme."""
    if _WHOLE_URL.match(text):
        return _masked(text)
    _, at, rest = text.rpartition("@")
    option = _SECRET_OPTION.search(rest)
    return (MASK if at else "") + at + (rest[: option.end(1)] + MASK if option else rest)


def _masked(url: str) -> str:
    scheme, rest = url.split("://", 1)
    if "redis" in scheme.lower() and "@" not in rest:
        rest = _without_tail(rest)
    start = re.split(r"[/?#]", rest, maxsplit=1)[0]
    option = _SECRET_OPTION.search(rest)
    head, tail = (rest[: option.end(1)], MASK) if option else (rest, "")
    if "@" in head and _may_have_secret(scheme, start):
        before, _, after = head.rpartition("@")
        user, _, password = before.partition(":")
        head = f"{user}:{MASK}@{after}" if password and not re.search(r"[/?#@]", user) else f"{MASK}@{after}"
    elif "@" in rest and _odd_port(start):  # the option may be a part of the password
        head = ""
    return f"{scheme}://{head}{tail}"


def _without_tail(rest: str) -> str:
    """Of a server's URL without a login, no fragment and no port that is none: both may be a password."""
    rest, mark, _ = rest.partition("#")
    start = re.split(r"[/?]", rest, maxsplit=1)[0]
    hosts = start.split(",")
    for place, host in enumerate(hosts):
        if _odd_port(host):
            name = host.rpartition(":")[0].partition(":")[0]
            return ",".join([*hosts[:place], f"{name}:{MASK}"])
    return f"{rest}#{MASK}" if mark else rest


def _odd_port(start: str) -> bool:
    """Whether what looks like host and port can be none."""
    host, colon, port = start.rpartition(":")
    return bool(colon) and not host.startswith("[") and (":" in host or not _PORT.fullmatch(port))


def _may_have_secret(scheme: str, start: str) -> bool:
    """Whether an `@` ends a user and password; in the path of other URLs it is part of a name (`btcusdt@depth`)."""
    return "redis" in scheme.lower() or "@" in start or (scheme == "unix" and start != "") or _odd_port(start)
