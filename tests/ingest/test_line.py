"""A line: what it files, what it refuses, and that one bad frame costs nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from workers.ingest.line import Line
from workers.model.books.sync import SyncState
from workers.model.events import Snapshot
from workers.settings.schema import IngestSettings
from workers.store.keys import Keys
from workers.store.log.streams import GroupReader, RawEntry, RawStreams
from workers.venues.binance.settings import BinanceSettings
from workers.venues.binance.venue import Binance
from workers.venues.bitstamp.settings import BitstampSettings
from workers.venues.bitstamp.venue import Bitstamp
from workers.venues.bybit.settings import BybitSettings
from workers.venues.bybit.venue import Bybit
from workers.venues.entries import depth_of
from workers.venues.kraken.settings import KrakenSettings
from workers.venues.kraken.venue import Kraken
from workers.venues.messages import Acknowledged, Message
from workers.venues.session import Unusable

NOW_US = 1_672_515_782_136_000


def depth(first: int, last: int, symbol: str = "BNBBTC", ms: int = NOW_US // 1000) -> bytes:
    return (
        b'{"stream":"x@depth","data":{"e":"depthUpdate","E":%d,"s":"%s","U":%d,"u":%d,"b":[["1","2"]],"a":[]}}'
        % (ms, symbol.encode(), first, last)
    )


@pytest.fixture
def appended() -> list[RawEntry]:
    return []


@pytest.fixture
def line(appended: list[RawEntry]) -> Line:
    venue = Binance("spot", BinanceSettings(market="spot", symbols=["BNBBTC"]))
    return Line(venue, Keys("spot:"), "a", IngestSettings(), ["BNBBTC"], appended.append)


def test_a_frame_becomes_an_entry(line: Line, appended: list[RawEntry]) -> None:
    assert [type(event) for event in line.frame(depth(1, 5), NOW_US) or ()] == [Message]
    [entry] = appended
    assert (entry.key, entry.event_ms, entry.update_id) == ("spot:raw:{BNBBTC}:depth", NOW_US // 1000, 5)
    assert (entry.received_us, entry.line) == (NOW_US, "a")
    assert entry.data.startswith(b'{"e":"depthUpdate"')


@pytest.mark.parametrize("bad", [b"hello", b"[]", b"\xff", b'{"stream":"x@depth","data":{"e":1}}', b"{}"])
def test_an_unusable_frame_is_counted_and_costs_nothing_else(
    line: Line, appended: list[RawEntry], bad: bytes
) -> None:
    line.frame(depth(1, 5), NOW_US)
    assert line.frame(bad, NOW_US) is None
    line.frame(depth(6, 7), NOW_US)
    assert line.counts["malformed"] == 1
    assert [entry.update_id for entry in appended] == [5, 7]


def test_a_symbol_nobody_asked_for_is_counted_and_not_appended(line: Line, appended: list[RawEntry]) -> None:
    line.frame(depth(1, 5, "OTHER"), NOW_US)
    assert (line.counts["unknown_symbol"], appended) == (1, [])
    line.follow("OTHER")
    line.frame(depth(6, 7, "OTHER"), NOW_US)
    assert [entry.key for entry in appended] == ["spot:raw:{OTHER}:depth"]


def test_an_absurd_time_is_refused_before_it_spoils_the_stream_ids(
    line: Line, appended: list[RawEntry]
) -> None:
    assert line.frame(depth(1, 5, ms=9_000_000_000_000), NOW_US) is None
    assert line.frame(depth(1, 5, ms=0), NOW_US) is None
    assert line.counts["malformed"] == 2
    assert appended == []


def test_a_trade_that_is_too_old_costs_none_that_came_with_it(appended: list[RawEntry]) -> None:
    """A subscription to Kraken's trades begins with the last fifty: of a quiet pair some are of last week."""
    venue = Kraken("kraken", KrakenSettings(symbols=["BTC-USD"]))
    line = Line(venue, Keys("kraken:"), "a", IngestSettings(), ["BTC-USD"], appended.append)
    trades = ",".join(
        f'{{"symbol":"BTC/USD","side":"buy","price":1.5,"qty":2.0,"ord_type":"limit","trade_id":{number},'
        f'"timestamp":"2022-12-{day}T18:00:00.000000Z"}}'
        for number, day in ((7, 24), (8, 31), (9, 31))
    )
    session = venue.session(KrakenSettings(symbols=[]).websocket_url)
    events = line.frame(f'{{"channel":"trade","type":"snapshot","data":[{trades}]}}', NOW_US, session)
    assert [type(event) for event in events or ()] == [Unusable, Message, Message]
    assert [entry.update_id for entry in appended] == [8, 9]
    assert line.counts["malformed"] == 1


