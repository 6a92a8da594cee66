"""Paths, rows, columns and storages: what is written can be read back, whatever it is."""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import fsspec
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from archive_world import CONTEXT, ENTRIES, KEYS, MIDNIGHT, SOURCES, SYMBOL, Owner, World
from hypothesis import example, given
from hypothesis import strategies as st
from redis.asyncio import Redis

from workers.archive.buffer import Buffer, Limits
from workers.archive.files import parquet
from workers.archive.files.kept import HeldRows
from workers.archive.files.layout import (
    START,
    FileRange,
    Kind,
    Source,
    StreamId,
    day_of,
    day_text,
    decoded,
    encoded,
)
from workers.archive.files.reading import ArchiveReader
from workers.archive.files.rows import COLUMNS, POSITIONS, row_of
from workers.archive.files.storage import LocalStorage, RemoteStorage, storage_of
from workers.archive.stream import Parts
from workers.archive.worker import ArchiveWorker
from workers.errors import ArchiveUnreadable, ExtraMissing
from workers.model.trades.windows import Window
from workers.runtime.context import venue_contexts
from workers.runtime.process import Process
from workers.settings.archive import ArchiveSettings
from workers.settings.schema import FleetSettings, Settings
from workers.venues.binance.settings import BinanceSettings
from workers.venues.kraken.settings import KrakenSettings


@given(st.text(min_size=1, max_size=30).filter(lambda text: text.isprintable()))
@example("..")
def test_any_name_becomes_a_plain_part_of_a_path_and_back(name: str):
    part = encoded(name)
    assert decoded(part) == name
    assert part.isascii()
    assert part.strip("."), "it names no folder above"
    assert not set(part) & set('/\\:*?"<>|= {}')
    assert encoded("BTCUSDT_261225") == "BTCUSDT_261225"


@given(st.tuples(*(st.integers(0, 2**63) for _ in range(4))))
def test_a_file_s_name_is_its_range(numbers: tuple[int, ...]):
    held = FileRange(StreamId(*numbers[:2]), StreamId(*numbers[2:]))
    assert FileRange.parse(held.name) == held
    assert FileRange.parse(f".{held.name}") is None
    assert FileRange.parse(held.name.replace("parquet", "tmp")) is None


def test_the_paths_are_those_of_the_documents():
    bars = Source("spot", "币安人生USDT", "bars", "1m")
    day = day_of(MIDNIGHT)
    assert day_text(day) == "2026-09-22"
    symbol = "symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT"
    assert bars.day_folder(day) == f"venue=spot/kind=bars/{symbol}/date=2026-09-22/interval=1m"
    raw = Source("spot", "币安人生USDT", "raw", channel="markPrice@1s")
    assert raw.day_folder(day) == f"venue=spot/kind=raw/{symbol}/date=2026-09-22/channel=markPrice%401s"
    assert raw.incomplete("7").endswith("/markPrice%401s-7.tmp")
    assert bars.incomplete("7") == "_incomplete/spot/%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT/bars.1m-7.tmp"


def test_bars_have_every_field_of_the_fold():
    assert [column.name for column in COLUMNS["bars"][1:]] == list(
        Window(0, 0, "", "", "", "", 0, 0, 0, 0, 0, 0, 0, 0, 0).bar()
    )


@pytest.mark.parametrize(
    ("kind", "column"), [("bars", "reason"), ("trades", "venue_trade_id"), ("depth", "entry")]
)
def test_a_file_of_a_release_without_a_column_is_read_with_nothing_in_it(
    monkeypatch: pytest.MonkeyPatch, kind: Kind, column: str
):
    columns, at = COLUMNS[kind], POSITIONS[kind][column]
    rows, file = rows_of(kind), io.BytesIO()
    monkeypatch.setitem(cast(dict[str, Any], COLUMNS), kind, (*columns[:at], *columns[at + 1 :]))
    parquet._schema.cache_clear()
    parquet.write(file, SOURCES[kind], day_of(MIDNIGHT), [row[:at] + row[at + 1 :] for row in rows], START, 3)
    monkeypatch.undo()
    parquet._schema.cache_clear()
    expected = [(*row[:at], None, *row[at + 1 :]) for row in rows]
    assert [row for batch in parquet.read(file, "x", kind) for row in batch] == expected


