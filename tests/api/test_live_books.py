"""Books of the API against the simulator's truth, and books that must not be served."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer
from in_process import KEYS, SYMBOLS, Fleet, fleet_of, settle

from workers.api.server import Api
from workers.runtime.process import Process


@pytest.fixture
async def fleet(real_server: str) -> AsyncIterator[Fleet]:
    async with fleet_of(real_server) as running:
        running.be_patient()
        for role in ("ingest-a", "books", "trades"):
            running.start(role, f"{role}-1")
        await running.until(running.all_shown)
        yield running


@pytest.fixture
async def api(fleet: Fleet) -> AsyncIterator[TestClient]:  # type: ignore[type-arg]
    process = Process("api", fleet.settings, 0, fleet.url)
    served = Api(process)
    served.start()
    async with TestClient(TestServer(served.application.build())) as client:
        client.api = served  # type: ignore[attr-defined]
        yield client
    await served.close()
    await process.client.aclose()


async def truth_book(fleet: Fleet, symbol: str, u: int) -> dict[str, list[list[str]]]:
    query = {"market": "usdm", "symbol": symbol, "u": str(u)}
    url = f"{fleet.exchange.url}/control/truth/book"
    async with aiohttp.ClientSession() as session, session.get(url, params=query) as response:
        found: dict[str, list[list[str]]] = await response.json()
    return found


def within(levels: list[list[str]], low: str, high: str) -> list[list[str]]:
    edge = Decimal("inf") if high == "inf" else Decimal(high)
    return [level for level in levels if Decimal(low) <= Decimal(level[0]) <= edge]


async def served_book(api: TestClient, symbol: str = "BTCUSDT") -> dict[str, Any]:  # type: ignore[type-arg]
    """The complete book, once it is served."""
    async with asyncio.timeout(60):
        while True:
            response = await api.get("/orderbook", params={"symbol": symbol})
            if response.status == 200:
                found: dict[str, Any] = await response.json()
                return found
            await asyncio.sleep(0.05)


async def settled_book(fleet: Fleet, api: TestClient) -> dict[str, Any]:  # type: ignore[type-arg]
    """The complete book after everything there is, with the exchange's clock stopped."""
    await settle(fleet)
    last = (await truth_summary(fleet))["BTCUSDT"]["update_id"]["last"]
    async with asyncio.timeout(60):
        while (book := await served_book(api))["last_update_id"] != last:
            await asyncio.sleep(0.05)
    return book


async def truth_summary(fleet: Fleet) -> dict[str, Any]:
    url = f"{fleet.exchange.url}/control/truth/summary"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        found: dict[str, Any] = (await response.json())["markets"]["usdm"]
    return found


async def set_fault(fleet: Fleet, **fault: object) -> None:
    url = f"{fleet.exchange.url}/control/faults"
    async with aiohttp.ClientSession() as session, session.post(url, json=fault) as response:
        assert response.status < 300, await response.text()


async def no_faults(fleet: Fleet) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.delete(f"{fleet.exchange.url}/control/faults") as done,
    ):
        assert done.status == 200


async def no_snapshots(fleet: Fleet) -> None:
    """A book that is lost stays lost until the faults are taken back, however long it takes to see it."""
    await set_fault(fleet, kind="rest_status", path="*/depth", value=500)


async def test_a_book_is_what_the_exchange_had_at_its_update_id(fleet: Fleet, api: TestClient) -> None:  # type: ignore[type-arg]
    seen = set()
    for _ in range(4):
        for symbol in SYMBOLS:
            book = await served_book(api, symbol)
            seen.add((symbol, book["last_update_id"]))
            truth = await truth_book(fleet, symbol, book["last_update_id"])
            assert book["bids"] == within(truth["bids"], book["known_low"], book["known_high"])
            assert book["asks"] == within(truth["asks"], book["known_low"], book["known_high"])
            assert len(book["bids"]) > 20
            assert 0 <= book["age_ms"] < 20_000
        await asyncio.sleep(0.25)
    assert len(seen) > len(SYMBOLS), "the books must have moved on"


async def test_depth_numbers_and_tags(fleet: Fleet, api: TestClient) -> None:  # type: ignore[type-arg]
    await served_book(api)
    whole = await settled_book(fleet, api)
    response = await api.get("/orderbook?depth=5")
    top = await response.json()
    assert top["bids"] == whole["bids"][:5]
    assert top["asks"] == whole["asks"][:5]
    again = await api.get("/orderbook?depth=5", headers={"If-None-Match": response.headers["ETag"]})
    assert again.status == 304
    numbers = await (await api.get("/orderbook?depth=5&numbers=1")).json()
    assert numbers["bids"] == [[float(price), float(quantity)] for price, quantity in top["bids"]]
    assert numbers["last_update_id"] == top["last_update_id"]


