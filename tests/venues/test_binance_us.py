"""Binance.US as a section of `binance`: the documented example, limits of its own, and its recorded book."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from workers.model.books.sync import BookSync, SyncState
from workers.settings.loading import parse
from workers.venues.binance.settings import BinanceSettings
from workers.venues.binance.venue import Binance
from workers.venues.messages import Message
from workers.venues.registry import venue_of

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "symbols-and-venues.md"


@pytest.fixture
def venue() -> Binance:
    """By the example of the guide."""
    [example] = re.findall(r"```toml\n(\[venues\.binance_us\].*?)```", GUIDE.read_text(), re.DOTALL)
    [(name, section)] = parse(example, "the guide", {}).settings.venues.items()
    made = venue_of(name, section)
    assert isinstance(made, Binance)
    return made


def spot(rest_url: str) -> Binance:
    return Binance("spot", BinanceSettings(market="spot", symbols=["BTCUSDT"], rest_url=rest_url))


def test_the_example_reaches_its_hosts(venue: Binance) -> None:
    [endpoint] = venue.endpoints(["BTCUSDT"])
    assert endpoint.url == "wss://stream.binance.us:9443/stream"
    assert [one.stream for one in endpoint.subscriptions] == ["btcusdt@depth@100ms", "btcusdt@aggTrade"]
    assert venue.snapshot_request("BTCUSDT").url.startswith(
        "https://api.binance.us/api/v3/depth?symbol=BTCUSDT"
    )


def test_it_has_a_budget_of_its_own(venue: Binance) -> None:
    assert venue.snapshot_request("BTCUSDT").pool == venue.pool == "spot binance.us"
    assert venue.facts.weight_a_minute == 1200


@pytest.mark.parametrize(
    "url", ["", "https://api1.binance.com", "http://127.0.0.1:7400/spot", "http://localhost:80"]
)
def test_hosts_of_binance_and_of_this_machine_share_its_budget(url: str) -> None:
    assert (spot(url).pool, spot(url).facts.weight_a_minute) == ("spot", 6000)


@pytest.mark.recorded
def test_the_recorded_book_is_in_sync_and_never_crossed(venue: Binance, recorded_folder: Path) -> None:
    folder = recorded_folder / "venues" / "tickvault"
    book = BookSync("BTCUSDT", venue.book_rule.sequence, max_levels=10_000)
    lines = [line for line in (folder / "binance_us_depth.jsonl").read_bytes().splitlines() if line]
    session = venue.session("")
    events = [event for line in lines for event in session.received(line, 0)]
    assert all(isinstance(event, Message) and event.symbol == "BTCUSDT" for event in events)
    body = (folder / "binance_us_snapshot.json").read_bytes()
    after = next(
        place for place, line in enumerate(lines) if json.loads(line)["u"] >= json.loads(body)["lastUpdateId"]
    )
    for place, event in enumerate(events):
        assert isinstance(event, Message)
        book.on_event(venue.depth(event.data, event.symbol), place)
        if place == after:
            book.on_snapshot(venue.snapshot("BTCUSDT", body), place)
            assert book.state is SyncState.SYNCED
        assert not book.book.crossed
    assert (book.state, book.gap_count) == (SyncState.SYNCED, 0)
    assert (len(events), book.last_update_id) == (25, json.loads(lines[-1])["u"])
