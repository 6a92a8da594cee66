"""Why Redis refused: the same names for fakeredis, a real server, and every wording of the servers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as AnsweredLate

from workers.runtime.backoff import FIRST_S, MOST_OF_KEY_S, MOST_S, SETTLED_S, Backoff
from workers.store.connection import connect
from workers.store.log.streams import RawEntry, RawStreams
from workers.store.refusals import Refusal, refusal_of

ENTRY = RawEntry("raw:{A}:depth", 1_000, 5, b"{}", 1, "a")


async def test_a_key_of_another_type_is_the_keys(client: Redis) -> None:
    await client.set(ENTRY.key, "x")
    with pytest.raises(ResponseError) as caught:
        await RawStreams(client, 10_000).append([ENTRY], {ENTRY.key: 1000})
    assert refusal_of(caught.value) is Refusal.WRONG_TYPE
    await client.xadd("raw:{B}:depth", {"data": b"{}"})
    with pytest.raises(ResponseError) as caught:
        await client.xreadgroup("books", "owner", {"raw:{B}:depth": ">"})
    assert refusal_of(caught.value) is Refusal.NO_GROUP
    pipe = client.pipeline(transaction=True)
    pipe.xrange(ENTRY.key)
    with pytest.raises(ResponseError) as caught:
        await pipe.execute()
    assert refusal_of(caught.value) is Refusal.WRONG_TYPE
    assert not Refusal.WRONG_TYPE.of_server
    assert not Refusal.NO_GROUP.of_server


async def refused_on(server: Redis) -> Refusal:
    with pytest.raises((RedisError, OSError)) as caught:
        await RawStreams(server, 10_000).append([ENTRY], {ENTRY.key: 1000})
    return refusal_of(caught.value)


@pytest.fixture
async def own(spare_server: str) -> AsyncIterator[Redis]:
    client = connect(spare_server)
    yield client
    await client.aclose()


async def test_the_states_of_a_server_are_named_and_befall_everybody(own: Redis) -> None:
    await own.config_set("maxmemory", "1")
    assert await refused_on(own) is Refusal.OUT_OF_MEMORY
    await own.config_set("maxmemory", "0")
    await own.replicaof("127.0.0.1", "1")
    assert await refused_on(own) is Refusal.READ_ONLY
    await own.config_set("replica-serve-stale-data", "no")
    assert await refused_on(own) is Refusal.MASTER_DOWN
    await own.replicaof("NO", "ONE")
    await own.config_set("min-replicas-to-write", "1")
    assert await refused_on(own) is Refusal.TOO_FEW_REPLICAS
    await own.config_set("min-replicas-to-write", "0")
    rights = ["reset", "on", "nopass", "~*", "+@all", "-xadd"]
    await own.execute_command("ACL SETUSER", "weak", *rights)
    await own.execute_command("AUTH", "weak", "x")
    assert await refused_on(own) is Refusal.NOT_PERMITTED


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (ResponseError("MISCONF Redis is configured to save RDB snapshots"), Refusal.MISCONFIGURED),
        (ResponseError("BUSY Redis is busy running a script."), Refusal.BUSY),
        (ResponseError("WRONGTYPE Operation against a key script: f00, on @user_script:11."), Refusal.WRONG_TYPE),
        (ResponseError("ERR Error running script: @user_script:5: -OOM command not allowed"), Refusal.OUT_OF_MEMORY),
        (ResponseError("ERR user_script:9: attempt to compare nil with number"), Refusal.OTHER),
        (ResponseError("The user executing the script can't run this command"), Refusal.NOT_PERMITTED),
        (ConnectionLost("Connection closed by server."), Refusal.AWAY),
        (AnsweredLate("Timeout reading"), Refusal.AWAY),
        (ConnectionRefusedError(111, "refused"), Refusal.AWAY),
    ],
)  # fmt: skip
def test_every_wording_has_its_name(error: Exception, refusal: Refusal) -> None:
    assert refusal_of(error) is refusal


async def test_a_connection_to_a_replica_is_given_up_and_its_name_looked_up_anew(own: Redis) -> None:
    assert await own.ping()
    connection = own.connection_pool._available_connections[0]
    assert isinstance(connection, AbstractConnection)
    assert connection.is_connected
    await own.replicaof("127.0.0.1", "1")
    assert await refused_on(own) is Refusal.READ_ONLY
    assert not any(known.is_connected for known in own.connection_pool._available_connections)
    pipe = own.pipeline(transaction=False)
    pipe.set("a", 1)
    pipe.get("a")
    replies = await pipe.execute(raise_on_error=False)
    assert refusal_of(replies[0]) is Refusal.READ_ONLY
    assert replies[1] is None
    assert not any(known.is_connected for known in own.connection_pool._available_connections)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


OOM = ResponseError("OOM command not allowed when used memory > 'maxmemory'.")
WRONG = ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")


def test_a_state_of_the_server_holds_the_venue_back_and_a_keys_the_symbol() -> None:
    clock = Clock()
    waits = Backoff("apply", clock)
    assert waits.due("usdm", "A")
    waits.refused(WRONG, "usdm", "A")
    assert not waits.due("usdm", "A")
    assert waits.due("usdm", "B")
    for symbol in "ABC":
        assert waits.refused(OOM, "usdm", symbol) == pytest.approx(FIRST_S)  # one step for all of a round
    assert not waits.due("usdm", "B")
    assert waits.due("spot", "B")


def test_pauses_grow_to_a_bound_and_a_refusal_ends_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    waits = Backoff("apply", clock)
    pauses = []
    for _ in range(20):
        pauses.append(waits.refused(OOM, "usdm"))
        clock.now += pauses[-1]
        assert waits.due("usdm")
    assert pauses[:3] == pytest.approx([FIRST_S, 2 * FIRST_S, 4 * FIRST_S])
    assert pauses[-1] == pytest.approx(MOST_S)
    waits.accepted("usdm")
    assert waits.refused(OOM, "usdm") == pytest.approx(MOST_S)  # it was not over
    clock.now += MOST_S
    waits.accepted("usdm")
    clock.now += SETTLED_S
    waits.accepted("usdm")
    assert waits.refused(OOM, "usdm") == pytest.approx(FIRST_S)
    for _ in range(20):
        clock.now += waits.refused(WRONG, "usdm", "A")
    assert waits.refused(WRONG, "usdm", "A") == pytest.approx(MOST_OF_KEY_S)
    waits.forget("usdm", "A")
    assert waits.pause_s("spot", "A") == 0.0
