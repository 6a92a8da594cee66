"""What a command says of a Redis that does not answer as it should: what is to be done depends on why."""

from __future__ import annotations

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

from workers.errors import CommandError
from workers.reading.opening import reaching
from workers.settings.loading import Effective
from workers.settings.schema import Settings


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
