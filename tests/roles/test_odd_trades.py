"""Trades that are applied though something is odd about them: counted once, and recorded where that says more."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis
from trades_owners import KEYS, SYMBOL, Owner, two_owners

from workers.settings.schema import Settings
from workers.store.keys import TRADES
from workers.store.log.streams import Delivered
from workers.trades.tape import OddTrades
from workers.venues.binance.settings import BinanceSettings

T0 = 1_782_777_660_000
GAPS = KEYS.gaps(SYMBOL)


def counted(what: str) -> float:
    return REGISTRY.get_sample_value(f"fleet_trades_{what}_total", {"venue": "usdm"}) or 0


@pytest.fixture
def client(real_client: Redis) -> Redis:
    return real_client


@pytest.fixture
async def owners(client: Redis, real_server: str) -> AsyncIterator[list[Owner]]:
    """Two workers, of which the second can take over from the first."""
    settings = Settings(venues={"usdm": BinanceSettings(market="usdm", symbols=[SYMBOL])})
    async with two_owners(settings, real_server) as made:
        yield made


def entry(number: int, fills: tuple[int, int], price: str = "11498.75") -> dict[str, str | int]:
    data = {"e": "aggTrade", "E": T0 + number, "a": number, "s": SYMBOL, "p": price, "q": "0.1", "f": fills[0],
            "l": fills[1], "T": T0 + number, "m": False}  # fmt: skip
    return {"data": json.dumps(data), "received": (T0 + number) * 1000, "line": "a"}


async def append(client: Redis, number: int, fills: tuple[int, int], price: str = "11498.75") -> None:
    await client.xadd(KEYS.raw(SYMBOL, TRADES), entry(number, fills, price), id=f"{T0 + number}-{number}")


async def recorded(client: Redis) -> list[tuple[int, int, str, str]]:
    return [
        (int(fields[b"from"]), int(fields[b"to"]), fields[b"reason"].decode(), fields[b"repaired"].decode())
        for _, fields in await client.xrange(GAPS)
    ]


async def test_a_trade_that_repeats_fills_counts_and_is_marked(client: Redis, owners: list[Owner]) -> None:
    before = counted("fills_repeated")
    await owners[0].take_over(client)
    for number, fill in ((100, 1817), (101, 1818), (102, 1817), (103, 1819)):
        await append(client, number, (fill, fill))
    await owners[0].rounds()
    assert counted("fills_repeated") - before == 1
    reason = (
        "fills repeated: 1 of the 1 fills 1817 to 1817 of trade 102 had come with an earlier trade; it counts as the "
        "exchange sent it"
    )
    assert await recorded(client) == [(102, 102, reason, "no hole")]
    state = await client.hgetall(KEYS.trades_state(SYMBOL))  # type: ignore[misc]
    assert (state[b"applied_count"], state[b"last_id"]) == (b"4", b"103")
    assert await client.hget(KEYS.stats(SYMBOL, "1m"), "volume") == b"0.4"  # type: ignore[misc]


async def test_repeats_in_a_row_are_one_entry_of_the_gaps(client: Redis, owners: list[Owner]) -> None:
    await owners[0].take_over(client)
    await append(client, 100, (500, 599))
    for number in range(101, 131):
        await append(client, number, (500, 500))
    await owners[0].rounds()
    assert [(first, last) for first, last, *_ in await recorded(client)] == [(101, 130)]
    assert owners[0].tape.odd == OddTrades(fills_repeated=30)


async def test_the_next_owner_knows_the_fills_of_the_last(client: Redis, owners: list[Owner]) -> None:
    first, second = owners
    await first.take_over(client)
    for number, fill in ((100, 1817), (101, 1818)):
        await append(client, number, (fill, fill))
    await first.rounds()
    await second.take_over(client)
    for number, fill in ((102, 1817), (103, 1819)):
        await append(client, number, (fill, fill))
    await second.rounds()
    assert second.tape.odd == OddTrades(fills_repeated=1)
    assert [number for number, *_ in await recorded(client)] == [102]


async def test_a_gaps_stream_that_cannot_be_written_costs_the_mark_alone(
    client: Redis, owners: list[Owner]
) -> None:
    await owners[0].take_over(client)
    await client.set(GAPS, "rubbish")
    for number in (100, 101, 102):
        await append(client, number, (500, 500))
    await owners[0].rounds()
    assert (owners[0].tape.remarks, owners[0].tape.odd.fills_repeated) == ([], 2)
    assert await client.hget(KEYS.trades_state(SYMBOL), "last_id") == b"102"  # type: ignore[misc]


async def test_unnamed_and_impossible_fills_are_counted_and_no_hole(
    client: Redis, owners: list[Owner]
) -> None:
    before = counted("fills_unnamed"), counted("fills_impossible")
    await owners[0].take_over(client)
    for number, fills in ((100, (500, 500)), (101, (504, 504)), (102, (506, 505)), (103, (507, 507))):
        await append(client, number, fills)
    await owners[0].rounds()
    assert owners[0].tape.odd == OddTrades(fills_impossible=1, fills_unnamed=3)
    assert (counted("fills_unnamed") - before[0], counted("fills_impossible") - before[1]) == (3, 1)
    assert await recorded(client) == []


async def test_a_trade_that_is_read_twice_before_it_is_applied_is_absurd_once(
    client: Redis, owners: list[Owner]
) -> None:
    before = counted("absurd")
    await owners[0].take_over(client)
    await append(client, 100, (500, 500))
    await owners[0].rounds()
    tape = owners[0].tape
    absurd = Delivered(b"%d-101" % (T0 + 101), str(entry(101, (501, 501), "0")["data"]).encode(), 0)
    tape.take([absurd])
    tape.waiting.clear()
    assert tape.put_back([absurd]) == 1
    await client.xadd(KEYS.raw(SYMBOL, TRADES), entry(102, (502, 502)), id=f"{T0 + 102}-102")
    await owners[0].rounds()
    assert counted("absurd") - before == 1
    tape.take([absurd])  # once more, after it was applied
    await owners[0].rounds()
    assert (counted("absurd") - before, tape.odd) == (1, OddTrades(absurd=1))


async def test_ids_that_began_anew_are_judged_anew(client: Redis, owners: list[Owner]) -> None:
    await owners[0].take_over(client)
    await append(client, 100, (500, 500))
    await owners[0].rounds()
    tape = owners[0].tape
    tape.began_anew(5, T0)
    again = str(entry(5, (500, 500))["data"]).encode()
    tape.take(
        [Delivered(b"%d-5" % T0, again, 0), Delivered(b"%d-6" % T0, again.replace(b'"a": 5', b'"a": 6'), 0)]
    )
    tape.applied_to(6, 0, taken=2)
    assert tape.odd == OddTrades(fills_repeated=1), "of the new count, by the old one it would be two"


async def test_repeats_behind_a_hole_are_acknowledged(client: Redis, owners: list[Owner]) -> None:
    """The fold acknowledges only what comes before the hole, and what the worker drops it must acknowledge itself."""
    owner = owners[0]

    async def nothing(*_: object) -> None:
        return None

    owner.worker._mending._fill = nothing  # type: ignore[assignment,method-assign]
    await owner.take_over(client)
    for number in (100, 101, 110):
        await append(client, number, (number, number))
    await client.xadd(KEYS.raw(SYMBOL, TRADES), entry(101, (101, 101)), id=f"{T0 + 110}-999")
    await owner.rounds()
    await owner.rounds()
    pending = await client.xpending_range(KEYS.raw(SYMBOL, TRADES), "trades", "-", "+", 10)
    assert [entry["message_id"].decode() for entry in pending] == [f"{T0 + 110}-110"]
    assert [trade.trade_id for _, trade in owner.tape.waiting] == [110]
