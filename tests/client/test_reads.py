"""Single reads: the whole book, trades and bars of a stretch, and what is refused."""

from __future__ import annotations

import io
import json
from decimal import Decimal

import msgspec
import pytest
from client_world import KEYS, T0, S, World, lay_book
from rich.console import Console

from workers.client import FleetClient, Number, PriceLevel
from workers.errors import BookWithheld, SecondUnknown
from workers.model.books.checkpoint import encode_checkpoint
from workers.model.books.sync import BookSync, SequenceRule, SyncState
from workers.model.events import DepthEvent, Snapshot
from workers.model.history.builder import BlockBuilder
from workers.model.history.recorder import HistoryRecorder
from workers.reading.bars import bars_table
from workers.store.history.writing import HistoryStore
from workers.store.scripts import Scripts
from workers.store.trades.fold import TradeStore


def texts(levels: list[PriceLevel]) -> list[tuple[str, str]]:
    return [(str(price), str(quantity)) for price, quantity in levels]


async def test_the_whole_book_is_checkpoint_and_stream(world: World, fleet: FleetClient):
    await lay_book(world)
    book = await fleet.get_book(S)
    assert texts(book.bids) == [("100.5", "4"), ("99.0", "2")]
    assert texts(book.asks) == [("101.0", "3")]
    assert (book.update_id, book.event_time_ms, book.at_s) == (12, T0 + 12, None)
    assert (str(book.known_low), str(book.known_high)) == ("99.0", "inf")
    assert book.bids[0].price.decimal == Decimal("100.5")
    assert book.bids[0].quantity.float == 4.0


async def lay_history(world: World) -> dict[int, list[tuple[str, str]]]:
    """Seconds of a book whose only bid changes once in each; an event is lost in the seventh. By second: the bids."""
    sync, builder = BookSync(S, SequenceRule.FUTURES), BlockBuilder(S, length=5)
    recorder = HistoryRecorder(sync, builder)
    second, truth = T0 // 1000, {}
    for number in range(13):
        ms, u = T0 + number * 1000 + 500, 100 + number
        bids = [["99", str(number + 1)]]
        row = {"e": "depthUpdate", "E": ms, "T": ms, "s": S, "U": u, "u": u, "pu": u - 1, "b": bids, "a": []}
        if number != 6:
            event = DepthEvent(S, u, u, u - 1, ms, ms, [("99", str(number + 1))], [])
            recorder.before(event, ms)
            recorder.after(event, sync.on_event(event, ms))
            await world.redis.xadd(
                KEYS.raw(S, "depth"), {"data": json.dumps(row), "received": 1}, id=f"{ms}-{u}"
            )
        if sync.state is not SyncState.SYNCED:
            sync.on_snapshot(Snapshot(S, u, [("99", str(number + 1))], [("101", "1")], limit=5), ms)
        if number and number not in (6, 7):
            truth[second + number] = [("99", str(number))]
    await world.own()
    store = HistoryStore(world.redis, KEYS, 1.0)
    await store.write(S, 1, [*builder.blocks, *([block] if (block := builder.block()) else [])])
    await world.redis.set(KEYS.book_checkpoint(S), encode_checkpoint(sync.checkpoint(f"{T0 + 12500}-112")))
    return truth


