"""Further channels beside the books: once in the log over two lines, no harm to what the fleet lives by."""

from __future__ import annotations

import asyncio
import json

import pytest
from redis.asyncio import Redis
from test_live_streams import World

from workers.ingest.appender import Appender
from workers.ingest.line import Line
from workers.ingest.subscriptions import Refusals, Subscriptions
from workers.ingest.worker import gap_keys, incomplete, retentions
from workers.runtime.context import VenueContext, venue_contexts
from workers.runtime.tasks import end
from workers.settings.schema import IngestSettings, Settings, StreamSettings
from workers.store.log.streams import RawEntry
from workers.venues.binance.settings import BinanceSettings
from workers.venues.bybit.settings import BybitSettings
from workers.venues.channels import PATIENCE, QUIET
from workers.venues.messages import Subscription
from workers.venues.session import Session

NOW_US = 1_723_161_256_400_000
CHANNELS = ["kline_1m", "!forceOrder@arr"]
SETTINGS = Settings(
    venues={"usdm": BinanceSettings(market="usdm", symbols=["BTCUSDT"], channels=CHANNELS)},
    streams=StreamSettings(channels_ms=60_000),
)


def kline(time_ms: int, close: str) -> str:
    data = {"e": "kline", "E": time_ms, "s": "BTCUSDT", "k": {"c": close}}
    return json.dumps({"stream": "btcusdt@kline_1m", "data": data})


def forced(symbol: str, time_ms: int) -> str:
    data = {"e": "forceOrder", "E": time_ms, "o": {"s": symbol, "S": "SELL", "T": time_ms}}
    return json.dumps({"stream": "!forceOrder@arr", "data": data})


def line_of(context: VenueContext, name: str, into: list[RawEntry]) -> tuple[Line, Session]:
    line = Line(context.venue, context.keys, name, IngestSettings(), ["BTCUSDT"], into.append)
    session = context.venue.session("")
    extras = [one for endpoint in context.venue.endpoints(["BTCUSDT"]) for one in endpoint.subscriptions]
    session.subscribe([one for one in extras if one.is_extra], 1)
    return line, session


@pytest.fixture
def appenders(client: Redis) -> list[Appender]:
    contexts = venue_contexts(SETTINGS)
    kept, gaps = retentions(SETTINGS, contexts), gap_keys(contexts)
    return [Appender(client, name, SETTINGS.ingest, kept, gaps, 100) for name in "ab"]


