"""The columns of a block: every spelling comes back, and what is damaged is refused."""

from __future__ import annotations

import contextlib
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_history_blocks import World

from workers.errors import StateUnreadable
from workers.model.books.sync import SequenceRule
from workers.model.history.block import (
    HistoryBlock,
)
from workers.model.history.columns import Column, Spelling, differences, pack_column, sums, unpack_column


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_is_damaged_is_refused_whatever_it_is(data: st.DataObject) -> None:
    world = World(7, SequenceRule.SPOT, True).run(60)
    block = max(world.blocks.values(), key=lambda one: one.known_seconds)
    good = block.encode()
    with pytest.raises(StateUnreadable, match="checksum"):
        HistoryBlock.decode(good[:-1] + bytes([good[-1] ^ 1]), "history")
    for bad in (
        b"",
        b"MFBK" + good[4:],
        good[:4] + b"\x07" + good[5:],
        good[: data.draw(st.integers(0, 60))],
    ):
        with pytest.raises(StateUnreadable):
            HistoryBlock.decode(bad)
    payload = bytearray(good[9:])
    for place in data.draw(st.lists(st.integers(0, len(payload) - 1), min_size=1, max_size=4)):
        payload[place] = data.draw(st.integers(0, 255))
    forged = good[:5] + zlib.crc32(payload).to_bytes(4, "big") + bytes(payload)
    with contextlib.suppress(StateUnreadable):  # nothing else, unless it is another valid block
        HistoryBlock.decode(forged)


def test_a_column_that_would_fill_the_memory_is_refused() -> None:
    bomb = pack_column([0] * 100_000)
    for count in (1 << 40, 50_000, -1):
        with pytest.raises(ValueError, match="size"):
            unpack_column(Column(count, bomb.width, bomb.data))


decimals = st.from_regex(r"[0-9]{0,12}\.?[0-9]{1,14}", fullmatch=True)


@given(st.lists(decimals, max_size=30, unique=True))
def test_every_spelling_of_a_number_comes_back(texts: list[str]) -> None:
    spelling, codes = Spelling.of(texts)
    assert [spelling.text(codes[text]) for text in texts] == texts
    assert spelling.values([codes[text] for text in texts]) == [float(text) for text in texts]


@given(st.lists(st.integers(0, 2**64 - 1), max_size=200), st.lists(st.integers(-(2**62), 2**62), max_size=50))
def test_columns_come_back(numbers: list[int], signed: list[int]) -> None:
    assert list(unpack_column(pack_column(numbers))) == numbers
    assert sums(differences(signed)) == signed
