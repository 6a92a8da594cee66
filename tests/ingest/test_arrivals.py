"""A machine's clock that is set shifts no message, and one that was wrong is given up when the messages say so."""

from __future__ import annotations

import msgspec
import pytest

from workers.ingest.arrivals import CONFIRMED, ArrivalClock
from workers.ingest.line import Line
from workers.settings.schema import IngestSettings
from workers.store.keys import Keys
from workers.store.log.streams import RawEntry
from workers.venues.binance.settings import BinanceSettings
from workers.venues.binance.venue import Binance
from workers.venues.coinbase.settings import CoinbaseSettings
from workers.venues.coinbase.venue import Coinbase

STEPS_S = [5, -5, 300, -300, 3_600, -3_600, 86_400, -86_400]


class Machine:
    """A clock that can be set, and one that cannot."""

    def __init__(self, wrong_s: int = 0) -> None:
        self.true_us = 1_795_000_000_000_000
        self.set_by_us = wrong_s * 1_000_000

    def day_ns(self) -> int:
        return (self.true_us + self.set_by_us) * 1_000

    def steady_ns(self) -> int:
        return (self.true_us - 1_700_000_000_000_000) * 1_000


def follow(machine: Machine, clock: ArrivalClock, messages: int) -> list[int]:
    """By how much each of some messages is stamped wrongly, in s."""
    off = []
    for _ in range(messages):
        machine.true_us += 100_000
        now_us = clock.now_us()
        off.append(round((now_us - machine.true_us) / 1e6))
        clock.told(machine.true_us // 1000 - 30, now_us)
    return off


@pytest.mark.parametrize("step_s", STEPS_S)
def test_a_clock_set_wrongly_shifts_no_stamp(step_s: int) -> None:
    machine = Machine()
    clock = ArrivalClock("a", machine.day_ns, machine.steady_ns)
    assert set(follow(machine, clock, 50)) == {0}
    machine.set_by_us = step_s * 1_000_000
    assert set(follow(machine, clock, 200)) == {0}
    machine.set_by_us = 0
    assert set(follow(machine, clock, 50)) == {0}


@pytest.mark.parametrize("wrong_s", STEPS_S)
def test_a_clock_that_was_wrong_and_is_put_right_counts_after_some_messages(wrong_s: int) -> None:
    machine = Machine(wrong_s)
    clock = ArrivalClock("a", machine.day_ns, machine.steady_ns)
    assert set(follow(machine, clock, 20)) == {wrong_s}
    machine.set_by_us = 0
    assert follow(machine, clock, 30) == [wrong_s] * CONFIRMED + [0] * (30 - CONFIRMED)


def test_drift_is_followed() -> None:
    machine = Machine()
    clock = ArrivalClock("a", machine.day_ns, machine.steady_ns)
    for _ in range(100):
        machine.set_by_us += 50_000
        assert clock.now_us() * 1_000 == machine.day_ns()


@pytest.mark.parametrize("step_s", STEPS_S)
def test_a_line_files_every_message_by_the_exchanges_time(step_s: int) -> None:
    machine, entries = Machine(), list[RawEntry]()
    clock = ArrivalClock("a", machine.day_ns, machine.steady_ns)
    venue = Binance("usdm", BinanceSettings(market="usdm", symbols=["A"]))
    line = Line(venue, Keys(), "a", IngestSettings(), ["A"], entries.append, clock=clock)
    times = []
    for number in range(100):
        machine.true_us += 100_000
        if number == 50:
            machine.set_by_us = step_s * 1_000_000
        times.append(machine.true_us // 1000 - 30)
        event = {"e": "depthUpdate", "E": times[-1], "T": times[-1], "s": "A", "U": number, "u": number,
                 "pu": number - 1, "b": [], "a": []}  # fmt: skip
        line.frame(msgspec.json.encode({"stream": "a@depth@0ms", "data": event}), machine.day_ns() // 1_000)
    assert [entry.event_ms for entry in entries] == times
    assert {entry.received_us for entry in entries} == {(ms + 30) * 1000 for ms in times}


@pytest.mark.parametrize("step_s", STEPS_S)
def test_where_a_book_ends_is_told_by_the_time_of_its_messages(step_s: int) -> None:
    """Else all that follows would be filed under a time to come, and nothing be trimmed until then."""
    machine, entries = Machine(), list[RawEntry]()
    clock = ArrivalClock("a", machine.day_ns, machine.steady_ns)
    venue = Coinbase("coinbase", CoinbaseSettings(symbols=["BTC-USD"]))
    line = Line(venue, Keys(), "a", IngestSettings(), ["BTC-USD"], entries.append, clock=clock)
    session = venue.session("")
    machine.set_by_us = step_s * 1_000_000
    book = {"type": "snapshot", "product_id": "BTC-USD", "updates": []}
    frame = {"channel": "l2_data", "sequence_num": 0, "events": [book]}
    line.frame(msgspec.json.encode(frame), machine.day_ns() // 1_000, session)
    line.ended(session, machine.day_ns() // 1_000)
    assert [entry.kind for entry in entries] == ["snapshot", "break"]
    assert {entry.event_ms for entry in entries} == {machine.true_us // 1000}
