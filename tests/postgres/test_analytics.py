"""Analytics in the database: samples of the figures and every event, each once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")

from sink_world import KEYS, MIDNIGHT, SYMBOL, Sink, figures, wall

from workers.bench.postgres_server import PostgresServer
from workers.model.analytics.events import AnalyticsEvent
from workers.postgres import worker as worker_module
from workers.postgres.rows import COLUMNS, sources_of
from workers.store.analytics.publishing import AnalyticsPublication, AnalyticsStore
from workers.store.analytics.reading import Figures

HASH, EVENTS = KEYS.analytics(SYMBOL), KEYS.analytics_events(SYMBOL)
COUNT = "SELECT count(*) FROM analytics_events"


@pytest.fixture
async def sink(postgres: PostgresServer, spare_server: str) -> AsyncIterator[Sink]:
    made = Sink(spare_server, postgres, figures_ms=100)
    yield made
    await made.close()


async def tell(client: Any, ms: int, *events: dict[str, Any]) -> None:
    await client.xadd(EVENTS, {"data": json.dumps(events)}, id=f"{ms}-3")


async def test_samples_and_events_are_what_redis_says(sink: Sink) -> None:
    await sink.client.hset(HASH, mapping=figures(MIDNIGHT + 999))
    odd = wall(
        84_550.25, kind="iceberg_found", side="bid", order_id="\\N\t7", figures={"a\0b": 0.1, "refills": 3}
    )
    await tell(sink.client, MIDNIGHT - 1, wall(84_555), odd)
    sink.start()
    await sink.until(COUNT, 2)
    await sink.until("SELECT count(*) FROM analytics", 1)
    query = sink.postgres.query
    assert query(
        "SELECT told::text, state, event_time::text, window_ms, spread_bps, volatility, order_flow_imbalance, "
        "quote_bid, walls, icebergs, level FROM analytics"
    ) == [
        ("2026-09-22 00:00:00.999+00", "shown", "2026-09-22 00:00:00.994+00", 60_000, 0.011826682661579444, 1e-07, -3.2,
         None, [["bid", 84550.0, 12.5, 9.1, None]], [], 2)
    ]  # fmt: skip
    assert query(
        "SELECT time::text, told::text, kind, side, price, figures, order_id FROM analytics_events ORDER BY kind DESC"
    ) == [
        ("2026-09-22 00:00:00.000007+00", "2026-09-21 23:59:59.999+00", "wall_appeared", "ask", 84555.0,
         {"quantity": 12.5, "most": 13.0}, ""),
        ("2026-09-22 00:00:00.000007+00", "2026-09-21 23:59:59.999+00", "iceberg_found", "bid", 84550.25,
         {"a\ufffdb": 0.1, "refills": 3}, "\\N\t7"),
    ]  # fmt: skip
    await sink.client.hset(
        HASH, mapping=figures(MIDNIGHT + 1_000, icebergs='[["ask",84555.0,3.4,0.9,"777"]]', level="3")
    )
    await sink.until("SELECT count(*) FROM analytics", 2)
    assert query("SELECT icebergs, level FROM analytics ORDER BY told DESC LIMIT 1") == [
        ([["ask", 84555.0, 3.4, 0.9, "777"]], 3)
    ]
    await sink.client.hset(
        HASH, mapping=figures(MIDNIGHT + 2_000, state="withheld", mid="", walls="", icebergs="")
    )
    await sink.until("SELECT count(*) FROM analytics", 3)
    assert query("SELECT state, mid, vwap, walls, icebergs FROM analytics ORDER BY told DESC LIMIT 1") == [
        ("withheld", None, 84551.07, None, None)
    ]
    assert query("SELECT * FROM gaps") == []


def test_every_figure_has_a_column() -> None:
    assert set(Figures.__struct_fields__) - {"told_ms"} <= set(COLUMNS["analytics"].split(", "))


def test_nothing_is_read_where_nobody_computes() -> None:
    tables = list(COLUMNS)
    without = sources_of(KEYS, SYMBOL, tables, ["1m"], trades=True, analytics=False)
    both = sources_of(KEYS, SYMBOL, tables, ["1m"], trades=True, analytics=True)
    assert [source.key for source in both if source not in without] == [HASH, EVENTS]


async def test_what_the_owner_of_the_analytics_writes_is_read(sink: Sink) -> None:
    """With the script that it writes with; a call that is repeated tells nothing twice, and so does a second sample."""
    await sink.client.hset(KEYS.lease("analytics", SYMBOL), mapping={"owner": "x", "token": 4})
    store = AnalyticsStore(sink.client, KEYS, 100)
    fields = {name: value for name, value in figures(1).items() if name != "told_ms"}
    event = AnalyticsEvent("flicker", "bid", 1.5, 1_000 * MIDNIGHT, {"times": 20})
    said = AnalyticsPublication(SYMBOL, 4, fields, msgspec.json.encode([event]))
    for _ in range(2):
        assert await store.publish([said]) == ([], {})
    sink.start()
    await sink.until(COUNT, 1)
    await sink.until("SELECT count(*) FROM analytics WHERE told > now() - interval '1 hour'", 1)


async def test_a_worker_that_is_cut_off_and_a_killed_server_double_nothing(sink: Sink) -> None:
    """What was sampled the database alone knows: the next worker does not store it again."""
    for turn in range(3):
        worker = sink.start()
        for number in range(50):
            both = [wall(turn, side=side, time_us=1_000 * MIDNIGHT + number + 1) for side in ("bid", "ask")]
            await tell(sink.client, MIDNIGHT + 100 * turn + number, *both)
        await sink.client.hset(HASH, mapping=figures(MIDNIGHT + turn))
        await sink.until(COUNT, 100 * (turn + 1))
        await sink.until("SELECT count(*) FROM analytics", turn + 1)
        if turn == 1:
            sink.postgres.kill()
            await sink.cut_off()
            sink.postgres.start()
        else:
            await sink.stop()
    worker = sink.start()
    await tell(sink.client, MIDNIGHT + 1_000, wall(7))
    await sink.until(COUNT, 301)
    assert not any(stream.chunks for stream in worker.streams.values() if stream.source.table == "analytics")
    assert sink.postgres.query("SELECT serial FROM streams WHERE name = 'analytics'") == [(3,)]
    assert sink.postgres.query("SELECT count(*) FROM analytics") == [(3,)]


async def test_events_that_come_again_after_a_loss_are_there_once(
    sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis loses an entry that was stored, and the owner of the analytics, which got no answer, writes it again."""
    monkeypatch.setattr(worker_module, "CHECK_S", 0.05)
    sink.start()
    for number in range(4):
        await tell(sink.client, MIDNIGHT + number, wall(number), wall(number, side="bid"))
    await sink.until(COUNT, 8)
    pipe = sink.client.pipeline(transaction=True)
    pipe.delete(EVENTS)
    for ms, number in ((0, 0), (1, 1), (7, 2), (8, 3), (9, 4)):
        events = [wall(number), wall(number, side="bid")]
        pipe.xadd(EVENTS, {"data": json.dumps(events)}, id=f"{MIDNIGHT + ms}-3")
    await pipe.execute()
    await sink.until(COUNT, 10)
    assert sink.postgres.query("SELECT price, count(*) FROM analytics_events GROUP BY 1 ORDER BY 1") == [
        (price, 2) for price in range(5)
    ]


