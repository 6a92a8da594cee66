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
from workers.sim.server import serve
from workers.sim.settings import SimSettings
from workers.terminal.exit_codes import EXIT_FINE, EXIT_NOT_STARTED

log = structlog.get_logger()

RETRY_S = 2.0
"""Pause before giving up on a taken port, so that supervisord does not try again at once."""


def simulator_settings(settings: Settings) -> SimSettings:
    """What the simulator needs to know; it lists the symbols the venues name where none are set for it.

    Raises:
        SettingsError: a value the simulator cannot use.
    """

    def of_market(market: str) -> tuple[str, ...]:
        lists = [
            SymbolRule.parse(venue.symbols).exact
            for venue in settings.venues.values()
            if venue.market == market
        ]
        return tuple(dict.fromkeys(symbol for symbols in lists for symbol in symbols))

    wanted = settings.exchange
    try:
        return SimSettings(
            seed=wanted.seed,
            host=wanted.host,
            port=wanted.port,
            rate_scale=wanted.rate_scale,
            spot_symbols=tuple(wanted.spot_symbols) or of_market("spot"),
            usdm_symbols=tuple(wanted.usdm_symbols) or of_market("usdm"),
            faults=tuple(wanted.faults),
        )
    except ValueError as error:
        raise SettingsError("exchange", str(error)) from error


def run_exchange(settings: Settings) -> int:
    """Run the simulator until told to stop; 0 at once where `exchange.enabled` is false."""
    configure_logging(settings.fleet.log_level, settings.fleet.log_format)
    if not settings.exchange.enabled:
        log.info("exchange_not_wanted", reason="exchange.enabled is false")
        return EXIT_FINE

    async def main() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await serve(
            simulator_settings(settings), ready=lambda url: log.info("exchange_ready", url=url), stop=stop
        )

    try:
        uvloop.run(main())
    except OSError as error:
        log.error("exchange_not_started", error=str(error), port=settings.exchange.port)
        time.sleep(RETRY_S)
        return EXIT_NOT_STARTED
    return EXIT_FINE
