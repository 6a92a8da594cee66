"""Questions of whoever means no good, clients that do not read, and raw messages, which nobody has."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import ClientSession, WSMsgType
from aiohttp.test_utils import TestServer
from test_live_stream import PATIENCE_S, served

from workers.tardis import server as serving

DAY = {"from": "2026-11-20", "to": "2026-11-21"}
HUGE = {"from": "0001-01-01T00:00:00+14:00", "to": "9999-12-31T23:59:59-14:00"}


def question(**changes: Any) -> dict[str, Any]:
    return {"exchange": "binance-futures", "symbols": ["BTCUSDT"], "dataTypes": ["trade"], **DAY} | changes


async def asked(server: TestServer, options: str, path: str = "/replay-normalized") -> tuple[int, str]:
    async with (
        ClientSession() as session,
        session.get(server.make_url(path), params={"options": options}) as reply,
    ):
        return reply.status, await reply.text()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"from": DAY["to"], "to": DAY["from"]}, "later than"),
        ({"from": "2026-11-31"}, "is no valid date string"),
        ({"from": "x" * 1000}, "is no valid date string"),
        ({"from": 5}, "Expected `str`"),
        ({"dataTypes": [f"trade_bar_{n}ms" for n in range(1, 102)]}, "100 at the most"),
        ({"dataTypes": ["book_snapshot_99999_1ms"]}, "is none of"),
        ({"dataTypes": ["trade_bar_0ms"]}, "is none of"),
        ({"dataTypes": ["option_summary"]}, "liquidation, book_ticker, book_snapshot"),
        ({"dataTypes": ["book_ticker"]}, "'book_ticker' of binance-futures is not followed"),
        ({"symbols": [f"S{n}" for n in range(2_001)]}, "2000 at the most"),
        ({"symbols": ["A/../../B\0"]}, "symbols"),
        ({"symbols": ["A" * 10_000]}, "symbols"),
        ({"exchange": "../../etc"}, "following exchanges"),
    ],
)  # fmt: skip
async def test_a_question_that_cannot_be_answered_says_why(
    spare_server: str, changes: dict[str, Any], problem: str
) -> None:
    async with served(spare_server) as server:
        status, text = await asked(server, json.dumps(question(**changes)))
    assert status == 500
    assert problem in json.loads(text)["message"]


async def test_no_question_makes_the_server_open_more_than_a_bound(spare_server: str) -> None:
    wanted = question(
        symbols=[f"S{n}" for n in range(2_000)], dataTypes=["trade", "book_change", "liquidation"]
    )
    async with served(spare_server) as server:
        status, text = await asked(server, json.dumps([wanted, wanted]))
    assert (status, json.loads(text)["message"][:21]) == (500, "Too much is asked for")


@pytest.mark.parametrize(
    "options", ["[" * 100_000, '{"exchange":"\\ud800"}', "{}", "[]", "null", "\0", "[[]]", "1e999"]
)
async def test_options_that_are_none(spare_server: str, options: str) -> None:
    async with served(spare_server) as server:
        status, text = await asked(server, options)
    assert status == 500
    assert 'Invalid "options"' in json.loads(text)["message"]


async def test_nothing_is_held_and_all_of_time_is_asked_for(spare_server: str) -> None:
    kinds = ["trade", "book_change", "derivative_ticker", "liquidation", "quote_1m", "trade_bar_1ticks"]
    async with served(spare_server) as server:
        for symbols in (["BTCUSDT"], ["币安人生usdt"], []):
            asking = question(symbols=symbols, dataTypes=kinds, **HUGE)
            assert await asked(server, json.dumps(asking)) == (200, "")
            assert await asked(server, json.dumps(asking, ensure_ascii=False)) == (200, "")
        for path in ("币安人生USDT", "%2e%2e%2fx", "A%00"):
            status, _ = await asked(server, "", f"/v1/binance-futures/trades/9999/12/31/{path}.csv.gz")
            assert status == 404


async def test_raw_messages_are_refused_in_words_of_the_protocol(spare_server: str) -> None:
    raw = json.dumps({"exchange": "binance-futures", "filters": [{"channel": "depth"}], **DAY})
    async with served(spare_server) as server, ClientSession() as session:
        status, text = await asked(server, raw, "/replay")
        assert (status, json.loads(text)) == (
            500,
            {"message": f"Raw messages are not kept: {serving.NO_RAW}"},
        )
        query = {"exchange": "binance-futures", **DAY}
        async with session.ws_connect(server.make_url("/ws-replay"), params=query) as ws:
            message = await ws.receive(PATIENCE_S)
            assert (message.type, message.data) == (WSMsgType.CLOSE, 1011)
            assert message.extra == json.loads(text)["message"]  # not cut


async def endless(*_: Any) -> AsyncGenerator[str]:
    while True:
        yield json.dumps({"x": "y" * 10_000})
        await asyncio.sleep(0)


@pytest.mark.parametrize("path", ["/replay-normalized", "/ws-replay-normalized"])
async def test_who_does_not_read_a_replay_gives_its_place_to_others(
    spare_server: str, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(serving, "replay", endless)
    monkeypatch.setattr(serving, "UNREAD_S", 0.3)
    monkeypatch.setattr(serving, "HEARTBEAT_S", 0.3)
    monkeypatch.setattr(serving, "MOST_ANSWERS", 1)
    async with served(spare_server) as server, ClientSession() as session:
        _, writer = await asyncio.open_connection(server.host, server.port, limit=1 << 12)
        upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        names = f"{upgrade}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" if "ws" in path else ""
        options = quote(json.dumps(question()))
        writer.write(f"GET {path}?options={options} HTTP/1.1\r\nHost: localhost\r\n{names}\r\n".encode())

        async def under_way() -> int:
            async with session.get(server.make_url("/health-check")) as reply:
                return int((await reply.json())["answersUnderWay"])

        async with asyncio.timeout(PATIENCE_S):
            while not await under_way():
                await asyncio.sleep(0.01)
            while await under_way():
                await asyncio.sleep(0.05)
        writer.close()


async def test_who_goes_in_the_middle_leaves_nothing_behind(
    spare_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = asyncio.Event()

    async def told(*_: Any) -> AsyncGenerator[str]:
        try:
            async for line in endless():
                yield line
        finally:
            ended.set()

    monkeypatch.setattr(serving, "replay", told)
    async with served(spare_server) as server:
        for path in ("/replay-normalized", "/ws-replay-normalized"):
            query = {"options": json.dumps(question())}
            async with ClientSession() as session:
                if "ws" in path:
                    async with session.ws_connect(server.make_url(path), params=query) as ws:
                        await ws.receive(PATIENCE_S)
                else:
                    async with session.get(server.make_url(path), params=query) as reply:
                        await reply.content.readline()
                        reply.close()
            async with asyncio.timeout(PATIENCE_S):
                await ended.wait()
            ended.clear()
