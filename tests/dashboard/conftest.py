"""A headless browser on the dashboard; a test fails when the page logs an error or asks another host."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestServer
from page_watch import LONGEST_MS, Watch
from playwright.async_api import Browser, Page, async_playwright, expect
from scripted_api import ScriptedApi

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
expect.set_options(timeout=LONGEST_MS)
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def chromium() -> str:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium on PATH (Debian: apt install chromium)")
    return found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=chromium, args=OPTIONS)
        yield started
        await started.close()


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, watch: Watch) -> AsyncIterator[Page]:
    context = await browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
    context.set_default_timeout(LONGEST_MS)
    opened = await context.new_page()
    watch.follow(opened)
    yield opened
    await context.close()
    assert watch.unexpected() == []
    assert watch.elsewhere() == []
    assert any(url.startswith("ws://") for url in watch.requests)


@pytest_asyncio.fixture(loop_scope="session")
async def api() -> AsyncIterator[ScriptedApi]:
    scripted = ScriptedApi()
    async with TestServer(scripted.application(), host="127.0.0.1") as server:
        scripted.url = str(server.make_url("/")).rstrip("/")
        yield scripted


@pytest_asyncio.fixture(loop_scope="session")
async def market(api: ScriptedApi, page: Page) -> Page:
    await page.goto(api.url)
    await expect(page.locator("#ladder .bids tr").first).to_contain_text(api.bids[0][0])
    return page
