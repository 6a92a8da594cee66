"""Other exchanges that are simulated and followed besides the first one, as settings."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from secrets import token_bytes
from typing import Any, Final

from workers.errors import SettingsError
from workers.operations.foreground import free_ports
from workers.settings.exchanges import DEFAULT, settings_of
from workers.settings.schema import Settings
from workers.settings.signed import KEY_FIELDS
from workers.sim.engine.flavour import Flavour
from workers.sim.flavours import FLAVOURS, ORDERS_PATHS
from workers.sim.settings import SimSettings

WEBSOCKET_PATHS: Final = {"kraken": "/v2", "coinbase": "/{market}", "bitfinex": "/ws/2"}
"""What the settings of an exchange want behind the host."""


def environment_with(texts: Sequence[str]) -> dict[str, str]:
    """What the environment must say for other exchanges to be simulated and followed: a port each, and sections.

    Args:
        texts: `okx` for the exchange's first market, and any other that tells single orders; `okx:swap` for a market,
            in a section `okx_swap` where it is not the first.

    Raises:
        SettingsError: an exchange, or a market, that is not simulated.
    """
    wanted = [(name, market) for name, _, market in (text.partition(":") for text in dict.fromkeys(texts))]
    names = list(dict.fromkeys(name for name, _ in wanted))
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    keys = {name: _made_up_key(name) for name in names if name in FLAVOURS}  # one for all markets
    said: dict[str, str] = {}
    for name, chosen in wanted:
        if name not in FLAVOURS or name == DEFAULT:
            known = ", ".join(flavour for flavour in FLAVOURS if flavour != DEFAULT)
            raise SettingsError("--venue", f"{name!r} is not simulated besides {DEFAULT} (known: {known})")
        flavour, port = FLAVOURS[name](SimSettings(flavour=name)), ports[name]
        if chosen and chosen not in flavour.markets:
            raise SettingsError(
                "--venue", f"{name} has no market {chosen!r} (known: {', '.join(flavour.markets)})"
            )
        said[f"FLEET_EXCHANGE__FLAVOURS__{name.upper()}"] = str(port)
        for market in [chosen] if chosen else flavour.markets:
            tells_orders = settings_of(name)(exchange=name, market=market, symbols=[]).tells_orders
            if chosen or market == flavour.markets[0] or tells_orders:
                said |= _section(flavour, market, port, keys[name], tells_orders=tells_orders)
    return said


def _section(
    flavour: Flavour[Any], market: str, port: int, key: Mapping[str, str], *, tells_orders: bool
) -> dict[str, str]:
    """The settings of a market that is simulated here; its single orders are followed, with the key it knows."""
    name = flavour.name
    section = f"FLEET_VENUES__{name.upper()}"
    section += "" if market == flavour.markets[0] else f"_{market.upper()}"
    path = WEBSOCKET_PATHS.get(name, "").format(market=market)
    said = {
        f"{section}__EXCHANGE": name,
        f"{section}__MARKET": market,
        f"{section}__SYMBOLS": ",".join(flavour.listed(market)),
        f"{section}__WEBSOCKET_URL": f"ws://127.0.0.1:{port}{path}",
        f"{section}__REST_URL": f"http://127.0.0.1:{port}",
    }
    if tells_orders:
        said[f"{section}__ORDERS"] = "true"
    if name in ORDERS_PATHS:
        said[f"{section}__ORDERS_URL"] = f"ws://127.0.0.1:{port}{ORDERS_PATHS[name]}"
    said |= {f"{section}__{part.upper()}": value for part, value in key.items()}
    return said


def _made_up_key(exchange: str) -> dict[str, str]:
    """A key that the simulated exchange will know, and nobody else: each time another one."""
    parts = [name for name in KEY_FIELDS if name in settings_of(exchange).__struct_fields__]
    return {name: b64encode(token_bytes(48)).decode() for name in parts}


def refuse_other_markets(settings: Settings) -> None:
    """Refuse venues that are not on the simulated exchange.

    Raises:
        SettingsError: there is one.
    """
    exchange = settings.exchange
    for name, venue in settings.venues.items():
        port = exchange.flavours.get(venue.exchange, exchange.port)
        here = f"//{exchange.host}:{port}/"
        markets = FLAVOURS[venue.exchange](SimSettings()).markets if venue.exchange in FLAVOURS else ()
        if venue.market not in markets:
            raise SettingsError(
                f"venues.{name}.market", f"the simulated exchange has no {venue.market} market"
            )
        addresses = (*venue.socket_urls, "rest_url")
        if any(here not in f"{getattr(venue, address)}/" for address in addresses):
            raise SettingsError(
                f"venues.{name}",
                f"{' and '.join(addresses)} do not point at the simulated exchange ({here}…), so there would be "
                "nothing to compare with: write them as config/demo.toml does",
            )
