"""What the keeper says of the memory of Redis."""

from __future__ import annotations

from redis.asyncio import Redis
from structlog.testing import capture_logs

from workers.keeper.memory import EVERY, EVICTS, MemoryWatch


async def test_a_server_that_deletes_keys_of_its_choice_is_told_of_once(spare_server: str) -> None:
    client = Redis.from_url(spare_server, protocol=2)
    watch = MemoryWatch(client)
    await client.config_set("maxmemory-policy", "allkeys-lru")
    assert (await watch.look())["redis_evicts"] == 0  # nothing is deleted without a limit
    await client.config_set("maxmemory", "100mb")
    with capture_logs() as logs:
        for _ in range(2 * EVERY):
            shown = await watch.look()
    assert shown["redis_evicts"] == EVICTS._value.get() == 1
    [told] = logs
    assert (told["event"], told["policy"]) == ("redis_evicts", "allkeys-lru")
    await client.config_set("maxmemory-policy", "noeviction")
    for _ in range(EVERY):
        shown = await watch.look()
    assert shown["redis_evicts"] == EVICTS._value.get() == 0
    assert int(shown["redis_memory_bytes"]) > 0
    await client.aclose()
