"""What the fleet keeps, by kind of key and by process, after some time of an even load over many symbols.

    python bench/memory.py [--symbols 600] [--rate 3000] [--seconds 60] [--processes 1] [--json]

One line, so many processes of books and of trades, settings as shipped. Printed: of each kind of key what
`MEMORY USAGE key SAMPLES 0` says of all its keys together, and of one symbol, its entries and the bytes of one of them;
the resident memory of each process; what the server says it uses. Exit code 1 when a message was lacking at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

from workers.bench.fleet import FleetPlant
from workers.bench.plant import Plant
from workers.bench.run import RUN_DRY_S, running
from workers.bench.usage import usage_of
from workers.store.connection import connect

SIZE_OF = {"stream": "xlen", "zset": "zcard", "hash": "hlen", "list": "llen", "set": "scard"}
AT_ONCE = 200


def fleet_of(symbols: int, processes: int, home: Path, exchange: int, api: int) -> Plant:
    """A fleet with one line, and so many processes of books and of trades."""
    roles = [("keeper", 0), ("ingest-a", 0)]
    roles += [(role, number) for role in ("books", "trades") for number in range(processes)]
    return FleetPlant(home, exchange, api, symbols, roles)


def kind_of(key: str) -> str:
    """A key without the symbol it is of."""
    return re.sub(r"\b[A-Z0-9]*SIM\d+USDT\b", "S", re.sub(r"[{}]", "", key))


async def by_kind(client: Any) -> dict[str, dict[str, int]]:
    """Of each kind of key how many there are, their bytes and entries."""
    kinds: dict[str, dict[str, int]] = {}
    keys = [key async for key in client.scan_iter(count=1_000)]
    for first in range(0, len(keys), AT_ONCE):
        part = keys[first : first + AT_ONCE]
        pipe = client.pipeline(transaction=False)
        for key in part:
            pipe.type(key)
        types = [answer.decode() for answer in await pipe.execute()]
        pipe = client.pipeline(transaction=False)
        for key, type_name in zip(part, types, strict=True):
            pipe.memory_usage(key, samples=0)
            getattr(pipe, SIZE_OF.get(type_name, "exists"))(key)
        answers = await pipe.execute()
        for key, size, entries in zip(part, answers[::2], answers[1::2], strict=True):
            kind = kinds.setdefault(kind_of(key.decode()), {"keys": 0, "bytes": 0, "entries": 0})
            kind["keys"] += 1
            kind["bytes"] += size or 0
            kind["entries"] += entries
    return kinds


async def measure(symbols: int, rate: float, seconds: float, processes: int) -> dict[str, Any]:
    """One run."""
    tell = partial(print, file=sys.stderr)
    async with running(partial(fleet_of, symbols, processes), rate, symbols, tell) as (plant, exchange):
        client: Any = connect(plant.url)
        before = await exchange.state()
        await exchange.set_rate(rate)
        await asyncio.sleep(seconds)
        resident = {name: usage_of(plant.processes[name].pid).resident_bytes for name in plant.roles}
        after = await exchange.state()
        await exchange.set_rate(0)
        sent, clock = await exchange.sent(), asyncio.get_running_loop().time
        deadline = clock() + RUN_DRY_S
        while any((lacking := await plant.lacking(sent)).values()) and clock() < deadline:
            await asyncio.sleep(0.2)
        used = int((await client.info("memory"))["used_memory"])
        kinds = await by_kind(client)
        await client.aclose()
        return {
            "symbols": symbols,
            "messages": after.messages - before.messages,
            "lacking": lacking,
            "used_memory": used,
            "resident": resident,
            "kinds": kinds,
        }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--symbols", type=int, default=600)
    parser.add_argument("--rate", type=float, default=3_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    result = asyncio.run(measure(arguments.symbols, arguments.rate, arguments.seconds, arguments.processes))
    if arguments.json:
        print(json.dumps(result))
    else:
        print(f"{result['messages']:,} messages; lacking at the end: {result['lacking']}")
        print(f"the server: {result['used_memory'] / 1e6:.1f} MB")
        for name, size in result["resident"].items():
            print(f"{name:12} {size / 1e6:8.1f} MB resident")
        for kind, row in sorted(result["kinds"].items(), key=lambda item: -item[1]["bytes"]):
            each = row["bytes"] / max(1, row["entries"])
            print(
                f"{kind:32} {row['bytes'] / 1e6:8.2f} MB  {row['keys']:5} keys  "
                f"{row['entries']:8} entries of {each:.0f} bytes"
            )
    sys.exit(any(result["lacking"].values()))


if __name__ == "__main__":
    main()
