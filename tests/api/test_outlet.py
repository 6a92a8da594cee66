"""What waits for a client is bounded: the newest of some, a counted queue of others."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.api.outlet import Outlet, Source
from workers.api.topics import changes

TRADES = Source("trades", "usdm", "BTCUSDT")
OTHERS = Source("trades", "usdm", "ETHUSDT")


async def test_of_a_topic_the_newest_message_is_sent_once() -> None:
    outlet = Outlet(10)
    for number in range(5):
        outlet.put_latest("a", "book", b"a%d" % number)
        outlet.put_latest("b", "book", b"b%d" % number)
    assert await outlet.take() == [b"a4", b"b4"]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(outlet.take(), 0.01)


async def test_what_does_not_fit_is_dropped_oldest_first_and_told() -> None:
    outlet = Outlet(3)
    for number in range(5):
        outlet.put(TRADES, b"%d" % number, count=10)
    outlet.put(OTHERS, b"other")
    notice, *rest = await outlet.take()
    told = msgspec.json.decode(notice)
    assert told == {"channel": "trades", "venue": "usdm", "symbol": "BTCUSDT", "count": 30, "type": "dropped"}
    assert rest == [b"3", b"4", b"other"]
    outlet.put(TRADES, b"5")
    assert await outlet.take() == [b"5"]


async def test_a_withdrawn_topic_is_not_sent() -> None:
    outlet = Outlet(3)
    outlet.put_latest("a", "book", b"a")
    outlet.withdraw("a")
    outlet.put(None, b"reply")
    assert await outlet.take() == [b"reply"]


SIDE = st.dictionaries(st.integers(1, 12).map(str), st.integers(1, 5).map(str), max_size=8)


@given(SIDE, SIDE)
def test_changes_lead_from_one_side_to_the_other(before: dict[str, str], now: dict[str, str]) -> None:
    held = dict(before)
    for price, quantity in changes(list(before.items()), list(now.items())):
        if quantity == "0":
            del held[price]
        else:
            held[price] = quantity
    assert held == now
