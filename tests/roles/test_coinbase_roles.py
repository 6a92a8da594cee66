"""Coinbase with real sockets, in one process: followed, and begun anew after a hole in the numbers of a connection."""

from __future__ import annotations

import pytest
from simulated_fleet import SimulatedFleet

from workers.sim import SimSettings, SimulatedExchange

PRODUCTS = ("BTC-USD", "DOGE-USD")
LONGEST_S = 90.0


@pytest.mark.parametrize("market", ["advanced", "exchange"])
async def test_books_and_trades_agree_with_what_really_happened(market: str, spare_server: str) -> None:
    simulated = SimSettings(
        flavour="coinbase", port=0, rate_scale=3.0, levels_per_side=300, symbols={market: PRODUCTS}
    )
    async with SimulatedExchange(simulated) as exchange:
        fleet = SimulatedFleet(exchange, market, list(PRODUCTS), f"/{market}", spare_server)
        try:
            fleet.start_all()
            await fleet.until(fleet.all_shown, LONGEST_S)
            if market == "advanced":
                before = {symbol: await fleet.syncs(symbol) for symbol in PRODUCTS}
                await fleet.control("faults", {"fault": "lose stream=level2:BTC-USD count=1"})

                async def begun_anew() -> bool:
                    return all([await fleet.syncs(symbol) > before[symbol] for symbol in PRODUCTS])

                await fleet.until(begun_anew, LONGEST_S)  # a hole concerns all products of the connection
                await fleet.until(fleet.all_shown, LONGEST_S)
            await fleet.until(fleet.all_traded, LONGEST_S)
            await fleet.control("pause", {})
            await fleet.until(fleet.as_in_truth, LONGEST_S)
        finally:
            await fleet.end()
