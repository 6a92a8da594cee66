"""A line's own sequence check, against a naive statement of what must come out."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from workers.ingest.chain import MOST_HELD, StreamChain
from workers.model.trades.numbering import MOST_JUMP
from workers.store.keys import TRADES
from workers.venues.messages import Message

RESET_MS = 10_000


def spot(first: int, last: int, ms: int = 1000) -> Message:
    return Message("depth", "S", b"{}", ms, first, last, -1)


def futures(previous: int, first: int, last: int, ms: int = 1000) -> Message:
    return Message("depth", "S", b"{}", ms, first, last, previous)


def ids(messages: list[Message]) -> list[int]:
    return [message.update_id for message in messages]


def test_in_order_everything_passes_at_once() -> None:
    chain = StreamChain()
    assert ids(chain.accept(spot(5, 9), 0, RESET_MS)) == [9]
    assert ids(chain.accept(spot(10, 10), 0, RESET_MS)) == [10]
    assert ids(chain.accept(futures(10, 50, 60), 0, RESET_MS)) == [60]
    assert (chain.breaks, chain.repeats) == (0, 0)


def test_a_line_that_joins_waits_before_its_first_message_for_what_the_slower_line_still_brings() -> None:
    chain = StreamChain(joining=True)
    assert chain.accept(spot(5, 5), 100, RESET_MS) == []
    assert chain.accept(spot(6, 6), 110, RESET_MS) == []
    chain.check()
    assert not chain.overdue(139, 40)
    assert chain.overdue(140, 40)
    assert ids(chain.release()) == [5, 6]
    assert ids(chain.accept(spot(7, 7), 150, RESET_MS)) == [7]
    assert (chain.breaks, chain.repeats) == (0, 0)


def test_repeats_are_dropped_and_overlaps_pass() -> None:
    chain = StreamChain()
    chain.accept(spot(5, 9), 0, RESET_MS)
    assert chain.accept(spot(5, 9), 0, RESET_MS) == []
    assert chain.accept(spot(1, 3), 0, RESET_MS) == []
    assert ids(chain.accept(spot(8, 12), 0, RESET_MS)) == [12]
    assert chain.repeats == 2


def test_tickers_skip_ids_and_are_never_held() -> None:
    chain = StreamChain()
    tickers = [Message("bookTicker", "S", b"{}", 1000, u, u, 0) for u in (5, 90, 91, 90, 400)]
    assert [ids(chain.accept(one, 0, RESET_MS)) for one in tickers] == [[5], [90], [91], [], [400]]
    assert (chain.breaks, chain.repeats) == (0, 1)


def test_what_follows_a_break_waits_and_the_missing_one_releases_it() -> None:
    chain = StreamChain()
    chain.accept(spot(1, 1), 0, RESET_MS)
    assert chain.accept(spot(3, 3), 100, RESET_MS) == []
    assert chain.accept(spot(4, 4), 110, RESET_MS) == []
    assert not chain.overdue(130, 40)
    chain.check()
    assert ids(chain.accept(spot(2, 2), 135, RESET_MS)) == [2, 3, 4]
    assert not chain.holding
    assert chain.breaks == 1


def test_after_the_grace_what_was_held_passes_in_order() -> None:
    chain = StreamChain()
    chain.accept(futures(0, 1, 1), 0, RESET_MS)
    chain.accept(futures(7, 8, 9), 100, RESET_MS)
    chain.accept(futures(3, 5, 7), 120, RESET_MS)
    assert chain.overdue(140, 40)
    assert ids(chain.release()) == [7, 9]
    assert ids(chain.accept(futures(9, 10, 11), 150, RESET_MS)) == [11]


def test_each_break_has_a_grace_of_its_own() -> None:
    chain = StreamChain()
    chain.accept(spot(1, 1), 0, RESET_MS)
    for update_id, now in ((3, 100), (4, 110), (6, 130), (8, 139), (9, 140)):
        assert chain.accept(spot(update_id, update_id), now, RESET_MS) == []
    assert chain.overdue(140, 40)
    assert ids(chain.release(100)) == [3, 4], "5 and 7 may still come by the other line"
    chain.check()
    assert not chain.overdue(169, 40)
    assert chain.overdue(170, 40)
    assert ids(chain.release(130)) == [6]
    assert ids(chain.release(139)) == [8, 9]
    assert not chain.holding


@given(
    st.integers(1, 60),
    st.data(),
)
def test_what_one_line_loses_and_the_other_brings_within_the_grace_is_never_a_gap(
    count: int, data: st.DataObject
) -> None:
    """Two lines into one log that takes rising ids only, as `append.lua` does; one loses what the other brings late."""
    hold_ms = 40
    lost = data.draw(st.sets(st.integers(2, count + 1)))
    late_ms = data.draw(st.integers(0, hold_ms - 1))
    arrivals = [(10 * number, "quick", number) for number in range(1, count + 1) if number not in lost]
    arrivals += [(10 * number + late_ms, "late", number) for number in range(1, count + 1)]
    due = {when: [one for one in arrivals if one[0] == when] for when, _, _ in arrivals}
    chains, log = {"quick": StreamChain(), "late": StreamChain()}, [0]
    for now in range(10 * count + 3 * hold_ms):
        for _, line, number in due.get(now, []):
            for passed in ids(chains[line].accept(spot(number, number), now, RESET_MS)):
                if passed > log[-1]:
                    log.append(passed)
        for chain in chains.values():
            chain.check()
            if chain.overdue(now, hold_ms):
                log += [passed for passed in ids(chain.release(now - hold_ms)) if passed > log[-1]]
    assert log == list(range(count + 1))


@given(st.integers(1, 60), st.data())
def test_what_each_line_loses_in_turn_and_the_other_brings_is_no_gap_however_late_they_give_up(
    count: int, data: st.DataObject
) -> None:
    """Each event is lost on one line at the most. A line that looks late at what it holds must not shut out the other:
    both take from the log what the other supplied, long before their grace is over."""
    hold_ms = 400
    lost_by = data.draw(st.lists(st.sampled_from(["", "a", "b"]), min_size=count, max_size=count))
    looks_ms = {"a": data.draw(st.integers(1, 200)), "b": data.draw(st.integers(1, 200))}
    chains, log = {"a": StreamChain(), "b": StreamChain()}, [0]

    def appended(messages: list[Message]) -> None:
        log.extend(update_id for update_id in ids(messages) if update_id > log[-1])

    for chain in chains.values():
        chain.accept(spot(0, 0), 0, RESET_MS)
    for now in range(10 * count + 3 * hold_ms):
        number = now // 10 + 1
        for line, chain in chains.items():
            if now % 10 == 0 and number <= count and lost_by[number - 1] != line:
                appended(chain.accept(spot(number, number), now, RESET_MS))
            appended(chain.supplied(log[-1], 1000, RESET_MS))
            chain.check()
            if now % looks_ms[line] == 0 and chain.overdue(now, hold_ms):
                appended(chain.release(now - hold_ms))
    assert log == list(range(count + 1))


steps = st.tuples(
    st.sampled_from(["depth", TRADES]),
    st.integers(-3, 4) | st.sampled_from([MOST_JUMP, MOST_JUMP + 1, MOST_JUMP + 2]),
    st.integers(0, 2),
    st.sampled_from([-1, -2, 0, 1, 2]),
    st.sampled_from([0, 1, RESET_MS]),
)
"""Channel, id relative to the last one, width, `pu` relative to the last id (-1: none), ms later."""


@given(st.booleans(), st.lists(steps, max_size=40))
@example(
    False, [("depth", 0, 0, -1, 0), ("depth", 3, 0, -1, 0), ("depth", 10**6, 0, 1, 0), ("depth", 1, 0, -1, 0)]
)
def test_what_goes_on_is_taken_in_as_if_it_had_been_judged(
    joining: bool, messages: list[tuple[str, int, int, int, int]]
) -> None:
    short, judged = StreamChain(joining=joining), StreamChain(joining=joining)
    ms = 1000
    for channel, step, width, before, later_ms in messages:
        last_id, ms = max(judged.last_id, 10), ms + later_ms
        previous_id = -1 if before == -1 else last_id + before
        message = Message(channel, "S", b"{}", ms, last_id + step - width, last_id + step, previous_id)
        passed = [message] if short.goes_on(message) else short.accept(message, ms, RESET_MS)
        assert passed == judged.accept(message, ms, RESET_MS)
        short.check()
        for name in StreamChain.__slots__:
            assert getattr(short, name) == getattr(judged, name)


def test_what_the_log_has_frees_what_was_held_for_want_of_it() -> None:
    chain = StreamChain()
    chain.accept(spot(1, 1), 0, RESET_MS)
    for update_id in (3, 4, 6):
        chain.accept(spot(update_id, update_id), 100, RESET_MS)
    assert chain.supplied(1, 1000, RESET_MS) == []
    assert ids(chain.supplied(2, 1000, RESET_MS)) == [3, 4]
    chain.check()
    assert chain.supplied(4, 1000, RESET_MS) == [], "5 is not there yet"
    assert ids(chain.supplied(6, 1000, RESET_MS)) == [6], "a repeat, which the log drops"
    assert ids(chain.accept(spot(7, 7), 110, RESET_MS)) == [7]


def test_a_log_of_before_the_ids_began_anew_frees_nothing() -> None:
    chain = StreamChain()
    chain.accept(spot(500, 500, 1_000), 0, RESET_MS)
    assert ids(chain.accept(spot(1, 1, 11_000), 0, RESET_MS)) == [1]
    chain.accept(spot(3, 3, 11_002), 0, RESET_MS)
    assert chain.supplied(500, 1_000, RESET_MS) == []
    joining = StreamChain(joining=True)
    joining.accept(spot(3, 3, 11_002), 0, RESET_MS)
    assert joining.supplied(500, 1_000, RESET_MS) == []
    assert joining.supplied(2, 11_001, RESET_MS)


def test_ids_that_start_anew_pass_when_time_went_on() -> None:
    chain = StreamChain()
    chain.accept(spot(500, 500, 1_000), 0, RESET_MS)
    assert chain.accept(spot(1, 1, 10_999), 0, RESET_MS) == []
    assert ids(chain.accept(spot(1, 1, 11_000), 0, RESET_MS)) == [1]
    assert chain.resets == 1
    assert ids(chain.accept(spot(2, 2, 11_001), 0, RESET_MS)) == [2]


def test_holding_is_bounded() -> None:
    chain = StreamChain()
    chain.accept(spot(0, 0), 0, RESET_MS)
    passed = []
    for update_id in range(5, 5 + MOST_HELD + 1):
        passed += ids(chain.accept(spot(update_id, update_id), 0, RESET_MS))
    assert passed == list(range(5, 5 + MOST_HELD + 1))


@given(st.lists(st.integers(1, 4), min_size=1, max_size=40), st.data())
def test_any_delivery_gives_each_id_once_in_order_and_nothing_invented(
    widths: list[int], data: st.DataObject
) -> None:
    tape, first = [], 1
    for width in widths:
        tape.append(spot(first, first + width - 1))
        first += width
    delivery = list(tape)
    for _ in range(data.draw(st.integers(0, 6))):
        what = data.draw(st.sampled_from(["lose", "repeat", "swap"]))
        at = data.draw(st.integers(0, max(0, len(delivery) - 1)))
        if what == "lose" and len(delivery) > 1:
            del delivery[at]
        elif what == "repeat":
            delivery.insert(at, delivery[at])
        elif what == "swap" and at + 1 < len(delivery):
            delivery[at], delivery[at + 1] = delivery[at + 1], delivery[at]
    chain = StreamChain()
    out: list[int] = []
    start = delivery[0].update_id
    for now, message in enumerate(delivery):
        out += ids(chain.accept(message, now * 10, RESET_MS))
        if chain.overdue(now * 10, 40):
            out += ids(chain.release(now * 10 - 40))
        chain.check()
    out += ids(chain.release())
    assert out == sorted(set(out))
    delivered = {message.update_id for message in delivery}
    assert set(out) <= delivered
    if len(delivery) < 5:  # nothing can be overdue before the end: nothing after the first may be missing
        assert set(out) == {update_id for update_id in delivered if update_id >= start}


def trade(number: int, ms: int = 1000, data: bytes = b"{}") -> Message:
    return Message("aggTrade", "S", data, ms, number, number, -1)


FAR = 2**53 - 1


def test_an_absurd_id_is_dropped_when_the_stream_goes_on_where_it_was() -> None:
    """Appended, it would make a repeat of every trade that follows."""
    chain = StreamChain()
    passed = [ids(chain.accept(trade(number), 0, RESET_MS)) for number in (103, FAR, FAR, 104, 105)]
    assert passed == [[103], [], [], [104], [105]]
    assert (chain.absurd, chain.last_id, chain.holding) == (1, 105, 0)


def test_a_jump_that_others_confirm_is_no_absurdity() -> None:
    chain = StreamChain()
    passed = [ids(chain.accept(trade(number), 0, RESET_MS)) for number in (103, 105, 9_000_000, 9_000_001)]
    assert passed == [[103], [], [], []]
    assert ids(chain.accept(trade(9_000_002), 0, RESET_MS)) == [105, 9_000_000, 9_000_001, 9_000_002]
    assert (chain.absurd, chain.holding) == (0, 0)


def test_absurd_ids_do_not_confirm_each_other_unless_they_are_in_a_row() -> None:
    chain = StreamChain()
    for number in (103, FAR, 9_000_000, FAR - 7, 50_000_000):
        chain.accept(trade(number), 0, RESET_MS)
    assert ids(chain.accept(trade(104), 0, RESET_MS)) == [104]
    assert chain.absurd == 4


def test_a_jump_that_nothing_follows_passes_in_the_end() -> None:
    """The fold has to judge it: it can ask the exchange."""
    chain = StreamChain()
    chain.accept(trade(103), 0, RESET_MS)
    chain.accept(trade(9_000_000), 50, RESET_MS)
    assert chain.release_far(49) == []
    assert ids(chain.release_far(50)) == [9_000_000]


def test_update_ids_of_depth_may_jump() -> None:
    """Futures count them over all symbols: those of a quiet one are far apart."""
    chain = StreamChain()
    chain.accept(futures(1, 5, 9), 0, RESET_MS)
    assert ids(chain.accept(futures(9, 10**12, 10**12 + 5), 0, RESET_MS)) == [10**12 + 5]


def test_a_repeat_in_other_bytes_is_known() -> None:
    chain = StreamChain()
    chain.accept(trade(7, data=b"one"), 0, RESET_MS)
    chain.accept(trade(7, data=b"other"), 0, RESET_MS)
    assert chain.other_than(trade(7, data=b"other")) == b"one"
    assert chain.other_than(trade(7, data=b"one")) is None
    assert chain.other_than(trade(6, data=b"other")) is None
