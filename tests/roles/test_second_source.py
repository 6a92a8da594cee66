"""bookTicker as a second source: events with wrong quantities are found by it, though no id is missing."""

from __future__ import annotations

import aiohttp
from in_process import KEYS, SYMBOLS, fleet_of, settle

from workers.books.worker import BookWorker
from workers.store.keys import TICKER

WRONG = "SOLUSDT"


async def test_a_wrong_best_level_is_found(real_server: str) -> None:
    faults = (f"corrupt symbol={WRONG} stream=*@depth*",) * 8  # so that it is the best level again and again
    async with fleet_of(real_server, venue={"book_ticker": True}, faults=faults) as fleet:
        for role, name in (("ingest-a", "a"), ("ingest-b", "b"), ("books", "books-1")):
            fleet.start(role, name)

        async def found() -> bool:
            return bool(await fleet.client.exists(KEYS.audit(WRONG)))

        await fleet.until(found, 60)
        async with aiohttp.ClientSession() as session:
            await session.delete(f"{fleet.exchange.url}/control/faults")
        # what was wrong below the best levels, no ticker can tell
        await fleet.client.set(KEYS.book_distrust(WRONG), "begin anew")
        worker = fleet.workers["books-1"]
        assert isinstance(worker, BookWorker)
        books = {symbol: worker.books[KEYS.raw(symbol, "depth")] for symbol in SYMBOLS}
        checks = {symbol: book.best_levels for symbol, book in books.items() if book.best_levels is not None}
        assert checks[WRONG].disagreed > 0

        async def agreeing() -> bool:
            agreed = [check.compared - check.disagreed for check in checks.values()]
            anew = books[WRONG].sync.reason == "begin anew"
            return anew and await fleet.all_shown() and min(agreed) > 0 and not checks[WRONG].differences

        await fleet.until(agreeing, 60)
        await settle(fleet)
        await fleet.check_books()
        for symbol in SYMBOLS:
            audits = [fields for _, fields in await fleet.client.xrange(KEYS.audit(symbol))]
            told = {(audit[b"source"], audit[b"reason"]) for audit in audits}
            assert told == ({(b"bookTicker", b"best level mismatch")} if symbol == WRONG else set())
            assert symbol == WRONG or checks[symbol].disagreed == 0
            ids = [stream_id for stream_id, _ in await fleet.client.xrange(KEYS.raw(symbol, TICKER))]
            last = [int(stream_id.partition(b"-")[2]) for stream_id in ids]
            assert last == sorted(set(last))  # the second line's copies are refused
            assert len(ids) > 5
