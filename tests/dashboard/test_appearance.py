"""How the dashboard looks and is read: widths, themes, contrast, names of controls."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect
from scripted_api import ScriptedApi

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("e2e")]


async def test_a_phone_shows_what_workers_do(api: ScriptedApi, page: Page):
    await page.set_viewport_size({"width": 360, "height": 740})
    await page.goto(f"{api.url}/#fleet")
    doing = page.locator("#workers tbody td.wide").first
    await expect(doing).to_contain_text("symbols 5")
    await expect(doing).to_contain_text("since 2026-11-28")
    left, right = await page.evaluate(  # found and measured at once: the rows are made anew every two seconds
        "(({left, right}) => [left, right])(document.querySelector('#workers tbody td.wide').getBoundingClientRect())"
    )
    assert 0 <= left < right <= 360


async def test_no_width_makes_the_page_scroll_sideways(market: Page, api: ScriptedApi):
    wider = (
        "[...document.querySelectorAll('body *')].filter((one) => !one.closest('.scroll, .unseen, .skip')"
        " && one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.outerHTML.slice(0, 80))"
    )
    for address, sign in (("#market", "#ladder .bids td"), ("#fleet", "#books td")):
        await market.goto(f"{api.url}/{address}")
        await expect(market.locator(sign).first).to_be_visible()
        for width in (360, 412, 620, 768, 1024, 1440):
            await market.set_viewport_size({"width": width, "height": 740})
            assert await market.evaluate(wider) == [], width
            assert await market.evaluate("document.documentElement.scrollWidth <= innerWidth"), width


async def test_eight_decimals_are_read_whole(market: Page, api: ScriptedApi):
    api.bids[0] = ["84554.30", "1234.12345678"]
    await api.send("book", api.snapshot())
    made = api._trade("84554.30")
    await api.send("trades", {"trades": [{**made, "quantity": "1234.12345678"}]})
    await expect(market.locator("#tape tbody tr").first).to_contain_text("1234.12345678")
    await expect(market.locator("#ladder .bids tr").first).to_contain_text("1234.12345678")
    cut = await market.evaluate(
        """() => [...document.querySelectorAll("#tape td, #ladder td")]
             .filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.textContent)"""
    )
    assert cut == []


async def test_light_dark_and_the_switch(market: Page):
    async def background() -> str:
        return await market.evaluate("getComputedStyle(document.body).backgroundColor")

    light = await background()
    await market.emulate_media(color_scheme="dark")
    dark = await background()
    assert dark != light
    await market.locator("#theme").click()  # auto, then light
    assert await background() == light
    await market.locator("#theme").click()
    assert await background() == dark
    await market.emulate_media(color_scheme="light")
    await market.reload()
    assert await background() == dark


async def test_contrast_of_text_is_enough(market: Page):
    for scheme in ("light", "dark"):
        await market.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        poor = await market.evaluate(CONTRAST)
        assert poor == [], scheme


CONTRAST = """() => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((value) => {
    const part = value / 255;
    return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  }).reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const found = numbers(getComputedStyle(one).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  const poor = new Set();
  for (const element of document.querySelectorAll("#market *, .bar *")) {
    const says = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (element.disabled || !element.checkVisibility() || !says) continue;
    const [a, b] = [light(numbers(getComputedStyle(element).color)), light(behind(element))].sort((x, y) => y - x);
    const name = `${element.tagName} ${element.className} ${element.textContent.slice(0, 20)}`;
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.add(name);
  }
  return [...poor];
}"""


async def test_every_control_has_a_name_and_the_page_its_landmarks(market: Page):
    unnamed = await market.evaluate(
        """() => [...document.querySelectorAll("button, select, input, a, [tabindex='0'], table, section")]
             .filter((one) => !(one.getAttribute("aria-label") || one.labels?.length || one.textContent.trim()
               || document.getElementById(one.getAttribute("aria-labelledby"))))
             .map((one) => one.outerHTML.slice(0, 90))"""
    )
    assert unnamed == []
    for role in ("banner", "main", "navigation", "search"):
        assert await market.get_by_role(role).count() == 1, role
    await market.keyboard.press("Tab")
    assert await market.evaluate("document.activeElement.textContent") == "Skip to the content"
