"""A chain of differences against clients of every speed: whatever is skipped, what they hold was published."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.api.books.replica import Withheld
from workers.api.http.markets import Markets
from workers.api.live.outlet import Outlet
from workers.api.live.topics import BookTopic, TradesTopic, WindowTopic
from workers.settings.schema import Settings
from workers.venues.binance.settings import BinanceSettings

DEPTH = 3
MARKET = Markets(Settings(venues={"usdm": BinanceSettings(market="usdm", symbols=["S"])})).named("S")
SIDE = st.dictionaries(st.integers(1, 9).map(str), st.integers(1, 4).map(str), max_size=6)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("change"), SIDE, SIDE),
        st.just("rebuild"),
        st.just("withhold"),
        st.tuples(st.just("read"), st.integers(0, 2)),
        st.tuples(st.just("join"), st.integers(0, 2)),
        st.tuples(st.just("leave"), st.integers(0, 2)),
    ),
    max_size=60,
)


class FakeBooks:
    """One book whose levels are set by the test."""

    def __init__(self) -> None:
        self.gone: Withheld | None = None
        self.sides: tuple[dict[str, str], dict[str, str]] = ({}, {})
        self.it = SimpleNamespace(generation=1, last_update_id=1, event_time=5, top=self.top)
        self.it.book = SimpleNamespace(known_low="0", known_high="inf")

    def top(self, depth: int) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        bids, asks = self.sides
        return sorted(bids.items(), reverse=True)[:depth], sorted(asks.items())[:depth]

    def replica(self, _: object) -> Any:
        return self.it

    def withheld(self, _: object) -> Withheld | None:
        return self.gone


class Holder:
    """A client that applies what it is sent."""

    def __init__(self) -> None:
        self.outlet = Outlet(5)
        self.joined = False
        self.state: tuple[int, dict[str, str], dict[str, str]] | str | None = None

    def read(self) -> None:
        if not self.outlet.waits:
            return
        for message in asyncio.run(self.outlet.take()):
            found = msgspec.json.decode(message)
            if found["type"] == "withheld":
                self.state = found["state"]
            elif found["type"] == "snapshot":
                self.state = (found["u"], dict(found["b"]), dict(found["a"]))
            else:
                assert isinstance(self.state, tuple)
                u, bids, asks = self.state
                assert found["prev_u"] == u
                for held, changes in ((bids, found["b"]), (asks, found["a"])):
                    for price, quantity in changes:
                        held[price] = quantity
                        if quantity == "0":
                            del held[price]
                self.state = (found["u"], bids, asks)


@settings(max_examples=200, deadline=None)
@given(steps=STEPS)
def test_a_client_of_any_speed_holds_the_newest_state_once_it_has_read(steps: list[Any]) -> None:
    books, now = FakeBooks(), 1_000.0
    topic = BookTopic(MARKET, books, DEPTH, diffs=True, publish_ms=100)  # type: ignore[arg-type]
    clients = [Holder() for _ in range(3)]
    for step in steps:
        match step:
            case ("change", bids, asks):
                books.gone, books.sides = None, (bids, asks)
                books.it.last_update_id += 1
            case "rebuild":
                books.it.generation += 1
            case "withhold":
                books.gone = Withheld("broken", "gap")
            case ("read", number):
                clients[number].read()
            case ("join", number):
                if not clients[number].joined:
                    clients[number].joined, clients[number].state = True, None
                    topic.join(clients[number].outlet)
            case ("leave", number):
                clients[number].joined = False
                topic.leave(clients[number].outlet)
        now += 1
        topic.publish(now)
        assert all(client.outlet.waits <= 1 for client in clients)
    bids, asks = books.top(DEPTH)
    for client in clients:
        client.read()
        if client.joined and books.gone is None:
            assert client.state == (books.it.last_update_id, dict(bids), dict(asks))
        elif client.joined:
            assert client.state == "broken"


def test_what_is_not_yet_due_waits_and_nothing_is_sent_twice() -> None:
    books, client = FakeBooks(), Holder()
    topic = BookTopic(MARKET, books, DEPTH, diffs=False, publish_ms=100)  # type: ignore[arg-type]
    topic.join(client.outlet)
    topic.publish(10.0)
    assert len(asyncio.run(client.outlet.take())) == 1
    topic.publish(10.2)
    assert not client.outlet.waits, "nothing new"
    books.it.last_update_id += 1
    topic.publish(10.5)
    assert len(asyncio.run(client.outlet.take())) == 1, "after a pause at once"
    books.it.last_update_id += 1
    topic.publish(10.55)
    assert not client.outlet.waits, "not yet due"
    topic.publish(10.61)
    (message,) = asyncio.run(client.outlet.take())
    assert msgspec.json.decode(message)["u"] == 3


def test_trades_that_are_none_of_the_market_are_left_out() -> None:
    outlet = Outlet(5)
    topic = TradesTopic(MARKET)
    topic.join(outlet)
    trade = '"e":"aggTrade","E":1,"s":"S","a":%d,"p":"1.0","q":"2","f":1,"l":1,"T":1,"m":true'
    good, broken = ("{" + trade % 7 + "}").encode(), b"{"
    topic.take([(b"1-7", {b"data": good}), (b"1-8", {b"data": broken}), (b"1-9", {})])
    (message,) = asyncio.run(outlet.take())
    assert [one["id"] for one in msgspec.json.decode(message)["trades"]] == [7]


WINDOW = {
    "start": "60000",
    "revision": "0",
    "complete": "0",
    "reason": "unproven",
    "last_update_time": "60001",
    **{f"{name}_price": "1.0" for name in ("open", "high", "low", "close")},
    **dict.fromkeys(("volume", "quote_volume", "buy_volume", "trades_count", "skipped_count"), "2"),
    **{f"{which}_{kind}": "3" for which in ("first", "last") for kind in ("trade_id", "agg_trade_id")},
    "is_buyer_maker_count": "1",
}


def test_a_closed_window_is_sent_after_the_open_one_and_never_followed_by_it() -> None:
    outlet = Outlet(5)
    topic = WindowTopic("bars", MARKET, "1m")
    topic.join(outlet)
    topic.changed({**WINDOW, "closed": "0"})
    topic.changed({**WINDOW, "closed": "0"})
    topic.take([(b"60000-0", {name.encode(): value.encode() for name, value in WINDOW.items()})])
    topic.changed({**WINDOW, "closed": "1"})
    (message,) = asyncio.run(outlet.take())
    found = msgspec.json.decode(message)
    assert (found["closed"], found["bar"]["start_ms"], found["bar"]["end_ms"]) == (True, 60_000, 119_999)
    assert (found["bar"]["complete"], found["bar"]["reason"]) == (False, "unproven")


def test_a_newest_window_that_is_none_is_left_out():
    topic, outlet = WindowTopic("stats", MARKET, "1m"), Outlet(10)
    topic.join(outlet)
    for broken in ({"start": "x"}, {**WINDOW, "trades_count": "x"}):
        topic.changed(broken)
    assert not outlet.waits
    topic.changed(WINDOW)
    assert outlet.waits == 1