async def test_what_is_neither_figures_nor_events_is_told_and_holds_nothing_up(sink: Sink) -> None:
    await sink.client.xadd(EVENTS, {"data": "[{]"}, id=f"{MIDNIGHT}-0")
    await tell(sink.client, MIDNIGHT + 1, wall(1), wall(2, time_us=0))
    await sink.client.hset(HASH, mapping=figures(MIDNIGHT, mid="much"))
    worker = sink.start()
    await sink.until("SELECT count(*) FROM gaps WHERE channel LIKE 'analytics%'", 3)
    await sink.until(COUNT, 1)
    assert sink.postgres.query("SELECT channel, reason FROM gaps ORDER BY 1, 2") == [
        ("analytics", f"entry {MIDNIGHT}-0 holds what are no figures"),
        ("analytics:events", f"entry {MIDNIGHT}-0 is no list of events"),
        ("analytics:events", f"entry {MIDNIGHT + 1}-3 has an event without a time"),
    ]
    await sink.client.delete(HASH)
    await sink.client.set(HASH, "of another type")
    await sink.client.xadd(EVENTS, {"data": "[]"})
    await sink.until("SELECT serial > 1 FROM streams WHERE name = 'analytics:events'", True)
    await sink.client.delete(HASH)
    await sink.client.hset(HASH, mapping={**figures(MIDNIGHT + 1), "told_ms": "yesterday"})
    await tell(sink.client, MIDNIGHT + 10**12, wall(2))
    await sink.client.hset(HASH, mapping=figures(MIDNIGHT + 2))
    await sink.until("SELECT count(*) FROM analytics", 1)
    assert worker.writer.away_s == 0
