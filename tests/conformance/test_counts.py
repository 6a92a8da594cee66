"""What a script may say of a book that lost sync: how often its snapshot was asked for, whether it was withheld."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from redis.asyncio import Redis

from workers.conformance.fleet.observer import Observer
from workers.conformance.fleet.repeated_snapshots import repeated_snapshots
from workers.conformance.fleet.run import WITHHELD_S, FleetRun
from workers.conformance.result import Result
from workers.runtime.context import venue_contexts
from workers.settings.schema import Settings
from workers.venues.binance.settings import BinanceSettings
from workers.verification.stored import Book

SAME = {"event": "snapshot", "venue": "usdm", "symbol": "AUSDT", "outcome": "SAME"}
LATE = {"event": "snapshot_failed", "venue": "usdm", "symbol": "AUSDT",
        "error": "http://x/depth: TimeoutError: no whole answer within 6 s"}  # fmt: skip
TOO_OLD = SAME | {"outcome": "TOO_OLD"}
REFUSED = LATE | {"error": "http://x/depth: status 403"}


class Bench:
    """A run with one book, on a world of which only the counts are there."""

    def __init__(self, home: Path) -> None:
        settings = Settings(venues={"usdm": BinanceSettings(market="usdm", symbols=["AUSDT"])})
        self.book = Book(venue_contexts(settings)[0], "AUSDT")
        self.observer = Observer(Redis(), [self.book], lambda _: None)  # type: ignore[arg-type,return-value]
        self.log = home / "log" / "books-0.log"
        self.log.parent.mkdir()
        self.asked = 7
        world: Any = SimpleNamespace(home=home, observer=self.observer, requests=self.requests)
        self.run = FleetRun(world, Result("lost", "fleet", "It is seen."), [self.book])

    async def requests(self, _: Book) -> int:
        return self.asked

    def write(self, *lines: dict[str, str]) -> None:
        with self.log.open("a", encoding="utf-8") as log:
            log.writelines(json.dumps(line) + "\n" for line in lines)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_copies_and_late_answers_are_counted_and_nothing_else(bench: Bench):
    bench.write(SAME, LATE, TOO_OLD, REFUSED, SAME | {"symbol": "BUSDT"})
    with bench.log.open("ab") as log:
        log.write(b'{"event": "snapshot", "outcome": "SAME", "sym')  # the line is being written
    assert repeated_snapshots(bench.log.parent) == {("usdm", "AUSDT"): 2, ("usdm", "BUSDT"): 1}


async def test_what_had_to_be_asked_for_again_is_not_held_against_the_reader(bench: Bench):
    bench.write(SAME)  # before the scenario
    await bench.run.begin()
    bench.write(SAME, LATE)
    bench.asked += 4
    await bench.run.few_snapshots(bench.book, 2)
    assert bench.run.result.problems == []
    bench.asked += 1
    await bench.run.few_snapshots(bench.book, 2)
    assert len(bench.run.result.problems) == 1


async def test_a_book_must_have_been_seen_withheld_where_somebody_looked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    run = FleetRun(bench.run.world, bench.run.result, [bench.book])
    await run.begin()

    async def look_until(end: float, pause: float) -> None:
        nonlocal now
        while now < end:
            now += pause
            bench.observer.noted_look()

    await look_until(1010.0, WITHHELD_S / 2)
    run.withdrawn(bench.book, "out of sync")
    assert len(run.result.problems) == 1
    bench.observer.absent[bench.book] += 1
    run.withdrawn(bench.book, "out of sync")
    assert len(run.result.problems) == 1
    bench.observer.absent[bench.book] -= 1
    await look_until(1020.0, 2 * WITHHELD_S)
    run.withdrawn(bench.book, "out of sync")
    assert len(run.result.problems) == 1
