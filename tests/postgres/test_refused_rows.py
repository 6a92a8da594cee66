"""What refused rows, dropped days, odd databases and symbols that end cost: nothing of the other streams."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from hashlib import blake2b
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")

import psycopg
from sink_world import KEYS, MIDNIGHT, SYMBOL, Sink, append, bar, figures

from workers.model.trades.windows import INTERVALS_MS
from workers.postgres import worker as worker_module
from workers.postgres import writer as writer_module
from workers.postgres.database import Stored
from workers.postgres.metrics import AWAY, REFUSED
from workers.runtime.ownership import Claim
from workers.runtime.process import Process
from workers.store.fleet.followed import publish
from workers.store.log.tail import AT_ONCE, UNKNOWN, Place

COUNT = "SELECT count(*) FROM trades"


async def test_a_stream_whose_rows_are_refused_takes_no_room_from_the_others(
    sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a constraint of somebody else's; what is refused is stored once it may be."""
    monkeypatch.setattr(writer_module, "LONGEST_PAUSE_S", 0.05)
    sink.settings.postgres.buffer_rows, sink.settings.postgres.read_count = 20, 5
    sink.start()
    await append(sink.client, 1, 1)
    await sink.until(COUNT, 1)
    sink.postgres.query("ALTER TABLE trades ADD CONSTRAINT mine CHECK (trade_id <> 3)")
    await append(sink.client, 2, 60)
    gap = {"channel": "depth", "from": 1, "to": 2, "reason": "sequence", "repaired": "no"}
    for number in range(60):
        await sink.client.xadd(KEYS.gaps(SYMBOL), gap, id=f"{MIDNIGHT + number}-0")
    await sink.until("SELECT count(*) FROM gaps", 60)
    assert len(sink.ids()) < 60
    sink.postgres.query("ALTER TABLE trades DROP CONSTRAINT mine")
    await sink.until(COUNT, 60)
    assert sink.ids() == list(range(1, 61))


async def test_a_repaired_trade_that_is_refused_holds_up_nobody(sink: Sink) -> None:
    sink.start()
    await append(sink.client, 1, 2)
    await sink.until(COUNT, 2)
    sink.postgres.query("ALTER TABLE trades ADD CONSTRAINT mine CHECK (line <> 'repair')")
    trade = {"event_type": "aggTrade", "event_time": MIDNIGHT + 3, "symbol": SYMBOL, "agg_trade_id": 3, "price": "7",
             "quantity": "2", "first_trade_id": 1, "last_trade_id": 1, "trade_time": MIDNIGHT + 3,
             "is_buyer_maker": False}  # fmt: skip
    await sink.client.zadd(KEYS.trades_latest(SYMBOL), {json.dumps(trade): MIDNIGHT + 3})
    await sink.client.hset(KEYS.trades_state(SYMBOL), "last_id", 9)
    before, refused = AWAY._value.get(), REFUSED.labels("trades")._value.get()
    await append(sink.client, 4, 9)
    async with asyncio.timeout(60):
        while REFUSED.labels("trades")._value.get() == refused and AWAY._value.get() == before:
            await asyncio.sleep(0.02)
    assert AWAY._value.get() == before
    await append(sink.client, 10, 12)
    await sink.until(COUNT, 11)


async def test_a_text_too_long_for_an_index_costs_its_stream_alone(sink: Sink) -> None:
    sink.start()
    digests = (blake2b(b"%d" % number).hexdigest() for number in range(100))
    gap = {"channel": "".join(digests), "from": 1, "to": 2, "reason": "sequence", "repaired": "no"}
    await sink.client.xadd(KEYS.gaps(SYMBOL), gap)
    await append(sink.client, 1, 5)
    await sink.until(COUNT, 5)
    assert sink.postgres.query("SELECT * FROM gaps") == []


async def test_a_day_that_somebody_dropped_is_made_again(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "LONGEST_PAUSE_S", 0.05)
    sink.start()
    await append(sink.client, 1, 5)
    await sink.until(COUNT, 5)
    sink.postgres.query("DROP TABLE trades_2026_09_22")
    await append(sink.client, 6, 9)
    await sink.until(COUNT, 4)
    assert sink.ids() == [6, 7, 8, 9]


