"""Rows of `derivative_ticker` and `liquidations`: imported lines, and then what the fleet's own streams hold.

The streams have no time of arrival: the local time of a row is the exchange's, by which its entry stands.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Final

from workers.model.derivatives.figures import figures_from
from workers.recordings.tardis.rows import Dataset, Row, parse_row
from workers.research.symbol_data import SymbolData, paged
from workers.store.keys import Keys
from workers.store.log.follower import entry_id

DATASETS: Final[dict[str, Dataset]] = {"derivatives": "derivative_ticker", "liquidations": "liquidations"}
"""By kind."""


async def contract_rows(data: SymbolData, kind: str, from_ms: int, to_ms: int) -> AsyncIterator[Row]:
    """The rows of a kind of `DATASETS` whose `timestamp` is in a stretch, none twice. Raises: ValueError."""
    dataset, local = DATASETS[kind], 0
    async for line in paged(data.lines(dataset, from_ms, to_ms)):
        row = parse_row(dataset, line)
        local = max(local, row[3])
        yield row
    make = _ticker if kind == "derivatives" else _liquidation
    key_of = Keys.derivatives if kind == "derivatives" else Keys.liquidations
    async for raw_id, fields in data.entries(key_of, max(from_ms, local // 1000)):
        came = entry_id(raw_id)[0] * 1000
        row = (data.venue, data.symbol, *make(came, fields))
        if came > local and from_ms * 1000 <= row[2] < to_ms * 1000:
            yield row


def _ticker(came: int, fields: Mapping[bytes, bytes]) -> Row:
    figures = figures_from(fields)
    values = {name: figure.value for name, figure in figures.items()}
    funding = values.get("next_funding_time", "")
    newest = max((figure.time_ms for figure in figures.values()), default=0) * 1000
    return (
        newest or came, came, int(funding) * 1000 if funding.isdigit() else None, values.get("funding_rate"), None,
        values.get("open_interest"), None, values.get("index_price"), values.get("mark_price"),
    )  # fmt: skip


def _liquidation(came: int, fields: Mapping[bytes, bytes]) -> Row:
    """Raises ValueError, KeyError: it is none of ours."""
    name = fields.get(b"id", b"").decode(errors="replace") or None
    price, quantity, side = (fields[field].decode() for field in (b"price", b"quantity", b"side"))
    return (int(fields[b"time"]) * 1000, came, name, side, price, quantity)
