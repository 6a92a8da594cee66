"""The stretch of a break, filled from REST: each trade once, whoever is killed, and told where it cannot be had."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec
import pytest
from named_trades_venue import MadeUp, frame
from redis.asyncio import Redis
from trades_owners import Owner, two_owners

from workers.api.http.markets import Markets
from workers.api.live.outlet import Outlet
from workers.api.live.topics import TradesTopic
from workers.api.live.trade_holes import TradeHoles
from workers.client.decoding import WireDecoder
from workers.client.records import Gap, Trade
from workers.client.trades import TradeFeed
from workers.errors import RestUnavailable
from workers.ingest.wholeness import lost
from workers.model import events
from workers.model.trades.latest import decode_member
from workers.model.trades.numbering import BREAK_ROOM
from workers.settings.schema import Settings, TradeSettings
from workers.store.books.watch import Watch
from workers.store.keys import TRADES, Keys
from workers.store.log.numbered import NumberedStreams
from workers.store.log.streams import RawEntry
from workers.store.log.stretches import Stretches
from workers.trades import backfill
from workers.venues import registry
from workers.venues.binance.settings import BinanceSettings
from workers.venues.facts import TradeIds
from workers.venues.interface import Stretch
from workers.venues.requests import RestRequest

KEYS = Keys()
S = "BTCUSDT"
RAW = KEYS.raw(S, TRADES)
T0 = 1_790_035_200_000
KEPT = {RAW: 10**12}
NAMES: dict[TradeIds, Callable[[int], str | int]] = {
    "rising": lambda number: 1_000 + 2 * number,
    "neither": lambda number: f"{(number * 7919) % 1000:03}-{number}",
}


class Asked(MadeUp):
    """It has a request for a stretch."""

    def stretch_request(
        self, symbol: str, stretch: Stretch, rows: Sequence[events.Trade], now_ms: int
    ) -> RestRequest | None:
        return None if rows else RestRequest("http://nowhere.test/", 1, "nowhere", 2**20)


@pytest.fixture(params=["rising", "neither"])
def ids(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> TradeIds:
    kind: TradeIds = request.param

    def make(name: str, settings: Any) -> Asked:
        venue = Asked(name, settings)
        venue.facts = venue.facts._replace(trade_ids=kind)
        return venue

    monkeypatch.setitem(registry._VENUES, "binance", make)  # type: ignore[call-overload]  # it is a dict
    return kind


@pytest.fixture
def client(real_client: Redis) -> Redis:
    return real_client


def fleet_settings() -> Settings:
    return Settings(
        venues={"usdm": BinanceSettings(market="usdm", symbols=[S])},
        trades=TradeSettings(repair_attempts=1, repair_for_s=0),
    )


class Rest:
    """What REST has: numbers of trades, or an error."""

    def __init__(self, ids: TradeIds) -> None:
        self.ids = ids
        self.numbers: Sequence[int] = ()
        self.asked = 0
        self.error: Exception | None = None

    async def get(self, *_: object) -> bytes:
        self.asked += 1
        if self.error is not None:
            raise self.error
        rows = [frame(NAMES[self.ids](number), T0 + 100 * number) for number in self.numbers]
        return b"[" + b",".join(rows) + b"]"


@pytest.fixture
def rest(ids: TradeIds) -> Rest:
    return Rest(ids)


@pytest.fixture
async def owners(rest: Rest, client: Redis, real_server: str) -> AsyncIterator[list[Owner]]:
    """Two workers, of which the second can take over from the first."""
    async with two_owners(fleet_settings(), real_server) as made:
        for owner in made:
            owner.worker._venues["usdm"].log_holes._backfill._rest = rest  # type: ignore[assignment]
        yield made


def entry(ids: TradeIds, number: int, line: str = "a") -> RawEntry:
    name, ms = NAMES[ids](number), T0 + 100 * number
    return RawEntry(RAW, ms, 0, frame(name, ms), ms * 1000, line, name=str(name))


def returned(number: int, since: int, line: str = "a") -> RawEntry:
    ms, since_ms = T0 + 100 * number, T0 + 100 * since
    data = msgspec.json.encode({"since": since_ms})
    return RawEntry(
        RAW, ms, 0, data, ms * 1000, line, "break", number=since_ms, name=f"break {line}-{number}"
    )


async def log(client: Redis, *entries: RawEntry) -> None:
    await NumberedStreams(client, 10**9).append(entries, KEPT)


async def stretch(client: Redis, ids: TradeIds) -> None:
    """1 to 20, then nothing up to 30, then 30 and 31; each call of the log by itself."""
    await log(client, *(entry(ids, number) for number in range(1, 21)))
    await log(client, returned(30, 20))
    await log(client, entry(ids, 30), entry(ids, 31))


async def held(client: Redis, ids: TradeIds) -> list[int]:
    """The trades of the fold in their order, as numbers of this test."""
    numbers = {str(NAMES[ids](number)): number for number in range(100)}
    rows = [
        decode_member(member, S, int(score))
        for member, score in await client.zrange(KEYS.trades_latest(S), 0, -1, withscores=True)
    ]
    return [numbers[row.venue_trade_id] for row in sorted(rows, key=lambda row: row.agg_trade_id)]


async def gaps(client: Redis) -> list[tuple[str, str]]:
    return [
        (fields[b"reason"].decode(), fields[b"repaired"].decode())
        for _, fields in await client.xrange(KEYS.gaps(S))
    ]


async def reasons(client: Redis) -> dict[int, str]:
    """By number of the trade that a 100 ms bar has, why it is not complete."""
    bars = [fields for _, fields in await client.xrange(KEYS.bars(S, "100ms"))]
    return {(int(bar[b"start"]) - T0) // 100: bar[b"reason"].decode() for bar in bars}


async def test_what_rest_has_stands_at_its_place_and_nothing_is_called_missing(
    ids: TradeIds, client: Redis, owners: list[Owner], rest: Rest
) -> None:
    await owners[0].take_over(client)
    await stretch(client, ids)
    rest.numbers = range(5, 35)
    await owners[0].settle()
    await log(client, *(entry(ids, number) for number in (25, 32, 33)))  # 25 is late, and known by now
    await owners[0].settle()
    assert await held(client, ids) == list(range(1, 34))
    assert await gaps(client) == [("connection", "9 over REST")]
    assert set((await reasons(client)).values()) == {"began", "not provable"}
    assert await client.exists(KEYS.raw_claimed(S)) == 0
    assert (await client.xpending(RAW, "trades"))["pending"] == 0


async def test_what_rest_does_not_reach_is_missing(
    ids: TradeIds, client: Redis, owners: list[Owner], rest: Rest
) -> None:
    await owners[0].take_over(client)
    await stretch(client, ids)
    rest.numbers = range(26, 35)
    await owners[0].settle()
    assert await held(client, ids) == [*range(1, 21), *range(26, 32)]
    assert await gaps(client) == [("connection", "4 over REST, which does not reach back to the beginning")]
    why = await reasons(client)
    assert {number for number, reason in why.items() if reason == "missing"} == {20, 26}


async def test_a_rest_that_fails_or_lags_leaves_them_missing(
    ids: TradeIds, client: Redis, owners: list[Owner], rest: Rest
) -> None:
    await owners[0].take_over(client)
    await stretch(client, ids)
    rest.error = RestUnavailable("http://nowhere.test/", 500, "no answer")
    await owners[0].settle()
    await log(client, lost(RAW, T0 + 3_100, "a"), returned(40, 31, "b"), entry(ids, 40, "b"))
    rest.error, rest.numbers = None, range(5, 31)  # 40 is not there yet
    await owners[0].settle()
    assert await held(client, ids) == [*range(1, 21), 30, 31, 40]
    [(first, no), (second, again)] = await gaps(client)
    assert "500" in first
    assert second == "connection: the exchange has nothing from there on"
    assert (no, again) == ("no", "no")
    why = await reasons(client)
    assert {number for number, reason in why.items() if reason == "missing"} >= {20, 30, 31}
    assert int(await client.hget(KEYS.trades_state(S), "breaks_count")) == 2


async def test_a_break_at_which_nothing_was_traded_marks_nothing(
    ids: TradeIds, client: Redis, owners: list[Owner], rest: Rest
) -> None:
    await owners[0].take_over(client)
    await stretch(client, ids)
    rest.numbers = [*range(1, 21), 30, 31]
    await owners[0].settle()
    assert await gaps(client) == [("connection", "0 over REST")]
    assert "missing" not in (await reasons(client)).values()


async def test_numbers_that_a_break_leaves_free_are_no_loss_to_an_earlier_owner(
    ids: TradeIds, client: Redis, owners: list[Owner], rest: Rest
) -> None:
    first, second = owners
    await first.take_over(client)
    await log(client, *(entry(ids, number) for number in range(1, 4)))
    await first.settle()
    first.worker.forget(first.claim)
    await second.take_over(client)
    await stretch(client, ids)
    rest.numbers = range(5, 35)
    await second.settle()
    second.worker.forget(second.claim)
    await first.take_over(client)
    await asyncio.gather(*first.worker._lost_data._recording)
    assert await gaps(client) == [("connection", "9 over REST")]


@pytest.mark.parametrize("calls", range(7))
async def test_whoever_is_killed_in_the_middle_each_trade_is_there_once(
    ids: TradeIds,
    client: Redis,
    owners: list[Owner],
    rest: Rest,
    calls: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first worker gets through some calls of the filling; the next one finds another answer of REST."""
    first, second = owners
    monkeypatch.setattr(backfill, "APPLIED_AT_ONCE", 4)
    await first.take_over(client)
    await stretch(client, ids)
    rest.numbers = range(5, 35)
    filling = first.worker._venues["usdm"].log_holes._backfill
    left, killed = [calls], asyncio.Event()

    def once(call: Callable[..., Any]) -> Callable[..., Any]:
        async def counted(*arguments: Any, **named: Any) -> Any:
            if left[0] == 0:
                killed.set()
                raise asyncio.CancelledError
            left[0] -= 1
            return await call(*arguments, **named)

        return counted

    for part, name in (
        (filling._stretches, "claim"),
        (filling._store, "skip"),
        (filling._store, "apply"),
        (filling._stretches, "forget"),
    ):
        monkeypatch.setattr(part, name, once(getattr(part, name)))
    for _ in range(200):
        await first.worker.step()
        if killed.is_set():
            break
        await asyncio.sleep(0.01)
    first.worker.forget(first.claim)
    rest.numbers = range(28, 35)  # the page has moved on
    await second.take_over(client)
    await second.settle()
    assert await held(client, ids) == ([*range(1, 21), 28, 29, 30, 31] if calls == 0 else list(range(1, 32)))
    assert len(await gaps(client)) == 1


