"""Whether the fleet serves what it should, and whether this process answers."""

from __future__ import annotations

from workers.api.http.health import Health
from workers.api.http.operations import Operation
from workers.api.http.queries import Nothing
from workers.api.http.state_types import Alive, Healthy


class HealthRoutes:
    """`/healthz`, `/livez`."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def operations(self) -> list[Operation]:
        """What is served."""
        return [
            Operation(
                "GET",
                "/healthz",
                "getHealth",
                "Whether the fleet serves what it should",
                "fleet",
                Healthy,
                self.health,
                problems=(422, 503),
                described="Answered at once from what was seen last. 503 with `reasons` where nothing that is live "
                "can be served: Redis is away, no venue's sockets deliver, or every book is withheld. 200 with "
                "`degraded` where some of it cannot.",
            ),
            Operation(
                "GET",
                "/livez",
                "getLiveness",
                "Whether this process answers",
                "fleet",
                Alive,
                self.alive,
                problems=(422,),
            ),
        ]

    async def health(self, _: Nothing) -> Healthy:
        """`GET /healthz`."""
        return self._health.demand()

    async def alive(self, _: Nothing) -> Alive:
        """`GET /livez`."""
        return Alive(ok=True)
