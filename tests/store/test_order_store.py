"""What the owner of single orders writes: once, while it is the owner, and each symbol by itself."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from workers.errors import LeaseLost, StateUnreadable
from workers.store.fleet.leases import Leases
from workers.store.keys import ORDERS, ORDERS_GROUP, Keys
from workers.store.log.streams import GroupReader
from workers.store.orders.publishing import OrdersPublication, OrderStore

KEYS = Keys()
FIRST, SECOND = "BTCUSD", "XRPUSD"


async def owned(client: Redis) -> dict[str, int]:
    leases = Leases(client, KEYS, ORDERS_GROUP, "one", 60_000)
    await leases.take([FIRST, SECOND])
    return dict(leases.held)


async def test_only_the_owner_writes_and_a_repeated_call_appends_nothing(client: Redis) -> None:
    store, tokens = OrderStore(client, KEYS, 100), await owned(client)
    said = OrdersPublication(FIRST, tokens[FIRST], b'{"s":"BTCUSD"}', {"state": "synced", "reason": ""})
    for _ in range(2):
        assert await store.publish([said]) == ([], {})
    late = said._replace(token=tokens[FIRST] - 1, payload=b"late", status={"state": "broken"})
    assert (await store.publish([late])).fenced == [FIRST]
    assert [fields for _, fields in await client.xrange(KEYS.orders_top(FIRST))] == [
        {b"data": b'{"s":"BTCUSD"}'}
    ]
    status = await client.hgetall(KEYS.orders_status(FIRST))
    assert (status[b"state"], status[b"reason"]) == (b"synced", b"")
    assert int(status[b"told_ms"]) > 0


async def test_a_key_of_another_type_costs_its_symbol_alone(client: Redis) -> None:
    store, tokens = OrderStore(client, KEYS, 100), await owned(client)
    await client.set(KEYS.orders_top(FIRST), "rubbish")
    both = [
        OrdersPublication(symbol, tokens[symbol], b"top", {"state": "synced"}) for symbol in (FIRST, SECOND)
    ]
    signals = await store.publish(both)
    assert (signals.fenced, list(signals.refused)) == ([], [FIRST])
    assert await client.xlen(KEYS.orders_top(SECOND)) == 1
    await client.lpush(KEYS.orders_checkpoint(FIRST), "rubbish")
    with pytest.raises(StateUnreadable):
        await store.checkpoint(FIRST)


async def test_a_checkpoint_is_stored_with_what_it_acknowledges_by_the_owner_alone(client: Redis) -> None:
    store, tokens = OrderStore(client, KEYS, 100), await owned(client)
    key, reader = KEYS.raw(FIRST, ORDERS), GroupReader(client, ORDERS_GROUP)
    await reader.ensure(key)
    await client.xadd(key, {"data": "x", "received": "1", "line": "a"}, id="5-1")
    [entry] = (await reader.new([key], 10))[key]
    with pytest.raises(LeaseLost):
        await store.commit(FIRST, tokens[FIRST] - 1, b"late", [entry.stream_id])
    assert await store.checkpoint(FIRST) is None
    await store.commit(FIRST, tokens[FIRST], b"state", [entry.stream_id])
    assert await store.checkpoint(FIRST) == b"state"
    assert await reader.pending(key, b"0", 10) == []
