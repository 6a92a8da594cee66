"""Rate and memory of `fleet import`: rows of Tardis CSV into the archive, in CPU time of one process.

    python bench/import.py --rows 500000 2000000

Each dataset is imported in every length that is named, so that it shows whether memory grows with it. The book is a
random walk of changes near the best levels, about four rows a message; one child a measurement.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from workers.archive.files.storage import LocalStorage
from workers.recordings.tardis.file import TardisFile
from workers.recordings.tardis.rows import Dataset, header_of
from workers.research.tardis_import import TardisImport
from workers.terminal.row_writers import compressed

BASE = 1_790_035_200_000_000
"""A midnight, µs: no dataset made here is longer than its day."""
NAMES = "binance,BTCUSDT"
"""Of an exchange whose trades are numbered; elsewhere each has its id as text too."""


def book(rows: int) -> Iterator[str]:
    draw, local, mid = random.Random(7), BASE, 600_000
    for level in range(1000):
        for side, sign in (("bid", -1), ("ask", 1)):
            price = (mid + sign * (level + 1)) / 10
            yield f"{NAMES},{BASE},{BASE},true,{side},{price},{draw.randrange(1, 10**6) / 1000}"
    for row in range(rows - 2000):
        if not row % 4:
            local += draw.randrange(1000, 40_000)
        side = draw.choice(("bid", "ask"))
        price = (mid + (1 if side == "ask" else -1) * (1 + int(draw.expovariate(0.02)))) / 10
        amount = 0 if draw.random() < 0.4 else draw.randrange(1, 10**6) / 1000
        yield f"{NAMES},{local - 2000},{local},false,{side},{price},{amount:g}"


def trades(rows: int) -> Iterator[str]:
    draw, local, price = random.Random(8), BASE, 600_000
    for row in range(rows):
        local += draw.randrange(0, 20_000)
        price += draw.randrange(-3, 4)
        side = draw.choice(("buy", "sell"))
        amount = draw.randrange(1, 9999) / 1000
        yield f"{NAMES},{local - 2000},{local},{10**9 + row},{side},{price / 10},{amount}"


def snapshots(levels: int) -> Callable[[int], Iterator[str]]:
    """Books of so many levels a side."""

    def made(rows: int) -> Iterator[str]:
        draw = random.Random(9)
        for row in range(rows):
            local, mid = BASE + 20_000 * row, 600_000 + draw.randrange(-500, 500)
            amounts = [draw.randrange(1, 9999) / 1000 for _ in range(2 * levels)]
            cells = [
                f"{(mid + place) / 10},{amounts[2 * place]},{(mid - 1 - place) / 10},{amounts[2 * place + 1]}"
                for place in range(levels)
            ]
            yield f"{NAMES},{local - 2000},{local},{','.join(cells)}"

    return made


def quotes(rows: int) -> Iterator[str]:
    draw = random.Random(10)
    for row in range(rows):
        local, mid = BASE + 20_000 * row, 600_000 + draw.randrange(-500, 500)
        amounts = draw.randrange(1, 9999) / 1000, draw.randrange(1, 9999) / 1000
        yield f"{NAMES},{local - 2000},{local},{amounts[0]},{mid / 10},{(mid - 1) / 10},{amounts[1]}"


def tickers(rows: int) -> Iterator[str]:
    draw = random.Random(11)
    for row in range(rows):
        local, mark = BASE + 20_000 * row, 600_000 + draw.randrange(-500, 500)
        funding = f"{BASE + 28_800_000_000},0.0001,0.00012"
        yield f"{NAMES},{local - 2000},{local},{funding},{84000 + row % 977},{mark / 10},{(mark + 7) / 10},{mark / 10}"


def liquidations(rows: int) -> Iterator[str]:
    draw = random.Random(12)
    for row in range(rows):
        local, side = BASE + 20_000 * row, draw.choice(("buy", "sell"))
        price, amount = draw.randrange(1, 9**6) / 10, draw.randrange(1, 999) / 1000
        yield f"{NAMES},{local - 2000},{local},{row},{side},{price},{amount}"


DATASETS: dict[Dataset, Callable[[int], Iterator[str]]] = {
    "incremental_book_L2": book,
    "trades": trades,
    "book_snapshot_5": snapshots(5),
    "book_snapshot_25": snapshots(25),
    "quotes": quotes,
    "derivative_ticker": tickers,
    "liquidations": liquidations,
}


def write(path: Path, dataset: Dataset, rows: int) -> None:
    """A file of a dataset."""
    with path.open("wb") as file, compressed(file, path.name) as packed:
        packed.write(f"{header_of(dataset)}\n".encode())
        packed.writelines(f"{line}\n".encode() for line in DATASETS[dataset](rows))


def measure(path: Path, folder: Path) -> tuple[int, int, float, float, int]:
    """Rows, rows filed, CPU seconds, MB of the process at its peak, and bytes of the archive, of one import."""
    started = time.process_time()
    outcome = TardisImport(TardisFile(path), LocalStorage(folder), 3, "", lambda _: None).run()
    used = time.process_time() - started
    # not ru_maxrss, which a child takes over from its parent
    peak = int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0])
    assert outcome.fine, outcome.problems
    size = sum(file.stat().st_size for file in folder.rglob("*.parquet"))
    return outcome.rows, outcome.written, used, peak / 1024, size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[500_000, 2_000_000])
    parser.add_argument("--suffix", nargs="+", default=[".csv", ".csv.gz"])
    options = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    for dataset in DATASETS:
        for suffix in options.suffix:
            for length in options.rows:
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder, dataset + suffix)
                    write(path, dataset, length)
                    with ProcessPoolExecutor(1, spawn) as process:
                        done = process.submit(measure, path, Path(folder, "archive"))
                        rows, written, used, memory, size = done.result()
                    print(
                        f"{dataset}{suffix}: {rows:,} rows, {written:,} filed: {rows / used:,.0f} rows a CPU second, "
                        f"{memory:,.0f} MB, {size / rows:.1f} bytes a row in the archive",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
