"""What the group has given an owner, beside a list that is kept plainly."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workers.books.delivery import FEW, PATIENCE, Delivery

STEPS = st.lists(
    st.tuples(st.sampled_from(["alone", "by group", "given", "acknowledged"]), st.integers(0, 5))
)


@given(STEPS)
def test_it_is_a_list_of_ids_and_the_place_of_a_group(steps: list[tuple[str, int]]) -> None:
    delivery, ids, given_to, acknowledged = Delivery(), 0, 0, 0
    for what, number in steps:
        if what == "alone":
            new = [b"7-%d" % (ids + place) for place in range(1, number + 1)]
            delivery.pending += new
            delivery.read_alone(number)
            ids += number
        elif what == "by group":  # everything that is new, and what was read alone before it
            delivery.given(b"7-%d" % ids)
            delivery.pending += [b"7-%d" % (ids + place) for place in range(1, number + 1)]
            ids += number
            given_to = ids
        elif what == "given":
            given_to = max(given_to, min(ids, given_to + number))
            delivery.given(b"7-%d" % given_to)
        else:
            before = acknowledged
            acknowledged = min(given_to, acknowledged + number)
            delivery.acknowledged(acknowledged - before)
        assert delivery.pending == [b"7-%d" % place for place in range(acknowledged + 1, ids + 1)]
        read = delivery.to_be_given
        assert (read and tuple(read)) == ((ids - given_to, b"7-%d" % ids) if ids > given_to else None)


def test_a_checkpoint_waits_only_while_little_has_changed_and_more_comes() -> None:
    delivery = Delivery()
    delivery.pending += [b"7-1"] * (FEW - 1)
    assert delivery.pause_s(2.0, more_comes=True) == 2.0 * PATIENCE
    assert delivery.pause_s(2.0, more_comes=False) == 2.0
    delivery.pending.append(b"7-1")
    assert delivery.pause_s(2.0, more_comes=True) == 2.0
