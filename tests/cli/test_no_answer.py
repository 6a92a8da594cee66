"""What a command says of a Redis that does not answer as it should: what is to be done depends on why."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    RedisError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)

from workers.cli.status import run_stop
from workers.errors import CommandError
from workers.operations.supervision import Supervisor
from workers.reading.opening import reaching
from workers.settings.loading import Effective
from workers.settings.schema import FleetSettings, Settings


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (RedisConnectionError("Error 111 connecting to h:1."), "fleet live"),
        (BusyLoadingError("Redis is loading the dataset in memory"), "ask again when"),
        (AuthenticationError("invalid username-password pair"), "the password"),
        (NoPermissionError("this user has no permissions to run the 'ping' command"), ""),
    ],
)
def test_only_a_server_that_is_not_there_has_to_be_started(error: RedisError, advice: str) -> None:
    with pytest.raises(CommandError) as raised, reaching(Effective(Settings(venues={}))):
        raise error
    told = str(raised.value)
    assert str(error).rstrip(".") in told
    assert advice in told
    assert ("fleet live" in told) == (advice == "fleet live")


def test_where_a_fleet_runs_none_has_to_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Supervisor, "find", lambda self: 1 if self.home == tmp_path else None)
    settings = Settings(venues={}, fleet=FleetSettings(home=str(tmp_path)))
    with pytest.raises(CommandError) as raised, reaching(Effective(settings)):
        raise RedisConnectionError("Error 2 connecting to redis.sock.")
    told = str(raised.value)
    assert f"{tmp_path}/log" in told
    assert "fleet live" not in told


def test_a_fleet_of_another_user_is_said_to_be_his(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    monkeypatch.setenv("FLEET_HOME", str(tmp_path))
    settings = Settings(venues={}, fleet=FleetSettings(home=str(tmp_path)))
    told = f"{tmp_path} belongs to {tmp_path.owner()}"
    with pytest.raises(CommandError, match=told), reaching(Effective(settings)):
        raise RedisConnectionError("Error 13 connecting to redis.sock. Permission denied.")
    with pytest.raises(CommandError, match=told):
        run_stop(None)
