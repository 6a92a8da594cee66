"""When a level-3 book is right: chains, seeds, checksums, phantoms and bounds; and a book that goes on from bytes."""

from __future__ import annotations

import random
import zlib

import pytest

from workers.errors import StateUnreadable
from workers.model.level3 import sync as sync_module
from workers.model.level3.book import Place
from workers.model.level3.checkpoint import decode_orders, encode_orders
from workers.model.level3.events import OrderChange, OrderMessage, OrderSeed
from workers.model.level3.rules import Beginning, Continuity, OrderRules, Unknown
from workers.model.level3.sync import OrderOutcome, OrderSync

CHAIN = OrderRules(
    Continuity.CHAIN, Beginning.REST, moves=False, keeps_place=True, unknown=Unknown.DOUBT, phantoms=True
)
SEQUENCE = OrderRules(Continuity.SEQUENCE, Beginning.REST, unknown=Unknown.NORMAL)
WINDOW = OrderRules(Continuity.ELSEWHERE, Beginning.IN_BAND, window=3)


def add(order_id: str, side: str = "bid", price: str = "10", quantity: str = "1", **more) -> OrderChange:
    return OrderChange("add", order_id, side, price, quantity, **more)


def chained(
    number: int, *changes: OrderChange, step_us: int = 1, previous: int | None = None
) -> OrderMessage:
    before = number - 1 if previous is None else previous
    return OrderMessage(
        number * step_us, list(changes), f"{number:06d}", f"{before:06d}", position=number * step_us
    )


def numbered(number: int, *changes: OrderChange) -> OrderMessage:
    return OrderMessage(number, list(changes), position=number)


def synced(rules: OrderRules = CHAIN, *seed: OrderChange) -> OrderSync:
    sync = OrderSync("S", rules)
    message = chained if rules.continuity is Continuity.CHAIN else numbered
    assert sync.on_message(message(1)) is OrderOutcome.BUFFERED
    assert sync.needs_seed
    assert sync.on_seed(OrderSeed(1, list(seed))) is OrderOutcome.APPLIED
    assert sync.synced
    return sync


@pytest.mark.parametrize("rules", [CHAIN, SEQUENCE])
def test_a_missing_message_costs_the_whole_book(rules: OrderRules):
    sync = synced(rules, add("a"))
    message = chained if rules is CHAIN else numbered
    assert sync.on_message(message(2, add("b"))) is OrderOutcome.APPLIED
    assert sync.on_message(message(2, add("b"))) is OrderOutcome.REPEATED
    assert len(sync.book) == 2
    assert sync.on_message(message(4, add("c"))) is OrderOutcome.LOST
    assert (sync.synced, len(sync.book), sync.reason) == (False, 0, "a message is missing")
    assert sync.counts == {"syncs": 1, "repeated": 1, "lost": 1}


@pytest.mark.parametrize("rules", [CHAIN, SEQUENCE])
def test_a_seed_is_joined_where_it_stands(rules: OrderRules):
    message = chained if rules is CHAIN else numbered
    sync = OrderSync("S", rules)
    for number in (5, 6, 7, 8):
        assert sync.on_message(message(number, add(f"n{number}"))) is OrderOutcome.BUFFERED
    assert sync.on_seed(OrderSeed(3, [])) is OrderOutcome.TOO_OLD
    assert sync.needs_seed
    assert sync.on_seed(OrderSeed(6, [add("n5"), add("n6")])) is OrderOutcome.APPLIED
    assert [order.order_id for order in sync.book.best("bid") or ()] == ["n5", "n6", "n7", "n8"]
    assert [order.seen for order in sync.book.best("bid") or ()] == [False, False, True, True]
    assert sync.on_message(message(9)) is OrderOutcome.APPLIED


