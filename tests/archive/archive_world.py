"""One stream and its owners, any of which can be killed, cut off or overtaken at any step."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from workers.archive.buffer import Limits
from workers.archive.files import parquet
from workers.archive.files.layout import FileRange, Source, StreamId, day_of, day_of_folder
from workers.archive.files.storage import LocalStorage
from workers.archive.holes import fill
from workers.archive.stream import OwnedStream, Parts
from workers.errors import LeaseLost, OffsetMoved
from workers.runtime.context import venue_contexts
from workers.settings.schema import Settings
from workers.store.archive.offsets import ArchiveStore
from workers.store.keys import ARCHIVE_GROUP
from workers.venues.binance.settings import BinanceSettings

SYMBOL = "币安人生USDT"
CONTEXT = venue_contexts(Settings(venues={"usdm": BinanceSettings(market="usdm", symbols=[SYMBOL])}))[0]
KEYS = CONTEXT.keys
MIDNIGHT = 1_790_035_200_000
assert MIDNIGHT % 86_400_000 == 0


class Killed(BaseException):
    """kill -9: nothing runs any more."""


class Fuse:
    """Does something at the n-th effect from now."""

    def __init__(self) -> None:
        self.left = 0
        self.how = ""
        self.pause: Callable[[], Awaitable[None]] | None = None

    def set(self, left: int, how: str, pause: Callable[[], Awaitable[None]] | None = None) -> None:
        self.left, self.how, self.pause = left, how, pause

    def burns(self) -> bool:
        if self.left:
            self.left -= 1
            return not self.left
        return False

    def burn(self) -> None:
        if self.burns() and self.how == "kill":
            raise Killed

    async def burn_slowly(self) -> None:
        if not self.burns():
            return
        if self.how == "kill":
            raise Killed
        if self.how == "cut":
            raise RedisConnectionError("the reply is lost")
        if self.pause:
            pause, self.pause = self.pause, None
            await pause()


class CrashingStorage(LocalStorage):
    def __init__(self, root: Path, fuse: Fuse) -> None:
        super().__init__(root)
        self._fuse = fuse

    def create(self, path: str) -> Any:
        self._fuse.burn()
        file = super().create(path)
        file.write(b"PAR")  # half a file, as far as a reader could see
        file.flush()
        self._fuse.burn()
        file.seek(0)
        return file

    def sync(self, file: Any) -> int:
        self._fuse.burn()
        length = super().sync(file)
        self._fuse.burn()
        return length

    def publish(self, incomplete: str, path: str) -> None:
        self._fuse.burn()
        super().publish(incomplete, path)
        self._fuse.burn()

    def remove(self, path: str) -> None:
        self._fuse.burn()
        super().remove(path)
        self._fuse.burn()


class CrashingStore(ArchiveStore):
    fuse: Fuse

    async def _run(self, *arguments: Any) -> int:
        await self.fuse.burn_slowly()
        reply = await super()._run(*arguments)
        await self.fuse.burn_slowly()
        return reply

    async def new(self, *arguments: Any) -> Any:
        found = await super().new(*arguments)
        await self.fuse.burn_slowly()
        return found

    async def pending(self, *arguments: Any) -> Any:
        found = await super().pending(*arguments)
        await self.fuse.burn_slowly()
        return found


class Owner:
    """One worker's hold on the stream, doing what the role's loop does with it."""

    def __init__(self, world: World, token: int, limits: Limits) -> None:
        self.fuse = Fuse()
        store = CrashingStore(world.client, world.client, KEYS, 1000)
        store.fuse = self.fuse
        parts = Parts(CONTEXT, store, CrashingStorage(world.root, self.fuse), 1)
        self.stream = OwnedStream(parts, world.source, token, limits)
        self.store = store
        self.alive = True

    async def work(self, *, flush: bool, hole_wait_s: float = 0.0) -> None:
        stream = self.stream
        try:
            if stream.uncertain:
                await stream.recover()
            await self._catch_up()
            for entries in (await self.store.new([stream.key], 4)).values():
                await stream.take(entries, 0.0)
            while flush or stream.buffer.due(0.0):
                await self._catch_up()
                await fill(stream, 0.0, hole_wait_s)
                if stream.uncertain or not await stream.write(0.0):
                    break
        except (Killed, LeaseLost):
            self.alive = False
        except RedisError:
            stream.resume_pending()
        except (OSError, OffsetMoved) as error:
            stream.failed(0.0, error)

    async def _catch_up(self) -> None:
        while self.stream.catching_up is not None:
            entries = await self.store.pending(self.stream.key, self.stream.catching_up, 3)
            await self.stream.take(entries, 0.0)
            self.stream.catching_up = entries[-1][0].decode() if entries else None


class World:
    """The stream, its archive, and what was put in."""

    def __init__(self, client: Any, source: Source, root: Path, limits: Limits) -> None:
        self.client = client
        self.source = source
        self.key = source.key(KEYS)
        self.root = root
        self.limits = limits
        self.token = 0
        self.appended: dict[StreamId, dict[str, str]] = {}
        self.next_id = 1000
        self.ms = MIDNIGHT - 300
        self.owner: Owner | None = None

    async def takeover(self) -> Owner:
        self.token += 1
        await self.client.hset(KEYS.lease("archive", SYMBOL), mapping={"owner": "x", "token": self.token})
        self.owner = Owner(self, self.token, self.limits)
        return self.owner

    async def alive(self) -> Owner:
        return self.owner if self.owner and self.owner.alive else await self.takeover()

    async def append(self, count: int, step_ms: int, late_ms: int = 0, skip: int = 0) -> None:
        self.next_id += skip
        for _ in range(count):
            self.ms += step_ms
            stream_id, fields = ENTRIES[self.source.kind](self.next_id, self.ms, late_ms)
            self.next_id += 1
            self.appended[stream_id] = fields
            await self.client.xadd(self.key, fields, id=str(stream_id))

    async def trim_what_is_on_disk(self) -> None:
        """Retention passes over everything that has its name on disk, counted or not."""
        held = self.rows()
        if held:
            newest = StreamId.parse(held[-1][0])
            await self.client.xtrim(self.key, minid=f"{newest.ms}-{newest.sequence + 1}", approximate=False)

    def files(self) -> list[tuple[FileRange, int, Path]]:
        found = []
        for path in self.root.rglob("*.parquet"):
            held = FileRange.parse(path.name)
            day = next(day_of_folder(part) for part in path.parts if part.startswith("date="))
            assert held is not None
            assert day is not None
            found.append((held, day, path))
        return sorted(found)

    def rows(self) -> list[tuple[Any, ...]]:
        """Every row of every file, in the order of the files' first ids."""
        rows = []
        for held, day, path in self.files():
            with path.open("rb") as file:
                here = [row for batch in parquet.read(file, path.name, self.source.kind) for row in batch]
            assert (here[0][0], here[-1][0]) == (str(held.first), str(held.last))
            position = {"trades": 6, "bars": 1, "depth": 4, "raw": 1}[self.source.kind]
            assert {day_of(row[position]) for row in here} == {day}
            rows += here
        return rows

    async def finish(self) -> None:
        """A last owner does everything that is left."""
        owner = await self.takeover()
        for _ in range(400):
            await owner.work(flush=True)
            assert owner.alive
            if not owner.stream.buffer.rows and not owner.stream.uncertain:
                groups = await self.client.xinfo_groups(self.key)
                if groups[0]["last-delivered-id"].decode() >= str(max(self.appended, default="")):
                    break

    async def check(self) -> None:
        """Everything appended is in the archive once, and nothing else is."""
        rows = self.rows()
        assert [row[0] for row in rows] == [str(stream_id) for stream_id in sorted(self.appended)]
        pending = await self.client.xpending(self.key, ARCHIVE_GROUP)
        assert pending["pending"] == 0
        stored = await self.client.hgetall(KEYS.archive(SYMBOL))
        if rows:
            assert stored[self.source.name.encode()].decode().split()[0] == rows[-1][0]
        left = [path for path in self.root.rglob("*") if path.is_file() and path.suffix != ".parquet"]
        assert left == []


