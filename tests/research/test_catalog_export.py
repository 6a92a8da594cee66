"""Catalogs of NautilusTrader: the same book, the same trades, and the instruments of the listing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import redis
from test_research_export import BASE, SYMBOL, Sides, apply, export, needs_recording, table_of, truth

from workers.cli.application import main
from workers.errors import CommandError
from workers.model.symbols.info import SymbolInfo
from workers.research.nautilus import CatalogFile, contract_of, write_instrument

pytestmark = pytest.mark.xdist_group("research")  # others clear the server that these share


def catalog(home: Path, *kinds: str) -> Path:
    """A catalog of NautilusTrader."""
    path = home / "catalog"
    for kind in kinds:
        of_nautilus = ["--format", "nautilus", "--instrument", "BTCUSDT.BINANCE", "-o", str(path)]
        assert main(["export", "--symbol", SYMBOL, "--kind", kind, *of_nautilus]) == 0
    return path


def units(raw: bytes) -> Decimal:
    return Decimal(int.from_bytes(raw, "little", signed=True)).scaleb(-16)


@pytest.mark.recorded
@needs_recording
def test_a_catalog_has_the_same_book_and_the_same_trades(home: Path, world):
    path = catalog(home, "depth", "trades")
    [deltas] = path.glob("data/order_book_delta/BTCUSDT.BINANCE/*.parquet")
    rows = pq.read_table(deltas).to_pylist()
    sides: Sides = ({}, {})
    states = []
    for row in rows:
        if row["action"] == 4:
            sides = ({}, {})
        else:
            assert (row["action"] == 3) == (not units(row["size"]))
            apply(
                sides,
                [[(units(row["price"]), units(row["size"]))] if row["side"] == n else [] for n in (1, 2)],
            )
        if row["flags"] & 128:
            states.append((row["ts_event"] // 1000, (dict(sides[0]), dict(sides[1]))))
    assert states == truth(world[0])
    [trades] = path.glob("data/trade_tick/BTCUSDT.BINANCE/*.parquet")
    assert pq.ParquetFile(trades).metadata.metadata[b"size_precision"] == b"6"
    assert export("--kind", "trades", "-o", str(home / "trades.csv")) == 0
    expected = table_of(home / "trades.csv")
    told = pq.read_table(trades).to_pylist()
    assert [(units(row["price"]), units(row["size"]), row["ts_init"] // 1000) for row in told] == [
        (row["price"], row["amount"], row["local_timestamp"]) for row in expected
    ]
    names = [re.sub(r"[^0-9_]", "", file.stem).split("_") for file in (trades, deltas)]
    assert all(int(first) < int(last) for first, last in names)


@pytest.mark.recorded
@needs_recording
def test_the_real_nautilus_trader_reads_the_catalog_and_has_the_same_best_prices(home: Path, world):
    why = "nautilus_trader is not installed, as it brings 400 MB: pip install nautilus_trader"
    persistence = pytest.importorskip("nautilus_trader.persistence.catalog", reason=why)
    book_module = import_module("nautilus_trader.model.book")
    enums, ids = (import_module(f"nautilus_trader.model.{name}") for name in ("enums", "identifiers"))
    found = persistence.ParquetDataCatalog(str(catalog(home, "depth", "trades", "quotes")))
    name = "BTCUSDT.BINANCE"
    assert len(found.trade_ticks(instrument_ids=[name])) == 1227
    book = book_module.OrderBook(ids.InstrumentId.from_str(name), enums.BookType.L2_MBP)
    best = {}
    for delta in found.order_book_deltas(instrument_ids=[name]):
        book.apply_delta(delta)
        if delta.flags & 128:
            best[delta.ts_init] = str(book.best_bid_price()), str(book.best_ask_price())
    quotes = found.quote_ticks(instrument_ids=[name])
    assert len(quotes) > 500
    assert [best[one.ts_init] for one in quotes] == [
        (str(one.bid_price), str(one.ask_price)) for one in quotes
    ]


LISTING = {"status": "TRADING", "base_asset": "BTC", "quote_asset": "USDT", "tick_size": "0.00100000",
           "step_size": "0.00000010"}  # fmt: skip
"""Finer than the recording's numbers, so that it is seen whose decimals are taken."""


