"""The dashboard on a whole fleet of two venues: it shows what the API gives, it moves, and withheld is withheld."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import aiohttp
import pytest
import pytest_asyncio
from aiohttp.test_utils import TestServer
from in_process import Fleet, fleet_of, settle
from page_watch import LONGEST_MS, Watch
from playwright.async_api import Page, expect

from workers.api.server import Api
from workers.model.alerts.records import Change, open_alert
from workers.model.alerts.rules import Target, make_rule, parse_condition
from workers.runtime.process import Process
from workers.sim import SimSettings, SimulatedExchange
from workers.store.alerts.book import LEASE, ROLE, AlertBook
from workers.store.books.publishing import BookStore
from workers.store.fleet.leases import Leases
from workers.store.keys import Keys
from workers.venues.kraken.settings import KrakenSettings

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("e2e")]


KRAKEN = SimSettings(flavour="kraken", port=0, rate_scale=2.0, symbols={"spot": ("BTC-USD",)})


class Running(NamedTuple):
    """A fleet, where its API listens, and the exchange of its second venue."""

    fleet: Fleet
    url: str
    kraken: SimulatedExchange

    async def get(self, path: str) -> Any:
        """An answer; asked for again while this process, which is all of the fleet, is starved."""
        deadline = time.monotonic() + LONGEST_MS / 1000
        while True:
            async with aiohttp.ClientSession() as session, session.get(self.url + path) as response:
                if response.status != 503 or time.monotonic() > deadline:
                    assert response.status == 200, await response.text()
                    return await response.json()
            await asyncio.sleep(0.2)

    async def moving(self, symbol: str) -> None:
        """Wait until the newest seconds that are known have a book each: the clock was stopped by another test."""

        async def different() -> bool:
            query = f"?venue=usdm&symbol={symbol}"
            newest = (await self.get(f"/history{query}"))["to"] or 0
            books = []
            async with aiohttp.ClientSession() as session:
                for second in range(newest - 4, newest + 1):
                    async with session.get(f"{self.url}/history/book{query}&at={second}&depth=1") as response:
                        books.append((await response.json()).get("last_update_id"))
            return None not in books and len(set(books)) == len(books)

        await self.fleet.until(different)

    async def control(self, action: str, **body: object) -> None:
        await self._tell(self.fleet.exchange, action, body)

    async def control_kraken(self, action: str) -> None:
        await self._tell(self.kraken, action, {})

    @staticmethod
    async def _tell(exchange: SimulatedExchange, action: str, body: object) -> None:
        url = f"{exchange.url}/control/{action}"
        async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
            assert response.status < 300, await response.text()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def running(real_server: str) -> AsyncIterator[Running]:
    async with fleet_of(real_server) as fleet, SimulatedExchange(KRAKEN) as kraken:
        fleet.be_patient()
        fleet.settings.venues["kraken"] = KrakenSettings(
            symbols=["BTC-USD"],
            websocket_url=f"{kraken.websocket_url}/v2",
            rest_url=kraken.url,
            request_spacing_ms=20,
        )
        fleet.settings.history.block_s = 5
        fleet.settings.history.write_ms = 500
        for role, name in (("ingest-a", "a"), ("books", "books-1"), ("trades", "trades-1")):
            fleet.start(role, name)
        process = Process("api", fleet.settings, 0, real_server)
        api = Api(process)
        async with TestServer(api.application.build(), host="127.0.0.1") as server:
            api.start()
            await fleet.until(fleet.all_shown)
            yield Running(fleet, str(server.make_url("/")).rstrip("/"), kraken)
        await api.close()
        await process.client.aclose()


@pytest.fixture(autouse=True)
def starved(watch: Watch) -> None:
    """On a busy machine the api may have nothing true to say for a moment; the browser notes its 503 by itself."""
    watch.expected.append("the server responded with a status of 503")


async def book(page: Page) -> dict[str, list[list[str]]]:
    """The levels shown, best first."""
    found: dict[str, list[list[str]]] = await page.evaluate(
        """() => Object.fromEntries(["bids", "asks"].map((side) =>
          [side, [...document.querySelectorAll(`#ladder .${side} tr`)]
            .map((row) => [row.cells[0].textContent, row.cells[1].textContent])
            .filter(([price]) => price)]))"""
    )
    return {"bids": found["bids"], "asks": found["asks"][::-1]}


async def tape(page: Page, most: int) -> list[list[str]]:
    """The trades shown, newest first: price, quantity, side."""
    rows: list[list[str]] = await page.evaluate(
        """() => [...document.querySelectorAll("#tape tbody tr")]
             .map((row) => [row.cells[0].textContent, row.cells[1].textContent, row.className])"""
    )
    return rows[:most]


def tape_of(trades: list[dict[str, Any]]) -> list[list[str]]:
    """The same of an answer of the API."""
    return [
        [trade["price"], trade["quantity"], "sell" if trade["is_buyer_maker"] else "buy"]
        for trade in reversed(trades)
    ]


async def equal(shown: Callable[[], Awaitable[object]], given: object) -> None:
    """Wait until what is shown is what was given: the page may be some messages behind."""
    deadline = time.monotonic() + LONGEST_MS / 1000
    while (found := await shown()) != given and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    assert found == given


async def choose(page: Page, running: Running, symbol: str) -> None:
    """Open a symbol's page by keyboard."""
    await page.goto(running.url)
    await expect(page.locator("#title")).not_to_have_text("–")
    await page.keyboard.press("/")
    await page.keyboard.type(symbol)
    await page.keyboard.press("Enter")
    await expect(page.locator("#title")).to_have_text(f"{symbol}usdm")
    await expect(page.locator("#state")).to_contain_text("synced")


