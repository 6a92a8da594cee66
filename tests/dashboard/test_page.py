"""The dashboard in a browser, before an API whose every answer the test decides."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import urlsplit

import pytest
from made_up_market import START_MS, bar
from page_watch import Watch
from playwright.async_api import Page, Route, expect
from scripted_api import ScriptedApi

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("e2e")]

NOT_FOUND = "status of 404"
CUT = "WebSocket connection"


async def ladder(page: Page) -> tuple[list[list[str]], list[list[str]]]:
    """The rows shown, best first: bids, asks."""
    rows = await page.evaluate(
        """() => ["bids", "asks"].map((side) => [...document.querySelectorAll(`#ladder .${side} tr`)]
               .map((row) => [...row.cells].map((cell) => cell.textContent)))"""
    )
    return rows[0], rows[1][::-1]


async def colour(page: Page, selector: str) -> str:
    """The colour of the text of the first element that fits."""
    found: str = await page.locator(selector).first.evaluate("(one) => getComputedStyle(one).color")
    return found


async def test_the_ladder_shows_what_the_api_says_with_exact_totals(market: Page, api: ScriptedApi):
    for shown, held in zip(await ladder(market), (api.bids, api.asks), strict=True):
        assert [row[:2] for row in shown] == held[:20]
        total = Decimal(0)
        for row in shown:
            total += Decimal(row[1])
            assert Decimal(row[2]) == total
    await expect(market.locator("#ladder .middle")).to_contain_text("0.10")
    await expect(market.locator("#state")).to_contain_text("synced")
    await expect(market.locator("#tape tbody tr").first).to_contain_text(api.trades[-1]["price"])
    assert await market.locator("#tape tbody tr").count() == 40
    assert await market.title() == "84554.30 – 84554.40 BTCUSDT · marketfleet"


async def test_diffs_change_levels_and_new_trades_come_on_top(market: Page, api: ScriptedApi):
    best = api.bids[0][0]
    await api.change([[best, "0"], ["84553.95", "7.5"]], [["84554.40", "9.125"]])
    await expect(market.locator("#ladder .bids tr").first).to_contain_text("84554.20")
    bids, asks = await ladder(market)
    assert [row[:2] for row in bids[:19]] == api.bids[:19]
    assert asks[0][:2] == ["84554.40", "9.125"]
    made = await api.trade("84561.70")
    await expect(market.locator("#tape tbody tr").first).to_contain_text("84561.70")
    await expect(market.locator("#tape tbody tr").first).to_have_class(
        "sell" if made["is_buyer_maker"] else "buy"
    )
    await expect(market.locator("#last")).to_contain_text("84561.70 ▲")


async def test_a_diff_that_does_not_follow_makes_the_page_ask_anew(market: Page, api: ScriptedApi):
    api.update_id += 5  # the page holds an older one
    await api.change([["84554.30", "3.333"]], [])
    await expect(market.locator("#ladder .bids tr").first).to_contain_text("3.333")
    bids, _ = await ladder(market)
    assert [row[:2] for row in bids] == api.bids[:20]
    assert sum(request["channel"] == "book" for requests in api.sockets.values() for request in requests) == 1


async def test_a_withheld_book_shows_its_reason_and_no_number(market: Page, api: ScriptedApi):
    await api.withhold("broken", "gap")
    await expect(market.locator("#withheld")).to_contain_text("An update is missing")
    await expect(market.locator("#state")).to_contain_text("broken")
    assert not await market.locator("#ladder").is_visible()
    assert {cell for side in await ladder(market) for row in side for cell in row} == {""}
    assert await market.locator("#spread").inner_text() == "–"
    assert "84554" not in await market.title()
    await api.restore()
    await expect(market.locator("#ladder .bids tr").first).to_contain_text(api.bids[0][0])
    await expect(market.locator("#withheld")).to_be_hidden()


async def test_the_reason_of_an_earlier_loss_is_none_for_a_book_in_sync(market: Page, api: ScriptedApi):
    for state, reason, said in (
        ("behind", "gap", "has not come to what the exchange sent last"),
        ("unconfirmed", "gap", "No second snapshot has agreed"),
        ("stale", "stream dead", "Reason: stream dead. Other streams have gone on"),
    ):
        await api.withhold(state, reason)
        await expect(market.locator("#withheld")).to_contain_text(said)
        await expect(market.locator("#withheld")).not_to_contain_text("An update is missing")
        await expect(market.locator("#state")).not_to_contain_text("gap")


async def test_without_a_connection_nothing_is_shown_as_live_and_it_comes_back(
    market: Page, api: ScriptedApi, watch: Watch
):
    watch.expected.append(CUT)
    api.refusing = True
    await api.cut()
    await expect(market.locator("#link")).to_contain_text("no connection")
    await expect(market.locator("#withheld")).to_contain_text("no connection")
    assert {cell for side in await ladder(market) for row in side for cell in row} == {""}
    await expect(market.locator("#tape-note")).to_have_text("no connection")
    muted = await colour(market, ".summary dt")
    assert await colour(market, "#last") == await colour(market, "#tape tbody td") == muted
    api.refusing = False
    await expect(market.locator("#link")).to_contain_text("live")
    await expect(market.locator("#ladder .bids tr").first).to_contain_text(api.bids[0][0])
    await expect(market.locator("#tape-note")).to_have_text("")
    assert await colour(market, "#tape tbody td") != muted
    await api.trade("84599.10")
    await expect(market.locator("#tape tbody tr").first).to_contain_text("84599.10")


async def test_green_is_only_what_works(market: Page, api: ScriptedApi, watch: Watch):
    watch.expected.append("status of 503")
    link, trouble = market.locator("#link"), market.locator("#trouble")
    await expect(link).to_have_text("live")
    await expect(trouble).to_be_hidden()
    green = await market.evaluate(
        "getComputedStyle(document.querySelector('#link'), '::before').backgroundColor"
    )
    api.troubles = ["usdm: 1 of 5 books are withheld"]
    await expect(link).to_have_text("degraded")
    await expect(link).to_have_attribute("title", re.compile("1 of 5"))
    api.is_down, api.troubles = True, ["usdm: no line has living sockets to the exchange"]
    await expect(link).to_have_text("down")
    await expect(trouble).to_contain_text("The fleet is down: usdm: no line has living sockets")
    shown = await market.evaluate(
        "getComputedStyle(document.querySelector('#link'), '::before').backgroundColor"
    )
    assert shown != green
    await api.withhold("stale", "")
    await expect(market.locator("#withheld")).to_contain_text("no line has living sockets to the exchange")
    await market.evaluate("location.hash = '#fleet'")
    await expect(trouble).to_be_visible()
    api.is_down, api.troubles = False, []
    await expect(link).to_have_text("live")
    await expect(trouble).to_be_hidden()


async def test_a_reason_is_given_whatever_the_owner_said(market: Page, api: ScriptedApi):
    for state, said in (
        ("not owned", "No worker keeps the book"),
        ("stale", "silent"),
        ("odd", "has not said why yet"),
    ):
        await api.withhold(state, "")
        await expect(market.locator("#withheld")).to_contain_text(said)


async def test_the_fleet_page_shows_that_the_exchange_is_away(api: ScriptedApi, page: Page):
    api.connected = False
    await page.goto(f"{api.url}/#fleet")
    await expect(page.locator("#cards .bad")).to_contain_text("no living sockets to usdm, spot")
    await expect(page.locator("#books tbody [data-state=withheld]")).to_have_count(5)
    await expect(page.locator("#books tbody tr").first).to_contain_text("no living sockets")


async def test_bars_can_be_read_one_by_one_and_as_a_table(market: Page, api: ScriptedApi):
    chart = market.locator("#candle-chart")
    await expect(chart).to_have_attribute("aria-label", re.compile("the last one closes at"))
    await chart.focus()
    await market.keyboard.press("End")
    await market.keyboard.press("ArrowLeft")
    await market.locator("#bars-as-table").click()
    await expect(market.locator("#bars-table tbody tr")).to_have_count(40)
    newest = await market.locator("#bars-table tbody tr").nth(1).locator("td").all_inner_texts()
    spoken = await market.locator("#bar-spoken").inner_text()
    assert spoken == "{}: open {}, high {}, low {}, close {}, volume {}".format(*newest[:6])
    await api.send(
        "bars", {"closed": False, "bar": {**_newest_bar(api), "close": "84777.77", "trades_count": 999}}
    )
    await expect(market.locator("#bars-table tbody tr").first).to_contain_text("84777.77")


def _newest_bar(api: ScriptedApi) -> dict[str, object]:
    number = api.now_s // 60
    return bar(number * 60_000, number, 60_000)


async def test_the_slider_shows_the_book_of_that_second(market: Page, api: ScriptedApi, watch: Watch):
    watch.expected.append(NOT_FOUND)
    slider = market.locator("#moment")
    await expect(slider).to_be_enabled()
    await slider.focus()
    for _ in range(3):
        await market.keyboard.press("ArrowLeft")
    second = int(await slider.input_value())
    assert second == api.now_s - 4
    bids, asks = api.past_book(second)
    await expect(market.locator("#ladder .bids tr").first).to_contain_text(bids[0][0])
    shown = await ladder(market)
    assert [row[:2] for row in shown[0]] == bids[:20]
    assert [row[:2] for row in shown[1]] == asks[:20]
    await expect(market.locator("#state")).to_contain_text("history")
    await api.change([["84554.30", "8.888"]], [])  # a live change must not show
    await market.locator("#second-back").click()
    before = api.past_book(second - 1)[0][0][0]
    await expect(market.locator("#ladder .bids tr").first).to_contain_text(before)
    await slider.fill(str(api.now_s - 1995))
    await expect(market.locator("#withheld")).to_contain_text("Unknown second")
    await market.locator("#live").click()
    await expect(market.locator("#ladder .bids tr").first).to_contain_text("8.888")
    await expect(market.locator("#state")).to_contain_text("synced")


async def test_the_date_field_reaches_into_the_archive(api: ScriptedApi, page: Page, watch: Watch):
    api.archived_s = 3 * 86_400
    await page.goto(api.url)
    await expect(page.locator("#history-note")).to_contain_text("archive since")
    second = api.now_s - 2 * 86_400
    await page.locator("#moment-text").fill(datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S"))
    await page.locator("#moment-text").dispatch_event("change")
    await expect(page.locator("#ladder .bids tr").first).to_contain_text(api.past_book(second)[0][0][0])
    await page.locator("#second-back").click()
    await expect(page.locator("#ladder .bids tr").first).to_contain_text(api.past_book(second - 1)[0][0][0])


async def test_without_history_the_slider_is_off_and_says_why(api: ScriptedApi, page: Page, watch: Watch):
    watch.expected.append(NOT_FOUND)
    api.has_history = False
    await page.goto(api.url)
    await expect(page.locator("#history-note")).to_contain_text("keeps no history")
    assert await page.locator("#moment").is_disabled()
    assert await page.locator("#minute-back").is_disabled()


async def test_the_fleet_page_tells_workers_symbols_and_memory(market: Page):
    await market.locator("#main").focus()
    await market.keyboard.press("f")
    cells = market.locator("#workers tbody tr").first.locator("th, td")
    await expect(cells).to_have_text(
        ["books", "books-host-1", "1", re.compile("ago"), re.compile("^symbols 5")]
    )
    await expect(market.locator("#cards")).to_contain_text("5 of 5")
    await expect(market.locator("#cards")).to_contain_text("123.5 MB")
    assert await market.locator("#books tbody tr").count() == 5
    await expect(market.locator("#gaps tbody")).to_contain_text("resync")
    await market.locator("#books a").last.click()
    await expect(market.locator("#title")).to_have_text("BNBBTCspot")


async def test_open_alerts_are_listed_and_what_others_wrote_is_text(api: ScriptedApi, page: Page):
    api.alerts_owner = None
    await page.goto(f"{api.url}/#fleet")
    await expect(page.locator("#alerts-note")).to_have_text("no rules are set, or no worker looks")
    await expect(page.locator("#alerts tbody")).to_have_text("no alert is open")
    nasty = "<img src=x onerror=document.title='owned'>"
    alert = {"rule": "wide", "severity": "critical", "venue": "usdm", "symbol": nasty, "condition": "spread_bps > 5",
             "last_value": 7.25, "fired_ms": START_MS, "silenced": False}  # fmt: skip
    api.alerts, api.alerts_owner = (
        [{"alert": alert, "comment": {"model": "m1", "text": nasty}}],
        "alerts-host-1",
    )
    cells = page.locator("#alerts tbody tr").first.locator("th, td")
    await expect(cells).to_have_text(
        [re.compile("^2024-08-09 00:00:00"), "critical", "wide", f"{nasty} · usdm", "spread_bps > 5", "7.25",
         f"m1: {nasty}"]
    )  # fmt: skip
    await expect(page.locator("#alerts-note")).to_have_text("1 open")
    assert await page.locator("#alerts img").count() == 0
    assert await page.title() != "owned"
    flaps = alert | {"symbol": "BTCUSDT", "flapping": True, "met": False, "left_out": 0}
    beyond = alert | {"venue": "", "symbol": "*", "left_out": 480}
    api.alerts = [{"alert": one, "comment": None} for one in (flaps, beyond)]
    rows = page.locator("#alerts tbody tr")
    await expect(rows.first).to_contain_text("critical (flapping, not met now)")
    await expect(rows.nth(1)).to_contain_text("480 more")
    await expect(page.locator("#alerts-note")).to_have_text(
        "2 open, and 480 more without an alert of their own"
    )


async def test_books_that_nobody_owns_are_not_in_sync_on_the_fleet_page(api: ScriptedApi, page: Page):
    api.owned = False
    await page.goto(f"{api.url}/#fleet")
    await expect(page.locator("#cards")).to_contain_text("0 of 5")
    await expect(page.locator("#cards")).to_contain_text("the others are withheld")
    await expect(page.locator("#books tbody [data-state=withheld]")).to_have_count(5)
    await expect(page.locator("#books tbody tr").first).to_contain_text("not owned")


async def test_a_symbol_that_is_not_there_is_said_in_every_panel(api: ScriptedApi, page: Page, watch: Watch):
    watch.expected.append(NOT_FOUND)
    await page.goto(f"{api.url}/#market/usdm/NOBODY/1m")
    said = re.compile("usdm has no symbol NOBODY")
    await expect(page.locator("#withheld")).to_contain_text(said)
    await expect(page.locator("#candle-chart")).to_have_attribute("aria-label", said)
    await expect(page.locator("#history-note")).to_contain_text(said)
    await expect(page.locator("#tape-note")).to_have_attribute("title", said)
    head = page.locator(".tape .head")
    assert await head.evaluate("(one) => one.getBoundingClientRect().height") < 40  # one line, cut


async def test_shortcuts_can_be_listed_and_turned_off(market: Page):
    await market.locator("#main").focus()
    await market.keyboard.press("?")
    await expect(market.locator("#keys")).to_be_visible()
    await market.locator("#keys-on").uncheck()
    await market.keyboard.press("Escape")
    await market.locator("#main").focus()
    await market.keyboard.press("f")
    await expect(market.locator("#market")).to_be_visible()
    assert not market.url.endswith("#fleet")


async def test_a_hole_in_the_live_trades_is_filled(market: Page, api: ScriptedApi):
    api.trades += [api._trade("84501.10"), api._trade("84502.20")]  # these do not come live
    await api.trade("84503.30")
    await expect(market.locator("#tape tbody tr").nth(2)).to_contain_text("84501.10")
    prices = await market.locator("#tape tbody td:first-child").all_inner_texts()
    assert prices[:3] == ["84503.30", "84502.20", "84501.10"]


async def test_what_is_refused_for_a_moment_is_asked_for_again(api: ScriptedApi, page: Page):
    api.later = {"trades", "book"}
    await page.goto(api.url)
    await expect(page.locator("#tape tbody tr").first).to_contain_text(api.trades[-1]["price"])
    await expect(page.locator("#state")).to_contain_text("synced")
    assert api.later == set()


async def test_zeros_beyond_the_tick_are_left_out_and_no_other_digit(market: Page, api: ScriptedApi):
    api.steps = {"tick_size": "0.10000000", "step_size": "0.01000000"}
    api.bids[0] = ["84554.30000000", "12.10000000"]
    api.bids[1] = ["84554.25000000", "0.00100000"]
    await market.reload()
    await expect(market.locator("#ladder .bids tr").first).to_have_text("84554.312.1012.100")
    await expect(market.locator("#ladder .bids tr").nth(1)).to_have_text("84554.250.00112.101")


async def test_a_venue_without_an_audit_over_rest_says_what_it_has(api: ScriptedApi, page: Page):
    api.sources = {"usdm": ("checksum", 1812), "spot": ("in band", 0)}
    await page.goto(f"{api.url}/#fleet")
    audits = page.locator("#books tbody td:nth-last-child(3)")
    await expect(audits).to_have_text(
        ["1,812 of 1,812 checksums"] * 3 + ["none: whole books in the stream"] * 2
    )
    api.sources = {"usdm": ("checksum", 0), "spot": ("none", 0)}
    await expect(audits).to_have_text(["no checksum yet"] * 3 + ["none: nothing to compare with"] * 2)
    api.sources = {"usdm": ("rest", 0)}
    await expect(audits).to_have_text(["none yet"] * 5)


async def test_one_request_that_fails_says_nothing_of_the_api(api: ScriptedApi, page: Page, watch: Watch):
    watch.expected.append("ERR_CONNECTION_RESET")
    failing = ["/trades", "/bars/1m", "/orderbook", "/healthz"]  # the first request of each

    async def fail_once(route: Route) -> None:
        if (path := urlsplit(route.request.url).path) in failing:
            failing.remove(path)
            await route.abort("connectionreset")
        else:
            await route.continue_()

    await page.route("**/*", fail_once)
    await page.add_init_script(
        """addEventListener("DOMContentLoaded", () => new MutationObserver(() => {
             if (document.body.innerText.includes("cannot be reached")) window.saidSo = true;
           }).observe(document.body, { subtree: true, childList: true, characterData: true }))"""
    )
    await page.goto(api.url)
    await expect(page.locator("#tape tbody tr")).to_have_count(40)
    await expect(page.locator("#candle-chart")).to_have_attribute("aria-label", re.compile("closes at"))
    await expect(page.locator("#depth-chart")).not_to_have_attribute(
        "aria-label", re.compile("nothing to show")
    )
    assert failing == []
    await api.cut()  # an end of the connection is no proof either
    await expect(page.locator("#link")).to_have_text("live")
    assert not await page.evaluate("window.saidSo")
