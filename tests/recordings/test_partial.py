"""Partial books in captures are refused by name, with or without the name of their stream, and never half read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_recording import hft, written

from workers.errors import RecordingError
from workers.recordings.recording import Recording
from workers.replay.plan import ReplayPlan

TOP = {"b": [["100.0", "1"], ["99.9", "2"]], "a": [["100.1", "1.5"], ["100.2", "2.5"]]}


def event(number: int, bids: list[list[str]], asks: list[list[str]]) -> dict[str, Any]:
    ids = {"U": 1000 + 3 * number, "u": 1002 + 3 * number, "pu": 999 + 3 * number}
    return {"e": "depthUpdate", "E": 1723161255000, "T": 1, "s": "BTCUSDT", **ids, "b": bids, "a": asks}


def recorded(path: Path, *payloads: dict[str, Any]) -> Path:
    lines = [hft(0.1 * number, json.dumps(one).encode()) for number, one in enumerate(payloads)]
    return written(path, *[line.replace(b'": ', b'":') for line in lines])


def refused(path: Path) -> str:
    with pytest.raises(RecordingError) as caught:
        ReplayPlan([Recording(path)])
    return str(caught.value)


@pytest.mark.parametrize("kind", ["depth20@100ms", "depth5", "depth10@500ms"])
def test_named_by_their_stream(tmp_path: Path, kind: str):
    stream = f"btcusdt@{kind}"
    path = recorded(
        tmp_path / "a", *({"stream": stream, "data": event(n, TOP["b"], TOP["a"])} for n in range(3))
    )
    assert f"but {stream}: a stream of partial books" in refused(path)


def test_beside_other_streams_they_are_left_out_and_named(tmp_path: Path):
    depth = {"stream": "btcusdt@depth@100ms", "data": event(0, TOP["b"], [])}
    partial = {"stream": "btcusdt@depth20@100ms", "data": event(0, TOP["b"], TOP["a"])}
    plan = ReplayPlan([Recording(recorded(tmp_path / "a", depth, partial, partial))])
    assert plan.symbols("usdm") == ["BTCUSDT"]
    assert [note for note in plan.notes if note.startswith("btcusdt@depth20@100ms is not fed: ")]


def test_bare_ones_of_spot_look_like_snapshots(tmp_path: Path):
    books = [{"lastUpdateId": 1000 + n, "bids": TOP["b"], "asks": TOP["a"]} for n in range(4)]
    assert "but 4 whole or partial books and no event that changes them" in refused(
        recorded(tmp_path / "a", *books)
    )


def test_bare_ones_of_futures_look_like_changes_but_repeat_themselves(tmp_path: Path):
    books = []
    for number in range(8):
        moving = [["100.1", str(1 + number)], *TOP["a"][1:]]
        books.append(event(number, TOP["b"], moving))
    assert "depth frames of BTCUSDT" in refused(recorded(tmp_path / "a", *books))


@pytest.mark.parametrize("what", ["deletes", "one side", "out of order", "names changes only", "few"])
def test_bare_changes_are_still_taken(tmp_path: Path, what: str):
    events = [event(n, TOP["b"], TOP["a"]) for n in range(8)]
    if what == "deletes":
        events[3]["b"] = [["99.9", "0.000"]]
    elif what == "one side":
        events[4]["a"] = []
    elif what == "out of order":
        events[2]["a"] = TOP["a"][::-1]
    elif what == "names changes only":
        events = [event(n, [["100.0", f"{n}.5"]], [["100.1", f"{n}.7"]]) for n in range(8)]
    else:
        events = events[:4]
    plan = ReplayPlan([Recording(recorded(tmp_path / "a", *events))])
    assert plan.symbols("usdm") == ["BTCUSDT"]
