"""What waits for a client is bounded: the newest of some, a counted queue of others."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.api.live.outlet import BATCH_BYTES, MOST_QUEUED_BYTES, MOST_REPLIES, Outlet, Source
from workers.api.live.topics import changes

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
    outlet.reply(b"reply")
    assert await outlet.take() == [b"reply"]


async def test_answers_are_never_dropped_and_keep_their_place() -> None:
    outlet = Outlet(3)
    outlet.put(TRADES, b"before")
    outlet.reply(b"subscribed")
    for number in range(10):
        outlet.put(TRADES, b"%d" % number)
    outlet.reply(b"pong")
    notice, *rest = await outlet.take()
    assert msgspec.json.decode(notice)["count"] == 8
    assert rest == [b"subscribed", b"7", b"8", b"9", b"pong"]


async def test_who_asks_much_and_reads_nothing_is_asked_for_nothing_more() -> None:
    outlet = Outlet(3)
    for _ in range(MOST_REPLIES):
        await asyncio.wait_for(outlet.room(), 1)
        outlet.reply(b"x" * 10)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(outlet.room(), 0.01)
    assert len(await outlet.take()) == MOST_REPLIES
    await asyncio.wait_for(outlet.room(), 1)


async def test_what_waits_is_bounded_in_bytes_too() -> None:
    outlet = Outlet(1000)
    for _ in range(100):
        outlet.put(TRADES, bytes(100_000))
    assert outlet.size <= MOST_QUEUED_BYTES
    taken, held = 0, outlet.size
    while outlet.waits:
        messages = await outlet.take()
        assert sum(map(len, messages)) < BATCH_BYTES + 100_000 + 200
        taken += sum(len(message) for message in messages if len(message) == 100_000)
    assert (taken, outlet.size) == (held, 0)


async def test_what_has_not_been_taken_yet_can_still_be_replaced() -> None:
    outlet = Outlet(10)
    for topic in range(10):
        outlet.put_latest(topic, "book", b"old" + bytes(30_000))
    first = await outlet.take()
    assert len(first) == 3
    for topic in range(10):
        outlet.put_latest(topic, "book", b"new")
    rest = await outlet.take()
    assert rest == [b"new"] * 10


ASKED = st.one_of(
    st.tuples(st.just("put"), st.integers(1, 50_000)),
    st.tuples(st.just("latest"), st.integers(0, 3), st.integers(1, 50_000)),
    st.tuples(st.just("withdraw"), st.integers(0, 3)),
    st.tuples(st.just("reply"), st.integers(1, 100)),
    st.just(("take",)),
)


@given(st.lists(ASKED, max_size=40))
def test_the_bytes_that_wait_are_counted_right(steps: list[tuple[str, int, int]]) -> None:
    outlet = Outlet(5)
    for kind, *numbers in steps:
        match kind, numbers:
            case "put", (size,):
                outlet.put(TRADES, bytes(size))
            case "latest", (topic, size):
                outlet.put_latest(topic, "book", bytes(size))
            case "withdraw", (topic,):
                outlet.withdraw(topic)
            case "reply", (size,):
                outlet.reply(bytes(size))
            case _ if outlet.waits:
                asyncio.run(outlet.take())
    before, taken = outlet.size, 0
    while outlet.waits:
        taken += sum(len(message) for message in asyncio.run(outlet.take()) if not message.startswith(b"{"))
    assert (taken, outlet.size) == (before, 0)


def test_a_level_spelled_anew_is_right_by_text_and_by_number() -> None:
    before, now = [("1.0", "5"), ("2.0", "1")], [("1.00", "5"), ("2.0", "1")]
    by_text, by_number = dict(before), {float(price): quantity for price, quantity in before}
    for price, quantity in changes(before, now):
        if quantity == "0":
            del by_text[price]
            by_number.pop(float(price), None)
        else:
            by_text[price] = by_number[float(price)] = quantity
    assert by_text == dict(now)
    assert by_number == {1.0: "5", 2.0: "1"}


SPELLED = st.dictionaries(
    st.tuples(st.integers(1, 6), st.sampled_from(["%d", "%d.0", "%d.00"])),
    st.integers(1, 3).map(str),
    max_size=6,
).map(lambda found: {price: (spelling % price, quantity) for (price, spelling), quantity in found.items()})


@given(SPELLED, SPELLED)
def test_changes_are_right_by_text_and_by_number_whatever_the_spelling(
    before: dict[int, tuple[str, str]], now: dict[int, tuple[str, str]]
) -> None:
    by_text, by_number = dict(before.values()), {price: quantity for price, (_, quantity) in before.items()}
    for price, quantity in changes(list(before.values()), list(now.values())):
        by_text[price] = by_number[int(float(price))] = quantity
        if quantity == "0":
            del by_text[price], by_number[int(float(price))]
    assert by_text == dict(now.values())
    assert by_number == {price: quantity for price, (_, quantity) in now.items()}


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
