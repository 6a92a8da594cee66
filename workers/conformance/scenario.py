"""What a scenario is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec

from workers.conformance.fleet.run import FleetRun
from workers.conformance.model.world import ModelWorld
from workers.conformance.orders.world import OrdersWorld
from workers.conformance.result import LEVELS, Level
from workers.conformance.venues.needs import every_venue
from workers.conformance.venues.world import VenueWorld
from workers.venues.facts import Facts
from workers.venues.order_feed import OrderFeed

ModelScript = Callable[[ModelWorld], None]
VenueScript = Callable[[VenueWorld], None]
OrdersScript = Callable[[OrdersWorld], None]
FleetScript = Callable[[FleetRun], Awaitable[None]]


@dataclass(frozen=True)
class OnModel:
    """How a scenario runs against one book without sockets.

    script: what the world does, step by step, and what it expects besides the truth.
    limit: levels a side of the snapshots the reader asks for.
    reach: how far from the middle of the market its levels lie, in ticks.
    middle: where the market begins, in hundredths.
    symbol: what the messages call it.
    """

    script: ModelScript
    limit: int = 1000
    reach: int = 12
    middle: int = 10_000
    symbol: str = "BNBBTC"
    begins_empty: bool = False


@dataclass(frozen=True)
class OnVenues:
    """How a scenario runs on the model level of the other exchanges that are simulated.

    script: what the world does, step by step, and what it expects besides the truth.
    needs: whether a venue knows what happens, by its facts.
    """

    script: VenueScript
    needs: Callable[[Facts], bool] = every_venue


def every_feed(feed: OrderFeed) -> bool:
    """Any exchange that tells single orders knows it."""
    return True


@dataclass(frozen=True)
class OnOrders:
    """How a scenario runs on the single orders of the exchanges that are simulated with them.

    script: what the world does, step by step, and what it expects besides the truth.
    needs: whether a venue knows what happens, by how it tells its orders.
    settings: of the venue.
    """

    script: OrdersScript
    needs: Callable[[OrderFeed], bool] = every_feed
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class OnFleet:
    """How a scenario runs against the whole fleet.

    script: what the world does, and what it expects besides the truth.
    books: the books it happens to, as `market:SYMBOL`; of scenarios that run together nobody else touches them.
    alone: it happens to everybody, so nothing else runs at the same time and the calm books are looked at too.
    undisturbed: its books must stay in sync and ask for no snapshot throughout.
    unlisted: symbols of `books` which the exchange does not list at first.
    from_start: faults that are there when the fleet starts, without market and symbol.
    """

    script: FleetScript
    books: tuple[str, ...] = ()
    alone: bool = False
    undisturbed: bool = False
    unlisted: tuple[str, ...] = ()
    from_start: tuple[str, ...] = ()

    def start_faults(self) -> list[str]:
        """The faults that are there from the start, each for its book alone."""
        scopes = [name.split(":", 1) for name in self.books]
        return [
            f"{text} market={market} symbol={symbol}" for text in self.from_start for market, symbol in scopes
        ]


@dataclass(frozen=True)
class Scenario:
    """One thing that happens, and what a correct reader makes of it.

    world: one sentence, what the world does. reader: one sentence, what a correct reader must see.
    needs: a module that must be installed for it, besides those every fleet has.
    takes_long: it takes minutes of a busy machine, so that `fleet test` runs it with `--full` only.
    every_venue: it is the one of `fleet.every_venue`, on a fleet of all other exchanges.
    """

    name: str
    world: str
    reader: str
    model: OnModel | None = None
    fleet: OnFleet | None = None
    needs: str = ""
    takes_long: bool = False
    venues: OnVenues | None = None
    orders: OnOrders | None = None
    every_venue: bool = False

    @property
    def possible(self) -> bool:
        """Whether what it needs is installed."""
        return not self.needs or find_spec(self.needs) is not None

    @property
    def levels(self) -> list[Level]:
        """Where it runs."""
        on = {
            "model": any(where is not None for where in (self.model, self.venues, self.orders)),
            "fleet": self.fleet is not None or self.every_venue,
        }
        return [level for level in LEVELS if on[level]]

    def on(self, level: Level, *, default: bool, others: bool) -> bool:
        """Whether it runs on a level where the default exchange, or others, are asked for."""
        if level == "fleet":
            return (default and self.fleet is not None) or (others and self.every_venue)
        on_others = self.venues is not None or self.orders is not None
        return (default and self.model is not None) or (others and on_others)
