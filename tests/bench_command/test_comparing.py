"""What `fleet bench` calls right and wrong."""

from __future__ import annotations

import msgspec
import pytest

from workers.bench.exchange import Sent
from workers.bench.peer import folded
from workers.bench.plant import compared_side, compared_trades
from workers.bench.run import Measured
from workers.bench.suite import Machine, Outcome
from workers.bench.tape import Tape

SENT = Sent(Tape("SIM000USDT", 0), [1, 2, 3], [10, 20, 30, 40])


def test_all_trades_are_right():
    trades = [SENT.tape.trade(number) for number in range(4)]
    assert compared_trades("X", trades, SENT) == []


@pytest.mark.parametrize("places", [(), (3,), (1, 2, 3), (0, 1, 2), (0, 1, 3), (0, 1, 2, 2, 3)])
def test_trades_that_lack_or_repeat_one_are_not(places: tuple[int, ...]):
    assert compared_trades("X", [SENT.tape.trade(number) for number in places], SENT)


def test_a_side_is_compared_as_deep_as_it_is_held():
    bids, _ = SENT.tape.book(3)
    held = [(float(price), float(quantity)) for price, quantity in bids[:1000]]
    assert compared_side(held, bids, 900)
    assert not compared_side(held[:899], bids, 900)
    assert not compared_side([*held[:7], *held[8:]], bids, 900)
    assert not compared_side([(held[0][0], held[0][1] + 1), *held[1:]], bids, 900)


def test_deltas_of_the_peer_are_folded():
    whole = {"bid": {"9.5": 1.0, "9": 2.0}, "ask": {"10": 1.0}}
    delta = {"bid": [(9.5, 0.0), (8.0, 4.0)], "ask": []}
    entries = [{b"book": msgspec.json.encode(whole)}, {b"delta": msgspec.json.encode(delta)}]
    assert folded(entries) == {"bid": {9.0: 2.0, 8.0: 4.0}, "ask": {10.0: 1.0}}


def measured(plant: str, rate: float, kept_up: bool, differences: list[str]) -> Measured:
    return Measured(
        plant,
        rate,
        1,
        1.0,
        10,
        {},
        {},
        {},
        {},
        {},
        kept_up,
        rate if kept_up else 700.0,
        0.0,
        differences,
        None,
    )


def test_a_plant_falls_behind_at_the_lowest_rate_it_did_not_keep_up_with():
    found = [
        measured("fleet", 100, True, []),
        measured("fleet", 900, False, []),
        measured("fleet", 800, False, []),
    ]
    outcome = Outcome(Machine(2, "", 0.0), None, [*found, measured("cryptofeed", 100, False, ["wrong"])])
    assert outcome.falls_behind() == {
        "fleet": {"keeps_up_at": 100, "behind_at": 800, "handled_per_s": 700.0},
        "cryptofeed": {"keeps_up_at": None, "behind_at": 100, "handled_per_s": 700.0},
    }
    assert outcome.is_right  # the peer's mistakes are its own
    assert not outcome._replace(measured=[measured("fleet", 100, True, ["wrong"])]).is_right
