"""Checkpoints: exact round trip, and StateUnreadable for everything that is none."""

from __future__ import annotations

import zlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.errors import StateUnreadable
from workers.model.books.checkpoint import FORMAT_VERSION, Checkpoint, decode_checkpoint, encode_checkpoint
from workers.model.books.sync import BookSync, Outcome, SequenceRule, SnapshotOutcome, SyncState
from workers.model.events import DepthEvent, Level, Snapshot

SPOT, FUTURES = SequenceRule.SPOT, SequenceRule.FUTURES


def synced(symbol: str = "币安人生USDT") -> BookSync:
    sync = BookSync(symbol, FUTURES)
    sync.on_event(DepthEvent(symbol, 5, 9, 3, 1_700_000_000_000, 0, [("9.0", "2")], []), 1)
    bids, asks = [("10.0", "1"), ("9.90", "2.00")], [("10.1", "3")]
    assert sync.on_snapshot(Snapshot(symbol, 9, bids, asks, limit=2), 77) is SnapshotOutcome.ACCEPTED
    return sync


def restored(
    data: bytes, symbol: str = "币安人生USDT", rule: SequenceRule = FUTURES, max_levels: int = 5000
) -> BookSync:
    sync = BookSync(symbol, rule, max_levels=max_levels)
    sync.restore(decode_checkpoint(data))
    return sync


def test_goes_on_where_it_was():
    data = encode_checkpoint(synced().checkpoint("1700000000000-9"))
    assert decode_checkpoint(data).stream_id == "1700000000000-9"
    sync = restored(data)
    assert (sync.state, sync.last_update_id, sync.synced_at, sync.sync_count) == (SyncState.SYNCED, 9, 77, 1)
    assert sync.last_event_time == 1_700_000_000_000
    assert list(sync.book.levels("bid")) == [("10.0", "1"), ("9.90", "2.00"), ("9.0", "2")]
    assert (sync.book.known_low, sync.book.known_high) == ("9.90", "inf")
    assert sync.book.edge_distance() == 1.0
    again = DepthEvent(sync.symbol, 5, 9, 3, 1_700_000_000_000, 0, [("9.0", "2")], [])
    assert sync.on_event(again, 100) is Outcome.STALE
    assert (
        sync.on_event(DepthEvent(sync.symbol, 12, 15, 9, 1_700_000_000_100, 0, [], []), 101)
        is Outcome.APPLIED
    )
    assert (
        sync.on_event(DepthEvent(sync.symbol, 22, 25, 19, 1_700_000_000_200, 0, [], []), 102) is Outcome.GAP
    )


def test_of_a_book_out_of_sync_wants_a_snapshot():
    sync = synced()
    sync.lose("audit mismatch", 88)
    sync = restored(encode_checkpoint(sync.checkpoint("5-1")))
    assert (sync.state, sync.reason, sync.lost_at, sync.wants_snapshot) == (
        SyncState.BROKEN,
        "audit mismatch",
        88,
        True,
    )
    assert (sync.book.known_low, sync.book.known_high) == ("inf", "0")
    fresh = restored(encode_checkpoint(BookSync("X", SPOT).checkpoint("")), "X", SPOT)
    assert fresh.state is SyncState.WAITING
    assert fresh.on_snapshot(Snapshot("X", -1, [], []), 0) is SnapshotOutcome.HELD


def test_keeps_what_is_unfinished():
    sync = BookSync("X", FUTURES)
    sync.on_event(DepthEvent("X", 5, 9, 3, 9, 0, [], []), 0)
    sync.on_snapshot(Snapshot("X", 15, [("10", "1")], [("9", "1")]), 0)
    assert sync.tick(10_000) is Outcome.SYNCED
    copy = restored(encode_checkpoint(sync.checkpoint("9-9")), "X")
    assert (copy.unconfirmed, copy.crossed_since_ms, copy.publishable) == (True, 10_000, False)
    assert copy.on_event(DepthEvent("X", 20, 25, 9, 25, 0, [], []), 10_001) is Outcome.APPLIED


def test_fewer_levels_than_were_stored():
    sync = restored(encode_checkpoint(synced().checkpoint("1-1")), max_levels=1)
    assert sync.book.counts == (1, 1)
    assert sync.book.known_low == "10.0"


@pytest.mark.parametrize(("symbol", "rule"), [("X", FUTURES), ("币安人生USDT", SPOT)])
def test_of_another_book_is_refused(symbol, rule):
    with pytest.raises(StateUnreadable):
        restored(encode_checkpoint(synced().checkpoint("1-1")), symbol, rule)


