"""Bitfinex with real sockets, in one process: checksums, a lost frame, and what only a checksum shows."""

from __future__ import annotations

from simulated_fleet import KEYS, SimulatedFleet

from workers.sim import SimSettings, SimulatedExchange

PAIRS = ["BTCUSD", "DOGE_USD"]
LONGEST_S = 90.0


async def test_books_and_trades_agree_with_what_really_happened(spare_server: str) -> None:
    simulated = SimSettings(
        flavour="bitfinex", port=0, rate_scale=3.0, levels_per_side=300, symbols={"spot": tuple(PAIRS)}
    )
    async with SimulatedExchange(simulated) as exchange:
        fleet = SimulatedFleet(exchange, "spot", PAIRS, "/ws/2", spare_server)

        async def number(symbol: str, field: str) -> int:
            return int(await fleet.client.hget(KEYS.book_status(symbol), field) or 0)

        async def checked() -> bool:
            return all([await number(symbol, "checksums_ok") >= 2 for symbol in PAIRS])

        try:
            fleet.start_all()
            await fleet.until(fleet.all_shown, LONGEST_S)
            await fleet.until(checked, LONGEST_S)
            first = {symbol: await fleet.syncs(symbol) for symbol in PAIRS}
            assert first == dict.fromkeys(PAIRS, 1)  # what is checked goes on
            await fleet.control("faults", {"fault": "lose stream=book.*:tBTCUSD count=1"})

            async def begun_anew() -> bool:
                return all([await fleet.syncs(symbol) > first[symbol] for symbol in PAIRS])

            await fleet.until(begun_anew, LONGEST_S)  # a hole concerns all pairs of the socket
            second = await fleet.syncs("DOGE_USD")
            await fleet.control("faults", {"fault": "checksum stream=book.*:tDOGE:USD"})

            async def found_wrong() -> bool:
                return await fleet.syncs("DOGE_USD") > second

            await fleet.until(found_wrong, LONGEST_S)
            fleet.exchange.exchange.remove_faults(None)
            await fleet.until(fleet.all_traded, LONGEST_S)
            await fleet.until(fleet.all_shown, LONGEST_S)
            await fleet.control("pause", {})
            await fleet.until(fleet.as_in_truth, LONGEST_S)
        finally:
            await fleet.end()
