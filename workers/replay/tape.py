"""The trades and bars of one symbol as they stand in Redis, counted."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from workers.model.trades.latest import decode_member
from workers.model.trades.windows import INTERVALS_MS
from workers.store.keys import TRADES
from workers.verification.stored import Book

PAGE: Final = 5_000


class Tape(NamedTuple):
    """What `trades:{S}:latest` and the state of the fold say."""

    number: int
    first_id: int
    """-1 without trades; like `last_id` of the trades in the set."""
    last_id: int
    missing: int
    """Ids accepted as missing, or absent from the set without being off-book fills."""
    doubled: int
    not_market: int
    """Off-book fills (insurance fund, ADL): their ids count, they are in no window."""
    applied: int
    fold_id: int
    """The last id the fold has come to."""
    stream_id: int
    """The last id in the raw stream."""
    breaks: int
    """Stretches in which trades may be missing, nobody knows how many."""

    def problems(self, name: str) -> list[str]:
        """What is not as it should be, in sentences."""
        found = []
        if self.missing:
            found.append(f"{name}: {self.missing} trades are missing.")
        if self.breaks:
            found.append(f"{name}: trades may be missing in {self.breaks} stretch(es).")
        if self.doubled:
            found.append(f"{name}: {self.doubled} trades are in trades:latest twice.")
        if self.applied != self.number:
            found.append(f"{name}: {self.applied} trades were applied, trades:latest holds {self.number}.")
        if self.fold_id != self.stream_id:
            found.append(
                f"{name}: the trades are applied up to {self.fold_id}, the stream ends at {self.stream_id}."
            )
        return found


async def tape_of(client: Any, book: Book) -> Tape:
    """Count the trades of a symbol. Cost: reads the whole latest set."""
    keys = book.context.keys
    count = 0
    ids: set[int] = set()
    latest = keys.trades_latest(book.symbol)
    while page := await client.zrange(latest, count, count + PAGE - 1, withscores=True):
        count += len(page)
        ids.update(decode_member(member, book.symbol, int(score)).agg_trade_id for member, score in page)
    names = ("last_id", "applied_count", "not_market_count", "missing_count", "breaks_count")
    values = await client.hmget(keys.trades_state(book.symbol), *names)
    fold_id, applied, not_market, missing, breaks = (int(value or 0) for value in values)
    stream = await client.xinfo_stream(keys.raw(book.symbol, TRADES))
    first, last = (min(ids), max(ids)) if ids else (-1, -1)
    is_consecutive = book.context.venue.facts.trade_ids == "consecutive"
    absent = last - first + 1 - len(ids) if ids and is_consecutive else 0
    return Tape(
        number=count,
        first_id=first,
        last_id=last,
        missing=max(missing, absent - not_market),
        doubled=count - len(ids),
        not_market=not_market,
        applied=applied,
        fold_id=fold_id,
        stream_id=int(stream["last-generated-id"].partition(b"-")[2]),
        breaks=breaks,
    )


async def bars_of(client: Any, book: Book) -> dict[str, int]:
    """For each interval the windows with at least one trade, the last, still open one included."""
    found = {}
    keys = book.context.keys
    for interval in INTERVALS_MS:
        starts: set[bytes] = set()
        after = "-"
        while page := await client.xrange(keys.bars(book.symbol, interval), min=after, count=PAGE):
            starts.update(fields[b"start"] for _, fields in page)
            after = f"({page[-1][0].decode()}"
        current = await client.hget(keys.stats(book.symbol, interval), "start")
        if current is not None:
            starts.add(current)
        found[interval] = len(starts)
    return found
