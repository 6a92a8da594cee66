"""Rate and memory of `fleet import`: rows of Tardis CSV into the archive, in CPU time of one process.

    python bench/import.py --rows 2000000

The book is a random walk of changes near the best levels, about four rows a message; one child a measurement.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from workers.archive.files.storage import LocalStorage
from workers.recordings.tardis.file import TardisFile
from workers.recordings.tardis.rows import Dataset, header_of
from workers.recordings.tardis.writing import compressed
from workers.research.tardis_import import TardisImport

BASE = 1_790_035_200_000_000


def book(rows: int) -> Iterator[str]:
    draw, local, mid = random.Random(7), BASE, 600_000
    for level in range(1000):
        for side, sign in (("bid", -1), ("ask", 1)):
            price = (mid + sign * (level + 1)) / 10
            yield f"x,BTCUSDT,{BASE},{BASE},true,{side},{price},{draw.randrange(1, 10**6) / 1000}"
    for row in range(rows - 2000):
        if not row % 4:
            local += draw.randrange(1000, 40_000)
        side = draw.choice(("bid", "ask"))
        price = (mid + (1 if side == "ask" else -1) * (1 + int(draw.expovariate(0.02)))) / 10
        amount = 0 if draw.random() < 0.4 else draw.randrange(1, 10**6) / 1000
        yield f"x,BTCUSDT,{local - 2000},{local},false,{side},{price},{amount:g}"


def trades(rows: int) -> Iterator[str]:
    draw, local, price = random.Random(8), BASE, 600_000
    for row in range(rows):
        local += draw.randrange(0, 20_000)
        price += draw.randrange(-3, 4)
        side = draw.choice(("buy", "sell"))
        amount = draw.randrange(1, 9999) / 1000
        yield f"binance,BTCUSDT,{local - 2000},{local},{10**9 + row},{side},{price / 10},{amount}"


def measure(path: Path, folder: Path) -> tuple[int, int, float, float, int]:
    """Rows, rows filed, CPU seconds, MB more, and bytes of the archive, of one import in this process."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    outcome = TardisImport(TardisFile(path), LocalStorage(folder), 3, "", lambda _: None).run()
    used = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert outcome.fine, outcome.problems
    size = sum(file.stat().st_size for file in folder.rglob("*.parquet"))
    return outcome.rows, outcome.written, used, (peak - before) / 1024, size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--times", type=int, default=3)
    options = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    datasets: dict[Dataset, Callable[[int], Iterator[str]]] = {
        "incremental_book_L2": book,
        "trades": trades,
    }
    for dataset, made in datasets.items():
        for suffix in (".csv", ".csv.gz"):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, dataset + suffix)
                with path.open("wb") as file, compressed(file, path.name) as packed:
                    packed.write(f"{header_of(dataset)}\n".encode())
                    packed.writelines(f"{line}\n".encode() for line in made(options.rows))
                for number in range(options.times):
                    with ProcessPoolExecutor(1, spawn) as process:
                        done = process.submit(measure, path, Path(folder, str(number)))
                        rows, written, used, memory, size = done.result()
                    print(
                        f"{dataset}{suffix}: {rows:,} rows, {written:,} filed: {rows / used:,.0f} rows a CPU second, "
                        f"{memory:,.0f} MB more, {size / rows:.1f} bytes a row in the archive"
                    )


if __name__ == "__main__":
    main()