PRICES = st.integers(1, 10**9).map(lambda n: f"{n // 10**4}.{n % 10**4:04d}")
QUANTITIES = st.integers(1, 10**12).map(str) | st.sampled_from(["92233720368.54775807", "0.00000001"])
LEVELS = st.lists(st.tuples(PRICES, QUANTITIES), max_size=20)
SIDES = st.tuples(LEVELS, LEVELS)


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, st.integers(1, 12), st.integers(0, 2**62), st.text(max_size=10))
def test_round_trip_is_exact(first, more, max_levels, last_id, symbol):
    sync = BookSync(symbol, SPOT, max_levels=max_levels)
    sync.on_event(DepthEvent(symbol, last_id + 1, last_id + 2, -1, 2**41, 0, *more), 1)
    sync.on_snapshot(Snapshot(symbol, last_id, *first, limit=10), 2)
    assert sync.state is SyncState.SYNCED
    data = encode_checkpoint(sync.checkpoint("7-7"))
    copy = restored(data, symbol, SPOT, max_levels)
    copy.book.check()
    assert encode_checkpoint(copy.checkpoint("7-7")) == data
    for side in ("bid", "ask"):
        assert list(copy.book.levels(side)) == list(sync.book.levels(side))
        assert list(copy.book.known_levels(side)) == list(sync.book.known_levels(side))
    assert copy.book.edge_distance() == sync.book.edge_distance()


class TestDamage:
    DATA = encode_checkpoint(synced().checkpoint("1700000000000-9"))

    def test_every_truncation(self):
        for size in range(len(self.DATA)):
            with pytest.raises(StateUnreadable):
                decode_checkpoint(self.DATA[:size], "book:{X}:checkpoint")

    def test_every_flipped_bit(self):
        for place in range(len(self.DATA)):
            for bit in range(8):
                damaged = bytearray(self.DATA)
                damaged[place] ^= 1 << bit
                with pytest.raises(StateUnreadable):
                    decode_checkpoint(bytes(damaged))

    @given(st.binary(max_size=200))
    def test_other_bytes(self, data):
        for prefix in (b"", self.DATA[:4], self.DATA[:9], self.DATA):
            if prefix + data != self.DATA:
                with pytest.raises(StateUnreadable):
                    decode_checkpoint(prefix + data)

    def test_other_versions_are_named(self):
        other = self.DATA[:4] + bytes([FORMAT_VERSION + 1]) + self.DATA[5:]
        with pytest.raises(
            StateUnreadable, match="book:X cannot be decoded: it has format 2, not 1"
        ) as caught:
            decode_checkpoint(other, "book:X")
        assert caught.value.key == "book:X"

    @pytest.mark.parametrize(
        "change",
        [
            {"rule": "lunar"},
            {"known": ("-1", "inf")},
            {"known": ("nan", "inf")},
            {"bids": [("x", "1")]},
            {"asks": [("1", "-1")]},
            {"bids": [("1",)]},
            {"last_update_id": "9"},
            {"symbol": None},
            {"surplus": 1},
        ],
    )
    def test_right_checksum_wrong_content(self, change):
        state = msgspec.to_builtins(decode_checkpoint(self.DATA)) | change
        payload = zlib.compress(msgspec.msgpack.encode(state))
        with pytest.raises(StateUnreadable):
            decode_checkpoint(self.DATA[:5] + zlib.crc32(payload).to_bytes(4, "big") + payload)

    @pytest.mark.parametrize("cut", [1, 5, 20])
    def test_right_checksum_cut_content(self, cut):
        payload = self.DATA[9:-cut]
        with pytest.raises(StateUnreadable):
            decode_checkpoint(self.DATA[:5] + zlib.crc32(payload).to_bytes(4, "big") + payload)


def test_is_small():
    """Five thousand levels a side stay far below what a Redis string or a commit script minds."""
    levels: list[Level] = [(f"{60_000 - n / 10:.2f}", f"{n % 977 / 1000 + 0.001:.3f}") for n in range(5000)]
    sync = BookSync("X", SPOT)
    sync.on_event(DepthEvent("X", 1, 2, -1, 1, 0, [], []), 0)
    sync.on_snapshot(Snapshot("X", 2, levels, levels, limit=5000), 0)
    data = encode_checkpoint(sync.checkpoint("1-1"))
    assert len(data) < 100_000
    assert isinstance(decode_checkpoint(data), Checkpoint)
