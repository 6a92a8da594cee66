"""The schema: from every version upwards, by several workers at once, and where TimescaleDB's functions are there."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from workers.bench.postgres_server import PostgresServer
from workers.errors import SchemaTooNew, SettingsError

pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")

from psycopg import AsyncConnection

from workers.postgres.database import Database
from workers.postgres.rows import COLUMNS, Row, gap_row
from workers.postgres.schema import Days, day_of_partition, migrate, migrations, partition

NEWEST = migrations()[-1].version
SHAPE = """
SELECT relname || ' ' || relkind::text || ' ' || coalesce(string_agg(attname || ' ' || format_type(atttypid, atttypmod)
       || CASE WHEN attnotnull THEN '!' ELSE '' END, ', ' ORDER BY attnum), '')
       || coalesce(pg_get_viewdef(CASE WHEN relkind = 'v' THEN c.oid END), '')
       || coalesce(pg_get_indexdef(CASE WHEN relkind IN ('i', 'I') THEN c.oid END), '')
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace LEFT JOIN pg_attribute a ON attrelid = c.oid AND attnum > 0
WHERE nspname = 'marketfleet' GROUP BY c.oid, relname, relkind ORDER BY 1
"""


async def connection_of(server: PostgresServer) -> AsyncConnection[Any]:
    return await AsyncConnection.connect(
        server.dsn, autocommit=True, options="-c search_path=marketfleet,public"
    )


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://fleet:sec/ret@127.0.0.1/market",
        "postgresql://fleet:sec@ret@127.0.0.1/market",
        "postgresql://fleet:sec%ret@127.0.0.1/market",
        "host=127.0.0.1 password=sec ret",
    ],
)
async def test_an_address_whose_password_is_taken_for_something_else_is_not_shown(dsn: str) -> None:
    with pytest.raises(SettingsError) as refused:
        await Database.open(dsn, "marketfleet")
    assert "sec" not in str(refused.value)
    assert "ret" not in str(refused.value)


def test_the_numbers_of_the_migrations_follow_one_another() -> None:
    assert [step.version for step in migrations()] == list(range(1, NEWEST + 1))


@pytest.mark.parametrize("version", range(NEWEST + 1))
async def test_every_version_leads_to_the_same_schema(postgres: PostgresServer, version: int) -> None:
    connection = await connection_of(postgres)
    await migrate(connection, "marketfleet")
    fresh = postgres.query(SHAPE)
    postgres.query("DROP SCHEMA marketfleet CASCADE")
    assert await migrate(connection, "marketfleet", version) == version
    if version:
        postgres.query("INSERT INTO instruments (venue, symbol) VALUES ('usdm', 'BTCUSDT')")
        postgres.query("INSERT INTO streams (instrument_id, name, stream_id) VALUES (1, 'aggTrade', '5-1')")
    assert await migrate(connection, "marketfleet") == NEWEST
    assert postgres.query(SHAPE) == fresh
    if version:
        assert postgres.query("SELECT stream_id, serial, venue FROM streams JOIN instruments ON id = 1") == [
            ("5-1", 0, "usdm")
        ]
    await connection.close()


async def test_a_database_of_the_release_before_keeps_its_rows_and_gets_analytics(
    postgres: PostgresServer,
) -> None:
    connection = await connection_of(postgres)
    await migrate(connection, "marketfleet", 3)
    await Days(connection, "marketfleet").make([("audits", 20000)])
    postgres.query(
        "INSERT INTO audits (instrument_id, time, sequence, source, outcome, reason, differences) "
        "VALUES (1, '2024-10-04 12:00Z', 5, 'snapshot', 'match', '', '')"
    )
    assert await migrate(connection, "marketfleet") == NEWEST
    await Days(connection, "marketfleet").make([("analytics", 20000), ("analytics_events", 20000)])
    await connection.close()
    assert postgres.query("SELECT outcome FROM audits_2024_10_04") == [("match",)]
    assert postgres.query("SELECT * FROM analytics_2024_10_04, analytics_events_2024_10_04") == []


async def test_workers_that_start_together_migrate_once(postgres: PostgresServer) -> None:
    databases = await asyncio.gather(*(Database.open(postgres.dsn, "marketfleet") for _ in range(4)))
    await asyncio.gather(
        *(database.days.make({("trades", 20000), ("bars", 20001)}) for database in databases)
    )
    for database in databases:
        await database.close()
    assert postgres.query("SELECT count(*), max(version) FROM schema_version") == [(NEWEST, NEWEST)]


async def test_the_schema_of_a_later_release_is_left_alone(postgres: PostgresServer) -> None:
    await (await Database.open(postgres.dsn, "marketfleet")).close()
    postgres.query(f"INSERT INTO schema_version (version, name) VALUES ({NEWEST + 1}, 'later')")
    with pytest.raises(SchemaTooNew, match=f"version {NEWEST + 1}"):
        await Database.open(postgres.dsn, "marketfleet")


async def test_where_timescale_is_it_keeps_the_days(postgres: PostgresServer) -> None:
    """By the signatures of its documentation: functions that note how they are called stand in for the extension."""
    postgres.query(
        """
        CREATE TABLE public.calls (said text);
        CREATE FUNCTION public.create_hypertable(relation regclass, time_column_name name, chunk_time_interval interval)
            RETURNS void LANGUAGE sql AS $$ INSERT INTO public.calls VALUES (relation || ' ' || time_column_name || ' '
            || chunk_time_interval) $$;
        CREATE FUNCTION public.drop_chunks(relation regclass, older_than timestamptz) RETURNS SETOF text LANGUAGE sql
            AS $$ INSERT INTO public.calls VALUES ('drop ' || relation || ' ' || older_than);
            SELECT relation || '_chunk' $$;
        """
    )
    try:
        database = await Database.open(postgres.dsn, "marketfleet")
        await database.days.make({("gaps", 20000)})
        row: Row = gap_row(1, 20000 * 86_400_000 + 1, 1, "fleet", "depth", "1", "2", "gap", "no")
        async with database.transaction():
            assert await database.insert([row, row]) == {"gaps": (2, 1)}
        assert set(await database.days.drop_before(20001)) == {f"{table}_chunk" for table in COLUMNS}
        await database.close()
        said = {row[0] for row in postgres.query("SELECT said FROM calls")}
        assert "top_of_book published 1 day" in said
        assert "drop bars 2024-10-05 00:00:00+00" in said
        assert len(said) == 2 * len(COLUMNS)
        assert postgres.query("SELECT count(*) FROM pg_class WHERE relkind = 'p'") == [(0,)]
    finally:
        postgres.query(
            "DROP FUNCTION public.create_hypertable, public.drop_chunks; DROP TABLE public.calls", "public"
        )


def test_a_partition_is_named_by_its_day() -> None:
    assert partition("top_of_book", 20_786) == "top_of_book_2026_11_29"
    assert day_of_partition("top_of_book_2026_11_29") == 20_786
    assert day_of_partition("trades_of_mine") is None
    assert day_of_partition("trades_2026_13_29") is None
