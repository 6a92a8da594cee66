"""Trades that the log has though nobody gave them to us: an earlier owner, not gone yet, had read them."""

from __future__ import annotations

from typing import Final

from workers.model.events import Trade
from workers.model.trades.fold import Hole
from workers.store.log.streams import Delivered, GroupReader
from workers.store.trades.batch import entry_ms

BACK_MS: Final = 60_000
"""How much older than the trade after the hole, by their entries, the missing ones may be."""
PAGE: Final = 1_000
PAGES: Final = 20


async def missing_in_log(
    reader: GroupReader, key: str, hole: Hole, following: tuple[bytes, Trade], ids_since: int = 0
) -> list[Delivered]:
    """Entries of a raw trade stream whose ids are in a hole: the id of an entry ends with that of its trade.

    Args:
        following: the first trade after the hole, with its entry's id.
        ids_since: entries before this ms have ids from before they began anew.

    Cost: one XRANGE for `PAGE` entries of the minute before it, `PAGES` at most.
    """
    last = following[0].decode()
    from_ms = max(0, entry_ms(last) - BACK_MS, ids_since - 1)
    after = f"{from_ms}-{2**64 - 1}" if from_ms == ids_since - 1 else f"{from_ms}-0"
    entries: list[Delivered] = []
    for _ in range(PAGES):
        page = await reader.range(key, after, PAGE, until=last)
        entries += [entry for entry in page if hole.expected <= _trade_id(entry.stream_id) < hole.seen]
        if len(page) < PAGE:
            break
        after = page[-1].stream_id.decode()
    return entries


def _trade_id(stream_id: bytes) -> int:
    return int(stream_id.partition(b"-")[2])