def rows_of(kind: str, count: int = 5) -> list[tuple[Any, ...]]:
    found = []
    for number in range(count):
        stream_id, fields = ENTRIES[kind](1000 + number, MIDNIGHT + number, 0)
        raw = {name.encode(): value.encode() for name, value in fields.items()}
        found.append(row_of(SOURCES[kind], CONTEXT.venue, stream_id, raw).values)
    return found


@pytest.mark.parametrize("kind", ["trades", "bars", "depth", "raw"])
def test_rows_come_back_from_a_file(kind: str):
    rows = rows_of(kind)
    file = io.BytesIO()
    parquet.write(file, SOURCES[kind], day_of(MIDNIGHT), rows, START, 3)
    assert [row for batch in parquet.read(file, "x", SOURCES[kind].kind) for row in batch] == rows
    held = FileRange(StreamId.parse(rows[0][0]), StreamId.parse(rows[-1][0]))
    assert parquet.check(file, "x", held) == START
    with pytest.raises(ArchiveUnreadable):
        parquet.check(file, "x", held._replace(last=StreamId(1, 1)))
    table = pq.read_table(file)
    metadata = {name.decode(): value.decode() for name, value in table.schema.metadata.items()}
    assert metadata["marketfleet.format"] == "1"
    assert metadata["marketfleet.symbol"] == SYMBOL
    assert {column["compression"] for column in _columns(file)} == {"ZSTD"}
    assert str(table.schema.field("stream_id").type) == "string"
    for column in COLUMNS[SOURCES[kind].kind]:
        if column.type == "number":
            decimals = table.column(f"{column.name}_decimal").to_pylist()
            assert decimals == [Decimal(row[POSITIONS[kind][column.name]]) for row in rows]


def _columns(file: io.BytesIO) -> list[dict[str, Any]]:
    return pq.ParquetFile(file).metadata.row_group(0).to_dict()["columns"]


def test_a_flipped_bit_is_never_another_row():
    rows, file = rows_of("trades", 40), io.BytesIO()
    parquet.write(file, SOURCES["trades"], day_of(MIDNIGHT), rows, START, 3)
    whole = file.getvalue()
    refused = 0
    for place in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        try:
            assert [
                row for batch in parquet.read(io.BytesIO(damaged), "x", "trades") for row in batch
            ] == rows
        except ArchiveUnreadable:
            refused += 1
    assert refused > len(whole) // 30


def test_an_error_of_the_device_says_nothing_of_the_file(tmp_path: Path):
    """A file that is called damaged is removed by its stream's next owner."""

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    file = io.BytesIO()
    rows = rows_of("trades")
    parquet.write(file, SOURCES["trades"], day_of(MIDNIGHT), rows, START, 3)
    held = FileRange(StreamId.parse(rows[0][0]), StreamId.parse(rows[-1][0]))
    with pytest.raises(OSError, match="Input/output"):
        parquet.check(Failing(file.getvalue()), "x", held)


def test_a_number_beyond_the_decimals_is_still_there_as_text():
    texts = ["1.5", "0.1234567890123456789", "not a number", "123456789012345678901.5", None]
    rows = [(*row[:2], text, *row[3:]) for row, text in zip(rows_of("trades"), texts, strict=True)]
    file = io.BytesIO()
    parquet.write(file, SOURCES["trades"], day_of(MIDNIGHT), rows, START, 3)
    table = pq.read_table(file)
    assert table.column("price").to_pylist() == texts
    assert table.column("price_decimal").to_pylist() == [Decimal("1.5"), None, None, None, None]


