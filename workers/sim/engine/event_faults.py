"""Event faults applied between a stream and its subscribers, without I/O.

Faults for everybody act once per event, so that all connections see the same; faults for some connections
act where the connection takes the event. Rewriting keeps the text of all prices and quantities it does
not mean to change.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from typing import Final

from workers.sim.engine.faults import ActiveFault, FaultBoard
from workers.sim.engine.flavour import EventShape
from workers.sim.engine.topics import Event

Send = Callable[[Event], None]
ZERO_SPELLINGS: Final = ("0", "0.0", "0.000", "0.00000000")
NO_NUMBERS: Final = ("abc", "NaN", "Infinity", "")
ABSURD_ID: Final = 2**53
EARLIER: Final = 5
"""How many events back a repeated one was sent."""


class EventFaults:
    """Loses, repeats, swaps, delays and rewrites events as the board says."""

    def __init__(self, board: FaultBoard, shape: EventShape) -> None:
        self._board = board
        self._shape = shape
        self._now_ms = 0.0
        self._delayed: list[tuple[float, int, Send, Event]] = []
        self._sequence = 0
        self._held: dict[tuple[int, int, str], tuple[Send, Event]] = {}
        self._sent: dict[tuple[int, int, str], deque[Event]] = {}

    def advance(self, now_ms: float) -> None:
        """Send the delayed events that are due."""
        self._now_ms = now_ms
        while self._delayed and self._delayed[0][0] <= now_ms:
            _, _, send, event = heapq.heappop(self._delayed)
            send(event)

    def release(self) -> None:
        """Send everything held back or delayed, in order."""
        for _, _, send, event in sorted(self._delayed, key=lambda entry: entry[:2]):
            send(event)
        self._delayed.clear()
        for send, event in self._held.values():
            send(event)
        self._held.clear()
        self._sent.clear()

    def apply(self, faults: list[ActiveFault], receiver: int, event: Event, send: Send) -> None:
        """Pass an event on through the faults that cover it; `receiver` is 0 for everybody."""
        copies = 1
        delay_ms = 0.0
        earlier_ones: list[Event] = []
        for active in faults:
            fault = active.fault
            if fault.kind == "swap" and (key := (active.number, receiver, event.stream)) in self._held:
                earlier = self._held.pop(key)
                send(event)
                earlier[0](earlier[1])
                return
            if fault.kind == "repeat":
                sent = self._sent.setdefault((active.number, receiver, event.stream), deque(maxlen=EARLIER))
                if sent and active.strikes():
                    earlier_ones.append(sent[0])
                sent.append(event)
                continue
            if not active.strikes():
                continue
            if fault.kind in ("lose", "silence"):
                send(Event(event.stream, event.payload, lost=True))
                return
            if fault.kind == "duplicate":
                copies += 1
            elif fault.kind == "delay":
                delay_ms += fault.value
            elif fault.kind == "swap":
                self._held[active.number, receiver, event.stream] = send, event
                return
            else:
                event = rewritten(event, active, self._shape)
        for one in (*(event for _ in range(copies)), *earlier_ones):
            if delay_ms:
                self._sequence += 1
                heapq.heappush(self._delayed, (self._now_ms + delay_ms, self._sequence, send, one))
            else:
                send(one)

    def publish(self, market: str, symbol: str, event: Event, send: Send) -> None:
        """Pass on an event of a symbol's stream to everybody."""
        faults = [
            active
            for active in self._board.stream_faults
            if active.fault.covers(market, symbol) and active.fault.covers_stream(event.stream)
        ]
        if faults:
            self.apply(faults, 0, event, send)
        else:
            send(event)

    @property
    def for_everybody(self) -> bool:
        """Whether any fault for all connections is on."""
        return bool(self._board.stream_faults)


def rewritten(event: Event, active: ActiveFault, shape: EventShape) -> Event:
    """The event as a rewriting fault makes it; a fault that does not fit the event leaves it alone."""
    kind = active.fault.kind
    if kind == "truncate":
        *frames, last = event.payload.split("\n")  # those before it come whole, and are counted
        return Event(event.stream, "\n".join([*frames, last[: len(last) // 2]]))
    body = shape.decode(event.payload)
    if kind == "unknown_keys":
        body |= {"zz": None, "rpi": "0.000", "ext": {"v": [1, {"u": 1, "pu": 2}], "e": "depthUpdate"}}
    elif kind == "shuffle_keys":
        items = list(body.items())
        active.random.shuffle(items)
        body = dict(items)
    elif kind == "absurd_id":
        shape.spoil_trade_id(body, ABSURD_ID)
    elif kind == "checksum":
        shape.spoil_checksum(body)
    elif (sides := shape.sides(body)) is not None:
        _rewrite_levels(*sides, active)
    return Event(event.stream, shape.encode(body))


def _rewrite_levels(bids: list[list[str]], asks: list[list[str]], active: ActiveFault) -> None:
    kind = active.fault.kind
    levels = [*bids, *asks]
    if kind == "zero_spelling":
        for level in levels:
            if not level[1].strip("0."):
                level[1] = active.random.choice(ZERO_SPELLINGS)
    elif kind == "cross":
        # The deepest ask of the event is above the best one, and its price is on the grid.
        present = [level for level in asks if level[1].strip("0.")]
        if present:
            bids.insert(0, list(present[-1]))
    elif kind == "unknown_deletes":
        bids += [[_price_of_none(level[0], "b"), "0", *level[2:]] for level in bids[-1:]]
        asks += [[_price_of_none(level[0], "a"), "0", *level[2:]] for level in asks[-1:]]
    elif kind == "absurd" and levels:
        active.random.choice(levels)[1] = active.random.choice(NO_NUMBERS)
    elif kind == "corrupt" and levels:
        present = [level for level in levels if level[1].strip("0.")] or levels
        level = active.random.choice(present)
        level[1] = _next_digit(level[1])


def _price_of_none(price: str, side: str) -> str:
    """A price so far away that no level has it: one unit of the last place, or many times as much."""
    if side == "a":
        return "9" + price
    decimals = len(price.partition(".")[2])
    return f"0.{1:0{decimals}d}" if decimals else "1"


def _next_digit(quantity: str) -> str:
    """Another quantity of the same spelling: the leading digit is counted up."""
    return ("1" if quantity[0] == "9" else str(int(quantity[0]) + 1)) + quantity[1:]
