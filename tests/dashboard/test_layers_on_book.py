"""What lies on the book of the page: the queues of single orders, and what analytics found."""

from __future__ import annotations

import asyncio

import pytest
from made_up_market import START_MS
from playwright.async_api import Page, expect
from scripted_api import ScriptedApi

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("e2e")]


async def test_queues_are_blocks_an_order_tells_its_life_and_without_orders_there_are_none(
    api: ScriptedApi, page: Page
):
    await page.goto(api.url)
    await expect(page.locator("#state")).to_contain_text("synced")
    await expect(page.locator("#queues")).to_be_hidden()
    nasty = "<img src=x onerror=document.title='owned'>"
    orders = [
        {"id": nasty, "quantity": "3.000", "placed_us": START_MS * 1000, "age_ms": 5000, "is_seen": True},
        {"id": "78", "quantity": "1.000", "placed_us": None, "age_ms": None, "is_seen": False},
    ]
    level = {
        "price": "84554.30",
        "quantity": "8.000",
        "orders_count": 9,
        "is_complete": False,
        "orders": orders,
    }
    api.orders = {"type": "snapshot", "bids": [level], "asks": [], "orders_count": 12, "is_whole": True}
    api.order = {"side": "bid", "price": "84554.30", "order": orders[0], "orders_ahead": 2,
                 "quantity_ahead": "4.5", "is_exact": False}  # fmt: skip
    await page.reload()
    blocks = page.locator("#queue-bids li button")
    await expect(blocks).to_have_count(3)
    await expect(page.locator("#queue-bids li")).to_contain_text("84554.30")
    await expect(page.locator("#queue-bids li")).to_contain_text("≥ 8.000")
    await expect(page.locator("#queues-note")).to_have_text("12 orders")
    widths = [float((await blocks.nth(at).bounding_box() or {})["width"]) for at in range(3)]
    assert widths[0] == pytest.approx(3 * widths[1], rel=0.1)
    assert widths[2] == pytest.approx(4 * widths[1], rel=0.1)
    await expect(blocks.last).to_have_text("+7")
    await blocks.first.click()
    await expect(page.locator("#queue-order")).to_have_text(
        f"{nasty}: bid at 84554.30, 3.000 left, at least 2 orders with 4.5 ahead, "
        "since 2024-08-09 00:00:00 UTC (5 s), its creation was seen"
    )
    assert await page.locator("#queues img").count() == 0
    await api.send("orders", {"type": "withheld", "state": "broken", "reason": nasty})
    await expect(page.locator("#queues-note")).to_have_text(f"withheld: broken, {nasty}")
    await expect(blocks).to_have_count(0)
    assert await page.title() != "owned"


async def test_analytics_lie_over_the_book_and_go_with_it(api: ScriptedApi, page: Page):
    await page.goto(api.url)
    await expect(page.locator("#state")).to_contain_text("synced")
    await expect(page.locator("#analytics")).to_be_hidden()
    wall, iceberg, flicker = (float(api.bids[at][0]) for at in (1, 2, 3))
    figures = {"state": "shown", "microprice": 84_554.354, "depth_imbalance": -0.25,
               "walls": [{"side": "bid", "price": wall, "quantity": 9.0, "ratio": 8.5, "orders": 3}],
               "icebergs": [{"side": "bid", "price": iceberg, "hidden": 3.5, "confidence": 0.9,
                             "order_id": "<b>777"}]}  # fmt: skip
    api.analytics = {"type": "figures", "owner": "analytics-1", "figures": figures}
    await page.reload()
    await expect(page.locator("#analytics")).to_have_text("microprice 84554.354 · imbalance -0.25")
    rows = page.locator("#ladder .bids tr")
    await expect(rows.nth(1)).to_have_attribute("title", "wall: 8.5 times the other levels, 3 orders")
    await expect(rows.nth(2)).to_have_attribute(
        "title", "iceberg: about 3.5 hidden, confidence 0.9, order <b>777"
    )
    told = {"type": "event", "event": {"kind": "flicker", "side": "bid", "price": flicker}}
    async with asyncio.timeout(60):
        while await rows.nth(3).get_attribute("data-mark") != "flicker":
            await api.send("analytics", told)
    await api.send("analytics", {**api.analytics, "figures": {**figures, "state": "withheld"}})
    await expect(page.locator("#analytics")).to_have_text("analytics: withheld with the book")
    await expect(page.locator("#ladder tr:is([data-mark=wall], [data-mark=iceberg])")).to_have_count(0)
