"""Books from real recordings: no gaps, never crossed, best level equal to the bookTicker of the same id."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from workers.model.books.sync import BookSync, Outcome, SequenceRule, SnapshotOutcome, SyncState
from workers.model.events import DepthEvent, Level, Snapshot

pytestmark = pytest.mark.recorded

Json = dict[str, Any]
FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.fixture(scope="module", autouse=True)
def _recordings() -> None:
    if not FOLDER.is_dir():
        pytest.skip(f"the recordings ({FOLDER}) are not on this machine")


def hftbacktest(*names: str) -> Iterator[tuple[str, Json]]:
    """Lines `<receive time ns> <raw JSON>`, the snapshot `<time> {"lastUpdateId":…}`: (stream, data) each."""
    for name in names:
        with gzip.open(FOLDER / name) as lines:
            for line in lines:
                message = json.loads(line.split(b" ", 1)[1])
                if "lastUpdateId" in message:
                    yield "btcusdt@snapshot", message
                else:
                    yield message["stream"], message["data"]


def cryptofeed(*names: str) -> Iterator[tuple[str, Json]]:
    """Lines `<time>: <received>`, `https://…?symbol=S&… -> <time>: <REST body>`: (stream, data) by time."""
    timed: list[tuple[float, str, Json]] = []
    for name in names:
        with zstandard.open(FOLDER / name, "rb") as raw:
            for line in io.TextIOWrapper(raw, encoding="utf-8"):
                head, _, body = line.partition(": ")
                if line.startswith("https://") and "symbol=" in head:
                    symbol = head.split("symbol=", 1)[1].split("&", 1)[0]
                    timed.append(
                        (float(head.rsplit(" ", 1)[1]), f"{symbol.lower()}@snapshot", json.loads(body))
                    )
                elif line[0].isdigit() and body.startswith('{"stream"'):
                    message = json.loads(body)
                    timed.append((float(head), message["stream"], message["data"]))
    for _, stream, data in sorted(timed, key=lambda entry: entry[0]):
        yield stream, data


def levels(pairs: list[list[str]]) -> list[Level]:
    return [(price, quantity) for price, quantity in pairs]


class Replay:
    """All symbols of a recording, each with its book, compared with bookTicker at equal update ids."""

    def __init__(self, rule: SequenceRule, messages: Iterator[tuple[str, Json]]) -> None:
        self.rule = rule
        self.syncs: dict[str, BookSync] = {}
        self.crossed = self.events = self.applied = 0
        self.waiting: dict[str, list[DepthEvent]] = {}
        self.best: dict[tuple[str, int], tuple[Level | None, Level | None]] = {}
        self.tickers: dict[tuple[str, int], tuple[Level, Level]] = {}
        self.outcomes: list[SnapshotOutcome] = []
        for now, (stream, data) in enumerate(messages):
            symbol, channel = stream.split("@", 1)
            if channel == "snapshot":
                self.outcomes.append(self.snapshot(symbol, data, now))
            elif channel.startswith("depth"):
                self.depth(symbol, data, now)
            elif channel == "bookTicker":
                self.tickers[symbol, data["u"]] = (data["b"], data["B"]), (data["a"], data["A"])

    def book(self, symbol: str) -> BookSync:
        if symbol not in self.syncs:
            self.syncs[symbol] = BookSync(symbol, self.rule, max_levels=10_000)
        return self.syncs[symbol]

    def snapshot(self, symbol: str, data: Json, now: int) -> SnapshotOutcome:
        bids, asks = levels(data["bids"]), levels(data["asks"])
        last_id = data["lastUpdateId"]
        self.applied += sum(not self.rule.contained(event, last_id) for event in self.waiting.pop(symbol, ()))
        return self.book(symbol).on_snapshot(Snapshot(symbol, last_id, bids, asks, limit=1000), now)

    def depth(self, symbol: str, data: Json, now: int) -> None:
        bids, asks = levels(data["b"]), levels(data["a"])
        event = DepthEvent(
            symbol, data["U"], data["u"], data.get("pu", -1), data["E"], data.get("T", 0), bids, asks
        )
        sync = self.book(symbol)
        outcome = sync.on_event(event, now)
        self.events += 1
        if outcome is Outcome.BUFFERED:
            self.waiting.setdefault(symbol, []).append(event)
        if sync.state is SyncState.SYNCED:
            self.applied += outcome in (Outcome.APPLIED, Outcome.SYNCED)
            self.crossed += sync.book.crossed
            self.best[symbol, sync.last_update_id] = sync.book.best_bid, sync.book.best_ask

    @property
    def gaps(self) -> int:
        return sum(sync.gap_count for sync in self.syncs.values())

    def matches(self, symbol: str = "") -> tuple[int, int]:
        """(exact, of): events with the same update id as a bookTicker."""
        shared = [key for key in self.best.keys() & self.tickers.keys() if symbol in ("", key[0])]
        return sum(self.best[key] == self.tickers[key] for key in shared), len(shared)

    def check(self) -> None:
        for sync in self.syncs.values():
            assert sync.state is SyncState.SYNCED
            assert sync.sync_count == 1
            sync.book.check()


def test_usdm_btcusdt():
    replay = Replay(SequenceRule.FUTURES, hftbacktest("usdm__btcusdt_20240808.gz"))
    replay.check()
    sync = replay.syncs["btcusdt"]
    assert (replay.events, replay.applied, replay.gaps, replay.crossed) == (6_551, 6_547, 0, 0)
    assert replay.matches() == (629, 629)
    assert sync.book.counts == (5_018, 4_578)
    assert sync.book.known_counts < (1_000, 1_000), "the market drifted to the lower edge of the snapshot"
    assert sync.book.edge_distance() < 0.1


def test_spot_btcusdt_over_midnight():
    replay = Replay(SequenceRule.SPOT, hftbacktest("spot__btcusdt_20240808.gz", "spot__btcusdt_20240809.gz"))
    replay.check()
    assert (replay.applied, replay.gaps, replay.crossed) == (6_493, 0, 0)
    assert replay.matches() == (1_072, 1_072)


def test_cryptofeed_spot():
    replay = Replay(SequenceRule.SPOT, cryptofeed("cryptofeed_binance_spot_20210404.zst"))
    replay.check()
    assert (len(replay.syncs), len(replay.outcomes), replay.events) == (3, 3, 2_688)
    assert (replay.gaps, replay.crossed) == (0, 0)


def test_cryptofeed_usdm():
    replay = Replay(SequenceRule.FUTURES, cryptofeed("cryptofeed_binance_usdm_20210405.zst"))
    replay.check()
    assert (len(replay.syncs), len(replay.outcomes), replay.events) == (5, 5, 4_423)
    assert (replay.gaps, replay.crossed) == (0, 0)
    assert replay.matches() == (215, 215)


def test_coinm_with_a_fault_of_the_exchange():
    """No gap, yet two snapshots have a wrong best level: only bookTicker or an audit can show it."""
    files = "cryptofeed_binance_coinm_20210417_http.zst", "cryptofeed_binance_coinm_20210417_ws.zst"
    replay = Replay(SequenceRule.FUTURES, cryptofeed(*files))
    replay.check()
    assert (len(replay.syncs), replay.events, replay.gaps, replay.crossed) == (10, 2_429, 0, 0)
    wrong = {"btcusd_perp": (15, 16), "btcusd_210924": (35, 39)}
    for symbol in replay.syncs:
        exact, of = replay.matches(symbol)
        assert of > 0
        assert (exact, of) == wrong.get(symbol, (of, of)), symbol
