"""History over HTTP: the exchange's books at past seconds, and seconds that are not known."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from in_process import Fleet
from test_live_books import api, fleet, served_book, truth_book, within

from workers.api.http.queries import AsNumbers
from workers.api.http.routes.books import BookRoutes, exact_difference
from workers.api.http.types import QuantityRequest

__all__ = ["api", "fleet"]  # fixtures


async def book_at(client: TestClient, second: int) -> dict[str, Any] | None:  # type: ignore[type-arg]
    response = await client.get("/history/book", params={"symbol": "BTCUSDT", "at": str(second)})
    if response.status == 404:
        assert (await response.json())["title"] == "unknown second"
        return None
    assert response.status == 200
    found: dict[str, Any] = await response.json()
    return found


async def known_seconds(client: TestClient) -> list[dict[str, Any]]:  # type: ignore[type-arg]
    """Books of at least three seconds in a row, the newest first."""
    async with asyncio.timeout(60):
        while True:
            await asyncio.sleep(1)
            now = await served_book(client)
            newest = now["event_time_ms"] // 1000 - 1
            found = [await book_at(client, newest - back) for back in range(3)]
            if all(found):
                return [one for one in found if one is not None]


async def test_past_seconds_are_the_exchanges_books(fleet: Fleet, api: TestClient) -> None:  # type: ignore[type-arg]
    books = await known_seconds(api)
    for book in books:
        truth = await truth_book(fleet, "BTCUSDT", book["last_update_id"])
        assert book["bids"] == within(truth["bids"], book["known_low"], book["known_high"])
        assert book["asks"] == within(truth["asks"], book["known_low"], book["known_high"])
    # The quantity at a price is that of whichever side had it: an ask may have become the bid.
    now, before, _ = (dict(book["bids"] + book["asks"]) for book in books)
    low = max(Decimal(book["known_low"]) for book in books)
    high = min(Decimal(book["known_high"]) for book in books)
    second = books[0]["timestamp"]
    price = next(p for p in now if low <= Decimal(p) <= high and before.get(p) != now[p])
    asked = {"price": price, "timestamp": second * 1000 + 500}
    answer = await (await api.post("/quantity", json=asked)).json()
    change = Decimal(now[price]) - Decimal(before.get(price, "0"))
    assert (answer["actual_price"], answer["quantity"], answer["timestamp"]) == (price, now[price], second)
    assert (answer["is_nearest_level"], Decimal(answer["difference"])) == (False, change)
    query = {"price": price, "from": str(second - 2), "to": str(second)}
    series = await (await api.get("/history/quantity", params=query)).json()
    expected = [
        [book["timestamp"], dict(book["bids"] + book["asks"]).get(price, "0")] for book in reversed(books)
    ]
    assert series["seconds"] == expected
    depth = await (await api.get(f"/history/book?at={second}&depth=3&numbers=1")).json()
    assert depth["bids"] == [[float(price), float(quantity)] for price, quantity in books[0]["bids"][:3]]


async def test_what_is_not_known_is_not_told(fleet: Fleet, api: TestClient) -> None:  # type: ignore[type-arg]
    books = await known_seconds(api)
    assert await book_at(api, books[-1]["timestamp"] - 100_000) is None
    assert await book_at(api, books[0]["timestamp"] + 100_000) is None
    asked = {"price": "1", "timestamp": books[0]["timestamp"]}
    outside = await api.post("/quantity", json=asked)
    assert outside.status == (404 if Decimal(books[0]["known_low"]) > 1 else 200)
    begin = books[-1]["timestamp"] - 100_000
    query = {"price": books[0]["bids"][0][0], "from": str(begin), "to": str(begin + 2)}
    series = await (await api.get("/history/quantity", params=query)).json()
    assert series["seconds"] == [[begin + number, None] for number in range(3)]
    for wrong in ("from=5&to=4&price=1", "from=5&to=90000&price=1", "from=5&price=1", "from=5&to=6&price=x"):
        assert (await api.get(f"/history/quantity?{wrong}")).status == 422
    async with asyncio.timeout(60):
        while not (held := await (await api.get("/history")).json())["blocks"]:
            await asyncio.sleep(0.2)  # the first block is written a little later than it can be asked for
    assert held["from"] <= books[-1]["timestamp"]


async def test_now_is_compared_with_a_second_before(fleet: Fleet, api: TestClient) -> None:  # type: ignore[type-arg]
    await known_seconds(api)
    for _ in range(300):
        price = (await served_book(api))["bids"][0][0]
        answer = await (await api.post("/quantity", json={"price": price})).json()
        if answer["difference"] is not None:
            second = int(answer["timestamp"])
            query = {"price": answer["actual_price"], "from": str(second - 4), "to": str(second)}
            series = await (await api.get("/history/quantity", params=query)).json()
            possible = [
                Decimal(answer["quantity"]) - Decimal(q) for _, q in series["seconds"] if q is not None
            ]
            assert Decimal(answer["difference"]) in possible
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the second before was never known")


@pytest.mark.parametrize(
    ("age_ms", "second", "difference"),
    [(100, 1_004, "3"), (699, 1_004, "3"), (700, 1_005, "3"), (1_699, 1_005, "3"), (1_700, None, "0")],
)
async def test_of_a_book_that_is_quiet_the_second_before_is_that_before_now(
    age_ms: int, second: int | None, difference: str
) -> None:
    seconds: list[int] = []

    async def quantity(_: Any, __: str, second: int) -> str:
        seconds.append(second)
        return "2"  # before the last event, which is of second 1005.300

    book = SimpleNamespace(nearest_level=lambda _: ("bid", ("100", "5")), known_low="0", known_high="inf")
    replica = SimpleNamespace(book=book, event_time=1_005_300, age_ms=lambda: age_ms)
    markets: Any = SimpleNamespace(find=lambda *_: "usdm:BTCUSDT")
    books: Any = SimpleNamespace(ready=lambda _: replica)
    histories: Any = SimpleNamespace(quantity=quantity)
    routes = BookRoutes(markets, books, histories)
    answer = await routes.quantity(AsNumbers(), QuantityRequest(price="100"))
    assert (answer.difference, seconds) == (difference, [] if second is None else [second])


def test_a_difference_has_every_digit() -> None:
    assert exact_difference("900000000000", "0.000000000000000001") == "899999999999.999999999999999999"
    assert exact_difference("84547.00", "84547.03") == "-0.03"
