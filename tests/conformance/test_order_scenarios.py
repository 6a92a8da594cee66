"""Scenarios of single orders: each passes, and fails without its guard."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from workers.conformance.catalogue.all import SCENARIOS
from workers.conformance.orders.runner import fits, played
from workers.conformance.venues.places import places
from workers.ingest.chain import StreamChain
from workers.model.level3 import checkpoint, sync
from workers.model.level3.sync import OrderSync

BY_NAME = {one.name: one.orders for one in SCENARIOS if one.orders is not None}


def problems(name: str, exchange: str) -> list[str]:
    chosen = BY_NAME[name]
    [place] = [one for one in places([exchange]) if fits(chosen, one)]
    return played(chosen, place).problems


def no_chain(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OrderSync, "_follows", lambda *_: True)


def no_repeats(patch: pytest.MonkeyPatch) -> None:
    """Neither the line nor the sync knows a message again."""
    patch.setattr(StreamChain, "accept", lambda self, message, *_: [message])
    patch.setattr(OrderSync, "_is_repeated", lambda *_: False)


def no_order_of_the_line(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(StreamChain, "accept", lambda self, message, *_: [message])


def no_place_in_the_stream(patch: pytest.MonkeyPatch) -> None:
    """The checkpoint forgets which message was the last."""
    real = checkpoint.decode_orders

    def forgetful(*arguments):
        found, stream_id = real(*arguments)
        found.last_id = ""
        return found, stream_id

    patch.setattr("workers.conformance.orders.world.decode_orders", forgetful)


def no_crossing_rule(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sync, "purge_crossing", lambda book: 0)


def no_purges(patch: pytest.MonkeyPatch) -> None:
    no_crossing_rule(patch)
    patch.setattr(sync, "purge_beyond", lambda *_: 0)


def test_every_exchange_that_tells_single_orders_runs_the_calm_scenario():
    told = {one.exchange for one in places() if one.order_feed() is not None}
    assert told == {one.exchange for one in places() if fits(BY_NAME["orders-calm"], one)} >= {"bitstamp"}
    for chosen in BY_NAME.values():
        assert any(fits(chosen, one) for one in places())


@pytest.mark.parametrize(
    ("remove", "name", "exchange"),
    [
        (no_chain, "orders-lost", "bitstamp"),
        (no_repeats, "orders-doubled", "bitstamp"),
        (no_order_of_the_line, "orders-swapped", "bitstamp"),
        (no_place_in_the_stream, "orders-taken-over", "bitstamp"),
        (no_crossing_rule, "orders-phantom-across", "bitstamp"),
        (no_purges, "orders-phantom-inside", "bitstamp"),
    ],
)
def test_without_its_guard_a_scenario_fails(
    remove: Callable[[pytest.MonkeyPatch], None], name: str, exchange: str, monkeypatch: pytest.MonkeyPatch
):
    assert problems(name, exchange) == []
    remove(monkeypatch)
    assert problems(name, exchange) != []
