"""A simulated exchange on loopback: Binance spot and USD-M, REST and websocket, with ground truth.

Written from the exchange's documentation and from wire captures, so that it can tell whether a client is
right. `serve` runs it as a process, `SimulatedExchange` inside a test.
"""

from workers.sim.server import SimulatedExchange, serve
from workers.sim.settings import SimSettings

__all__ = ["SimSettings", "SimulatedExchange", "serve"]
