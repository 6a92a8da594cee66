"""Figures and liquidations of contracts through the client, and in `fleet watch`."""

from __future__ import annotations

from typing import Any

from client_world import KEYS, T0, S, World, take

from workers.client import Derivative, FleetClient, Gap, Liquidation
from workers.client.numbers import Number
from workers.model.derivatives.figures import Figure
from workers.model.derivatives.figures import Liquidation as Row
from workers.reading.watch import Watched
from workers.store.derivatives.streams import DerivativeStreams, liquidation_id

KEPT_MS = 10**9


async def say(client: Any, time_ms: int, **values: str) -> None:
    figures = {name: Figure(value, time_ms) for name, value in values.items()}
    await DerivativeStreams(client).merge({KEYS.derivatives(S): figures}, KEPT_MS)


async def test_what_is_known_of_a_contract_whenever_it_changes(world: World, fleet: FleetClient) -> None:
    await say(world.redis, T0, mark_price="84554.30", funding_rate="-0.000212", next_funding_time=str(T0 + 9))
    async with fleet.derivatives([S], from_ms=1) as feed:
        [first] = await take(feed, 1)
        await say(world.redis, T0 + 1, open_interest="5")
        await world.redis.xadd(
            KEYS.derivatives(S), {"mark_price": "x", "mark_price_at": T0}, id=f"{T0 + 2}-0"
        )
        [second, rubbish] = await take(feed, 2)
        token = feed.token
    assert isinstance(first, Derivative)
    assert (str(first.mark_price), str(first.funding_rate)) == ("84554.30", "-0.000212")
    assert (first.index_price, first.open_interest, first.next_funding_time_ms) == (None, None, T0 + 9)
    assert first.at_ms == dict.fromkeys(["mark_price", "funding_rate", "next_funding_time"], T0)
    assert isinstance(second, Derivative)
    assert (second.open_interest, second.at_ms["open_interest"]) == (Number("5"), T0 + 1)
    assert isinstance(rubbish, Gap)
    assert (rubbish.channel, rubbish.reason) == ("derivatives", "undecodable")
    await say(world.redis, T0 + 3, mark_price="2")
    async with fleet.derivatives([S], resume=token) as feed:
        [third] = await take(feed, 1)
    assert third.at_ms["mark_price"] == T0 + 3


async def test_liquidations(world: World, fleet: FleetClient) -> None:
    rows = [Row("sell", "9910", "0.014", T0, T0 + 1, "9911"), Row("buy", "1.50", "2", T0, T0)]
    key = KEYS.liquidations(S)
    ids = [liquidation_id(f"{T0}-7", place) for place in range(2)]
    written = [(key, entry_id, row) for entry_id, row in zip(ids, rows, strict=True)]
    await DerivativeStreams(world.redis).liquidations(written, KEPT_MS)
    await world.redis.xadd(key, {"side": "sell"}, id=f"{T0 + 1}-0")
    async with fleet.liquidations([S], from_ms=1) as feed:
        first, second, rubbish = await take(feed, 3)
    assert isinstance(first, Liquidation)
    assert (first.side, str(first.price), str(first.quantity), first.time_ms, first.event_time_ms) == (
        "sell", "9910", "0.014", T0, T0 + 1,
    )  # fmt: skip
    assert (first.average_price, second.average_price, second.side) == (Number("9911"), None, "buy")
    assert isinstance(rubbish, Gap)


def test_watch_shows_what_is_known_and_nothing_else() -> None:
    watched = Watched(S)
    assert "mark" not in watched.line()
    watched.take(Derivative(S, "1-0", Number("84554.30"), None, Number("0.0001"), T0, None, {}))
    line = watched.line()
    assert "mark 84554.30" in line
    assert "funding 0.0001 at 2026-" in line
    assert "index" not in line
    assert "open interest" not in line
