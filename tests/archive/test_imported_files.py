"""Rows of others in the archive, beside the log's own and beside other imports."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import pytest
from archive_world import CONTEXT, ENTRIES, MIDNIGHT, SOURCES, Folder, World
from redis.asyncio import Redis

from workers.archive.buffer import Limits
from workers.archive.files.layout import StreamId
from workers.archive.files.past_trades import FiledTrades
from workers.archive.files.reading import ArchiveReader
from workers.archive.files.rows import row_of, trade_row
from workers.archive.files.storage import LocalStorage
from workers.model.events import Trade
from workers.research.filing import Filing

SOURCE = SOURCES["depth"]


def row(number: int, ms: int) -> tuple[Any, ...]:
    stream_id, fields = ENTRIES["depth"](number, ms, 0)
    raw = {name.encode(): value.encode() for name, value in fields.items()}
    return row_of(SOURCE, CONTEXT.venue, stream_id, raw).values


@pytest.mark.parametrize("is_begun", [True, False])
async def test_no_owner_takes_an_imported_file_for_one_of_its_log(client: Redis, is_begun: bool):
    """What the log had before the end of that file would count as archived, and be lost."""
    with Folder() as root:
        world = World(client, SOURCE, root, Limits(4, 1 << 20, 1e9))
        if is_begun:
            await world.append(4, 1)
            await (await world.alive()).work(flush=True)
        await world.append(4, 100)
        imported = row(9, world.ms + 50)
        filing = Filing(LocalStorage(root), SOURCE, 1)
        filing.add([imported])
        filing.finish()
        await world.append(4, 100)
        await world.finish()
        named = {StreamId.parse(found[0]) for found in world.rows()}
        assert named == {*world.appended, StreamId.parse(imported[0])}


def test_two_imports_of_a_symbol_at_once_write_a_file_each(tmp_path: Path):
    rows = [row(number, MIDNIGHT + number) for number in range(10)]
    other = Filing(LocalStorage(tmp_path), SOURCE, 1)

    class Meanwhile(LocalStorage):
        def sync(self, file: BinaryIO) -> int:
            other.finish()
            return super().sync(file)

    first = Filing(Meanwhile(tmp_path), SOURCE, 1)
    first.add(rows[:5])
    other.add(rows[5:])
    first.finish()
    found = list(ArchiveReader(LocalStorage(tmp_path)).rows(SOURCE, MIDNIGHT, MIDNIGHT + 99))
    assert found == rows
    assert list(tmp_path.rglob("*.tmp")) == []


async def test_a_trade_that_a_slow_clock_recorded_is_found_by_its_time(tmp_path: Path):
    source = SOURCES["trades"]
    trade = Trade(source.symbol, 7, "1", "2", 7, 7, MIDNIGHT + 1_270, MIDNIGHT + 1_270, False)
    filing = Filing(LocalStorage(tmp_path), source, 1)
    filing.add([trade_row(StreamId(MIDNIGHT, 7), trade, MIDNIGHT * 1000, "tardis").values])
    filing.finish()
    filed = FiledTrades(LocalStorage(tmp_path), source.venue)
    found = await filed.trades(source.symbol, MIDNIGHT + 1_000, MIDNIGHT + 2_000, 10)
    assert [one.trade_id for one in found] == [7]
