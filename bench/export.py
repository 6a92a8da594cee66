"""Rate and memory of `fleet export` for Tardis and hftbacktest, from the log that `fleet replay` makes of a recording.

fleet replay usdm__btcusdt_20240808.gz --keep
REDIS_URL=unix://… python bench/export.py --symbol BTCUSDT --times 3
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from workers.cli.application import main as fleet

EXPORTS = {
    "tardis-csv, depth": ("--format", "tardis-csv", "--kind", "depth", "depth.csv"),
    "tardis-csv.gz, depth": ("--format", "tardis-csv", "--kind", "depth", "depth.csv.gz"),
    "tardis-csv, trades": ("--format", "tardis-csv", "--kind", "trades", "trades.csv"),
    "tardis-csv, quotes": ("--format", "tardis-csv", "--kind", "quotes", "quotes.csv"),
    "tardis-csv, 25 levels": ("--format", "tardis-csv", "--kind", "book", "book.csv"),
    "tardis-csv, 25 levels every 100 ms": (
        "--format", "tardis-csv", "--kind", "book", "--every", "100ms", "cadence.csv",
    ),
    "hftbacktest": ("--format", "hftbacktest", "--kind", "depth", "events.npz"),
}  # fmt: skip


def measure(options: tuple[str, ...], symbol: str, folder: str) -> tuple[float, float, int]:
    """CPU seconds, MB more, and bytes of the file, of one export in this process."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, path = time.process_time(), Path(folder, options[-1])
    code = fleet(["export", "--symbol", symbol, *options[:-1], "-o", str(path)])
    used = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert code == 0
    return used, (peak - before) / 1024, path.stat().st_size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbol", default="BTCUSDT")
    parser.add_argument("--times", type=int, default=3)
    options = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    for name, command in EXPORTS.items():
        for _ in range(options.times):
            with tempfile.TemporaryDirectory() as folder:
                with ProcessPoolExecutor(1, spawn) as process:
                    used, memory, size = process.submit(measure, command, options.symbol, folder).result()
                print(f"{name}: {used:.1f} CPU s, {memory:,.0f} MB more, {size:,} bytes")


if __name__ == "__main__":
    main()
