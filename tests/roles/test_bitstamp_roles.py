"""Bitstamp with real sockets, in one process: books that REST begins, and trades whose ids no double holds."""

from __future__ import annotations

from simulated_fleet import SimulatedFleet

from workers.sim import SimSettings, SimulatedExchange

MARKETS = ["BTCUSD", "BTCUSD-PERP"]
LONGEST_S = 90.0


async def test_books_and_trades_agree_with_what_really_happened(spare_server: str) -> None:
    simulated = SimSettings(
        flavour="bitstamp", port=0, rate_scale=3.0, levels_per_side=300, symbols={"all": tuple(MARKETS)}
    )
    async with SimulatedExchange(simulated) as exchange:
        fleet = SimulatedFleet(exchange, "all", MARKETS, "", spare_server)
        try:
            fleet.start_all()
            await fleet.until(fleet.all_shown, LONGEST_S)
            await fleet.until(fleet.all_traded, LONGEST_S)
            await fleet.control("pause", {})
            await fleet.until(fleet.as_in_truth, LONGEST_S)
        finally:
            await fleet.end()
