"""A simulated market and the line that follows it, in one process and in a time of their own.

The frames are the exchange's, and go the way they go in a fleet: session, line, log. What becomes of the entries is for
the worlds of books and of single orders.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Final

from workers.conformance.problems import Problems
from workers.conformance.venues.places import Place, root_of
from workers.conformance.venues.rest import ModelRest
from workers.conformance.venues.socket import ModelSocket
from workers.ingest.line import Line
from workers.ingest.subscriptions import Refusals
from workers.settings.schema import IngestSettings, VenueSettings
from workers.sim.engine.exchange import Exchange
from workers.sim.flavours import FLAVOURS
from workers.sim.settings import SimSettings
from workers.store.keys import Keys
from workers.store.log.streams import RawEntry
from workers.venues.interface import Endpoint
from workers.venues.session import Event

BEGIN_MS: Final = 1_700_000_000_000
STEP_MS: Final = 40
REFUSED_RETRY_S: Final = 2.0


class MarketWorld(Problems, ABC):
    """One market of one exchange, followed. Times are the market's, which cost a tenth of ours.

    Args:
        name: begins each problem.
        settings: of the venue.
        simulated: of the exchange, besides what every world has.
    """

    longest_s: ClassVar[float]
    """How long anything may take to come true."""

    def __init__(
        self, name: str, place: Place, settings: VenueSettings, symbols: Sequence[str], **simulated: Any
    ) -> None:
        super().__init__(name)
        self.place, self.settings = place, settings
        self.venue = place.venue(settings)
        steady = SimSettings(
            flavour=place.exchange,
            symbols={place.market: tuple(symbols)},
            rate_scale=2.0,
            jump_every_s=0,
            burst_every_s=0,
            **simulated,
        )
        self.exchange: Exchange[Any] = Exchange(FLAVOURS[place.exchange](steady), steady, BEGIN_MS)
        self.rest = ModelRest(self.exchange)
        self.line = Line(self.venue, Keys(), "a", IngestSettings(), symbols, self._append, recorded=True)
        self.malformed = self.compared = 0
        self.refusals = Refusals(REFUSED_RETRY_S)
        self.sockets: list[ModelSocket] = []

    @abstractmethod
    def _append(self, entry: RawEntry) -> None:
        """The line appends an entry to its log."""

    @abstractmethod
    def _step(self) -> None:
        """What all but the exchange do when time has passed."""

    @abstractmethod
    def frame(self, socket: ModelSocket, payload: bytes, stream: str) -> Iterable[Event]:
        """See `workers.conformance.venues.socket.Reader`."""

    @abstractmethod
    def told_all(self) -> None:
        """The same."""

    def torn(self, socket: ModelSocket, names: list[tuple[str, str]]) -> None:
        """The same."""
        self.line.torn(socket.session, names, self.now_us)

    def begun_anew(self, socket: ModelSocket, names: list[tuple[str, str]]) -> None:
        """The same."""
        self.line.begun_anew(socket.session, names, self.now_us)

    @property
    def now_us(self) -> int:
        """The time."""
        return int(self.exchange.now_ms * 1000)

    def open(self, endpoint: Endpoint) -> ModelSocket:
        """A new socket."""
        root = root_of(self.exchange.flavour, self.place.market, endpoint.url)
        assert root is not None
        socket = ModelSocket(self.exchange, root, self.venue, self.settings, endpoint, self.refusals, self)
        self.sockets.append(socket)
        return socket

    def listed(self, symbol: str) -> Any:
        """The symbol on the exchange."""
        return self.exchange.listed(self.place.market)[symbol]

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        end_ms = self.exchange.now_ms + seconds * 1000
        while self.exchange.now_ms < end_ms:
            self.exchange.advance(min(end_ms, self.exchange.now_ms + STEP_MS))
            self._step()

    def until(self, what: str, condition: Callable[[], bool], longest_s: float | None = None) -> bool:
        """Let time pass until something is so; a problem when it does not come."""
        most_s = self.longest_s if longest_s is None else longest_s
        end_ms = self.exchange.now_ms + most_s * 1000
        while not condition():
            if self.exchange.now_ms >= end_ms:
                self.problem(f"in {most_s:g} s it did not come true that {what}.")
                return False
            self.run(STEP_MS / 1000)
        return True

    def remove(self, number: int | None = None) -> None:
        """Take a fault back, or all of them."""
        self.exchange.remove_faults(number)

    def stop(self) -> None:
        """The market stands still; what the line holds back comes."""
        self.exchange.pause()
        self._step()
        self.line.tick(self.now_us, all_held=True)


def first_difference(ours: Sequence[Any], really: Sequence[Any]) -> int:
    """The first place at which two lists differ."""
    pairs = enumerate(zip(ours, really, strict=False))
    return next((at for at, pair in pairs if pair[0] != pair[1]), min(len(ours), len(really)))
