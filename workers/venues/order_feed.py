"""How a venue tells its single orders, for whoever files, folds or seeds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from workers.model.level3.events import OrderMessage, OrderSeed
from workers.model.level3.rules import OrderRules
from workers.venues.requests import RestRequest


class OrderFeed(NamedTuple):
    """The stream of orders of a venue whose settings ask for it.

    rules: how its messages make a book.
    by_id: the exchange's own ids order its messages, so that two lines can be merged; else the log numbers what one
        line writes.
    message: decodes an entry of the log; None: it says nothing of orders. Raises: MalformedFrame.
    seed_request: asks REST for all orders of a symbol; None: the stream brings them.
    seed: decodes the reply. Raises: MalformedFrame.
    by_token: the stream is for those who show a token, which does not last.
    """

    rules: OrderRules
    by_id: bool
    message: Callable[[bytes], OrderMessage | None]
    seed_request: Callable[[str], RestRequest] | None = None
    seed: Callable[[bytes], OrderSeed] | None = None
    by_token: bool = False
