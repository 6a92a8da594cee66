"""The role `orders` with real sockets, in one process: every single order, as it really stands in its queue."""

from __future__ import annotations

import pytest
from order_fleet import LONGEST_S, orders_of
from simulated_fleet import KEYS

from workers.orders.seeds import SEEDS


def seeds_asked() -> float:
    """How often the owners of this process asked for a book."""
    return sum(
        sample.value
        for metric in SEEDS.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    )


@pytest.mark.parametrize(
    ("exchange", "market", "path", "stream", "holes"),
    [
        ("bitstamp", "all", "", "live_orders_*", [b"a message is missing"]),
        ("bitfinex", "spot", "/ws/2", "book.R0.*", [b"connection"]),
        ("coinbase", "exchange", "/exchange", "full:*", [b"a message is missing"]),
        ("kraken", "spot", "/v2", "level3.*", []),  # the log has all that came: the checksum alone shows it
    ],
)
async def test_every_order_is_as_in_truth_through_a_loss_and_a_takeover(
    spare_server: str, exchange: str, market: str, path: str, stream: str, holes: list[bytes]
) -> None:
    async with orders_of(spare_server, exchange, market, path) as fleet:
        await fleet.until(fleet.shown, LONGEST_S)

        async def compared_with_levels() -> bool:
            return int((await fleet.status())["level2_compared"]) >= 3

        await fleet.until(compared_with_levels, LONGEST_S)
        assert (await fleet.status())["level2_differed"] == "0"
        await fleet.control(
            "faults", {"fault": "old_token"}
        )  # where there are any, what is shown now is a new one
        # a checksum of ten prices does not show every message that is lost, of some in a row it does
        await fleet.control("faults", {"fault": f"lose stream={stream} count={1 if holes else 6}"})

        async def lost_and_back() -> bool:
            return int((await fleet.status()).get("lost", 0)) >= 1 and await fleet.synced_again(2)

        await fleet.until(lost_and_back, LONGEST_S)
        await fleet.until(fleet.analytics_use_them, LONGEST_S)
        gaps = await fleet.client.xrange(KEYS.gaps(fleet.symbol))
        assert {*holes} <= {fields[b"reason"] for _, fields in gaps if fields[b"channel"] == b"orders"}
        syncs = (await fleet.status())["syncs"]

        async def kept() -> bool:
            stored = await fleet.stored()
            return stored is not None and stored.synced and stored.counts["syncs"] == int(syncs)

        await fleet.until(kept, LONGEST_S)
        asked = seeds_asked()
        await fleet.crash("orders-1")
        fleet.start("orders", "orders-2")

        async def taken_over() -> bool:
            return (await fleet.status())["owner"] == "orders-2" and await fleet.shown()

        await fleet.until(taken_over, LONGEST_S)
        await fleet.control("pause", {})
        await fleet.until(fleet.every_order_as_in_truth, LONGEST_S)
        status = await fleet.status()
        assert int(status["syncs"]) >= int(syncs) > 0, "the next owner goes on from the checkpoint"
        assert seeds_asked() == asked, "and asks for nothing"

        async def shows_the_last_change() -> bool:
            newest, truth = await fleet.newest(), await fleet.truth("orders", fleet.symbol, market=market)
            best = newest.b[0] if newest is not None and newest.b else None
            return (
                newest is not None
                and best is not None
                and [best.price, best.first[0].quantity, best.first[0].order_id] == truth["bids"][0]
                and best.orders == sum(row[0] == best.price for row in truth["bids"])
                and newest.whole
                and all(level.complete for level in (*newest.b, *newest.a))
            )

        await fleet.until(shows_the_last_change, LONGEST_S)
