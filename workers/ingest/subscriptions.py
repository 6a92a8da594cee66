"""What one socket is to bring, sans I/O: what was asked for, answered, refused, heard, and is to be asked for again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from workers.model.pauses import Pauses
from workers.plain_text import plain
from workers.venues.channels import PATIENCE, QUIET
from workers.venues.messages import Subscription

Method = Literal["subscribe", "unsubscribe"]

PAUSES: Final = 4.0
"""A stream is suspicious once it is silent this many times longer than its longest recent pause."""
FORGETTING: Final = 0.99
"""What a message leaves of the longest pause before it: a pause counts for some hundred messages."""
MOST_DOUBLINGS: Final = 6
"""Repeated requests for one stream become rarer up to 64 times the first pause."""
JUST_NOW_S: Final = 1.0
"""A stream heard this recently is not dead on this socket, whoever says so."""
ANSWER_S: Final = 5.0
"""What comes so soon after a subscription may be its answer, a whole book or trades of before, as of a stream that is
quiet: it says nothing of the stream's own pauses."""
PROVEN_S: Final = 60.0
"""Whoever says that a stream is dead is heard so long after the last request, however many were in vain."""


class Request(NamedTuple):
    """Control frames about the same streams, which go out without a pause between them."""

    methods: tuple[Method, ...]
    streams: list[Subscription]


@dataclass
class Refusal:
    """A stream the exchange refused; times are monotonic seconds."""

    stream: Subscription
    code: int
    message: str
    pauses: Pauses
    pause_s: float
    due: float


class Refusals:
    """The streams that the exchange refuses to one line of a venue.

    They outlive the socket: its successor asks for each of them apart, so that they cost no other stream anything.

    Args:
        first_s: pause before the first repetition; it doubles up to 64 times as long.
    """

    def __init__(self, first_s: float) -> None:
        self._first_s = first_s
        self._by_stream: dict[str, Refusal] = {}

    def __contains__(self, stream: str) -> bool:
        """Whether a stream is refused."""
        return stream in self._by_stream

    def note(self, stream: Subscription, code: int, message: str, now: float) -> Refusal | None:
        """A stream was refused; the refusal if it is news, None if the exchange repeats itself."""
        before = self._by_stream.get(stream.stream)
        pauses = Pauses(self._first_s, self._first_s * 2**MOST_DOUBLINGS) if before is None else before.pauses
        pause = pauses.take()
        refusal = self._by_stream[stream.stream] = Refusal(stream, code, message, pauses, pause, now + pause)
        return refusal if before is None or (before.code, before.message) != (code, message) else None

    def end(self, stream: str) -> bool:
        """A stream was accepted, or is wanted no more; whether it was refused before."""
        return self._by_stream.pop(stream, None) is not None

    def due(self, stream: str, now: float) -> bool:
        """Whether a stream may be asked for (again)."""
        refusal = self._by_stream.get(stream)
        return refusal is None or now >= refusal.due

    def names(self) -> list[str]:
        """`SYMBOL@channel` of each."""
        return named(one.stream for one in self._by_stream.values())

    def reasons(self) -> dict[str, str]:
        """By `SYMBOL@channel`, what the exchange said."""
        return {
            name: f"{one.code}: {plain(one.message)}"
            for one in self._by_stream.values()
            for name in named([one.stream])
        }


class _Pulse:
    """When one stream was heard, and its longest recent pause (monotonic seconds)."""

    __slots__ = ("asked", "due", "last", "longest", "requested", "stream")

    def __init__(self, stream: Subscription) -> None:
        self.stream = stream
        self.last = self.due = self.longest = 0.0
        self.requested = -ANSWER_S
        self.asked = 0
        """Times it was subscribed anew since it was heard by itself."""


class _Open(NamedTuple):
    """A control frame without an answer."""

    method: Method
    streams: list[Subscription]
    sent: float