async def test_what_both_lines_bring_is_in_the_log_once_whichever_is_late(
    client: Redis, appenders: list[Appender]
) -> None:
    [context] = venue_contexts(SETTINGS)
    now_ms = NOW_US // 1000
    frames = [kline(now_ms + number // 2, str(number)) for number in range(40)]  # two of each ms
    batches: list[list[RawEntry]] = [[], []]
    for number, into in enumerate(batches):
        line, session = line_of(context, "ab"[number], into)
        for place, frame in enumerate(frames):
            if place % 7 != 3 * number:  # what one line lacks the other one has
                line.frame(frame, NOW_US, session)
    for first in range(0, 40, 10):
        for appender, entries in zip(appenders, batches, strict=True):
            for entry in entries[first : first + 10]:
                appender.add(entry)
            await appender.flush()
    found = await client.xrange("raw:{BTCUSDT}:kline_1m")
    closes = [json.loads(fields[b"data"])["k"]["c"] for _, fields in found]
    assert sorted(map(int, closes)) == list(range(40))
    assert all(fields[b"line"] in (b"a", b"b") for _, fields in found)
    assert [int(stream_id.partition(b"-")[2]) for stream_id, _ in found] == list(range(1, 41))


async def test_the_writer_trims_them_by_their_own_age(client: Redis, appenders: list[Appender]) -> None:
    [context] = venue_contexts(SETTINGS)
    entries: list[RawEntry] = []
    line, session = line_of(context, "a", entries)
    for second in range(300):
        line.frame(kline(NOW_US // 1000 + second * 1000, str(second)), NOW_US + second * 10**6, session)
    for entry in entries:
        appenders[0].add(entry)
    await appenders[0].flush()
    assert await client.xlen("raw:{BTCUSDT}:kline_1m") < 200  # blocks of a stream go whole
    names = await client.zcard("raw:{BTCUSDT}:kline_1m:names")
    assert names <= 62


def test_of_a_stream_of_the_whole_market_other_symbols_are_left_out_in_silence() -> None:
    [context] = venue_contexts(SETTINGS)
    entries: list[RawEntry] = []
    line, session = line_of(context, "a", entries)
    for symbol in ("ETHUSDT", "BTCUSDT", "XRPUSDT"):
        line.frame(forced(symbol, NOW_US // 1000), NOW_US, session)
    assert [entry.key for entry in entries] == ["raw:{BTCUSDT}:!forceOrder@arr"]
    assert line.counts["unknown_symbol"] == 0


def test_a_part_of_a_frame_that_is_malformed_is_counted() -> None:
    [context] = venue_contexts(SETTINGS)
    entries: list[RawEntry] = []
    line, session = line_of(context, "a", entries)
    good = json.loads(forced("BTCUSDT", NOW_US // 1000))["data"]
    line.frame(json.dumps({"stream": "!forceOrder@arr", "data": [7, good]}), NOW_US, session)
    assert len(entries) == 1
    assert line.counts["malformed"] == 1


async def test_while_redis_is_slow_they_are_left_out_before_anything_else(client: Redis) -> None:
    contexts = venue_contexts(SETTINGS)
    settings = IngestSettings(buffer_entries=40, flush_entries=1)
    appender = Appender(client, "a", settings, retentions(SETTINGS, contexts), gap_keys(contexts), 100)
    for number in range(1, 31):
        for key, name in (("raw:{BTCUSDT}:kline_1m", f"n{number}"), ("raw:{BTCUSDT}:depth", "")):
            appender.add(RawEntry(key, 1_000 + number, number, b"{}", 1, "a", name=name))
    await appender.flush()
    assert await client.xlen("raw:{BTCUSDT}:depth") == 30
    assert await client.xlen("raw:{BTCUSDT}:kline_1m") == 5
    assert appender.left_out == {"raw:{BTCUSDT}:kline_1m"}
    assert appender.dropped == 0


def test_where_messages_say_only_what_changed_all_is_asked_for_once_some_were_left_out() -> None:
    bybit = BybitSettings(market="linear", symbols=["A", "B"], channels=["tickers", "kline.1"])
    contexts = venue_contexts(Settings(venues={"bybit": bybit, **SETTINGS.venues}))
    left_out = {"raw:{A}:tickers", "raw:{B}:kline.1", "usdm:raw:{BTCUSDT}:kline_1m"}
    assert incomplete(contexts, left_out) == {"bybit": [("tickers", "A")], "usdm": []}


DEPTH = Subscription("s@depth", "depth", "S")
SLOW = Subscription("s@kline", "kline", "S", PATIENCE)
RARE = Subscription("!force", "!force", "", QUIET)


def test_silence_of_a_rare_stream_says_nothing() -> None:
    streams = Subscriptions(Refusals(10), 100, 10)
    streams.want([RARE])
    assert not streams.unheard
    assert streams.accepted == 0  # nothing is to be expected of such a socket
    assert streams.patience == PATIENCE
    streams.heard("!force", "BTCUSDT", 1.0)
    streams.heard("!force", "BTCUSDT", 2.0)
    assert not streams.stopped(10_000.0, 1.0)


def test_a_slow_stream_may_be_silent_for_longer_than_a_book() -> None:
    streams = Subscriptions(Refusals(10), 100, 10)
    streams.want([DEPTH, SLOW])
    assert streams.patience == 1
    for second in (0.0, 1.0):
        for one in (DEPTH, SLOW):
            streams.heard(one.channel, one.symbol, second)
    assert streams.stopped(30.0, 1.0) == [DEPTH]
    assert SLOW in streams.stopped(130.0, 1.0)


async def test_they_have_sockets_of_their_own_and_a_stream_of_the_whole_market_is_there_once() -> None:
    world = World(3, market="usdm", channels=CHANNELS, trades="none", public_path="", market_path="")
    world.feeds.change(["A"])
    world.feeds.change(["B"])
    running = asyncio.create_task(world.feeds.run())
    assert world.feeds.streams == [
        ["a@depth@100ms", "b@depth@100ms"],
        ["a@kline_1m", "!forceOrder@arr", "b@kline_1m"],
    ]
    world.feeds.change([], ["A"])
    assert world.feeds.streams == [["b@depth@100ms"], ["!forceOrder@arr", "b@kline_1m"]]
    await end([running])


async def test_a_dead_socket_of_theirs_says_nothing_of_the_books() -> None:
    world = World(3, market="usdm", channels=CHANNELS, trades="none")
    world.feeds.change(["A"])
    running = asyncio.create_task(world.feeds.run())
    await world.opens(["a@depth@100ms"], ["a@kline_1m", "!forceOrder@arr"])
    books, extra = world.sockets
    extra.alive = False
    assert world.feeds.alive
    books.alive = False
    assert not world.feeds.alive
    await end([running])
