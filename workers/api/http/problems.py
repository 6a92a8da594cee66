"""Errors as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

import msgspec
from aiohttp import web
from msgspec import UNSET

from workers.api.http.types import Problem
from workers.errors import BookNotServed, RequestProblem, Unhealthy

CONTENT_TYPE = "application/problem+json"
TITLES = {404: "No such path", 405: "This path has no such method", 413: "The body is too large"}
DETAILS = {404: "GET /docs lists the paths", 405: "GET /docs lists the methods", 413: "send less"}


def of_error(error: RequestProblem) -> Problem:
    """The body for one of our errors."""
    withheld = error if isinstance(error, BookNotServed) else None
    return Problem(
        title=error.title,
        status=error.status,
        detail=error.detail,
        where=error.where or UNSET,
        state=withheld.state if withheld else UNSET,
        reason=withheld.reason if withheld else UNSET,
        reasons=error.reasons if isinstance(error, Unhealthy) else UNSET,
    )


def of_http(error: web.HTTPException) -> Problem:
    """The body for an error of the HTTP library."""
    title = TITLES.get(error.status, error.reason)
    return Problem(title=title, status=error.status, detail=DETAILS.get(error.status, "see GET /docs"))


def respond(problem: Problem) -> web.Response:
    """The answer that carries a problem."""
    headers = {"Cache-Control": "no-store"}
    if problem.status == 503:
        headers["Retry-After"] = "1"
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return web.Response(
        body=msgspec.json.encode(problem), status=problem.status, content_type=CONTENT_TYPE, headers=headers
    )
