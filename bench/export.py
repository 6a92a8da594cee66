"""Rate, memory and size of `fleet export`, every format and kind, from an archive that this makes.

    python bench/export.py --rows 200000 800000

Imports datasets of each length as `bench/import.py` makes them, and exports all of it, one child a measurement: what a
larger span takes more memory for shows by comparing the lengths. Its start with pyarrow is included in the memory.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import runpy
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

from workers.archive.files.storage import LocalStorage
from workers.cli.application import main as fleet
from workers.recordings.tardis.file import TardisFile
from workers.research.tardis_import import TardisImport

EXPORTS: dict[str, tuple[str, ...]] = {
    **{
        f"tardis-csv, {kind}{suffix}": ("--format", "tardis-csv", "--kind", kind, f"{kind}.csv{suffix}")
        for kind, suffix in (
            ("depth", ""), ("depth", ".gz"), ("trades", ""), ("quotes", ""), ("book", ""), ("derivatives", ""),
            ("liquidations", ""),
        )
    },
    **{
        f"{form}, {kind}": ("--format", form, "--kind", kind, f"{kind}.{form}")
        for kind in ("book", "quotes", "derivatives", "liquidations")
        for form in ("csv", "parquet", "arrow")
    },
    "hftbacktest": ("--format", "hftbacktest", "--kind", "depth", "events.npz"),
    **{
        f"nautilus, {kind}": ("--format", "nautilus", "--kind", kind, "catalog")
        for kind in ("depth", "trades", "quotes")
    },
}  # fmt: skip
FLEET = ("export", "--venue", "binance", "--source", "archive", "--symbol", "BTCUSDT")
KINDS = ("incremental_book_L2", "trades", "derivative_ticker", "liquidations")


def measure(options: tuple[str, ...], folder: str) -> tuple[int, float, float, int]:
    """Rows, CPU seconds, MB of the process at its peak, and bytes of what was written, of one export."""
    path, said = Path(folder, options[-1]), StringIO()
    started = time.process_time()
    with redirect_stderr(said):
        code = fleet([*FLEET, *options[:-1], "-o", str(path)])
    used = time.process_time() - started
    # not ru_maxrss, which a child takes over from its parent
    peak = int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) / 1024
    assert code == 0, said.getvalue()
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    [rows] = re.findall(r"([\d,]+) rows of", said.getvalue())
    return int(rows.replace(",", "")), used, peak, sum(file.stat().st_size for file in files)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[200_000, 800_000])
    parser.add_argument("--only", nargs="+", default=list(EXPORTS), choices=list(EXPORTS))
    options = parser.parse_args()
    make = runpy.run_path(str(Path(__file__).with_name("import.py")))["write"]
    spawn = multiprocessing.get_context("spawn")
    for length in options.rows:
        with tempfile.TemporaryDirectory() as folder:
            for dataset in KINDS:
                path = Path(folder, f"{dataset}.csv")
                make(path, dataset, length)
                archive = LocalStorage(Path(folder, "archive"))
                assert TardisImport(TardisFile(path), archive, 3, "", lambda _: None).run().fine
                path.unlink()
            config = Path(folder, "bench.toml")
            config.write_text('[venues.spot]\nmarket = "spot"\nsymbols = ["BTCUSDT"]\n')
            os.environ.update(
                FLEET_CONFIG=str(config), FLEET_HOME=folder, FLEET_ARCHIVE__URL=f"{folder}/archive"
            )
            for name in options.only:
                command = EXPORTS[name]
                with tempfile.TemporaryDirectory() as out, ProcessPoolExecutor(1, spawn) as process:
                    rows, used, memory, size = process.submit(measure, command, out).result()
                print(f"{name}: {rows:,} rows, {rows / used:,.0f} a CPU second, {memory:,.0f} MB, "
                      f"{size / rows:.1f} bytes a row", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
