"""A sync of single orders against a naive twin: whatever is lost, doubled or swapped, no wrong book is in sync."""

from __future__ import annotations

import copy
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.model.level3.events import OrderChange, OrderMessage, OrderSeed
from workers.model.level3.rules import Beginning, Continuity, OrderRules, Unknown
from workers.model.level3.sync import OrderSync

CHAIN = OrderRules(Continuity.CHAIN, Beginning.REST, moves=False, keeps_place=True, unknown=Unknown.DOUBT)
EMPTY = CHAIN._replace(beginning=Beginning.EMPTY)
SEQUENCE = OrderRules(Continuity.SEQUENCE, Beginning.REST, unknown=Unknown.NORMAL)


class Naive(NamedTuple):
    """An order of the twin: a list of these, in the order of their coming, is the whole book."""

    order_id: str
    side: str
    price: int
    quantity: int


class Step(NamedTuple):
    """What happens: an order comes, shrinks or goes (`pick` says which of those there are)."""

    kind: str
    pick: int
    quantity: int
    fate: str
    """What becomes of the message: `sent`, `lost`, `doubled`, `swapped` (it comes after the next one), `old` (an
    earlier one comes after it)."""


steps = st.lists(
    st.builds(
        Step,
        st.sampled_from(["add", "add", "shrink", "remove"]),
        st.integers(0, 30),
        st.integers(1, 9),
        st.sampled_from(["sent"] * 12 + ["lost", "doubled", "swapped", "old"]),
    ),
    max_size=60,
)


def played(script: list[Step]) -> tuple[list[OrderMessage], list[list[Naive]]]:
    """The messages in the order of the exchange, and the twin after each; the first twin is of before all."""
    book: list[Naive] = [Naive("b0", "bid", 90, 5), Naive("a0", "ask", 110, 5)]
    messages, states = [], [copy.copy(book)]
    for number, step in enumerate(script, 1):
        if step.kind == "add" or not book:
            side = "bid" if step.pick % 2 else "ask"
            price = (91 if side == "bid" else 106) + step.pick % 4
            order = Naive(f"o{number}", side, price, step.quantity)
            book.append(order)
            change = OrderChange("add", order.order_id, order.side, str(price), str(step.quantity))  # type: ignore[arg-type]
        else:
            at = step.pick % len(book)
            order = book[at]
            left = order.quantity - step.quantity if step.kind == "shrink" else 0
            if left > 0:
                book[at] = order._replace(quantity=left)
                change = OrderChange("set", order.order_id, order.side, str(order.price), str(left))  # type: ignore[arg-type]
            else:
                del book[at]
                change = OrderChange("remove", order.order_id, order.side, str(order.price))  # type: ignore[arg-type]
        messages.append(
            OrderMessage(
                number, [change], f"{number:06}", f"{number - 1:06}" if number else "", position=number
            )
        )
        states.append(copy.copy(book))
    return messages, states


def delivered(messages: list[OrderMessage], script: list[Step]) -> list[OrderMessage]:
    """What arrives, in the order in which it does."""
    arriving: list[OrderMessage] = []
    late: list[OrderMessage] = []
    for message, step in zip(messages, script, strict=True):
        if step.fate == "lost":
            continue
        if step.fate == "swapped":
            late.append(message)
            continue
        arriving.append(message)
        if step.fate == "doubled":
            arriving.append(message)
        if step.fate == "old" and len(arriving) > 2:
            arriving.append(arriving[step.pick % (len(arriving) - 1)])
        arriving += late
        late.clear()
    return arriving + late


def held(sync: OrderSync) -> list[Naive]:
    return [
        Naive(order.order_id, side, int(queue.price), int(order.quantity))
        for side in ("bid", "ask")
        for queue in sync.book.levels(side)  # type: ignore[arg-type]
        for order in queue
    ]


def in_queues(book: list[Naive]) -> list[Naive]:
    """The twin as a book has it: best price first, and each price in the order of coming."""
    bids = sorted((order for order in book if order.side == "bid"), key=lambda order: -order.price)
    asks = sorted((order for order in book if order.side == "ask"), key=lambda order: order.price)
    return bids + asks


@pytest.mark.parametrize("rules", [CHAIN, SEQUENCE, EMPTY], ids=["chain", "sequence", "empty"])
@settings(max_examples=150, deadline=None)
@given(script=steps, seed_age=st.integers(0, 3))
def test_no_wrong_book_is_shown_in_sync(rules: OrderRules, script: list[Step], seed_age: int) -> None:
    messages, states = played(script)
    sync, newest = OrderSync("S", rules), 0
    for message in delivered(messages, script):
        sync.on_message(message)
        newest = max(newest, message.position)
        if sync.needs_seed:
            position = max(0, newest - seed_age)
            rows = [
                OrderChange("add", order.order_id, order.side, str(order.price), str(order.quantity))  # type: ignore[arg-type]
                for order in in_queues(states[position])
            ]
            sync.on_seed(OrderSeed(position, rows))
        sync.book.check()
        if not sync.synced:
            assert held(sync) == []
            continue
        truth = in_queues(states[sync.last_position])
        if sync.book.whole:
            assert held(sync) == truth
        else:  # it began with nothing: what it has is right, and it says that it has not all
            known = {order.order_id for order in held(sync)}
            assert held(sync) == [order for order in truth if order.order_id in known]
            assert not any(level.complete for side in sync.book.top(100) for level in side)
    if all(step.fate in ("sent", "doubled", "old") for step in script):
        assert sync.counts["lost"] == 0, "a message that comes again costs nothing"
