"""A world of one book that is in sync."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from books_world import World

from workers.runtime.proxies import Sessions


@pytest.fixture
async def world(real_server: str) -> AsyncIterator[World]:
    async with Sessions() as session:
        made = World(real_server, session)
        await made.begin()
        yield made
        await made.worker._rounds.close()
        await made.worker._reader_client.aclose()
        await made.process.client.aclose()
        await made.client.aclose()
