"""Which trades and windows a range gives: without a beginning the newest before its end, else the oldest."""

from __future__ import annotations

from aiohttp.test_utils import TestClient
from redis.asyncio import Redis
from test_server import KEYS, api, redis  # noqa: F401  # fixtures

from workers.model.events import Trade
from workers.store.scripts import Scripts
from workers.store.trades.fold import TradeStore

T0 = 1_790_035_200_000
MINUTE = 60_000


async def test_without_a_beginning_the_newest_before_the_end_are_given(
    api: TestClient,  # type: ignore[type-arg]  # noqa: F811
    redis: Redis,  # noqa: F811
) -> None:
    store = TradeStore(redis, KEYS, Scripts(redis), retention_ms=0, bar_retention={})
    for minute in range(10):
        ms = T0 + minute * MINUTE
        await store.apply(
            "BTCUSDT", [("", Trade("BTCUSDT", minute + 1, "1", "1", minute, minute, ms, ms, True))]
        )

    async def trades(query: str) -> list[int]:
        return [row["id"] for row in (await (await api.get(f"/trades?{query}")).json())["trades"]]

    async def bars(query: str) -> list[int]:
        rows = (await (await api.get(f"/bars/1m?{query}")).json())["bars"]
        return [(row["start_ms"] - T0) // MINUTE + 1 for row in rows]

    end = T0 + 6 * MINUTE
    for ask in (trades, bars):
        assert await ask(f"to={end}&limit=3") == [4, 5, 6]
        assert await ask(f"to={end}&limit=100") == [1, 2, 3, 4, 5, 6]
        assert await ask(f"from={T0}&to={end}&limit=3") == [1, 2, 3]
        assert await ask("limit=3") == [8, 9, 10]
        assert await ask(f"to={T0}") == []
    page = await (await api.get(f"/trades?to={end}&limit=3")).json()
    assert page["next_after_id"] is None
