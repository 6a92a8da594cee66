"""Trades of venues whose ids are not consecutive: the log numbers them, exactly once, and nothing is called proven."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from named_trades_venue import frame, made_up
from prometheus_client import REGISTRY
from redis.asyncio import Redis
from trades_owners import Owner, two_owners

from workers.api.http.markets import Markets
from workers.api.http.routes.trades import trade_record
from workers.api.live.outlet import Outlet
from workers.api.live.topics import TradesTopic
from workers.archive.files.kept import HeldRows
from workers.archive.files.layout import Source, StreamId
from workers.archive.files.rows import row_of, trade_of
from workers.client.decoding import WireDecoder
from workers.client.records import Gap, Trade
from workers.client.trades import TradeFeed
from workers.errors import MalformedFrame
from workers.model.trades.latest import MEMBERS, LatestTrade, decode_member
from workers.runtime.context import venue_contexts
from workers.settings.schema import Settings
from workers.store.keys import TRADES, Keys
from workers.store.log.ranges import Ranges
from workers.store.log.streams import Delivered
from workers.store.trades.state import TradesState, read_state
from workers.venues import registry
from workers.venues.binance.settings import BinanceSettings
from workers.venues.entries import trade_of as trade_of_entry
from workers.venues.facts import TradeIds

KEYS = Keys()
S = "BTCUSDT"
RAW = KEYS.raw(S, TRADES)
T0 = 1_790_035_200_000
BEYOND = 2**53 + 1
"""The first id that a double does not hold."""
NAMES: dict[TradeIds, Callable[[int], str | int]] = {
    "rising": lambda number: BEYOND + 2 * number,
    "neither": lambda number: f"{(number * 7919) % 1000:03}-成-{number}",
}


@pytest.fixture(params=["rising", "neither"])
def ids(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> TradeIds:
    kind: TradeIds = request.param
    monkeypatch.setitem(registry._VENUES, "binance", made_up(kind))  # type: ignore[call-overload]  # it is a dict
    return kind


@pytest.fixture
def client(real_client: Redis) -> Redis:
    return real_client


def fleet_settings() -> Settings:
    return Settings(venues={"usdm": BinanceSettings(market="usdm", symbols=[S])})


@pytest.fixture
async def owners(ids: TradeIds, client: Redis, real_server: str) -> AsyncIterator[list[Owner]]:
    """Two workers, of which the second can take over from the first."""
    async with two_owners(fleet_settings(), real_server) as made:
        yield made


async def append(client: Redis, ids: TradeIds, number: int, ms: int, data: bytes | None = None) -> None:
    """As the log numbers it."""
    data = frame(NAMES[ids](number), ms) if data is None else data
    await client.xadd(RAW, {"data": data, "received": ms * 1000, "line": "a"}, id=f"{ms}-{number}")


async def append_break(client: Redis, number: int, ms: int) -> None:
    fields = {"data": b"", "received": ms * 1000, "line": "a", "kind": "break"}
    await client.xadd(RAW, fields, id=f"{ms}-{number}")


async def held(client: Redis) -> list[LatestTrade]:
    rows = await client.zrange(KEYS.trades_latest(S), 0, -1, withscores=True)
    return [decode_member(member, S, int(score)) for member, score in rows]


async def versions(client: Redis, interval: str = "1m") -> dict[int, tuple[str, str, int]]:
    """Of each bar its newest: whether it is complete, why not, and its trades."""
    bars = [fields for _, fields in await client.xrange(KEYS.bars(S, interval))]
    return {
        int(bar[b"start"]): (
            bar[b"complete"].decode(),
            bar[b"reason"].decode(),
            int(bar[b"trades_count"]),
        )
        for bar in bars
    }


async def gaps(client: Redis) -> list[tuple[int, int, str, str]]:
    return [
        (int(fields[b"from"]), int(fields[b"to"]), fields[b"reason"].decode(), fields[b"repaired"].decode())
        for _, fields in await client.xrange(KEYS.gaps(S))
    ]


async def pending(client: Redis) -> int:
    return int((await client.xpending(RAW, "trades"))["pending"])


async def test_trades_go_by_the_numbers_of_the_log_and_keep_their_own_ids(
    ids: TradeIds, client: Redis, owners: list[Owner]
) -> None:
    first, second = owners
    for number in range(1, 6):
        await append(client, ids, number, T0 + 40_000 * number)
    await first.take_over(client)
    await first.settle()
    for number in range(6, 9):
        await append(client, ids, number, T0 + 40_000 * number)
    await first.worker._reading.read(reread=False)  # read, and given to nobody else
    first.worker.forget(first.claim)
    await second.take_over(client)
    await second.settle()
    await append(client, ids, 9, T0 + 360_000)
    await second.settle()
    rows = await held(client)
    assert [row.agg_trade_id for row in rows] == list(range(1, 10))
    assert [row.venue_trade_id for row in rows] == [str(NAMES[ids](number)) for number in range(1, 10)]
    assert {row.event_type for row in rows} == {"trade"}
    bars = await versions(client)
    assert next(iter(bars.values())) == ("0", "began", 1)
    assert set(list(bars.values())[1:]) == {("0", "not provable", 1), ("0", "not provable", 2)}
    assert await client.hget(KEYS.stats(S, "1m"), "reason") == b"not provable"
    assert await gaps(client) == []
    assert await pending(client) == 0
    assert await read_state(client, KEYS.trades_state(S)) == TradesState(
        last_id=9, last_trade_time=T0 + 360_000, applied=9
    )


async def test_a_break_is_a_hole_of_unknown_size(ids: TradeIds, client: Redis, owners: list[Owner]) -> None:
    first, second = owners
    await first.take_over(client)
    for number in range(1, 4):
        await append(client, ids, number, T0 + 60_000 * number)
    await append_break(client, 4, T0 + 200_000)
    await first.settle()
    assert await pending(client) == 1  # nothing came after it yet
    first.worker.forget(first.claim)
    await second.take_over(client)
    await append(client, ids, 5, T0 + 300_000)
    await append(client, ids, 6, T0 + 360_000)
    await append(client, ids, 7, T0 + 420_000)
    before = REGISTRY.get_sample_value("fleet_trades_breaks_total", {"venue": "usdm"}) or 0
    await second.settle()
    await second.worker.step()
    assert await versions(client) == {
        T0 + 60_000: ("0", "began", 1),
        T0 + 120_000: ("0", "not provable", 1),
        T0 + 180_000: ("0", "missing", 1),
        T0 + 300_000: ("0", "missing", 1),
        T0 + 360_000: ("0", "not provable", 1),
    }
    assert await gaps(client) == [(4, 4, "connection", "no")]
    assert await pending(client) == 0
    state = await read_state(client, KEYS.trades_state(S))
    assert (state.last_id, state.applied, state.breaks, state.missing, state.began_id) == (7, 6, 1, 0, 1)
    assert REGISTRY.get_sample_value("fleet_trades_breaks_total", {"venue": "usdm"}) == before + 1


async def test_what_the_log_does_not_have_is_missing(
    ids: TradeIds, client: Redis, owners: list[Owner]
) -> None:
    owner = owners[0]
    await owner.take_over(client)
    await append(client, ids, 1, T0)
    await append(client, ids, 2, T0 + 1, b"rubbish")
    await append(client, ids, 3, T0 + 2, frame("a name with blanks", T0 + 2))
    await append(client, ids, 4, T0 + 3)
    await append_break(client, 5, T0 + 4)
    await append(client, ids, 8, T0 + 120_000)
    await owner.settle()
    assert [row.agg_trade_id for row in await held(client)] == [1, 4, 8]
    lacks = "the log does not have them"
    assert await gaps(client) == [(2, 3, lacks, "no"), (5, 5, "connection", "no"), (6, 7, lacks, "no")]
    state = await read_state(client, KEYS.trades_state(S))
    assert (state.missing, state.breaks, state.began_id) == (4, 1, 1)


async def test_a_log_that_was_lost_is_followed_without_asking_anybody(
    ids: TradeIds, client: Redis, owners: list[Owner]
) -> None:
    owner = owners[0]
    await owner.take_over(client)
    for number in range(1, 40):
        await append(client, ids, number, T0 + number)
    await owner.settle()
    await client.delete(RAW)
    await client.xgroup_create(RAW, "trades", id="0", mkstream=True)
    for number in range(1, 30):
        await append(client, ids, number, T0 + 1000 + number)
    await owner.settle()
    rows = await held(client)
    assert [(row.agg_trade_id, row.trade_time) for row in rows] == [
        *((number, T0 + number) for number in range(1, 40)),
        *((number, T0 + 1000 + number) for number in range(1, 30)),
    ]
    assert await gaps(client) == [(40, 0, "ids restarted", "no")]


@pytest.mark.parametrize("page", [2, 1_000])
@pytest.mark.parametrize("useless", [None, 2, 4])
async def test_entries_that_an_earlier_owner_read_are_in_the_log_however_long(
    ids: TradeIds,
    client: Redis,
    owners: list[Owner],
    monkeypatch: pytest.MonkeyPatch,
    page: int,
    useless: int | None,
) -> None:
    """In a quiet market the next trade, which shows that they were not applied, comes much later."""
    monkeypatch.setattr("workers.store.log.trades.PAGE", page)
    owner = owners[0]
    await owner.take_over(client)
    await append(client, ids, 1, T0)
    await owner.settle()
    for number in range(2, 7):
        await append(client, ids, number, T0 + number, b"rubbish" if number == useless else None)
    await client.xreadgroup("trades", "owner", {RAW: ">"})
    await append(client, ids, 7, T0 + 600_000)
    await owner.settle()
    await owner.worker.step()
    expected = [number for number in range(1, 8) if number != useless]
    assert [row.agg_trade_id for row in await held(client)] == expected
    lacks = "the log does not have them"
    assert await gaps(client) == ([(useless, useless, lacks, "no")] if useless else [])
    assert await pending(client) == 0


@pytest.mark.parametrize("since", [3, 30])
async def test_a_server_that_lost_its_end_is_followed_from_where_it_stands(
    ids: TradeIds, client: Redis, owners: list[Owner], since: int
) -> None:
    """As after a fail-over, which leaves the lease to its owner: log and fold go back together."""
    owner = owners[0]
    await owner.take_over(client)
    for number in range(1, 31):
        await append(client, ids, number, T0 + number)
    await owner.settle()
    replicated = {key: await client.dump(key) for key in await client.keys("*")}
    for number in range(31, 41):
        await append(client, ids, number, T0 + number)
    await owner.settle()
    await client.flushall()
    for key, value in replicated.items():
        await client.restore(key, 0, value)
    for number in range(31, 31 + since):
        await append(client, ids, number, T0 + 1000 + number)
    await owner.settle()
    await asyncio.gather(*owner.worker._lost_data._recording)
    assert [(row.agg_trade_id, row.trade_time) for row in await held(client)] == [
        *((number, T0 + number) for number in range(1, 31)),
        *((number, T0 + 1000 + number) for number in range(31, 31 + since)),
    ]
    assert await gaps(client) == [(41, 30, "redis lost its data", "no")]
    assert await pending(client) == 0


async def test_fills_and_lower_ids_of_the_venue_say_nothing(
    ids: TradeIds, client: Redis, owners: list[Owner]
) -> None:
    owner = owners[0]
    await owner.take_over(client)
    for number, name in enumerate([9_000_000_000_000_000, 5, 5, 1], 1):
        data = frame(name if ids == "rising" else str(name), T0 + 100_000 * number)
        await append(client, ids, number, T0 + 100_000 * number, data)
    await owner.settle()
    assert [row.venue_trade_id for row in await held(client)] == ["9000000000000000", "5", "5", "1"]
    assert owner.tape.odd.fills_repeated == owner.tape.odd.fills_impossible == 0
    assert await gaps(client) == []


def test_an_id_that_the_fold_cannot_hold_is_none_where_ids_are_consecutive() -> None:
    venue: Any = made_up("consecutive")("usdm", fleet_settings().venues["usdm"])
    last = 2**53 - 1
    assert trade_of_entry(venue, S, Delivered(b"%d-7" % T0, frame(last, T0), 0)).trade_id == last
    with pytest.raises(MalformedFrame, match="its id 9007199254740992 is none"):
        trade_of_entry(venue, S, Delivered(b"%d-7" % T0, frame(last + 1, T0), 0))


def entries(ids: TradeIds) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """Two trades, a break, a trade."""
    found = [
        (b"%d-%d" % (T0 + number, number), {b"data": frame(NAMES[ids](number), T0 + number), b"line": b"a"})
        for number in (1, 2, 4)
    ]
    return [*found[:2], (b"%d-3" % (T0 + 3), {b"data": b"", b"kind": b"break", b"line": b"a"}), found[2]]


async def test_live_clients_get_the_ids_as_text_and_are_told_of_a_break(ids: TradeIds) -> None:
    topic, outlet = TradesTopic(Markets(fleet_settings()).named(S)), Outlet(100)
    topic.join(outlet)
    topic.take(entries(ids))
    first, missing, last = [msgspec.json.decode(message) for message in await outlet.take()]
    names = [str(NAMES[ids](number)) for number in (1, 2, 4)]
    assert [row["id"] for row in first["trades"] + last["trades"]] == [1, 2, 4]
    assert [row["venue_trade_id"] for row in first["trades"] + last["trades"]] == names
    assert (missing["first"], missing["last"], missing["count"], missing["reason"]) == (
        3,
        3,
        None,
        "connection",
    )
    assert not topic.holes


async def test_the_api_gives_the_id_as_text(ids: TradeIds, client: Redis, owners: list[Owner]) -> None:
    await owners[0].take_over(client)
    await append(client, ids, 1, T0)
    await owners[0].settle()
    [row] = await held(client)
    record = msgspec.to_builtins(trade_record(row, numbers=False))
    assert (record["id"], record["venue_trade_id"]) == (1, str(NAMES[ids](1)))


async def test_the_client_gets_the_ids_and_is_told_of_a_break(
    ids: TradeIds, client: Redis, real_server: str
) -> None:
    feed = TradeFeed(lambda: Redis.from_url(real_server, protocol=2), [S], from_ms=T0 - 1)
    venue: Any = made_up(ids)("usdm", fleet_settings().venues["usdm"])
    feed._decoders[""] = WireDecoder(kinds=[venue])
    for entry_id, fields in entries(ids):
        await client.xadd(RAW, fields, id=entry_id)  # type: ignore[arg-type]  # its keys are bytes
    got: list[Any] = []
    async with feed:
        async for record in feed:
            got.append(record)
            if len(got) == 4:
                break
    kinds = [type(record) for record in got]
    assert kinds == [Trade, Trade, Gap, Trade]
    assert (got[2].reason, got[2].missing) == ("connection", None)
    assert [got[place].trade_id for place in (0, 1, 3)] == [1, 2, 4]
    assert [got[place].venue_trade_id for place in (0, 1, 3)] == [str(NAMES[ids](n)) for n in (1, 2, 4)]


async def test_an_export_of_what_redis_holds_has_the_ids(
    ids: TradeIds, client: Redis, owners: list[Owner]
) -> None:
    await owners[0].take_over(client)
    await append(client, ids, 1, T0)
    await owners[0].settle()
    [context] = venue_contexts(fleet_settings())
    held_rows = HeldRows(context, Ranges(client, Keys()), None)
    source = Source("usdm", S, "trades")
    rows = [row async for page in held_rows.rows(source, 0, T0 * 2) for row in page]
    assert [(row[1], row[-1]) for row in rows] == [(1, str(NAMES[ids](1)))]


def test_the_archive_keeps_the_ids_and_the_break(ids: TradeIds) -> None:
    venue: Any = made_up(ids)("usdm", fleet_settings().venues["usdm"])
    source = Source("usdm", S, "trades")
    rows = [row_of(source, venue, StreamId.parse(key.decode()), fields) for key, fields in entries(ids)]
    assert [(row.first, row.last, row.decoded) for row in rows] == [(n, n, True) for n in (1, 2, 3, 4)]
    assert set(rows[2].values[1:10]) == {None}
    assert [trade_of(S, rows[place].values).name for place in (0, 1, 3)] == [
        str(NAMES[ids](number)) for number in (1, 2, 4)
    ]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.one_of(st.binary(max_size=60), st.text(max_size=80).map(lambda name: frame(name, T0))))
def test_no_name_breaks_a_member(ids: TradeIds, data: bytes) -> None:
    """Whatever is in an entry, it is a trade whose id comes back, or a malformed frame."""
    venue: Any = made_up(ids)("usdm", fleet_settings().venues["usdm"])
    try:
        trade = trade_of_entry(venue, S, Delivered(b"%d-7" % T0, data, 0))
    except MalformedFrame:
        return
    assert trade.trade_id == 7
    for member in MEMBERS.values():
        assert decode_member(member(trade, "trade"), S, trade.trade_time).venue_trade_id == trade.name
