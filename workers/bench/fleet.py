"""The fleet as a plant."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from workers.bench.exchange import Sent
from workers.bench.latency import (
    Percentiles,
    Publication,
    percentiles,
    until_seen,
    with_pacing,
    without_pacing,
)
from workers.bench.plant import Lag, add_server, begin, compared_side, compared_trades
from workers.bench.reader import Reader
from workers.bench.tape import FIRST_TRADE_ID, SentTrade, names
from workers.client.fleet import FleetClient
from workers.errors import BookWithheld
from workers.model.books.top_of_book import decode_top
from workers.operations.run_directory import make_socket_folder
from workers.settings.loading import load, redis_url
from workers.store.connection import connect
from workers.store.fleet.leases import Registry
from workers.store.keys import BOOKS_GROUP, DEPTH, Keys
from workers.store.log.streams import GroupReader

LEAST_LEVELS: Final = 900
"""Of a snapshot of 1,000, of which some were removed."""
MOST_TRADES: Final = 10**9
_LAST_ID: Final = re.compile(rb'"u":(\d+)')
WHOLE: Final = (("keeper", 0), ("books", 0), ("books", 1), ("trades", 0), ("trades", 1), ("ingest-a", 0),
                ("ingest-b", 0), ("api", 0))  # fmt: skip
"""The default fleet."""


def one_of_each(lines: int) -> tuple[tuple[str, int], ...]:
    """What is measured under load: one process of each role that handles messages, one or both lines, the keeper."""
    named = ("ingest-a", "ingest-b")[:lines]
    return (("keeper", 0), ("books", 0), ("trades", 0), *((name, 0) for name in named))


class FleetPlant:
    """A fleet on its own server, with its settings as shipped.

    Args:
        more: further sections of its settings.
    """

    name = "fleet"
    lacks: Sequence[str] = ("log", "books", "trades")

    def __init__(
        self,
        home: Path,
        exchange: int,
        api: int,
        symbols: int,
        roles: Sequence[tuple[str, int]],
        more: str = "",
    ) -> None:
        file = home / "bench.toml"
        file.write_text(_settings_text(home, exchange, api, symbols) + more, encoding="utf-8")
        settings = load(file, {}).settings
        self.processes = begin(home, exchange, symbols, file)
        make_socket_folder(home)
        add_server(self.processes, settings)
        started = ["redis"]
        for role, number in roles:
            started.append(self.processes.add_role(role, number).name)
        self.roles: Sequence[str] = started
        self._symbols = names(symbols)
        self._keys = Keys()
        self.url = redis_url(settings)
        self._client: Any = connect(self.url)
        self._registry = Registry(self._client, settings.fleet)
        self._pace_us = settings.books.publish_ms * 1000

    def streams(self, symbol: str) -> list[str]:
        """The log of depth events, and the tops published."""
        return [self._keys.raw(symbol, DEPTH), self._keys.book_top(symbol)]

    async def ready(self) -> bool:
        """Whether every book is shown, with all its levels, and every trades fold has begun."""
        pipe = self._client.pipeline(transaction=False)
        pipe.hlen(self._keys.live_orderbook)
        for symbol in self._symbols:
            pipe.exists(self._keys.trades_state(symbol))
        shown, *begun = await pipe.execute()
        if shown != len(self._symbols) or not all(begun):
            return False
        told = await self._registry.workers(("books",))
        in_sync, shallow = (sum(int(one.get(name, 0)) for one in told) for name in ("in_sync", "shallow"))
        return in_sync == len(self._symbols) and not shallow

    async def lag(self) -> Lag:
        """As `/status` tells it: what waits for the group of the books, and how far they are behind."""
        pipe = self._client.pipeline(transaction=False)
        for symbol in self._symbols:
            pipe.hget(self._keys.book_status(symbol), "behind_ms")
        behind = [int(found or 0) for found in await pipe.execute()]
        reader = GroupReader(self._client, BOOKS_GROUP)
        lags = [await reader.lag(self._keys.raw(symbol, DEPTH)) for symbol in self._symbols]
        lines = await self._registry.workers(("ingest-a", "ingest-b"))
        buffered, dropped = (sum(int(line.get(name, 0)) for line in lines) for name in ("waiting", "dropped"))
        return Lag(buffered + sum(waiting for waiting, _ in lags), max(behind), dropped)

    async def lacking(self, sent: Mapping[str, Sent]) -> dict[str, int]:
        """By the last entry of each log, by what `LIVE_ORDERBOOK` shows, by the last trade folded."""
        pipe = self._client.pipeline(transaction=False)
        for symbol in sent:
            pipe.xrevrange(self._keys.raw(symbol, DEPTH), count=1)
            pipe.hget(self._keys.live_orderbook, symbol)
            pipe.hget(self._keys.trades_state(symbol), "last_id")
        found = await pipe.execute()
        lacking = dict.fromkeys(self.lacks, 0)
        for place, one in enumerate(sent.values()):
            newest, shown, last_trade = found[3 * place : 3 * place + 3]
            lacking["log"] += not newest or update_id_of(newest[0][1]) != one.update_id
            lacking["books"] += shown is None or decode_top(shown).u != one.update_id
            lacking["trades"] += int(last_trade or 0) != FIRST_TRADE_ID + len(one.trade_ms) - 1
        return lacking

    async def differences(self, sent: Mapping[str, Sent]) -> list[str]:
        """Every level and every trade the fleet holds."""
        problems = []
        async with FleetClient(self.url) as client:
            for name, one in sent.items():
                bids, asks = one.tape.book(len(one.depth_us))
                try:
                    book = await client.get_book(name)
                except BookWithheld as error:
                    problems.append(str(error))
                    continue
                sides = ((book.bids, bids), (book.asks, asks))
                if book.update_id != one.update_id or not all(
                    compared_side(
                        [(float(price), float(quantity)) for price, quantity in held], truth, LEAST_LEVELS
                    )
                    for held, truth in sides
                ):
                    problems.append(f"{name}: the book at update id {book.update_id} is not what was sent")
                trades = await client.get_trades(name, from_ms=0, limit=MOST_TRADES)
                held = [
                    SentTrade(trade.trade_id, str(trade.price), str(trade.quantity), trade.is_buyer_maker)
                    for trade in trades
                ]
                problems += compared_trades(name, held, one)
        return problems

    def delays(self, reader: Reader, sent: Mapping[str, Sent]) -> dict[str, Percentiles | None]:
        """In the log, published, and with a reader: from when it might have been, and with the pacing wait."""
        log: list[int] = []
        paced: tuple[list[int], list[int]] = ([], [])
        free: tuple[list[int], list[int]] = ([], [])
        for symbol, one in sent.items():
            raw, top = self.streams(symbol)
            entries = reader.entries.get(raw, [])
            log += until_seen([(update_id_of(fields), at) for at, fields in entries], one.depth_us)
            tops = [(at, decode_top(fields[b"data"])) for at, fields in reader.entries.get(top, [])]
            published = [Publication(shown.u, shown.published, at) for at, shown in tops]
            for every, of_symbol in (
                (paced, with_pacing(published, one.depth_us)),
                (free, without_pacing(published, one.depth_us, self._pace_us)),
            ):
                every[0].extend(of_symbol[0])
                every[1].extend(of_symbol[1])
        return {
            "log": percentiles(log),
            "book": percentiles(free[0]),
            "reader": percentiles(free[1]),
            "book_paced": percentiles(paced[0]),
            "reader_paced": percentiles(paced[1]),
        }

    async def aclose(self) -> None:
        """Close its client."""
        await self._client.aclose()


def update_id_of(fields: Mapping[bytes, bytes]) -> int:
    """The last update id of an entry of the log. Raises: ValueError: it has none."""
    found = _LAST_ID.search(fields[b"data"])
    if found is None:
        raise ValueError(f"{fields[b'data'][:100]!r} has no update id")
    return int(found.group(1))


def _settings_text(home: Path, exchange: int, api: int, symbols: int) -> str:
    folder, listed = (msgspec.json.encode(value).decode() for value in (str(home), names(symbols)))
    return (
        f"[fleet]\nhome = {folder}\n[api]\nport = {api}\n"
        f'[venues.spot]\nexchange = "binance"\nmarket = "spot"\nsymbols = {listed}\n'
        f'websocket_url = "ws://127.0.0.1:{exchange}"\nrest_url = "http://127.0.0.1:{exchange}"\n'
    )
