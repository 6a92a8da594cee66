"""Live trades have no silent holes: what is subscribed to is sent whole, repaired, or told to be missing."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from test_topics import WINDOW

from workers.api.books.live import LiveBooks
from workers.api.books.reader import Reader
from workers.api.http.markets import Markets
from workers.api.live import topics, trade_holes
from workers.api.live.hub import Hub, Wanted
from workers.api.live.outlet import Outlet
from workers.api.live.topics import Hole, TradesTopic, WindowTopic
from workers.api.live.trade_holes import TradeHoles, filling
from workers.errors import TryLater
from workers.model.events import Trade
from workers.model.trades.latest import json_member
from workers.settings.schema import Settings
from workers.store.books.watch import Watch
from workers.venues.binance.settings import BinanceSettings

SETTINGS = Settings(venues={"usdm": BinanceSettings(market="usdm", symbols=["S", "Q"])})
MARKETS = Markets(SETTINGS)
MARKET = MARKETS.named("S")
KEYS = MARKET.context.keys
RAW, STATE, LATEST = KEYS.raw("S", "aggTrade"), KEYS.trades_state("S"), KEYS.trades_latest("S")
FIRST_MS = 1_795_000_000_000


def frame(number: int, quantity: str = "2", **more: str) -> bytes:
    fields = {
        "e": "aggTrade",
        "E": 1,
        "s": "S",
        "a": number,
        "p": "1.0",
        "q": quantity,
        "f": number,
        "l": number,
    }
    return msgspec.json.encode({**fields, "T": FIRST_MS + number, "m": True, **more})


def entries(*numbers: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
    return [(b"%d-%d" % (FIRST_MS + number, number), {b"data": frame(number)}) for number in numbers]


async def append(client: Redis, *numbers: int) -> None:
    for stream_id, fields in entries(*numbers):
        await cast("Any", client).xadd(RAW, fields, id=stream_id)


async def hold(client: Redis, *numbers: int) -> None:
    """What a repair leaves in the latest set."""
    for number in numbers:
        row = Trade("S", number, "1.0", "2", number, number, FIRST_MS + number, 1, True)
        await client.zadd(LATEST, {json_member(row, "aggTrade"): FIRST_MS + number})


async def sent(outlet: Outlet) -> list[Any]:
    """What a client was sent, in short: ids; ids that were repaired; first, last and reason of what is missing."""
    told: list[Any] = []
    if not outlet.waits:
        return told
    for message in map(msgspec.json.decode, await outlet.take()):
        if message.get("type") == "missing":
            assert message["count"] == message["last"] - message["first"] + 1
            told.append((message["first"], message["last"], message["reason"]))
        else:
            ids = [trade["id"] for trade in message["trades"]]
            told.append(("repaired", ids) if message.get("repaired") else ids)
    return told


@pytest.fixture
def topic() -> TradesTopic:
    return TradesTopic(MARKET, b"%d-4" % FIRST_MS)


@pytest.fixture
def outlet(topic: TradesTopic) -> Outlet:
    made = Outlet(1000)
    topic.join(made)
    return made


async def test_later_trades_go_on_and_the_repaired_ones_follow(
    client: Redis, topic: TradesTopic, outlet: Outlet
) -> None:
    holes = TradeHoles(client, Watch(client))
    topic.take(entries(5, 6, 9, 10))
    assert await sent(outlet) == [[5, 6, 9, 10]]
    await hold(client, 5, 6, 7)
    await client.hset(STATE, "last_id", 7)
    await holes.fill([topic])
    assert await sent(outlet) == [], "the fold is still within the hole"
    await hold(client, 8, 9, 10)
    await client.hset(STATE, "last_id", 8)
    await holes.fill([topic])
    assert await sent(outlet) == [("repaired", [7, 8])]
    assert not topic.holes


async def test_what_the_fold_accepted_as_missing_is_told(
    client: Redis, topic: TradesTopic, outlet: Outlet
) -> None:
    topic.take(entries(7, 12))
    await hold(client, 6, 7, 10, 12)
    await client.hset(STATE, "last_id", 12)
    await TradeHoles(client, Watch(client)).fill([topic])
    why = trade_holes.NOT_HELD
    assert await sent(outlet) == [
        [7, 12],
        ("repaired", [6]),
        (5, 5, why),
        ("repaired", [10]),
        (8, 9, why),
        (11, 11, why),
    ]


async def test_a_hole_right_after_the_subscription_is_one(client: Redis, topic: TradesTopic) -> None:
    topic.take(entries(5))
    assert not topic.holes
    fresh = TradesTopic(MARKET, b"%d-4" % FIRST_MS)
    fresh.take(entries(6))
    assert [(hole.first, hole.last) for hole in fresh.holes] == [(5, 5)]
    unknown = TradesTopic(MARKET)
    unknown.take(entries(6))
    assert not unknown.holes, "nothing was there before it"


async def test_trades_that_are_none_of_the_market_are_no_holes() -> None:
    raw = BinanceSettings(market="usdm", symbols=["S"], trades="trade")
    topic, outlet = TradesTopic(Markets(Settings(venues={"usdm": raw})).named("S"), b"1-4"), Outlet(10)
    topic.join(outlet)
    for number, kind in ((5, "MARKET"), (6, "INSURANCE_FUND"), (7, "MARKET")):
        fields = {
            "e": "trade",
            "E": 1,
            "T": 1,
            "s": "S",
            "t": number,
            "p": "1",
            "q": "1",
            "X": kind,
            "m": False,
        }
        topic.take([(b"%d-%d" % (FIRST_MS, number), {b"data": msgspec.json.encode(fields)})])
    assert not topic.holes
    assert await sent(outlet) == [[5], [7]]


async def test_ids_that_begin_anew_are_no_hole_and_end_those_before(
    client: Redis, topic: TradesTopic, outlet: Outlet
) -> None:
    topic.take(entries(5, 9))
    topic.take(entries(1, 4))
    assert await sent(outlet) == [[5, 9], (6, 8, "the exchange began its ids anew"), [1, 4]]
    await client.hset(STATE, "last_id", 9)  # the fold still stands where it was
    await TradeHoles(client, Watch(client)).fill([topic])
    assert (await sent(outlet), len(topic.holes)) == ([], 1)
    await hold(client, 2, 3)
    await client.hset(STATE, "last_id", 4)
    await TradeHoles(client, Watch(client)).fill([topic])
    assert await sent(outlet) == [("repaired", [2, 3])]


async def test_an_entry_that_is_no_bar_is_left_out() -> None:
    topic, outlet = WindowTopic("bars", MARKET, "1m"), Outlet(10)
    topic.join(outlet)
    whole = {key.encode(): value.encode() for key, value in WINDOW.items()}
    broken = {**whole, b"trades_count": b"x"}
    topic.take([(b"1-0", {b"start": b"60000"}), (b"2-0", broken), (b"3-0", whole)])
    assert len(await outlet.take()) == 1


async def test_patience_and_numbers_are_bounded(
    client: Redis, topic: TradesTopic, outlet: Outlet, monkeypatch: pytest.MonkeyPatch
) -> None:
    holes = TradeHoles(client, Watch(client))
    topic.take(entries(6))
    monkeypatch.setattr(time, "monotonic", lambda: topic.holes[0].deadline)
    await holes.fill([topic])
    assert await sent(outlet) == [[6], (5, 5, trade_holes.NOT_YET)]
    monkeypatch.undo()

    monkeypatch.setattr(trade_holes, "MOST_PUSHED", 3)
    topic.take(entries(11))
    await client.hset(STATE, "last_id", 11)
    await hold(client, 7, 8, 9, 10)
    await holes.fill([topic])
    assert await sent(outlet) == [[11], (7, 10, trade_holes.TOO_MANY)]

    monkeypatch.setattr(topics, "MOST_HOLES", 2)
    topic.take(entries(13, 15, 17))
    assert [hole.first for hole in topic.holes] == [14, 16]
    (told, _) = await sent(outlet)
    assert told[:2] == (12, 12)


@pytest.mark.parametrize("spoil", ["type", "member"])
async def test_what_cannot_be_read_of_one_market_costs_no_other(
    client: Redis, topic: TradesTopic, outlet: Outlet, spoil: str
) -> None:
    other, listener = TradesTopic(MARKETS.named("Q"), b"%d-4" % FIRST_MS), Outlet(10)
    other.join(listener)
    for one in (topic, other):
        one.take(entries(6))
    for symbol in ("S", "Q"):
        await client.hset(KEYS.trades_state(symbol), "last_id", 6)
    row = Trade("Q", 5, "1.0", "2", 5, 5, FIRST_MS + 5, 1, True)
    await client.zadd(KEYS.trades_latest("Q"), {json_member(row, "aggTrade"): FIRST_MS + 5})
    if spoil == "type":
        await client.set(LATEST, "text")
    else:
        await client.zadd(LATEST, {"rubbish": FIRST_MS + 5})
    holes = TradeHoles(client, Watch(client))
    await holes.fill([topic, other])
    assert await sent(listener) == [[6], ("repaired", [5])]
    assert await sent(outlet) == [[6]], "it may be cured"
    topic.holes[0] = topic.holes[0]._replace(deadline=0.0)
    await holes.fill([topic, other])
    assert await sent(outlet) == [(5, 5, trade_holes.UNREADABLE)]


async def test_redis_in_trouble_leaves_the_holes_open(topic: TradesTopic, outlet: Outlet) -> None:
    class Gone(Watch):
        async def folded(self, keys: Any) -> list[int]:
            raise RedisConnectionError("gone")

    holes = TradeHoles(cast("Any", None), Gone(cast("Any", None)))
    topic.take(entries(6))
    await holes.poll([topic])
    await holes.close()
    assert len(topic.holes) == 1
    assert await sent(outlet) == [[6]]


@given(st.integers(1, 60), st.integers(0, 40), st.sets(st.integers(0, 120)), st.randoms())
def test_a_hole_is_filled_or_told_to_be_missing_id_by_id(
    first: int, more: int, held: set[int], order: Any
) -> None:
    hole = Hole(first, first + more, 0, 0, 0.0)
    rows = [Trade("S", number, "1", "1", number, number, 0, 0, False) for number in held]
    order.shuffle(rows)
    found, missing = filling(hole, rows)
    ids = [row.trade_id for row in found]
    assert ids == sorted(number for number in held if first <= number <= first + more)
    gone = [number for low, high in missing for number in range(low, high + 1)]
    assert sorted(ids + gone) == list(range(first, first + more + 1))
    assert all(high + 1 < low for (_, high), (low, _) in zip(missing, missing[1:], strict=False)), (
        "runs are whole"
    )


def hub_of(client: Redis) -> tuple[Hub, Reader]:
    reader = Reader(Watch(client), 1)

    async def no_states(_: Any) -> list[Any]:
        return []

    holes = TradeHoles(client, reader.watch)
    return Hub(
        SETTINGS.api,
        MARKETS,
        LiveBooks(client, reader, SETTINGS),
        reader,
        no_states,
        holes,
        {},
    ), reader


async def test_subscribed_means_that_whatever_comes_after_it_is_sent_once(client: Redis) -> None:
    hub, reader = hub_of(client)
    await append(client, 1, 2, 3)
    first, second = hub.enter("ws"), hub.enter("ws")
    wanted = Wanted(channel="trades", symbols=["S"])
    assert await hub.subscribe(first, wanted) == (["usdm:S"], {"usdm:S": 3})
    await append(client, 4)  # before the reader looked for the first time
    await reader.step()
    assert await hub.subscribe(second, wanted) == (["usdm:S"], {"usdm:S": 4})
    await append(client, 5, 7)
    await reader.step()
    assert await sent(first.outlet) == [[4], [5, 7]]
    assert await sent(second.outlet) == [[5, 7]]
    assert await hub.subscribe(second, Wanted(channel="trades", symbols=["Q"])) == (
        ["usdm:Q"],
        {"usdm:Q": -1},
    )

    await hold(client, 6)
    await client.hset(STATE, "last_id", 7)
    async with asyncio.timeout(30):
        while not (first.outlet.waits and second.outlet.waits):
            await reader.step()
            await asyncio.sleep(0.01)
    assert await sent(first.outlet) == await sent(second.outlet) == [("repaired", [6])]
    await hub.close()


async def test_bars_closed_after_the_subscription_are_sent(client: Redis) -> None:
    hub, reader = hub_of(client)
    listener, stream = hub.enter("ws"), KEYS.bars("S", "1m")
    bars: Any = client
    await bars.xadd(stream, {**WINDOW, "start": "0"}, id="1-0")
    await hub.subscribe(listener, Wanted(channel="bars", symbols=["S"], interval="1m"))
    await bars.xadd(stream, {**WINDOW, "start": "60000"}, id="60000-0")
    await reader.step()
    told = [msgspec.json.decode(message) for message in await listener.outlet.take()]
    assert [message["bar"]["start_ms"] for message in told] == [60_000]
    await hub.close()


async def test_a_subscription_that_redis_does_not_answer_is_refused_and_leaves_nothing(client: Redis) -> None:
    hub, reader = hub_of(client)

    async def gone(_: Any) -> list[bytes]:
        raise RedisConnectionError("gone")

    reader.watch.ends = gone  # type: ignore[method-assign]  # the server's part
    listener = hub.enter("ws")
    with pytest.raises(TryLater, match="Redis does not answer"):
        await hub.subscribe(listener, Wanted(channel="trades", symbols=["S", "Q"]))
    assert (listener.topics, reader.streams) == ({}, 0)
    await hub.close()
