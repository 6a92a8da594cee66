"""The tables: numbered migrations, the days they are kept by, and TimescaleDB where the database has it.

Every day of a table is a partition, so that a day is dropped whole and for nothing. Where the functions of TimescaleDB
are visible when a table is made it becomes a hypertable with chunks of a day instead, and the extension does both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import structlog
from psycopg import AsyncConnection, sql

from workers.errors import SchemaTooNew
from workers.postgres.rows import COLUMNS, Table

log = structlog.get_logger()

_FOLDER: Final = Path(__file__).with_name("migrations")
_EPOCH: Final = date(1970, 1, 1)
_BY_DAY: Final = re.compile(r"CREATE TABLE (\w+) \([^;]*\) (PARTITION BY RANGE \((\w+)\));")
_PARTITION: Final = re.compile(r"\w+_(\d{4})_(\d\d)_(\d\d)")


class Migration(NamedTuple):
    """One step from a version of the schema to the next."""

    version: int
    name: str
    statements: str


def migrations() -> list[Migration]:
    """All of them, in order."""
    found = []
    for path in sorted(_FOLDER.glob("*.sql")):
        number, _, name = path.stem.partition("_")
        found.append(Migration(int(number), name, path.read_text(encoding="utf-8")))
    return found


async def migrate(connection: AsyncConnection[Any], schema: str, to: int | None = None) -> int:
    """Bring the schema to a version (None: the newest), in one step, one worker at a time; the version it has then.

    Raises:
        SchemaTooNew: a later release made it.
        psycopg.Error: the database refuses, or is gone; nothing was changed.
    """
    steps = migrations()
    async with connection.transaction(), connection.cursor() as cursor:
        await cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('marketfleet ' || %s, 0))", [schema]
        )
        await cursor.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [schema])
        if await cursor.fetchone() is None:
            await cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        await cursor.execute(
            "CREATE TABLE IF NOT EXISTS schema_version (version integer PRIMARY KEY, name text NOT NULL, "
            "applied timestamptz NOT NULL DEFAULT now())"
        )
        await cursor.execute("SELECT coalesce(max(version), 0) FROM schema_version")
        version = int((await cursor.fetchone())[0])
        if version > steps[-1].version:
            raise SchemaTooNew(schema, version, steps[-1].version)
        hyper = await _has_timescale(cursor)
        for step in steps:
            if version < step.version and (to is None or step.version <= to):
                await _apply(cursor, step, hyper)
                version = step.version
                log.info("postgres_schema_migrated", schema=schema, version=version, name=step.name)
    return version


async def _apply(cursor: Any, step: Migration, hyper: bool) -> None:
    statements = step.statements
    by_day = [(found[1], found[3]) for found in _BY_DAY.finditer(statements)]
    if hyper:
        statements = re.sub(r" PARTITION BY RANGE \(\w+\)", "", statements)
    await cursor.execute(statements.encode())
    for table, column in by_day if hyper else []:
        await cursor.execute(
            "SELECT create_hypertable(%s::regclass, %s::name, chunk_time_interval => interval '1 day')",
            [table, column],
        )
    await cursor.execute(
        "INSERT INTO schema_version (version, name) VALUES (%s, %s)", [step.version, step.name]
    )


async def _has_timescale(cursor: Any) -> bool:
    await cursor.execute(
        "SELECT EXISTS (SELECT 1 FROM pg_proc WHERE proname = 'create_hypertable' AND pg_function_is_visible(oid))"
    )
    return bool((await cursor.fetchone())[0])


def partition(table: str, day: int) -> str:
    """The name of a day of a table."""
    return f"{table}_{_EPOCH + timedelta(days=day):%Y_%m_%d}"


def day_of_partition(name: str) -> int | None:
    """The UTC day of such a name; None for another one."""
    found = _PARTITION.fullmatch(name)
    try:
        return (date(*map(int, found.groups())) - _EPOCH).days if found else None
    except ValueError:
        return None


class Days:
    """The partitions of a connection's schema."""

    def __init__(self, connection: AsyncConnection[Any], schema: str) -> None:
        self._connection = connection
        self._schema = schema
        self._there: set[tuple[str, int]] = set()
        self._partitioned: set[str] | None = None

    async def _tables(self) -> set[str]:
        """Those that have partitions of ours; the others are hypertables."""
        if self._partitioned is None:
            rows = await self._connection.execute(
                "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace "
                "WHERE nspname = %s AND relkind = 'p'",
                [self._schema],
            )
            self._partitioned = {str(row[0]) for row in await rows.fetchall()}
        return self._partitioned

    def forget(self) -> None:
        """Look anew which of them are there."""
        self._there.clear()

    async def make(self, wanted: Iterable[tuple[Table, int]]) -> None:
        """Make what is not there yet."""
        missing = set(wanted) - self._there
        if not missing:
            return
        tables = await self._tables()
        for table, day in sorted(missing):
            if table in tables:
                await self._make(table, day)
            self._there.add((table, day))

    async def _make(self, table: str, day: int) -> None:
        first, after = (str(_EPOCH + timedelta(days=number)) for number in (day, day + 1))
        async with self._connection.transaction():
            await self._connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended('marketfleet days ' || %s, 0))", [self._schema]
            )
            await self._connection.execute(
                sql.SQL("CREATE TABLE IF NOT EXISTS {} PARTITION OF {} FOR VALUES FROM ({}) TO ({})").format(
                    sql.Identifier(partition(table, day)),
                    sql.Identifier(table),
                    sql.Literal(f"{first} 00:00:00+00"),
                    sql.Literal(f"{after} 00:00:00+00"),
                )
            )

    async def drop_before(self, day: int) -> list[str]:
        """Drop every day before one; what was dropped."""
        dropped: list[str] = []
        tables = await self._tables()
        rows = await self._connection.execute(
            "SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid "
            "JOIN pg_class parent ON parent.oid = inhparent JOIN pg_namespace n ON n.oid = parent.relnamespace "
            "WHERE nspname = %s AND parent.relkind = 'p' AND child.relkind = 'r' ORDER BY 1",
            [self._schema],
        )
        for (name,) in await rows.fetchall():
            of_day = day_of_partition(name)
            if of_day is not None and of_day < day:
                await self._connection.execute(
                    sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(name))
                )
                dropped.append(name)
        for table in sorted(set(COLUMNS) - tables):
            rows = await self._connection.execute(
                "SELECT drop_chunks(%s::regclass, older_than => %s::timestamptz)",
                [table, f"{_EPOCH + timedelta(days=day)} 00:00:00+00"],
            )
            dropped += [str(row[0]) for row in await rows.fetchall()]
        self._there = {pair for pair in self._there if pair[1] >= day}
        return dropped
