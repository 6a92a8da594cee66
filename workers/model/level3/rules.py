"""How orders of a venue are chained, seeded and queued: what `OrderSync` has to know of it."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from workers.model.level3.book import Level3Book


class Continuity(Enum):
    """How a lost message shows."""

    CHAIN = "chain"  # each names the one before it (Bitstamp: `pre_event_id`)
    SEQUENCE = "sequence"  # each has the number of the last one plus one (Coinbase)
    ELSEWHERE = "elsewhere"  # by the socket's numbers or the checksum only (Bitfinex, Kraken)


class Beginning(Enum):
    """What a book begins with."""

    EMPTY = "empty"  # with nothing: it is never whole
    REST = "rest"  # with a seed, brought forward by the messages after it
    IN_BAND = "in band"  # with a snapshot in the stream


class Unknown(Enum):
    """What a change of an order that nobody knows means."""

    NORMAL = "normal"  # nothing: orders that never rested are named too
    DOUBT = "doubt"  # an order was missing at its price
    LOSS = "loss"  # a message was lost


class OrderRules(NamedTuple):
    """Of a venue.

    moves: a `set` with another price moves the order; else its price there is that of an execution.
    keeps_place: an order that grows keeps its place.
    unknown: what it means that an order to be set or removed is not known. A fill of one is always a loss.
    phantoms: seeds name orders that do not exist any more, so a lasting crossing is their fault first.
    levels: prices a side that the exchange speaks of, 0: all; what is beyond is dropped.
    window: orders a side that it shows, 0: all. What comes into view may be older than what is there: only an order
        of a higher rank than any before it is new.
    checksum: what it sums, None: nothing.
    """

    continuity: Continuity
    beginning: Beginning
    moves: bool = True
    keeps_place: bool = False
    unknown: Unknown = Unknown.LOSS
    phantoms: bool = False
    levels: int = 0
    window: int = 0
    checksum: Callable[[Level3Book], int] | None = None
