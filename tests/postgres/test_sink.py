"""Rows equal the truth, each once: under lost answers, killed servers, and a Redis that lost what it had."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest
from redis.asyncio import Redis

pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")

from sink_world import KEYS, MIDNIGHT, RAW, SYMBOL, Sink, append, bar, one_of_each, trade

from workers.bench.postgres_server import PostgresServer
from workers.postgres import worker as worker_module

COUNT = "SELECT count(*) FROM trades"


async def test_every_table_has_what_the_streams_have(sink: Sink) -> None:
    await append(sink.client, 995, 1005, MIDNIGHT - 1000)  # over midnight
    await sink.client.xadd(KEYS.bars(SYMBOL, "1m"), bar(MIDNIGHT, 1000, complete=False), id=f"{MIDNIGHT}-0")
    await sink.client.xadd(KEYS.bars(SYMBOL, "1m"), bar(MIDNIGHT, 1000, 1), id=f"{MIDNIGHT}-1")
    await one_of_each(sink.client)
    sink.start()
    query = sink.postgres.query
    counts = (
        f"(SELECT count(*) FROM {table})" for table in ("trades", "bars", "top_of_book", "gaps", "audits")
    )
    await sink.until(f"SELECT {' + '.join(counts)}", 16)
    [row] = query(
        "SELECT venue, symbol, t.time::text, trade_id, price::text, quantity::text, is_buyer_maker, is_market, "
        "event_time::text, received::text, line, venue_trade_id FROM trades t "
        "JOIN instruments i ON i.id = instrument_id WHERE trade_id = 1000"
    )
    assert row == ("usdm", SYMBOL, "2026-09-22 00:00:00+00", 1000, "0.10000", "1.50", True, True,
                   "2026-09-22 00:00:00.003+00", "2026-09-22 00:00:00.000123+00", "a", "")  # fmt: skip
    assert query(
        "SELECT revision, complete, volume::text, quote_volume::text FROM bars ORDER BY revision"
    ) == [
        (0, False, "12345678901234567890.12345678", "0.0000000000000001"),
        (1, True, "12345678901234567890.12345678", "0.0000000000000001"),
    ]
    assert query('SELECT revision, "interval" FROM latest_bars') == [(1, "1m")]
    assert query("SELECT bid_price::text, ask_quantity::text, published::text FROM quotes") == [
        ("84554.30", "1.265", "2026-11-21 00:32:05.371703+00")
    ]
    assert query("SELECT bid_quantities FROM top_of_book") == [([Decimal("0.306"), Decimal("0.301")],)]
    assert query("SELECT first_id, last_id, reason, told_by, sequence FROM gaps") == [
        (1, 18446744073709551616, "tab\t, \\N and\nline", "fleet", 3)
    ]
    assert query("SELECT low, high, waited_s, outcome FROM audits") == [
        (Decimal("81791.60"), None, Decimal("1.636"), "match")
    ]
    days = query("SELECT tableoid::regclass::text, count(*) FROM trades GROUP BY 1 ORDER BY 1")
    assert days == [("trades_2026_09_21", 5), ("trades_2026_09_22", 6)]


async def test_a_second_worker_goes_on_where_the_first_ended(sink: Sink) -> None:
    await append(sink.client, 1, 1200)
    sink.start()
    await sink.until(COUNT, 1200)
    await sink.stop()
    await append(sink.client, 1201, 1500)
    sink.start()
    await sink.until(COUNT, 1500)
    assert sink.ids() == list(range(1, 1501))


async def test_killed_servers_and_lost_answers_neither_double_nor_lose(sink: Sink) -> None:
    """kill -9 of PostgreSQL, and workers that end between any two statements, while rows come."""
    written = 0
    for killed in range(3):
        worker = sink.start()
        await append(sink.client, written + 1, written + 2000)
        written += 2000
        await sink.until(f"SELECT count(*) > {written - 2000} FROM trades", True)
        sink.postgres.kill()
        await append(sink.client, written + 1, written + 500)
        written += 500
        async with asyncio.timeout(60):
            while not worker.writer.away_s:
                await asyncio.sleep(0.01)
        worker.tell()
        assert worker._process.details["database"].startswith("away")
        if killed == 1:
            await sink.cut_off()
            worker = sink.start()
        sink.postgres.start()
        await sink.until(COUNT, written)
        await sink.stop()
    assert sink.ids() == list(range(1, written + 1))
    assert sink.postgres.query("SELECT * FROM gaps") == []


async def test_a_commit_whose_answer_was_lost_is_not_repeated(
    sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = sink.start()
    await append(sink.client, 1, 10)
    await sink.until(COUNT, 10)
    drop = type(next(iter(worker.streams.values()))).drop
    lost = []

    def forgetful(stream: Any, count: int) -> Any:
        if count and not lost:
            lost.append(count)
            raise ConnectionError("the answer of COMMIT is lost")
        return drop(stream, count)

    monkeypatch.setattr(type(next(iter(worker.streams.values()))), "drop", forgetful)
    await append(sink.client, 11, 20)
    await sink.until(COUNT, 20)
    await append(sink.client, 21, 30)
    await sink.until(COUNT, 30)
    assert lost
    assert sink.ids() == list(range(1, 31))
    assert sink.postgres.query("SELECT serial FROM streams WHERE name = 'aggTrade'") == [(3,)]


async def test_a_redis_that_lost_its_end_doubles_nothing(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trades 51 to 100 are lost with the server's last second; 91 on come again, all under earlier ids than before."""
    monkeypatch.setattr(worker_module, "CHECK_S", 0.05)
    sink.start()
    await append(sink.client, 1, 100, MIDNIGHT + 500)
    await sink.until(COUNT, 100)
    pipe = sink.client.pipeline(transaction=True)
    pipe.delete(RAW)
    for number in [*range(1, 51), *range(91, 121)]:
        stream_id, fields = trade(number, MIDNIGHT + 500 + number)
        pipe.xadd(RAW, fields, id=stream_id if number <= 50 else f"{MIDNIGHT + 460 + number}-{number}")
    await pipe.execute()
    await sink.until("SELECT max(trade_id) FROM trades", 120)
    await sink.until("SELECT count(*) FROM holes", 0)
    assert sink.ids() == list(range(1, 121))
    assert sink.postgres.query("SELECT * FROM gaps") == []


