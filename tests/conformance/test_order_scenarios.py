"""Scenarios of single orders: each passes, and fails without its guard."""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import ANY

import pytest
from msgspec.structs import replace

from workers.conformance.catalogue.all import SCENARIOS
from workers.conformance.orders.runner import fits, played
from workers.conformance.venues.places import places
from workers.ingest.chain import StreamChain
from workers.ingest.line import Line
from workers.model.level3 import checkpoint, sync
from workers.model.level3.book import Level3Book
from workers.model.level3.events import OrderChange
from workers.model.level3.queue import PriceQueue
from workers.model.level3.rules import Unknown
from workers.model.level3.sync import OrderSync
from workers.venues.bitfinex.session import BitfinexSession
from workers.venues.bitfinex.wire import data_frame
from workers.venues.coinbase import orders
from workers.venues.kraken.access import OrderAccess

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
        found.last_id, found.last_position = "", 0
        return found, stream_id

    patch.setattr("workers.conformance.orders.world.decode_orders", forgetful)


def no_first_position(patch: pytest.MonkeyPatch) -> None:
    """A seed may be as old as it likes."""
    patch.setattr(OrderSync, "_first_seed_position", lambda _: 0)


def no_waiting_seed(patch: pytest.MonkeyPatch) -> None:
    """A seed passes for one of the last message that has come."""
    real = OrderSync.on_seed

    def at_once(self, seed):
        if self._buffer:
            seed.position = min(seed.position, self._buffer[-1].position)
        return real(self, seed)

    patch.setattr(OrderSync, "on_seed", at_once)


def no_beginning_anew(patch: pytest.MonkeyPatch) -> None:
    """Whatever has a lower number was there before."""
    patch.setattr(sync, "ANEW_US", 10**15)


def no_order_that_never_rested(patch: pytest.MonkeyPatch) -> None:
    """A change, or an end, of an order that is not in the book is a loss."""
    patch.setattr(orders, "RULES", orders.RULES._replace(unknown=Unknown.LOSS))


def no_waiting_for_open(patch: pytest.MonkeyPatch) -> None:
    """An order that is received rests."""
    real = orders._change

    def rests(event, time_us):
        if event.type == "received" and event.price:
            side = "bid" if event.side == "buy" else "ask"
            return OrderChange("put", event.order_id, side, event.price, event.size)
        return real(event, time_us)

    patch.setattr(orders, "_change", rests)


def no_new_size(patch: pytest.MonkeyPatch) -> None:
    """An order that is made smaller stays as it was."""
    real = orders._change
    patch.setattr(
        orders, "_change", lambda event, time_us: real(event, time_us) if event.type != "change" else None
    )


def no_fills(patch: pytest.MonkeyPatch) -> None:
    """A match takes nothing from its maker."""
    real = orders._change
    patch.setattr(
        orders, "_change", lambda event, time_us: real(event, time_us) if event.type != "match" else None
    )


def no_crossing_rule(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sync, "purge_crossing", lambda book: 0)


def no_purges(patch: pytest.MonkeyPatch) -> None:
    no_crossing_rule(patch)
    patch.setattr(sync, "purge_beyond", lambda *_: 0)


def no_ranks(patch: pytest.MonkeyPatch) -> None:
    """What comes into view goes to the end of its queue."""
    real = PriceQueue.insert
    patch.setattr(PriceQueue, "insert", lambda self, order, rank: real(self, order, None))


