"""What can go wrong on purpose: fault kinds, their switches, and when each strikes.

A fault is switched on by a setting, by the command line or by the control endpoint, always in the same
words: `lose stream=*@depth* share=0.01`. Whether it strikes depends on its own seeded draws only.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final

import msgspec

EVENT_KINDS: Final = {
    "lose": "the event is not sent",
    "silence": "no event is sent while control requests are still answered",
    "duplicate": "the event is sent twice",
    "repeat": "the event is followed by one sent earlier on its stream",
    "swap": "the event is sent after the next one of its stream",
    "delay": "the event is sent `value` ms late",
    "unknown_keys": "the event has keys no document names",
    "shuffle_keys": "the keys of the event are in another order",
    "zero_spelling": "zero quantities are spelled 0, 0.0, 0.000 or 0.00000000",
    "cross": "a depth event puts a bid above the best ask, which no later event takes back",
    "corrupt": "a depth event has a wrong quantity at one level",
    "unknown_deletes": "a depth event deletes a bid and an ask that never were",
    "absurd": "a depth event has a quantity that is no number",
    "absurd_id": "an aggregate trade has the id 9007199254740992 (2^53)",
    "checksum": "the checksum of a book message is wrong, where the exchange sends one",
    "truncate": "the JSON text of the event ends in the middle",
}
CONNECTION_KINDS: Final = {
    "stall": "the socket stays open and nothing comes: no events, no replies, no pings, no pongs",
    "mute": "the streams that are subscribed are dead: they bring nothing until they are subscribed anew",
    "refuse_stream": "a SUBSCRIBE that names the stream is refused as a whole, with the error code `value` (2 when 0)",
    "old_token": "tokens that were given before it came on are refused, where the exchange gives any",
    "silent_stream": "a subscription to the stream is acknowledged and brings nothing",
    "snapshot_first": "a subscription that begins with a snapshot gets it before the acknowledgement",
    "refuse": "websocket upgrades are refused with HTTP status `value` (503 when 0)",
    "reset": "the TCP connections that are open are cut, without a close frame",
    "shutdown": "`serverShutdown` is sent on the open connections, which are closed a little later",
    "maintenance": "Bitfinex and Kraken tell open connections that maintenance begins, with `value` 1 that it is over",
    "lifetime": "connections are closed `value` seconds after they were opened",
}
REST_KINDS: Final = {
    "rest_status": "the answer has status `value` (500 when 0), an HTML body for 403 and 451",
    "rest_slow": "the answer takes `value` seconds",
    "rest_truncated": "the JSON text of the answer ends in the middle",
    "rest_reset": "the connection is cut instead of an answer",
    "bad_listing": "exchangeInfo and ticker/24hr have null in the symbol's entry, and more entries that are no symbols",
    "snapshot_stale": "depth is the book of `value` ms (10,000 at most) before the usual cached copy",
    "snapshot_ahead": "depth is the book of this moment; with `delay` on the streams it is far ahead",
    "snapshot_phantom": "single orders have one more ask, which is none, `value` ticks below the best (1 when 0)",
    "snapshot_empty": "depth has no levels and lastUpdateId -1",
    "snapshot_wrong": "depth has a wrong bid, the one `value` places behind the best, with a lastUpdateId that fits",
}
MARKET_KINDS: Final = {
    "burst": "everything runs `value` times faster",
    "drift": "the price drifts by `value` ticks a second",
    "price": "the price goes to `value` at once, trading through the book",
    "empty_bids": "all bids are taken away",
    "empty_asks": "all asks are taken away",
    "halt": "the symbol stops trading and its status says so",
    "delist": "the symbol stops for good, its status changes, USD-M sends contractInfo",
    "list": "the symbol is listed and begins to trade `value` seconds later",
    "unlist": "the symbol is taken off the exchange, as some time after a delisting; `list` brings it back anew",
    "tick_size": "new prices are multiples of `value` ticks and the tick size says so",
    "deep_levels": "`value` levels a side are added far from the market, and are never taken away",
    "trade_ids": "the ids of aggregate trades begin anew at `value` (1 when 0), and REST has the new ones alone",
    "book_ids": "the ids of book messages begin anew: OKX goes on from a lower seqId, Bybit's u is 1 in a snapshot, "
    "the numbers of Coinbase's single orders begin at `value` (1 when 0)",
    "largest_quantity": "a level of each side gets the largest quantity that is ever shown",
}
KINDS: Final = EVENT_KINDS | CONNECTION_KINDS | REST_KINDS | MARKET_KINDS


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault: its kind, what it applies to, and when.

    market, symbol: empty for any; symbol in upper case. stream: a shell pattern over stream names.
    path: a shell pattern over websocket roots (`/usdm/public/*`) or REST paths (`*/depth`).
    connection: the number of one connection, 0 for any. agent: a shell pattern over User-Agent.
    share: probability per case. skip: cases let through first. count: cases at most, 0 without end.
    after_s, for_s: switched on this long after being set, and off again that long after; 0 for at once
    and until removed. value: what the kind says.
    """

    kind: str
    market: str = ""
    symbol: str = ""
    stream: str = "*"
    path: str = "*"
    connection: int = 0
    agent: str = "*"
    share: float = 1.0
    skip: int = 0
    count: int = 0
    after_s: float = 0.0
    for_s: float = 0.0
    value: float = 0.0

    def __post_init__(self) -> None:
        """Refuse unknown kinds, numbers out of range and a listing without a name."""
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind!r} is no fault; there are {', '.join(KINDS)}")
        if not 0 <= self.share <= 1:
            raise ValueError(f"share is a probability from 0 to 1, not {self.share:g}")
        for name in ("connection", "skip", "count", "after_s", "for_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} cannot be negative")
        if self.kind == "list" and not (self.market and self.symbol):
            raise ValueError("a listing needs market and symbol")

    @classmethod
    def parse(cls, text: str) -> Fault:
        """The fault that `kind name=value …` describes; ValueError when it is none."""
        if not text.strip():
            raise ValueError("a fault begins with its kind")
        kind, *words = text.split()
        pairs = dict(word.partition("=")[::2] for word in words)
        known = [field.name for field in msgspec.structs.fields(cls) if field.name != "kind"]
        for name in pairs:
            if name not in known:
                raise ValueError(
                    f"a fault has no {name!r}; what follows its kind is NAME=VALUE of {', '.join(known)}"
                )
        return msgspec.convert({"kind": kind, **pairs}, cls, strict=False)

    def text(self) -> str:
        """The fault in the words `parse` takes."""
        pairs = [
            f"{field.name}={value:.15g}" if isinstance(value, float) else f"{field.name}={value}"
            for field in msgspec.structs.fields(self)
            if field.name != "kind" and (value := getattr(self, field.name)) != field.default
        ]
        return " ".join([self.kind, *pairs])

    @property
    def for_one_connection(self) -> bool:
        """Whether only some connections are meant, so that each decides for itself."""
        return bool(self.connection) or self.agent != "*" or self.path != "*"

    def covers(self, market: str, symbol: str) -> bool:
        """Whether the fault concerns a symbol of a market."""
        return self.market in ("", market) and self.symbol in ("", symbol)

    def covers_connection(self, market: str, path: str, number: int, agent: str) -> bool:
        """Whether the fault concerns a connection; one without a market serves all."""
        return (
            (not market or self.market in ("", market))
            and self.connection in (0, number)
            and (self.path == "*" or fnmatchcase(path, self.path))
            and (self.agent == "*" or fnmatchcase(agent, self.agent))
        )

    def covers_stream(self, stream: str) -> bool:
        """Whether the fault concerns a stream."""
        return self.stream == "*" or fnmatchcase(stream, self.stream)


