"""The dashboard on a fleet that follows the single orders of Kraken: its queues and what lies over the book are those
of the API, and go when nobody stands for them."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any, NamedTuple

import aiohttp
import pytest
import pytest_asyncio
from aiohttp.test_utils import TestServer
from order_fleet import LONGEST_S, OrderFleet, orders_of
from page_watch import LONGEST_MS, Watch
from playwright.async_api import Page, expect
from redis.asyncio import Redis

from workers.api.server import Api
from workers.runtime.process import Process

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("e2e")]

WALLS = "[analytics]\nenabled = true\nwall_ratio = 1.5\nwall_ms = 0\n"
"""So that the largest of ten levels is a wall."""


class Running(NamedTuple):
    """The fleet, and where its API listens."""

    fleet: OrderFleet
    url: str

    async def get(self, path: str) -> Any:
        """An answer; None while there is none that could be trusted."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}{path}") as response:
            assert response.status in (200, 503), await response.text()
            return await response.json() if response.status == 200 else None

    async def answer(self, path: str) -> Any:
        """The next answer that can be trusted."""
        deadline = time.monotonic() + LONGEST_MS / 1000
        while (found := await self.get(path)) is None and time.monotonic() < deadline:
            await asyncio.sleep(0.2)
        assert found is not None, f"{path} was withheld all the time"
        return found

    async def rest(self) -> None:
        """Stop the exchange's clock and wait until all it said is in every order's place."""
        await self.fleet.control("pause", {})
        await self.fleet.until(self.fleet.every_order_as_in_truth, LONGEST_S)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def running(real_server: str) -> AsyncIterator[Running]:
    client: Any = Redis.from_url(real_server)
    await client.flushall()  # the server is this test process's own
    await client.aclose()
    async with orders_of(real_server, "kraken", "spot", "/v2", WALLS) as fleet:
        process = Process("api", fleet.settings, 0, real_server)
        api = Api(process)
        async with TestServer(api.application.build(), host="127.0.0.1") as server:
            api.start()
            await fleet.until(fleet.shown, LONGEST_S)
            await fleet.until(fleet.analytics_use_them, LONGEST_S)
            yield Running(fleet, str(server.make_url("/")).rstrip("/"))
        await api.close()
        await process.client.aclose()


@pytest.fixture(autouse=True)
def starved(watch: Watch) -> None:
    """On a busy machine the api may have nothing true to say for a moment; the browser notes its 503 by itself."""
    watch.expected.append("the server responded with a status of 503")


async def equal(shown: Callable[[], Awaitable[object]], given: Callable[[], Awaitable[object]]) -> None:
    """Wait until what is shown is what is given: either may be some messages behind."""
    deadline = time.monotonic() + LONGEST_MS / 1000
    while (found := await shown()) != (wanted := await given()) and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
    assert found == wanted


async def queues(page: Page) -> list[list[list[Any]]]:
    """Of each side its levels: price, quantity, id and rest of each order, and how many more there are."""
    sides: list[list[list[Any]]] = await page.evaluate(
        """() => ["queue-bids", "queue-asks"].map((side) =>
             [...document.querySelectorAll(`#${side} li`)].map((row) => {
               const [price, queue, sum] = row.children;
               const blocks = [...queue.children];
               const orders = blocks.filter((block) => block.dataset.order)
                 .map((block) => [block.dataset.order, block.title.split(": ")[1].split(",")[0]]);
               const more = blocks.find((block) => !block.dataset.order)?.textContent ?? "+0";
               return [price.textContent, sum.textContent, orders, Number(more)];
             }))"""
    )
    return [
        [
            [Decimal(price), Decimal(total.removeprefix("≥ ")), orders, more]
            for price, total, orders, more in rows
        ]
        for rows in sides
    ]


async def queues_served(running: Running, shown: list[list[list[Any]]]) -> object:
    """The same of `/orders`, as many levels and orders as are shown."""
    answer = await running.get("/orders?depth=1000&first=1000")
    if answer is None:
        return None
    return [
        [
            [
                Decimal(level["price"]),
                Decimal(level["quantity"]),
                [[order["id"], order["quantity"]] for order in level["orders"][: len(row[2])]],
                level["orders_count"] - len(row[2]),
            ]
            for level, row in zip(answer[side], rows, strict=False)
        ]
        for side, rows in zip(("bids", "asks"), shown, strict=True)
    ]


