"""The symbol picker in a browser: by keyboard, over venues, and across a reload."""

from __future__ import annotations

import re

import pytest
from page_watch import Watch
from playwright.async_api import Page, expect
from scripted_api import ScriptedApi

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("e2e")]


async def test_symbol_and_interval_are_chosen_by_keyboard(market: Page, api: ScriptedApi):
    await market.keyboard.press("/")
    await expect(market.locator("#symbol")).to_be_focused()
    await market.keyboard.type("bnb")
    await expect(market.locator("#symbols [aria-selected=true]")).to_contain_text("BNBBTC")
    await market.keyboard.press("Enter")
    await expect(market.locator("#title")).to_have_text("BNBBTCspot")
    assert {
        one for requests in api.sockets.values() for request in requests for one in request["symbols"]
    } == {"spot:BNBBTC"}
    await market.keyboard.press("3")  # the picker has given the focus back
    await expect(market.locator("#intervals :checked")).to_have_value("5m")
    await expect(market.locator("#candle-chart")).to_have_attribute("aria-label", re.compile("Candles of 5m"))
    await market.locator("#intervals :checked").focus()
    await market.keyboard.press("ArrowRight")
    await expect(market.locator("#candle-chart")).to_have_attribute(
        "aria-label", re.compile("Candles of 15m")
    )
    assert market.url.endswith("#market/spot/BNBBTC/15m")
    await market.reload()
    await expect(market.locator("#title")).to_have_text("BNBBTCspot")
    await market.locator("#main").focus()
    await market.keyboard.press("[")
    await expect(market.locator("#title")).to_have_text("BTCUSDTspot")


async def test_the_picker_gives_the_focus_back(market: Page):
    await market.keyboard.press("/")
    await market.keyboard.type("nobody")
    await expect(market.locator("#symbols .none")).to_be_visible()
    await market.keyboard.press("Escape")
    await expect(market.locator("#symbols")).to_be_hidden()
    await expect(market.locator("#symbol")).to_have_value("BTCUSDT")
    await market.keyboard.press("4")
    await expect(market.locator("#intervals :checked")).to_have_value("15m")
    await expect(market.locator("#symbols")).to_be_hidden()
    await market.keyboard.press("/")
    await market.keyboard.press("Enter")  # what is chosen already
    await market.keyboard.press("5")
    await expect(market.locator("#intervals :checked")).to_have_value("1h")
    await expect(market.locator("#symbol")).to_have_value("BTCUSDT")


async def test_an_address_may_be_typed_in_any_case(api: ScriptedApi, page: Page):
    await page.goto(f"{api.url}/#market/USDM/ethusdt/1m")
    await expect(page.locator("#title")).to_have_text("ETHUSDTusdm")
    await expect(page.locator("#ladder .bids tr").first).to_contain_text(api.bids[0][0])


async def test_the_venue_that_was_chosen_stays_chosen(market: Page, api: ScriptedApi):
    venue = market.locator("#venue")
    await venue.select_option("spot")
    await expect(market.locator("#title")).to_have_text("BTCUSDTspot")
    await market.reload()
    await expect(market.locator("#ladder .bids tr").first).to_contain_text(api.bids[0][0])
    await expect(venue).to_have_value("spot")
    await market.keyboard.press("/")
    await expect(market.locator("#symbols li")).to_have_text(["BTCUSDTspot", "BNBBTCspot"])
    await market.keyboard.press("Escape")
    await market.evaluate("location.hash = '#market/usdm/ETHUSDT/1m'")  # a link to another venue
    await expect(market.locator("#title")).to_have_text("ETHUSDTusdm")
    await expect(venue).to_have_value("usdm")
    await venue.select_option("")
    await market.reload()
    await expect(market.locator("#title")).to_have_text("ETHUSDTusdm")
    await expect(venue.locator("option")).to_have_count(3)
    await expect(venue).to_have_value("")


async def test_the_symbol_before_one_that_is_not_listed_is_the_last(
    api: ScriptedApi, page: Page, watch: Watch
):
    watch.expected.append("status of 404")
    await page.goto(f"{api.url}/#market/usdm/NOBODY/1m")
    await expect(page.locator("#title")).to_have_text("NOBODYusdm")
    await expect(page.locator("#venue option")).to_have_count(3)
    await page.locator("#main").focus()
    await page.keyboard.press("[")
    await expect(page.locator("#title")).to_have_text("BNBBTCspot")
