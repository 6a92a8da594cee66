"""Trades that no line had, of Kraken, whose REST goes by time and not by id: there exactly once all the same."""

from __future__ import annotations

import aiohttp
import pytest
from in_process import Fleet
from redis.asyncio import Redis

from workers.model.trades.latest import decode_member
from workers.settings.loading import parse
from workers.sim import SimSettings, SimulatedExchange
from workers.store.keys import Keys
from workers.venues.kraken.venue import Kraken

KEYS = Keys()
SYMBOL = "BTC-USD"
LONGEST_S = 90.0
FLEET = """
[fleet]
lease_ms = 2500
heartbeat_ms = 500
[venues.kraken]
exchange = "kraken"
symbols = ["BTC-USD"]
websocket_url = "{websocket_url}/v2"
rest_url = "{url}"
request_spacing_ms = 20
old_trades = false
[ingest]
backoff_first_s = 0.05
"""


class OneLine(Fleet):
    """One line and the fold of the trades of one symbol."""

    def __init__(self, exchange: SimulatedExchange, redis_url: str) -> None:
        text = FLEET.format(websocket_url=exchange.websocket_url, url=exchange.url)
        self.exchange, self.url, self.symbols = exchange, redis_url, [SYMBOL]
        self.settings = parse(text, "a test", {}).settings
        self.client = Redis.from_url(redis_url, protocol=2)
        self.processes, self.tasks, self.workers = {}, {}, {}

    async def control(self, path: str, body: dict[str, str]) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.exchange.url}/control/{path}", json=body) as response,
        ):
            assert response.status == 200, await response.text()

    async def folded(self) -> list[int]:
        members = await self.client.zrange(KEYS.trades_latest(SYMBOL), 0, -1, withscores=True)
        return sorted(decode_member(member, SYMBOL, int(score)).agg_trade_id for member, score in members)

    async def repaired(self) -> bool:
        gaps = await self.client.xrange(KEYS.gaps(SYMBOL))
        return any(gap[b"channel"] == b"aggTrade" for _, gap in gaps)

    async def as_in_truth(self) -> bool:
        known = await self.folded()
        rows = await self.truth("trades", SYMBOL, market="spot", from_id=str(known[0]))
        return known == [row["a"] for row in rows["trades"]]


async def test_what_no_line_had_is_asked_for_by_the_time_of_the_last_known_trade(
    spare_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Kraken, "trades_span", 10
    )  # pages as short for this tape as theirs are for a whole one
    simulated = SimSettings(
        flavour="kraken", port=0, rate_scale=5.0, levels_per_side=300, symbols={"spot": (SYMBOL,)}
    )
    async with SimulatedExchange(simulated) as exchange:
        fleet = OneLine(exchange, spare_server)
        try:
            fleet.start("ingest-a", "a")
            fleet.start("trades", "trades-1")

            async def flows() -> bool:
                return len(await fleet.folded()) > 5

            await fleet.until(flows, LONGEST_S)
            await fleet.control("faults", {"fault": "lose stream=trade:* count=3"})
            await fleet.until(fleet.repaired, LONGEST_S)
            await fleet.control("pause", {})
            await fleet.until(fleet.as_in_truth, LONGEST_S)
            state = await fleet.client.hgetall(KEYS.trades_state(SYMBOL))
            assert int(state.get(b"missing_count", 0)) == 0
        finally:
            for name in list(fleet.tasks):
                await fleet.stop(name)
            await fleet.client.aclose()
