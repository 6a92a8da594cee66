"""The model level of the other exchanges: which markets a scenario runs on, and that it fails without its guard."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from workers.conformance.catalogue.all import SCENARIOS, chosen
from workers.conformance.fleet.every_venue import fleet_file
from workers.conformance.suite import run_suite
from workers.conformance.venues.books import VenueTrades
from workers.conformance.venues.places import Place, places, root_of
from workers.conformance.venues.rest import ModelRest
from workers.conformance.venues.runner import played
from workers.conformance.venues.world import VenueWorld
from workers.errors import CommandError, WrongArgument
from workers.ingest.subscriptions import Subscriptions
from workers.model.books.in_band import InBandSync
from workers.model.books.sequence import SequenceRule
from workers.settings.exchanges import DEFAULT
from workers.settings.loading import parse
from workers.sim.flavours import FLAVOURS
from workers.sim.settings import SimSettings
from workers.venues.bitfinex.session import BitfinexSession
from workers.venues.coinbase.advanced_session import AdvancedSession

BY_NAME = {one.name: one for one in SCENARIOS if one.venues is not None}


def place(exchange: str) -> Place:
    return places([exchange])[0]


def problems(name: str, exchange: str) -> list[str]:
    scenario = BY_NAME[name]
    assert scenario.venues is not None
    where = place(exchange)
    assert scenario.venues.needs(where.facts())
    return played(scenario.venues, where).problems


def test_every_market_of_every_simulated_exchange_is_a_place_whose_sockets_the_exchange_serves():
    found = places()
    assert {(one.exchange, one.market) for one in found} == {
        (name, market)
        for name in FLAVOURS
        if name != DEFAULT
        for market in FLAVOURS[name](SimSettings(flavour=name)).markets
    }
    for one in found:
        flavour = FLAVOURS[one.exchange](SimSettings(flavour=one.exchange))
        for endpoint in one.venue().endpoints(one.symbols):
            assert root_of(flavour, one.market, endpoint.url) is not None


def test_every_scenario_of_venues_runs_somewhere_and_every_market_runs_the_calm_one():
    for scenario in BY_NAME.values():
        assert scenario.venues is not None
        assert any(scenario.venues.needs(one.facts()) for one in places())
    calm = BY_NAME["calm"].venues
    assert calm is not None
    assert [one for one in places() if calm.needs(one.facts())] == places()


def test_venues_choose_scenarios():
    only_others = chosen([], ["model"], default=False)
    assert {one.name for one in only_others} == {
        *BY_NAME,
        *(one.name for one in SCENARIOS if one.orders is not None),
    }
    assert "wrong-checksum" not in {one.name for one in chosen([], ["model"], others=False)}
    with pytest.raises(WrongArgument, match="No scenario"):
        chosen(["wrong-checksum"], ["model"], others=False)
    with pytest.raises(WrongArgument, match="not simulated"):
        places(["nobody"])


def test_the_fleet_of_every_venue_follows_each_market_on_its_own_exchange(tmp_path):
    markets = places()
    ports = {name: 10_000 + at for at, name in enumerate(FLAVOURS)}
    text = fleet_file(tmp_path, markets, ports, "unix:///tmp/none.sock")
    venues = parse(text, "every venue", {}).settings.venues
    assert list(venues) == [one.name for one in markets]
    for one in markets:
        assert (venues[one.name].exchange, venues[one.name].market) == (one.exchange, one.market)
        assert venues[one.name].symbols == list(one.symbols)
        assert f":{ports[one.exchange]}" in venues[one.name].websocket_url


def test_an_adapter_is_of_the_default_exchange():
    with pytest.raises(CommandError, match="messages of binance"):
        run_suite([], [], ["okx"], "a:B", None, listing=True, as_json=False)


def test_an_exchange_that_writes_exponents_does_so_in_the_calm_scenario(monkeypatch: pytest.MonkeyPatch):
    exponents = 0
    real = VenueWorld.frame

    def counted(self: VenueWorld, socket, payload: bytes, stream: str):
        nonlocal exponents
        exponents += b"e-" in payload and stream in self.depth_streams.values()
        return real(self, socket, payload, stream)

    monkeypatch.setattr(VenueWorld, "frame", counted)
    assert problems("calm", "bitfinex") == []
    assert exponents > 10


def no_checksums(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(InBandSync, "_agrees", lambda self, event: True)


def no_connections(patch: pytest.MonkeyPatch) -> None:
    real = AdvancedSession.received

    def received(self, frame, now_ms):
        self._sequence = -1
        return real(self, frame, now_ms)

    patch.setattr(AdvancedSession, "received", received)


def no_gaps(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SequenceRule, "follows", lambda self, event, last_id: True)


def no_names(patch: pytest.MonkeyPatch) -> None:
    real = VenueTrades.append

    def append(self: VenueTrades, entry) -> None:
        self._names.clear()
        real(self, entry)

    patch.setattr(VenueTrades, "append", append)


def nobody_asks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(VenueWorld, "_consider", lambda self, book, now_s: None)


def never_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Subscriptions, "retry", lambda self, now: None)


def no_notices(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(BitfinexSession, "_info", lambda self, event: [])


def never_fetched(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ModelRest, "get", lambda self, url: None)


@pytest.mark.parametrize(
    ("remove", "name", "exchange"),
    [
        (no_checksums, "wrong-checksum", "kraken"),
        (no_connections, "lost-event", "coinbase"),
        (no_gaps, "lost-event", "okx"),
        (no_names, "duplicated-events", "bybit"),
        (nobody_asks, "wrong-checksum", "kraken"),
        (never_again, "refused-book", "okx"),
        (no_notices, "maintenance-told", "bitfinex"),
        (never_fetched, "calm", "bitstamp"),
        (never_fetched, "lost-trades", "kraken"),
    ],
)
def test_without_its_guard_a_scenario_fails(
    remove: Callable[[pytest.MonkeyPatch], None], name: str, exchange: str, monkeypatch: pytest.MonkeyPatch
):
    assert problems(name, exchange) == []
    remove(monkeypatch)
    assert problems(name, exchange) != []
