"""What the page holds when its connection was away, and addresses that say what is not there."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from page_watch import Watch
from playwright.async_api import Page, expect
from scripted_api import ScriptedApi

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("e2e")]

CUT = "WebSocket connection"


def time_of(start_ms: int) -> str:
    return f"{datetime.fromtimestamp(start_ms // 1000, UTC):%H:%M:%S}.{start_ms % 1000:03d}"


async def test_a_book_that_has_not_come_yet_is_not_called_in_sync(
    market: Page, api: ScriptedApi, watch: Watch
):
    watch.expected.append(CUT)
    api.is_mute = True
    await api.cut()
    await expect(market.locator("#withheld")).to_contain_text("Waiting for the book")
    await expect(market.locator("#state b")).to_have_text("waiting")
    await api.restore()
    await expect(market.locator("#state b")).to_have_text("synced")


async def test_bars_that_nobody_loaded_leave_no_hole_between_others(
    market: Page, api: ScriptedApi, watch: Watch
):
    watch.expected.append(CUT)
    await market.keyboard.press("1")  # 100ms: the page loads 20 s of it
    await market.locator("#bars-as-table").click()
    newest = market.locator("#bars-table tbody tr td").first
    await expect(newest).to_have_text(time_of(api.now_s * 1000))
    api.now_s += 60
    await api.cut()
    await expect(newest).to_have_text(time_of(api.now_s * 1000))
    await market.locator("#bars-as-table").click()
    await market.locator("#candle-chart").press("Home")
    await expect(market.locator("#bar-spoken")).to_contain_text(time_of(api.now_s * 1000 - 199 * 100))


async def test_bars_that_were_dropped_are_loaded(market: Page, api: ScriptedApi):
    await market.locator("#bars-as-table").click()
    newest = market.locator("#bars-table tbody tr td").first
    before = await newest.inner_text()
    api.now_s += 60
    await api.send("bars", {"type": "dropped", "count": 1})
    await expect(newest).not_to_have_text(before)


@pytest.mark.parametrize("address", ["#market/usdm/%E4%BA", "#market/usdm/BTCUSDT/constructor"])
async def test_an_address_that_says_nothing_shows_the_usual(api: ScriptedApi, page: Page, address: str):
    await page.goto(f"{api.url}/{address}")
    await expect(page.locator("#title")).to_have_text("BTCUSDTusdm")
    await expect(page.locator("#ladder .bids tr").first).to_contain_text(api.bids[0][0])
    await expect(page.get_by_role("radio", name="1m", exact=True)).to_be_checked()


async def test_a_table_that_stands_still_is_grey(market: Page, api: ScriptedApi):
    await market.evaluate("location.hash = '#fleet'")
    cell, muted = market.locator("#books tbody td").first, "getComputedStyle(one).color === MUTED"
    await expect(cell).to_be_visible()
    colour = await market.locator("#books thead th").first.evaluate("(one) => getComputedStyle(one).color")
    is_grey = f"(one) => {muted.replace('MUTED', repr(colour))}"
    assert not await cell.evaluate(is_grey)
    await market.locator("#books tbody a").first.focus()
    api.owned = False
    await expect(market.locator("#cards")).to_contain_text("0 of 5")
    await expect(market.locator("#books tbody")).to_contain_text("synced")
    assert await cell.evaluate(is_grey)
    await market.locator("#main").focus()
    await expect(market.locator("#books tbody")).to_contain_text("not owned")
    assert not await cell.evaluate(is_grey)
