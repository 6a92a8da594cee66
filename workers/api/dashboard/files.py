"""The dashboard's files: from memory, revalidated by their content, allowed to load nothing from elsewhere."""

from __future__ import annotations

import gzip
import mimetypes
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple

from aiohttp import web

FOLDER: Final = Path(__file__).parent / "page"
PREFIX: Final = "/dashboard/"
TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

HEADERS: Final = {
    # Everything comes from this server: no other host, no inline script, no inline style, no frame around it.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Kept by the browser, used only after asking: a new version of the fleet never runs an old page.
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
}


class File(NamedTuple):
    """One file as it is sent."""

    body: bytes
    packed: bytes
    """The same with gzip."""
    content_type: str
    etag: str


def read_files(folder: Path = FOLDER) -> dict[str, File]:
    """Every file of the dashboard by its name."""
    found = {}
    for path in sorted(folder.iterdir()):
        content_type = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0]
        if content_type is None or not path.is_file():
            continue
        body = path.read_bytes()
        etag = f'"{blake2b(body, digest_size=8).hexdigest()}"'
        found[path.name] = File(body, gzip.compress(body, mtime=0), f"{content_type}; charset=utf-8", etag)
    return found


class Dashboard:
    """`GET /` and `GET /dashboard/{name}`."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._files = read_files(folder)

    def routes(self) -> list[web.RouteDef]:
        """The routes, for an application's router."""
        return [web.get("/", self._index), web.get(PREFIX + "{name}", self._file)]

    async def _index(self, request: web.Request) -> web.StreamResponse:
        return self._respond(request, "index.html")

    async def _file(self, request: web.Request) -> web.StreamResponse:
        return self._respond(request, request.match_info["name"])

    def _respond(self, request: web.Request, name: str) -> web.Response:
        file = self._files.get(name)
        if file is None:
            raise web.HTTPNotFound
        headers = {**HEADERS, "ETag": file.etag}
        if any(tag.value == file.etag.strip('"') for tag in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = file.content_type
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            return web.Response(body=file.packed, headers={**headers, "Content-Encoding": "gzip"})
        return web.Response(body=file.body, headers=headers)
