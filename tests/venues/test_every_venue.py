"""What ingest and REST take from the facts of a venue, of every exchange there is, as its settings are by default."""

from __future__ import annotations

from typing import Any

import pytest

from workers.ingest.feeds import VenueFeeds
from workers.settings.exchanges import exchanges, settings_of
from workers.settings.schema import VenueSettings
from workers.venues.interface import Venue
from workers.venues.registry import _VENUES, venue_of

MARKETS = {"binance": "usdm"}
"""Of the exchanges that name no market by default."""
SYMBOLS = [f"A{number}-USD" for number in range(300)]


def made(exchange: str) -> tuple[VenueSettings, Venue]:
    market = {"market": MARKETS[exchange]} if exchange in MARKETS else {}
    settings = settings_of(exchange)(symbols=SYMBOLS, **market)  # type: ignore[call-arg]
    return settings, venue_of(exchange, settings)


def test_every_exchange_has_settings_and_a_line_in_the_registry() -> None:
    assert set(exchanges()) == set(_VENUES)


@pytest.mark.parametrize("exchange", exchanges())
async def test_streams_are_spread_over_sockets_as_the_facts_say(exchange: str) -> None:
    settings, venue = made(exchange)
    feeds: list[Any] = []

    class Feed:
        def __init__(self) -> None:
            feeds.append(self)

        async def run(self) -> None:
            pass

    placed = VenueFeeds(venue, venue.facts.subscriptions, lambda *_: None, lambda _: Feed())  # type: ignore[arg-type,return-value]
    placed.change(SYMBOLS)
    wanted = [stream.stream for endpoint in venue.endpoints(SYMBOLS) for stream in endpoint.subscriptions]
    assert sorted(name for names in placed.streams for name in names) == sorted(wanted)
    assert max(map(len, placed.streams)) <= venue.facts.subscriptions
    assert len(feeds) == len(placed.streams) > 1
    if settings.streams_per_socket:
        assert venue.facts.subscriptions == settings.streams_per_socket


@pytest.mark.parametrize("exchange", exchanges())
def test_the_tightest_limit_of_rest_is_told_as_weight_a_minute(exchange: str) -> None:
    facts = made(exchange)[1].facts
    assert facts.weight_a_minute > 0
    assert all(facts.weight_a_minute * limit.seconds / 60 <= limit.weight for limit in facts.limits)


@pytest.mark.parametrize("exchange", exchanges())
def test_single_orders_are_followed_where_that_is_asked_for_alone(exchange: str) -> None:
    assert made(exchange)[1].order_feed is None