@pytest.fixture
def listed(world) -> Iterator[None]:
    """The world with a listing of its symbol."""
    client = redis.Redis.from_url(world[0])
    client.hset(f"symbol:{{{SYMBOL}}}:info", mapping=LISTING)
    yield
    client.delete(f"symbol:{{{SYMBOL}}}:info")


@pytest.mark.recorded
@needs_recording
def test_a_catalog_has_the_instrument_of_the_listing_and_its_decimals(
    home: Path, listed: None, capsys: pytest.CaptureFixture[str]
):
    path = catalog(home, "depth", "trades", "quotes")
    [file] = path.glob("data/currency_pair/BTCUSDT.BINANCE/*.parquet")
    table = pq.ParquetFile(file)
    assert table.schema_arrow.metadata[b"class"] == b"CurrencyPair"
    [row] = table.read().to_pylist()
    said = {
        name: row[name] for name in ("id", "base_currency", "price_increment", "lot_size", "size_precision")
    }
    assert said == {"id": "BTCUSDT.BINANCE", "base_currency": "BTC", "price_increment": "0.001",
                    "lot_size": "0.0000001",
                    "size_precision": 7}  # fmt: skip
    for name in ("order_book_delta", "trade_tick", "quote_tick"):
        [file] = path.glob(f"data/{name}/BTCUSDT.BINANCE/*.parquet")
        metadata = pq.ParquetFile(file).metadata.metadata
        assert (metadata[b"price_precision"], metadata[b"size_precision"]) == (b"3", b"7"), name
    assert "instrument" not in capsys.readouterr().err


@pytest.mark.recorded
@needs_recording
def test_without_a_listing_it_is_said_that_there_is_no_instrument(
    home: Path, world, capsys: pytest.CaptureFixture[str]
):
    assert not list(catalog(home, "trades").glob("data/currency_pair/*/*"))
    assert "The instrument BTCUSDT.BINANCE is not written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("market", "symbol", "changes", "kind"),
    [
        ("spot", "BTC-USDT", {}, "CurrencyPair"),
        ("usdm", "BTCUSDT", {}, "CryptoPerpetual"),
        ("usdm", "BTCUSDT_261225", {}, None),
        ("coinm", "BTCUSD_PERP", {"quote_asset": "USD"}, None),
        ("swap", "BTC-USDT-SWAP", {}, None),
        ("spot", "BTCUSDT", {"tick_size": "0.00"}, None),
        ("spot", "BTCUSDT", {"step_size": "1e-8"}, None),
        ("spot", "币安人生USDT", {"base_asset": "币安人生", "tick_size": "0.00001"}, "CurrencyPair"),
        ("", "BTCUSDT", {}, None),
    ],
)
def test_which_listings_are_instruments(
    market: str, symbol: str, changes: dict[str, str], kind: str | None, tmp_path: Path
):
    contract = contract_of(market, SymbolInfo(symbol=symbol, **{**LISTING, **changes}))
    assert (contract.kind if contract else None) == kind
    if contract:
        path = write_instrument(tmp_path, f"{symbol}.X", contract)
        assert write_instrument(tmp_path, f"{symbol}.X", contract) == path
        assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]
        assert pq.read_table(path).to_pylist()[0]["raw_symbol"] == symbol