def test_a_ticker_without_a_time_takes_that_of_its_arrival(appended: list[RawEntry]) -> None:
    venue = Binance("spot", BinanceSettings(market="spot", symbols=["BNBBTC"], book_ticker=True))
    line = Line(venue, Keys("spot:"), "a", IngestSettings(), ["BNBBTC"], appended.append)
    for u in (7, 30, 30):
        line.frame(
            b'{"stream":"x@bookTicker","data":{"u":%d,"s":"BNBBTC","b":"1","B":"2","a":"3","A":"4"}}' % u,
            NOW_US,
        )
    assert [(entry.key, entry.event_ms, entry.update_id) for entry in appended] == [
        ("spot:raw:{BNBBTC}:bookTicker", NOW_US // 1000, 7),
        ("spot:raw:{BNBBTC}:bookTicker", NOW_US // 1000, 30),
    ]
    assert (line.breaks, line.repeats, line.counts["malformed"]) == (0, 1, 0)


def test_a_break_waits_for_the_other_line_then_passes(line: Line, appended: list[RawEntry]) -> None:
    line.frame(depth(1, 5), NOW_US)
    line.frame(depth(8, 9), NOW_US + 1_000)
    line.frame(depth(12, 13), NOW_US + 31_000)
    line.tick(NOW_US + 30_000)
    assert [entry.update_id for entry in appended] == [5]
    line.tick(NOW_US + 41_000)
    assert [(entry.update_id, entry.received_us) for entry in appended] == [(5, NOW_US), (9, NOW_US + 1_000)]
    line.tick(NOW_US + 71_000)
    assert [entry.update_id for entry in appended] == [5, 9, 13]
    assert (line.breaks, line.counts["depth"]) == (1, 3)


def test_replies_are_no_entries(line: Line, appended: list[RawEntry]) -> None:
    assert line.frame(b'{"result":null,"id":4}', NOW_US) == [Acknowledged(4)]
    line.frame(b'{"error":{"code":2,"msg":"Invalid request"},"id":4}', NOW_US)
    assert appended == []
    assert line.counts["malformed"] == 0


def test_a_symbol_given_up_is_appended_no_more_and_is_nothing_unknown(
    line: Line, appended: list[RawEntry]
) -> None:
    line.frame(depth(1, 5), NOW_US)
    line.frame(depth(9, 9), NOW_US)  # held: 6 to 8 are missing
    assert [entry.update_id for entry in appended] == [5]
    line.give_up("BNBBTC")
    assert [entry.update_id for entry in appended] == [5, 9]
    line.frame(depth(10, 10), NOW_US)
    line.tick(NOW_US, all_held=True)
    assert [entry.update_id for entry in appended] == [5, 9]
    assert line.counts["unknown_symbol"] == 0
    line.follow("BNBBTC")
    line.frame(depth(3, 4), NOW_US)  # its ids may begin anew
    assert [entry.update_id for entry in appended] == [5, 9, 4]


def trade(trade_id: int) -> bytes:
    return (
        b'{"stream":"x@aggTrade","data":{"e":"aggTrade","E":%d,"s":"BNBBTC","a":%d,"p":"1","q":"1","f":1,"l":1,'
        b'"T":%d,"m":true,"M":true}}' % (NOW_US // 1000 + trade_id, trade_id, NOW_US // 1000 + trade_id)
    )


@settings(deadline=None)
@given(
    count=st.integers(2, 80),
    late=st.dictionaries(st.integers(2, 80), st.integers(1, IngestSettings().trade_hold_ms - 30)),
    behind_ms=st.integers(0, 25),
)
def test_trades_that_are_late_on_both_lines_are_appended_in_order(
    count: int, late: dict[int, int], behind_ms: int
) -> None:
    """The log takes rising ids only (`append.lua`): one appended before its turn shuts out those on their way."""
    log: list[int] = []

    def append(entry: RawEntry) -> None:
        if not log or entry.update_id > log[-1]:
            log.append(entry.update_id)

    venue = Binance("spot", BinanceSettings(market="spot", symbols=["BNBBTC"]))
    lines = [Line(venue, Keys("spot:"), name, IngestSettings(), ["BNBBTC"], append) for name in "ab"]
    arrivals = sorted(
        (10 * number + late.get(number, 0) + lag, number, line)
        for number in range(1, count + 1)
        for line, lag in enumerate((0, behind_ms))
    )
    for at in range(0, arrivals[-1][0] + 1_000, 5):
        while arrivals and arrivals[0][0] <= at:
            _, number, line = arrivals.pop(0)
            lines[line].frame(trade(number), NOW_US + 1000 * at)
        for line_ in lines:
            line_.tick(NOW_US + 1000 * at)
    assert log == list(range(1, count + 1))


def test_depth_and_the_first_trade_of_a_line_that_joins_wait_the_usual_grace_only(
    appended: list[RawEntry],
) -> None:
    venue = Binance("spot", BinanceSettings(market="spot", symbols=["BNBBTC"]))
    line = Line(venue, Keys("spot:"), "a", IngestSettings(), ["BNBBTC"], appended.append, joining=True)
    line.frame(trade(1), NOW_US)
    line.frame(depth(1, 5), NOW_US)
    line.tick(NOW_US + 40_000)
    assert sorted(entry.update_id for entry in appended) == [1, 5]
    line.frame(trade(3), NOW_US + 50_000)
    line.frame(depth(7, 9), NOW_US + 50_000)
    line.tick(NOW_US + 100_000)
    assert [entry.update_id for entry in appended[2:]] == [9]
    line.tick(NOW_US + 550_000)
    assert [entry.update_id for entry in appended[3:]] == [3]


def agg_trade(
    number: int, price: str = "10.0", ms: int = NOW_US // 1000, sent_ms: int = NOW_US // 1000
) -> bytes:
    return (
        b'{"stream":"x@aggTrade","data":{"e":"aggTrade","E":%d,"a":%d,"s":"BNBBTC","p":"%s","q":"1","f":%d,"l":%d,'
        b'"T":%d,"m":false}}' % (sent_ms, number, price.encode(), 10 * number, 10 * number + 1, ms)
    )


def test_two_trades_of_one_id_are_kept_apart_and_the_second_is_told(appended: list[RawEntry]) -> None:
    remarks: list[tuple[RawEntry, str]] = []

    def tell(entry: RawEntry, reason: str) -> None:
        remarks.append((entry, reason))

    venue = Binance("spot", BinanceSettings(market="spot", symbols=["BNBBTC"]))
    line = Line(venue, Keys("spot:"), "a", IngestSettings(), ["BNBBTC"], appended.append, tell=tell)
    for frame in (agg_trade(7), agg_trade(7), agg_trade(7, sent_ms=5 + NOW_US // 1000), agg_trade(7, "11.5")):
        line.frame(frame, NOW_US)
    line.frame(agg_trade(8), NOW_US)
    assert [entry.update_id for entry in appended] == [7, 8]
    assert line.counts["contradictory"] == 1
    [(entry, reason)] = remarks
    assert (entry.update_id, reason) == (
        7,
        "contradictory: another trade of this id, fills 70 to 71, 1 at 11.5",
    )


@pytest.mark.parametrize("ahead", [2, 5_000_000], ids=["held for a hole", "far ahead"])
def test_another_trade_of_an_id_that_is_still_held_is_told(appended: list[RawEntry], ahead: int) -> None:
    remarks: list[int] = []
    venue = Binance("spot", BinanceSettings(market="spot", symbols=["BNBBTC"]))
    line = Line(
        venue, Keys("spot:"), "a", IngestSettings(), ["BNBBTC"], appended.append,
        tell=lambda entry, reason: remarks.append(entry.update_id),
    )  # fmt: skip
    number = 7 + ahead
    for frame in (agg_trade(7), agg_trade(number), agg_trade(number), agg_trade(number, "11.5")):
        line.frame(frame, NOW_US)
    assert (line.repeats, remarks, line.contradictory) == (2, [number], {"BNBBTC": 1})
    line.tick(NOW_US, all_held=True)
    assert [(entry.update_id, b'"p":"10.0"' in entry.data) for entry in appended] == [
        (7, True),
        (number, True),
    ]


def test_a_trade_id_beyond_what_a_double_holds_is_malformed(line: Line, appended: list[RawEntry]) -> None:
    line.frame(agg_trade(7), NOW_US)
    assert line.frame(agg_trade(2**53), NOW_US) is None
    line.frame(agg_trade(2**53 - 1), NOW_US)
    line.frame(agg_trade(8), NOW_US)
    assert [entry.update_id for entry in appended] == [7, 8]
    assert (line.counts["malformed"], line.counts["absurd_id"]) == (1, 1)


def test_what_is_held_back_when_the_clock_is_set_back_passes_after_its_grace() -> None:
    entries: list[RawEntry] = []
    venue = Binance("spot", BinanceSettings(market="spot", symbols=["BNBBTC"]))
    line = Line(venue, Keys(), "a", IngestSettings(), ["BNBBTC"], entries.append)
    line.frame(depth(1, 2), NOW_US)
    line.frame(depth(5, 6), NOW_US)
    set_us = NOW_US - 3_600_000_000
    for later_ms in (0, IngestSettings().hold_ms):
        assert len(entries) == 1
        line.tick(set_us + later_ms * 1_000)
    assert [entry.update_id for entry in entries] == [2, 6]


def only_ordered(microseconds: int) -> bytes:
    return (
        b'{"event":"data","channel":"diff_order_book_btcusd","data":{"timestamp":"1","microtimestamp":"%d",'
        b'"bids":[],"asks":[]}}' % microseconds
    )


def test_where_ids_only_order_a_book_ends_with_its_socket_and_where_it_is_asked_for_anew() -> None:
    entries: list[RawEntry] = []
    venue = Bitstamp("bitstamp", BitstampSettings(symbols=["BTCUSD"]))
    line = Line(venue, Keys(), "a", IngestSettings(), ["BTCUSD"], entries.append)
    first, second = venue.session(""), venue.session("")
    for later, session in enumerate((first, second), 1):
        line.frame(only_ordered(NOW_US + later), NOW_US + 10, session)
    assert [entry.kind for entry in entries] == ["break", "update"] * 2
    line.ended(first, NOW_US + 20, succeeded=True)
    assert len(entries) == 4
    line.begun_anew(second, [("depth", "BTCUSD")], NOW_US + 30)
    line.ended(second, NOW_US + 40)
    assert [(entry.kind, entry.received_us) for entry in entries[4:]] == [
        ("break", NOW_US + 30), ("break", NOW_US + 40),
    ]  # fmt: skip
    line.frame(only_ordered(NOW_US + 50), NOW_US + 50, third := venue.session(""))
    line.give_up("BTCUSD")
    known = len(entries)
    line.ended(third, NOW_US + 60)
    assert len(entries) == known


def test_where_ids_only_order_a_line_cannot_know_what_came_before_it() -> None:
    """Both lines may have been killed, and a book of before goes on with whatever comes."""
    entries: list[RawEntry] = []
    venue = Bitstamp("bitstamp", BitstampSettings(symbols=["BTCUSD"]))
    for line in "ab":
        process = Line(venue, Keys(), line, IngestSettings(), ["BTCUSD"], entries.append, joining=line == "b")
        for later in (1, 2, 3):
            process.frame(only_ordered(NOW_US + later), NOW_US + 10)
        process.tick(NOW_US + 20, all_held=True)
    assert [entry.kind for entry in entries] == ["break", *["update"] * 3] * 2
    assert all(
        entry.number for entry in entries if entry.kind == "update"
    )  # what is dropped is to be told, too


async def test_where_ids_only_order_a_socket_that_is_ahead_of_the_other_line_begins_the_book_anew(
    client: Redis,
) -> None:
    """The log refuses what the other line brings too late, and no id shows that it is missing."""
    venue, log = Bitstamp("bitstamp", BitstampSettings(symbols=["BTCUSD"])), RawStreams(client, 10_000)
    entries: list[RawEntry] = []
    lines = {
        name: Line(venue, Keys(), name, IngestSettings(), ["BTCUSD"], entries.append, recorded=True)
        for name in "ab"
    }
    sockets = {name: venue.session("") for name in "ab"}

    def told(name: str, *prices: int) -> None:
        for price in prices:
            at = NOW_US + 1_000_000 * price
            data = f'{{"timestamp":"1","microtimestamp":"{at}","bids":[["{price}","1"]],"asks":[]}}'
            frame = f'{{"event":"data","channel":"diff_order_book_btcusd","data":{data}}}'
            lines[name].frame(frame, at, sockets[name])

    told("a", 1, 2)
    told("b", 1, 2)
    lines["b"].ended(sockets["b"], NOW_US + 2_500_000)
    told("a", 3)
    sockets["b"] = venue.session("")
    told("b", 5)
    told("a", 4, 5)
    told("b", 6)
    await client.flushall()
    await log.append(entries, {entries[0].key: 10**9})
    sync = venue.book_rule.sync("BTCUSD")
    for entry in await GroupReader(client, "books").range(entries[0].key, "0-0", 99):
        sync.on_event(depth_of(venue, "BTCUSD", entry), 0)
        if entry.kind == "update" and sync.last_event_time == NOW_US // 1000 + 3_000:
            bids = [("1", "1"), ("2", "1"), ("3", "1")]
            sync.on_snapshot(Snapshot("BTCUSD", NOW_US + 3_000_000, bids, [("9", "1")], limit=1000), 0)
            assert sync.state is SyncState.SYNCED
    assert sync.state is not SyncState.SYNCED or [price for price, _ in sync.book.top()[0]] == list("654321")


@pytest.mark.parametrize(
    ("later_ms", "kinds", "passed"),
    [(700, ["snapshot", "update", "restart", "update"], 91), (100, ["snapshot", "update", "snapshot"], 101)],
    ids=["anew", "of a server that lags"],
)
def test_a_whole_book_of_a_lower_id_and_a_later_time_shows_that_ids_began_anew(
    appended: list[RawEntry], later_ms: int, kinds: list[str], passed: int
) -> None:
    """Else its changes are repeats up to the last id of the book before, and the next one would change that book."""
    venue = Bybit("bybit", BybitSettings(symbols=["S"], depth=50))
    line = Line(venue, Keys(), "a", IngestSettings(), ["S"], appended.append)

    def book(kind: str, u: int, ms: int) -> str:
        data = f'{{"s":"S","b":[["1","{u}"]],"a":[["2","1"]],"u":{u},"seq":{u}}}'
        return f'{{"topic":"orderbook.50.S","ts":{NOW_US // 1000 + ms},"type":"{kind}","data":{data}}}'

    sockets = venue.session(""), venue.session("")
    line.frame(book("snapshot", 100, 0), NOW_US, sockets[0])
    line.frame(book("delta", 101, 10), NOW_US + 10_000, sockets[0])
    line.ended(sockets[0], NOW_US + 20_000)
    line.frame(book("snapshot", 90, 10 + later_ms), NOW_US + 800_000, sockets[1])
    line.frame(book("delta", 91, 20 + later_ms), NOW_US + 810_000, sockets[1])
    assert [entry.kind for entry in appended] == kinds
    assert max(appended, key=lambda entry: entry.event_ms * (entry.kind == "update")).update_id == passed