@pytest.mark.parametrize("rules", [CHAIN, SEQUENCE])
def test_a_seed_that_has_all_that_came_is_of_the_time_of_the_last_message_in_it(rules: OrderRules):
    """Also where another book stood before: its time is not this one's, nor is a copy of that message a new one."""
    sync = OrderSync("S", rules)
    for time_us in (7_000_000, 9_000_000):
        message = OrderMessage(time_us, [], f"{time_us}", f"{time_us - 1}", position=time_us)
        assert sync.on_message(message) is OrderOutcome.BUFFERED
        assert sync.on_seed(OrderSeed(time_us, [add("a")])) is OrderOutcome.APPLIED
        assert sync.last_us == time_us
        assert sync.on_message(message) is OrderOutcome.REPEATED
        sync.lose("a socket ended")


def test_a_seed_ahead_of_the_stream_waits_for_it():
    sync = OrderSync("S", SEQUENCE)
    sync.on_message(numbered(5, add("n5")))
    assert sync.on_seed(OrderSeed(7, [add("n5"), add("n7")])) is OrderOutcome.TOO_NEW
    assert not sync.needs_seed
    assert sync.on_message(numbered(6)) is OrderOutcome.BUFFERED
    assert sync.on_message(numbered(7, add("n7"))) is OrderOutcome.APPLIED
    assert sync.on_message(numbered(8, OrderChange("remove", "n7", "bid"))) is OrderOutcome.APPLIED
    assert len(sync.book) == 1


def test_a_seed_that_the_stream_does_not_reach_is_asked_for_again():
    """The numbers may have begun anew, while REST still told the old ones."""
    sync = OrderSync("S", SEQUENCE)
    sync.on_message(numbered(5, add("n5")))
    assert sync.on_seed(OrderSeed(10**9, [])) is OrderOutcome.TOO_NEW
    sync.on_message(OrderMessage(9_000_000, [], position=6))
    assert not sync.needs_seed
    sync.on_message(OrderMessage(10_000_006, [], position=7))
    assert sync.needs_seed
    assert sync.on_seed(OrderSeed(7, [add("n5")])) is OrderOutcome.APPLIED


def test_a_hole_before_the_seed_begins_the_buffer_anew():
    sync = OrderSync("S", SEQUENCE)
    sync.on_message(numbered(5))
    sync.on_message(numbered(7))
    assert sync.on_seed(OrderSeed(5, [])) is OrderOutcome.TOO_OLD
    assert sync.on_seed(OrderSeed(6, [])) is OrderOutcome.APPLIED


def test_without_a_seed_nothing_is_complete():
    sync = OrderSync("S", CHAIN._replace(beginning=Beginning.EMPTY))
    assert sync.on_message(chained(1, add("a"))) is OrderOutcome.APPLIED
    assert sync.book.place("a") == Place(0, "0", exact=False)
    assert not sync.needs_seed


def test_an_unknown_order_makes_its_level_doubtful_or_means_loss():
    sync = synced(CHAIN, add("a"))
    sync.on_message(chained(2, OrderChange("remove", "x", "bid", "10")))
    assert sync.synced
    assert sync.counts["unknown"] == 1
    assert sync.book.place("a") == Place(0, "0", exact=False)
    assert synced(SEQUENCE).on_message(numbered(2, OrderChange("remove", "x", "bid"))) is OrderOutcome.APPLIED
    fill = OrderChange("fill", "x", "bid", "10", "1")
    assert synced(SEQUENCE).on_message(numbered(2, fill)) is OrderOutcome.LOST
    loss = synced(SEQUENCE._replace(unknown=Unknown.LOSS))
    assert loss.on_message(numbered(2, OrderChange("remove", "x", "bid"))) is OrderOutcome.LOST


def test_an_order_that_the_seed_had_early_is_replaced_by_the_one_that_was_seen():
    sync = synced(CHAIN, add("a"), add("b"))
    sync.on_message(chained(2, add("a", time_us=2)))
    assert sync.counts["replaced"] == 1
    assert [order.order_id for order in sync.book.best("bid") or ()] == ["b", "a"]
    assert sync.on_message(chained(3, add("a"))) is OrderOutcome.LOST


