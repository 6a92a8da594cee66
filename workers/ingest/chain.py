"""Sequence checking of one line: what passes at once, what waits for the other line, what is a repeat."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from workers.model.trades.numbering import CONFIRMING, MOST_JUMP, is_far
from workers.store.keys import TRADES
from workers.venues.messages import Message

FAR_HOLD_MS: Final = 10_000
"""How long an id far beyond the last waits to be confirmed; then it passes, and the fold has to judge it."""
ANEW_MS: Final = 500
"""A whole book of an id that was, but so much later than the last message, says that ids began anew: of two servers one
may lag, but less."""
REMEMBERED: Final = 32
"""Trades of one stream that a repeat is compared with."""
MOST_HELD: Final = 2_000
"""Messages one stream may hold back; beyond it they pass, break or no break."""


class StreamChain:
    """The chain of one stream on one line (DESIGN: Ingest).

    A message that does not follow the last one is held, so that the other line can supply what is missing
    first; after the grace it passes, and only what no line had is a gap. Each break has a grace of its own. An id
    of a trade that is absurdly far ahead would shut out all that follow: it passes when others confirm it, and is
    dropped when the stream goes on where it was.
    Cost: O(1) per message in order.

    Args:
        joining: the stream may be at an earlier id than the first message, because the other line is slower or this
            one has just started: then the first message waits too, or it would shut out what the other line brings.
    """

    __slots__ = (
        "_far",
        "_far_since_ms",
        "_held",
        "_held_since_ms",
        "_joining",
        "_recent",
        "absurd",
        "breaks",
        "last_event_ms",
        "last_id",
        "repeats",
        "resets",
    )

    def __init__(self, *, joining: bool = False) -> None:
        self._joining = joining
        self.last_id = -1
        self.last_event_ms = 0
        self.repeats = 0
        self.breaks = 0
        self.resets = 0
        self._held: dict[int, tuple[int, Message]] = {}
        """By update id: when it came (ms), and the message."""
        self._held_since_ms = 0
        self.absurd = 0
        """Messages dropped because their ids were not of this stream."""
        self._far: list[Message] = []
        """Messages with ids far beyond the last, in a row."""
        self._far_since_ms = 0
        self._recent: dict[int, bytes] = {}
        """The newest trades by id, as they came."""

    def follows(self, message: Message) -> bool:
        """Whether nothing is missing between the last message and this one.

        Futures name their predecessor (`pu`); spot and trades continue at the next id. Two messages may
        overlap after a reconnect. A bookTicker follows any older one.
        """
        if self.last_id < 0:
            return not self._joining
        if message.previous_id >= 0:
            return message.previous_id <= self.last_id
        return message.first_id <= self.last_id + 1

    def goes_on(self, message: Message) -> bool:
        """Take a message in that may be appended at once, as nearly all may; False: `accept` is to judge it."""
        last_id, update_id = self.last_id, message.update_id
        if last_id < 0 or update_id <= last_id or self._held or self._far:
            return False
        previous_id = message.previous_id
        if (previous_id > last_id) if previous_id >= 0 else (message.first_id > last_id + 1):
            return False
        if update_id - last_id > MOST_JUMP:  # of a trade that may be absurd
            return False
        self._pass(message)
        return True

    def accept(self, message: Message, now_ms: int, id_reset_ms: int) -> list[Message]:
        """What may be appended now, in order."""
        if message.update_id <= self.last_id:
            # OKX says of a book that stands still that its id follows itself, however long after the last change
            still = message.previous_id == message.update_id
            if still or message.event_ms < self.last_event_ms + id_reset_ms:
                self.repeats += 1
                return []
            self.resets += 1
            self._drop_far()
            return [*self.release(), self._pass(message)]
        if self.last_id >= 0 and message.channel == TRADES and is_far(self.last_id + 1, message.update_id):
            return self._stray(message, now_ms)
        if self.follows(message):
            self._drop_far()
            passed = [self._pass(message)]
            if self._held:
                passed.extend(self._chained())
                self._set_held_since()
            return passed
        if message.update_id in self._held:
            self.repeats += 1
            return []
        if not self._held:
            self._held_since_ms = now_ms
            self.breaks += self.last_id >= 0
        self._held[message.update_id] = now_ms, message
        return self.release() if len(self._held) > MOST_HELD else []

    def begins_anew(self, whole: Message) -> bool:
        """Whether a whole book shows that ids began anew while no socket was open: what follows it would pass for
        repeats, and then for what follows the book before."""
        return whole.update_id < self.last_id and whole.event_ms >= self.last_event_ms + ANEW_MS

    def go_on_from(self, message: Message, *, anew: bool) -> list[Message]:
        """A whole book came: what is held and it, in order; what follows it is no break.

        Args:
            anew: the ids begin anew with it.
        """
        passed = self.release()
        self._drop_far()
        if anew or message.update_id > self.last_id:
            self.last_id = message.update_id
            self.last_event_ms = max(message.event_ms, 0)
        return [*passed, message]

    def other_than(self, message: Message) -> bytes | None:
        """The trade of the same id that came before, if it came as other bytes; None if not, or if it is forgotten."""
        if message.channel != TRADES:
            return None
        first = self._recent.get(message.update_id)
        if first is None:
            waiting = [held for _, held in self._held.values()] + self._far
            first = next((one.data for one in waiting if one.update_id == message.update_id), None)
        return first if first != message.data else None

    def _stray(self, message: Message, now_ms: int) -> list[Message]:
        """An id far beyond the last: all that is held, once enough of them are in a row."""
        if any(message.update_id == far.update_id for far in self._far):
            self.repeats += 1
            return []
        if self._far:
            last_id = self._far[-1].update_id
            if message.update_id < last_id or is_far(last_id + 1, message.update_id):
                self._drop_far()
        if not self._far:
            self._far_since_ms = now_ms
            self.breaks += 1
        self._far.append(message)
        return self.release_far() if len(self._far) >= CONFIRMING else []

    def _drop_far(self) -> None:
        if self._far:
            self.absurd += len(self._far)
            self._far.clear()

    def release_far(self, noticed_by_ms: int | None = None) -> list[Message]:
        """What is held, and after it what is far ahead.

        Args:
            noticed_by_ms: nothing if that came later. None: in any case.
        """
        if not self._far or (noticed_by_ms is not None and self._far_since_ms > noticed_by_ms):
            return []
        passed, far, self._far = self.release(), self._far, []
        return [*passed, *map(self._pass, far)]

    def _pass(self, message: Message) -> Message:
        self.last_id = message.update_id
        if message.channel == TRADES:
            self._recent[message.update_id] = message.data
            if len(self._recent) > REMEMBERED:
                del self._recent[next(iter(self._recent))]
        self.last_event_ms = message.event_ms if message.event_ms > 0 else 0
        return message

    def _chained(self) -> Iterator[Message]:
        for update_id in sorted(self._held):
            _, message = self._held[update_id]
            if update_id <= self.last_id:
                del self._held[update_id]
            elif self.follows(message):
                del self._held[update_id]
                yield self._pass(message)
            else:
                return

    def _set_held_since(self) -> None:
        self._held_since_ms = min((came_ms for came_ms, _ in self._held.values()), default=0)

    def overdue(self, now_ms: int, hold_ms: int) -> bool:
        """Whether something is held for longer than the grace; what seems to come later than now came before the clock
        was set back."""
        if self._held and now_ms < self._held_since_ms:
            self._held = {number: (now_ms, message) for number, (_, message) in self._held.items()}
            self._held_since_ms = now_ms
        return bool(self._held) and now_ms - self._held_since_ms >= hold_ms

    def release(self, noticed_by_ms: int | None = None) -> list[Message]:
        """What is held, in order, break or no break.

        Args:
            noticed_by_ms: stop at a break that was noticed later: when the first message after it came. None: at none.
        """
        order = sorted(self._held)
        noticed = list(accumulate((self._held[update_id][0] for update_id in reversed(order)), min))
        passed = []
        for update_id in order:
            noticed_ms, message = noticed.pop(), self._held[update_id][1]
            if update_id > self.last_id:
                late = noticed_by_ms is not None and noticed_ms > noticed_by_ms
                if late and not self.follows(message):
                    break
                passed.append(self._pass(message))
            del self._held[update_id]
        self._set_held_since()
        return passed

    def supplied(self, log_id: int, log_ms: int, id_reset_ms: int) -> list[Message]:
        """What of the held goes on from where the log is: the other line supplied what was missing here.

        Were it held until its grace is over, the other line could meet a break meanwhile, give up waiting for what lies
        here, and shut it out.

        Args:
            log_id: the last update id of the log.
            log_ms: its time, exchange ms. A log that is older than what passed here is not believed, nor one after
                which ids began anew.
        """
        order = sorted(self._held)
        if not order or log_id <= self.last_id or log_ms < self.last_event_ms:
            return []
        if self._held[order[0]][1].event_ms >= log_ms + id_reset_ms:
            return []
        passed = [self._pass(self._held.pop(update_id)[1]) for update_id in order if update_id <= log_id]
        if self._held and log_id > self.last_id:
            self.last_id = log_id
        passed.extend(self._chained())
        self._set_held_since()
        return passed

    @property
    def holding(self) -> int:
        """Messages held back now."""
        return len(self._held) + len(self._far)

    def check(self) -> None:
        """Assert the invariants: what is held is new and bounded, and the first of it does not follow.

        Behind that another may, where the exchange contradicts itself: they go in order all the same.
        """
        assert len(self._held) <= MOST_HELD
        assert not self._held or self._held_since_ms == min(came_ms for came_ms, _ in self._held.values())
        for update_id, (_, message) in self._held.items():
            assert update_id == message.update_id
            assert update_id > self.last_id
        assert not self._held or not self.follows(self._held[min(self._held)][1])
