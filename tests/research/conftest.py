"""A log that the workers made of a real recording, for all tests that make something of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

RECORDING = Path(__file__).resolve().parents[3] / "shared" / "data" / "cryptofeed_binance_spot_20210404.zst"
CONFIG = '[venues.spot]\nexchange = "binance"\nmarket = "spot"\nsymbols = ["BTCUSDT", "ETHUSDT", "DOTUSDT"]\n'


@pytest.fixture(scope="package")
def world(real_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A log that the workers made of a recording, and a folder."""
    home = tmp_path_factory.mktemp("research")
    (home / "spot.toml").write_text(CONFIG)
    redis.Redis.from_url(real_server).flushall()
    # a process of its own: it silences the logs, for good
    replay = [
        sys.executable,
        "-P",
        "-m",
        "workers.cli",
        "replay",
        str(RECORDING),
        "--redis",
        real_server,
        "--json",
    ]
    subprocess.run(replay, check=True, capture_output=True)
    yield real_server, home
    redis.Redis.from_url(real_server).flushall()
    shutil.rmtree(home)


@pytest.fixture
def home(world: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    url, folder = world
    for name, value in {
        "FLEET_CONFIG": str(folder / "spot.toml"), "FLEET_HOME": str(tmp_path / "home"), "REDIS_URL": url,
        "FLEET_ARCHIVE__URL": str(tmp_path / "archive"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    return tmp_path
