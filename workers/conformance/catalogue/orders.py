"""The scenarios of single orders."""

from __future__ import annotations

from typing import Final

from workers.conformance.orders import scripts
from workers.conformance.scenario import OnOrders, Scenario
from workers.venues.order_feed import OrderFeed


def _seeds_phantoms(feed: OrderFeed) -> bool:
    return feed.rules.phantoms


ORDERS: Final = (
    Scenario(
        "orders-calm",
        "Nothing goes wrong.",
        "Every order is known by id, price, quantity and place; the book never leaves sync.",
        orders=OnOrders(scripts.calm),
    ),
    Scenario(
        "orders-lost",
        "A message of single orders is sent to nobody.",
        "The book leaves sync, once, and begins anew with all orders.",
        orders=OnOrders(scripts.lost),
    ),
    Scenario(
        "orders-doubled",
        "Every message of single orders comes twice, and old ones come again.",
        "No order is created, filled or removed twice.",
        orders=OnOrders(scripts.doubled),
    ),
    Scenario(
        "orders-swapped",
        "Messages of single orders come after those that follow them.",
        "Where they are numbered they are put in order; elsewhere the book is never wrong while it is in sync.",
        orders=OnOrders(scripts.swapped),
    ),
    Scenario(
        "orders-taken-over",
        "One owner after the other goes on from the checkpoint of the one before.",
        "Every order keeps its place; nobody asks for a seed.",
        orders=OnOrders(scripts.taken_over),
    ),
    Scenario(
        "orders-phantom-across",
        "The seed names an order that does not exist and crosses the book.",
        "It is purged once the crossing outlasts a match; the book stays in sync.",
        orders=OnOrders(scripts.phantoms_across, _seeds_phantoms),
    ),
    Scenario(
        "orders-phantom-inside",
        "The seed names an order that does not exist, between the best prices.",
        "It is purged as the venue's best prices lastingly say otherwise; the book stays in sync.",
        orders=OnOrders(scripts.phantoms_inside, _seeds_phantoms),
    ),
)
