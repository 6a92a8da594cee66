"""Rubbish in the keys that all symbols share: nobody ends, and what is the fleet's own is made anew."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from workers.errors import StateUnreadable
from workers.model.symbols.selection import SymbolRule
from workers.settings.schema import FleetSettings
from workers.store.fleet.followed import (
    Changed,
    FollowedSymbols,
    Listed,
    generation_of,
    publish,
    published,
    still_published,
)
from workers.store.fleet.leases import Leases, Registry
from workers.store.keys import Keys, followed_symbols, worker, workers

KEYS = Keys()
RULE = SymbolRule.parse(["*USDC"])
LIST = followed_symbols("usdm")
Spoil = Callable[[Any, str], Awaitable[object]]

OTHER_TYPES: dict[str, Spoil] = {
    "string": lambda client, key: client.set(key, b"\xff\xfe"),
    "list": lambda client, key: client.rpush(key, "x"),
    "set": lambda client, key: client.sadd(key, "x"),
    "sorted set": lambda client, key: client.zadd(key, {"x": 1}),
    "hash": lambda client, key: client.hset(key, "x", "y"),
    "stream": lambda client, key: client.xadd(key, {"x": "y"}),
}


def hash_of(**fields: str | bytes) -> Spoil:
    return lambda client, key: client.hset(key, mapping=fields)


BAD_LISTS: dict[str, Spoil] = {
    **{name: spoil for name, spoil in OTHER_TYPES.items() if name != "hash"},
    "generation x": hash_of(generation="x"),
    "no bytes of text": hash_of(generation=b"\xff"),
    "negative": hash_of(generation="-5"),
    "digits of another script": hash_of(generation="١٢"),
    "5,000 digits": hash_of(generation="9" * 5000),
    "empty": hash_of(generation=""),
    "symbols {}": hash_of(symbols="{}"),
    "symbols null": hash_of(symbols="[null]"),
    "symbols cut": hash_of(symbols='["A'),
    "symbols that are none": hash_of(symbols='["../../x"]'),
    "retiring []": hash_of(retiring="[]"),
    "rules of no text": hash_of(rules=b"\xff"),
}
"""What may stand in place of the list, or in a field of it."""


async def spoiled(client: Redis, key: str, spoil: Spoil, name: str) -> None:
    if name in OTHER_TYPES:
        await client.delete(key)
    await spoil(client, key)


@pytest.mark.parametrize("name", BAD_LISTS)
async def test_rubbish_in_the_list_of_symbols_is_told_and_replaced(client: Redis, name: str) -> None:
    followed = FollowedSymbols("usdm", RULE)
    ours = await publish(client, "usdm", RULE.text, ["AUSDC"], {})
    await followed.refresh(client)
    await spoiled(client, LIST, BAD_LISTS[name], name)
    late = FollowedSymbols("usdm", RULE)
    with pytest.raises(StateUnreadable) as caught:
        await late.refresh(client)
    assert caught.value.key == LIST
    assert caught.value.cure == f"DEL {LIST}"
    try:  # who has read it before takes nothing of it in
        assert await followed.refresh(client) == Changed([], [])
    except StateUnreadable:
        pass
    assert list(followed) == ["AUSDC"]
    with pytest.raises(StateUnreadable):
        await still_published(client, "usdm", ours)
    again = await publish(client, "usdm", RULE.text, ["AUSDC", "BUSDC"], {})
    assert await still_published(client, "usdm", again)
    assert await published(client, "usdm") == again.publication
    assert await late.refresh(client) == Changed(["AUSDC", "BUSDC"], [])
    assert await followed.refresh(client) == Changed(["BUSDC"], [])


async def test_a_field_that_somebody_changed_is_published_again(client: Redis) -> None:
    ours: Listed = await publish(client, "usdm", RULE.text, ["AUSDC"], {})
    writing: Any = client
    await writing.hset(LIST, "symbols", '["XUSDC"]')
    assert not await still_published(client, "usdm", ours)
    await writing.hset(LIST, mapping={"generation": ours.publication.generation + 1})  # another keeper's
    assert await still_published(client, "usdm", ours)
    await client.delete(LIST)
    assert not await still_published(client, "usdm", ours)
    assert await generation_of(client, "usdm") == 0


@pytest.mark.parametrize("name", OTHER_TYPES)
@pytest.mark.parametrize("which", ["members", "worker"])
async def test_a_heartbeat_replaces_what_is_none(client: Redis, which: str, name: str) -> None:
    registry = Registry(client, FleetSettings())
    key = workers("books") if which == "members" else worker("one")
    await registry.beat("books", "one", {"pid": 1})
    await spoiled(client, key, OTHER_TYPES[name], name)
    for told in await registry.workers(["books", "trades"]):  # whoever asks meanwhile
        assert told["name"] in ("one", "x")
    bad = await registry.beat("books", "one", {"pid": 2})
    assert [error.key for error in bad] in ([key], [])
    [told] = await registry.workers(["books"])
    assert (told["name"], told["pid"]) == ("one", "2")


async def test_a_heartbeat_from_a_far_future_is_nobodys(client: Redis) -> None:
    registry = Registry(client, FleetSettings())
    writing: Any = client
    await writing.zadd(workers("books"), {"ghost": "inf", "late": 9e15, b"\xff": "inf", "old": "-inf"})
    await registry.beat("books", "one", {"pid": 1})
    assert await registry.live("books") == ["one"]
    assert await client.zrange(workers("books"), 0, -1) == [b"one"]


async def test_what_a_worker_says_is_text_whatever_it_says(client: Redis) -> None:
    registry = Registry(client, FleetSettings())
    await registry.beat("books", "one", {"pid": 1})
    writing: Any = client
    await writing.hset(worker("one"), mapping={b"\xff": b"\xfe", "beat_ms": b"\xff", "name": "other"})
    [told] = await registry.workers(["books"])
    assert told["name"] == "one"


@pytest.mark.parametrize("name", OTHER_TYPES)
async def test_a_lease_of_another_type_is_replaced(client: Redis, name: str) -> None:
    key = KEYS.lease("books", "A")
    leases = Leases(client, KEYS, "books", "one", 3000)
    assert await leases.take(["A", "B"]) == {"A", "B"}
    token = leases.held["A"]
    await client.delete(key)
    await OTHER_TYPES[name](client, key)
    assert await leases.renew() == set()  # nobody has taken it meanwhile
    assert leases.safe("B")
    assert leases.held["A"] == token
    assert leases.safe("A")
    if name != "hash":
        assert leases.replaced["A"].key == key
    assert 0 < await client.pttl(key) <= 3000


@pytest.mark.parametrize("token", ["", "x", b"\xff", None])
async def test_a_lease_without_a_number_is_replaced(client: Redis, token: Any) -> None:
    key = KEYS.lease("books", "A")
    writing: Any = client
    await writing.hset(key, mapping={"owner": "one"} | ({} if token is None else {"token": token}))
    leases = Leases(client, KEYS, "books", "one", 3000)
    assert await leases.take(["A"]) == {"A"}
    assert leases.replaced["A"].key == key


@pytest.mark.parametrize("expiry_ms", [0, 10**12])
async def test_a_lease_that_would_never_run_out_is_cut_to_its_length(client: Redis, expiry_ms: int) -> None:
    key = KEYS.lease("books", "A")
    writing: Any = client
    await writing.hset(key, mapping={"owner": "ghost", "token": "7"})
    if expiry_ms:
        await client.pexpire(key, expiry_ms)
    leases = Leases(client, KEYS, "books", "one", 3000)
    assert await leases.take(["A"]) == set()
    assert 0 < await client.pttl(key) <= 3000
    assert "A" in leases.replaced


@pytest.mark.parametrize("name", [*OTHER_TYPES, "largest", "negative", "beyond doubles"])
async def test_a_fence_that_is_no_number_goes_on_beyond_any_count(client: Redis, name: str) -> None:
    key = KEYS.fence("books", "A")
    values = {"largest": str(2**63 - 1), "negative": "-9", "beyond doubles": str(2**53 + 1)}
    await (client.set(key, values[name]) if name in values else OTHER_TYPES[name](client, key))
    leases = Leases(client, KEYS, "books", "one", 3000)
    assert await leases.take(["A"]) == {"A"}
    first = leases.held["A"]
    assert first > 10**15
    assert leases.replaced["A"].key == key
    assert await leases.renew() == set()
    await leases.release(["A"])
    assert await leases.take(["A"]) == {"A"}
    assert leases.held["A"] > first