async def test_the_book_of_any_second_or_why_it_is_unknown(world: World, fleet: FleetClient):
    truth = await lay_history(world)
    known, unknown = {}, {}
    for second in range(T0 // 1000 - 2, T0 // 1000 + 15):
        try:
            book = await fleet.get_book(S, at=second + 0.9)
            known[second] = texts(book.bids)
        except SecondUnknown as error:
            unknown[second] = error
        else:
            assert (book.at_s, book.event_time_ms) == (second, second * 1000)
    assert all((error.symbol, error.second) == (S, second) for second, error in unknown.items())
    assert all(error.reason for error in unknown.values())
    assert len(known) >= 8
    assert all(truth[second] == bids for second, bids in known.items() if second in truth)
    assert T0 // 1000 + 7 not in known


async def test_the_quantity_at_a_price_and_what_is_held(world: World, fleet: FleetClient):
    await lay_history(world)
    first = T0 // 1000
    series = dict(await fleet.get_quantities(S, "99.0", first + 2, first + 11))
    assert str(series[first + 3]) == "3"
    assert isinstance(series[first + 3], Number)
    assert series[first + 7] is None
    held = await fleet.get_history(S)
    assert held.blocks >= 2
    assert sum(quantity is not None for quantity in series.values()) <= held.seconds_held
    assert [gap.reason for gap in held.gaps] != []
    assert (await fleet.get_history("NEVERUSDT")).blocks == 0


async def test_a_withheld_book_is_refused_with_the_reason(world: World, fleet: FleetClient):
    await lay_book(world)
    await world.withhold("crossed", "")
    for call in (fleet.get_book, fleet.get_top):
        with pytest.raises(BookWithheld, match="crossed"):
            await call(S)
    with pytest.raises(BookWithheld, match="not owned"):
        await fleet.get_top("NEVERUSDT")


async def test_a_book_that_was_lost_meanwhile_is_refused(world: World, fleet: FleetClient):
    await lay_book(world)
    row = {"e": "depthUpdate", "E": T0 + 99, "T": T0, "s": S, "U": 50, "u": 50, "pu": 49, "b": [], "a": []}
    await world.redis.xadd(KEYS.raw(S, "depth"), {"data": json.dumps(row), "received": 1}, id=f"{T0 + 99}-50")
    with pytest.raises(BookWithheld, match="gap"):
        await fleet.get_book(S)


async def test_the_top_is_what_is_shown(world: World, fleet: FleetClient):
    await lay_book(world)
    top = await fleet.get_top(S)
    assert (top.update_id, str(top.bids[0].price), top.position) == (12, "100.10", "")


async def test_trades_of_a_stretch_and_the_newest(world: World, fleet: FleetClient):
    await world.fold(*range(10, 60))

    async def ids(**options: int) -> list[int]:
        return [trade.trade_id for trade in await fleet.get_trades(S, **options)]

    assert await ids() == list(range(10, 60))
    assert await ids(limit=3) == [57, 58, 59]
    assert await ids(limit=3, to_ms=T0 + 37 * 20) == [17, 18, 19]
    assert await ids(limit=3, from_ms=T0 + 37 * 20) == [20, 21, 22]
    assert await ids(from_ms=T0 + 37 * 20, to_ms=T0 + 37 * 22) == [20, 21]


async def test_trades_whose_ids_began_anew_come_after_the_older_ones(world: World, fleet: FleetClient):
    await world.fold(*range(100, 110))
    store = TradeStore(world.redis, KEYS, Scripts(world.redis), retention_ms=0, bar_retention={})
    since_ms = T0 + 37 * 110 + 60_000
    await store.restart(S, 5, 109, since_ms)
    for number in range(5, 15):
        anew = msgspec.structs.replace(world.trade(number), trade_time=since_ms + number)
        await store.apply(S, [(f"{since_ms}-{number}", anew)])
    found = [trade.trade_id for trade in await fleet.get_trades(S)]
    assert found == [*range(100, 110), *range(5, 15)]
    newest = [trade.trade_id for trade in await fleet.get_trades(S, limit=12)]
    assert newest == [108, 109, *range(5, 15)]


async def test_bars_newest_version_of_each_and_the_open_one(world: World, fleet: FleetClient):
    await world.fold(*range(10, 60))
    bars = await fleet.get_bars(S, "100ms")
    assert [bar.closed for bar in bars] == [True] * (len(bars) - 1) + [False]
    assert sum(bar.trades_count for bar in bars) == 50
    revised = {**(await world.redis.xrange(KEYS.bars(S, "100ms")))[3][1], b"revision": b"1", b"volume": b"77"}
    await world.redis.xadd(KEYS.bars(S, "100ms"), revised, id=f"{T0 + 10_000}-1")
    again = await fleet.get_bars(S, "100ms")
    assert len(again) == len(bars)
    assert [str(bar.volume) for bar in again if bar.revision] == ["77"]
    assert await fleet.get_bars(S, "100ms", from_ms=bars[2].start_ms, limit=2) == again[2:4]
    assert await fleet.get_bars(S, "100ms", limit=3) == again[-3:]
    assert await fleet.get_bars(S, "100ms", to_ms=bars[5].start_ms, limit=2) == again[3:5]
    with pytest.raises(ValueError, match="7m"):
        await fleet.get_bars(S, "7m")


async def test_a_bar_that_lacks_only_the_proof_says_so(world: World, fleet: FleetClient):
    await world.fold(*range(10, 60))
    newest = (await fleet.get_bars(S, "100ms"))[-1]
    store = TradeStore(world.redis, KEYS, Scripts(world.redis), retention_ms=0, bar_retention={})
    await store.close(S, newest.start_ms + 5000, 0)
    closed = (await fleet.get_bars(S, "100ms"))[-1]
    assert (closed.start_ms, closed.closed, closed.complete, closed.reason) == (
        newest.start_ms, True, False, "unproven"
    )  # fmt: skip
    said = io.StringIO()
    Console(file=said, width=200).print(bars_table([closed]))
    assert "unproven" in said.getvalue()
    await world.fold(*range(60, 70))
    proven = next(bar for bar in await fleet.get_bars(S, "100ms") if bar.start_ms == newest.start_ms)
    assert (proven.complete, proven.reason, proven.revision) == (True, "", 1)