class Subscriptions:
    """The streams of one socket; all times are monotonic seconds.

    Args:
        refusals: shared by the sockets of the line.
        step: streams named in one control frame.
        silence_s: a stream silent this long may be dead, if it is not used to pauses like that.
    """

    def __init__(self, refusals: Refusals, step: int, silence_s: float) -> None:
        self._refusals = refusals
        self._step = step
        self._silence_s = silence_s
        self._wanted: dict[str, Subscription] = {}
        self._apart: dict[str, Subscription] = {}
        """Wanted, refused to the line, and not asked for on this socket at the moment."""
        self._pulses: dict[tuple[str, str], _Pulse] = {}
        self._unheard: set[tuple[str, str]] = set()
        self._queue: deque[Request] = deque()
        self._open: dict[int, _Open] = {}
        self._anew: set[str] = set()
        """Wire names of those asked for anew, until that is acknowledged."""
        self._begun: list[Subscription] = []

    def __len__(self) -> int:
        """How many are wanted."""
        return len(self._wanted)

    def want(self, streams: Sequence[Subscription]) -> None:
        """Want these too."""
        for one in streams:
            self._wanted[one.stream] = one
            self._pulses[one.channel, one.symbol] = _Pulse(one)
            self._unheard.add((one.channel, one.symbol))
        self._apart |= {one.stream: one for one in streams if one.stream in self._refusals}
        self._push(("subscribe",), [one for one in streams if one.stream not in self._apart])

    def unwant(self, streams: Sequence[Subscription]) -> None:
        """Want these no more."""
        for one in streams:
            self._wanted.pop(one.stream, None)
            self._apart.pop(one.stream, None)
            self._pulses.pop((one.channel, one.symbol), None)
            self._unheard.discard((one.channel, one.symbol))
            self._refusals.end(one.stream)
        self._push(("unsubscribe",), streams)

    def _push(self, methods: tuple[Method, ...], streams: Sequence[Subscription]) -> None:
        for first in range(0, len(streams), self._step):
            self._queue.append(Request(methods, list(streams[first : first + self._step])))

    def next(self) -> Request | None:
        """The next control frames to send."""
        return self._queue.popleft() if self._queue else None

    @property
    def queued(self) -> bool:
        """Whether there are frames to send."""
        return bool(self._queue)

    def sent(self, number: int, method: Method, streams: list[Subscription], now: float) -> None:
        """A control frame went out under a number."""
        self._open[number] = _Open(method, streams, now)
        for one in streams:
            if (pulse := self._pulses.get((one.channel, one.symbol))) is not None:
                pulse.requested = now

    def acknowledged(self, number: int) -> list[str]:
        """A frame was acknowledged; the streams that were refused before and are not any more."""
        asked = self._open.pop(number, None)
        if asked is None or asked.method == "unsubscribe":
            return []
        return [one.stream for one in asked.streams if self._refusals.end(one.stream)]

    def accept(self, names: Sequence[str]) -> list[str]:
        """Streams were acknowledged by name; those that were refused before and are not any more."""
        self._answered(names)
        self._begin(self._wanted[name] for name in names if name in self._wanted)
        return [name for name in names if self._refusals.end(name)]

    def _begin(self, streams: Iterable[Subscription]) -> None:
        self._begun += [one for one in streams if one.stream in self._anew]
        self._anew -= {one.stream for one in self._begun}

    def begun_anew(self) -> list[tuple[str, str]]:
        """The streams (channel, symbol) that were asked for anew and now begin; each is named once.

        What the exchange sent between the last message and this moment nobody has.
        """
        begun, self._begun = self._begun, []
        return [(one.channel, one.symbol) for one in begun]

    def refuse(self, names: Sequence[str], code: int, message: str, now: float) -> list[Refusal]:
        """Streams were refused by name; the refusals that are news. Several at once are asked for apart."""
        self._answered(names)
        streams = [self._wanted[name] for name in names if name in self._wanted]
        if len(streams) > 1:
            self._queue.extend(Request(("subscribe",), [stream]) for stream in streams)
            return []
        return self._refuse(streams, code, message, now)

    def _answered(self, names: Sequence[str]) -> None:
        """Take streams out of the requests that wait for an answer."""
        named_now = set(names)
        for number, asked in list(self._open.items()):
            left = [stream for stream in asked.streams if stream.stream not in named_now]
            if left:
                self._open[number] = asked._replace(streams=left)
            else:
                del self._open[number]

    def _refuse(self, streams: Sequence[Subscription], code: int, message: str, now: float) -> list[Refusal]:
        self._apart |= {stream.stream: stream for stream in streams}
        told = [self._refusals.note(stream, code, message, now) for stream in streams]
        return [refusal for refusal in told if refusal is not None]

    def refused(self, number: int | None, code: int, message: str, now: float) -> list[Refusal]:
        """A frame was refused; the refusals that are news.

        A frame that named several streams is cut in two, until those at fault are known by name. An answer without a
        number (broken JSON, says Binance) is one to the oldest frame: answers come in order.
        """
        asked = self._open.pop(next(iter(self._open), 0) if number is None else number, None)
        if asked is None or asked.method == "unsubscribe":
            return []
        streams = [one for one in asked.streams if one.stream in self._wanted]
        if len(streams) > 1:
            middle = len(streams) // 2
            self._queue.extendleft(
                Request(("subscribe",), part) for part in (streams[middle:], streams[:middle])
            )
            return []
        return self._refuse(streams, code, message, now)

    def heard(self, channel: str, symbol: str, now: float) -> None:
        """A message of a stream arrived. Cost: O(1)."""
        pulse = self._pulses.get((channel, symbol)) or self._pulses.get((channel, ""))
        if pulse is None:
            return
        if self._unheard:
            self._unheard.discard((channel, pulse.stream.symbol))
        if now - pulse.requested > ANSWER_S:
            if pulse.last:
                pulse.longest = max(now - pulse.last, pulse.longest * FORGETTING)
            pulse.asked = 0
        pulse.last = now

    @property
    def answered(self) -> bool:
        """Whether every stream was asked for and answered for, with yes or no."""
        return not self._queue and not any(one.method == "subscribe" for one in self._open.values())

    @property
    def accepted(self) -> int:
        """Streams wanted and not refused, of which some word is to be expected."""
        return len(self._expected())

    def _expected(self) -> list[Subscription]:
        return [one for name, one in self._wanted.items() if name not in self._apart and one.patience < QUIET]

    @property
    def patience(self) -> float:
        """How many times longer than a socket of books this one may be silent."""
        return min((one.patience for one in self._expected()), default=PATIENCE)

    @property
    def unheard(self) -> list[Subscription]:
        """Those that never spoke, though they were not refused and should have."""
        return [
            pulse.stream
            for name, pulse in self._pulses.items()
            if name in self._unheard
            and pulse.stream.stream not in self._apart
            and pulse.stream.patience < QUIET
        ]

    def unanswered(self, now: float, patience_s: float) -> list[int]:
        """Numbers of requests that nobody answered in time and whose streams are silent; each is named once."""
        found = []
        for number, asked in list(self._open.items()):
            if asked.method == "subscribe" and now - asked.sent > patience_s:
                del self._open[number]
                if all((one.channel, one.symbol) in self._unheard for one in asked.streams):
                    found.append(number)
        return found

    def again(self, streams: Sequence[Subscription]) -> None:
        """Subscribe anew to streams.

        In one breath: what a quiet stream sends while it is not subscribed may be lost on both lines, as they were
        started together and so do this together.
        """
        self._anew |= {one.stream for one in streams}
        self._push(("unsubscribe", "subscribe"), streams)

    def names_of(self, names: Iterable[str]) -> list[tuple[str, str]]:
        """The channel and symbol of streams that are wanted, by their wire names."""
        wanted = (self._wanted[name] for name in names if name in self._wanted)
        return [(stream.channel, stream.symbol) for stream in wanted]

    def renew(self, names: Iterable[tuple[str, str]]) -> int:
        """Subscribe anew to those of some streams (channel, symbol) that are on this socket; how many."""
        pulses = (self._pulses[name] for name in names if name in self._pulses)
        streams = [pulse.stream for pulse in pulses if pulse.stream.stream not in self._apart]
        self.again(streams)
        return len(streams)

    def anew(self, names: Sequence[str]) -> None:
        """Subscribe anew to streams, by their wire names, that are wanted and not refused."""
        self.again([self._wanted[name] for name in names if name in self._wanted and name not in self._apart])

    def retry(self, now: float) -> None:
        """Ask for refused streams whose pause is over, each by itself."""
        for one in [one for one in self._apart.values() if self._refusals.due(one.stream, now)]:
            del self._apart[one.stream]
            self._queue.append(Request(("subscribe",), [one]))

    def stopped(self, now: float, patience: float) -> list[Subscription]:
        """Streams that fell silent, which a living socket can do alone; each is subscribed anew.

        Args:
            patience: factor on the silence, so that two lines do not do it at once.
        """
        found = []
        for name, pulse in self._pulses.items():
            if name in self._unheard or pulse.stream.stream in self._apart:
                continue
            wait = max(self._silence_s * pulse.stream.patience, pulse.longest * PAUSES) * patience
            if now - pulse.last > wait and (not pulse.asked or now >= pulse.due):
                self._asked_anew(pulse, now, wait)
                found.append(pulse.stream)
        self.again(found)
        return found

    def revive(self, names: Iterable[tuple[str, str]], now: float) -> list[Subscription]:
        """Subscribe anew to those of some streams (channel, symbol) that are on this socket and not heard just now."""
        found = []
        for name in names:
            pulse = self._pulses.get(name)
            if pulse is None or pulse.stream.stream in self._apart or now - pulse.last <= JUST_NOW_S:
                continue
            if not pulse.asked or now >= min(pulse.due, pulse.requested + PROVEN_S):
                self._asked_anew(pulse, now, self._silence_s)
                found.append(pulse.stream)
        self.again(found)
        return found

    @staticmethod
    def _asked_anew(pulse: _Pulse, now: float, wait: float) -> None:
        pulse.due = now + wait * 2 ** min(pulse.asked, MOST_DOUBLINGS)
        pulse.asked += 1


def named(streams: Iterable[Subscription]) -> list[str]:
    """`SYMBOL@channel` of each, for people."""
    return sorted(f"{one.symbol}@{one.channel}" for one in streams)
