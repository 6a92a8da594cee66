"""`fleet run exchange`: the simulated exchange, where the settings want it."""

from __future__ import annotations

import asyncio
import signal
import time

import structlog
import uvloop

from workers.errors import SettingsError
from workers.model.symbols.selection import SymbolRule
from workers.runtime.logs import configure_logging
from workers.settings.schema import Settings
from workers.settings.signed import key_of
from workers.sim.server import serve
from workers.sim.settings import SimSettings
from workers.terminal.exit_codes import EXIT_FINE, EXIT_NOT_STARTED

log = structlog.get_logger()

RETRY_S = 2.0
"""Pause before giving up on a taken port, so that supervisord does not try again at once."""


def simulator_settings(settings: Settings) -> SimSettings:
    """What the simulated Binance needs to know; it lists the symbols its venues name where none are set for it.

    Raises:
        SettingsError: a value the simulator cannot use.
    """
    exchange = settings.exchange
    named = _named_symbols(settings, "binance")
    try:
        return SimSettings(
            seed=exchange.seed,
            host=exchange.host,
            port=exchange.port,
            rate_scale=exchange.rate_scale,
            spot_symbols=tuple(exchange.spot_symbols) or named.get("spot", ()),
            usdm_symbols=tuple(exchange.usdm_symbols) or named.get("usdm", ()),
            faults=tuple(exchange.faults),
        )
    except ValueError as error:
        raise SettingsError("exchange", str(error)) from error


def flavour_settings(settings: Settings) -> list[SimSettings]:
    """The same for each other exchange that has a port; it has symbols of its own in a market nobody names any of.

    Raises:
        SettingsError: a value the simulator cannot use.
    """
    exchange = settings.exchange
    try:
        return [
            SimSettings(
                flavour=name,
                seed=exchange.seed,
                host=exchange.host,
                port=port,
                rate_scale=exchange.rate_scale,
                symbols=_named_symbols(settings, name),
                faults=tuple(exchange.faults),
                key=_key(settings, name),
            )
            for name, port in exchange.flavours.items()
            if port
        ]
    except ValueError as error:
        raise SettingsError("exchange", str(error)) from error


def _key(settings: Settings, exchange: str) -> dict[str, str]:
    """That of the first venue of an exchange, which it knows as its user's."""
    return next((key_of(venue) for venue in settings.venues.values() if venue.exchange == exchange), {})


def _named_symbols(settings: Settings, exchange: str) -> dict[str, tuple[str, ...]]:
    """What the venues of an exchange name one by one, by market."""
    named: dict[str, dict[str, None]] = {}
    for venue in settings.venues.values():
        if str(venue.exchange) == exchange:
            exact = SymbolRule.parse(venue.symbols).exact
            named.setdefault(venue.market, {}).update(dict.fromkeys(exact))
    return {market: tuple(symbols) for market, symbols in named.items() if symbols}


def run_exchange(settings: Settings) -> int:
    """Run the simulator until told to stop; 0 at once where `exchange.enabled` is false."""
    configure_logging(settings.fleet.log_level, settings.fleet.log_format)
    if not settings.exchange.enabled:
        log.info("exchange_not_wanted", reason="exchange.enabled is false")
        return EXIT_FINE

    def tell(url: str) -> None:
        log.info("exchange_ready", url=url)

    async def main() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        exchanges = [simulator_settings(settings), *flavour_settings(settings)]
        await asyncio.gather(*(serve(exchange, ready=tell, stop=stop) for exchange in exchanges))

    try:
        uvloop.run(main())
    except OSError as error:
        log.error("exchange_not_started", error=str(error), port=settings.exchange.port)
        time.sleep(RETRY_S)
        return EXIT_NOT_STARTED
    return EXIT_FINE