@pytest_asyncio.fixture(loop_scope="session")
async def at_rest(running: Running, page: Page) -> AsyncIterator[Running]:
    """The symbol's page, while the market stands still: its queues are those that `/orders` has."""
    await page.goto(f"{running.url}/#market/kraken/{running.fleet.symbol}/1m")
    await expect(page.locator("#state")).to_contain_text("synced")
    await expect(page.locator("#queue-bids li").first).to_be_visible()
    await running.rest()

    async def served() -> object:
        return await queues_served(running, await queues(page))

    await equal(lambda: queues(page), served)
    yield running
    await running.fleet.control("resume", {})


async def test_the_blocks_are_the_queues_that_really_stand(at_rest: Running, page: Page):
    shown = await queues(page)
    assert [len(rows) for rows in shown] == [10, 10]
    assert sum(len(row[2]) for rows in shown for row in rows) > 20
    truth = await at_rest.fleet.truth("orders", at_rest.fleet.symbol, market=at_rest.fleet.market)
    for side, rows in zip(("bids", "asks"), shown, strict=True):
        told = [order_id for row in rows for order_id, _ in row[2]]
        really = [order_id for _, _, order_id in truth[side]]
        assert told == [order_id for order_id in really if order_id in set(told)]
    answer = await at_rest.answer("/orders?depth=1&first=1")
    await expect(page.locator("#queues-note")).to_have_text(re.compile(f"^{answer['orders_count']} orders"))


async def test_a_block_tells_the_place_and_life_of_its_order(at_rest: Running, page: Page):
    block = page.locator("#queue-asks li").nth(2).locator("button[data-order]:not([data-order=''])").last
    order_id = await block.get_attribute("data-order")
    given = await at_rest.answer(f"/orders/{order_id}")
    await block.click()
    said = page.locator("#queue-order")
    await expect(said).to_contain_text(f"{order_id}: ask at {given['price']}")
    await expect(said).to_contain_text(f"{given['orders_ahead']} orders with {given['quantity_ahead']} ahead")
    assert given["order"]["id"] == order_id


async def test_figures_and_walls_lie_over_the_book(at_rest: Running, page: Page):
    async def figures() -> Any:
        return (await at_rest.answer(f"/analytics?symbol={at_rest.fleet.symbol}"))["figures"]

    async def shown() -> object:
        text = await page.locator("#analytics").inner_text()
        numbers = re.fullmatch(r"microprice (\S+) · imbalance (\S+)", text)
        return [round(float(number), 3) for number in numbers.groups()] if numbers else text

    async def told() -> object:
        now = await figures()
        return [round(float(f"{now[name]:.8g}"), 3) for name in ("microprice", "depth_imbalance")]

    await equal(shown, told)

    async def marks() -> object:
        return sorted(
            await page.evaluate(
                """() => [...document.querySelectorAll("#ladder tr[data-mark=wall]")]
                     .map((row) => [Number(row.cells[0].textContent), row.title])"""
            )
        )

    async def walls() -> object:
        book = await at_rest.answer(f"/orderbook?symbol={at_rest.fleet.symbol}&depth=20")
        in_sight = {float(price) for side in ("bids", "asks") for price, _ in book[side]}
        said = []
        for wall in (await figures())["walls"]:
            if wall["price"] not in in_sight:
                continue  # the market has left it behind
            many = "1 order" if wall["orders"] == 1 else f"{wall['orders']} orders"
            said.append([wall["price"], f"wall: {wall['ratio']:.8g} times the other levels, {many}"])
        return sorted(said)

    await equal(marks, walls)
    assert (await figures())["level"] == 3
    assert await marks()


async def test_queues_and_figures_go_with_who_stands_for_them_and_come_back(running: Running, page: Page):
    await page.goto(f"{running.url}/#market/kraken/{running.fleet.symbol}/1m")
    await expect(page.locator("#queue-asks li")).to_have_count(10)
    await running.fleet.stop("orders-1")
    await expect(page.locator("#queues-note")).to_contain_text("withheld: ")
    await expect(page.locator("#queues li")).to_have_count(0)
    await running.fleet.stop("analytics-1")
    await expect(page.locator("#analytics")).to_have_text("analytics: nobody computes them")
    await expect(page.locator("#ladder tr[data-mark=wall]")).to_have_count(0)
    running.fleet.start("orders", "orders-2")
    running.fleet.start("analytics", "analytics-2")
    await expect(page.locator("#queue-asks li")).to_have_count(10)
    await expect(page.locator("#analytics")).to_contain_text("microprice ")