async def test_what_redis_trimmed_before_it_was_stored_is_told(sink: Sink) -> None:
    sink.start()
    await append(sink.client, 1, 10)
    await sink.client.xadd(KEYS.gaps(SYMBOL), {"channel": "depth", "reason": "first"}, id="1790035200001-0")
    await sink.until("SELECT (SELECT count(*) FROM trades) + (SELECT count(*) FROM gaps)", 11)
    await sink.stop()
    await append(sink.client, 11, 30)
    await sink.client.xtrim(RAW, minid=f"{MIDNIGHT + 21}", approximate=False)
    for number in range(2, 9):
        await sink.client.xadd(
            KEYS.gaps(SYMBOL), {"channel": "depth", "reason": "next"}, id=f"179003520000{number}-0"
        )
    await sink.client.xtrim(KEYS.gaps(SYMBOL), minid="1790035200006", approximate=False)
    sink.start()
    await sink.until("SELECT count(*) FROM gaps", 6)
    told = sink.postgres.query(
        "SELECT channel, first_id, last_id, reason FROM gaps WHERE told_by = 'postgres' ORDER BY 1"
    )
    assert told == [
        ("aggTrade", 11, 20, "trades were trimmed before they were stored"),
        (
            "gaps",
            1790035200001,
            1790035200006,
            "4 entries between these times, ms, were trimmed before they were stored",
        ),
    ]
    assert sink.ids() == [*range(1, 11), *range(21, 31)]
    recorded = [fields[b"channel"] for _, fields in await sink.client.xrange(KEYS.gaps(SYMBOL))]
    assert recorded.count(b"postgres") == 2
    await asyncio.sleep(0.1)
    assert sink.postgres.query("SELECT count(*) FROM gaps") == [(6,)], (
        "what this role told does not come back"
    )


