"""`fleet trades`: the trades of one symbol, held and as they come."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from workers.client import FleetClient, Trade
from workers.reading.opening import NOTICES, archive_of, fleet_of, run_reading, symbol_name, tell_notice
from workers.terminal.saying import say, say_json, say_nothing
from workers.terminal.times import clock_text


class Request(NamedTuple):
    """The command line."""

    symbol: str
    from_ms: int | None
    to_ms: int | None
    limit: int
    follow: bool
    seconds: float | None


def run_trades(request: Request, config: Path | None, *, as_json: bool) -> int:
    """Show trades; the exit code."""
    effective = fleet_of(config)
    name = symbol_name(effective, request.symbol)

    async def read(url: str) -> None:
        async with FleetClient(url, archive=archive_of(effective)) as fleet:
            if request.follow:
                await _follow(fleet, name, request, as_json=as_json)
                return
            found = await fleet.get_trades(
                name, from_ms=request.from_ms, to_ms=request.to_ms, limit=request.limit
            )
        if as_json:
            say_json({"symbol": name, "trades": [trade._asdict() for trade in found]})
        elif not found:
            say_nothing(f"trades of {name}", request.from_ms, request.to_ms)
        for trade in () if as_json else found:
            say(trade_line(trade))

    return run_reading(effective, [name], read, request.seconds)


async def _follow(fleet: FleetClient, name: str, request: Request, *, as_json: bool) -> None:
    async with fleet.trades([name], from_ms=request.from_ms) as feed:
        async for record in feed:
            if isinstance(record, NOTICES):
                tell_notice(record, as_json=as_json)
            elif isinstance(record, Trade):
                if request.to_ms is not None and record.trade_time_ms >= request.to_ms:
                    return
                if as_json:
                    say_json(record._asdict())
                else:
                    say(trade_line(record))


def trade_line(trade: Trade) -> str:
    """One trade for people; who took: `buy` when the seller waited."""
    taker = "sell" if trade.is_buyer_maker else "buy"
    return (
        f"{clock_text(trade.trade_time_ms)}  {trade.trade_id}  {taker:4}  {trade.quantity} at {trade.price}"
    )
