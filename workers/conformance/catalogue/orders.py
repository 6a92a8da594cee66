"""The scenarios of single orders."""

from __future__ import annotations

from typing import Final

from workers.conformance.orders import scripts
from workers.conformance.scenario import OnOrders, Scenario
from workers.model.level3.rules import Continuity, Unknown
from workers.venues.order_feed import OrderFeed


def _is_numbered(feed: OrderFeed) -> bool:
    return feed.by_id


def _is_seeded(feed: OrderFeed) -> bool:
    return feed.seed_request is not None


def _counts(feed: OrderFeed) -> bool:
    return feed.rules.continuity is Continuity.SEQUENCE


def _shows_a_window(feed: OrderFeed) -> bool:
    return feed.rules.window > 0


def _shows_best_prices(feed: OrderFeed) -> bool:
    return feed.rules.levels > 0


def _checks_every_message(feed: OrderFeed) -> bool:
    return feed.rules.checksum is not None and feed.rules.unknown is Unknown.DOUBT


def _wants_a_token(feed: OrderFeed) -> bool:
    return feed.by_token


def _sends_checksums(feed: OrderFeed) -> bool:
    return feed.rules.checksum is not None


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
        "orders-stale-seed",
        "A message of single orders is sent to nobody, and REST gives the orders of long before.",
        "The book does not begin with them; it does once REST has those that the stream goes on from.",
        orders=OnOrders(scripts.stale_seed, _counts),
    ),
    Scenario(
        "orders-seed-ahead",
        "A message of single orders is sent to nobody, and REST has orders that the stream tells of later.",
        "The seed waits for the stream, and nothing of it is told twice.",
        orders=OnOrders(scripts.seed_ahead, _is_seeded),
    ),
    Scenario(
        "orders-numbered-anew",
        "The numbers of single orders begin anew.",
        "The book leaves sync, once, and begins anew with all orders.",
        orders=OnOrders(scripts.numbered_anew, _counts),
    ),
    Scenario(
        "orders-doubled",
        "Every message of single orders comes twice, and old ones come again.",
        "No order is created, filled or removed twice.",
        orders=OnOrders(scripts.doubled, _is_numbered),
    ),
    Scenario(
        "orders-swapped",
        "Messages of single orders come after those that follow them.",
        "They are put in order, and the book never leaves sync.",
        orders=OnOrders(scripts.swapped, _is_numbered),
    ),
    Scenario(
        "orders-doubled-unnumbered",
        "Messages of single orders, which have checksums and no numbers, come twice, and old ones come again.",
        "The book is right or out of sync, and begins anew.",
        orders=OnOrders(scripts.doubled_unnumbered, _checks_every_message),
    ),
    Scenario(
        "orders-swapped-unnumbered",
        "Messages of single orders, which have checksums and no numbers, come after those that follow them.",
        "The book is right or out of sync, and begins anew.",
        orders=OnOrders(scripts.swapped_unnumbered, _checks_every_message),
    ),
    Scenario(
        "orders-old-token",
        "A lost message ends the book when the token that was shown is worth nothing any more.",
        "Another token is asked for, and the book begins anew; nothing counts as refused.",
        orders=OnOrders(scripts.old_token, _wants_a_token),
    ),
    Scenario(
        "orders-best-prices",
        "The exchange shows the orders of the best prices alone, and does not say which fall out of view.",
        "What is in view is known, order by order, and nothing else; what comes back has the age that it has.",
        orders=OnOrders(scripts.windowed, _shows_best_prices),
    ),
    Scenario(
        "orders-window",
        "The exchange shows the best orders alone: they fall out of view and come back.",
        "Every order in view is in its place by its id; one that came back is not taken for new.",
        orders=OnOrders(scripts.windowed, _shows_a_window, {"orders_depth": 25}),
    ),
    Scenario(
        "orders-checksum",
        "The checksums of single orders are wrong for a moment.",
        "The book leaves sync for it, once, and the whole of it is asked for.",
        orders=OnOrders(scripts.wrong_checksum, _sends_checksums),
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
