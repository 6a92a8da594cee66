"""The simulated exchange as a process of the suite: `python -m workers.cli.conformance.exchange_process SETTINGS`.

The settings are one JSON object with fields of `workers.sim.settings.SimSettings`.
"""

from __future__ import annotations

import asyncio
import signal
import sys

import msgspec
import uvloop

from workers.cli.exit_codes import EXIT_FINE, EXIT_NOT_STARTED
from workers.cli.parent import end_with_parent
from workers.logs import configure_logging
from workers.sim.server import serve
from workers.sim.settings import SimSettings


async def _serve(settings: SimSettings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(settings, stop=stop)


def main() -> int:
    """Run the exchange until told to stop; the exit code."""
    end_with_parent()
    configure_logging("info", "json")
    try:
        uvloop.run(_serve(msgspec.json.decode(sys.argv[1], type=SimSettings)))
    except OSError:
        return EXIT_NOT_STARTED
    return EXIT_FINE


if __name__ == "__main__":
    sys.exit(main())
