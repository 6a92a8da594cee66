"""`fleet replay` on recordings of other exchanges: the numbers that their sessions and books gave come out of Redis."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from replay_captures import replayed

from workers.conformance.orders.world import OrdersWorld
from workers.conformance.venues.places import places
from workers.conformance.venues.socket import ModelSocket
from workers.replay.server import PrivateServer
from workers.venues.session import Event

pytestmark = pytest.mark.recorded


def nothing_lost(found: dict[str, Any]) -> None:
    assert found["problems"] == []
    assert (found["gaps"], found["resyncs"], found["crossed"], found["sequence_gaps"]) == (0, 0, 0, 0)
    assert (found["malformed"], found["repeats"]) == (0, 0)
    assert set(found["states"].values()) == {"synced"}


def checksums(found: dict[str, Any]) -> tuple[int, int]:
    sums = found["checksums"].values()
    return sum(one["ok"] for one in sums), sum(one["of"] for one in sums)


def test_kraken_v1(server: PrivateServer, recorded_folder: Path):
    found = replayed(server.url, recorded_folder / "cryptofeed_kraken_v1_book1000_20210405.zst")
    nothing_lost(found)
    assert checksums(found) == (14_496, 14_496)
    assert len(found["states"]) == 10
    assert "BTC-USD" in found["states"]
    assert found["venues"] == {"kraken": {"exchange": "kraken", "market": "spot"}}


def test_okx_of_2022(server: PrivateServer, recorded_folder: Path):
    found = replayed(server.url, recorded_folder / "cryptofeed_okx_books_20220227.zst")
    nothing_lost(found)
    assert checksums(found) == (3_679, 3_679)
    assert sum(tape["count"] for tape in found["trades"].values()) == 19


def test_bitfinex(server: PrivateServer, recorded_folder: Path):
    path = recorded_folder / "venues" / "cryptofeed" / "cryptofeed_bitfinex_p0_20210405.zst"
    found = replayed(server.url, path)
    nothing_lost(found)
    assert len(found["states"]) == 8
    assert "ETH2X_ETH" in found["states"]
    assert sum(tape["count"] for tape in found["trades"].values()) > 0
    assert any("not consecutive" in note for note in found["notes"])


def test_bitstamp(server: PrivateServer, recorded_folder: Path):
    path = recorded_folder / "venues" / "cryptofeed" / "cryptofeed_bitstamp_diff_20210405.zst"
    found = replayed(server.url, path)
    nothing_lost(found)
    assert len(found["states"]) == 10
    assert found["snapshots"] == {"recorded": 10, "fetched": 10}


def test_two_exchanges_together(server: PrivateServer, recorded_folder: Path):
    """Merged by time, each with what it has alone; the keys of the second have its prefix."""
    folder = recorded_folder / "venues" / "cryptofeed"
    paths = [folder / f"cryptofeed_{name}_20210405.zst" for name in ("bitfinex_p0", "bitstamp_diff")]
    found = replayed(server.url, *paths)
    nothing_lost(found)
    assert found["venues"] == {
        "bitfinex": {"exchange": "bitfinex", "market": "spot"},
        "bitstamp": {"exchange": "bitstamp", "market": "all"},
    }
    of_second = [name for name in found["states"] if name.startswith("bitstamp:")]
    assert (len(found["states"]), len(of_second)) == (18, 10)
    assert {name.startswith("bitstamp:") for name in found["trades"]} == {True, False}


def test_coinbase_exchange(server: PrivateServer, recorded_folder: Path):
    path = recorded_folder / "venues" / "cryptofeed" / "cryptofeed_coinbase_exchange_level2_2021.ws.zst"
    found = replayed(server.url, path)
    nothing_lost(found)
    assert len(found["states"]) == 10
    tapes = found["trades"].values()
    # each of the ten begins with the trade before its first one
    assert sum(tape["count"] for tape in tapes) == 97 + 10
    assert all(tape["last_id"] - tape["first_id"] + 1 == tape["count"] for tape in tapes)


@pytest.mark.parametrize(
    ("name", "symbol", "frames", "sums"),
    [
        ("kraken_book.jsonl", "BTC-USD", 4, (4, 4)),
        ("okx_books.jsonl", "BTC-USDT", 7, (0, 0)),
        ("bybit_orderbook.jsonl", "BTCUSDT", 9, (0, 0)),
        ("coinbase_l2.jsonl", "BTC-USD", 11, (0, 0)),
    ],
)
def test_bare_frames(
    server: PrivateServer, recorded_folder: Path, name: str, symbol: str, frames: int, sums: tuple[int, int]
):
    found = replayed(server.url, recorded_folder / "venues" / "tickvault" / name)
    nothing_lost(found)
    assert found["messages"] == {f"{symbol}@depth": frames}
    assert checksums(found) == sums


def test_single_orders_of_bitstamp(server: PrivateServer, recorded_folder: Path):
    path = recorded_folder / "venues" / "tickvault" / "bitstamp_live_orders.jsonl"
    found = replayed(server.url, path)
    assert found["problems"] == []
    assert (found["messages"], found["malformed"], found["books"]) == ({"BTCUSD@orders": 500}, 0, {})
    book = found["orders"]["BTCUSD"]
    assert (book["state"], book["orders"], book["whole"]) == ("synced", 96, False)
    assert (book["syncs"], book["lost"], book["repeated"], book["unknown"]) == (1, 0, 0, 99)
    assert (book["bids"][0], book["asks"][0]) == (["79623.80", "0.25", 1], ["79626.93", "0.75398394", 7])
    assert msgspec.json.decode(path.read_bytes().splitlines()[-1])["event_id"] == book["id"]


@pytest.mark.parametrize("is_whole", [True, False])
def test_single_orders_of_kraken(server: PrivateServer, tmp_path: Path, is_whole: bool):
    """No recording of them is public: one is made of the simulated exchange, of all that came over a socket."""
    [place] = places(["kraken"])
    world = OrdersWorld(place)
    frames: list[bytes] = []
    real = world.frame

    def recorded(socket: ModelSocket, payload: bytes, stream: str) -> Iterable[Event]:
        frames.append(payload)
        return real(socket, payload, stream)

    world.frame = recorded  # type: ignore[method-assign]
    world.run(3.0)
    changing = next(n for n in range(len(frames) // 2, len(frames)) if b'"update"' in frames[n])
    path = tmp_path / "kraken_level3.jsonl"
    path.write_bytes(b"\n".join(frames if is_whole else [*frames[:changing], *frames[changing + 1 :]]))
    found = replayed(server.url, path)
    if not is_whole:
        assert "BTC-USD: the single orders left sync 1 time(s)." in found["problems"]
        assert found["orders"]["BTC-USD"]["state"] == "broken"
        return
    assert found["problems"] == []
    book = found["orders"]["BTC-USD"]
    assert (book["state"], book["orders"], book["whole"]) == ("synced", len(world.sync.book), True)
    assert (book["syncs"], book["lost"], book["unknown"]) == (1, 0, 0)
    tops = [next(iter(world.sync.book.levels(side))) for side in ("bid", "ask")]
    assert [book["bids"][0][0], book["asks"][0][0]] == [queue.price for queue in tops]


def test_one_recorded_order_event_less_is_told(server: PrivateServer, recorded_folder: Path, tmp_path: Path):
    lines = (
        (recorded_folder / "venues" / "tickvault" / "bitstamp_live_orders.jsonl").read_bytes().splitlines()
    )
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(b"\n".join([*lines[:250], *lines[251:]]))
    found = replayed(server.url, cut)
    assert found["problems"] == ["BTCUSD: the single orders left sync 1 time(s)."]
    assert found["orders"]["BTCUSD"]["syncs"] == 2