@pytest.mark.parametrize("told", [None, -1])
async def test_a_message_that_says_no_time_is_found_by_that_of_its_entry(tmp_path: Path, told: int | None):
    """Kraken's whole books say none; files of earlier releases have -1 there."""
    [context] = venue_contexts(Settings(venues={"kraken": KrakenSettings(symbols=["BTC-USD"])}))
    source, storage = Source("kraken", "BTC-USD", "depth"), LocalStorage(tmp_path)
    book = b'{"symbol":"BTC/USD","bids":[{"price":1,"qty":2}],"asks":[],"checksum":7}'
    fields = {b"data": b'{"channel":"book","type":"snapshot","data":[%s]}' % book, b"kind": b"snapshot"}
    row = row_of(source, context.venue, StreamId(MIDNIGHT, 1), fields)
    assert (row.decoded, row.day) == (True, day_of(MIDNIGHT))
    at = POSITIONS["depth"]["event_time"]
    assert row.values[at] is None
    values = (*row.values[:at], told, *row.values[at + 1 :])
    file = storage.create(name := f"{source.day_folder(row.day)}/{MIDNIGHT}-1_{MIDNIGHT}-1.parquet")
    parquet.write(file, source, row.day, [values], START, 3)
    storage.sync(file)
    assert storage.exists(name)
    archive = ArchiveReader(storage)
    assert list(archive.rows(source, MIDNIGHT, MIDNIGHT + 1)) == [values]
    assert list(archive.rows(source, MIDNIGHT + 1, MIDNIGHT + 9)) == []

    class OneEntry:
        async def entries(
            self, _: str, from_ms: int
        ) -> AsyncIterator[list[tuple[bytes, dict[bytes, bytes]]]]:
            yield [(f"{MIDNIGHT}-1".encode(), fields)]

    kept = HeldRows(context, cast(Any, OneEntry()), None)
    assert [rows async for rows in kept.rows(source, 0, MIDNIGHT + 1)] == [[row.values]]


def test_what_cannot_be_decoded_keeps_its_bytes():
    stream_id = StreamId(MIDNIGHT, 7)
    for kind, column in (("trades", "undecoded"), ("depth", "data")):
        row = row_of(SOURCES[kind], CONTEXT.venue, stream_id, {b"data": b"\xff{", b"received": b"x"})
        assert row.values[POSITIONS[kind][column]] == b"\xff{"
        assert (row.day, row.last) == (day_of(MIDNIGHT), 7)
        file = io.BytesIO()
        parquet.write(file, SOURCES[kind], row.day, [row.values], START, 3)
        assert next(parquet.read(file, "x", SOURCES[kind].kind)) == [row.values]


@pytest.mark.parametrize("garbage", [b"", b"PAR1", b"x" * 400])
def test_a_file_that_is_none_is_refused(garbage: bytes):
    with pytest.raises(ArchiveUnreadable):
        list(parquet.read(io.BytesIO(garbage), "x", "trades"))


def test_a_dataset_reader_sees_the_partitions(archive_folder: Path):
    storage = LocalStorage(archive_folder)
    for kind in ("trades", "depth"):
        rows, source = rows_of(kind), SOURCES[kind]
        file = storage.create(source.incomplete("1"))
        parquet.write(file, source, day_of(MIDNIGHT), rows, START, 3)
        storage.sync(file)
        held = FileRange(StreamId.parse(rows[0][0]), StreamId.parse(rows[-1][0]))
        storage.publish(source.incomplete("1"), f"{source.day_folder(day_of(MIDNIGHT))}/{held.name}")
    storage.create(SOURCES["trades"].incomplete("2")).close()
    table = ds.dataset(archive_folder, partitioning="hive").to_table(filter=ds.field("kind") == "trades")
    assert table.num_rows == 5
    assert set(table.column("symbol").to_pylist()) == {SYMBOL}
    assert set(table.column("date").to_pylist()) == {"2026-09-22"}


def test_buffers_end_files_at_midnight_and_at_their_limits():
    buffer = Buffer(Limits(4, 10**6, 60.0))
    entries = [ENTRIES["trades"](n, MIDNIGHT - 3 + n, 0) for n in range(9)]
    for stream_id, fields in entries:
        raw = {name.encode(): value.encode() for name, value in fields.items()}
        buffer.add(row_of(SOURCES["trades"], CONTEXT.venue, stream_id, raw), 100.0)
    lengths = []
    while batch := buffer.cut():
        assert {row.day for row in batch.rows} == {batch.day}
        lengths.append(len(batch.rows))
        buffer.drop(batch, 100.0)
    assert lengths == [3, 4, 2]
    assert buffer.size == 0


class _Remote:
    """Makes the world's owners use an fsspec file system."""

    def __init__(self, storage: RemoteStorage) -> None:
        self.storage = storage

    def put(self, owner: Owner) -> Owner:
        parts: Parts = owner.stream.parts
        owner.stream.parts = parts._replace(storage=self.storage)
        return owner


