"""Running the server."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec
import uvloop
from aiohttp import web

from workers.api.security.access import Access
from workers.errors import CommandError
from workers.operations.foreground import stop_on_signals
from workers.operations.running import running_fleet
from workers.runtime.logs import configure_logging
from workers.settings.loading import Effective, redis_url
from workers.tardis.holdings import holdings_of
from workers.tardis.server import LONGEST_QUERY, TardisServer
from workers.terminal.exit_codes import EXIT_FINE
from workers.terminal.output import note

STOP_S = 2.0
"""How long answers under way may take once the server is told to stop."""


class Request(NamedTuple):
    """The command line."""

    host: str
    port: int


def run_serve(request: Request, config: Path | None) -> int:
    """Serve until a signal; the exit code."""
    effective, _ = running_fleet(config)
    configure_logging("warning", "console")
    uvloop.run(_serve(request, effective))
    return EXIT_FINE


async def _serve(request: Request, effective: Effective) -> None:
    stop = stop_on_signals()
    settings = msgspec.structs.replace(effective.settings.api, host=request.host)
    async with holdings_of(effective) as holdings:
        server = TardisServer(holdings, redis_url(effective.settings), Access(settings))
        runner = web.AppRunner(
            server.build(), access_log=None, shutdown_timeout=STOP_S, max_line_size=LONGEST_QUERY
        )
        await runner.setup()
        try:
            for port in (request.port, request.port + 1):
                await _listen(runner, request.host, port)
            host, port = runner.addresses[0][:2]
            note(f"Tardis' protocol: http://{host}:{port} and ws://{host}:{port + 1}; Ctrl-C ends it.")
            await stop.wait()
        finally:
            await runner.cleanup()


async def _listen(runner: web.AppRunner, host: str, port: int) -> None:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        raise CommandError(f"Port {port} of {host} cannot be used: {error.strerror}; see --port.") from error