@pytest.mark.recorded
@needs_recording
def test_the_real_nautilus_trader_runs_a_backtest_on_the_catalog_alone(home: Path, listed: None):
    """A market order is filled at the best price of the book, by an engine that refuses what an instrument has not."""
    why = "nautilus_trader is not installed, as it brings 400 MB: pip install nautilus_trader"
    pytest.importorskip("nautilus_trader", reason=why)
    backtest, model, trading = (import_module(f"nautilus_trader.{name}") for name in (
        "backtest.node", "model.enums", "trading.strategy"))  # fmt: skip
    config, path = import_module("nautilus_trader.config"), catalog(home, "depth", "trades")
    instrument = import_module("nautilus_trader.model.identifiers").InstrumentId.from_str("BTCUSDT.BINANCE")
    fills: list[tuple[str, str]] = []

    class Buyer(trading.Strategy):  # type: ignore[misc, name-defined]  # of a package that is not always there
        def on_start(self) -> None:
            self.of = self.cache.instrument(instrument)
            self.subscribe_order_book_deltas(instrument, book_type=model.BookType.L2_MBP)
            self.best = ""

        def on_order_book_deltas(self, deltas: Any) -> None:
            book = self.cache.order_book(instrument)
            if not self.best and book.best_ask_price():
                self.best = str(book.best_ask_price())
                size = self.of.make_qty(0.000001)
                self.submit_order(self.order_factory.market(instrument, model.OrderSide.BUY, size))

        def on_order_filled(self, event: Any) -> None:
            fills.append((self.best, str(event.last_px)))

    venue = config.BacktestVenueConfig(
        name="BINANCE", oms_type="NETTING", account_type="CASH", book_type="L2_MBP",
        starting_balances=["1_000_000 USDT"],
    )  # fmt: skip
    data = [
        config.BacktestDataConfig(catalog_path=str(path), data_cls=f"nautilus_trader.model.data:{name}",
                                  instrument_id=instrument)
        for name in ("OrderBookDelta", "TradeTick")
    ]  # fmt: skip
    logging = config.LoggingConfig(bypass_logging=True)
    run = config.BacktestRunConfig(
        venues=[venue], data=data, engine=config.BacktestEngineConfig(logging=logging), raise_exception=True
    )
    perpetual = contract_of(
        "usdm", SymbolInfo(symbol="币安人生USDT", **{**LISTING, "base_asset": "币安人生"})
    )
    assert perpetual is not None
    write_instrument(path, "币安人生USDT.BINANCE", perpetual)
    found = import_module("nautilus_trader.persistence.catalog").ParquetDataCatalog(str(path))
    known = {str(one.id): one for one in found.instruments()}
    assert str(known["币安人生USDT.BINANCE"].settlement_currency) == "USDT"
    assert str(known["BTCUSDT.BINANCE"].lot_size) == "0.0000001"
    node = backtest.BacktestNode([run])
    node.build()
    node.get_engine(run.id).add_strategy(Buyer())
    [result] = node.run()
    assert result.total_orders == 1
    assert fills[0][0] == fills[0][1] != ""


def test_a_catalog_never_has_rows_of_one_time_in_two_files(tmp_path: Path):
    def export_of(*times: int) -> Path | None:
        file = CatalogFile(tmp_path, "trades", "A.X")
        file.trades([("x", "A", BASE + at, BASE + at, "1", "buy", "2", "1") for at in times])
        return file.close()

    first = export_of(0, 10)
    assert export_of(0, 5, 10) == first, "the same stretch, exported again, takes its place"
    assert export_of(11, 20) not in (None, first)
    for times in ((0, 11), (5, 6), (10, 10), (-5, 30), (20, 21)):
        with pytest.raises(CommandError, match="has some of the same time"):
            export_of(*times)
    assert len([file for file in tmp_path.rglob("*") if file.is_file()]) == 2


def test_an_empty_or_broken_catalog_file_is_not_left_behind(tmp_path: Path):
    file = CatalogFile(tmp_path, "trades", "A/B.X")
    assert file.close() is None
    file = CatalogFile(tmp_path, "trades", "A/B.X")
    with pytest.raises(CommandError, match="more decimals"):
        file.trades([("x", "X", BASE, BASE, "1", "buy", "0.00000000000000001", "1")])
    file.discard()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