async def test_a_database_that_knows_no_encoding_has_every_text(sink: Sink) -> None:
    """As `initdb` makes it where no locale is set."""
    sink.postgres.query(
        "CREATE DATABASE plain ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    )
    try:
        sink.settings.postgres.dsn = sink.postgres.dsn.replace("dbname=postgres", "dbname=plain")
        sink.start()
        await append(sink.client, 1, 3)
        statement = (
            "SELECT convert_from(symbol::bytea, 'UTF8'), count(*) FROM marketfleet.trades "
            "JOIN marketfleet.instruments ON id = instrument_id GROUP BY 1"
        )
        found: list[Any] = []
        async with asyncio.timeout(60):
            while found != [(SYMBOL, 3)]:
                await asyncio.sleep(0.05)
                with (
                    suppress(psycopg.Error),
                    psycopg.connect(sink.settings.postgres.dsn, client_encoding="UTF8") as connection,
                ):
                    found = connection.execute(statement).fetchall()
    finally:
        await sink.stop()
        sink.postgres.query("DROP DATABASE plain WITH (FORCE)")


async def test_a_nul_in_a_text_of_json_is_replaced(sink: Sink) -> None:
    sink.start()
    icebergs = json.dumps([["bid", 1.0, 2.0, 0.5, "a\0\\u0000\0"]])
    await sink.client.hset(KEYS.analytics(SYMBOL), mapping=figures(MIDNIGHT, icebergs=icebergs))
    await sink.until("SELECT icebergs->0->>4 FROM analytics", "a\ufffd\\u0000\ufffd")


@pytest.mark.parametrize("days", [400, -400])
async def test_a_clock_that_somebody_set_drops_no_day(
    sink: Sink, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    now_s = time.time()
    clock = SimpleNamespace(
        time=lambda: now_s + 86_400 * days, monotonic=time.monotonic, time_ns=time.time_ns
    )
    monkeypatch.setattr(worker_module, "time", clock)
    monkeypatch.setattr(writer_module, "time", clock)
    sink.settings.postgres.keep_days = 2
    sink.start()
    await append(sink.client, 1, 5, int(now_s * 1000))
    await sink.until(COUNT, 5)
    await sink.stop()
    sink.start()
    await append(sink.client, 6, 9, int(now_s * 1000))
    await sink.until(COUNT, 9)
    assert sink.postgres.query("SELECT * FROM gaps") == []


async def test_a_symbol_that_is_followed_no_more_is_stored_to_its_end(
    sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others give it up a little later, and its last windows are closed then."""
    monkeypatch.setattr(worker_module, "LEAVES_S", 3.0)
    worker = sink.start()
    await append(sink.client, 1, 5)
    await sink.until(COUNT, 5)
    rules = worker._contexts[0].symbols.rule.text
    await publish(sink.client, "usdm", rules, [], {SYMBOL: "SETTLING"})
    async with asyncio.timeout(60):
        while await sink.client.exists(KEYS.lease("postgres", SYMBOL)):
            await asyncio.sleep(0.01)
    await sink.client.xadd(KEYS.bars(SYMBOL, "1d"), bar(MIDNIGHT, 5), id=f"{MIDNIGHT}-0")
    await append(sink.client, 6, 6)
    await sink.until("SELECT count(*) FROM bars", 1)
    await sink.until(COUNT, 6)
    async with asyncio.timeout(60):
        while worker.streams:
            await asyncio.sleep(0.01)


async def test_of_many_streams_that_are_behind_no_more_is_read_than_there_is_room_for(sink: Sink) -> None:
    symbols = [f"S{number}USDT" for number in range(20)]
    sink.settings.venues["usdm"].symbols = symbols
    sink.settings.postgres.tables, sink.settings.postgres.buffer_rows = ["bars"], 50
    process = Process("postgres", sink.settings, 0, sink.url)
    made = worker_module.PostgresWorker(process)
    for place, symbol in enumerate(symbols):
        await made.recover(Claim(made._contexts[0], symbol), 7)
        pipe = sink.client.pipeline(transaction=False)
        for interval in INTERVALS_MS:
            for number in range(20):
                pipe.xadd(
                    KEYS.bars(symbol, interval), bar(MIDNIGHT + number, number), id=f"{MIDNIGHT + number}-0"
                )
        await pipe.execute()
        for stream in made.streams.values():
            stream.start(place, Stored(Place(), 0, UNKNOWN, 7))
    read: set[str] = set()
    for _ in range(5):
        await made.read()
        assert made._buffered <= AT_ONCE * 21
        for stream in made.streams.values():
            if stream.chunks:
                read.add(stream.source.key)
                stream.drop(len(stream.chunks))
    assert len(read) == len(made.streams) == 140
    await process.client.aclose()
