"""What is done about a stream that is dead on both lines while its sockets live: it is told, and subscribed anew."""

from __future__ import annotations

import structlog
from prometheus_client import Counter
from redis.asyncio import Redis

from workers.runtime.context import VenueContext
from workers.store.fleet.resubscriptions import ask_anew

log = structlog.get_logger()

DEAD = Counter(
    "fleet_stream_dead_total",
    "Times something proved that a stream brings nothing though the exchange goes on",
    ["venue", "channel"],
)


async def revive(
    client: Redis, context: VenueContext, symbol: str, channel: str, evidence: str, *, is_news: bool = True
) -> bool:
    """Ask the lines to subscribe anew to a stream, and say so; False when somebody has just done so.

    Args:
        evidence: what showed that it is dead.
        is_news: False when it was found dead before, and has not lived since: then it is asked for, and not told.

    Raises:
        RedisError: nobody was asked.
    """
    if not await ask_anew(client, context.name, symbol, channel, evidence):
        return False
    if not is_news:
        return True
    DEAD.labels(context.name, channel).inc()
    log.error("stream_dead", venue=context.name, symbol=symbol, channel=channel, evidence=evidence)
    return True
