"""The sink with the rights of config/redis-acl alone: every table it fills, and the hole it writes down."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")

from least_rights import EXAMINED, refused, with_users
from sink_world import KEYS, MIDNIGHT, SYMBOL, Sink, append, bar, figures, one_of_each, wall
from test_analytics import tell

from workers.bench.postgres_server import PostgresServer

TABLES = ("trades", "bars", "top_of_book", "audits", "analytics", "analytics_events")
EVERY_TABLE = f"SELECT {' + '.join(f'least(1, (SELECT count(*) FROM {table}))' for table in TABLES)}"


@pytest.fixture
async def sink(postgres: PostgresServer, spare_server: str) -> AsyncIterator[Sink]:
    made = Sink((await with_users(spare_server))["fleet"], postgres, figures_ms=100)
    yield made
    await made.close()


async def test_the_rights_of_the_file_are_enough_for_the_sink(
    sink: Sink, spare_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    client: Any = Redis.from_url(spare_server, protocol=2)
    await append(client, 1, 5)
    await append(client, 8, 9)  # 6 and 7 are nowhere
    await client.xadd(KEYS.bars(SYMBOL, "1m"), bar(MIDNIGHT, 1), id=f"{MIDNIGHT}-0")
    await one_of_each(client)
    await client.hset(KEYS.analytics(SYMBOL), mapping=figures(MIDNIGHT))
    await tell(client, MIDNIGHT, wall(84_555))
    sink.start()
    await sink.until(EVERY_TABLE, len(TABLES))
    await sink.until("SELECT count(*) FROM gaps WHERE first_id = 6 AND last_id = 7", 1)
    await sink.stop()
    assert b"postgres" in {fields[b"channel"] for _, fields in await client.xrange(KEYS.gaps(SYMBOL))}
    await client.aclose()
    assert {what for _, what in await refused(spare_server)} <= EXAMINED
    assert "no permissions" not in capsys.readouterr().out
