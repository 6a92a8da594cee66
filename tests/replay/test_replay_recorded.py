"""`fleet replay` on real recordings: every number that was verified elsewhere comes out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from replay_captures import replayed

from workers.replay.server import PrivateServer

pytestmark = pytest.mark.recorded


def nothing_lost(found: dict[str, Any]) -> None:
    assert (found["gaps"], found["resyncs"], found["crossed"]) == (0, 0, 0)
    assert (found["malformed"], found["repeats"]) == (0, 0)
    assert set(found["states"].values()) == {"synced"}
    for tape in found["trades"].values():
        assert (tape["missing"], tape["doubled"]) == (0, 0)
        assert tape["last_id"] - tape["first_id"] + 1 == tape["count"]
    for bars in found["bars"].values():
        assert all(count > 0 for count in bars.values())


def quotes(found: dict[str, Any]) -> tuple[int, int]:
    checks = found["bookticker"].values()
    return sum(check["exact"] for check in checks), sum(check["of"] for check in checks)


def test_futures_with_raw_trades(server: PrivateServer, recorded_folder: Path):
    found = replayed(server.url, recorded_folder / "usdm__btcusdt_20240808.gz")
    nothing_lost(found)
    assert found["problems"] == []
    assert found["messages"] == {
        "btcusdt@depth@0ms": 6_551,
        "btcusdt@bookTicker": 66_089,
        "btcusdt@trade": 21_313,
    }
    assert quotes(found) == (629, 629)
    assert found["books"]["BTCUSDT"]["levels"] == [5_018, 4_578]
    assert found["books"]["BTCUSDT"]["u"] == 5_123_135_475_514
    assert found["trades"]["BTCUSDT"]["count"] == 21_313
    assert found["snapshots"] == {"recorded": 1, "fetched": 1}


def test_two_spot_files_join(server: PrivateServer, recorded_folder: Path):
    names = ("spot__btcusdt_20240809.gz", "spot__btcusdt_20240808.gz")  # the order given does not matter
    found = replayed(server.url, *(recorded_folder / name for name in names))
    nothing_lost(found)
    assert found["problems"] == []
    assert sum(found["messages"].values()) == 41_249 + 58_325 - 1
    assert quotes(found) == (1_072, 1_072)
    assert found["trades"]["BTCUSDT"]["count"] == 9_757 + 10_147
    assert found["bars"]["BTCUSDT"]["1d"] == 2


def test_a_later_file_alone_has_no_snapshot(server: PrivateServer, recorded_folder: Path):
    found = replayed(server.url, recorded_folder / "spot__btcusdt_20240809.gz")
    assert found["states"] == {"BTCUSDT": "waiting"}
    assert found["trades"]["BTCUSDT"]["missing"] == 0
    assert found["problems"] == ["BTCUSDT: the book never came into sync (buffer full)."]


def test_cryptofeed_futures(server: PrivateServer, recorded_folder: Path):
    found = replayed(server.url, recorded_folder / "cryptofeed_binance_usdm_20210405.zst")
    nothing_lost(found)
    assert found["problems"] == []
    assert set(found["states"]) == {"SANDUSDT", "CHRUSDT", "NEOUSDT", "CTKUSDT", "BATUSDT"}
    assert quotes(found) == (215, 215)
    assert sum(tape["count"] for tape in found["trades"].values()) == 574


def test_cryptofeed_spot(server: PrivateServer, recorded_folder: Path):
    found = replayed(server.url, recorded_folder / "cryptofeed_binance_spot_20210404.zst")
    nothing_lost(found)
    assert found["problems"] == []
    counts = {name: tape["count"] for name, tape in found["trades"].items()}
    assert counts == {"BTCUSDT": 1_227, "ETHUSDT": 506, "DOTUSDT": 177}
    assert found["bookticker"] == {}


def test_the_exchange_s_own_fault_is_told(server: PrivateServer, recorded_folder: Path):
    names = ("cryptofeed_binance_coinm_20210417_http.zst", "cryptofeed_binance_coinm_20210417_ws.zst")
    found = replayed(server.url, *(recorded_folder / name for name in names))
    nothing_lost(found)
    wrong = {name for name, check in found["bookticker"].items() if check["exact"] != check["of"]}
    assert wrong == {"BTCUSD_210924", "BTCUSD_PERP"}
    assert {problem.partition(":")[0] for problem in found["problems"]} == wrong
    assert len(found["states"]) == 10
    assert sum(tape["count"] for tape in found["trades"].values()) == 131
