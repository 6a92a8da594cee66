"""cryptofeed and its Redis stream back end as a plant, in a venv of its own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from workers.bench.exchange import Sent
from workers.bench.latency import Percentiles, percentiles
from workers.bench.plant import add_server, begin, compared_side, compared_trades
from workers.bench.reader import Reader
from workers.bench.tape import FIRST_TRADE_ID, SentTrade, names
from workers.errors import CommandError
from workers.operations.run_directory import make_socket_folder
from workers.settings.schema import FleetSettings, RedisSettings, Settings
from workers.store.connection import connect

VERSION: Final = "2.4.1"
PACKAGES: Final = (f"cryptofeed=={VERSION}", "redis")
LEAST_LEVELS: Final = 900
PAGE: Final = 2_000


async def make_venv(folder: Path, tell: Callable[[str], None]) -> Path:
    """The interpreter of the peer's venv, which is made the first time.

    Raises:
        CommandError: it cannot be made or its packages cannot be installed.
    """
    venv = folder / f"cryptofeed-{VERSION}"
    python, ready, log = venv / "bin" / "python", venv / "ready", folder / "install.log"
    if not ready.exists():
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        tell(f"installing {' and '.join(PACKAGES)} in {venv} (once)")
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(venv)],
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES],
        ):
            process = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
            )
            try:
                said, _ = await process.communicate()
            finally:
                if process.returncode is None:
                    process.kill()
            if process.returncode:
                log.write_bytes(said)
                lines = said.decode(errors="replace").strip().splitlines() or ["it said nothing"]
                raise CommandError(
                    f"{PACKAGES[0]} cannot be installed, which takes a network and a C compiler: {lines[-1]}. "
                    f"All that was said is in {log}."
                )
        ready.touch()
    return python


def peer_name(symbol: str) -> str:
    """A symbol as cryptofeed names it."""
    return f"{symbol.removesuffix('USDT')}-USDT"


class PeerPlant:
    """cryptofeed as one process, with its server."""

    name = "cryptofeed"
    roles: Sequence[str] = ("redis", "cryptofeed")
    lacks: Sequence[str] = ("books", "trades")

    def __init__(self, home: Path, exchange: int, redis: int, symbols: int, python: Path) -> None:
        settings = Settings(venues={}, fleet=FleetSettings(home=str(home)), redis=RedisSettings(port=redis))
        self.processes = begin(home, exchange, symbols)
        make_socket_folder(home)
        add_server(self.processes, settings)
        program = str(Path(__file__).with_name("peer_program.py"))
        log = str(home / "log" / "cryptofeed-own.log")
        named = [peer_name(symbol) for symbol in names(symbols)]
        self.processes.add("cryptofeed", [str(python), program, str(exchange), str(redis), log, *named])
        self._symbols = names(symbols)
        self.url = f"redis://127.0.0.1:{redis}/0"
        self._client: Any = connect(self.url)

    def streams(self, symbol: str) -> list[str]:
        """Its deltas of the book; it publishes no book but every thousandth."""
        return [f"book-BINANCE-{peer_name(symbol)}"]

    def _trades(self, symbol: str) -> str:
        return f"trades-BINANCE-{peer_name(symbol)}"

    async def ready(self) -> bool:
        """Whether every book and trade stream has begun."""
        keys = [key for symbol in self._symbols for key in (*self.streams(symbol), self._trades(symbol))]
        return bool(await self._client.exists(*keys) == len(keys))

    async def lag(self) -> None:
        """It tells nothing."""

    async def lacking(self, sent: Mapping[str, Sent]) -> dict[str, int]:
        """By the time of the last delta, and the id of the last trade."""
        pipe = self._client.pipeline(transaction=False)
        for symbol in sent:
            pipe.xrevrange(self.streams(symbol)[0], count=1)
            pipe.xrevrange(self._trades(symbol), count=1)
        found = await pipe.execute()
        lacking = dict.fromkeys(self.lacks, 0)
        for place, one in enumerate(sent.values()):
            book, trade = found[2 * place : 2 * place + 2]
            lacking["books"] += not book or _event_ms(book[0][1]) != one.depth_us[-1] // 1000
            lacking["trades"] += (
                not trade or int(trade[0][1][b"id"]) != FIRST_TRADE_ID + len(one.trade_ms) - 1
            )
        return lacking

    async def _entries(self, stream: str) -> list[dict[bytes, bytes]]:
        found: list[dict[bytes, bytes]] = []
        start = "-"
        while page := await self._client.xrange(stream, min=start, count=PAGE):
            found += [fields for _, fields in page]
            start = f"({page[-1][0].decode()}"
        return found

    async def differences(self, sent: Mapping[str, Sent]) -> list[str]:
        """Its deltas folded from the beginning, and every trade."""
        problems = []
        for name, one in sent.items():
            bids, asks = one.tape.book(len(one.depth_us))
            held = folded(await self._entries(self.streams(name)[0]))
            sides = ((sorted(held["bid"].items(), reverse=True), bids), (sorted(held["ask"].items()), asks))
            if not all(compared_side(found, truth, LEAST_LEVELS) for found, truth in sides):
                problems.append(f"{name}: the book of its deltas is not what was sent")
            trades = [
                SentTrade(
                    int(fields[b"id"]),
                    fields[b"price"].decode(),
                    fields[b"amount"].decode(),
                    fields[b"side"] == b"sell",
                )
                for fields in await self._entries(self._trades(name))
            ]
            problems += compared_trades(name, trades, one)
        return problems

    def delays(self, reader: Reader, sent: Mapping[str, Sent]) -> dict[str, Percentiles | None]:
        """In Redis; its deltas carry no id, so they are known by the ms of their event."""
        delays: list[int] = []
        for symbol, one in sent.items():
            sent_at = {us // 1000: us for us in one.depth_us}
            for at, fields in reader.entries.get(self.streams(symbol)[0], []):
                if b"delta" in fields and (event_ms := _event_ms(fields)) in sent_at:
                    delays.append(at - sent_at[event_ms])
        return {"log": percentiles(delays)}

    async def aclose(self) -> None:
        """Close its client."""
        await self._client.aclose()


def _event_ms(fields: Mapping[bytes, bytes]) -> int:
    return round(float(fields[b"timestamp"]) * 1000)


def folded(entries: list[dict[bytes, bytes]]) -> dict[str, dict[float, float]]:
    """The book that its stream of whole books and deltas makes, by side."""
    book: dict[str, dict[float, float]] = {"bid": {}, "ask": {}}
    for fields in entries:
        if b"book" in fields:
            whole = msgspec.json.decode(fields[b"book"], type=dict[str, dict[str, float]])
            book = {
                side: {float(price): quantity for price, quantity in whole[side].items()} for side in book
            }
        if b"delta" in fields:
            delta = msgspec.json.decode(fields[b"delta"], type=dict[str, list[tuple[float, float]]])
            for side, changes in delta.items():
                for price, quantity in changes:
                    if quantity:
                        book[side][price] = quantity
                    else:
                        book[side].pop(price, None)
    return book
