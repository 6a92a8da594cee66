"""Bars of real recordings against the naive computation, and the proofs they carry."""

from __future__ import annotations

import gzip
import io
import json
from collections import defaultdict
from pathlib import Path

import pytest
import zstandard
from test_bars import held_windows, naive_windows

from workers.model.bars import TradesFold
from workers.model.events import Trade
from workers.model.windows import INTERVALS_MS

pytestmark = pytest.mark.recorded


def spot_trades(folder: Path) -> dict[str, list[Trade]]:
    """The aggregate trades of the spot capture by symbol."""
    tapes: dict[str, list[Trade]] = defaultdict(list)
    with (folder / "cryptofeed_binance_spot_20210404.zst").open("rb") as packed:
        for line in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(packed), encoding="utf-8"):
            if '"e":"aggTrade"' not in line:
                continue
            d = json.loads(line.split(": ", 1)[1])["data"]
            tapes[d["s"]].append(
                Trade(d["s"], d["a"], d["p"], d["q"], d["f"], d["l"], d["T"], d["E"], d["m"])
            )
    return tapes


def perpetual_trades(folder: Path) -> list[Trade]:
    """The raw trades of the perpetual capture: id `t`, which is first and last at once."""
    tape = []
    with gzip.open(folder / "usdm__btcusdt_20240808.gz", "rt") as lines:
        for line in lines:
            if '"e":"trade"' not in line:
                continue
            d = json.loads(line.split(" ", 1)[1])["data"]
            market = d["X"] == "MARKET"
            tape.append(Trade(d["s"], d["t"], d["p"], d["q"], d["t"], d["t"], d["T"], d["E"], d["m"], market))
    return tape


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


def test_the_spot_capture_gives_the_naive_bars(recorded_folder: Path) -> None:
    tapes = spot_trades(recorded_folder)
    assert {symbol: len(tape) for symbol, tape in tapes.items()} == {
        "BTCUSDT": 1227,
        "ETHUSDT": 506,
        "DOTUSDT": 177,
    }
    for tape in tapes.values():
        fold_and_compare(tape, 17)


def test_the_perpetual_capture_gives_the_naive_bars(recorded_folder: Path) -> None:
    tape = perpetual_trades(recorded_folder)
    assert len(tape) == 21_313
    fold = fold_and_compare(tape, 100)
    assert fold.state()["applied_count"] == "21313"
    assert [len(fold.bars(interval)) for interval in ("1m", "5m", "1d")] == [5, 1, 0]