async def test_nearest_level_and_quantity_now(fleet: Fleet, api: TestClient) -> None:  # type: ignore[type-arg]
    await served_book(api)
    book = await settled_book(fleet, api)
    levels = dict(book["bids"] + book["asks"])
    price = book["bids"][3][0]
    held = await (await api.post("/quantity", json={"price": price})).json()
    assert (held["actual_price"], held["quantity"]) == (price, levels[price])
    assert held["is_nearest_level"] is False
    beside = str(Decimal(book["asks"][0][0]) + Decimal("0.01"))
    moved = await (await api.post("/quantity", json={"price": beside})).json()
    nearest = min(levels, key=lambda one: (abs(Decimal(one) - Decimal(beside)), Decimal(one)))
    assert (moved["target_price"], moved["actual_price"]) == (beside, nearest)
    assert moved["is_nearest_level"] is True
    found = await (await api.get(f"/nearest-level/{beside}")).json()
    assert (found["nearest_price"], found["quantity"]) == (nearest, levels[nearest])
    assert Decimal(found["price_difference"]) == Decimal(nearest) - Decimal(beside)


async def test_nothing_is_called_nearest_where_nothing_is_known(fleet: Fleet, api: TestClient) -> None:  # type: ignore[type-arg]
    book = await settled_book(fleet, api)
    assert Decimal(book["known_low"]) > 1
    for price in ("1", format(Decimal(book["known_low"]) / 2, "f"), "900000000"):
        refused = await api.get(f"/nearest-level/{price}")
        assert (refused.status, (await refused.json())["where"]) == (404, "path.price")
        refused = await api.post("/quantity", json={"price": price})
        problem = await refused.json()
        assert (refused.status, problem["where"]) == (404, "body.price")
        assert f"from {book['known_low']} to {book['known_high']}" in problem["detail"]
    for price in (book["known_low"], book["known_high"]):
        found = await (await api.get(f"/nearest-level/{price}")).json()
        assert found["nearest_price"] == price


async def test_a_withdrawn_book_is_not_served_and_comes_back_resynced(fleet: Fleet, api: TestClient) -> None:  # type: ignore[type-arg]
    before = await served_book(api)
    await no_snapshots(fleet)
    await fleet.client.set(KEYS.book_distrust("BTCUSDT"), "audit mismatch", ex=60)
    refusal: dict[str, object] = {}

    async def refused() -> bool:
        response = await api.get("/orderbook?depth=10")
        if response.status != 503:
            return False
        refusal.update(await response.json())
        return refusal["reason"] == "audit mismatch"

    await fleet.until(refused)
    assert refusal["state"] == "broken"
    await no_faults(fleet)

    async def served() -> bool:
        gone_before = not await fleet.client.hexists("LIVE_ORDERBOOK", "BTCUSDT")
        await asyncio.sleep(0.15)  # longer than the pause between two looks at what the owner shows
        status = (await api.get("/orderbook?depth=10")).status
        gone_after = not await fleet.client.hexists("LIVE_ORDERBOOK", "BTCUSDT")
        assert not (gone_before and gone_after and status == 200)
        return status == 200

    await fleet.until(served)
    after = await (await api.get("/orderbook")).json()
    assert after["synced_at_ms"] > before["synced_at_ms"]
    truth = await truth_book(fleet, "BTCUSDT", after["last_update_id"])
    assert after["bids"] == within(truth["bids"], after["known_low"], after["known_high"])


async def test_a_gap_takes_the_book_out_at_once(fleet: Fleet, api: TestClient) -> None:  # type: ignore[type-arg]
    await served_book(api)
    await no_snapshots(fleet)
    await set_fault(fleet, kind="lose", market="usdm", symbol="BTCUSDT", stream="*@depth*", count=1)

    async def refused() -> bool:
        return (await api.get("/orderbook")).status == 503

    async def served() -> bool:
        return (await api.get("/orderbook")).status == 200

    await fleet.until(refused)
    await no_faults(fleet)
    await fleet.until(served)
    book = await (await api.get("/orderbook")).json()
    truth = await truth_book(fleet, "BTCUSDT", book["last_update_id"])
    assert book["bids"] == within(truth["bids"], book["known_low"], book["known_high"])


async def test_a_book_without_an_owner_is_withheld(fleet: Fleet, api: TestClient) -> None:  # type: ignore[type-arg]
    await served_book(api)
    await fleet.stop("books-1")

    async def refused() -> bool:
        response = await api.get("/orderbook")
        return response.status == 503 and (await response.json())["state"] == "not owned"

    await fleet.until(refused)
    fleet.start("books", "books-2")

    async def served() -> bool:
        return (await api.get("/orderbook")).status == 200

    await fleet.until(served)


