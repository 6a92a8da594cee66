"""Memory of `trades:{S}:latest` per million trades, and how long trimming holds the server up, for both forms.

    python bench/latest_memory.py [--trades 1000000] [--server PATH]...

Runs a server of its own for each binary (default: the one a fleet would run), writes the members straight into one
set in the order of their times, and reads `used_memory` before and after. Then removes as many members as one call
of `apply_trades.lua` may, from the old end, a hundred times; the server's own clock (`INFO commandstats`) tells the
mean, its slow log the longest.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path

import redis
from apply_trades import BEGIN_MS, FIRST_ID, tape

from workers.model.trades.fold import TRIMMED_AT_MOST
from workers.model.trades.latest import MEMBERS, Member
from workers.store.server import find_server

AT_ONCE = 5_000


def used(client: redis.Redis) -> int:
    return int(client.info("memory")["used_memory"])


def measure(client: redis.Redis, form: Member, count: int) -> str:
    client.flushall(asynchronous=False)  # the server is this program's own
    client.config_set("slowlog-log-slower-than", 200)
    before, written = used(client), 0
    for number in range(0, count, 100_000):
        begin_ms = BEGIN_MS + 20 * number
        trades = tape("BTCUSDT", min(100_000, count - number), 20, number, FIRST_ID + number, begin_ms)
        for at in range(0, len(trades), AT_ONCE):
            members = {MEMBERS[form](one, "aggTrade"): one.trade_time for one in trades[at : at + AT_ONCE]}
            written += sum(map(len, members))
            client.zadd("latest", members)
    each = (used(client) - before) / count
    client.config_resetstat()
    client.slowlog_reset()
    for _ in range(100):
        client.zremrangebyrank("latest", 0, TRIMMED_AT_MOST - 1)
    mean = float(client.info("commandstats")["cmdstat_zremrangebyrank"]["usec_per_call"])
    longest = max((entry["duration"] for entry in client.slowlog_get(128)), default=200)
    return (
        f"{form:7s} {written / count:6.1f} bytes a member   {each:6.1f} bytes of memory a trade"
        f"   {each * 1e6 / 2**20:5.0f} MiB a million   trimming {TRIMMED_AT_MOST}: mean {mean:.0f} us,"
        f" longest {longest} us"
    )


def run(binary: str, count: int) -> None:
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as folder:
        socket = f"{folder}/redis.sock"
        options = ["--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no"]
        server = subprocess.Popen([binary, *options], cwd=folder, stdout=subprocess.DEVNULL)
        try:
            while not Path(socket).exists():
                time.sleep(0.02)
            client = redis.Redis(unix_socket_path=socket, protocol=2)
            about = client.info("server")
            name = "valkey" if "valkey_version" in about else "redis"
            print(f"{name} {about.get('valkey_version', about['redis_version'])}, {count:,} trades")
            for form in MEMBERS:
                print(measure(client, form, count), flush=True)
        finally:
            server.terminate()
            server.wait(10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trades", type=int, default=1_000_000)
    parser.add_argument("--server", action="append", default=[])
    arguments = parser.parse_args()
    for binary in arguments.server or [str(find_server(os.environ.get("PATH", "")))]:
        run(binary, arguments.trades)


if __name__ == "__main__":
    main()
