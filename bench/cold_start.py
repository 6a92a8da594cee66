"""From nothing, and from a restart, to every book served.

    python bench/cold_start.py [--symbols 200] [--restart]

Cold: empty server, N symbols, the simulated exchange with Binance's futures limit of 2,400 weight a minute and
snapshots of 500 levels (weight 10). Reported: seconds to the first and to the last book, the requests the exchange
refused (must be none), and how full each minute's budget was. With --restart everything is then ended and started
again, the server too: first one line, then the other, so that the stream has no hole, then all the rest at once while
the lines hold what arrives. Reported: seconds from there until every book is served again, and the snapshots asked for
on the way (none: checkpoints and the log suffice).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import Any

from redis.exceptions import RedisError
from takeover import running_fleet

from workers.store.keys import budget


async def until_served(held: Any, client: Any, since_us: float, give_up_s: float) -> dict[str, float]:
    """Seconds until the first and the last book was published after a moment; the weight used on the way."""
    keys = held.contexts[0].keys
    waiting, started, first, fullest = {book.symbol for book in held.books}, time.monotonic(), 0.0, 0
    while waiting and time.monotonic() - started < give_up_s:
        try:
            shown = await client.hgetall(keys.live_orderbook)
            fullest = max(fullest, int(await client.hget(budget("um+cm"), "used") or 0))
        except (RedisError, OSError):
            shown = {}
        for symbol, payload in shown.items():
            if json.loads(payload)["published"] > since_us:
                waiting.discard(symbol.decode())
                first = first or time.monotonic() - started
        await asyncio.sleep(0.05)
    took = time.monotonic() - started
    return {
        "first_s": round(first, 1),
        "all_s": round(took, 1),
        "left": len(waiting),
        "fullest_minute": fullest,
    }


async def bench(symbols: list[str], restart: bool) -> dict[str, Any]:
    """One run."""
    async with running_fleet(symbols, rate_scale=0.3, levels_per_side=300) as (processes, held, _, client):
        keys = held.contexts[0].keys
        result: dict[str, Any] = {"symbols": len(symbols), "cold": await until_served(held, client, 0, 600)}
        refused = 0
        for name in ("books-0", "books-1", "keeper"):
            refused += (processes._logs / f"{name}.log").read_text().count("rate_limited")
        result["refused"] = refused
        if restart:
            await asyncio.sleep(5)
            before = sum([await client.xlen(keys.raw_snapshot(symbol)) for symbol in symbols])
            for line in processes.named("ingest"):
                line.held = True
                line.signal(15)
                await line.ended()
                line.start()
                await asyncio.sleep(20)
            workers = [
                program
                for program in processes.named("")
                if not program.name.startswith(("exchange", "ingest"))
            ]
            for program in sorted(workers, key=lambda program: program.name == "redis-0"):
                program.held = True
                program.signal(15)
                await program.ended()
            moment = time.time() * 1e6
            for program in workers:
                program.start()
            result["restart"] = await until_served(held, client, moment, 120)
            after = sum([await client.xlen(keys.raw_snapshot(symbol)) for symbol in symbols])
            result["restart"]["snapshots_asked"] = after - before
        return result


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--symbols", type=int, default=200)
    parser.add_argument("--restart", action="store_true")
    arguments = parser.parse_args()
    symbols = [f"SIM{number:03d}USDT" for number in range(arguments.symbols)]
    print(json.dumps(asyncio.run(bench(symbols, arguments.restart)), indent=1))


if __name__ == "__main__":
    main()