async def test_a_restored_redis_is_told_where_ids_prove_nothing(sink: Sink) -> None:
    key = KEYS.audit(SYMBOL)
    sink.start()
    for number in range(5):
        await sink.client.xadd(key, {"outcome": f"{number}"}, id=f"{MIDNIGHT + number}-0")
    await sink.until("SELECT count(*) FROM audits", 5)
    pipe = sink.client.pipeline(transaction=True)
    pipe.delete(key)
    for number in (0, 1, 2, 7):
        pipe.xadd(key, {"outcome": f"{number}"}, id=f"{MIDNIGHT + number}-0")
    await pipe.execute()
    await sink.until("SELECT string_agg(outcome, '' ORDER BY time) FROM audits", "012347")
    [(channel, first, reason)] = sink.postgres.query("SELECT channel, first_id, reason FROM gaps")
    assert (channel, first) == ("audit", MIDNIGHT + 4)
    assert reason == "Redis lost its data: entries between these times, ms, may be missing"


async def test_missing_trades_come_from_the_repair(sink: Sink) -> None:
    """11 to 14 are in no stream: the fold has 12 and 13 from REST, and has passed the hole."""
    sink.settings.postgres.hole_wait_s = 600
    sink.start()
    await append(sink.client, 1, 10)
    await append(sink.client, 15, 20)
    await sink.until("SELECT count(*) FROM holes", 1)
    assert sink.ids() == [*range(1, 11), *range(15, 21)], "what comes after a hole does not wait for it"
    await sink.stop()
    for number in (12, 13):
        member = {"event_type": "aggTrade", "event_time": MIDNIGHT + number, "symbol": SYMBOL, "agg_trade_id": number,
                  "price": "7.10", "quantity": "2", "first_trade_id": 1, "last_trade_id": 1,
                  "trade_time": MIDNIGHT + number, "is_buyer_maker": False}  # fmt: skip
        await sink.client.zadd(KEYS.trades_latest(SYMBOL), {json.dumps(member): MIDNIGHT + number})
    await sink.client.hset(KEYS.trades_state(SYMBOL), "last_id", 20)
    sink.start()
    await sink.until("SELECT count(*) FROM holes", 0)
    assert sink.ids() == [*range(1, 11), 12, 13, *range(15, 21)]
    assert sink.postgres.query("SELECT line, price::text FROM trades WHERE trade_id = 12") == [
        ("repair", "7.10")
    ]
    told = sink.postgres.query("SELECT first_id, last_id, reason FROM gaps ORDER BY first_id")
    assert told == [(number, number, "trades are in no stream and not repaired") for number in (11, 14)]


async def test_of_two_versions_of_a_bar_the_proven_one_stays(sink: Sink) -> None:
    """A fold that began anew makes the same windows again: with less."""
    key = KEYS.bars(SYMBOL, "1m")
    sink.start()
    await sink.client.xadd(key, bar(MIDNIGHT, 1, volume="5"), id=f"{MIDNIGHT}-0")
    await sink.client.xadd(
        key, bar(MIDNIGHT + 60_000, 2, complete=False, volume="6"), id=f"{MIDNIGHT + 60_000}-0"
    )
    await sink.until("SELECT count(*) FROM bars", 2)
    pipe = sink.client.pipeline(transaction=True)
    pipe.delete(key)
    pipe.xadd(key, bar(MIDNIGHT, 1, complete=False, volume="3"), id=f"{MIDNIGHT}-0")
    pipe.xadd(key, bar(MIDNIGHT + 60_000, 2, volume="9"), id=f"{MIDNIGHT + 60_000}-0")
    pipe.xadd(key, bar(MIDNIGHT + 120_000, 3, volume="1"), id=f"{MIDNIGHT + 120_000}-0")
    await pipe.execute()
    await sink.until("SELECT count(*) FROM bars", 3)
    assert sink.postgres.query("SELECT volume::int, complete FROM latest_bars ORDER BY start") == [
        (5, True), (9, True), (1, True)
    ]  # fmt: skip