async def test_any_fsspec_url_will_do(client: Redis, archive_folder: Path) -> None:
    storage = storage_of("memory://bucket/some archive", archive_folder)
    assert isinstance(storage, RemoteStorage)
    fsspec.filesystem("memory").store.clear()
    remote, world = _Remote(storage), World(client, SOURCES["bars"], archive_folder, Limits(4, 1 << 20, 1e9))
    await world.append(10, 50)
    owner = remote.put(await world.takeover())
    await owner.work(flush=True)
    await client.delete(KEYS.archive(SYMBOL))
    await world.append(10, 50)
    for _ in range(12):
        owner = remote.put(await world.takeover())
        await owner.work(flush=True)
    rows = list(ArchiveReader(storage).rows(SOURCES["bars"], 0, 10**14))
    assert [row[0] for row in rows] == [str(stream_id) for stream_id in sorted(world.appended)]
    assert ArchiveReader(storage).venues() == ["usdm"]
    assert storage.names("_incomplete/usdm") in ([], [encoded(SYMBOL)])
    with pytest.raises(OSError, match="nosuch"):
        storage_of("nosuch://x", archive_folder)


def test_a_remote_archive_without_fsspec_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr("workers.archive.files.storage.find_spec", lambda _: None)
    with pytest.raises(ExtraMissing, match=r"-m pip install 'fsspec"):
        storage_of("s3://bucket/x", tmp_path)


class _Failing(LocalStorage):
    failing = True

    def create(self, path: str) -> Any:
        if self.failing:
            raise OSError(28, "No space left on device")
        return super().create(path)


async def test_memory_is_bounded_while_nothing_can_be_written(
    real_server: str, archive_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: rows wait in Redis, not here; when there is room again, all of them are written."""
    monkeypatch.setattr("workers.archive.worker.MEGABYTE", 1000)
    monkeypatch.setattr("workers.archive.stream.RETRY_FIRST_S", 0.01)
    monkeypatch.setattr("workers.archive.stream.RETRY_LONGEST_S", 0.01)
    client: Any = Redis.from_url(real_server, protocol=2)
    await client.flushall()
    settings = Settings(
        fleet=FleetSettings(home=str(archive_folder)),
        venues={"usdm": BinanceSettings(market="usdm", symbols=[SYMBOL])},
        archive=ArchiveSettings(
            kinds=["trades", "depth"], read_count=50, rotate_rows=10**6, rotate_mb=1000, buffer_mb=150
        ),
    )
    world = World(client, SOURCES["trades"], archive_folder, Limits(1, 1, 1))
    await world.append(1000, 1)
    process = Process("archive", settings, 0, real_server)
    storage = _Failing(archive_folder)
    worker = ArchiveWorker(process, storage)
    await worker.ownership.share()
    await worker.ownership.recover_taken()
    for _ in range(60):
        await worker.step()
    rows = worker.streams[world.key].buffer.rows
    assert 200 < len(rows) < 320
    assert (await client.xpending(world.key, "archive"))["pending"] == len(rows)
    storage.failing = False
    newest = str(max(world.appended)).encode()
    for _ in range(400):
        await worker.step()
        if (await client.xinfo_groups(world.key))[0]["last-delivered-id"] == newest:
            break
        await process.sleep(0.011)
    process.stop.set()
    await worker.run()
    await world.check()
    await process.client.aclose()
    await client.aclose()


def test_nothing_but_one_module_imports_pyarrow():
    package = Path(parquet.__file__).parents[1]
    found = {
        path.name for path in package.rglob("*.py") if "import pyarrow" in path.read_text(encoding="utf-8")
    }
    found |= {
        path.name for path in package.rglob("*.py") if "from pyarrow" in path.read_text(encoding="utf-8")
    }
    assert found == {"parquet.py"}


def test_a_new_folder_survives_a_power_cut_as_far_as_syncing_goes(
    archive_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """The file is synced before its rename, every new folder and the file's own after it was made."""
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr("workers.archive.files.storage.os.fsync", fsync)
    storage = LocalStorage(archive_folder)
    file = storage.create("_incomplete/x.tmp")
    file.write(json.dumps({}).encode())
    storage.sync(file)
    storage.publish("_incomplete/x.tmp", "a/b/x.parquet")
    base = str(archive_folder)
    assert synced == [f"{base}/_incomplete/x.tmp", base, f"{base}/a", f"{base}/a/b"]
