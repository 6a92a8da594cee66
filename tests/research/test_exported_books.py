"""Exported books and quotes: any depth and cadence, the same in every format."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_research_export import (
    BASE,
    SYMBOL,
    export,
    message,
    needs_recording,
    states_of,
    table_of,
    truth,
)

from workers.cli.application import main
from workers.model.books.order_book import OrderBook
from workers.model.events import DepthEvent
from workers.research.book_log import ToldBook
from workers.research.symbol_data import Cut
from workers.research.tardis_rows import Names, TopCells
from workers.runtime.context import venue_contexts
from workers.settings.schema import Settings
from workers.venues.kraken.settings import KrakenSettings

pytestmark = pytest.mark.xdist_group("research")  # others clear the server that these share

MESSAGES = [
    message(10, [("8", "1"), ("7", "1")], [("9", "1")], whole=True),
    message(20, [("7", "3")], []),
    message(150_000, [("8", "2")], []),
    message(160_000, [("8", "3")], []),
    message(450_000, [], [("9", "0")]),
    message(500_000, [("1", "1")], [("11", "4")], whole=True),
]


def test_quotes_are_told_when_the_best_levels_change():
    top = TopCells(Names("x", "X"), 1, quotes=True)
    rows = [row[2:] for one in MESSAGES for row in top.rows(one)] + list(top.finish())
    assert rows == [
        (BASE + 10, BASE + 15, "1", "9", "8", "1"),
        (BASE + 150_000, BASE + 150_005, "1", "9", "8", "2"),
        (BASE + 160_000, BASE + 160_005, "1", "9", "8", "3"),
        (BASE + 450_000, BASE + 450_005, None, None, "8", "3"),
        (BASE + 500_000, BASE + 500_005, "4", "11", "1", "1"),
    ]


def test_a_cadence_is_of_the_exchange_s_clock_and_silent_where_nothing_changed():
    top = TopCells(Names("x", "X"), 5, every_ms=100)
    rows = [row[2:8] for one in MESSAGES for row in top.rows(one)] + [row[2:8] for row in top.finish()]
    assert rows == [
        (BASE + 100_000, BASE + 25, "9", "1", "8", "1"),
        (BASE + 200_000, BASE + 160_005, "9", "1", "8", "3"),
        (BASE + 500_000, BASE + 450_005, None, None, "8", "3"),
        (BASE + 600_000, BASE + 500_005, "11", "4", "1", "1"),
    ]


def test_levels_that_leave_the_book_without_a_word_are_deleted():
    """Kraken tells of its best levels alone, and the reader is to drop what is pushed out."""
    [context] = venue_contexts(Settings(venues={"kraken": KrakenSettings(symbols=["X"], depth=10)}))
    rule, told = context.venue.book_rule, OrderBook()
    sync, messages = rule.sync("X"), ToldBook(rule)
    whole = DepthEvent(
        "X", 1, 1, -1, 1, 0, [(str(n), "1") for n in range(20, 10, -1)], [("30", "1")], "snapshot"
    )
    change = DepthEvent("X", 2, 2, -1, 2, 0, [("21", "1")], [])
    for event in (whole, change):
        sync.on_event(event, 1)
        found = messages.message(event, sync.book, event.last_id, whole=event is whole)
        told.apply(found.bids, found.asks)
    assert list(told.levels("bid")) == list(sync.book.levels("bid"))
    assert told.counts == (10, 1)


@pytest.mark.recorded
@needs_recording
def test_books_of_any_depth_and_cadence_are_the_same_in_every_format(home: Path, world):
    found = {}
    for form in ("csv", "parquet", "arrow"):
        path = home / f"book.{form}"
        assert (
            main(
                [
                    "export",
                    "--symbol",
                    SYMBOL,
                    "--kind",
                    "book",
                    "--depth",
                    "7",
                    "--every",
                    "500ms",
                    "-o",
                    str(path),
                ]
            )
            == 0
        )
        found[form] = table_of(path)
    assert len(found["csv"]) > 100
    assert len(found["csv"][0]) == 4 + 4 * 7
    assert found["parquet"] == found["csv"] == found["arrow"]
    assert (
        export("--kind", "book", "--depth", "5", "--every", "500ms", "-o", str(home / "of_tardis.csv")) == 0
    )
    by_time = {row["timestamp"]: row for row in found["csv"]}
    for row in table_of(home / "of_tardis.csv"):
        assert row.items() <= by_time[row["timestamp"]].items()
    assert main(["export", "--symbol", SYMBOL, "--kind", "quotes", "-o", str(home / "quotes.arrow")]) == 0
    assert export("--kind", "quotes", "-o", str(home / "quotes.csv")) == 0
    assert table_of(home / "quotes.arrow") == table_of(home / "quotes.csv")


def test_a_message_of_before_the_stretch_that_comes_late_is_no_message_lost():
    late = message(15, [("7", "5")], [])
    cut = Cut(BASE + 16, BASE + 500_000, lambda told: told.timestamp)
    told = [kept for one in [MESSAGES[0], MESSAGES[1], late, MESSAGES[2]] for kept in cut.kept(one)]
    assert [(one.is_snapshot, one.bids) for one in told] == [
        (True, [("8", "1"), ("7", "3")]),
        (False, [("7", "5")]),
        (False, [("8", "2")]),
    ]


def half_told_later(home: Path) -> Path:
    """A file of the first half of the log's messages, as another recorder had them half a second later."""
    plain, later = home / "depth.csv", home / "later.csv"
    assert export("--kind", "depth", "-o", str(plain)) == 0
    header, *lines = plain.read_text().splitlines()
    cells = [line.split(",", 4) for line in lines[: len(lines) // 2]]
    told = [",".join([*cell[:3], str(int(cell[3]) + 500_000), cell[4]]) for cell in cells]
    later.write_text("\n".join([header, *told]) + "\n")
    return later


@pytest.mark.recorded
@needs_recording
def test_the_log_goes_on_from_an_imported_book_with_its_own_whole_one(home: Path, world):
    """What the other recorder has no more the log had before the end of its file."""
    out = home / "out.csv.gz"
    assert main(["import", "--venue", "spot", str(half_told_later(home))]) == 0
    assert export("--kind", "depth", "-o", str(out)) == 0
    expected, found = truth(world[0]), states_of(out)
    after = [state for state in found if state[0] >= expected[len(expected) * 2 // 3][0]]
    assert len(after) > 200
    assert after == expected[-len(after) :]


@pytest.mark.recorded
@needs_recording
def test_the_log_is_told_before_and_after_an_imported_stretch(home: Path, world):
    """As where a hole of some days was filled with files of others."""
    middle, out, expected = home / "middle.csv.gz", home / "out.csv.gz", truth(world[0])
    times = [str(expected[len(expected) * part // 3][0] // 1000) for part in (1, 2)]
    assert export("--kind", "depth", "--from", times[0], "--to", times[1], "-o", str(middle)) == 0
    assert main(["import", "--venue", "spot", str(middle)]) == 0
    assert export("--kind", "depth", "-o", str(out)) == 0
    assert states_of(out) == expected
