"""Single orders as the API serves them: as they really stand, or not at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from in_process import fleet_of
from order_fleet import LONGEST_S, OrderFleet, orders_of

from workers.api.server import Api
from workers.client import FleetClient
from workers.errors import BookWithheld, CommandError
from workers.reading.orders import Request, _orders, _show, _show_order
from workers.runtime.context import venue_contexts
from workers.runtime.process import Process
from workers.store.keys import Keys
from workers.store.orders import rebuilding
from workers.store.orders.rebuilding import OrderStatement, order_statement


@asynccontextmanager
async def api_of(fleet: OrderFleet) -> AsyncIterator[TestClient]:  # type: ignore[type-arg]
    process = Process("api", fleet.settings, 0, fleet.url)
    api = Api(process)
    api.start()
    async with TestClient(TestServer(api.application.build())) as client:
        client.api = api  # type: ignore[attr-defined]
        yield client
    await api.close()
    await process.client.aclose()


async def the_command_says_the_same(
    fleet: OrderFleet, answer: dict[str, Any], order_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`fleet orders`, without the process around it."""
    context = venue_contexts(fleet.settings)[0]
    sync = await _orders(fleet.client, context, fleet.symbol, 1_000_000)
    capsys.readouterr()
    _show(sync, Request(fleet.symbol, 1_000, 1_000, ""), as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert [[one["price"], one["orders"], one["complete"]] for one in shown["asks"]] == [
        [one["price"], one["orders_count"], one["is_complete"]] for one in answer["asks"]
    ]
    _show(sync, Request(fleet.symbol, 2, 1, ""), as_json=False)
    assert len(capsys.readouterr().out.splitlines()) == 5
    _show_order(sync, order_id, fleet.symbol, as_json=False)
    assert capsys.readouterr().out.startswith("ask ")
    with pytest.raises(CommandError, match="rests now"):
        _show_order(sync, "none", fleet.symbol, as_json=True)

    async def purged(client: Any, keys: Keys, symbol: str) -> OrderStatement:
        said = await order_statement(client, keys, symbol)
        return said._replace(fields=said.fields | {"purged_level2": "7"})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rebuilding, "order_statement", purged)
        with pytest.raises(CommandError, match="ask again"):
            await _orders(fleet.client, context, fleet.symbol, 1_000_000)


async def the_client_says_the_same(
    fleet: OrderFleet, exchange: str, answer: dict[str, Any], place: dict[str, Any]
) -> None:
    async with FleetClient(fleet.url, exchange=exchange) as client:
        whole = await client.get_orders(fleet.symbol)
        for side, levels in (("bids", whole.bids), ("asks", whole.asks)):
            held = [
                [
                    str(level.price),
                    str(level.quantity),
                    level.orders_count,
                    level.is_complete,
                    [
                        [order.order_id, str(order.quantity), order.placed_us, order.is_seen]
                        for order in level.first
                    ],
                ]
                for level in levels
            ]
            assert held == [
                [
                    level["price"],
                    level["quantity"],
                    level["orders_count"],
                    level["is_complete"],
                    [
                        [one["id"], one["quantity"], one["placed_us"], one["is_seen"]]
                        for one in level["orders"]
                    ],
                ]
                for level in answer[side]
            ]
        assert [whole.orders_count, whole.last_id, whole.last_number, whole.event_us, whole.is_whole] == [
            answer[name] for name in ("orders_count", "last_id", "last_number", "event_us", "is_whole")
        ]
        few = await client.get_orders(fleet.symbol, depth=2, first=1)
        assert few.bids == [level._replace(first=level.first[:1]) for level in whole.bids[:2]]
        found = await client.get_order(fleet.symbol, place["order"]["id"])
        assert found is not None
        assert (found.side, str(found.price), found.order.order_id) == (
            place["side"], place["price"], place["order"]["id"],
        )  # fmt: skip
        assert (found.orders_ahead, str(found.quantity_ahead), found.is_exact, found.level_orders) == (
            place["orders_ahead"], place["quantity_ahead"], place["is_exact"], place["level_orders"],
        )  # fmt: skip
        assert await client.get_order(fleet.symbol, "none") is None


