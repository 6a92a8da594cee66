"""The dashboard on a real API while the exchange or Redis is away, and before an API that asks for a token."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256

import aiohttp
import pytest
import pytest_asyncio
from aiohttp.test_utils import TestServer
from in_process import Fleet, fleet_of
from page_watch import Watch
from playwright.async_api import Page, expect

from workers.api.server import Api
from workers.runtime.process import Process
from workers.settings.api import ApiSettings
from workers.settings.schema import Settings
from workers.venues.binance.settings import BinanceSettings

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("e2e")]

TOKEN = "of-the-test"
LONG_MS = 90_000


@asynccontextmanager
async def serving(process: Process) -> AsyncIterator[str]:
    api = Api(process)
    async with TestServer(api.application.build(), host="127.0.0.1") as server:
        api.start()
        yield str(server.make_url("/")).rstrip("/")
    await api.close()
    await process.client.aclose()


@pytest_asyncio.fixture(loop_scope="session")
async def fleet(spare_server: str) -> AsyncIterator[Fleet]:
    async with fleet_of(spare_server) as running:
        running.be_patient()
        for role, name in (("ingest-a", "a"), ("books", "books-1"), ("trades", "trades-1")):
            running.start(role, name)
        await running.until(running.all_shown)
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def url(fleet: Fleet) -> AsyncIterator[str]:
    async with serving(Process("api", fleet.settings, 0, fleet.url)) as address:
        yield address


async def control(fleet: Fleet, method: str, **body: object) -> None:
    address = f"{fleet.exchange.url}/control/faults"
    async with aiohttp.ClientSession() as session, session.request(method, address, json=body) as response:
        assert response.status < 300, await response.text()


async def test_the_exchange_goes_away_and_comes_back(fleet: Fleet, url: str, page: Page, watch: Watch):
    watch.expected.append("status of 503")
    link = page.locator("#link")
    await page.goto(url)
    await expect(link).to_have_text("live", timeout=LONG_MS)
    await control(fleet, "POST", kind="refuse")
    await control(fleet, "POST", kind="reset")
    await expect(link).to_have_text("down", timeout=LONG_MS)
    await expect(page.locator("#trouble")).to_contain_text("no line has living sockets to the exchange")
    await page.evaluate("location.hash = '#fleet'")
    await expect(page.locator("#cards .bad")).to_contain_text("no living sockets to usdm")
    await control(fleet, "DELETE")
    await expect(link).to_have_text("live", timeout=LONG_MS)
    await expect(page.locator("#cards .bad")).to_have_count(0)


async def test_redis_freezes_and_comes_back(fleet: Fleet, url: str, page: Page, watch: Watch):
    watch.expected.append("status of 503")
    link = page.locator("#link")
    await page.goto(url)
    await expect(link).to_have_text("live", timeout=LONG_MS)
    await expect(page.locator("#state")).to_contain_text("synced", timeout=LONG_MS)
    server = int((await fleet.client.info("server"))["process_id"])
    os.kill(server, signal.SIGSTOP)
    try:
        await expect(link).to_have_text("down", timeout=LONG_MS)
        await expect(page.locator("#trouble")).to_contain_text("Redis has not answered for")
        await expect(page.locator("#withheld")).to_contain_text("Redis does not answer", timeout=LONG_MS)
        await expect(page.locator("#ladder")).to_be_hidden()
        await page.evaluate("location.hash = '#fleet'")
        await expect(page.locator("#fleet-trouble")).to_contain_text("These values are old", timeout=LONG_MS)
    finally:
        os.kill(server, signal.SIGCONT)
    await expect(link).to_have_text("live", timeout=LONG_MS)
    await expect(page.locator("#fleet-trouble")).to_be_hidden(timeout=LONG_MS)


async def test_an_api_that_is_locked_is_opened_by_its_token(spare_server: str, page: Page, watch: Watch):
    watch.expected += ["status of 401", "status of 503", "WebSocket connection"]
    settings = Settings(
        venues={"usdm": BinanceSettings(market="usdm", symbols=["BTCUSDT"])},
        api=ApiSettings(token_sha256=[sha256(TOKEN.encode()).hexdigest()]),
    )
    async with serving(Process("api", settings, 0, spare_server)) as address:
        await page.goto(address)
        await expect(page.locator("#token")).to_be_visible()
        await page.locator("#token-text").fill("wrong")
        await page.locator("#token button").click()
        await expect(page.locator("#token-note")).to_have_text("The token is not known to the API.")
        await page.locator("#token-text").fill(TOKEN)
        await page.keyboard.press("Enter")
        await expect(page.locator("#title")).to_have_text("BTCUSDTusdm")
        await expect(page.locator("#withheld")).to_contain_text("not owned")  # which came by the socket
        await expect(page.locator("#token")).to_be_hidden()
        await page.close()  # it must not ask an API that is gone
