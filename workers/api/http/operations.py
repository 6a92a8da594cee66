"""What a route of the API is: enough to serve it, and enough to describe it."""

from __future__ import annotations

import re
import zlib
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

from workers.api.http.queries import Nothing

JSON = "application/json"


class Rendered(NamedTuple):
    """An answer as bytes, where the handler has them already."""

    body: bytes
    etag: str = ""
    content_type: str = JSON


class Operation(NamedTuple):
    """One method of one path.

    `handler` gets the typed question, then the typed body where there is one, and gives an instance of `answer` or
    the bytes of one. It raises `RequestProblem`s; `problems` says of which status.
    """

    method: str
    path: str
    name: str
    summary: str
    tag: str
    answer: Any
    handler: Callable[..., Awaitable[Any]]
    asked: type[msgspec.Struct] = Nothing
    body: type[msgspec.Struct] | None = None
    problems: Sequence[int] = ()
    content_type: str = JSON
    described: str = ""
    """More than the summary, for the page."""


_GZIP = re.compile(r"\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))")
"""gzip in `Accept-Encoding`, and not with a weight of 0."""

_encode = msgspec.json.Encoder().encode


def render(answer: Any) -> Rendered:
    """An answer as bytes, with a tag of its content."""
    if isinstance(answer, Rendered):
        return answer
    body = _encode(answer)
    return Rendered(body, f'W/"{blake2b(body, digest_size=8).hexdigest()}"')


def respond(request: web.Request, rendered: Rendered, gzip_bytes: int) -> web.Response:
    """The answer to a request: 304 where the client has it already, compressed where that helps."""
    headers = {"Cache-Control": "no-cache", "Vary": "Accept-Encoding, Origin"}
    if rendered.etag and request.method in ("GET", "HEAD"):
        headers["ETag"] = rendered.etag
        if _has(request.headers.get("If-None-Match", ""), rendered.etag):
            return web.Response(status=304, headers=headers)
    body = rendered.body
    if len(body) >= gzip_bytes and _GZIP.search(request.headers.get("Accept-Encoding", "")):
        packer = zlib.compressobj(1, zlib.DEFLATED, 31)
        body = packer.compress(body) + packer.flush()
        headers["Content-Encoding"] = "gzip"
    headers["Content-Type"] = rendered.content_type
    return web.Response(body=body, headers=headers)


def _has(sent: str, etag: str) -> bool:
    """Whether `If-None-Match` names a tag; weak comparison (RFC 9110, 13.1.2)."""
    if sent.strip() == "*":
        return True
    bare = etag.removeprefix("W/")
    return any(tag.strip().removeprefix("W/") == bare for tag in sent.split(","))