def trade_entry(number: int, ms: int, late_ms: int) -> tuple[StreamId, dict[str, str]]:
    data = {
        "e": "aggTrade", "E": ms - late_ms + 3, "s": SYMBOL, "a": number, "p": f"0.{number}0", "q": "1.50",
        "f": number * 2, "l": number * 2 + 1, "T": ms - late_ms, "m": number % 2 == 0,
    }  # fmt: skip
    return StreamId(ms, number), {"data": json.dumps(data), "received": str(ms * 1000), "line": "a"}


def depth_entry(number: int, ms: int, late_ms: int) -> tuple[StreamId, dict[str, str]]:
    data = {
        "e": "depthUpdate", "E": ms - late_ms, "T": ms - late_ms - 2, "s": SYMBOL, "U": number, "u": number,
        "pu": number - 1, "b": [["9.1", "2"]], "a": [],
    }  # fmt: skip
    return StreamId(ms, number), {"data": json.dumps(data), "received": str(ms * 1000), "line": "b"}


def bar_entry(number: int, ms: int, late_ms: int) -> tuple[StreamId, dict[str, str]]:
    start = ms - late_ms
    fields = {
        "start": start, "revision": int(late_ms > 0), "complete": 1, "last_update_time": start + 5,
        "open_price": "1.10", "high_price": "1.2", "low_price": "1.0", "close_price": "1.10",
        "volume": "12345678901234567890.12345678", "quote_volume": "0.0000000000000001", "buy_volume": "0",
        "trades_count": 1, "skipped_count": 0, "is_buyer_maker_count": 1, "first_trade_id": number,
        "last_trade_id": number, "first_agg_trade_id": number, "last_agg_trade_id": number,
    }  # fmt: skip
    return StreamId(ms, number % 7), {name: str(value) for name, value in fields.items()}


def raw_entry(number: int, ms: int, late_ms: int) -> tuple[StreamId, dict[str, str]]:
    data = {"e": "kline", "E": ms - late_ms, "s": SYMBOL, "k": {"c": f"0.{number}0"}}
    return StreamId(ms, number), {"data": json.dumps(data), "received": str(ms * 1000), "line": "b"}


ENTRIES = {"trades": trade_entry, "depth": depth_entry, "bars": bar_entry, "raw": raw_entry}
SOURCES = {
    "trades": Source("usdm", SYMBOL, "trades"),
    "depth": Source("usdm", SYMBOL, "depth"),
    "bars": Source("usdm", SYMBOL, "bars", "100ms"),
    "raw": Source("usdm", SYMBOL, "raw", channel="markPrice@1s"),
}


class Folder:
    """A folder that goes away."""

    def __enter__(self) -> Path:
        memory = Path("/dev/shm")
        self.path = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
        return self.path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
