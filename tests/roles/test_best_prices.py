"""Best prices of single orders against those of levels, whose stream is up to a second apart."""

from __future__ import annotations

from workers.model.level3.events import OrderChange, OrderMessage
from workers.model.level3.sync import OrderSync
from workers.orders.best_prices import BestPrices
from workers.venues.bitstamp.orders import LIVE

SECOND = 1_000_000
BID, ASK = ("90", "1"), ("110", "1")


def moved(*bids: tuple[int, str]) -> BestPrices:
    """A book whose best bid becomes each of these prices at a time, s; its ask stays."""
    sync, best = OrderSync("S", LIVE), BestPrices()
    sync.on_message(OrderMessage(0, [OrderChange("add", "a", "ask", "110", "1")], "0", "", 0))
    for number, (at_s, price) in enumerate(bids, 1):
        changes = [
            OrderChange("remove", str(number - 1), "bid"),
            OrderChange("add", str(number), "bid", price, "1"),
        ]
        sync.on_message(OrderMessage(at_s * SECOND, changes, str(number), str(number - 1), number))
        best.note(sync)
    return best


def test_a_price_counts_that_the_book_had_within_a_second():
    best = moved((1, "90"), (10, "91"), (11, "92"))
    for at_s, price, wanted in ((10, "90.0", True), (10, "91", True), (10, "92", True), (10, "93", False)):
        assert best.had(((price, "1"), ASK), at_s * SECOND, 12 * SECOND) is wanted
    assert best.had((BID, ("109", "1")), 10 * SECOND, 12 * SECOND) is False
    assert best.had((None, ASK), 10 * SECOND, 12 * SECOND) is False


def test_what_is_told_waits_until_the_orders_are_past_it():
    best = moved((1, "90"), (10, "91"))
    best.told((("91", "1"), ASK), 10 * SECOND)
    best.told((("95", "1"), ASK), 10 * SECOND + 1)
    assert best.compared(10 * SECOND) == []
    assert best.compared(11 * SECOND) == [((("91", "1"), ASK), True)]
    assert best.compared(12 * SECOND) == [((("95", "1"), ASK), False)]
    best.told((BID, ASK), 11 * SECOND)
    best.forget()
    assert best.compared(13 * SECOND) == []


def test_what_was_before_the_book_began_cannot_be_told():
    best = moved((10, "91"), (11, "92"))
    assert best.had((BID, ASK), 9 * SECOND, 11 * SECOND) is None
    assert best.had((BID, ASK), 10 * SECOND, 11 * SECOND) is None  # the streams are apart by up to a second
    assert best.had((BID, ASK), 11 * SECOND, 12 * SECOND) is False
    seeded = moved((0, "90"), (10, "91"))  # by a seed that has no time
    assert seeded.had((("89", "1"), ASK), 9 * SECOND, 11 * SECOND) is None
