"""The one connection of a worker to PostgreSQL: what is asked of it, statement by statement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.conninfo import conninfo_to_dict

from workers.errors import SettingsError
from workers.postgres.rows import COLUMNS, Row, Table
from workers.postgres.schema import Days, migrate
from workers.store.log.tail import Place

CONNECT_S: Final = 10
_SESSION: Final = (
    "SET client_encoding = 'UTF8'",  # what COPY is given; of a database without an encoding texts come as bytes else
    "SET TimeZone = 'UTC'",
    "SET lock_timeout = '20s'",
    "SET idle_in_transaction_session_timeout = '60s'",  # of a worker that stands still: others need its rows
    "SET client_min_messages = 'warning'",
)
_PROVEN_STAYS: Final = (
    'ON CONFLICT (instrument_id, "interval", start, revision) DO UPDATE SET '
    + ", ".join(
        f"{name} = excluded.{name}"
        for name in COLUMNS["bars"].split(", ")
        if name not in ("instrument_id", '"interval"', "start", "revision")
    )
    + " WHERE NOT bars.complete AND bars IS DISTINCT FROM excluded"
)


class StreamName(NamedTuple):
    """A stream as the table `streams` knows it."""

    instrument: int
    name: str


class Stored(NamedTuple):
    """How far a stream is stored."""

    place: Place
    serial: int
    chain: int
    fence: int


class StoredHole(NamedTuple):
    """Trades that may still come from the repair."""

    instrument: int
    first: int
    last: int
    after_ms: int
    before_ms: int
    is_room: bool
    was_trimmed: bool
    age_s: float = 0.0


class Database:
    """A connection that is ready: the schema is there, and so are this session's staging tables."""

    def __init__(self, connection: AsyncConnection[Any], schema: str) -> None:
        self._connection = connection
        self.days = Days(connection, schema)

    @classmethod
    async def open(cls, dsn: str, schema: str) -> Database:
        """Connect, and bring the schema to this release's version.

        Raises:
            SettingsError: the address is none.
            SchemaTooNew: a later release made it.
            psycopg.Error: the database is away, or refuses.
        """
        _check_address(dsn)
        connection = await AsyncConnection.connect(
            dsn,
            autocommit=True,
            connect_timeout=CONNECT_S,
            application_name="marketfleet",
            prepare_threshold=None,
        )
        try:
            for statement in _SESSION:
                await connection.execute(statement)
            await connection.execute(sql.SQL("SET search_path = {}, public").format(sql.Identifier(schema)))
            await migrate(connection, schema)
            for table in COLUMNS:
                await connection.execute(
                    f"CREATE TEMPORARY TABLE stage_{table} (LIKE {table}) ON COMMIT DELETE ROWS".encode()
                )
        except BaseException:
            await connection.close()
            raise
        return cls(connection, schema)

    async def close(self) -> None:
        """Give the connection up; what was not committed never was."""
        await self._connection.close()

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        """A block whose writes are all there at its end, or none."""
        block: AbstractAsyncContextManager[Any] = self._connection.transaction()
        return block

    async def instruments(self, wanted: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """The numbers of venues' symbols; new ones are given numbers."""
        venues, symbols = [venue for venue, _ in wanted], [symbol for _, symbol in wanted]
        await self._connection.execute(
            "INSERT INTO instruments (venue, symbol) SELECT * FROM unnest(%s::text[], %s::text[]) AS w (venue, symbol) "
            "WHERE NOT EXISTS (SELECT 1 FROM instruments i WHERE i.venue = w.venue AND i.symbol = w.symbol) "
            "ON CONFLICT DO NOTHING",
            [venues, symbols],
        )
        rows = await self._connection.execute(
            "SELECT i.venue, i.symbol, i.id FROM instruments i "
            "JOIN unnest(%s::text[], %s::text[]) AS w (venue, symbol) USING (venue, symbol)",
            [venues, symbols],
        )
        return {(row[0], row[1]): int(row[2]) for row in await rows.fetchall()}

    async def claim(self, fences: Mapping[StreamName, int]) -> None:
        """From now on only who has this fencing number may write the stream."""
        numbers = [stream.instrument for stream in fences]
        names = [stream.name for stream in fences]
        await self._connection.execute(
            "INSERT INTO streams (instrument_id, name, fence) "
            "SELECT * FROM unnest(%s::int[], %s::text[], %s::bigint[]) AS w (i, n, f) ORDER BY i, n "
            "ON CONFLICT (instrument_id, name) DO UPDATE SET fence = excluded.fence",
            [numbers, names, list(fences.values())],
        )

    async def stored(self, streams: Iterable[StreamName], *, lock: bool) -> dict[StreamName, Stored]:
        """How far streams are stored; within a transaction nobody else changes it until its end where `lock`."""
        wanted = sorted(streams)
        rows = await self._connection.execute(
            b"SELECT instrument_id, name, stream_id, fingerprint, number, serial, chain, fence FROM streams "
            b"WHERE (instrument_id, name) IN (SELECT * FROM unnest(%s::int[], %s::text[])) "
            b"ORDER BY instrument_id, name" + (b" FOR UPDATE" if lock else b""),
            [[stream.instrument for stream in wanted], [stream.name for stream in wanted]],
        )
        return {
            StreamName(row[0], row[1]): Stored(Place(row[2], row[3], row[4]), row[5], row[6], row[7])
            for row in await rows.fetchall()
        }

    async def advance(self, reached: Mapping[StreamName, Stored]) -> None:
        """Put on record how far streams are stored now."""
        streams, ends = list(reached), list(reached.values())
        await self._connection.execute(
            "UPDATE streams s SET stream_id = w.stream_id, fingerprint = w.fingerprint, number = w.number, "
            "serial = w.serial, chain = w.chain, written = now() "
            "FROM unnest(%s::int[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) "
            "AS w (instrument_id, name, stream_id, fingerprint, number, serial, chain) "
            "WHERE s.instrument_id = w.instrument_id AND s.name = w.name",
            [
                [stream.instrument for stream in streams],
                [stream.name for stream in streams],
                [end.place.stream_id for end in ends],
                [end.place.fingerprint for end in ends],
                [end.place.number for end in ends],
                [end.serial for end in ends],
                [end.chain for end in ends],
            ],
        )

    async def insert(self, rows: Iterable[Row]) -> dict[Table, tuple[int, int]]:
        """Store rows, each once; by table, how many came and how many of them were not there yet.

        Of a bar the first version that is proven stays; else the later one of two with the same revision does.
        """
        lines: dict[Table, list[str]] = {}
        for row in rows:
            lines.setdefault(row.table, []).append(row.line)
        done: dict[Table, tuple[int, int]] = {}
        for table, some in lines.items():
            columns = COLUMNS[table]
            kept = _last_versions(some) if table == "bars" else some
            async with self._connection.cursor() as cursor:
                async with cursor.copy(f"COPY stage_{table} ({columns}) FROM STDIN".encode()) as copy:
                    await copy.write("".join(kept).encode())
                conflict = _PROVEN_STAYS if table == "bars" else "ON CONFLICT DO NOTHING"
                await cursor.execute(
                    f"INSERT INTO {table} ({columns}) SELECT {columns} FROM stage_{table} {conflict}".encode()  # noqa: S608 -- our own names
                )
                done[table] = (len(some), cursor.rowcount)
        return done

    async def add_holes(self, holes: Iterable[StoredHole]) -> None:
        """Remember trades that may still come."""
        for hole in holes:
            await self._connection.execute(
                "INSERT INTO holes (instrument_id, first_id, last_id, after_ms, before_ms, is_room, was_trimmed) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                list(hole[:7]),
            )

    async def holes(self, instruments: Sequence[int], at_most: int) -> list[StoredHole]:
        """The oldest of them."""
        rows = await self._connection.execute(
            "SELECT instrument_id, first_id, last_id, after_ms, before_ms, is_room, was_trimmed, "
            "extract(epoch FROM clock_timestamp() - found)::float8 FROM holes WHERE instrument_id = ANY (%s) "
            "ORDER BY found LIMIT %s",
            [list(instruments), at_most],
        )
        return [StoredHole(*row) for row in await rows.fetchall()]

    async def close_hole(self, hole: StoredHole) -> bool:
        """Forget a hole; False if somebody has done so."""
        done = await self._connection.execute(
            "DELETE FROM holes WHERE instrument_id = %s AND first_id = %s AND last_id = %s AND before_ms = %s",
            [hole.instrument, hole.first, hole.last, hole.before_ms],
        )
        return bool(done.rowcount)

    async def trade_ids(self, hole: StoredHole, from_ms: int, to_ms: int) -> list[int]:
        """Which trades of a hole are stored, looked for among those of a time, ms, both ends included."""
        rows = await self._connection.execute(
            "SELECT DISTINCT trade_id FROM trades WHERE instrument_id = %s AND trade_id BETWEEN %s AND %s "
            "AND time BETWEEN to_timestamp(%s / 1000.0) AND to_timestamp(%s / 1000.0) ORDER BY 1",
            [hole.instrument, hole.first, hole.last, from_ms, to_ms],
        )
        return [int(row[0]) for row in await rows.fetchall()]


def _check_address(dsn: str) -> None:
    """Refuse an address of whose password something would be taken for a host, a port or a key: the driver's errors
    show these, and are logged.

    Raises:
        SettingsError
    """
    problem = "it is no address of a database: of a password / is written as %2F, @ as %40, % as %25"
    try:
        parts = {name: str(value) for name, value in conninfo_to_dict(dsn).items()}
    except psycopg.ProgrammingError:
        raise SettingsError("postgres.dsn", problem) from None
    hosts, ports = parts.get("host", "").split(","), parts.get("port", "").split(",")
    if any("@" in host[1:] for host in hosts) or not all(port.isdecimal() for port in ports if port):
        raise SettingsError("postgres.dsn", problem)


def _last_versions(lines: Sequence[str]) -> list[str]:
    """Of the bars of one window and revision the one that stays: the first proven, else the last."""
    found: dict[tuple[str, ...], str] = {}
    for line in lines:
        cells = line.split("\t", 13)
        key = (cells[0], cells[1], cells[2], cells[12])
        if key not in found or found[key].split("\t", 12)[11] != "t":
            found[key] = line
    return list(found.values())


def is_about_rows(error: BaseException) -> bool:
    """Whether the database refuses what one of the rows says, rather than everything."""
    return isinstance(
        error, psycopg.DataError | psycopg.IntegrityError | psycopg.errors.ProgramLimitExceeded
    )  # the last: a text too long for an index
