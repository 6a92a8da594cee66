"""The dashboard's files: what a browser may load, and how it is told."""

from __future__ import annotations

import gzip
import re
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from workers.api.dashboard.files import FOLDER, PREFIX, Dashboard, read_files

NAMES = sorted(read_files())


@pytest.fixture
async def client() -> AsyncIterator[TestClient]:  # type: ignore[type-arg]
    app = web.Application()
    app.router.add_routes(Dashboard().routes())
    async with TestClient(TestServer(app), auto_decompress=False) as opened:
        yield opened


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html"),
        ("app.js", "text/javascript"),
        ("tokens.css", "text/css"),
        ("icon.svg", "image/svg+xml"),
    ],
)
async def test_a_file_has_its_type_its_tag_and_the_policy(
    client: TestClient, path: str, content_type: str
) -> None:  # type: ignore[type-arg]
    where = path if path == "/" else PREFIX + path
    plain = await client.get(where, headers={"Accept-Encoding": "identity"})
    packed = await client.get(where, headers={"Accept-Encoding": "gzip"})
    assert plain.content_type == content_type
    assert plain.charset == "utf-8"
    assert gzip.decompress(await packed.read()) == await plain.read()
    policy = plain.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in policy
    same = await client.get(where, headers={"If-None-Match": plain.headers["ETag"]})
    assert (same.status, await same.read()) == (304, b"")
    other = await client.get(where, headers={"If-None-Match": '"another"'})
    assert other.status == 200


@pytest.mark.parametrize("name", ["nothing.js", "..%2fserver.py", "%2e%2e%2fserver.py", "app.js%00"])
async def test_nothing_else_is_served(client: TestClient, name: str) -> None:  # type: ignore[type-arg]
    assert (await client.get(PREFIX + name)).status == 404


def test_files_name_no_other_host_and_no_file_that_is_not_there():
    for name in NAMES:
        text = (FOLDER / name).read_text(encoding="utf-8")
        hosts = {
            found for found in re.findall(r"https?://[^\s\"'`]+", text) if "www.w3.org/2000/svg" not in found
        }
        assert hosts == set(), name
        for wanted in re.findall(r"(?:from \"\./|=\"/dashboard/)([\w.]+)\"", text):
            assert wanted in NAMES, f"{name} wants {wanted}"
        assert len(text.splitlines()) < 400, name


def test_every_module_is_used():
    whole = "".join((FOLDER / name).read_text(encoding="utf-8") for name in NAMES)
    assert [name for name in NAMES if name != "index.html" and f'/{name}"' not in whole] == []
