"""The members of the latest set: any trade comes back exactly, and the packed form is what the page says."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workers.errors import StateUnreadable
from workers.model.events import Trade
from workers.model.symbols.sizing import bytes_per_trade
from workers.model.trades.latest import MEMBERS, EventType, Member, decode_member, packed_member, trade_of

T0 = 1_795_221_125_332
NUMBERS = st.one_of(
    st.from_regex(r"\A[0-9]{1,12}(\.[0-9]{0,10}0{0,12})?\Z"),
    st.decimals(0, 10**9, places=8, allow_nan=False).map(lambda number: f"{number:f}"),
    st.sampled_from(
        ["0", "0.000", "-0", ".5", "5.", "007.50", "1e3", "1.0000000000", "0.0000000001", "", " 1"]
    ),
)


@given(
    trade_id=st.integers(0, 2**53),
    price=NUMBERS,
    quantity=NUMBERS,
    first=st.integers(-1, 2**53),
    wide=st.integers(-1, 10_000),
    time=st.integers(86_400_000, 10**14 - 1),
    delay=st.integers(-5_000, 10**6),
    maker=st.booleans(),
    form=st.sampled_from(list(MEMBERS)),
    event_type=st.sampled_from(["aggTrade", "trade"]),
    name=st.sampled_from(["", "7f-中"]),
)
@example(5, "7", "1", 9, 0, T0, 0, False, "packed", "trade", "")  # a fill of another id than the trade
@example(5, "7", "1", -1, 0, T0, 0, False, "packed", "aggTrade", "")  # a venue that tells no fills
@example(5, "7", "1", 5, 0, T0, 0, True, "packed", "trade", "7f-中")
def test_any_trade_comes_back_from_either_form(
    trade_id: int,
    price: str,
    quantity: str,
    first: int,
    wide: int,
    time: int,
    delay: int,
    maker: bool,
    form: Member,
    event_type: EventType,
    name: str,
) -> None:
    if event_type == "trade" and wide > 0:
        first, wide = trade_id, 0
    trade = Trade(
        "BTCUSDT", trade_id, price, quantity, first, first + wide, time, time + delay, maker, name=name
    )
    row = decode_member(MEMBERS[form](trade, event_type), "BTCUSDT", time)
    assert (trade_of(row), row.event_type) == (trade, event_type)


def test_the_packed_form_is_the_documented_one() -> None:
    perpetual = Trade(
        "BTCUSDT",
        54346948439,
        "84554.40",
        "0.054",
        108693021886,
        108693021886,
        T0,
        T0 + 27,
        is_buyer_maker=True,
    )
    assert packed_member(perpetual, "aggTrade") == b"54346948439 845544 -54 108693021886 0 27 1130"
    spot = Trade("BTCUSDT", 5, "61800.20000000", "100.00000000", 7, 9, T0, T0, is_buyer_maker=False)
    assert packed_member(spot, "aggTrade") == b"5 618002 100 7 2 0 1708"
    raw = Trade("BTCUSDT", 5, "7", "0.10", 5, 5, T0, T0 - 1, is_buyer_maker=False)
    assert packed_member(raw, "trade") == b"5 7 1 -1 0 -1 0011"


@pytest.mark.parametrize(
    "member",
    [b"", b"1 2 3", b'{"event_type":"aggTrade"}', b"{", b"a b c d e f 1111", b"1 2 3 4 5 6 111", b"1 2 3 4 5 6 11x1",
     "1 2 3 4 5 6 111é".encode()],
)  # fmt: skip
def test_what_is_no_member_is_named(member: bytes) -> None:
    with pytest.raises(StateUnreadable, match=r"trades:\{BTCUSDT\}:latest"):
        decode_member(member, "BTCUSDT", T0)


@pytest.mark.recorded
def test_trades_of_a_recording_take_at_most_60_bytes_and_come_back(recorded_folder: Path) -> None:
    sizes = []
    with gzip.open(recorded_folder / "usdm__btcusdt_20240808.gz", "rt") as lines:
        for line in lines:
            if '"e":"trade"' in line:
                d = json.loads(line.split(" ", 1)[1])["data"]
                trade = Trade(d["s"], d["t"], d["p"], d["q"], d["t"], d["t"], d["T"], d["E"], d["m"])
                member = packed_member(trade, "aggTrade")
                sizes.append(len(member))
                assert trade_of(decode_member(member, trade.symbol, trade.trade_time)) == trade
    assert len(sizes) == 21_313
    assert max(sizes) <= 60


def test_a_trade_in_the_latest_set_has_a_size() -> None:
    assert bytes_per_trade("packed", "redis") < bytes_per_trade("json", "redis") / 2
    assert bytes_per_trade("json") == max(bytes_per_trade("json", server) for server in ("redis", "valkey"))
