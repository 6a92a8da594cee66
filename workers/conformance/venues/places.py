"""The markets that are simulated, each as the venue that follows it: found by what is registered, none by its name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from workers.errors import WrongArgument
from workers.settings.exchanges import DEFAULT, settings_of
from workers.settings.schema import VenueSettings
from workers.settings.signed import key_of
from workers.sim.engine.flavour import Flavour, Root
from workers.sim.flavours import FLAVOURS, ORDERS_PATHS
from workers.sim.settings import SimSettings
from workers.venues.facts import Facts
from workers.venues.interface import Venue
from workers.venues.order_feed import OrderFeed
from workers.venues.registry import venue_of

KEY: Final = "b3BlbiBzZXNhbWU="
"""Each part of the user's key, where an exchange wants one."""


class Place(NamedTuple):
    """A market of an exchange that is simulated.

    path: what its settings say behind the host of its sockets.
    symbols: some that it lists, in our spelling.
    """

    exchange: str
    market: str
    path: str
    symbols: tuple[str, ...]

    @property
    def name(self) -> str:
        """The settings section of it in a fleet of these."""
        return f"{self.exchange}_{self.market}"

    def settings(self, websocket: str = "ws://exchange", rest: str = "http://exchange") -> VenueSettings:
        """The settings of the venue that follows it, on an exchange at these addresses, with the key it knows."""
        return _settings(self.exchange, self.market, self.symbols, websocket + self.path, rest)

    def venue(self, settings: VenueSettings | None = None) -> Venue:
        """The venue that follows it, as it is set if not otherwise."""
        return venue_of(self.name, settings or self.settings())

    def order_feed(self) -> OrderFeed | None:
        """How it tells its single orders; None where it tells none."""
        settings = self.settings()
        settings.orders = settings.tells_orders
        return self.venue(settings).order_feed

    def facts(self) -> Facts:
        """What is true of it."""
        return self.venue().facts


def _settings(exchange: str, market: str, symbols: Sequence[str], websocket: str, rest: str) -> VenueSettings:
    kind: Any = settings_of(exchange)
    made: VenueSettings = kind(
        exchange=exchange, market=market, symbols=list(symbols), websocket_url=websocket, rest_url=rest
    )
    for name in key_of(made):
        setattr(made, name, KEY)
    if exchange in ORDERS_PATHS:
        parts = urlsplit(websocket)
        made.orders_url = f"{parts.scheme}://{parts.netloc}{ORDERS_PATHS[exchange]}"  # type: ignore[attr-defined]  # of Kraken
    return made


def root_of(flavour: Flavour[Any], market: str, url: str) -> Root | None:
    """The root of an exchange at which a socket of a market ends up, if any."""
    path = urlsplit(url).path
    for root in flavour.roots:
        if root.market in ("", market) and path in (root.path, *root.routes):
            return root
    return None


def places(names: Sequence[str] = ()) -> list[Place]:
    """Every simulated market of these exchanges, of all but the default one without any.

    Raises:
        WrongArgument: an exchange is not simulated.
    """
    for name in names:
        if name not in FLAVOURS:
            raise WrongArgument(f"{name!r} is not simulated; there are {', '.join(FLAVOURS)}.")
    return [
        place
        for name in FLAVOURS
        if name != DEFAULT and (not names or name in names)
        for place in _markets(name)
    ]


def _markets(exchange: str) -> Iterator[Place]:
    flavour = FLAVOURS[exchange](SimSettings(flavour=exchange))
    for market in flavour.markets:
        listed = flavour.listed(market)
        symbols = (
            listed[0],
            listed[-1],
        )  # one to which things happen, and one of other prices on its sockets
        yield Place(exchange, market, _path(flavour, exchange, market, symbols), symbols)


def _path(flavour: Flavour[Any], exchange: str, market: str, symbols: Sequence[str]) -> str:
    """Behind which path all endpoints of the venue are places of the exchange."""
    own = [root.path for root in flavour.roots if root.market in ("", market)]
    for path in ("", *own):
        settings = _settings(exchange, market, symbols, f"ws://exchange{path}", "http://exchange")
        endpoints = venue_of(exchange, settings).endpoints(settings.symbols)
        if all(root_of(flavour, market, endpoint.url) for endpoint in endpoints):
            return path
    raise WrongArgument(f"Nothing of the simulated {exchange} serves the sockets of its {market} market.")