def no_checksums(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("workers.venues.bitfinex.orders.orders_checksum", lambda _: ANY)
    patch.setattr("workers.venues.kraken.orders.orders_checksum", lambda _: ANY)


def nothing_against_repeats(patch: pytest.MonkeyPatch) -> None:
    """Neither a checksum nor an order that is created twice ends the book."""
    no_checksums(patch)
    real = OrderSync._add

    def add(self, change, *, seen):
        if self.book.order(change.order_id) is None:
            real(self, change, seen=seen)

    patch.setattr(OrderSync, "_add", add)


def no_cut(patch: pytest.MonkeyPatch) -> None:
    """What falls out of view is kept."""
    patch.setattr(Level3Book, "keep_levels", lambda *_: None)


def no_ages(patch: pytest.MonkeyPatch) -> None:
    """What comes into view is as old as the message that tells it."""
    real = OrderSync._add

    def add(self, change, *, seen):
        real(self, replace(change, time_us=self.last_us + 1_000_000), seen=seen)

    patch.setattr(OrderSync, "_add", add)


def no_queues_in_checkpoints(patch: pytest.MonkeyPatch) -> None:
    """A checkpoint has the orders of a price in another order."""
    real = checkpoint.decode_orders

    def mixed_up(*arguments):
        found, stream_id = real(*arguments)
        for side in ("bid", "ask"):
            for queue in list(found.book.levels(side)):
                for order in list(queue)[:-1]:
                    found.book.move(order.order_id, queue.price, order.quantity)
        return found, stream_id

    patch.setattr("workers.conformance.orders.world.decode_orders", mixed_up)


def no_new_token(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OrderAccess, "may_try_again", lambda *_: False)


def no_highest_rank(patch: pytest.MonkeyPatch) -> None:
    """What comes into view is new."""
    patch.setattr(OrderSync, "highest_rank", property(lambda _: -1, lambda *_: None), raising=False)


def no_breaks(patch: pytest.MonkeyPatch) -> None:
    """The end of a socket, and of its numbers, is not told."""
    patch.setattr(Line, "_break", lambda *_: None)
    patch.setattr(BitfinexSession, "_data", unnumbered(BitfinexSession._data))


def unnumbered(real):
    def data(self, frame):
        self._sequence = data_frame(frame).sequence - 1
        return real(self, frame)

    return data


def test_every_exchange_that_tells_single_orders_runs_the_calm_scenario():
    told = {one.exchange for one in places() if one.order_feed() is not None}
    assert (
        told
        == {one.exchange for one in places() if fits(BY_NAME["orders-calm"], one)}
        == {"bitstamp", "bitfinex", "coinbase", "kraken"}
    )
    for chosen in BY_NAME.values():
        assert any(fits(chosen, one) for one in places())


@pytest.mark.parametrize(
    ("remove", "name", "exchange"),
    [
        (no_chain, "orders-lost", "bitstamp"),
        (no_repeats, "orders-doubled", "bitstamp"),
        (no_order_of_the_line, "orders-swapped", "bitstamp"),
        (no_place_in_the_stream, "orders-taken-over", "bitstamp"),
        (no_chain, "orders-lost", "coinbase"),
        (no_first_position, "orders-stale-seed", "coinbase"),
        (no_waiting_seed, "orders-seed-ahead", "coinbase"),
        (no_beginning_anew, "orders-numbered-anew", "coinbase"),
        (no_repeats, "orders-doubled", "coinbase"),
        (no_order_of_the_line, "orders-swapped", "coinbase"),
        (no_place_in_the_stream, "orders-taken-over", "coinbase"),
        (no_order_that_never_rested, "orders-calm", "coinbase"),
        (no_waiting_for_open, "orders-calm", "coinbase"),
        (no_new_size, "orders-calm", "coinbase"),
        (no_fills, "orders-calm", "coinbase"),
        (no_ranks, "orders-window", "bitfinex"),
        (no_highest_rank, "orders-window", "bitfinex"),
        (no_checksums, "orders-checksum", "bitfinex"),
        (no_breaks, "orders-lost", "bitfinex"),
        (no_checksums, "orders-lost", "kraken"),
        (no_checksums, "orders-checksum", "kraken"),
        (nothing_against_repeats, "orders-doubled-unnumbered", "kraken"),
        (no_checksums, "orders-swapped-unnumbered", "kraken"),
        (no_cut, "orders-best-prices", "kraken"),
        (no_ages, "orders-best-prices", "kraken"),
        (no_queues_in_checkpoints, "orders-taken-over", "kraken"),
        (no_new_token, "orders-old-token", "kraken"),
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
