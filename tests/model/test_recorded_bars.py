"""Bars of real recordings against the naive computation, and the proofs they carry."""

from __future__ import annotations

import gzip
import io
import json
from collections import defaultdict
from pathlib import Path
from typing import cast

import pytest
import zstandard
from test_bars import held_windows, naive_windows

from workers.model.events import Trade
from workers.model.trades.fold import TradesFold
from workers.model.trades.windows import INTERVALS_MS

pytestmark = pytest.mark.recorded


def recorded_trades(path: Path, kind: str) -> dict[str, list[Trade]]:
    """The trades of a capture by symbol, in the order received: `aggTrade`, or `trade` with the id `t` alone."""
    tapes: dict[str, list[Trade]] = defaultdict(list)
    with path.open("rb") as packed:
        whole = (
            gzip.GzipFile(fileobj=packed)
            if path.suffix == ".gz"
            else zstandard.ZstdDecompressor().stream_reader(packed)
        )
        for line in io.TextIOWrapper(cast(io.BufferedIOBase, whole), encoding="utf-8"):
            if f'"e":"{kind}"' not in line:
                continue
            d = json.loads(line.split(" ", 1)[1])["data"]
            first, last = (d["f"], d["l"]) if kind == "aggTrade" else (d["t"], d["t"])
            trade_id = d["a"] if kind == "aggTrade" else d["t"]
            market = d.get("X", "MARKET") == "MARKET"
            tapes[d["s"]].append(
                Trade(d["s"], trade_id, d["p"], d["q"], first, last, d["T"], d["E"], d["m"], market)
            )
    return tapes


def fold_and_compare(tape: list[Trade], batch: int) -> TradesFold:
    fold = TradesFold()
    for at in range(0, len(tape), batch):
        assert fold.apply(tape[at : at + batch]).hole is None
    for interval, length in INTERVALS_MS.items():
        assert held_windows(fold, interval) == naive_windows(tape, length)
        for _, bar in fold.bars(interval)[1:]:
            assert bar["complete"] == "1"
            span = int(bar["last_agg_trade_id"]) - int(bar["first_agg_trade_id"]) + 1
            assert span == int(bar["trades_count"]) + int(bar["skipped_count"])
    return fold


@pytest.mark.parametrize(
    ("name", "kind", "counts"),
    [
        (
            "cryptofeed_binance_spot_20210404.zst",
            "aggTrade",
            {"BTCUSDT": 1227, "ETHUSDT": 506, "DOTUSDT": 177},
        ),
        ("cryptofeed_binance_usdm_20210405.zst", "aggTrade", 574),
        ("cryptofeed_binance_coinm_20210417_ws.zst", "aggTrade", 131),
        ("usdm__btcusdt_20240808.gz", "trade", {"BTCUSDT": 21_313}),
    ],
)
def test_a_capture_gives_the_naive_bars(
    recorded_folder: Path, name: str, kind: str, counts: dict[str, int] | int
) -> None:
    tapes = recorded_trades(recorded_folder / name, kind)
    found = {symbol: len(tape) for symbol, tape in tapes.items()}
    assert counts in (found, sum(found.values()))
    for tape in tapes.values():
        fold = fold_and_compare(tape, 17)
        assert fold.state()["applied_count"] == str(len(tape))


def test_two_captures_that_join_at_midnight_give_the_naive_bars(recorded_folder: Path) -> None:
    days = [
        recorded_trades(recorded_folder / f"spot__btcusdt_2024080{day}.gz", "trade")["BTCUSDT"]
        for day in (8, 9)
    ]
    assert all(days)
    fold = fold_and_compare([*days[0], *days[1]], 100)
    assert len(fold.bars("1d")) == 1


def test_the_perpetual_capture_closes_its_bars(recorded_folder: Path) -> None:
    tape = recorded_trades(recorded_folder / "usdm__btcusdt_20240808.gz", "trade")["BTCUSDT"]
    fold = fold_and_compare(tape, 100)
    assert [len(fold.bars(interval)) for interval in ("1m", "5m", "1d")] == [5, 1, 0]
