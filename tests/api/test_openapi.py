"""The API against its own description: whatever fits it is answered as it says, whatever does not is refused."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient, TestServer
from in_process import SYMBOLS, fleet_of
from test_live_books import served_book

from workers.api.server import Api
from workers.runtime.process import Process

EXAMPLES = 30
"""Of each operation, of requests that fit the document and of others."""
PROGRAM = Path(__file__).with_name("ask_everything.py")


@pytest.fixture
async def url(real_server: str) -> AsyncIterator[str]:
    async with fleet_of(real_server) as fleet:
        fleet.be_patient()
        for role in ("ingest-a", "books", "trades"):
            fleet.start(role, f"{role}-1")
        await fleet.until(fleet.all_shown)
        fleet.settings.api.timeout_s = 60  # the fleet and a hundred questions share this process
        process = Process("api", fleet.settings, 0, fleet.url)
        api = Api(process)
        api.start()
        async with TestClient(TestServer(api.application.build())) as client:
            for symbol in SYMBOLS:
                await served_book(client, symbol)
            yield f"http://{client.host}:{client.port}"
        await api.close()
        await process.client.aclose()


async def test_schemathesis_finds_no_5xx_and_no_violation_of_the_document(url: str) -> None:
    async with ClientSession(url) as session:
        book = await (await session.get("/orderbook?depth=1")).json()
        price = {"price": book["bids"][0][0]}  # no price made up lies in the known range
        assert (await session.post("/quantity", json=price)).status == 200
    asking = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), url, str(EXAMPLES), stdout=-1, stderr=-1
    )
    told, problems = await asking.communicate()
    assert asking.returncode == 0, problems.decode()[-5000:]
    statuses: dict[str, int] = json.loads(told)
    assert not [key for key in statuses if key.split()[-1].startswith("5")]
    answered = {key.rsplit(" ", 1)[0] for key in statuses if key.endswith(" 200")}
    assert {
        "GET /status",
        "GET /orderbook",
        "GET /trades",
        "GET /bars/{interval}",
    } <= answered
    refused = {key.rsplit(" ", 1)[0] for key in statuses if key.endswith((" 404", " 422"))}
    assert {"GET /orderbook", "GET /nearest-level/{price}", "POST /quantity"} <= refused
