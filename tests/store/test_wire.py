"""Connections taken over from redis-py: the same answers and errors, whatever becomes of the socket."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as AnsweredLate

from workers.store.connection import connect, connect_reader
from workers.store.refusals import Refusal, refusal_of

Question = Callable[[Any], Awaitable[Any]]

QUESTIONS: list[Question] = [
    lambda client: client.ping(),
    lambda client: client.get("text"),
    lambda client: client.get("nothing"),
    lambda client: client.hgetall("hash"),
    lambda client: client.hgetall("nothing"),
    lambda client: client.zrange("sorted", 0, -1, withscores=True),
    lambda client: client.xrange("stream"),
    lambda client: client.xreadgroup("group", "owner", {"stream": ">"}),
    lambda client: client.xread({"stream": "0"}),
    lambda client: client.xpending("stream", "group"),
    lambda client: client.xinfo_groups("stream"),
    lambda client: client.config_get("maxmemory"),
    lambda client: client.hget("text", "field"),
    lambda client: client.xreadgroup("none", "owner", {"stream": ">"}),
    lambda client: client.evalsha("0" * 40, 0),
    lambda client: client.eval("return {1, 'a', {2, redis.error_reply('ERR within')}, false}", 0),
    lambda client: client.execute_command("XINFO STREAM", "stream"),
    lambda client: client.execute_command("NO SUCH COMMAND"),
]


async def outcome(question: Question, client: Any) -> Any:
    try:
        found = await question(client)
    except RedisError as error:
        return type(error), str(error)
    return repr(found)


async def test_answers_and_errors_are_redis_pys_own(real_server: str) -> None:
    plain, wired = Redis.from_url(real_server, protocol=2), connect(real_server)
    for question in QUESTIONS:
        outcomes = []
        for client in (plain, wired):
            await plain.flushall()
            await plain.set("text", b"\x00\xff")
            await plain.hset("hash", mapping={"a": 1, "b": b"\r\n"})
            await plain.zadd("sorted", {"a": 1.5})
            await plain.xadd("stream", {"data": "x" * 100_000}, id="1-1")
            await plain.xgroup_create("stream", "group", id="0")
            outcomes.append(await outcome(question, client))
        assert outcomes[0] == outcomes[1]
    await plain.aclose()
    await wired.aclose()


async def test_a_pipeline_gives_answers_and_errors_in_order(real_server: str) -> None:
    client = connect(real_server)
    await client.flushall()
    for transaction in (False, True):
        pipe: Any = client.pipeline(transaction=transaction)
        pipe.set("text", "a")
        pipe.hget("text", "field")
        pipe.get("text")
        answers = await pipe.execute(raise_on_error=False)
        assert answers[0] is True
        assert isinstance(answers[1], ResponseError)
        assert answers[2] == b"a"
        pipe.hget("text", "field")
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            await pipe.execute()
        assert await pipe.execute() == []
    await client.aclose()


async def test_many_at_once_have_a_connection_each(real_server: str) -> None:
    client: Any = connect_reader(real_server)
    await client.flushall()
    waiting = asyncio.create_task(client.blpop("list", timeout=30))
    assert await asyncio.gather(*(client.echo(f"{number}") for number in range(50))) == [
        b"%d" % number for number in range(50)
    ]
    await client.rpush("list", "x")
    assert await waiting == (b"list", b"x")
    await client.aclose()


async def test_what_was_cancelled_is_not_the_next_ones_answer(real_server: str) -> None:
    client: Any = connect_reader(real_server)
    await client.flushall()
    waiting = asyncio.create_task(client.blpop("list", timeout=30))
    while not (await client.info("clients"))["blocked_clients"]:
        await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.wait([waiting])
    await client.rpush("list", "x")
    for number in range(10):
        assert await client.echo(f"{number}") == b"%d" % number
    assert await client.llen("list") == 1  # the server knows that nobody waits any more
    await client.aclose()


async def test_a_connection_that_was_closed_meanwhile_is_not_used(real_server: str) -> None:
    client: Any = connect_reader(real_server)
    killing = Redis.from_url(real_server, protocol=2)
    for _ in range(3):
        number = await client.client_id()
        await killing.client_kill_filter(_id=number)
        connection = client.connection_pool._available_connections[0]
        async with asyncio.timeout(60):
            while connection.is_connected:
                await asyncio.sleep(0.01)
        assert await client.client_id() != number  # without an error, though it never tries again
    await client.aclose()
    await killing.aclose()


class Server:
    """Answers what it is told to, to one question after another."""

    def __init__(self) -> None:
        self.answers: list[bytes | None] = []
        """None: the socket is closed instead; empty: nothing is said."""
        self.asked: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            parts = [
                await reader.readexactly(int((await reader.readline())[1:]) + 2) for _ in range(int(line[1:]))
            ]
            if parts[0].startswith((b"CLIENT", b"PING")):
                writer.write(b"+PONG\r\n" if parts[0].startswith(b"PING") else b"+OK\r\n")
                continue
            self.asked.append(parts[0].strip())
            answer = self.answers.pop(0)
            if answer is None:
                break
            for place in range(len(answer)):
                writer.write(answer[place : place + 1])
                await writer.drain()
                await asyncio.sleep(0)
        writer.close()


@asynccontextmanager
async def server_of(
    *answers: bytes | None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[Server, str]]:
    server = Server()
    server.answers += answers
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    scheme = "rediss" if tls else "redis"
    yield server, f"{scheme}://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    listening.close()


async def test_an_answer_in_pieces_is_one() -> None:
    async with server_of(b"*2\r\n$3\r\na\r\n\r\n:7\r\n", b"$-1\r\n") as (_, url):
        client = connect_reader(url)
        assert await client.execute_command("ASK") == [b"a\r\n", 7]
        assert await client.execute_command("ASK") is None
        await client.aclose()


async def test_what_is_not_answered_is_asked_again_where_that_is_harmless() -> None:
    async with server_of(None, b"+LATE\r\n", None, b"+NEVER\r\n") as (server, url):
        patient, reader = connect(url), connect_reader(url)
        assert await patient.execute_command("ASK") == b"LATE"
        with pytest.raises(ConnectionLost):
            await reader.execute_command("ASK")
        assert server.asked == [b"ASK"] * 3
        assert await reader.execute_command("ASK") == b"NEVER"
        await patient.aclose()
        await reader.aclose()


async def test_it_is_asked_again_as_often_as_the_client_says() -> None:
    async with server_of(None, None, None, None, b"+LATE\r\n") as (server, url):
        client = connect(url)
        with pytest.raises(ConnectionLost):
            await client.execute_command("ASK")
        assert server.asked == [b"ASK"] * 4
        await client.aclose()


async def test_a_server_that_loads_its_data_is_asked_again() -> None:
    async with server_of(b"-LOADING Redis is loading the dataset in memory\r\n", b"+OK\r\n") as (_, url):
        client = connect(url)
        assert await client.execute_command("ASK") == b"OK"
        await client.aclose()


async def test_an_answer_that_never_comes_is_late_and_nobody_elses() -> None:
    async with server_of(b"", b"+OK\r\n") as (_, url):
        client = connect_reader(f"{url}?socket_timeout=0.2")
        with pytest.raises(AnsweredLate):
            await client.execute_command("ASK")
        assert await client.execute_command("ASK") == b"OK"
        await client.aclose()


async def test_what_is_no_answer_ends_the_connection() -> None:
    async with server_of(b"hello\r\n", b"+OK\r\n") as (_, url):
        client = connect_reader(url)
        with pytest.raises(RedisError):
            await client.execute_command("ASK")
        assert await client.execute_command("ASK") == b"OK"
        await client.aclose()


async def test_scripts_are_sent_again_and_users_log_in(spare_server: str) -> None:
    client: Any = connect(spare_server)
    with pytest.raises(NoScriptError):
        await client.evalsha("0" * 40, 0)
    await client.config_set("requirepass", "secret")
    path = spare_server.removeprefix("unix://")
    allowed: Any = connect(f"unix://:secret@{path}?db=3")
    await allowed.set("a", 1)
    assert (await allowed.client_info())["db"] == 3
    refused = connect(f"unix://:wrong@{path}")
    with pytest.raises(RedisError, match="invalid username-password"):
        await refused.get("a")
    for one in (client, allowed, refused):
        await one.aclose()


@pytest.mark.parametrize("loop", [asyncio.run, uvloop.run])
def test_over_tls_it_is_the_same(tmp_path: Path, loop: Callable[[Any], Any]) -> None:
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("no openssl to make a certificate with")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", certificate,
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def ask() -> None:
        async with server_of(b"+HERE\r\n", None, b"+OK\r\n", tls=context) as (_, url):
            client = connect(f"{url}?ssl_ca_certs={certificate}")
            assert await client.execute_command("ASK") == b"HERE"
            assert await client.execute_command("ASK") == b"OK"  # on another connection
            await client.aclose()

    loop(ask())


async def test_more_questions_than_connections_wait_for_their_turn(real_server: str) -> None:
    client: Any = connect(real_server)
    questions = [client.echo(str(number)) for number in range(300)]
    for number in range(300):
        pipe = client.pipeline(transaction=number % 2 == 0)
        questions.append(pipe.echo(str(number)).execute())
    waiting = asyncio.create_task(client.get("text"))
    found = await asyncio.gather(*questions)
    assert found == [b"%d" % number for number in range(300)] + [[b"%d" % number] for number in range(300)]
    waiting.cancel()
    pool = client.connection_pool
    assert len(pool._available_connections) + len(pool._in_use_connections) <= pool.max_connections
    blocked = [asyncio.create_task(client.blpop("nothing", 60)) for _ in range(300)]
    await asyncio.sleep(0)
    for task in blocked:  # some of them wait for a reply, the others for their turn
        task.cancel()
    await asyncio.gather(*blocked, return_exceptions=True)
    assert await asyncio.gather(*[client.echo("a") for _ in range(300)]) == [b"a"] * 300
    await client.aclose()


@pytest.mark.parametrize("user", ["", "somebody:wrong@"])
async def test_a_login_that_is_refused_is_an_error_and_no_endless_try(spare_server: str, user: str) -> None:
    owner: Any = Redis.from_url(spare_server)
    await owner.config_set("requirepass", "secret")
    client = connect(spare_server.replace("://", f"://{user}"))
    with pytest.raises(ConnectionLost) as refused:
        async with asyncio.timeout(60):
            await client.ping()
    assert refusal_of(refused.value) is Refusal.NOT_LOGGED_IN
    await client.aclose()
    await owner.config_set("requirepass", "")
    await owner.aclose()