async def test_values_move_by_themselves(running: Running, page: Page):
    await choose(page, running, "SOLUSDT")
    await page.evaluate("window.notReloaded = true")
    before = [await book(page), await page.locator("#tape tbody tr").first.inner_text()]
    await page.wait_for_function(
        "before => document.querySelector('#tape tbody tr').innerText !== before", arg=before[1]
    )
    await page.wait_for_function(
        "before => document.querySelector('#ladder .bids').textContent !== before",
        arg=await page.locator("#ladder .bids").text_content(),
    )
    assert await page.evaluate("window.notReloaded")
    assert await book(page) != before[0]


@pytest.mark.parametrize("symbol", ["BTCUSDT", "币安人生USDT"])
async def test_what_is_shown_is_what_the_api_gives(running: Running, page: Page, symbol: str):
    await choose(page, running, symbol)
    await page.locator("#bars-as-table").click()
    await running.fleet.passed(symbol)  # there is a trade
    await settle(running.fleet)
    query = f"?venue=usdm&symbol={symbol}"
    given = await running.get(f"/orderbook{query}&depth=20")
    await equal(lambda: book(page), {"bids": given["bids"], "asks": given["asks"]})

    trades = (await running.get(f"/trades{query}&limit=60"))["trades"]
    newest = trades[-1]
    await equal(lambda: tape(page, len(trades)), tape_of(trades))
    await expect(page.locator("#last")).to_contain_text(newest["price"])

    bars = (await running.get(f"/bars/1m{query}&limit=40"))["bars"]
    last = bars[-1]
    wanted = [last[name] for name in ("open", "high", "low", "close", "volume")]
    row = page.locator("#bars-table tbody tr").first
    await expect(row).to_have_text(re.compile("".join(map(re.escape, wanted))))
    await expect(row.locator("td").nth(6)).to_have_text(str(last["trades_count"]))
    day = (await running.get(f"/stats{query}"))["stats"]["1d"]
    await expect(page.locator("#volume")).to_have_text(day["volume"])
    await expect(page.locator("#high")).to_have_text(day["high"])
    await running.control("resume")


async def test_two_venues_are_walked_from_the_picker_to_their_bars(running: Running, page: Page):
    await page.goto(running.url)
    await expect(page.locator("#venue option")).to_have_text(["All venues", "usdm", "kraken"])
    await page.keyboard.press("/")
    await page.keyboard.type("btc")
    await expect(page.locator("#symbols li")).to_have_text(["BTCUSDTusdm", "BTC-USDkraken"])
    await page.keyboard.press("Escape")
    await page.locator("#venue").select_option("kraken")
    await page.locator("#bars-as-table").click()
    for venue, symbol in (("kraken", "BTC-USD"), ("usdm", "BTCUSDT")):
        await page.locator("#venue").select_option(venue)
        await expect(page.locator("#title")).to_have_text(re.compile(f"^[^a-z]+{venue}$"))
        await page.keyboard.press("/")
        await page.keyboard.type(symbol)
        await page.keyboard.press("Enter")
        await expect(page.locator("#title")).to_have_text(f"{symbol}{venue}")
        await expect(page.locator("#state")).to_contain_text("synced")
        await expect(page.locator("#tape tbody tr").nth(2)).to_be_visible()
        await running.control("pause") if venue == "usdm" else await running.control_kraken("pause")
        query = f"?venue={venue}&symbol={symbol}"

        async def differences(query: str = query) -> list[object]:
            """What is shown beside what the API gives: at rest, both come to be the same."""
            given = await running.get(f"/orderbook{query}&depth=20")
            levels = {side: given[side] for side in ("bids", "asks")}
            trades = (await running.get(f"/trades{query}&limit=60"))["trades"]
            bar = (await running.get(f"/bars/1m{query}&limit=40"))["bars"][-1]
            row = page.locator("#bars-table tbody tr").first.locator("td")
            told = [bar[name] for name in ("open", "high", "low", "close", "volume")]
            compared = [
                (await book(page), levels),
                (await tape(page, len(trades)), tape_of(trades)),
                ((await row.all_inner_texts())[1:6], told),
            ]
            return [pair for pair in compared if pair[0] != pair[1]]

        await equal(differences, [])
        await running.control("resume") if venue == "usdm" else await running.control_kraken("resume")
    await page.evaluate("location.hash = '#fleet'")
    kraken = page.locator("#books tbody tr", has_text="kraken")
    await expect(kraken).to_contain_text(re.compile(r"[\d,]+ of [\d,]+ checksums"))


