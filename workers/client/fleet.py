"""The public library: reading a fleet's Redis from Python.

async with FleetClient("unix:///…/var/run/redis.sock") as fleet:
    async for record in fleet.trades(["BTCUSDT", "spot:ETHUSDT"]):
        print(record)
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, cast

from workers.client.bars import BarFeed
from workers.client.books import BookFeed
from workers.client.decoding import WireDecoder, bar, book_top, decoder_of, levels, trade
from workers.client.derivatives import DerivativeFeed, LiquidationFeed
from workers.client.findings import FindingsClient
from workers.client.naming import folded, keys_of, prefix_of, settled
from workers.client.numbers import Number
from workers.client.past import Past
from workers.client.raw import RawFeed
from workers.client.records import Bar, Book, BookTop, Trade
from workers.client.trades import TradeFeed
from workers.errors import BookWithheld, SecondUnknown
from workers.model.books.checkpoint import decode_checkpoint
from workers.model.books.in_band import BookRule
from workers.model.books.sync import SequenceRule, SyncState
from workers.model.history.block import Unknown
from workers.model.trades.latest import trade_of
from workers.model.trades.windows import INTERVALS_MS
from workers.store.books.rebuilding import rebuild
from workers.store.books.shown import shown_books
from workers.store.connection import connect, connect_reader
from workers.store.history.reading import HistoryReader
from workers.store.history.writing import HistoryStatistics
from workers.store.keys import Keys
from workers.store.log.follower import Entry
from workers.store.log.ranges import Ranges
from workers.store.trades.latest import LatestTrades, ids_after_of

LATEST_MS: Final = 253_402_300_800_000
"""The year 10000."""
PAGE: Final = 1_000


class FleetClient(FindingsClient):
    """Reads of one fleet's Redis. It writes nothing, and no consumer group is touched.

    Symbols are named `BTCUSDT` for the first venue of the fleet's settings, `spot:BTCUSDT` for another, in capitals or
    not. A name that is unknown to the fleet raises UnknownSymbol, UnknownVenue or InvalidSymbol.

    Args:
        url: `redis://host:port/db`, `rediss://…` or `unix:///path`.
        exchange: the exchange whose messages the raw streams hold where the fleet's keeper has not told it yet.
        archive: the fleet's archive, a folder or a URL that fsspec knows: it answers questions about the past where
            Redis ends.
    """

    def __init__(self, url: str, *, exchange: str = "binance", archive: str = "") -> None:
        self._url = url
        self._exchange = exchange
        self._client: Any = connect(url)
        self._decoders: dict[str, WireDecoder] = {}
        """By the prefix of a name: that of its venue."""
        self._past = Past(self._client, archive)
        self._names: dict[str, str] = {}

    async def __aenter__(self) -> FleetClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the client's own connections; a reading (`books()` …) has one of its own."""
        await self._client.aclose()

    async def _name(self, text: str) -> str:
        """The name as keys have it, looked up once for each text."""
        known = self._names.get(folded(text))
        if known is None:
            known = self._names[folded(text)] = (await settled(self._client, [text]))[text]
        return known

    async def _decoder(self, name: str) -> WireDecoder:
        """That of the venue of a symbol, named as keys have it."""
        venue = name.rpartition(":")[0]
        if venue not in self._decoders:
            self._decoders[venue] = await decoder_of(self._client, name, self._exchange)
        return self._decoders[venue]

    def _reader(self) -> Any:
        return connect_reader(self._url)

    def books(
        self,
        symbols: Sequence[str],
        *,
        resume: str | None = None,
        from_ms: int | None = None,
        latest_only: bool = False,
    ) -> BookFeed:
        """The published tops of books: `BookTop`, with `Withheld`, `Gap` and `Interrupted` among them.

        Args:
            resume: the `token` of an earlier reading, to go on after its last record.
            from_ms: begin with publications of this time, as far as `book:{S}:top` reaches back (about a minute).
                Without either, the first record of a symbol is what is shown now.
            latest_only: of publications that came at once, only the newest of each symbol.

        Raises:
            TokenUnusable: `resume` is no token of books.
        """
        return BookFeed(self._reader, symbols, resume=resume, from_ms=from_ms, latest_only=latest_only)

    def trades(
        self,
        symbols: Sequence[str],
        *,
        resume: str | None = None,
        from_ms: int | None = None,
        repair_wait_s: float = 15.0,
    ) -> TradeFeed:
        """Every trade in the order of its ids: `Trade`, with `Gap` and `Interrupted` among them.

        Args:
            resume: as for `books`; it can be as old as the latest set (24 hours).
            from_ms: begin with trades of this time, as far as the latest set reaches back.
            repair_wait_s: how long a hole is waited for; its symbol's trades go on with a `Gap` after that.

        Raises:
            TokenUnusable: `resume` is no token of trades.
        """
        return TradeFeed(
            self._reader,
            symbols,
            resume=resume,
            from_ms=from_ms,
            repair_wait_s=repair_wait_s,
            exchange=self._exchange,
        )

    def bars(
        self,
        symbols: Sequence[str],
        interval: str = "1m",
        *,
        resume: str | None = None,
        from_ms: int | None = None,
    ) -> BarFeed:
        """Closed windows as they are written: `Bar`, with `Gap` and `Interrupted` among them.

        A late trade makes its window come again with a higher `revision`.

        Raises:
            TokenUnusable: `resume` is no token of bars.
            ValueError: there is no such interval.
        """
        _check_interval(interval)
        return BarFeed(self._reader, symbols, interval, resume=resume, from_ms=from_ms)

    def raw(
        self, symbols: Sequence[str], channel: str, *, resume: str | None = None, from_ms: int | None = None
    ) -> RawFeed:
        """The exchange's own messages of a channel: `RawMessage`, with `Gap` and `Interrupted` among them.

        Args:
            channel: `depth`, `aggTrade`, or one of the venue's `channels`, such as `kline_1m`.
            resume: as for `books`.
            from_ms: begin with messages of this time, as far as the stream reaches back.

        Raises:
            TokenUnusable: `resume` is no token of this channel.
        """
        return RawFeed(self._reader, symbols, channel, resume=resume, from_ms=from_ms)

    def derivatives(
        self, symbols: Sequence[str], *, resume: str | None = None, from_ms: int | None = None
    ) -> DerivativeFeed:
        """Mark and index price, funding and open interest as they change: `Derivative`, with notices among them.

        The venue's `channels` decide what of it there is; `resume` and `from_ms` are those of `raw`.
        """
        return DerivativeFeed(self._reader, symbols, resume=resume, from_ms=from_ms)

    def liquidations(
        self, symbols: Sequence[str], *, resume: str | None = None, from_ms: int | None = None
    ) -> LiquidationFeed:
        """Every liquidation: `Liquidation`, with notices among them. As `derivatives`."""
        return LiquidationFeed(self._reader, symbols, resume=resume, from_ms=from_ms)

    async def get_top(self, symbol: str) -> BookTop:
        """The best 10 levels shown now. Cost: one round trip.

        Raises:
            BookWithheld: nothing is shown, or nobody would take it back.
        """
        symbol = await self._name(symbol)
        shown = (await shown_books(self._client, [keys_of(symbol)]))[0]
        if not shown.is_shown or shown.payload is None:
            raise BookWithheld(symbol, shown.state, shown.reason)
        return book_top(symbol, "", shown.payload)

    async def get_book(self, symbol: str, at: float | None = None) -> Book:
        """The whole book now, or as it was at a second of the last 24 hours, or of what the archive has.

        Args:
            at: None: now, from checkpoint and stream; else a time in seconds since 1970, and the book is that after
                all events up to its second, as deep as `history.levels`.

        Raises:
            BookWithheld: it cannot be trusted now.
            SecondUnknown: the book of that second is not known.
            StateUnreadable: its checkpoint is damaged.

        Cost: a few round trips and the decoding of the checkpoint or of one block, some ms.
        """
        symbol = await self._name(symbol)
        if at is not None:
            return await self._book_of(symbol, int(at))
        keys, name = keys_of(symbol)
        shown = (await shown_books(self._client, [(keys, name)]))[0]
        if not shown.is_shown:
            raise BookWithheld(symbol, shown.state, shown.reason)
        key = keys.book_checkpoint(name)
        stored = await self._client.get(key)
        if stored is None:
            raise BookWithheld(symbol, shown.state, "it has no checkpoint yet")
        decoder = await self._decoder(symbol)
        rebuilt = await rebuild(
            self._client,
            keys,
            name,
            rule=BookRule(SequenceRule(decode_checkpoint(stored, key).rule), decoder.stream),
            decode=decoder.depth,
            now_ms=int(time.time() * 1000),
        )
        if rebuilt.state is not SyncState.SYNCED:
            raise BookWithheld(symbol, rebuilt.state.value, rebuilt.sync.reason)
        book = rebuilt.book
        return Book(
            symbol,
            rebuilt.sync.last_update_id,
            rebuilt.sync.last_event_time,
            rebuilt.sync.synced_at,
            Number(book.known_low),
            Number(book.known_high),
            levels(book.levels("bid")),
            levels(book.levels("ask")),
        )

    async def _book_of(self, symbol: str, second: int) -> Book:
        reader, name = await self._history(symbol)
        found = await reader.book_at(name, second)
        if isinstance(found, Unknown):
            raise SecondUnknown(symbol, second, found.reason)
        return Book(
            symbol,
            found.update_id,
            second * 1000,
            0,
            Number(found.known_low),
            Number(found.known_high),
            levels(found.bids),
            levels(found.asks),
            second,
        )

    async def get_quantities(
        self, symbol: str, price: str, from_s: int, to_s: int
    ) -> list[tuple[int, Number | None]]:
        """The quantity at a price in each second from `from_s` to `to_s`, both included; None where it is not known.

        Raises:
            BadNumber: the price is no decimal number.
        """
        reader, name = await self._history(symbol)
        found = await reader.series(name, price, from_s, to_s)
        return [(second, None if quantity is None else Number(quantity)) for second, quantity in found]

    async def get_history(self, symbol: str) -> HistoryStatistics:
        """What Redis has of a symbol's past: first and last second, seconds known, blocks, bytes, gaps with reasons."""
        reader, name = await self._history(symbol)
        return await reader.statistics(name)

    async def _history(self, symbol: str) -> tuple[HistoryReader, str]:
        """The reader of the symbol's past, and its plain name."""
        symbol = await self._name(symbol)
        return await self._past.books(symbol, await self._decoder(symbol)), keys_of(symbol)[1]

    async def get_trades(
        self, symbol: str, *, from_ms: int | None = None, to_ms: int | None = None, limit: int = 1_000
    ) -> list[Trade]:
        """Trades of the latest set, and of `archive` before it, in the order of their ids.

        Where ids began anew lower, the older ones come first.

        Args:
            from_ms, to_ms: a stretch of trade time, its end excluded; without `from_ms` the newest ones before the end.
            limit: at most so many.

        Raises:
            ArchiveUnreadable: what is older than all in Redis cannot be read.
        """
        symbol = await self._name(symbol)
        keys, name = keys_of(symbol)
        ranges, end = Ranges(self._client, keys), LATEST_MS if to_ms is None else to_ms
        if from_ms is None:
            newest = await LatestTrades(self._client, keys).newest(name, limit, end)
            found = [trade_of(row) for row in newest]
        else:
            found = await self._past.trades(symbol, from_ms, end, limit)
            async for page in ranges.trades(name, from_ms, end):
                found += page
                if len(found) >= limit:
                    break
        ids_after = await ids_after_of(self._client, keys, name)
        rows = sorted(found, key=lambda row: (row.trade_time > ids_after, row.trade_id))
        rows = rows[-limit:] if from_ms is None else rows[:limit]
        return [trade(symbol, "", row) for row in rows]

    async def get_bars(
        self,
        symbol: str,
        interval: str = "1m",
        *,
        from_ms: int | None = None,
        to_ms: int | None = None,
        limit: int = 500,
    ) -> list[Bar]:
        """Windows in their order, the newest version of each, the open one last (`closed` is False).

        Args:
            from_ms, to_ms: a stretch of starts, its end excluded; without `from_ms` the newest ones before the end.
            limit: at most so many.

        Raises:
            ValueError: there is no such interval.
        """
        _check_interval(interval)
        symbol = await self._name(symbol)
        keys, name = keys_of(symbol)
        span = range(0 if from_ms is None else from_ms, LATEST_MS if to_ms is None else to_ms)
        found: dict[int, Bar] = {}
        past = (symbol, interval, from_ms, span.stop, limit) if from_ms is not None else None
        for filed in await self._past.bars(*past) if past else ():
            found[int(filed[b"start"])] = bar(symbol, interval, "", filed)
        regular = 0
        async for stream_id, fields in self._bar_entries(keys.bars(name, interval), from_ms):
            if int(fields[b"start"]) in span:
                one = bar(symbol, interval, stream_id.decode(), fields)
                known = found.get(one.start_ms)
                if known is None or known.revision < one.revision:
                    found[one.start_ms] = one
                regular += stream_id == b"%d-0" % one.start_ms
            if from_ms is None and regular >= limit:
                break
        open_window = await self._client.hgetall(keys.stats(name, interval))
        if open_window.get(b"closed") == b"0" and int(open_window[b"start"]) in span:
            one = bar(symbol, interval, "", open_window)
            found[one.start_ms] = one
        rows = [found[start] for start in sorted(found)]
        return rows[-limit:] if from_ms is None else rows[:limit]

    async def _bar_entries(self, key: str, from_ms: int | None) -> AsyncIterator[Entry]:
        """The entries of a bar stream: all from a time on, or from the newest backwards.

        Either way whole windows' revisions are among them: they stand after their window.
        """
        if from_ms is not None:
            async for page in Ranges(self._client, Keys()).entries(key, from_ms):
                for entry in page:
                    yield entry
            return
        end = "+"
        while page := await self._client.xrevrange(key, max=end, count=PAGE):
            for entry in page:
                yield entry
            end = f"({page[-1][0].decode()}"

    async def get_symbols(self, venue: str = "") -> list[str]:
        """The symbols whose books are shown now, of the first venue or of another one."""
        keys = Keys(await prefix_of(self._client, venue))
        found = cast(list[bytes], await self._client.hkeys(keys.live_orderbook))
        return sorted(f"{keys.prefix}{name.decode()}" for name in found)


def _check_interval(interval: str) -> None:
    if interval not in INTERVALS_MS:
        raise ValueError(f"{interval!r} is no interval; there are {', '.join(INTERVALS_MS)}")
