"""REST replies as an attacker would write them: bounded, typed, and never the end of a pause or of the worker."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from email.utils import formatdate

import aiohttp
import pytest
from redis.asyncio import Redis

from workers.errors import RateLimited, RestError, RestUnavailable
from workers.runtime.context import VenueContext
from workers.runtime.rest import RestClient
from workers.runtime.rest_reply import UNKNOWN_WAIT_S
from workers.store.fleet.budget import MOST_BLOCK_S, Urgency
from workers.store.keys import Keys, budget
from workers.venues.binance.settings import BinanceSettings
from workers.venues.binance.venue import Binance

Talk = Callable[[asyncio.StreamWriter], Awaitable[None]]
LONG = "9" * 5_000


class Attacker:
    """A server that sends, byte for byte, what the test says."""

    def __init__(self) -> None:
        self.talk: Talk
        self.paths: list[str] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.paths.append(head.split(b" ")[1].decode())
            await self.talk(writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def attacker() -> AsyncIterator[Attacker]:
    attacker = Attacker()
    server = await asyncio.start_server(attacker.serve, "127.0.0.1", 0)
    attacker.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield attacker
    server.close()


@pytest.fixture
async def rest(attacker: Attacker, client: Redis) -> AsyncIterator[RestClient]:
    settings = BinanceSettings(market="spot", symbols=["A"], rest_url=attacker.url, weight_per_minute=6000)
    context = VenueContext("spot", Binance("spot", settings), settings, Keys(), ["A"])
    async with aiohttp.ClientSession() as session:
        yield RestClient(session, client, context)


def saying(status: int, body: bytes = b"{}", *headers: str) -> Talk:
    async def talk(writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers, "", ""]
        writer.write("\r\n".join(lines).encode() + body)

    return talk


def endless(*headers: str, piece: bytes = b"x" * 65_536) -> Talk:
    async def talk(writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join(["HTTP/1.1 200 X", *headers, "", ""]).encode())
        while True:
            writer.write(piece)
            await writer.drain()

    return talk


def bomb(megabytes: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(2**20)
    return b"".join(packer.compress(zeros) for _ in range(megabytes)) + packer.flush()


async def get(rest: RestClient, timeout_s: float = 30) -> bytes:
    return await rest.get(rest._venue.snapshot_request("A"), Urgency.BROKEN, timeout_s)


BANNED = b'{"code":-1003,"msg":"Way too much request weight used; IP banned until %d. Please use WebSocket"}'


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1e400", UNKNOWN_WAIT_S),
        ("inf", UNKNOWN_WAIT_S),
        ("nan", UNKNOWN_WAIT_S),
        ("1e9", UNKNOWN_WAIT_S),
        ("-5", UNKNOWN_WAIT_S),
        ("0", UNKNOWN_WAIT_S),
        ("", UNKNOWN_WAIT_S),
        ("Fri, 99 Foo 2026 99:99:99 GMT", UNKNOWN_WAIT_S),
        (LONG, UNKNOWN_WAIT_S),
        ("²", UNKNOWN_WAIT_S),
        ("999999999999", MOST_BLOCK_S),
        ("77", 77),
    ],
)
async def test_a_pause_is_kept_whatever_the_header_says(
    rest: RestClient, attacker: Attacker, text: str, seconds: float
) -> None:
    attacker.talk = saying(429, b"{}", f"Retry-After: {text}")
    with pytest.raises(RateLimited) as caught:
        await get(rest)
    assert caught.value.retry_after_s == seconds
    assert seconds * 1000 - 20_000 < await rest.budget.ask(1, Urgency.BROKEN) <= seconds * 1000


async def test_a_pause_may_be_told_as_a_date_or_in_the_body_and_the_latest_holds(
    rest: RestClient, attacker: Attacker
) -> None:
    theirs = time.time() + 5_000  # the exchange's clock counts, not ours
    date = f"Date: {formatdate(theirs, usegmt=True)}"

    async def told(*headers: str, body: bytes = b"{}") -> float:
        attacker.talk = saying(418, body, date, *headers)
        with pytest.raises(RateLimited) as caught:
            await get(rest)
        await rest.budget._scripts._client.delete(budget("spot"))
        return caught.value.retry_after_s

    after = f"Retry-After: {formatdate(theirs + 600, usegmt=True)}"
    assert await told(after) == pytest.approx(600, abs=2)
    until = BANNED % int((theirs + 900) * 1000)
    assert await told(body=until) == pytest.approx(900, abs=2)
    assert await told("Retry-After: 0", body=until) == pytest.approx(900, abs=2)
    assert await told("Retry-After: 120", body=until) == pytest.approx(900, abs=2)
    assert await told("Retry-After: 1200", body=until) == pytest.approx(1200, abs=2)
    assert await told(body=BANNED % 9_999_999_999_999) == MOST_BLOCK_S
    assert await told(body=BANNED % 1_000_000_000_000) == UNKNOWN_WAIT_S
    assert await told(after, body=b"[" * 60_000) == pytest.approx(600, abs=2)


@pytest.mark.parametrize("text", [LONG, "²", "-1", "1.5", "1e3", "inf", "٣", ""])
async def test_a_used_weight_that_is_none_is_left_out(
    rest: RestClient, attacker: Attacker, client: Redis, text: str
) -> None:
    attacker.talk = saying(200, b"{}", f"X-MBX-USED-WEIGHT-1M: {text}")
    assert await get(rest) == b"{}"
    assert await client.hget(budget("spot"), "used") == b"50"


@pytest.mark.parametrize(
    "talk",
    [
        endless("Transfer-Encoding: identity"),
        endless("Transfer-Encoding: chunked", piece=b"10000\r\n" + b"x" * 65_536 + b"\r\n"),
        endless(f"Content-Length: {200 * 2**20}"),
        saying(200, bomb(600), "Content-Encoding: gzip"),
    ],
    ids=["endless", "chunked", "200 MB", "bomb"],
)
async def test_no_body_takes_more_memory_than_its_kind_can_need(
    rest: RestClient, attacker: Attacker, talk: Talk
) -> None:
    attacker.talk = talk
    tracemalloc.start()
    try:
        with pytest.raises(RestUnavailable, match="longer than"):
            await get(rest)
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()


async def test_nor_do_its_elements_once_they_are_decoded(rest: RestClient, attacker: Attacker) -> None:
    attacker.talk = saying(200, b'{"symbols":[' + b"0," * 3_000_000 + b"0]}")
    with pytest.raises(RestUnavailable, match="all commas"):
        await get(rest)


async def test_the_body_of_a_ban_cannot_take_its_pause_away(rest: RestClient, attacker: Attacker) -> None:
    async def stalls(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 429 X\r\nRetry-After: 99\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()
        await asyncio.sleep(5)

    for talk in (stalls, saying(429, b"x" * 10, "Content-Encoding: gzip", "Retry-After: 99")):
        attacker.talk = talk
        with pytest.raises(RateLimited) as caught:
            await get(rest)
        assert caught.value.retry_after_s == 99
        await rest.budget._scripts._client.delete(budget("spot"))


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_no_redirect_is_followed(rest: RestClient, attacker: Attacker, status: int) -> None:
    attacker.talk = saying(status, b"", f"Location: {attacker.url}/elsewhere")
    with pytest.raises(RestUnavailable, match="not followed"):
        await get(rest)
    assert len(attacker.paths) == 1


async def test_what_they_write_reaches_no_log_unbounded_or_with_controls(
    rest: RestClient, attacker: Attacker
) -> None:
    attacker.talk = saying(400, b'{"code":-1,"msg":"\\u001b[2J\\u0007' + b"m" * 9_000 + b'"}')
    with pytest.raises(RestError) as caught:
        await get(rest)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


async def test_noise_is_typed(rest: RestClient, attacker: Attacker) -> None:
    async def noise(writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x00\xff" * 500 + b"\r\n\r\n")

    async def long_header(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 X\r\nA: " + b"x" * 100_000 + b"\r\n\r\n")

    for talk in (noise, long_header, saying(200, b"not gzip", "Content-Encoding: gzip")):
        attacker.talk = talk
        with pytest.raises(RestUnavailable):
            await get(rest)