async def test_rows_that_cannot_be_stored_are_told_and_hold_nothing_up(sink: Sink) -> None:
    sink.start()
    await append(sink.client, 1, 3)
    await sink.client.xadd(RAW, {"data": "{", "received": "1", "line": "a"}, id=f"{MIDNIGHT + 4}-4")
    stream_id, fields = trade(5, 95_617_584_000_000)  # in the year 5000
    await sink.client.xadd(RAW, fields | {"line": "a\0\\b"}, id=f"{MIDNIGHT + 5}-5")
    stream_id, fields = trade(6, MIDNIGHT + 6)
    await sink.client.xadd(RAW, fields | {"line": "a\0\\b"}, id=stream_id)
    await sink.until(COUNT, 4)
    assert sink.ids() == [1, 2, 3, 6]
    assert sink.postgres.query("SELECT line FROM trades WHERE trade_id = 6") == [("a\ufffd\\b",)]
    assert sink.postgres.query("SELECT first_id::int, reason FROM gaps ORDER BY 1") == [
        (4, f"entry {MIDNIGHT + 4}-4 cannot be decoded"),
        (5, f"entry {MIDNIGHT + 5}-5 is dated ahead"),
    ]


async def test_an_owner_that_was_overtaken_writes_nothing(sink: Sink) -> None:
    worker = sink.start()
    await append(sink.client, 1, 5)
    await sink.until(COUNT, 5)
    await sink.client.hset(KEYS.lease("postgres", SYMBOL), mapping={"owner": "another", "token": 99})
    sink.postgres.query("UPDATE streams SET fence = 99")
    await append(sink.client, 6, 9)
    async with asyncio.timeout(60):
        while worker.streams:
            await asyncio.sleep(0.01)
    assert sink.ids() == [1, 2, 3, 4, 5]


async def test_days_beyond_what_is_kept_are_dropped_whole(sink: Sink) -> None:
    sink.start()
    await append(sink.client, 1, 10)
    await sink.until(COUNT, 10)
    await sink.stop()
    sink.settings.postgres.keep_days = 2
    await append(sink.client, 11, 12)
    now_ms = int((await sink.client.time())[0]) * 1000
    await append(sink.client, 13, 14, now_ms)
    sink.start()
    await sink.until("SELECT min(trade_id) FROM trades", 13)
    assert sink.ids() == [13, 14]
    assert sink.postgres.query("SELECT to_regclass('trades_2026_09_22')") == [(None,)]
    assert sink.postgres.query("SELECT * FROM gaps") == []


async def test_two_workers_share_the_symbols(postgres: PostgresServer, spare_server: str) -> None:
    """Each entry is stored once whichever of them has the symbol, and a worker that comes takes some over."""
    first = Sink(spare_server, postgres)
    second = Sink(spare_server, postgres)
    client: Any = Redis.from_url(spare_server, protocol=2)
    symbols = [f"S{number}USDT" for number in range(6)]
    for sink in (first, second):
        sink.settings.venues["usdm"].symbols = symbols

    async def feed(begin: int) -> None:
        for symbol in symbols:
            for number in range(begin, begin + 50):
                _, fields = trade(number, MIDNIGHT + number)
                await client.xadd(KEYS.raw(symbol, "aggTrade"), fields, id=f"{MIDNIGHT + number}-{number}")

    try:
        first.start()
        await feed(1)
        await first.until(COUNT, 300)
        worker = second.start()
        second.process.name = "postgres-b"  # type: ignore[union-attr]
        async with asyncio.timeout(60):
            while not worker.streams:
                await asyncio.sleep(0.02)
        await feed(51)
        await first.until(COUNT, 600)
        assert first.postgres.query(
            "SELECT count(*) FROM (SELECT DISTINCT instrument_id, trade_id FROM trades) t"
        ) == [(600,)]
    finally:
        await client.aclose()
        await second.close()
        await first.close()
