"""More symbols than a minute's request weight suffices for: the limit holds, and what has been reached is told."""

from __future__ import annotations

import asyncio
import time

from in_process import fleet_of

from workers.runtime.rest import REQUESTS
from workers.store.fleet.budget import Budget, Urgency

MANY = [f"SIM{number:03d}USDT" for number in range(30)]
LIMIT = 200
WEIGHT = 10
"""Of a snapshot of 500 levels."""
COMPARED = 2
"""Of one of 50, with which the first is compared."""
SHARE = 0.8
MOST_A_MINUTE = int(LIMIT * SHARE * Urgency.START / 1000 // WEIGHT)
"""First snapshots that the fleet may ask for in a minute, were they not compared."""
A_MINUTE = int(LIMIT * SHARE * Urgency.START / 1000 // (WEIGHT + COMPARED))
"""Books that can be shown after it."""


def requests(status: str) -> float:
    """Requests of this test process that were answered so."""
    return REQUESTS.labels("usdm", status)._value.get()


async def test_the_limit_holds_and_progress_is_told(real_server: str) -> None:
    venue = {"snapshot_depth": 500, "trades": "none", "weight_share": SHARE}
    sim = {"usdm_weight_limit": LIMIT, "levels_per_side": 50}
    async with fleet_of(real_server, symbols=MANY, venue=venue, **sim) as fleet:
        await Budget(fleet.client, "um+cm", assumed_limit=LIMIT, share=SHARE).learn(LIMIT)
        before, refused, began = requests("200"), requests("429"), time.time()
        for role, name in (("ingest-a", "a"), ("books", "books-1"), ("books", "books-2")):
            fleet.start(role, name)

        async def first_minute_used() -> bool:
            return await fleet.client.hlen("LIVE_ORDERBOOK") >= A_MINUTE

        await fleet.until(first_minute_used, 60)
        await asyncio.sleep(2)
        shown = await fleet.client.hlen("LIVE_ORDERBOOK")
        minutes = int(time.time() // 60 - began // 60) + 1
        # a comparison that was answered with the first snapshot itself, from a cache, is asked for again
        assert 2 * A_MINUTE <= 2 * shown <= requests("200") - before
        assert shown <= MOST_A_MINUTE * minutes < len(MANY)
        assert requests("429") == refused

        async def told() -> bool:
            workers = await fleet.processes["books-1"].registry.workers(["books"])
            in_sync = sum(int(worker["in_sync"]) for worker in workers)
            return sum(int(worker["symbols"]) for worker in workers) == len(MANY) and in_sync >= A_MINUTE

        await fleet.until(told)
