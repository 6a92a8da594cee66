"""From nothing, and from a restart, to every book served, and to all its levels.

    python bench/cold_start.py [--symbols 200] [--rate 0.3] [--restart]

Cold: empty server, N symbols, the simulated exchange with Binance's futures limit of 2,400 weight a minute and
snapshots of 500 levels (weight 10), of which the fleet may use 80 %, and a first sync 80 % of that. A crowd of books
begins with 50 levels (weight 2, and 2 for the second opinion) and gets the rest afterwards. Reported: seconds to the
first and to the last book, and until the last one has its levels, how full the fullest minute's budget was, what became
of the snapshots, memory, and the requests the exchange refused (must be none). What has been reached is told on
standard error every few seconds.

With --restart everything is then ended and started again, the server too: first one line, then the other, so that
the stream has no hole, then all the rest at once while the lines hold what arrives. Reported: seconds from there
until every book is served again, and the snapshots asked for on the way (none: checkpoints and the log suffice).
Exit code 1 when a request was refused, a book was not served, or the restart asked for a snapshot.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from collections import Counter
from typing import Any

from redis.exceptions import RedisError
from running_fleet import RunningFleet, running_fleet, symbols_named

from workers.bench.usage import usage_of
from workers.store.keys import budget

GIVE_UP_S = 600.0
TELL_S = 5.0
SETTLE_S = 5.0
SMALL = 50
"""Levels of a small snapshot."""
LINE_S = 20.0
"""Time a restarted line has to come up before the other one goes."""


async def until_served(fleet: RunningFleet, since_us: float) -> dict[str, Any]:
    """Seconds until the first and the last book was published after a moment; the weight used on the way."""
    keys = fleet.reader.contexts[0].keys
    waiting, started, first, told = set(fleet.symbols), time.monotonic(), 0.0, 0.0
    fullest = limit = 0
    while waiting and (took := time.monotonic() - started) < GIVE_UP_S:
        try:
            shown = await fleet.client.hgetall(keys.live_orderbook)
            used, known = await fleet.client.hmget(budget("um+cm"), "used", "limit")
            fullest, limit = max(fullest, int(used or 0)), int(known or 0)
        except (RedisError, OSError):
            shown = {}
        for symbol, payload in shown.items():
            if json.loads(payload)["published"] > since_us:
                waiting.discard(symbol.decode())
                first = first or time.monotonic() - started
        if took - told >= TELL_S:
            told = took
            served = len(fleet.symbols) - len(waiting)
            print(f"{took:.0f} s: {served} of {len(fleet.symbols)} books served", file=sys.stderr, flush=True)
        await asyncio.sleep(0.05)
    return {
        "first_s": round(first, 1),
        "all_s": round(time.monotonic() - started, 1),
        "left": len(waiting),
        "fullest_minute": fullest,
        "limit": limit,
    }


async def until_deep(fleet: RunningFleet, started: float) -> dict[str, Any]:
    """Seconds until every book has taken a snapshot of all levels, which the log tells."""
    limit = fullest = 0
    shallow, told = set(fleet.symbols), 0.0
    while shallow and (took := time.monotonic() - started) < GIVE_UP_S:
        shallow -= {
            one["symbol"]
            for one in fleet.logged("snapshot")
            if one["levels"] > SMALL and one["outcome"] in ("ACCEPTED", "REFRESHED", "HELD")
        }
        used, known = await fleet.client.hmget(budget("um+cm"), "used", "limit")
        fullest, limit = max(fullest, int(used or 0)), int(known or 0)
        if took - told >= TELL_S:
            told = took
            deep = len(fleet.symbols) - len(shallow)
            print(f"{took:.0f} s: {deep} of {len(fleet.symbols)} books deep", file=sys.stderr, flush=True)
        await asyncio.sleep(1)
    took_s = round(time.monotonic() - started, 1)
    return {"all_s": took_s, "left": len(shallow), "fullest_minute": fullest, "limit": limit}


def megabytes(fleet: RunningFleet) -> dict[str, int]:
    """Resident memory of each process."""
    programs = [program for program in fleet.processes.named("") if program.name != "exchange"]
    return {program.name: round(usage_of(program.pid).resident_bytes / 1e6) for program in programs}


async def restart(fleet: RunningFleet) -> float:
    """End and start everything but the exchange, without a hole in the streams; when the last step began, µs."""
    for line in fleet.processes.named("ingest"):
        line.held = True
        line.signal(signal.SIGTERM)
        await line.ended()
        line.start()
        await asyncio.sleep(LINE_S)
    workers = [
        program
        for program in fleet.processes.named("")
        if not program.name.startswith(("exchange", "ingest"))
    ]
    for program in sorted(workers, key=lambda program: program.name == "redis-0"):
        program.held = True
        program.signal(signal.SIGTERM)
        await program.ended()
    moment = time.time() * 1e6
    for program in workers:
        program.start()
    return moment


async def bench(symbols: list[str], rate: float, *, restarted: bool) -> dict[str, Any]:
    """One run."""
    async with running_fleet(symbols, rate_scale=rate, levels_per_side=300) as fleet:
        started = time.monotonic()
        result: dict[str, Any] = {"symbols": len(symbols), "cold": await until_served(fleet, 0)}
        result["deep"] = await until_deep(fleet, started)
        result["megabytes"] = megabytes(fleet)
        if restarted:
            await asyncio.sleep(SETTLE_S)
            before = fleet.snapshots()
            result["restart"] = await until_served(fleet, await restart(fleet))
            result["restart"]["snapshots_asked"] = fleet.snapshots() - before
        result["snapshots"] = Counter(one["outcome"].lower() for one in fleet.logged("snapshot"))
        result["snapshots"]["failed"] = len(fleet.logged("snapshot_failed"))
        result["refused"] = len(fleet.logged("rate_limited"))
        return result


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--symbols", type=int, default=200)
    parser.add_argument("--rate", type=float, default=0.3, help="events of the exchange, of its usual number")
    parser.add_argument("--restart", action="store_true")
    arguments = parser.parse_args()
    result = asyncio.run(bench(symbols_named(arguments.symbols), arguments.rate, restarted=arguments.restart))
    print(json.dumps(result, indent=1))
    again = result.get("restart", {"left": 0, "snapshots_asked": 0})
    sys.exit(
        1
        if result["refused"]
        or result["cold"]["left"]
        or result["deep"]["left"]
        or again["left"]
        or again["snapshots_asked"]
        else 0
    )


if __name__ == "__main__":
    main()
