"""A tardis-machine as a venue: its messages in, records out; what a socket asks for, and when it wants another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.errors import MalformedFrame
from workers.model.derivatives.figures import Figure, Liquidation
from workers.venues.messages import Ignored, Message, ShutdownNotice, Subscription
from workers.venues.session import Accepted, Torn, Unusable
from workers.venues.tardis.session import TardisSession
from workers.venues.tardis.settings import TardisSettings
from workers.venues.tardis.venue import Tardis

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "venues" / "nautilus"
LOCAL = "2019-10-23T10:32:49.740Z"
MS = 1_571_826_769_669


def said(kind: str, **values: Any) -> bytes:
    names = {"type": kind, "symbol": "XBTUSD", "exchange": "bitmex"}
    times = {"timestamp": "2019-10-23T10:32:49.669Z", "localTimestamp": LOCAL}
    return json.dumps(names | values | times).encode()


def book(*, whole: bool, **values: Any) -> bytes:
    return said(
        "book_change", **({"isSnapshot": whole, "bids": [], "asks": [{"price": 7985, "amount": 1}]} | values)
    )


def venue(market: str = "bitmex", **values: Any) -> Tardis:
    return Tardis("t", TardisSettings(market=market, symbols=[], **values))


def socket_of(tardis: Tardis, *symbols: str) -> tuple[TardisSession, list[Subscription]]:
    [endpoint] = tardis.endpoints(symbols)
    assert endpoint.address is not None
    session = tardis.session(endpoint.address(endpoint.subscriptions))
    session.opened(0)
    session.subscribe(endpoint.subscriptions, 1)
    return session, endpoint.subscriptions


def test_the_url_names_the_streams() -> None:
    tardis = venue("kraken", websocket_url="ws://machine:8001/")
    [endpoint] = tardis.endpoints(["BTC-USD"])
    assert endpoint.address is not None
    url = urlsplit(endpoint.address(endpoint.subscriptions))
    assert f"{url.scheme}://{url.netloc}{url.path}" == "ws://machine:8001/ws-stream-normalized"
    assert json.loads(parse_qs(url.query)["options"][0]) == {
        "exchange": "kraken",
        "symbols": ["BTC/USD"],
        "dataTypes": ["book_change", "trade"],
        "withDisconnectMessages": True,
        "withErrorMessages": True,
        "timeoutIntervalMS": 10_000,
    }


def test_messages_are_filed_with_their_bytes() -> None:
    session, _ = socket_of(venue(), "XBTUSD")
    assert session.received(book(whole=False), 0) == [Ignored("change before the first whole book")]
    [whole] = session.received(book(whole=True), 0)
    [change] = session.received(book(whole=False).decode(), 0)
    [trade] = session.received(said("trade", id="28-ac", price=1, amount=2, side="sell"), 0)
    assert isinstance(whole, Message)
    assert (whole.channel, whole.symbol, whole.kind, whole.event_ms) == ("depth", "XBTUSD", "snapshot", MS)
    assert isinstance(change, Message)
    assert (change.kind, change.data) == ("update", book(whole=False))
    assert isinstance(trade, Message)
    assert (trade.channel, trade.name) == ("aggTrade", "28-ac")
    assert isinstance(session.received(said("trade", exchange="okex"), 0)[0], Unusable)
    assert session.received(said("trade", symbol="OTHER"), 0) == [Ignored("of a stream not asked for")]
    assert session.received(said("book_ticker"), 0) == [Ignored("book_ticker")]


def test_a_trade_without_an_id_is_known_again_whichever_line_brings_it() -> None:
    session, _ = socket_of(venue(), "XBTUSD")
    row = said("trade", price=1, amount=2, side="sell")
    names = [
        session.received(frame, 0)[0].name
        for frame in (row, row.replace(LOCAL.encode(), b"2019-10-23T10:32:50.000Z"))
    ]  # type: ignore[union-attr]
    assert names[0] == names[1]
    assert names[0] != session.received(row.replace(b"sell", b"buy"), 0)[0].name  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("kind", "named", "torn"),
    [("disconnect", None, True), ("error", None, True), ("disconnect", ["ETHUSD"], False)],
)
def test_what_is_missing_voids_books_until_their_next_whole_one(
    kind: str, named: list[str] | None, torn: bool
) -> None:
    session, _ = socket_of(venue(), "XBTUSD")
    session.received(book(whole=True), 0)
    word = {"type": kind, "exchange": "bitmex", "localTimestamp": LOCAL} | (
        {"symbols": named} if named else {}
    )
    frame = json.dumps(word).encode()
    expected = [Torn(["book_change:XBTUSD", "trade:XBTUSD"], kind, frame)] if torn else []
    assert session.received(frame, 0) == expected
    assert isinstance(session.received(book(whole=False), 0)[0], Ignored if torn else Message)
    assert isinstance(session.received(book(whole=True), 0)[0], Message)
    assert venue().depth(frame, "XBTUSD", "break").why == kind


def test_another_socket_is_wanted_for_what_this_one_cannot_bring() -> None:
    session, streams = socket_of(venue(renew_s=60), "XBTUSD")
    assert session.tick(1_000) == [Accepted([stream.stream for stream in streams])]
    assert session.tick(2_000) == []
    session.unsubscribe(streams[:1], 2)  # its whole book is wanted once more
    session.subscribe(streams[:1], 2)
    assert session.tick(3_000) == [Accepted(["book_change:XBTUSD"])]
    assert session.tick(60_000) == [ShutdownNotice()]
    session.unsubscribe(streams[:1], 3)
    session.subscribe(streams[:1], 3)
    session.received(book(whole=True), 61_000)  # it has come by itself
    assert session.tick(200_000) == [Accepted(["book_change:XBTUSD"])]
    session.subscribe([Subscription("book_change:ETHUSD", "depth", "ETHUSD")], 4)
    assert session.tick(200_001) == [Accepted(["book_change:ETHUSD"]), ShutdownNotice()]


def test_numbers_are_plain_text() -> None:
    event = venue().depth(book(whole=True, bids=[{"price": 1e-8, "amount": 316907}]), "XBTUSD", "snapshot")
    assert (event.bids, event.event_time) == ([("0.00000001", "316907")], MS)
    trade = venue("binance").trade(said("trade", id="17", price=7996.5, amount=5e-7, side="sell"), "XBTUSD")
    assert (trade.trade_id, trade.price, trade.quantity, trade.is_buyer_maker) == (
        17,
        "7996.5",
        "0.0000005",
        True,
    )
    with pytest.raises(MalformedFrame):
        venue("binance").trade(said("trade", id="x", price=1, amount=1, side="buy"), "XBTUSD")


def test_what_is_said_of_derivatives() -> None:
    tardis = venue(channels=["derivative_ticker", "liquidation"])
    [_, extra] = tardis.endpoints(["XBTUSD"])
    assert (extra.extra, [stream.stream for stream in extra.subscriptions]) == (
        True, ["derivative_ticker:XBTUSD", "liquidation:XBTUSD"],
    )  # fmt: skip
    ticker, liquidation = (tardis.channels[name].read for name in ("derivative_ticker", "liquidation"))
    assert ticker is not None
    assert liquidation is not None
    told = ticker(
        said(
            "derivative_ticker",
            markPrice=7987.5,
            fundingRate=-1.5e-05,
            fundingTimestamp="2019-10-23T12:00:00.000Z",
        )
    )
    assert told.figures == {
        "mark_price": Figure("7987.5", MS),
        "funding_rate": Figure("-0.000015", MS),
        "next_funding_time": Figure("1571832000000", MS),
    }
    closed = liquidation(said("liquidation", id="7", price=7000, amount=3, side="sell"))
    assert closed.liquidations == (Liquidation("sell", "7000", "3", MS, MS, name="7"),)


def test_the_list_of_symbols() -> None:
    body = {"id": "kraken", "availableSymbols": [
        {"id": "BTC/USD", "type": "spot"}, {"id": "XBT/USD", "availableTo": "2026-07-10T00:00:00.000Z"}, {"id": 7},
    ]}  # fmt: skip
    found = venue("kraken").info(json.dumps(body).encode())
    assert {name: info.phase for name, info in found.symbols.items()} == {
        "BTC-USD": "trading",
        "XBT-USD": "ended",
    }
    assert len(found.bad) == 1


@pytest.mark.recorded
@pytest.mark.skipif(not DATA.is_dir(), reason="needs the recordings in ../shared/data")
@pytest.mark.parametrize("name", ["book_change", "trade", "derivative_ticker", "disconnect"])
def test_exemplars(name: str) -> None:
    data = (DATA / f"tardis_machine_{name}.json").read_bytes()
    tardis = venue(json.loads(data)["exchange"], channels=["derivative_ticker"])
    events = tardis.session("").received(data, 0)
    assert all(isinstance(event, Message | Ignored) for event in events)
    for event in events:
        if isinstance(event, Message) and event.channel == "aggTrade":
            assert tardis.trade(data, event.symbol).price == "7996"
        elif isinstance(event, Message) and event.channel == "derivative_ticker":
            read = tardis.channels["derivative_ticker"].read
            assert read is not None
            assert read(data).figures["mark_price"].value == "7987.56"


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.binary(),
        st.text(),
        st.fixed_dictionaries(
            {
                "type": st.sampled_from(["trade", "disconnect", "book_change"]),
                "exchange": st.just("bitmex"),
                "symbol": st.text(),
                "id": st.none() | st.text() | st.sampled_from(["\u00b2", "\u0661"]),
            }
        ).map(json.dumps),
    )
)
def test_rubbish_is_malformed_or_told_and_nothing_else(frame: bytes | str) -> None:
    tardis = venue()
    try:
        for event in tardis.session("").received(frame, 0):
            if isinstance(event, Message):
                tardis.trade(event.data, event.symbol)
    except MalformedFrame:
        pass
