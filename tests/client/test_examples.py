"""The sample programs of docs/examples, run as the how-to pages say, in each language that is there."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
from client_world import KEYS, T0, S, World, lay_book
from redis.asyncio import Redis
from redis.exceptions import ResponseError
from test_outage import Server

from workers.operations.foreground import free_ports

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
GO_FOLDER = Path("/usr/share/gocode")
"""Where Debian's golang-github-gomodule-redigo-dev puts its source."""


def node_modules() -> Path | None:
    """A folder with the package `redis` of npm: what NODE_PATH names, else in the checkout or in the home folder."""
    places = [Path(text) for text in os.environ.get("NODE_PATH", "").split(":") if text]
    places += [EXAMPLES.parents[1] / "node_modules", Path.home() / "node_modules"]
    return next((place for place in places if (place / "redis").is_dir()), None)


@pytest.fixture(params=["socket", "port"])
async def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A server on a unix socket in a folder with a blank in its name, or on a TCP port, and a fleet that publishes."""
    server = Server(tmp_path_factory.mktemp("a checkout"))
    server.start()
    redis = Redis.from_url(server.url, protocol=2)
    port = await free_port(redis)
    world = World(redis)
    await lay_book(world)
    await world.stream(*range(10, 60))
    await world.fold(*range(10, 60))
    bar = (await redis.xrange(KEYS.bars(S, "100ms")))[0][1]
    for minute in range(3):
        start = T0 + minute * 60_000
        await redis.xadd(KEYS.bars(S, "1m"), {**bar, b"start": start}, id=f"{start}-0")
    revision = {**bar, b"start": start, b"revision": 1, b"close_price": b"199.10"}
    await redis.xadd(KEYS.bars(S, "1m"), revision, id=f"{start}-1")

    async def publish() -> None:
        u = 13
        while True:
            await world.publish(u, kept=10_000)
            u += 1
            await asyncio.sleep(0.02)

    publishing = asyncio.create_task(publish())
    yield f"redis://127.0.0.1:{port}" if request.param == "port" else quote(server.url, safe=":/")
    publishing.cancel()
    await redis.aclose()
    await asyncio.to_thread(server.stop)


async def free_port(redis: Redis) -> int:
    for port in free_ports(20):
        try:
            await redis.config_set("port", port)
        except ResponseError:  # somebody was quicker
            continue
        return port
    raise AssertionError("no port could be had")


async def run(*command: str, cwd: Path | None = None, **environment: str) -> str:
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        env={**os.environ, **environment},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


def check(said: str, lines: int) -> None:
    assert len(said.splitlines()) == lines, said
    assert "100.10" in said
    assert "1.50" in said
    assert "withheld" not in said


async def test_python(url: str):
    said = await run(sys.executable, str(EXAMPLES / "read.py"), url, S)
    check(said, 1 + 3 + 1 + 3)
    assert "trades [10, 11, 12, 13]" in said


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
@pytest.mark.skipif(node_modules() is None, reason="no npm package redis beside the checkout or in NODE_PATH")
async def test_node(url: str, tmp_path: Path):
    modules = node_modules()
    assert modules is not None
    shutil.copy(EXAMPLES / "read.mjs", tmp_path)
    (tmp_path / "node_modules").symlink_to(modules)
    said = await run("node", "read.mjs", url, S, cwd=tmp_path)
    check(said, 1 + 3 + 3 + 3)
    assert said.splitlines()[-1] == "59 103.50 0.250 buy"


@pytest.mark.skipif(not shutil.which("go"), reason="go is not installed")
@pytest.mark.skipif(
    not (GO_FOLDER / "src/github.com/gomodule/redigo").is_dir(),
    reason="redigo is not installed (golang-github-gomodule-redigo-dev)",
)
async def test_go(url: str):
    environment = {"GO111MODULE": "off", "GOPATH": str(GO_FOLDER)}
    said = await run("go", "run", str(EXAMPLES / "read.go"), url, S, **environment)
    check(said, 1 + 3 + 3 + 3)
    lines = said.splitlines()
    assert lines[-1] == "59 103.50 0.250 buyer waited: false"
    assert [line.split()[0] for line in lines[4:7]] == [str(T0 + minute * 60_000) for minute in (2, 1, 0)]
    assert " 199.10 " in lines[4]


def test_the_how_to_pages_show_the_programs_that_are_run():
    for language, program in (("node", "read.mjs"), ("go", "read.go"), ("python", "read.py")):
        page = EXAMPLES.parent / "how-to" / f"read-from-{language}.md"
        text = page.read_text(encoding="utf-8")
        assert f"../examples/{program}" in text
        assert f"\n{(EXAMPLES / program).read_text(encoding='utf-8').rstrip()}\n```" in text
