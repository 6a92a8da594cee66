"""Trades that the log has though nobody gave them to us: an earlier owner, not gone yet, had read them."""

from __future__ import annotations

from typing import Final

from workers.model.events import Trade
from workers.model.trades.fold import Hole
from workers.store.log.streams import Delivered, GroupReader, update_id_of
from workers.store.trades.batch import entry_ms

PAGE: Final = 1_000
PAGES: Final = 20


async def missing_in_log(
    reader: GroupReader, key: str, hole: Hole, following: tuple[bytes, Trade], ids_since: int = 0
) -> list[Delivered]:
    """Entries of a raw trade stream whose ids are in a hole, the newest first: an entry's id ends with its trade's.

    They stand right before what follows the hole, however long they have been there.

    Args:
        following: the first trade after the hole, with its entry's id.
        ids_since: entries before this ms have ids from before they began anew.

    Cost: one XREVRANGE for each `PAGE` of them, `PAGES` at most; where there are none one, of as many as are missing.
    """
    until, count = following[0], min(PAGE, hole.seen - hole.expected)
    entries: list[Delivered] = []
    for _ in range(PAGES):
        page = await reader.before(key, until, count)
        found = [
            entry
            for entry in page
            if hole.expected <= update_id_of(entry.stream_id) < hole.seen
            and entry_ms(entry.stream_id) >= ids_since
        ]
        entries += found
        if len(found) < count:
            break
        until = page[-1].stream_id
    return entries
