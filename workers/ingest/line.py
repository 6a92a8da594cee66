"""One line of one venue: frames in, stream entries out. No socket and no clock: the replay feeds it too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

import structlog
from msgspec.structs import replace

from workers.errors import MalformedFrame
from workers.ingest.arrivals import ArrivalClock
from workers.ingest.book_turns import BookTurns, written_by_turns
from workers.ingest.chain import FAR_HOLD_MS, StreamChain
from workers.ingest.filing import FilingTime
from workers.ingest.metrics import (
    ABSURD_IDS,
    CONTRADICTIONS,
    FAILED,
    LINE_BREAKS,
    LINE_REPEATS,
    MALFORMED,
    MESSAGES,
    REFUSALS,
    UNKNOWN,
)
from workers.ingest.wholeness import Wholeness
from workers.plain_text import plain
from workers.settings.schema import IngestSettings
from workers.store.keys import DEPTH, ORDERS, TICKER, TRADES, Keys
from workers.store.log.streams import RawEntry
from workers.venues.facts import Continuity
from workers.venues.interface import Venue
from workers.venues.messages import Channel, Message, Refused
from workers.venues.session import Event, RefusedStreams, Session, Unusable

log = structlog.get_logger()

MOST_TOLD: Final = 20
"""Anomalies of one kind that are logged one by one; after that every thousandth."""

MOST_SHOWN: Final = 200
"""Bytes of a message that the log shows."""


class Stream(NamedTuple):
    """A stream of the log as a line sees it."""

    key: str
    chain: StreamChain
    is_chained: bool
    """Whether ids alone say what of it is missing."""


class Line:
    """Files frames, checks their sequence and hands on what the streams shall hold.

    Args:
        append: takes entries in the order they shall be appended.
        joining: another line may be writing already (see `StreamChain`).
        clock, recorded: see `FilingTime`.
        tell: takes what the gaps stream shall say of an entry that is not appended, and why.
        wholeness: is told what comes and ends; None: the log does not learn when no line received trades that no id
            tells of.
        holds: called when messages begin to be held back: `tick` lets them pass in time.
    """

    def __init__(
        self,
        venue: Venue,
        keys: Keys,
        line: str,
        settings: IngestSettings,
        symbols: Iterable[str],
        append: Callable[[RawEntry], None],
        *,
        joining: bool = False,
        clock: ArrivalClock | None = None,
        tell: Callable[[RawEntry, str], None] | None = None,
        wholeness: Wholeness | None = None,
        recorded: bool = False,
        holds: Callable[[], None] = lambda: None,
    ) -> None:
        self._wholeness = wholeness if venue.facts.trade_ids != "consecutive" else None
        self._holds = holds
        self._joining = joining
        self.venue = venue
        self._session = venue.session("")
        self._rising = venue.facts.continuity is Continuity.RISING
        self._only_ordered = int(self._rising)
        self._named = {*venue.channels, *([TRADES] if venue.facts.trade_ids != "consecutive" else [])}
        """The channels of which the log goes by names, as ids do not tell what is missing."""
        self._by_turns = written_by_turns(venue)
        self._turns, self._numbers = BookTurns(line), 0
        self.line = line
        self._keys = keys
        self._settings = settings
        self._append = append
        self._tell = tell
        self._streams: dict[tuple[str, str], Stream] = {}
        self._given_up: set[str] = set()
        for symbol in symbols:
            self.follow(symbol)
        self._labels = (venue.name, line)
        self._messages = {
            channel: MESSAGES.labels(venue.name, line, channel)
            for channel in (DEPTH, TRADES, TICKER, ORDERS, *venue.channels)
        }
        self.counts: Counter[str] = Counter()
        self.contradictory: Counter[str] = Counter()
        """Trades refused because another one of their id had come, by symbol."""
        self._told: Counter[str] = Counter()
        self._holding: set[tuple[str, str]] = set()
        self._filing = FilingTime(venue.name, line, settings, clock, self._telling, recorded=recorded)

    def follow(self, symbol: str) -> None:
        """Take up a symbol: from now on its messages are appended."""
        self._given_up.discard(symbol)
        for channel in (DEPTH, TRADES, TICKER, ORDERS, *self.venue.channels):
            key = self._keys.raw(symbol, channel)
            by_turns = channel in self._by_turns or (channel == DEPTH and self._rising)
            is_chained = not by_turns and channel not in self._named
            self._streams.setdefault(
                (channel, symbol), Stream(key, StreamChain(joining=self._joining), is_chained)
            )

    def give_up(self, symbol: str) -> None:
        """Append what is held of a symbol and nothing more, also of what is still on its way."""
        for name in [name for name in self._streams if name[1] == symbol]:
            stream = self._streams.pop(name)
            self._holding.discard(name)
            for message in stream.chain.release():
                self._pass(stream.key, message)
        self._given_up.add(symbol)
        if self._wholeness is not None:
            self._wholeness.forget(symbol)

    def frame(
        self, frame: bytes | str, received_us: int, session: Session | None = None
    ) -> Sequence[Event] | None:
        """Take in one frame; what it meant, or None for one that could not be used (logged and counted).

        Args:
            received_us: when it arrived, µs since 1970.
            session: of the socket it came over; None: all frames come over one.
        """
        received_us = self._filing.received_us(received_us)
        try:
            session = session or self._session
            if self._wholeness is not None:
                self._wholeness.frame(session, received_us)
            events = session.received(frame, received_us // 1000)
            for index, event in enumerate(events):
                if isinstance(event, Message):
                    try:
                        self._message(event, received_us, session)
                    except MalformedFrame as error:
                        if len(events) == 1:
                            raise
                        self._malformed(str(error))  # one trade of before that is too old costs no other
                        events[index] = Unusable(str(error))
                elif isinstance(event, Refused | RefusedStreams):
                    REFUSALS.labels(*self._labels).inc()
                elif isinstance(event, Unusable):
                    self._malformed(event.problem)
        except MalformedFrame as error:
            self._malformed(str(error))
            return None
        except Exception:
            # Both lines meet the same frame: an error nobody foresaw must cost this frame and nothing else.
            FAILED.labels(*self._labels).inc()
            if self._telling("failed"):
                log.exception(
                    "frame_failed", venue=self.venue.name, line=self.line, excerpt=repr(frame[:120])
                )
            return None
        return events

    def _malformed(self, problem: str) -> None:
        MALFORMED.labels(*self._labels).inc()
        if self._telling("malformed"):
            log.warning("malformed_frame", venue=self.venue.name, line=self.line, error=problem)

    def _telling(self, kind: str) -> bool:
        """Count an anomaly; whether it is to be logged: not a log line a message."""
        self.counts[kind] += 1
        return self.counts[kind] <= MOST_TOLD or self.counts[kind] % 1000 == 0

    def ended(self, session: Session, now_us: int, *, succeeded: bool = False) -> None:
        """A socket has ended: nobody will say what its books, which only it could go on with, missed meanwhile.

        Args:
            succeeded: another one brings its streams already.
        """
        now_us = self._filing.received_us(now_us)
        if self._wholeness is not None:
            self._wholeness.ended(session, now_us, succeeded=succeeded)
        for name, turn in self._turns.close(session).items():
            if not succeeded or name[0] in self._by_turns:
                self._break(name, turn, now_us)

    def begun_anew(self, session: Session, names: Iterable[tuple[str, str]], now_us: int) -> None:
        """Streams (channel, symbol) of a socket that were asked for anew begin now: where no id shows what the exchange
        sent meanwhile, and no whole book follows, the log says that something may be missing."""
        for channel, symbol in names:
            if channel == DEPTH and self._rising:
                self.torn(session, [(channel, symbol)], now_us)
            elif channel == TRADES and self._wholeness is not None:
                self._wholeness.begun_anew(symbol)

    def torn(
        self, session: Session, names: Iterable[tuple[str, str]], now_us: int, data: bytes = b""
    ) -> None:
        """Something is missing in streams (channel, symbol) of a socket: their books end here.

        Args:
            data: what the exchange said of it.
        """
        now_us = self._filing.received_us(now_us)
        for channel, symbol in names:
            if channel in self._by_turns:
                self._break((channel, symbol), self._turns.of(session, (channel, symbol)), now_us, data)
                self._turns.end(session, (channel, symbol))
            elif channel == DEPTH:
                self._break((channel, symbol), "", now_us, data)

    def _break(self, name: tuple[str, str], turn: str, now_us: int, data: bytes = b"") -> None:
        stream = self._streams.get(name)
        if stream is None:
            return
        entry = RawEntry(stream.key, now_us // 1000, 0, data, now_us, self.line, "break")
        if name[0] in self._by_turns:
            self._numbers += 1
            entry = entry._replace(turn=turn, number=self._numbers)
        self._append(entry)

    def taking_over(self, channel: str, symbol: str) -> None:
        """Another line wrote a book until now, and this one has asked for the whole of it."""
        self._turns.end_all((channel, symbol))

    def _message(self, message: Message, received_us: int, session: Session) -> None:
        stream = self._streams.get((message.channel, message.symbol))
        if stream is None:
            extra = self.venue.channels.get(message.channel)
            if message.symbol in self._given_up or (extra and extra.whole_market):
                return
            self.counts["unknown_symbol"] += 1
            UNKNOWN.labels(*self._labels).inc()
            if self.counts["unknown_symbol"] == 1:
                log.warning("unknown_symbol", venue=self.venue.name, line=self.line, symbol=message.symbol)
            return
        message.event_ms = self._filing.of(message, received_us)
        self.counts[message.channel] += 1
        message.received_us = received_us
        if stream.is_chained and message.kind == "update" and stream.chain.goes_on(message):
            self._append(self._entry(stream.key, message))
            return
        if message.channel in self._by_turns:
            self._numbers += 1
            entry = self._entry(stream.key, message)
            turn = self._turns.of(session, (message.channel, message.symbol))
            self._append(entry._replace(update_id=0, turn=turn, number=self._numbers))
            return
        if message.channel == DEPTH and self._rising:
            # no id shows what came before the socket: the log does not take what the other line brings after this
            begins = self._turns.begins(session, (DEPTH, message.symbol))
            if begins or (stream.chain.last_id < 0 and not stream.chain.holding):
                self._break((DEPTH, message.symbol), "", received_us)
        if message.channel in self._named:
            self._append_named(stream.key, message, session)
            return
        if message.kind != "update":
            if message.kind == "snapshot" and stream.chain.begins_anew(message):
                message.kind = "restart"
            for passed in stream.chain.go_on_from(message, anew=message.kind == "restart"):
                self._pass(stream.key, passed)
            return
        self._chain(stream, message, received_us // 1000)

    def _append_named(self, key: str, message: Message, session: Session) -> None:
        if self._wholeness is not None and message.channel == TRADES:
            self._wholeness.trade(session, message.symbol, message.event_ms, message.received_us)
        self._append(self._entry(key, message)._replace(name=message.name or str(message.update_id)))

    def _chain(self, stream: Stream, message: Message, now_ms: int) -> None:
        """Check the sequence: what may be appended now is passed on, what is odd is told."""
        chain = stream.chain
        repeats, breaks, absurd = chain.repeats, chain.breaks, chain.absurd
        for passed in chain.accept(message, now_ms, self._settings.id_reset_ms):
            self._pass(stream.key, passed)
        if chain.repeats != repeats:
            LINE_REPEATS.labels(*self._labels).inc()
            if (other := chain.other_than(message)) is not None:
                self._compare(stream.key, message, other)
        if chain.absurd != absurd:
            ABSURD_IDS.labels(*self._labels).inc(chain.absurd - absurd)
            if self._telling("absurd_id"):
                log.warning("trade_id_absurd", venue=self.venue.name, line=self.line, symbol=message.symbol,
                            messages=chain.absurd - absurd, goes_on_at=message.update_id)  # fmt: skip
        if chain.breaks != breaks:
            LINE_BREAKS.labels(*self._labels).inc()
        if chain.holding:
            self._holding.add((message.channel, message.symbol))
            self._holds()

    def _compare(self, key: str, message: Message, passed: bytes) -> None:
        """A trade came again in other bytes: the first is in the log, another is told of."""
        symbol = message.symbol
        first, other = self.venue.trade(passed, symbol), self.venue.trade(message.data, symbol)
        if replace(first, event_time=0) == replace(other, event_time=0):
            return
        CONTRADICTIONS.labels(*self._labels).inc()
        self.contradictory[message.symbol] += 1
        if self._telling("contradictory"):
            log.warning("trade_contradictory", venue=self.venue.name, line=self.line, symbol=message.symbol,
                        trade_id=message.update_id, kept=repr(passed[:MOST_SHOWN]),
                        refused=repr(message.data[:MOST_SHOWN]))  # fmt: skip
        if self._tell is not None:
            fills = f"fills {other.first_trade_id} to {other.last_trade_id}"
            why = f"contradictory: another trade of this id, {fills}, {plain(other.quantity)} at {plain(other.price)}"
            self._tell(self._entry(key, message), why)

    def _pass(self, key: str, message: Message) -> None:
        self._append(self._entry(key, message))

    def _entry(self, key: str, message: Message) -> RawEntry:
        return RawEntry(
            key,
            message.event_ms,
            message.update_id,
            message.data,
            message.received_us,
            self.line,
            message.kind,
            number=self._only_ordered,
        )

    def tick(self, now_us: int, *, all_held: bool = False) -> None:
        """Let pass what was held for longer than the grace (or everything, at the end of a recording)."""
        for name in list(self._holding):
            stream = self._streams[name]
            try:
                self._release(name[0], stream, now_us // 1000, all_held=all_held)
            except Exception:  # as for a frame: what is held of one stream must not end the line
                FAILED.labels(*self._labels).inc()
                log.exception("frame_failed", venue=self.venue.name, line=self.line, stream=stream.key)
                stream = self._streams[name] = stream._replace(chain=StreamChain(joining=True))
            if not stream.chain.holding:
                self._holding.discard(name)

    def report(self) -> None:
        """Count the messages since the last time in the metric: not one by one, for a metric costs a lock."""
        for channel, metric in self._messages.items():
            metric.inc(self.counts[channel] - self._told[channel])
            self._told[channel] = self.counts[channel]

    def _release(self, channel: str, stream: Stream, now_ms: int, *, all_held: bool) -> None:
        hold_ms = self._settings.hold_ms
        if channel == TRADES and stream.chain.last_id >= 0:  # a line that joins has missed nothing yet
            hold_ms = max(hold_ms, self._settings.trade_hold_ms)
        if all_held or stream.chain.overdue(now_ms, hold_ms):
            for message in stream.chain.release(None if all_held else now_ms - hold_ms):
                self._pass(stream.key, message)
        for message in stream.chain.release_far(None if all_held else now_ms - FAR_HOLD_MS):
            self._pass(stream.key, message)

    @property
    def holding(self) -> bool:
        """Whether anything is held back now."""
        return bool(self._holding)

    @property
    def held_back(self) -> dict[str, tuple[str, str]]:
        """By their key, the streams (channel, symbol) of which messages are held back."""
        return {self._streams[name].key: name for name in self._holding}

    def supplied(self, name: tuple[str, str], log_id: int, log_ms: int) -> None:
        """Let pass what was held back for want of what the log has: it is at an update id and time (exchange ms)."""
        stream = self._streams.get(name)
        if stream is not None:
            for message in stream.chain.supplied(log_id, log_ms, self._settings.id_reset_ms):
                self._pass(stream.key, message)

    def holds(self, channel: Channel, symbol: str) -> bool:
        """Whether messages of a stream are held back now."""
        stream = self._streams.get((channel, symbol))
        return stream is not None and stream.chain.holding > 0

    @property
    def breaks(self) -> int:
        """Breaks seen in this line's own sequences so far."""
        return sum(stream.chain.breaks for stream in self._streams.values())

    @property
    def repeats(self) -> int:
        """Repeats this line saw of its own messages."""
        return sum(stream.chain.repeats for stream in self._streams.values())
