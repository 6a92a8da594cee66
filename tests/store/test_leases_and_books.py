"""Leases, publications and commits: only the owner writes, and a zombie changes nothing."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from workers.errors import LeaseLost
from workers.settings.schema import FleetSettings
from workers.store.books.publishing import BookStore, Publication, Read, Signals
from workers.store.fleet.leases import Leases, Registry, owner_of, share_of
from workers.store.keys import Keys, workers
from workers.store.log.streams import GroupReader, RawEntry, RawStreams

KEYS = Keys()
S = "BTCUSDT"


def leases(client: Redis, worker: str, lease_ms: int = 60_000) -> Leases:
    return Leases(client, KEYS, "books", worker, lease_ms)


async def test_a_symbol_has_one_owner_and_its_number_grows_with_each(client: Redis) -> None:
    one, two = leases(client, "one"), leases(client, "two")
    assert await one.take([S, "ETHUSDT"]) == {S, "ETHUSDT"}
    assert await two.take([S]) == set()
    assert await one.renew() == set()
    assert one.safe(S)
    first = one.held[S]
    await one.release([S])
    assert not one.safe(S)
    assert await two.take([S]) == {S}
    assert two.held[S] > first


async def test_an_expired_lease_is_lost_and_its_holder_learns_it(client: Redis) -> None:
    one, two = leases(client, "one"), leases(client, "two")
    await one.take([S])
    await client.delete(KEYS.lease("books", S))  # as expiry does
    await two.take([S])
    assert await one.renew() == {S}
    assert not one.safe(S)
    assert one.held == {}


async def test_a_restarted_worker_of_the_same_name_does_not_pass_as_the_old_one(client: Redis) -> None:
    one = leases(client, "one")
    await one.take([S])
    await client.delete(KEYS.lease("books", S))
    again = leases(client, "one")
    await again.take([S])
    assert await one.renew() == {S}


async def test_who_held_a_symbol_when_the_server_lost_its_data_learns_that_another_had_it_since(
    client: Redis,
) -> None:
    one, two = leases(client, "one"), leases(client, "two")
    await one.take([S])
    await client.flushall()
    await two.take([S])
    await two.release([S])
    assert await one.renew() == {S}
    assert not one.safe(S)


async def test_a_number_that_the_server_forgot_is_not_given_out_again(client: Redis) -> None:
    one, two = leases(client, "one"), leases(client, "two")
    await one.take([S])
    before = await client.get(KEYS.fence("books", S))
    await one.release([S])
    await one.take([S])
    held = one.held[S]
    await client.set(KEYS.fence("books", S), before)  # as a replica that had not heard of it yet
    await client.delete(KEYS.lease("books", S))
    await two.take([S])
    assert two.held[S] > held
    await two.release([S])
    assert await one.renew() == {S}


async def test_publication_shows_withdraws_and_keeps_the_status(client: Redis) -> None:
    one = leases(client, "one")
    await one.take([S])
    store = BookStore(client, KEYS, 100)
    payload = b'{"s":"BTCUSDT","b":[],"a":[],"u":7}'
    assert await store.publish([Publication(S, one.held[S], payload, False, {"state": "synced"})]) == Signals(
        [], {}
    )
    assert await client.hget("LIVE_ORDERBOOK", S) == payload
    assert await client.hget("book:{BTCUSDT}:status", "state") == b"synced"
    [(_, fields)] = await client.xrange("book:{BTCUSDT}:top")
    assert json.loads(fields[b"data"])["u"] == 7
    await store.publish([Publication(S, one.held[S], None, False, {"bids": 3})])
    assert await client.hget("LIVE_ORDERBOOK", S) == payload
    await store.publish([Publication(S, one.held[S], None, True, {"state": "waiting", "reason": ""})])
    assert await client.hget("LIVE_ORDERBOOK", S) is None
    assert await client.hmget("book:{BTCUSDT}:status", "state", "reason", "bids") == [b"waiting", b"", b"3"]


async def test_a_server_without_memory_takes_back_what_it_shows(spare_server: str) -> None:
    """It refuses to store, and not to remove."""
    client: Redis = Redis.from_url(spare_server, protocol=2)
    one, store = leases(client, "one"), BookStore(client, KEYS, 100)
    await one.take(["AAA", S])
    shown = [
        Publication(symbol, one.held[symbol], b"{}", False, {"state": "synced"}) for symbol in ("AAA", S)
    ]
    await store.publish(shown)
    await client.config_set("maxmemory", 1)
    with suppress(ResponseError):
        await store.publish([shown[0], shown[1]._replace(payload=None, withdraw=True)])
    assert await client.hkeys("LIVE_ORDERBOOK") == [b"AAA"]
    await client.aclose()


async def test_a_zombie_publishes_and_commits_nothing(client: Redis) -> None:
    one, two = leases(client, "one"), leases(client, "two")
    await one.take([S])
    old = one.held[S]
    await client.delete(KEYS.lease("books", S))
    await two.take([S])
    store = BookStore(client, KEYS, 100)
    mine = Publication("ETHUSDT", 1, b"{}", False, {})
    refused = await store.publish([Publication(S, old, b"wrong", False, {"state": "synced"}), mine])
    assert refused == Signals([S, "ETHUSDT"], {})
    assert await client.exists("LIVE_ORDERBOOK", "book:{BTCUSDT}:status", "book:{BTCUSDT}:top") == 0
    with pytest.raises(LeaseLost):
        await store.commit(S, old, "depth", b"checkpoint", [])
    assert await client.get(KEYS.book_checkpoint(S)) is None


async def test_distrust_reaches_the_owner_once_with_its_next_status(client: Redis) -> None:
    one = leases(client, "one")
    await one.take([S])
    store = BookStore(client, KEYS, 100)
    await store.distrust(S, "audit mismatch")
    assert await store.publish([Publication(S, one.held[S], b"{}", False, {})]) == Signals([], {})
    told = Publication(S, one.held[S], None, False, {"state": "synced"})
    assert (await store.publish([told])).distrusted == {S: "audit mismatch"}
    assert (await store.publish([told])).distrusted == {}


async def test_a_commit_stores_and_acknowledges_in_one_step(client: Redis) -> None:
    one = leases(client, "one")
    await one.take([S])
    reader = GroupReader(client, "books")
    key = KEYS.raw(S, "depth")
    await reader.ensure(key)
    entries = [RawEntry(key, 1, update_id, b"{}", 1, "a") for update_id in range(1, 2502)]
    await RawStreams(client, 10_000).append(entries, {key: 1000})
    taken = [found.stream_id for found in (await reader.new([key], 5000))[key]]
    store = BookStore(client, KEYS, 100)
    assert await store.commit(S, one.held[S], "depth", b"state", taken[:2500]) == (2500, False, 0)
    assert await client.get(KEYS.book_checkpoint(S)) == b"state"
    assert await reader.lag(key) == (0, 1)
    assert await store.commit(S, one.held[S], "depth", None, []) == (0, False, 0)
    assert await client.get(KEYS.book_checkpoint(S)) == b"state"


async def test_heartbeats_come_and_go(client: Redis) -> None:
    registry = Registry(client, FleetSettings())
    await registry.beat("books", "one", {"pid": 1, "symbols": 5})
    await registry.beat("books", "two", {"pid": 2})
    assert await registry.live("books") == ["one", "two"]
    assert await registry.live("trades") == []
    [one, _] = await registry.workers(["books"])
    assert one.pop("beat_ms").isdigit()
    assert one == {"name": "one", "role": "books", "pid": "1", "symbols": "5"}
    await registry.leave("books", "one")
    assert await registry.live("books") == ["two"]


names = st.lists(st.text("abcdefgh", min_size=1, max_size=6), min_size=1, max_size=6, unique=True)


@given(names, st.sets(st.text("ABCDEFGHIJ", min_size=1, max_size=5), max_size=60))
def test_shares_cover_every_symbol_once_and_are_balanced(live: list[str], symbols: set[str]) -> None:
    shares = [share_of(worker, symbols, live) for worker in live]
    assert sorted(symbol for share in shares for symbol in share) == sorted(symbols)
    sizes = [len(share) for share in shares]
    assert max(sizes) <= -(-len(symbols) // len(live))


def test_few_symbols_move_when_a_worker_goes() -> None:
    symbols = [f"S{number}USDT" for number in range(400)]
    four = {worker: share_of(worker, symbols, list("abcd")) for worker in "abcd"}
    three = {worker: share_of(worker, symbols, list("abc")) for worker in "abc"}
    moved = sum(len(four[worker] - three[worker]) for worker in "abc")
    assert moved < 80  # all of d's 100 must move; of the others' 300 few
    assert share_of("d", symbols, list("abc")) == set()
    assert owner_of("X", []) is None


async def test_a_heartbeat_that_ran_out_or_is_of_no_possible_time_is_nobody(client: Redis) -> None:
    registry = Registry(client, FleetSettings())
    await registry.beat("books", "one", {"pid": 1})
    await registry.beat("trades", "other", {"pid": 2})
    now = await registry.server_ms()
    await client.zadd(workers("books"), {"late": now - 1, "absurd": now + 10**9})
    assert await registry.live("books") == ["one"]
    assert [(one["role"], one["name"]) for one in await registry.workers(["trades", "keeper", "books"])] == [
        ("trades", "other"),
        ("books", "one"),
    ]


KEY = KEYS.raw(S, "depth")


async def read_alone(client: Redis, count: int) -> tuple[int, BookStore, list[bytes]]:
    """A stream of so many entries, none of which its group has given out: token, store, ids."""
    one = leases(client, "one")
    await one.take([S])
    await GroupReader(client, "books").ensure(KEY)
    entries = [RawEntry(KEY, 1, update_id, b"{}", 1, "a") for update_id in range(1, count + 1)]
    await RawStreams(client, 10_000).append(entries, {KEY: 1000})
    return one.held[S], BookStore(client, KEYS, 100), [b"1-%d" % number for number in range(1, count + 1)]


async def pending(client: Redis) -> list[bytes]:
    return [entry.stream_id for entry in await GroupReader(client, "books").pending(KEY, "0", 100)]


async def test_what_was_read_alone_is_given_with_the_next_publication_once(client: Redis) -> None:
    token, store, ids = await read_alone(client, 5)
    made = Publication(S, token, b"{}", False, {}, Read(3, ids[2]))
    for _ in range(2):  # also where the reply was lost
        assert await store.publish([made]) == Signals([], {})
        assert await pending(client) == ids[:3]
    zombie = made._replace(token=token - 1, read=Read(2, ids[4]))
    assert (await store.publish([zombie])).fenced == [S]
    assert await pending(client) == ids[:3]  # nothing is taken from the next owner
    assert await store.commit(S, token, "depth", b"state", ids, Read(2, ids[4])) == (5, False, 0)
    assert await GroupReader(client, "books").lag(KEY) == (0, 0)


@pytest.mark.parametrize("by", ["publication", "commit"])
@pytest.mark.parametrize("away", ["given to another", "the group", "the stream", "the first"])
async def test_an_owner_learns_that_the_group_gave_something_else(client: Redis, by: str, away: str) -> None:
    token, store, ids = await read_alone(client, 5)
    reader = GroupReader(client, "books")
    if away == "given to another":
        assert len((await reader.new([KEY], 4))[KEY]) == 4
        await reader.acknowledge(KEY, ids[:4])
    elif away == "the group":
        await client.xgroup_destroy(KEY, "books")
    elif away == "the stream":
        await client.delete(KEY)
    else:
        await client.xdel(KEY, ids[0])
    read = Read(2, ids[1])
    if by == "publication":
        told = await store.publish([Publication(S, token, b"{}", False, {}, read)])
        assert told.elsewhere == (S,)
        assert await client.hget("LIVE_ORDERBOOK", S) == b"{}"
    else:
        assert (await store.commit(S, token, "depth", b"state", ids[:2], read)).elsewhere
        assert await client.get(KEYS.book_checkpoint(S)) == b"state"


async def test_a_group_that_was_behind_is_brought_up(client: Redis) -> None:
    token, store, ids = await read_alone(client, 6)
    assert not (await store.commit(S, token, "depth", None, [], Read(2, ids[5]))).elsewhere
    assert await pending(client) == ids


async def test_what_an_earlier_owner_was_given_meanwhile_is_acknowledged_once_it_is_in_a_checkpoint(
    client: Redis,
) -> None:
    token, store, ids = await read_alone(client, 5)
    reader = GroupReader(client, "books")
    await reader.new([KEY], 2)  # read by who lost the lease: a snapshot has brought the new owner behind them
    assert (await reader.new([KEY], 3))[KEY]
    assert await store.commit(S, token, "depth", None, ids[2:3]) == (1, False, 0)
    assert await pending(client) == [ids[0], ids[1], ids[3], ids[4]]  # out of sync: they may be missing yet
    assert await store.commit(S, token, "depth", b"state", ids[3:4], None, ids[3]) == (1, False, 2)
    assert await pending(client) == [ids[4]]
    await client.delete(KEY)
    assert await store.commit(S, token, "depth", b"state", [], None, ids[4]) == (0, False, 0)


async def test_what_was_read_alone_is_given_by_two_commands(real_server: str) -> None:
    client = Redis.from_url(real_server, protocol=2)
    await client.flushall()  # the server is this test process's own
    token, store, ids = await read_alone(client, 5)
    await client.config_resetstat()
    await store.publish([Publication(S, token, b"{}", False, {}, Read(3, ids[2]))])
    counted = await client.info("commandstats")
    assert (counted["cmdstat_xpending"]["calls"], counted["cmdstat_xreadgroup"]["calls"]) == (1, 1)
    assert await pending(client) == ids[:3]
    await client.aclose()