class ActiveFault:
    """A fault that has been set: its number, its own random draws and how often it struck."""

    def __init__(self, number: int, fault: Fault, seed: int, set_ms: float) -> None:
        self.number = number
        self.fault = fault
        self.random = random.Random(f"{seed}/fault/{number}")  # noqa: S311 - reproducible, not secret
        self.starts_ms = set_ms + fault.after_s * 1000
        self.ends_ms = self.starts_ms + fault.for_s * 1000 if fault.for_s else float("inf")
        self.on = False
        self.cases = 0
        self.hits = 0

    def strikes(self) -> bool:
        """Count a case and decide whether the fault strikes."""
        fault = self.fault
        self.cases += 1
        if self.cases <= fault.skip or (fault.count and self.hits >= fault.count):
            return False
        if fault.share < 1 and self.random.random() >= fault.share:
            return False
        self.hits += 1
        return True


class FaultBoard:
    """All faults that are set, and of them those switched on, grouped by where they act."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._next_number = 1
        self._faults: dict[int, ActiveFault] = {}
        self.waiting = False
        self.stream_faults: list[ActiveFault] = []
        self.connection_faults: list[ActiveFault] = []
        self._on: dict[str, list[ActiveFault]] = {}

    def add(self, fault: Fault, now_ms: float) -> ActiveFault:
        """Set a fault; it is switched on by `advance`."""
        active = ActiveFault(self._next_number, fault, self._seed, now_ms)
        self._next_number += 1
        self._faults[active.number] = active
        self.waiting = True
        return active

    def remove(self, number: int | None) -> list[ActiveFault]:
        """Take back one fault, or all of them; the ones that were on are given back."""
        numbers = list(self._faults) if number is None else [number]
        removed = [self._faults.pop(number) for number in numbers if number in self._faults]
        self._group()
        return [active for active in removed if active.on]

    def advance(self, now_ms: float) -> tuple[list[ActiveFault], list[ActiveFault]]:
        """Switch faults on and off by time: those that came on now, and those that went off."""
        begun: list[ActiveFault] = []
        ended: list[ActiveFault] = []
        for active in list(self._faults.values()):
            if not active.on and active.starts_ms <= now_ms:
                active.on = True
                begun.append(active)
            if active.on and active.ends_ms <= now_ms:
                ended.append(active)
                del self._faults[active.number]
        if begun or ended:
            self._group()
        self.waiting = any(not active.on or active.fault.for_s for active in self._faults.values())
        return begun, ended

    def _group(self) -> None:
        self._on = {}
        for active in self._faults.values():
            if active.on:
                self._on.setdefault(active.fault.kind, []).append(active)
        events = [active for kind in EVENT_KINDS for active in self._on.get(kind, ())]
        self.stream_faults = [active for active in events if not active.fault.for_one_connection]
        self.connection_faults = [active for active in events if active.fault.for_one_connection]

    def on(self, kind: str) -> list[ActiveFault]:
        """The faults of one kind that are switched on."""
        return self._on.get(kind, [])

    def strike(self, kind: str, market: str, symbol: str, path: str, agent: str) -> Fault | None:
        """The first fault of a kind that covers a request and strikes it."""
        for active in self.on(kind):
            fault = active.fault
            covered = fault.covers(market, symbol) and fault.covers_connection(market, path, 0, agent)
            if covered and active.strikes():
                return fault
        return None

    def all(self) -> Iterable[ActiveFault]:
        """Every fault that is set."""
        return self._faults.values()
