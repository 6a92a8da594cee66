"""The server of the tests itself."""

from __future__ import annotations

import pytest

from workers.bench.postgres_server import PostgresServer
from workers.operations.process_table import family, is_alive

psycopg = pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")


def test_a_killed_server_leaves_no_process_behind(postgres: PostgresServer) -> None:
    """One that lives on for a moment keeps the memory, and the next server refuses to start."""
    assert postgres._process is not None
    with psycopg.connect(postgres.dsn):
        members = family(postgres._process.pid)
        postgres.kill()
        assert len(members) > 2
        assert not [member for member in members if is_alive(member)]
    postgres.start()
    assert postgres.query("SELECT 1", "pg_catalog") == [(1,)]