def test_a_price_in_a_change_moves_an_order_only_where_it_is_its_own():
    change = OrderChange("set", "a", "bid", "9", "0.5")
    assert synced(CHAIN, add("a")).on_message(chained(2, change)) is OrderOutcome.APPLIED
    sync = synced(CHAIN, add("a"))
    sync.on_message(chained(2, change))
    assert sync.book.level2()[0] == [("10", "0.5")]
    sync = synced(SEQUENCE, add("a"))
    sync.on_message(numbered(2, change))
    assert sync.book.level2()[0] == [("9", "0.5")]


def run_crossed(sync: OrderSync, *, events: int, step_us: int) -> OrderOutcome:
    """Messages that change nothing near the market, while the book is crossed."""
    outcome = OrderOutcome.APPLIED
    for number in range(2, 2 + events):
        changes = [add("seen", "bid", "12")] if number == 2 else []
        outcome = sync.on_message(
            OrderMessage(number * step_us, changes, f"{number:06d}", f"{number - 1:06d}", position=number)
        )
    return outcome


def test_phantoms_of_a_seed_go_once_a_crossing_lasts():
    seed = [add("phantom", "ask", "11"), add("true", "ask", "13")]
    sync = synced(CHAIN, *seed)
    assert run_crossed(sync, events=10, step_us=1_000_000) is OrderOutcome.APPLIED
    assert sync.book.crossed
    assert not sync.trusted
    assert sync.on_message(chained(12, step_us=1_000_000)) is OrderOutcome.APPLIED
    assert sync.trusted
    assert sync.counts["purged_crossing"] == 1
    assert sync.book.level2() == ([("12", "1")], [("13", "1")])
    sync = synced(CHAIN, *seed)
    run_crossed(sync, events=100, step_us=10)
    assert sync.book.crossed, "many messages in a moment are no lasting crossing"


def test_a_clock_that_is_set_back_lets_no_crossing_last_longer():
    sync = synced(CHAIN, add("phantom", "ask", "11"))
    times = [3_600_000_000, *(second * 1_000_000 for second in range(1, 11))]
    for number, time_us in enumerate(times, 2):
        changes = [add("seen", "bid", "12")] if number == 2 else []
        sync.on_message(OrderMessage(time_us, changes, f"{number:06d}", f"{number - 1:06d}", position=number))
    assert sync.trusted
    assert sync.counts["purged_crossing"] == 1


def test_of_two_seeded_levels_that_cross_neither_is_believed():
    sync = synced(CHAIN, add("p", "ask", "11"), add("q", "bid", "12"), add("r", "bid", "10"))
    for number in range(2, 20):
        sync.on_message(chained(number, step_us=1_000_000, previous=number - 1))
    assert sync.counts["purged_crossing"] == 2
    assert sync.book.level2() == ([("10", "1")], [])


def test_a_seeded_order_beside_one_that_was_seen_stands():
    sync = synced(CHAIN, add("p", "ask", "11"), add("q", "bid", "12"))
    run_crossed(sync, events=11, step_us=1_000_000)
    assert sync.book.level2() == ([("12", "2")], [])


def test_orders_that_were_seen_are_never_purged():
    sync = synced(CHAIN)
    sync.on_message(chained(2, add("ask", "ask", "11"), step_us=1_000_000))
    outcomes = [sync.on_message(chained(3, add("bid", "bid", "12"), step_us=1_000_000))]
    outcomes += [sync.on_message(chained(number, step_us=1_000_000)) for number in range(4, 14)]
    assert outcomes == [OrderOutcome.APPLIED] * 10 + [OrderOutcome.LOST]
    assert sync.reason == "crossed"


def test_seeded_orders_in_front_of_the_level_2_top_are_purged_and_else_the_book_is_lost():
    sync = synced(CHAIN, add("phantom", "ask", "11"), add("a", "ask", "12"), add("b", "bid", "10"))
    assert sync.on_level2_top(("10", "1.0"), ("11", "1"), 0)
    seen = [sync.on_level2_top(("10", "1"), ("12", "1"), second * 1_000_000) for second in range(1, 13)]
    assert seen == [False] * 10 + [True] * 2
    assert sync.counts["purged_level2"] == 1
    assert sync.counts["level2_differed"] == 11
    for second in range(20, 32):
        sync.on_level2_top(("10", "7"), ("12", "1"), second * 1_000_000)
    assert (sync.synced, sync.reason) == (False, "level 2 has another top")


