"""`fleet replay` on made captures: each kind of loss, disagreement and damage is told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from replay_captures import Capture, replayed

from workers.errors import CommandError, FleetError
from workers.replay.server import PrivateServer


@pytest.fixture
def url(server: PrivateServer) -> str:
    return server.url


def started() -> Capture:
    """A futures capture in sync: the snapshot lies inside the buffered events."""
    return Capture().depth().depth(bids=[("100", "1")]).snapshot().depth(asks=[("101", "2")]).trade().trade()


def alone(found: dict[str, Any], name: str) -> Any:
    assert list(found[name]) == ["BTCUSDT"]
    return found[name]["BTCUSDT"]


def test_a_whole_capture_has_no_problem(url: str, tmp_path: Path):
    capture = started().quote(("100", "1.0"), ("101.0", "2")).depth(bids=[("100.2", "3")])
    found = replayed(url, capture.write(tmp_path / "a"))
    assert found["problems"] == []
    assert found["messages"] == {
        "btcusdt@depth@100ms": 4,
        "btcusdt@trade": 2,
        "btcusdt@bookTicker": 1,
    }
    assert (found["gaps"], found["resyncs"], found["crossed"], found["malformed"]) == (0, 0, 0, 0)
    assert alone(found, "books") == {
        "u": capture.last_u,
        "bids": [["100.2", "3"], ["100", "1"]],
        "asks": [["101", "2"]],
        "levels": [2, 1],
    }
    assert alone(found, "bookticker") == {"exact": 1, "of": 1}
    assert alone(found, "trades") == {"count": 2, "first_id": 501, "last_id": 502, "missing": 0, "doubled": 0}
    assert alone(found, "bars")["1m"] == 1
    assert found["snapshots"] == {"recorded": 1, "fetched": 1}


def test_a_quote_that_comes_before_its_event_is_compared_too(url: str, tmp_path: Path):
    capture = started()
    capture.last_u += 8
    capture.quote(("100", "1"), ("101", "7"))
    capture.last_u -= 8
    found = replayed(url, capture.depth(asks=[("101", "7")]).write(tmp_path / "a"))
    assert alone(found, "bookticker") == {"exact": 1, "of": 1}


def test_a_lost_event_is_a_gap_and_the_next_snapshot_mends_it(url: str, tmp_path: Path):
    capture = started().depth(bids=[("100.5", "9")]).lose()
    capture.depth(bids=[("99", "4")]).depth().snapshot(bids=[("100.5", "9"), ("99", "4")]).depth(
        bids=[("98", "1")]
    )
    found = replayed(url, capture.write(tmp_path / "a"))
    assert (found["gaps"], found["resyncs"]) == (1, 1)
    assert alone(found, "states") == "synced"
    assert alone(found, "books")["bids"] == [["100.5", "9"], ["99", "4"], ["98", "1"]]
    assert any("gap" in problem for problem in found["problems"])
    assert found["snapshots"] == {"recorded": 2, "fetched": 2}


def test_a_lost_event_without_a_snapshot_leaves_no_book(url: str, tmp_path: Path):
    capture = started().depth().lose().depth(bids=[("99", "4")]).depth()
    found = replayed(url, capture.write(tmp_path / "a"))
    assert (found["gaps"], found["resyncs"]) == (1, 1)
    assert alone(found, "states") == "broken"
    assert alone(found, "books")["levels"] == [0, 0]


def test_a_snapshot_older_than_the_gap_does_not_mend_it(url: str, tmp_path: Path):
    capture = started().snapshot().depth().lose().depth().snapshot(bids=[("97", "1")]).depth()
    found = replayed(url, capture.write(tmp_path / "a"))
    assert (found["gaps"], found["resyncs"]) == (1, 1)
    assert alone(found, "books")["bids"] == [["97", "1"]]
    assert found["snapshots"] == {"recorded": 3, "fetched": 3}


def test_a_recording_without_snapshot_says_that_the_book_never_came(url: str, tmp_path: Path):
    found = replayed(url, Capture().depth().depth().write(tmp_path / "a"))
    assert alone(found, "states") == "waiting"
    assert any("never came into sync" in problem for problem in found["problems"])


@pytest.mark.parametrize("spot", [False, True])
def test_a_snapshot_before_the_first_event_waits_for_it(url: str, tmp_path: Path, spot: bool):
    capture = Capture(spot=spot).snapshot()
    for number in range(3_000):
        capture.depth(bids=[("99", str(number))])
    found = replayed(url, capture.write(tmp_path / "a"))
    assert found["problems"] == []
    assert alone(found, "books")["bids"] == [["100", "1"], ["99", "2999"]]


@pytest.mark.parametrize("spot", [False, True])
def test_a_snapshot_that_comes_late_still_fits_the_buffered_events(url: str, tmp_path: Path, spot: bool):
    capture = Capture(spot=spot).depth()
    late = Capture(spot=spot, last_u=capture.last_u).snapshot().lines[0].partition(b" ")[2]
    for number in range(400):
        capture.depth(bids=[("99", str(number))])
    found = replayed(url, capture.add(late).depth().write(tmp_path / "a"))
    assert found["problems"] == []
    assert alone(found, "books")["bids"] == [["100", "1"], ["99", "399"]]


def test_a_lost_trade_is_missing(url: str, tmp_path: Path):
    found = replayed(url, started().trade().lose().trade().trade().write(tmp_path / "a"))
    assert alone(found, "trades") == {"count": 4, "first_id": 501, "last_id": 505, "missing": 1, "doubled": 0}
    assert found["problems"] == ["BTCUSDT: 1 trades are missing."]


def test_fills_beside_the_book_are_counted_and_not_missing(url: str, tmp_path: Path):
    found = replayed(
        url, started().trade(kind="ADL").trade().trade(kind="INSURANCE_FUND").write(tmp_path / "a")
    )
    assert alone(found, "trades") == {"count": 3, "first_id": 501, "last_id": 504, "missing": 0, "doubled": 0}
    assert found["not_market"] == {"BTCUSDT": 2}
    assert found["problems"] == []


def test_trades_without_a_price_or_quantity_are_no_part_of_the_market(url: str, tmp_path: Path):
    lines = [
        b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":%d,"a":%d,"s":"BTCUSDT","p":"%s","q":"%s",'
        b'"f":%d,"l":%d,"T":%d,"m":false,"M":true}}'
        % (1782777660005 + 100 * n, 100 + n, price, quantity, fill, fill, 1782777660000 + 100 * n)
        for n, (price, quantity, fill) in enumerate(
            [(b"60000.00", b"1.0", 500), (b"0.00", b"1.0", 501), (b"60000.00", b"0.0", 502),
             (b"0.00", b"0.00", -1), (b"-1", b"NaN", 504), (b"60000.00", b"1.0", 505)]
        )
    ]  # fmt: skip
    capture = Capture()
    for line in lines:
        capture.add(line)
    found = replayed(url, capture.write(tmp_path / "a"))
    assert alone(found, "trades") == {"count": 2, "first_id": 100, "last_id": 105, "missing": 0, "doubled": 0}
    assert found["not_market"] == found["absurd"] == {"BTCUSDT": 4}
    assert (
        "BTCUSDT: 4 trade(s) with a price or quantity that is none: the ids count, the volume does not."
        in (found["notes"])
    )


def aggregates(*trades: tuple[int, int, str]) -> Capture:
    """Aggregate trades, each with its id, its only fill, and its quantity."""
    capture = Capture()
    for number, fill, quantity in trades:
        capture.ms += 90
        capture.add(
            b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":%d,"a":%d,"s":"BTCUSDT","p":"60000.00",'
            b'"q":"%s","f":%d,"l":%d,"T":%d,"m":false}}'
            % (capture.ms, number, quantity.encode(), fill, fill, capture.ms)
        )
    return capture


def test_two_trades_of_one_id_contradict_and_the_fill_that_is_dropped_is_named(url: str, tmp_path: Path):
    capture = aggregates((103, 503, "1"), (104, 504, "1"), (104, 505, "7"), (105, 506, "1"))
    found = replayed(url, capture.write(tmp_path / "a"))
    assert alone(found, "trades")["count"] == 3
    assert (found["contradictory"], found["fills_unnamed"]) == ({"BTCUSDT": 1}, {"BTCUSDT": 1})
    why = "(104: another trade of this id, fills 505 to 505, 7 at 60000.00)"
    assert found["problems"] == [f"BTCUSDT: 1 trade(s) came with the id of another one, which counts {why}."]


def test_repeated_fills_are_noted_and_count_as_they_came(url: str, tmp_path: Path):
    capture = aggregates((100, 1817, "1"), (101, 1818, "1"), (102, 1817, "1"), (103, 1819, "1"))
    found = replayed(url, capture.write(tmp_path / "a"))
    assert alone(found, "trades")["count"] == 4
    assert (found["fills_repeated"], found["problems"]) == ({"BTCUSDT": 1}, [])
    assert found["notes"] == [
        "BTCUSDT: 1 trade(s) with fills of an earlier one, counted as the exchange sent them."
    ]


FAULTS = {
    "b1_zero_price": (9, {"absurd": 1, "not_market": 1}),
    "b1b_zero_quantity": (9, {"absurd": 1, "not_market": 1}),
    "b1c_spot_invalid": (9, {"absurd": 1, "not_market": 1}),
    "b2_same_id_other_fill": (9, {"contradictory": 1, "fills_unnamed": 1}),
    "b3_repeated_fill": (4, {"fills_repeated": 1}),
    "b5_raw_na": (9, {"not_market": 1}),
    "c_stamp_16_digits": (1, {}),
    "c_stamp_19_digits": (1, {}),
    "d3_clock_11_min_slow": (1, {}),
    "d5_three_elements": (0, {}),
    "k_late_over_midnight": (7, {}),
    "o_overlap_spot": (0, {}),
}
KINDS = ("not_market", "absurd", "contradictory", "fills_repeated", "fills_unnamed", "fills_impossible")
BOOKS = {
    "c_stamp_16_digits": 1010, "c_stamp_19_digits": 1010, "d3_clock_11_min_slow": 1010, "d5_three_elements": 1010,
    "o_overlap_spot": 1005,
}  # fmt: skip
"""The update ids at which the books end."""


@pytest.mark.parametrize("name", FAULTS)
def test_each_known_fault_is_told_as_what_it_is(url: str, recorded_folder: Path, name: str):
    found = replayed(url, recorded_folder / "faults" / f"{name}.txt")
    trades, odd = FAULTS[name]
    assert sum(tape["count"] for tape in found["trades"].values()) == trades
    assert {kind: found[kind]["BTCUSDT"] for kind in KINDS if found[kind]} == odd
    assert {name: book["u"] for name, book in found["books"].items()} == (
        {"BTCUSDT": BOOKS[name]} if name in BOOKS else {}
    )
    assert (found["malformed"], found["gaps"], len(found["problems"])) == (0, 0, odd.get("contradictory", 0))


@pytest.mark.parametrize("name", ["y1_partial_spot_combined", "y2_partial_spot_bare",
                                  "y3_partial_futures_combined", "y4_partial_futures_bare"])  # fmt: skip
def test_each_capture_of_partial_books_alone_is_refused_by_name(url: str, recorded_folder: Path, name: str):
    with pytest.raises(FleetError, match="stream of partial books"):
        replayed(url, recorded_folder / "faults" / f"{name}.txt")


def test_repeats_change_nothing(url: str, tmp_path: Path):
    capture = started().repeat().depth(bids=[("99", "4")]).repeat().quote(("100", "1"), ("101", "2")).repeat()
    found = replayed(url, capture.write(tmp_path / "a"))
    assert found["repeats"] == 2
    assert found["problems"] == []
    assert alone(found, "bookticker") == {"exact": 1, "of": 1}
    assert alone(found, "trades")["count"] == 2


def test_two_recordings_of_one_stream_mend_each_other(url: str, tmp_path: Path):
    whole = started().depth(bids=[("99", "4")]).trade().depth(bids=[("98", "5")]).trade()
    one, two = whole.lines[:6] + whole.lines[7:], whole.lines[:8] + whole.lines[9:]
    (tmp_path / "one").write_bytes(b"\n".join(one))
    (tmp_path / "two").write_bytes(b"\n".join(two))
    found = replayed(url, tmp_path / "one", tmp_path / "two")
    assert found["problems"] == []
    assert found["gaps"] == 0
    assert alone(found, "books")["bids"] == [["100", "1"], ["99", "4"], ["98", "5"]]
    assert alone(found, "trades")["count"] == 4


def test_a_wrong_book_is_told_by_the_quote(url: str, tmp_path: Path):
    found = replayed(url, started().quote(("100", "1.5"), ("101", "2")).write(tmp_path / "a"))
    assert alone(found, "bookticker") == {"exact": 0, "of": 1}
    assert "1.5 at 100" in found["problems"][0]


def test_a_crossed_book_is_counted(url: str, tmp_path: Path):
    capture = started().depth(bids=[("102", "1")]).depth().depth(bids=[("102", "0")])
    found = replayed(url, capture.write(tmp_path / "a"))
    assert found["crossed"] == 2
    assert found["resyncs"] == 0
    assert len(found["problems"]) == 1


def test_lines_that_cannot_be_used_are_counted_and_named(url: str, tmp_path: Path):
    capture = started().add(b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate"}}').depth()
    capture.lines.append(b"1723161256 what is this")
    capture.add(b'{"stream":"btcusdt@bookTicker","data":{"u":1}}')
    found = replayed(url, capture.trade().write(tmp_path / "a"))
    assert found["malformed"] == 3
    assert [problem.split(": ")[0] for problem in found["problems"]] == [
        f"{tmp_path}/a, line {number}" for number in (7, 9, 10)
    ]
    assert alone(found, "trades")["count"] == 3
    assert found["gaps"] == 0


def test_a_pause_longer_than_the_streams_keep_their_entries_loses_nothing(url: str, tmp_path: Path):
    capture = started()
    for _ in range(3):
        capture.ms += 7_200_000
        capture.depth(bids=[("99", str(capture.ms))]).trade()
    found = replayed(url, capture.write(tmp_path / "a"))
    assert found["problems"] == []
    assert alone(found, "trades")["count"] == 5
    assert alone(found, "bars")["1h"] == 4


def test_two_markets_of_one_symbol_are_told_apart(url: str, tmp_path: Path):
    spot = Capture(spot=True).depth().snapshot().depth(bids=[("98", "1")])
    found = replayed(url, started().write(tmp_path / "futures"), spot.write(tmp_path / "spot"))
    assert found["problems"] == []
    assert set(found["books"]) == {"BTCUSDT", "spot:BTCUSDT"}
    assert found["messages"]["spot:btcusdt@depth@100ms"] == 2
    assert found["books"]["spot:BTCUSDT"]["u"] == spot.last_u


def test_of_two_speeds_of_one_book_one_is_fed(url: str, tmp_path: Path):
    capture = started()
    other = capture.lines[-3].replace(b"@depth@100ms", b"@depth@500ms").replace(b'"U":', b'"U":1')
    capture.lines.append(other)
    found = replayed(url, capture.write(tmp_path / "a"))
    assert found["problems"] == []
    assert found["messages"]["btcusdt@depth@500ms"] == 1
    assert "btcusdt@depth@500ms" in found["notes"][0]


def test_the_recorded_clock_is_kept_on_demand(url: str, tmp_path: Path):
    capture = started()
    for _ in range(20):
        capture.depth()
    found = replayed(url, capture.write(tmp_path / "a"), speed=1)
    assert found["problems"] == []
    assert found["seconds"] >= 0.25


def test_a_used_server_is_refused_unless_told(url: str, tmp_path: Path):
    path = started().write(tmp_path / "a")
    first = replayed(url, path)
    with pytest.raises(CommandError, match="already holds"):
        replayed(url, path)
    again = replayed(url, path, add=True)
    assert again["problems"] == []
    assert again["repeats"] == 5
    for name in ("books", "trades", "bars", "gaps", "resyncs"):
        assert again[name] == first[name]


def test_a_replay_goes_on_where_another_ended(url: str, tmp_path: Path):
    whole = started().depth(bids=[("99", "4")]).trade()
    (tmp_path / "one").write_bytes(b"\n".join(whole.lines[:4]))
    (tmp_path / "two").write_bytes(b"\n".join(whole.lines[4:]))
    replayed(url, tmp_path / "one")
    found = replayed(url, tmp_path / "two", add=True)
    assert found["problems"] == []
    assert alone(found, "books")["bids"] == [["100", "1"], ["99", "4"]]
    assert alone(found, "trades")["count"] == 3


def test_levels_with_elements_after_the_known_ones_are_taken(url: str, tmp_path: Path):
    capture = started()
    longer = [
        re.sub(rb'"(bids|asks|b|a)":\[\["([^"]+)","([^"]+)"\]', rb'"\1":[["\2","\3",[]]', line)
        for line in capture.lines
    ]
    assert sum(line.count(b",[]]") for line in longer) == 4
    capture.lines = longer
    found = replayed(url, capture.write(tmp_path / "a"))
    assert (found["malformed"], found["problems"], alone(found, "states")) == (0, [], "synced")
    assert alone(found, "books")["asks"] == [["101", "2"]]


@pytest.mark.parametrize("off_s", [-660, 660, -90_000, 90_000])
def test_the_recorders_clock_judges_nothing(url: str, tmp_path: Path, off_s: int):
    capture = started().depth(bids=[("100.2", "3")])
    for number, line in enumerate(capture.lines):
        stamp, _, data = line.partition(b" ")
        capture.lines[number] = b"%d %s" % (int(stamp) + off_s * 10**9, data)
    found = replayed(url, capture.write(tmp_path / "a"))
    assert (found["problems"], found["malformed"], found["gaps"]) == ([], 0, 0)
    assert alone(found, "books")["u"] == capture.last_u
    assert alone(found, "trades")["count"] == 2


@pytest.mark.parametrize("ms", [0, 1_723_161_257, 7_300_000_000_000])
def test_a_time_that_is_none_is_named_and_holds_up_nothing(url: str, tmp_path: Path, ms: int):
    capture = started().trade()
    of_trade = re.compile(rb'("[ET]"):\d+')
    capture.lines[-1] = of_trade.sub(rb"\1:%d" % ms, capture.lines[-1])
    found = replayed(url, capture.trade().write(tmp_path / "a"))
    assert found["malformed"] == 1
    place = f"{tmp_path}/a, line {len(capture.lines) - 1}: the frame cannot be used"
    assert [problem.startswith(place) for problem in found["problems"]].count(True) == 1
    assert alone(found, "trades")["missing"] == 1
