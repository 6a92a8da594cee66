"""A server of its own for each replay."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from workers.replay.server import PrivateServer


@pytest.fixture
def server() -> Iterator[PrivateServer]:
    private = PrivateServer(keep=False)
    private.start()
    yield private
    private.stop()
