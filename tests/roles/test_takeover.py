"""Owners come and go: books and trades go on from where the last owner stood, without asking the exchange."""

from __future__ import annotations

import asyncio

import pytest
from in_process import KEYS, SYMBOLS, fleet_of, settle

from workers.books.worker import BookWorker
from workers.model.books.sync import SyncState
from workers.store.log.streams import GroupReader


@pytest.mark.parametrize("how", ["crash", "stop"])
async def test_the_next_owner_goes_on_without_a_snapshot(real_server: str, how: str) -> None:
    async with fleet_of(real_server) as fleet:
        for role, name in (("ingest-a", "a"), ("books", "books-1"), ("trades", "trades-1")):
            fleet.start(role, name)
        await fleet.until(fleet.all_shown)

        async def committed() -> bool:
            keys = [KEYS.book_checkpoint(symbol) for symbol in SYMBOLS]
            return await fleet.client.exists(*keys) == len(keys)

        await fleet.until(committed)  # who is killed before has nothing to hand on
        asked = await fleet.snapshots()
        assert asked == len(SYMBOLS)
        for old, new, role in (("books-1", "books-2", "books"), ("trades-1", "trades-2", "trades")):
            await (fleet.crash(old) if how == "crash" else fleet.stop(old))
            fleet.start(role, new)

        async def taken_over() -> bool:
            owners = {await fleet.owner(role, symbol) for role in ("books", "trades") for symbol in SYMBOLS}
            return owners == {"books-2", "trades-2"} and await fleet.all_shown()

        await fleet.until(taken_over)
        await asyncio.sleep(0.5)
        await settle(fleet)
        await fleet.check_books()
        await fleet.check_trades()
        assert await fleet.snapshots() == asked
        for symbol in SYMBOLS:
            status = await fleet.client.hgetall(KEYS.book_status(symbol))
            assert (status[b"gap_count"], status[b"sync_count"]) == (b"0", b"1")
            assert await fleet.client.exists(KEYS.gaps(symbol)) == 0


async def test_workers_that_join_share_the_symbols_and_nothing_is_lost(real_server: str) -> None:
    async with fleet_of(real_server) as fleet:
        for role, name in (
            ("ingest-a", "a"),
            ("ingest-b", "b"),
            ("books", "books-1"),
            ("trades", "trades-1"),
        ):
            fleet.start(role, name)
        await fleet.until(fleet.all_shown)
        fleet.start("books", "books-2")
        fleet.start("trades", "trades-2")

        async def shared() -> bool:
            for role in ("books", "trades"):
                owners = [await fleet.owner(role, symbol) for symbol in SYMBOLS]
                if sorted(map(owners.count, set(owners))) != [1, 2] or "" in owners:
                    return False
            return True

        await fleet.until(shared)
        await fleet.until(fleet.all_shown)
        await fleet.stop("books-1")

        async def all_of_two() -> bool:
            return {await fleet.owner("books", symbol) for symbol in SYMBOLS} == {"books-2"}

        await fleet.until(all_of_two)
        await fleet.until(fleet.all_shown)
        await settle(fleet)
        await fleet.check_books()
        await fleet.check_trades()
        assert await fleet.snapshots() == len(SYMBOLS)


async def test_entries_read_by_an_owner_that_was_gone_are_found_again(real_server: str) -> None:
    async with fleet_of(real_server) as fleet:
        fleet.start("ingest-a", "a")
        fleet.start("books", "books-1")
        await fleet.until(fleet.all_shown)
        zombie = GroupReader(fleet.client, "books")
        stolen = 0
        async with asyncio.timeout(60):
            while not stolen:
                found = await zombie.new([KEYS.raw("BTCUSDT", "depth")], 10)
                stolen = sum(len(entries) for entries in found.values())
        await asyncio.sleep(1.5)
        await fleet.until(fleet.all_shown)
        worker = fleet.workers["books-1"]
        assert isinstance(worker, BookWorker)
        assert worker.books[KEYS.raw("BTCUSDT", "depth")].sync.state is SyncState.SYNCED
        await settle(fleet)
        await fleet.check_books()
        assert await fleet.snapshots() == len(SYMBOLS)
        assert await fleet.client.exists(KEYS.gaps("BTCUSDT")) == 0
