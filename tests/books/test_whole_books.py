"""Books whose streams bring them whole: asked for once, again with growing pauses, and not while they are in sync."""

from __future__ import annotations

import asyncio

from made_up_venue import MadeUp
from redis.asyncio import Redis

from workers.books.book import OwnedBook
from workers.books.status import status_fields
from workers.books.whole_books import FIRST_S, WholeBooks
from workers.model.symbols.selection import SymbolRule
from workers.runtime.context import VenueContext
from workers.runtime.ownership import Claim
from workers.settings.schema import BookSettings
from workers.store.fleet.followed import FollowedSymbols
from workers.store.fleet.resubscriptions import ResubscriptionReader
from workers.store.keys import Keys, resubscription_asked
from workers.store.log.streams import Delivered
from workers.venues.binance.settings import BinanceSettings

S, VENUE = "BTC", MadeUp()
CONTEXT = VenueContext(
    "made-up",
    VENUE,
    BinanceSettings(market="spot", symbols=[S]),
    Keys(),
    FollowedSymbols("made-up", SymbolRule.parse([S], 0)),
)
WHOLE = b'{"k":"book","s":"BTC","whole":true,"b":[["1","2"]],"a":[["2","1"]]}'


async def asked(whole_books: WholeBooks, reader: ResubscriptionReader, book: OwnedBook, now: float) -> int:
    whole_books.consider(book, now)
    await asyncio.gather(*whole_books._tasks)
    found = (await reader.new()).get("made-up", [])
    assert [(one.channel, one.symbol, one.line) for one in found] == [("depth", S, "ab")] * len(found)
    return len(found)


async def test_a_book_asks_while_it_wants_its_whole_book(client: Redis) -> None:
    settings = BookSettings()
    book = OwnedBook(Claim(CONTEXT, S), 1, VENUE.book_rule.sync(S), settings)
    whole_books, reader = WholeBooks(client), ResubscriptionReader(client, ["made-up"])
    await reader.new()
    now = 1_000.0
    assert await asked(whole_books, reader, book, now) == 0  # that of the subscription itself is on its way
    assert await asked(whole_books, reader, book, now + FIRST_S + 0.1) == 1
    first_wait = book.snapshot_pauses.next_s
    assert first_wait > settings.snapshot_retry_s
    assert await asked(whole_books, reader, book, book.snapshot_at - 0.1) == 0
    await client.delete(resubscription_asked("made-up", S, "depth"))  # the pace of all askers is over
    assert await asked(whole_books, reader, book, book.snapshot_at + 0.1) == 1
    assert book.snapshot_pauses.next_s > first_wait
    book.take(Delivered(b"1-1", WHOLE, 0, "snapshot"), 0)
    assert await asked(whole_books, reader, book, book.snapshot_at + 100) == 0
    await client.delete(resubscription_asked("made-up", S, "depth"))
    book.take(Delivered(b"2-2", b"", 0, "break"), 0)
    assert status_fields(book, "me")["reason"] == "connection"
    assert await asked(whole_books, reader, book, book.snapshot_at + 0.1) == 1
    await whole_books.close()