async def test_live_clients_get_what_was_filled_in_and_no_free_number_is_called_missing(
    ids: TradeIds, client: Redis, owners: list[Owner], rest: Rest, real_server: str
) -> None:
    await owners[0].take_over(client)
    await stretch(client, ids)
    rest.numbers = range(5, 35)
    topic, outlet = TradesTopic(Markets(fleet_settings()).named(S)), Outlet(100)
    topic.join(outlet)
    topic.take(await client.xrange(RAW))
    await owners[0].settle()
    holes = TradeHoles(client, Watch(client))
    await holes.fill([topic])
    messages = [msgspec.json.decode(message) for message in await outlet.take()]
    assert not topic.holes
    repaired = [row["venue_trade_id"] for each in messages if each.get("repaired") for row in each["trades"]]
    assert repaired == [str(NAMES[ids](number)) for number in range(21, 30)]
    assert [each["reason"] for each in messages if "reason" in each] == ["connection"]


async def test_the_client_gets_them_in_order(
    ids: TradeIds, client: Redis, owners: list[Owner], rest: Rest, real_server: str
) -> None:
    await owners[0].take_over(client)
    await stretch(client, ids)
    rest.numbers = range(5, 35)
    await owners[0].settle()
    feed = TradeFeed(lambda: Redis.from_url(real_server, protocol=2), [S], from_ms=T0 - 1)
    feed._decoders[""] = WireDecoder(kinds=[owners[0].claim.context.venue])  # type: ignore[list-item]
    got: list[Any] = []
    async with feed:
        async for record in feed:
            got.append(record)
            if len(got) == 32:
                break
    assert [type(record) for record in got] == [*[Trade] * 20, Gap, *[Trade] * 11]
    names = [record.venue_trade_id for record in got if isinstance(record, Trade)]
    assert names == [str(NAMES[ids](number)) for number in range(1, 32)]


async def test_a_stretch_is_claimed_once_and_no_older_one_after_it(ids: TradeIds, client: Redis) -> None:
    stretches = Stretches(client, KEYS)

    def row(name: str) -> events.Trade:
        return events.Trade(S, 0, "1", "1", 0, 0, T0, T0, False, name=name)

    await log(client, entry(ids, 1))
    known = str(NAMES[ids](1))
    first = await stretches.claim(S, 5, [row("x"), row(known), row("y")], is_whole=True)
    again = await stretches.claim(S, 5, [row("z")], is_whole=False)
    assert first == again == await stretches.claimed(S)
    assert first is not None
    assert ([each.name for each in first.trades], first.is_whole) == (["x", "y"], True)
    assert await stretches.claim(S, 4, [row("z")], is_whole=True) is None
    later = await stretches.claim(S, 5 + BREAK_ROOM, [row("x"), row("z")], is_whole=True)
    assert later is not None
    assert [each.name for each in later.trades] == ["z"]
