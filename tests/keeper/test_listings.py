"""A venue's list of symbols: what is read when, who is followed, and what becomes of those given up."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError
from structlog.testing import capture_logs

from workers.errors import RestUnavailable
from workers.keeper.listings import LEAST_PAUSE_S, RETRY_S, Listings
from workers.model.symbols.names import near_names
from workers.runtime.context import venue_contexts
from workers.runtime.process import Process
from workers.settings.schema import Settings
from workers.store.fleet.followed import Publication, published
from workers.store.fleet.symbols import SymbolStore
from workers.store.keys import Keys
from workers.venues.binance.settings import BinanceSettings
from workers.venues.messages import ContractNotice
from workers.venues.requests import RestRequest

KEYS = Keys()
NEW = "1000新币USDT"


class Exchange:
    """Answers in place of a `RestClient`: the list as it is now, and what was traded."""

    def __init__(self, **statuses: str) -> None:
        self.statuses = statuses
        self.tick_size = "0.1"
        self.volumes: dict[str, str] = {}
        self.asked: list[str] = []
        self.bad: dict[str, list[Any]] = {}
        """By the name of a list, entries that stand in it before the others."""
        self.down: set[str] = set()
        self.learned: list[int] = []
        self.budget = self

    async def learn(self, limit: int) -> bool:
        if limit <= 0:
            return False
        self.learned.append(limit)
        return True

    async def get(self, request: RestRequest, _urgency: object, _timeout_s: float) -> bytes:
        what = request.url.rpartition("/")[2]
        self.asked.append(what)
        if what in self.down:
            raise RestUnavailable(request.url, 503, "down")
        bad = self.bad.get(what, [])
        if what == "exchangeInfo":
            info = self._info()
            return msgspec.json.encode(info | {"symbols": bad + info["symbols"]})
        return msgspec.json.encode(bad + self._tickers())

    def _info(self) -> dict[str, Any]:
        limit = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400}
        filters = [
            {"filterType": "PRICE_FILTER", "tickSize": self.tick_size},
            {"filterType": "LOT_SIZE", "stepSize": "1"},
        ]
        rows = [
            {
                "symbol": name,
                "status": status,
                "baseAsset": name[:-4],
                "quoteAsset": "USDT",
                "filters": filters,
            }
            for name, status in self.statuses.items()
        ]
        return {"rateLimits": [limit], "symbols": rows}

    def _tickers(self) -> list[dict[str, Any]]:
        return [{"symbol": name, "quoteVolume": self.volumes.get(name, "0")} for name in self.statuses]


class World:
    """The listings of one keeper, with a clock of its own."""

    def __init__(self, client: Redis, exchange: Exchange, symbols: list[str], most: int = 0) -> None:
        settings = Settings(
            venues={"usdm": BinanceSettings(market="usdm", symbols=symbols, max_symbols=most)}
        )
        self.client = client
        self.exchange = exchange
        self.now = 1000.0
        process = Process("keeper", settings, 0, "unix:///nowhere")
        process.client = client
        [self.context] = venue_contexts(settings)
        self.listings = Listings(process, self.context, exchange)  # type: ignore[arg-type] -- stands in for it

    async def step(self, after_s: float = 0.0) -> None:
        self.now += after_s
        await self.listings.step(self.now)

    async def read(self) -> None:
        """The next regular reading."""
        await self.step(300.0)

    async def published(self) -> Publication:
        found = await published(self.client, "usdm")
        assert found is not None
        assert found.symbols == list(self.context.symbols)
        return found

    async def state(self, symbol: str) -> tuple[str, str]:
        state, reason = await self.client.hmget(KEYS.book_status(symbol), ["state", "reason"])
        return (state or b"").decode(), (reason or b"").decode()


async def test_names_are_published_as_they_stand_and_unlisted_ones_reported(client: Redis) -> None:
    here = World(client, Exchange(BTCUSDT="TRADING", HUSDT="BREAK"), ["BTCUSDT", "HUSDT", NEW])
    with capture_logs() as logs:
        await here.step()
        await here.read()
    assert (await here.published()).symbols == ["BTCUSDT", "HUSDT", NEW]
    assert (await here.published()).unlisted == {NEW: near_names(NEW, ["BTCUSDT", "HUSDT"])}
    assert here.exchange.asked == ["exchangeInfo", "exchangeInfo"]
    assert [entry["symbol"] for entry in logs if entry["event"] == "symbol_unlisted"] == [NEW]
    assert await client.hget(KEYS.symbol_info("HUSDT"), "status") == b"BREAK"
    assert await client.exists(KEYS.symbol_info(NEW)) == 0
    assert (here.exchange.learned, here.listings.weight_limit) == ([2400, 2400], 2400)


async def test_a_name_that_comes_to_be_listed_is_unlisted_no_more(client: Redis) -> None:
    here = World(client, Exchange(BTCUSDT="TRADING"), ["BTCUSDT", "BTCUSDC"])
    await here.step()
    assert (await here.published()).unlisted == {"BTCUSDC": ["BTCUSDT"]}
    here.exchange.statuses["BTCUSDC"] = "TRADING"
    await here.read()
    assert (await here.published()).unlisted == {}
    del here.exchange.statuses["BTCUSDC"]
    await here.read()
    assert (await here.published()).unlisted == {"BTCUSDC": ["BTCUSDT"]}


async def test_the_most_traded_are_chosen_and_tickers_asked_only_for_that(client: Redis) -> None:
    exchange = Exchange(AUSDT="TRADING", BUSDT="TRADING", CUSDT="TRADING", DUSDT="PENDING_TRADING")
    exchange.volumes = {"AUSDT": "5", "BUSDT": "7", "CUSDT": "6"}
    here = World(client, exchange, ["*USDT"], most=2)
    await here.step()
    assert (await here.published()).symbols == ["BUSDT", "CUSDT"]
    exchange.statuses["BUSDT"] = "SETTLING"
    await here.read()
    assert (await here.published()).symbols == ["CUSDT", "AUSDT"]
    assert exchange.asked == ["exchangeInfo", "ticker/24hr".rpartition("/")[2], "exchangeInfo"]
    assert await client.hget(KEYS.symbol_info("BUSDT"), "status") == b"SETTLING"


async def test_without_tickers_a_bounded_choice_waits_and_an_unbounded_one_does_not(client: Redis) -> None:
    exchange = Exchange(AUSDT="TRADING", BUSDT="TRADING")
    exchange.down = {"24hr"}
    bounded = World(client, exchange, ["*USDT"], most=1)
    await bounded.step()
    assert await published(client, "usdm") is None
    unbounded = World(client, exchange, ["*USDT"])
    await unbounded.step()
    assert (await unbounded.published()).symbols == ["AUSDT", "BUSDT"]
    exchange.down = set()
    await bounded.step(RETRY_S)
    assert (await bounded.published()).symbols == ["AUSDT"]


async def test_an_unreachable_exchange_changes_nothing_and_is_asked_again_soon(client: Redis) -> None:
    exchange = Exchange(BTCUSDT="TRADING")
    exchange.down = {"exchangeInfo"}
    here = World(client, exchange, ["*"])
    await here.step()
    assert await published(client, "usdm") is None
    exchange.down = set()
    await here.step(RETRY_S - 0.1)
    assert await published(client, "usdm") is None
    await here.step(0.1)
    assert (await here.published()).symbols == ["BTCUSDT"]


async def test_a_missing_symbol_is_looked_for_again_before_it_is_given_up(client: Redis) -> None:
    here = World(client, Exchange(BTCUSDT="TRADING", XUSDT="TRADING"), ["*"])
    await here.step()
    del here.exchange.statuses["XUSDT"]
    await here.read()
    assert "XUSDT" in (await here.published()).symbols
    await here.step(RETRY_S)
    found = await here.published()
    assert (found.symbols, found.retiring) == (["BTCUSDT"], {"XUSDT": "not listed"})
    assert await client.hget(KEYS.symbol_info("XUSDT"), "status") == b"UNLISTED"


async def test_a_server_that_lost_its_data_is_told_again(client: Redis) -> None:
    here = World(client, Exchange(BTCUSDT="TRADING", XUSDT="TRADING"), ["*"])
    await here.step()
    await client.flushall()  # the server is this test process's own
    await here.step(1.0)
    assert (await here.published()).symbols == ["BTCUSDT", "XUSDT"]
    assert here.exchange.asked.count("exchangeInfo") == 1


async def test_an_announcement_brings_the_next_reading_forward_until_it_came_true(client: Redis) -> None:
    here = World(client, Exchange(BTCUSDT="TRADING"), ["*USDT"])
    await here.step()
    here.listings.announced(ContractNotice(NEW, "TRADING", 1), here.now)
    await here.step(LEAST_PAUSE_S - 0.1)
    assert here.exchange.asked.count("exchangeInfo") == 1
    await here.step(0.2)
    await here.step(RETRY_S)  # the list lags behind
    assert here.exchange.asked.count("exchangeInfo") == 3
    here.exchange.statuses[NEW] = "TRADING"
    await here.step(RETRY_S)
    assert (await here.published()).symbols == ["BTCUSDT", NEW]
    await here.step(RETRY_S)
    await here.step(RETRY_S)
    assert here.exchange.asked.count("exchangeInfo") == 4


async def test_an_announcement_that_never_comes_true_is_given_up(client: Redis) -> None:
    here = World(client, Exchange(BTCUSDT="TRADING"), ["*USDT"])
    await here.step()
    here.listings.announced(ContractNotice(NEW, "TRADING", 1), here.now)
    for _ in range(100):
        await here.step(1.0)
    asked = here.exchange.asked.count("exchangeInfo")
    assert 8 < asked < 20
    for _ in range(100):
        await here.step(1.0)
    assert here.exchange.asked.count("exchangeInfo") == asked


async def test_announcements_of_what_is_known_or_not_wanted_cost_nothing(client: Redis) -> None:
    here = World(client, Exchange(BTCUSDT="TRADING"), ["*USDT"])
    await here.step()
    here.listings.announced(ContractNotice("BTCUSDT", "TRADING", 1), here.now)  # new terms, the same status
    here.listings.announced(ContractNotice("ETHBTC", "TRADING", 1), here.now)
    await here.step(100.0)
    assert here.exchange.asked == ["exchangeInfo"]


async def test_another_grid_is_stored_counted_and_told(client: Redis) -> None:
    here = World(client, Exchange(BTCUSDT="TRADING"), ["BTCUSDT"])
    await here.step()
    here.exchange.tick_size = "0.5"
    with capture_logs() as logs:
        await here.read()
    [told] = [entry for entry in logs if entry["event"] == "symbol_tick_size_changed"]
    assert (told["symbol"], told["before"], told["now"]) == ("BTCUSDT", "0.1", "0.5")
    assert await client.hget(KEYS.symbol_info("BTCUSDT"), "tick_size") == b"0.5"


async def test_the_exchange_is_not_asked_every_second_though_nothing_can_be_stored(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = World(client, Exchange(BTCUSDT="TRADING"), ["BTCUSDT"])

    async def refuse(*_: object) -> None:
        raise NoPermissionError("this user has no permissions to access one of the keys")

    with monkeypatch.context() as patched:
        patched.setattr(SymbolStore, "store", refuse)
        with pytest.raises(NoPermissionError):
            await here.step()
        for _ in range(3):
            await here.step(1.0)
    assert here.exchange.asked == ["exchangeInfo"]
    await here.step(RETRY_S)
    assert (await here.published()).symbols == ["BTCUSDT"]


async def test_a_reading_that_redis_interrupted_is_told_by_the_next(client: Redis, monkeypatch: Any) -> None:
    here = World(client, Exchange(BTCUSDT="TRADING"), ["*"])
    await here.step()
    here.exchange.statuses |= {"XUSDT": "TRADING", "BTCUSDT": "SETTLING"}

    async def refuse(*_: object) -> bool:
        raise ConnectionError("away")

    with monkeypatch.context() as patched:
        patched.setattr(SymbolStore, "revive", refuse)
        with pytest.raises(ConnectionError):
            await here.read()
    assert (await here.published()).symbols == ["BTCUSDT"]
    await here.step(RETRY_S)
    found = await here.published()
    assert (found.symbols, found.retiring) == (["XUSDT"], {"BTCUSDT": "SETTLING"})


STRANGE = [
    "",
    "../../x",
    "<img src=x>",
    "\x1b[31mUSDT",
    "A\x00\nUSDT",
    "}{USDT",
    "A" * 1000,
    "A@depth/btcusdt@aggTrade",
]


async def test_an_entry_that_cannot_be_read_costs_itself_alone(client: Redis) -> None:
    exchange = Exchange(AUSDT="TRADING", BUSDT="TRADING")
    strange = [{"symbol": name, "status": "TRADING", "quoteAsset": "USDT"} for name in STRANGE]
    exchange.bad = {
        "exchangeInfo": [None, 7, {"symbol": "BADUSDT", "filters": [None]}, *strange],
        "24hr": [None, {"symbol": "BADUSDT", "quoteVolume": None}],
    }
    here = World(client, exchange, ["*", "BADUSDT"])
    with capture_logs() as logs:
        await here.step()
        await here.read()
    assert (await here.published()).symbols == ["BADUSDT", "AUSDT", "BUSDT"]
    assert await client.hget(KEYS.symbol_info("BADUSDT"), "status") == b"UNREADABLE"
    assert await client.hget(KEYS.symbol_info("AUSDT"), "status") == b"TRADING"
    told = [entry for entry in logs if entry["event"] == "symbols_unreadable"]
    assert [(entry["list"], entry["count"]) for entry in told] == [("ticker/24hr", 2), ("exchangeInfo", 11)]
    assert all(text.isprintable() and len(text) < 300 for entry in told for text in entry["entries"])
    named = [(entry["symbol"], entry["list"]) for entry in logs if entry["event"] == "symbol_unreadable"]
    assert named == [("BADUSDT", "ticker/24hr"), ("BADUSDT", "exchangeInfo")]
    assert not [entry for entry in logs if entry["event"] == "symbol_unlisted"]


async def test_a_followed_symbol_whose_entry_cannot_be_read_is_not_given_up(client: Redis) -> None:
    exchange = Exchange(AUSDT="TRADING", BUSDT="TRADING")
    here = World(client, exchange, ["*USDT"])
    await here.step()
    del exchange.statuses["AUSDT"]
    exchange.bad = {"exchangeInfo": [{"symbol": "AUSDT", "status": None}]}
    for _ in range(3):
        await here.read()
    assert (await here.published()).symbols == ["AUSDT", "BUSDT"]
    exchange.bad = {"exchangeInfo": [None]}
    for _ in range(3):
        await here.read()
    assert (await here.published()).symbols == ["AUSDT", "BUSDT"]  # it may be the one without a name
    exchange.bad = {}
    for _ in range(2):
        await here.read()
    assert (await here.published()).symbols == ["BUSDT"]


@pytest.mark.parametrize("rubbish", ["string", "list", "bytes"])
async def test_rubbish_in_a_symbols_hash_costs_itself_alone(client: Redis, rubbish: str) -> None:
    key = KEYS.symbol_info("AUSDT")
    if rubbish == "string":
        await client.set(key, "x")
    elif rubbish == "list":
        await client.rpush(key, "x")  # type: ignore[misc] -- redis-py types it for both of its clients
    else:
        await client.hset(key, mapping={"status": b"\xff", "tick_size": b"\xfe"})  # type: ignore[misc] -- likewise
    here = World(client, Exchange(AUSDT="TRADING", BUSDT="TRADING"), ["*USDT"])
    with capture_logs() as logs:
        await here.step()
        await here.read()
        await here.listings.keep_keys()
    assert (await here.published()).symbols == ["AUSDT", "BUSDT"]
    assert await client.hget(KEYS.symbol_info("BUSDT"), "status") == b"TRADING"
    told = [entry["key"] for entry in logs if entry["event"] == "key_unreadable"]
    assert told == ([] if rubbish == "bytes" else [key])
    await client.delete(key)
    await here.read()
    assert await client.hget(key, "status") == b"TRADING"


async def test_a_list_beyond_the_bound_is_told_and_takes_nothing_from_who_is_served(client: Redis):
    exchange = Exchange(**dict.fromkeys(("BTCUSDT", "ETHUSDT"), "TRADING"))
    world = World(client, exchange, ["all"], most=BinanceSettings(market="usdm", symbols=["all"]).max_symbols)
    await world.step()
    with capture_logs() as logs:
        for number in range(50_000):
            exchange.statuses[f"Z{number:05d}USDT"] = "TRADING"
            exchange.volumes[f"Z{number:05d}USDT"] = "1000000"
        await world.read()
        await world.read()
    found = await world.published()
    assert len(found.symbols) == 1_000
    assert {"BTCUSDT", "ETHUSDT"} <= set(found.symbols)
    assert not found.retiring
    [told] = [entry for entry in logs if entry["event"] == "symbols_left_out"]
    assert (told["count"], told["max_symbols"]) == (49_002, 1_000)