async def test_a_book_that_is_lost_is_withheld_until_it_is_back(running: Running, page: Page, watch: Watch):
    watch.expected.append("status of 503")  # the page may ask for the book while it is withheld
    await choose(page, running, "BTCUSDT")
    await running.control("faults", kind="rest_status", path="*/depth", value=500)
    store = BookStore(running.fleet.client, Keys(), 10)
    await store.distrust("BTCUSDT", "audit mismatch")
    await expect(page.locator("#withheld")).to_contain_text("audit mismatch")
    await expect(page.locator("#ladder tbody:not(.middle) td:not(:empty)")).to_have_count(0)
    await expect(page.locator("#ladder")).to_be_hidden()
    await expect(page.locator("#depth-chart")).to_have_attribute("aria-label", re.compile("nothing to show"))
    async with aiohttp.ClientSession() as session:
        await session.delete(f"{running.fleet.exchange.url}/control/faults")
    await expect(page.locator("#state")).to_contain_text("synced", timeout=60_000)
    await expect(page.locator("#ladder")).to_be_visible()


async def test_the_slider_shows_the_book_of_a_second_as_the_api_gives_it(running: Running, page: Page):
    await running.moving("SOLUSDT")
    await choose(page, running, "SOLUSDT")
    slider = page.locator("#moment")
    await expect(slider).to_be_enabled(timeout=20_000)
    await slider.focus()
    seen = set()
    for _ in range(3):
        await page.keyboard.press("ArrowLeft")
        second = await slider.input_value()
        given = await running.get(f"/history/book?venue=usdm&symbol=SOLUSDT&at={second}&depth=20")
        seen.add(given["last_update_id"])
        await expect(page.locator("#ladder-age")).to_have_text(re.compile(r"^at \d\d:\d\d:\d\d UTC$"))
        await equal(lambda: book(page), {"bids": given["bids"], "asks": given["asks"]})
        trades = await running.get(
            f"/trades?venue=usdm&symbol=SOLUSDT&to={int(second) * 1000 + 1}&from=1&limit=5000"
        )
        newest = trades["trades"][-1]
        await expect(page.locator("#tape tbody tr").first).to_contain_text(
            newest["price"] + newest["quantity"]
        )
    assert len(seen) == 3
    await page.keyboard.press("l")
    await expect(page.locator("#state")).to_contain_text("synced")


async def test_the_fleet_page_says_what_the_status_says(running: Running, page: Page):
    await page.goto(f"{running.url}/#fleet")
    status = await running.get("/status")
    await expect(page.locator("#books tbody tr")).to_have_count(len(status["symbols"]))
    owners = [symbol["owner"] for symbol in status["symbols"]]
    await equal(page.locator("#books tbody td:last-child").all_inner_texts, owners)
    names = [worker["name"] for worker in status["fleet"]["workers"]]
    await equal(page.locator("#workers tbody td:nth-child(2)").all_inner_texts, names)
    memory = status["fleet"]["redis"]["used_memory"]
    shown = re.search(r"Redis memory\s+([\d.]+) MB", await page.locator("#cards").inner_text())
    assert shown
    assert abs(float(shown[1]) - memory / 1e6) < 5
    assert (
        json.dumps(status["symbols"][0]["symbol"], ensure_ascii=False).strip('"')
        in await page.locator("#books tbody tr").first.inner_text()
    )


async def test_an_alert_comes_to_the_fleet_page_and_goes(running: Running, page: Page):
    leases = Leases(running.fleet.client, Keys(), ROLE, "alerts-1", 600_000)
    await leases.take([LEASE])
    book, watched = AlertBook(running.fleet.client), make_rule("wide", parse_condition("mid > 5", "", ""), "")
    alert = open_alert(watched, Target("usdm", "BTCUSDT"), 7.5, 1_000, 2_000)
    await page.goto(f"{running.url}/#fleet")
    await expect(page.locator("#alerts tbody")).to_have_text("no alert is open")
    await book.commit(leases.held[LEASE], [Change("fired", alert)])
    await expect(page.locator("#alerts tbody tr").first).to_contain_text("BTCUSDT · usdm")
    await book.commit(leases.held[LEASE], [Change("resolved", alert)])
    await expect(page.locator("#alerts tbody")).to_have_text("no alert is open")