async def test_a_replica_that_differs_from_the_owner_is_rebuilt(fleet: Fleet, api: TestClient) -> None:  # type: ignore[type-arg]
    await served_book(api)
    served: Api = api.api  # type: ignore[attr-defined]
    replica = served.books.replica(served.markets.named("BTCUSDT"))
    await settle(fleet)
    best = replica.book.best_bid
    assert best is not None
    replica.book.apply([(best[0], "123456")], [])
    spoilt = replica.sync

    async def rebuilt() -> bool:
        return replica.sync is not None and replica.sync is not spoilt

    await fleet.until(rebuilt)


async def test_a_symbol_nobody_asks_for_is_no_longer_followed(fleet: Fleet, api: TestClient) -> None:  # type: ignore[type-arg]
    await served_book(api)
    served: Api = api.api  # type: ignore[attr-defined]
    market = served.markets.named("BTCUSDT")
    assert market in served.books.followed
    served.books.replica(market).used_at -= 1_000

    async def dropped() -> bool:
        return market not in served.books.followed

    await fleet.until(dropped)
    assert (await api.get("/orderbook")).status == 200


async def test_an_owner_that_moved_its_known_range_is_followed(fleet: Fleet, api: TestClient) -> None:  # type: ignore[type-arg]
    await served_book(api)
    served: Api = api.api  # type: ignore[attr-defined]
    replica = served.books.replica(served.markets.named("BTCUSDT"))
    owned = fleet.workers["books-1"].books[KEYS.raw("BTCUSDT", "depth")]  # type: ignore[union-attr]
    before, syncs = replica.sync, owned.sync.sync_count
    bids, asks = (list(owned.sync.book.levels(side)) for side in ("bid", "ask"))
    known = (bids[200][0], asks[200][0])
    owned.sync.book.restore(bids, asks, known, owned.sync.book.proven_best)

    async def followed() -> bool:
        response = await api.get("/orderbook")
        assert response.status == 200, "a moved range is no loss of sync"
        found = await response.json()
        return (found["known_low"], found["known_high"]) == known

    await fleet.until(followed)
    assert owned.sync.sync_count == syncs
    assert replica.sync is not before


async def test_trades_and_windows_are_the_exchanges(fleet: Fleet, api: TestClient) -> None:  # type: ignore[type-arg]
    await asyncio.sleep(1.5)
    await fleet.passed("BTCUSDT")
    await settle(fleet)
    truth = {row["a"]: row for row in (await fleet.truth("trades", "BTCUSDT"))["trades"]}
    found: list[dict[str, object]] = []
    page = await (await api.get("/trades?from=0&limit=7")).json()
    while True:
        found += page["trades"]
        if page["next_after_id"] is None:
            break
        page = await (await api.get(f"/trades?after_id={page['next_after_id']}&limit=7")).json()
    ids = [trade["id"] for trade in found]
    assert ids == list(range(ids[0], max(truth) + 1))
    for trade in found:
        row = truth[trade["id"]]
        assert (trade["price"], trade["quantity"], trade["time_ms"]) == (row["p"], row["q"], row["T"])
        assert trade["is_buyer_maker"] is row["m"]
    newest = (await (await api.get("/trades?limit=5")).json())["trades"]
    assert newest == found[-5:]
    bars = (await (await api.get("/bars/1m?limit=5")).json())["bars"]
    assert bars[-1]["closed"] <= (time.time() * 1000 > bars[-1]["end_ms"])
    assert sum(bar["trades_count"] for bar in bars) == len(found)
    assert bars[-1]["close"] == found[-1]["price"]
    rows = await (await api.get("/bars/1m?limit=5&format=klines")).json()
    bar = bars[-1]
    assert rows[-1][:5] == [bar["start_ms"], bar["open"], bar["high"], bar["low"], bar["close"]]
    assert rows[-1][6] == bar["start_ms"] + 59_999
    stats = (await (await api.get("/stats?numbers=1")).json())["stats"]
    assert stats["1m"]["volume"] == float(bar["volume"])
    start = bar["start_ms"]
    closed = (await (await api.get(f"/bars/100ms?from={start}&to={start + 60_000}&limit=1000")).json())[
        "bars"
    ]
    assert sum(one["trades_count"] for one in closed) == bar["trades_count"]


async def test_without_redis_nothing_is_served_from_memory(
    fleet: Fleet,
    api: TestClient,  # type: ignore[type-arg]
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await served_book(api)
    served: Api = api.api  # type: ignore[attr-defined]

    async def refuse(*_: object) -> None:
        raise ConnectionError("refused")

    with monkeypatch.context() as patched:
        patched.setattr(served.reader.watch, "read", refuse)

        async def refused() -> bool:
            response = await api.get("/orderbook")
            return response.status == 503 and (await response.json())["reason"] == "Redis does not answer"

        await fleet.until(refused)
    book = await served_book(api)
    truth = await truth_book(fleet, "BTCUSDT", book["last_update_id"])
    assert book["bids"] == within(truth["bids"], book["known_low"], book["known_high"])