def test_a_bound_that_breaks_the_book_takes_it_out_of_sync(monkeypatch: pytest.MonkeyPatch):
    sync = OrderSync("S", CHAIN._replace(beginning=Beginning.EMPTY), max_orders=2)
    sync.on_message(chained(1, add("a"), add("b")))
    assert sync.on_message(chained(2, add("c"))) is OrderOutcome.LOST
    assert (len(sync.book), sync.reason) == (0, "more orders than the bound allows")
    monkeypatch.setattr(sync_module, "MOST_BUFFERED", 2)
    sync = OrderSync("S", SEQUENCE)
    for number in (1, 2, 3):
        sync.on_message(numbered(number))
    assert sync.on_seed(OrderSeed(1, [])) is OrderOutcome.TOO_OLD
    assert sync.on_seed(OrderSeed(2, [])) is OrderOutcome.APPLIED


def test_what_is_no_number_costs_the_book():
    sync = synced(CHAIN, add("a"))
    assert sync.on_message(chained(2, add("b", price="1e5"))) is OrderOutcome.LOST
    assert sync.reason.startswith("bad number")
    for price in ("x", "nan", "1e5"):
        sync = synced(SEQUENCE, add("a"))
        assert sync.on_message(numbered(2, OrderChange("set", "a", "bid", price, "1"))) is OrderOutcome.LOST


def test_what_a_reason_says_of_one_case_is_behind_a_colon():
    """So that the reasons can be counted."""
    fill = OrderChange("fill", "a", "bid", "10", "2")
    for change in (fill, add("b", quantity="0"), add("b", price="x")):
        sync = synced(SEQUENCE, add("a"))
        sync.on_message(numbered(2, change))
        assert sync.reason.partition(":")[0] in ("bad order", "bad number")


def test_an_order_cannot_be_on_both_sides_nor_twice_in_a_snapshot():
    def put(order_id: str, side: str, price: str) -> OrderChange:
        return OrderChange("put", order_id, side, price, "1", int(order_id))

    sync = OrderSync("S", WINDOW)
    assert sync.on_message(OrderMessage(0, [put("1", "bid", "10"), put("2", "ask", "12")], whole=True)).value
    for price in ("10", "11"):
        restored, _ = decode_orders(encode_orders(sync, "1-0"), WINDOW)
        assert restored.on_message(OrderMessage(1, [put("1", "ask", price)])) is OrderOutcome.LOST
    for second in (put("1", "bid", "10"), put("1", "bid", "9"), put("1", "ask", "11")):
        twice = OrderMessage(2, [put("1", "bid", "10"), second], whole=True)
        assert OrderSync("S", WINDOW).on_message(twice) is OrderOutcome.LOST
    other = OrderChange("set", "a", "ask", "9", "0.5")
    assert synced(SEQUENCE, add("a")).on_message(numbered(2, other)) is OrderOutcome.LOST
    sync = synced(CHAIN, add("a"))
    assert sync.on_message(chained(2, other)) is OrderOutcome.APPLIED, "found by its id alone"
    assert sync.book.level2() == ([("10", "0.5")], [])


def test_a_checksum_that_does_not_hold_costs_the_book():
    rules = OrderRules(Continuity.ELSEWHERE, Beginning.IN_BAND, checksum=len, levels=2)
    sync = OrderSync("S", rules)
    assert sync.on_message(OrderMessage(0, [add("a")])) is OrderOutcome.IGNORED
    whole = [add("a", price="3"), add("b", price="2"), add("c", price="1")]
    assert sync.on_message(OrderMessage(0, whole, whole=True, checksum=2)) is OrderOutcome.APPLIED
    assert sync.on_message(OrderMessage(0, [], checksum=3)) is OrderOutcome.LOST
    assert sync.reason == "checksum"