@pytest.mark.parametrize(
    ("exchange", "market", "path"),
    [("bitstamp", "all", ""), ("bitfinex", "spot", "/ws/2"), ("kraken", "spot", "/v2")],
)
async def test_orders_are_served_as_they_stand_or_not_at_all(
    spare_server: str, capsys: pytest.CaptureFixture[str], exchange: str, market: str, path: str
) -> None:
    async with orders_of(spare_server, exchange, market, path) as fleet, api_of(fleet) as api:
        assert (await api.get("/orders")).status == 503  # nobody has a book yet
        await fleet.until(fleet.shown, LONGEST_S)

        async def served() -> bool:
            return (await api.get("/orders")).status == 200

        await fleet.until(served, LONGEST_S)
        await fleet.control("pause", {})

        async def as_in_truth() -> bool:
            response = await api.get("/orders?depth=1000&first=1000")
            if response.status != 200:
                return False
            answer = await response.json()
            truth = await fleet.truth("orders", fleet.symbol, market=fleet.market)
            held = [
                [
                    [level["price"], order["quantity"], order["id"]]
                    for level in answer[side]
                    for order in level["orders"]
                ]
                for side in ("bids", "asks")
            ]
            return held == [truth["bids"], truth["asks"]]

        await fleet.until(as_in_truth, LONGEST_S)
        answer = await (await api.get("/orders?depth=3&first=2")).json()
        assert len(answer["bids"]) == len(answer["asks"]) == 3
        whole = await (await api.get("/orders?depth=1000&first=1000")).json()
        level = max(whole["asks"], key=lambda found: found["orders_count"])
        last = level["orders"][-1]
        found = await (await api.get(f"/orders/{last['id']}")).json()
        assert (found["side"], found["price"], found["order"]["id"]) == ("ask", level["price"], last["id"])
        assert found["orders_ahead"] == level["orders_count"] - 1 == len(level["orders"]) - 1
        assert found["is_exact"] == level["is_complete"]
        assert (await api.get("/orders/none")).status == 404
        await the_command_says_the_same(fleet, whole, last["id"], capsys)
        await the_client_says_the_same(fleet, exchange, whole, found)
        assert (await api.get("/orders?depth=0")).status == 422

        async with api.ws_connect("/ws") as live, asyncio.timeout(LONGEST_S):
            await live.send_json({"op": "subscribe", "channel": "orders", "symbols": [fleet.symbol]})
            assert (await live.receive_json())["type"] == "subscribed"
            heads = [
                [{**level, "orders": level["orders"][:5]} for level in whole[side][:10]]
                for side in ("bids", "asks")
            ]
            found = {}
            while [found.get(side) for side in ("bids", "asks")] != heads:
                found = await live.receive_json()  # until the last change is published
            await fleet.control("resume", {})
            await fleet.stop("orders-1")
            while (found := await live.receive_json())["type"] != "withheld":
                pass
            assert found["state"] == "not owned"

        async def withheld() -> bool:
            return (await api.get("/orders")).status == 503

        await fleet.until(withheld, LONGEST_S)
        assert "not owned" in (await (await api.get("/orders")).json())["detail"]
        async with FleetClient(fleet.url, exchange=exchange) as client:
            with pytest.raises(BookWithheld, match=r"single orders of .* is withheld: not owned"):
                await client.get_orders(fleet.symbol)
        async with FleetClient(fleet.url) as client:
            with pytest.raises(BookWithheld, match="not followed"):
                await client.get_order(fleet.symbol, "1")
        fleet.start("orders", "orders-2")
        await fleet.until(served, LONGEST_S)
        served_api: Any = api
        [replica] = served_api.api.orders._replicas.values()
        replica.used_at -= 10_000  # nobody has asked for long

        async def released() -> bool:
            return not served_api.api.orders.followed

        await fleet.until(released, LONGEST_S)


async def test_a_venue_whose_orders_are_not_followed_says_so(real_server: str) -> None:
    async with fleet_of(real_server) as fleet:
        process = Process("api", fleet.settings, 0, fleet.url)
        api = Api(process)
        async with TestClient(TestServer(api.application.build())) as client:
            response = await client.get("/orders?symbol=BTCUSDT")
            assert response.status == 404
            assert "those of binance are not followed" in await response.text()
        await api.close()
        await process.client.aclose()
