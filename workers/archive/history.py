"""Copies the books of every second into files, before Redis forgets them.

A block of `history:{S}` never changes once the log it was folded from is gone: only then is it filed, an hour of them
in a file. Where the files of a symbol end they say themselves, so nothing is put on record, and a file that an owner
wrote just before its end is found by the next one.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

import structlog
from redis.exceptions import RedisError

from workers.archive.files import parquet
from workers.archive.files.layout import START, FileRange, StreamId, day_of
from workers.archive.files.past import FiledPast, block_row
from workers.archive.files.storage import Storage
from workers.archive.metrics import BYTES, FAILURES, FILES, ROWS
from workers.errors import FleetError
from workers.model.history.segment import MOST_SECONDS
from workers.runtime.ownership import Claim
from workers.runtime.process import Process
from workers.store.history.reading import FiledBlock, finished_blocks
from workers.store.history.writing import decode_summary

log = structlog.get_logger()

BLOCKS_AT_ONCE: Final = 60
"""Blocks of one file, at most: an hour."""
LOOK_S: Final = 30.0
"""Pause between two looks at all symbols, at most."""


class HistoryFiler:
    """Files the blocks of the symbols this worker owns."""

    def __init__(self, process: Process, storage: Storage) -> None:
        settings = process.settings
        self._client = process.client
        self._storage = storage
        self._level = settings.archive.compression_level
        self._wanted = settings.history.enabled and "history" in settings.archive.kinds
        self._final_s = settings.streams.depth_ms / 1000 + MOST_SECONDS
        """The age at which a block's second does not change any more: nothing is left to fold it from."""
        self._rotate_s = settings.archive.rotate_bars_s
        self._owned: dict[str, tuple[Claim, int]] = {}
        """By key, the symbols and the fencing numbers of their leases."""
        self._filed_to: dict[str, int] = {}
        """By key, the second at which the last filed block starts."""

    def own(self, claim: Claim, token: int) -> None:
        """File a symbol from now on."""
        key = _key(claim)
        self._owned[key] = claim, token
        self._filed_to.pop(key, None)

    def forget(self, claim: Claim) -> None:
        """Another worker files it."""
        self._owned.pop(_key(claim), None)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while self._wanted:
            for claim, _ in list(self._owned.values()):
                try:
                    while await self.file(claim):
                        pass
                except (RedisError, OSError, FleetError, ValueError) as error:
                    FAILURES.labels(claim.context.name, "history").inc()
                    log.error("archive_write_failed", key=_key(claim), error=str(error),
                              retry_in_s=LOOK_S)  # fmt: skip
            await asyncio.sleep(min(LOOK_S, self._rotate_s))

    async def file(self, claim: Claim) -> bool:
        """Write the next file of a symbol, if it is time; whether one was written."""
        key = _key(claim)
        if key not in self._owned:
            return False
        token = self._owned[key][1]
        past = FiledPast(self._storage, claim.context.name)
        if key not in self._filed_to:
            ends = await past.ends(claim.symbol)
            self._filed_to[key] = ends[1] if ends else -1
        now = time.time()
        blocks = await finished_blocks(
            self._client,
            claim.context.keys,
            claim.symbol,
            self._filed_to[key],
            int(now - self._final_s),
            BLOCKS_AT_ONCE,
        )
        starts = [decode_summary(block.summary).start for block in blocks]
        same_day = [start for start in starts if day_of(start * 1000) == day_of(starts[0] * 1000)]
        is_due = len(same_day) < len(starts) or len(starts) == BLOCKS_AT_ONCE
        if not starts or not (is_due or now - self._final_s - starts[0] >= self._rotate_s):
            return False
        await asyncio.to_thread(self._write, past, claim, token, blocks[: len(same_day)])
        self._filed_to[key] = same_day[-1]
        return True

    def _write(self, past: FiledPast, claim: Claim, token: int, blocks: list[FiledBlock]) -> None:
        source, rows = past.source(claim.symbol), [block_row(block) for block in blocks]
        day, incomplete = day_of(rows[0][1]), source.incomplete(str(token))
        held = FileRange(StreamId.parse(rows[0][0]), StreamId.parse(rows[-1][0]))
        file = self._storage.create(incomplete)
        try:
            parquet.write(file, source, day, rows, START, self._level)
            length = self._storage.sync(file)
        finally:
            file.close()
        path = f"{source.day_folder(day)}/{held.name}"
        self._storage.publish(incomplete, path)
        for metric, amount in ((FILES, 1), (ROWS, len(rows)), (BYTES, length)):
            metric.labels(claim.context.name, "history").inc(amount)
        log.info("archive_file_written", path=self._storage.shown(path), rows=len(rows), bytes=length)


def _key(claim: Claim) -> str:
    return claim.context.keys.history(claim.symbol)
