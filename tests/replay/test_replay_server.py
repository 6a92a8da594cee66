"""The private server of a replay."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from redis import Redis

from workers.replay.server import PrivateServer


def test_it_starts_also_where_temporary_folders_have_long_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("long" * 20) / ("longer" * 10)
    deep.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    server = PrivateServer(keep=False)
    server.start()
    try:
        with Redis(unix_socket_path=str(server.socket)) as client:
            assert client.ping()
    finally:
        server.stop()
    assert not server.folder.exists()
    assert list(deep.iterdir()) == []