def test_an_order_that_comes_back_into_a_window_is_not_new_and_gets_its_old_place():
    sync = OrderSync("S", WINDOW)

    def put(number: int, price: str = "10") -> OrderChange:
        return OrderChange("put", str(number), "bid", price, "1", number, 50)

    sync.on_message(OrderMessage(0, [put(3), put(7)], whole=True))
    sync.on_message(OrderMessage(1, [put(5)]))
    sync.on_message(OrderMessage(2, [put(9)]))
    assert [order.order_id for order in sync.book.best("bid") or ()] == ["3", "5", "7", "9"]
    assert [sync.book.age_us(order, 60) for order in ("3", "5", "7", "9")] == [None, None, None, 10]
    sync.on_message(OrderMessage(3, [put(3, "9"), put(9, "9")]))
    sync.on_message(OrderMessage(4, [put(5, "9")]))
    assert [order.order_id for queue in sync.book.levels("bid") for order in queue] == ["7", "3", "9", "5"]
    assert sync.on_message(OrderMessage(5, [OrderChange("remove", "1", "bid")])) is OrderOutcome.LOST


def random_message(rng: random.Random, number: int) -> OrderMessage:
    order_id = f"o{rng.randrange(40)}"
    kind = rng.choice(["add", "set", "remove", "remove"])
    side = rng.choice(["bid", "ask"])
    price = str(rng.randint(80, 99) if side == "bid" else rng.randint(101, 120))
    return numbered(
        number, OrderChange(kind, order_id, side, "" if kind == "set" else price, str(rng.randint(1, 9)))
    )


def test_a_book_goes_on_from_bytes_as_if_nothing_had_been():
    rng = random.Random(7)
    rules = SEQUENCE._replace(unknown=Unknown.DOUBT)
    sync = synced(rules, *(add(f"s{n}", quantity="2.50", time_us=n) for n in range(5)))
    number = 1
    for _ in range(20):
        for _ in range(30):
            number += 1
            message = random_message(rng, number)
            if message.changes[0].kind == "add" and sync.book.order(message.changes[0].order_id):
                message.changes.clear()
            assert sync.on_message(message) is OrderOutcome.APPLIED
        data = encode_orders(sync, f"{number}-0")
        restored, stream_id = decode_orders(data, rules)
        restored.book.check()
        assert stream_id == f"{number}-0"
        assert encode_orders(restored, stream_id) == data
        assert restored.book.level2() == sync.book.level2()
        sync = restored
    assert sync.counts["unknown"] > 50


def test_what_is_remembered_beside_the_orders_goes_on_too():
    window = OrderSync("S", WINDOW)
    window.on_message(OrderMessage(0, [OrderChange("put", "7", "bid", "10", "1", 7, 50)], whole=True))
    window.on_message(OrderMessage(1, [OrderChange("remove", "7", "bid")]))
    restored, _ = decode_orders(encode_orders(window, "1-0"), WINDOW)
    restored.on_message(OrderMessage(2, [OrderChange("put", "7", "bid", "10", "1", 7, 50)]))
    assert restored.book.age_us("7", 60) is None
    crossed = synced(CHAIN, add("phantom", "ask", "11"))
    run_crossed(crossed, events=10, step_us=1_000_000)
    restored, _ = decode_orders(encode_orders(crossed, "1-0"), CHAIN)
    restored.on_message(chained(12, step_us=1_000_000))
    assert restored.trusted


def test_a_damaged_state_is_not_read():
    data = encode_orders(synced(CHAIN, add("a")), "1-0")
    huge = zlib.compress(b"\xc1")
    for broken in (
        b"",
        data[:-1],
        b"MFBK" + data[4:],
        data[:4] + b"\x09" + data[5:],
        data[:12] + bytes([data[12] ^ 1]) + data[13:],
        data[:5] + zlib.crc32(huge).to_bytes(4, "big") + huge,
    ):
        with pytest.raises(StateUnreadable):
            decode_orders(broken, CHAIN)
    many = encode_orders(synced(CHAIN, add("a"), add("b")), "1-0")
    with pytest.raises(StateUnreadable, match="more orders than the bound"):
        decode_orders(many, CHAIN, max_orders=1)
