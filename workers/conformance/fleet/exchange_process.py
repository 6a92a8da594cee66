"""The simulated exchange as a process of the suite: `python -m workers.conformance.fleet.exchange_process SETTINGS`.

The settings are one JSON object with fields of `workers.sim.settings.SimSettings`.
"""

from __future__ import annotations

import asyncio
import signal
import sys

import msgspec
import uvloop

from workers.operations.parent import end_with_parent
from workers.runtime.logs import configure_logging
from workers.sim.server import serve
from workers.sim.settings import SimSettings
from workers.terminal.exit_codes import EXIT_FINE, EXIT_NOT_STARTED


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
