"""A headless browser on the dashboard; a test fails when the page logs an error or asks another host."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

sys.path.insert(0, str(Path(__file__).parent))  # scripted_api is shared by the tests of this folder
sys.path.insert(0, str(Path(__file__).parents[1] / "roles"))  # the fleet inside the test process

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
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


class Watch:
    """What a page did that it must not do."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.expected: list[str] = []
        """Patterns of console errors that the test brings about, such as the browser's note of a 404."""

    def follow(self, page: Page) -> None:
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", lambda socket: self.requests.append(socket.url))

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(f"{message.text} {message.location.get('url', '')}")

    def unexpected(self) -> list[str]:
        return [error for error in self.errors if not any(re.search(one, error) for one in self.expected)]

    def elsewhere(self) -> list[str]:
        return [url for url in self.requests if not re.match(r"(http|ws)://127\.0\.0\.1[:/]", url)]


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, watch: Watch) -> AsyncIterator[Page]:
    context = await browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
    context.set_default_timeout(10_000)
    opened = await context.new_page()
    watch.follow(opened)
    yield opened
    await context.close()
    assert watch.unexpected() == []
    assert watch.elsewhere() == []
    assert any(url.startswith("ws://") for url in watch.requests)
