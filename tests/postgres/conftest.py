"""One PostgreSQL for all tests of the folder; each begins with an empty schema."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from workers.bench.postgres_server import PostgresServer, find_program


@pytest.fixture(scope="session")
def shared_postgres() -> Iterator[PostgresServer]:
    pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")
    if find_program("postgres") is None or find_program("initdb") is None:
        pytest.skip("no PostgreSQL server (Debian: postgresql) is on this machine")
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def postgres(shared_postgres: PostgresServer) -> PostgresServer:
    """The server, running, without our schema."""
    shared_postgres.start()
    shared_postgres.query("DROP SCHEMA IF EXISTS marketfleet CASCADE")
    return shared_postgres


@pytest.fixture
async def sink(postgres: PostgresServer, spare_server: str) -> AsyncIterator[Any]:
    """Streams, and a worker that stores them."""
    from sink_world import Sink

    made = Sink(spare_server, postgres)
    yield made
    await made.close()
