"""When a script may say that the sockets of a line were replaced."""

from __future__ import annotations

from typing import Any

from workers.conformance.fleet.sockets import succeeded


def socket(number: int, *streams: str, path: str = "/usdm/public/stream") -> dict[str, Any]:
    return {"id": number, "agent": "line", "path": path, "streams": list(streams)}


BEFORE = [socket(1, "a", "b"), socket(2, "c"), socket(3, "t", path="/usdm/market/stream")]


def test_every_stream_must_be_subscribed_to_again():
    now = [socket(4, "a", "b"), socket(5, "c"), socket(6, "t", path="/usdm/market/stream")]
    assert succeeded(BEFORE, now)
    for missing in range(3):
        assert not succeeded(BEFORE, now[:missing] + now[missing + 1 :])
    assert not succeeded(BEFORE, [*now[:2], socket(6, "t")])  # on another root


def test_nothing_old_may_be_left():
    now = [socket(4, "a", "b"), socket(2, "c"), socket(6, "t", path="/usdm/market/stream")]
    assert not succeeded(BEFORE, now)


def test_two_that_overlap_may_be_followed_by_one():
    assert succeeded([socket(1, "a"), socket(2, "a")], [socket(3, "a")])
    assert succeeded([socket(1, "a")], [socket(3, "a"), socket(4, "a")])
