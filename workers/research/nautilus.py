"""Files for the catalog of NautilusTrader: instruments, order book deltas, trades and quotes, as its own Parquet.

    <folder>/data/order_book_delta/BTCUSDT.BINANCE/2026-11-20T00-00-00-000001000Z_2026-11-20T23-59-59-999999000Z.parquet

Prices and sizes are integers of 128 bits, little endian, of units of 1e-16, as builds of high precision have them
(all wheels for Linux and macOS). How many decimals they have stands in the metadata at the end of the file, since it
is known only then: those of the instrument, where its listing is known, as a backtest takes no others. `ts_init` is
the local time, `ts_event` the exchange's, both in ns. Source: nautilus_trader 1.221, whose catalog reads them in a
test where it is installed.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, NamedTuple, cast

from workers.archive.files import parquet
from workers.errors import CommandError
from workers.model.symbols.info import SymbolInfo
from workers.recordings.tardis.books import BookMessage
from workers.recordings.tardis.rows import Row

NautilusKind = Literal["depth", "trades", "quotes"]
INSTRUMENT: Final = re.compile(r"[^\s.][^\s]*\.[^\s./\\]+")
"""An id there: a symbol and, behind the last point, a venue."""
KINDS: Final = ("depth", "trades", "quotes")
FOLDERS: Final[dict[str, str]] = {
    "depth": "order_book_delta",
    "trades": "trade_tick",
    "quotes": "quote_tick",
    "CurrencyPair": "currency_pair",
    "CryptoPerpetual": "crypto_perpetual",
}
"""By kind, the folder of the catalog."""
_CONTRACTS: Final[dict[str, Literal["CurrencyPair", "CryptoPerpetual"]]] = {
    **dict.fromkeys(("spot", "all", "advanced", "exchange"), "CurrencyPair"),
    **dict.fromkeys(("usdm", "linear"), "CryptoPerpetual"),
}
"""By market of the settings."""
DECIMALS: Final = 16
ROWS: Final = 50_000
"""Of a row group."""
_ADD, _UPDATE, _DELETE, _CLEAR = 1, 2, 3, 4
_SIDES: Final = {"bids": 1, "asks": 2}
_AGGRESSORS: Final = {"buy": 1, "sell": 2}
_LAST, _SNAPSHOT = 128, 32
_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "depth": ("action", "side", "price", "size", "order_id", "flags", "sequence", "ts_event", "ts_init"),
    "trades": ("price", "size", "aggressor_side", "trade_id", "ts_event", "ts_init"),
    "quotes": ("bid_price", "ask_price", "bid_size", "ask_size", "ts_event", "ts_init"),
}
_SMALL: Final = frozenset({"action", "side", "flags", "aggressor_side"})
_ZERO: Final = bytes(16)


def _time_name(ns: int) -> str:
    seconds, rest = divmod(ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H-%M-%S}-{rest:09}Z"


class Contract(NamedTuple):
    """What is traded, as far as its listing tells: no fees, no margins, no least amounts."""

    kind: Literal["CurrencyPair", "CryptoPerpetual"]
    symbol: str
    base: str
    quote: str
    tick: str
    step: str

    @property
    def precision(self) -> tuple[int, int]:
        """Decimals of prices and of sizes."""
        return _decimals(self.tick), _decimals(self.step)


def contract_of(market: str, info: SymbolInfo) -> Contract | None:
    """The contract of a listed symbol whose amounts are of its base currency; None for what is none of these.

    Dated contracts need a date of expiry, inverse ones and OKX's the size of a contract: listings here have neither.
    """
    name = "".join(mark for mark in info.symbol if mark not in "-_./:")
    if name != info.base_asset + info.quote_asset or market not in _CONTRACTS:
        return None
    tick, step = info.tick_size, info.step_size
    if not all(_is_step(text) for text in (tick, step)):
        return None
    return Contract(
        _CONTRACTS[market], info.symbol, info.base_asset, info.quote_asset, _plain(tick), _plain(step)
    )


def write_instrument(catalog: Path, instrument: str, contract: Contract) -> Path:
    """Write an instrument into a catalog, in place of what was there. Raises: OSError."""
    import pyarrow as pa  # noqa: PLC0415 -- an extra

    is_perpetual = contract.kind == "CryptoPerpetual"
    name = pa.dictionary(pa.int16(), pa.string())
    unknown = ("max_quantity", "min_quantity", "max_notional", "min_notional", "max_price", "min_price")
    columns: list[tuple[str, Any, Any]] = [
        ("id", pa.dictionary(pa.int64(), pa.string()), instrument),
        ("raw_symbol", pa.string(), contract.symbol),
        ("base_currency", name, contract.base),
        ("quote_currency", name, contract.quote),
        *(
            [("settlement_currency", name, contract.quote), ("is_inverse", pa.bool_(), False)]
            if is_perpetual
            else []
        ),
        ("price_precision", pa.uint8(), _decimals(contract.tick)),
        ("size_precision", pa.uint8(), _decimals(contract.step)),
        ("price_increment", name, contract.tick),
        ("size_increment", name, contract.step),
        ("multiplier", name, "1"),
        *([] if is_perpetual else [("lot_size", name, contract.step)]),
        *((column, name, None) for column in unknown),
        *((column, pa.string(), "0") for column in ("margin_init", "margin_maint", "maker_fee", "taker_fee")),
        ("info", pa.binary(), b"null"),
        ("ts_event", pa.uint64(), 0),
        ("ts_init", pa.uint64(), 0),
    ]
    schema = pa.schema([(column, kind) for column, kind, _ in columns], metadata={"class": contract.kind})
    table = pa.Table.from_arrays([pa.array([value], kind) for _, kind, value in columns], schema=schema)
    folder = catalog / "data" / FOLDERS[contract.kind] / instrument.replace("/", "")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{_time_name(0)}_{_time_name(0)}.parquet"
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        writer = parquet.PlainParquet(file, schema)
        writer.table(table)
        writer.close()
    os.replace(part, path)
    return path


def _is_step(text: str) -> bool:
    whole, _, rest = text.partition(".")
    digits = whole + rest
    return digits.isascii() and digits.isdigit() and bool(int(digits)) and len(rest.rstrip("0")) <= DECIMALS


def _plain(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def _decimals(step: str) -> int:
    return len(step.partition(".")[2])


class CatalogFile:
    """One file of a catalog, which appears whole or not at all. Memory: a row group.

    Args:
        instrument: the id it has in NautilusTrader, such as `BTCUSDT.BINANCE`.
        contract: whose decimals the numbers have at least.
    """

    def __init__(
        self, catalog: Path, kind: NautilusKind, instrument: str, contract: Contract | None = None
    ) -> None:
        import pyarrow as pa  # noqa: PLC0415 -- an extra

        self._kind = kind
        self._folder = catalog / "data" / FOLDERS[kind] / instrument.replace("/", "")
        self._instrument = instrument
        fixed, count = pa.binary(16), pa.uint64()
        self._schema = pa.schema(
            [
                pa.field(name, _type_of(name, pa.uint8(), pa.string(), count, fixed), nullable=False)
                for name in _NAMES[kind]
            ]
        )
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.NamedTemporaryFile(dir=self._folder, prefix=".part-", delete=False)  # noqa: SIM115 -- closed by `close`
        self._writer = parquet.PlainParquet(cast(BinaryIO, self._file), self._schema)
        self._waiting: list[tuple[Any, ...]] = []
        self._first = self._last = 0
        self._decimals = {"price": 0, "size": 0}
        if contract is not None:
            self._decimals = dict(zip(("price", "size"), contract.precision, strict=True))
        self.count = 0
        """Rows taken."""

    def book(self, message: BookMessage) -> None:
        """The deltas of a message; the last one says so."""
        times = message.timestamp * 1000, message.local_timestamp * 1000
        whole = _SNAPSHOT if message.is_snapshot else 0
        rows: list[tuple[Any, ...]] = []
        if whole:
            rows.append((_CLEAR, 0, _ZERO, _ZERO, 0, whole, 0, *times))
        for side, levels in (("bids", message.bids), ("asks", message.asks)):
            for price, amount in levels:
                size = self._units(amount, "size")
                action = _ADD if whole else _UPDATE if size != _ZERO else _DELETE
                rows.append((action, _SIDES[side], self._units(price, "price"), size, 0, whole, 0, *times))
        if rows:
            *others, last = rows
            self._take([*others, (*last[:5], last[5] | _LAST, *last[6:])])

    def trades(self, rows: Sequence[Row]) -> None:
        """Rows of `trades`."""
        self._take(
            [
                (
                    self._units(price, "price"), self._units(amount, "size"), _AGGRESSORS.get(side, 0),
                    str(name if name is not None else local), time * 1000, local * 1000,
                )
                for _, _, time, local, name, side, price, amount in rows
            ]
        )  # fmt: skip

    def quotes(self, rows: Sequence[Row]) -> None:
        """Rows of `quotes`; NautilusTrader has none where a side is empty."""
        self._take(
            [
                (
                    self._units(bid, "price"), self._units(ask, "price"), self._units(bid_size, "size"),
                    self._units(ask_size, "size"), time * 1000, local * 1000,
                )
                for _, _, time, local, ask_size, ask, bid, bid_size in rows
                if ask is not None and bid is not None
            ]
        )  # fmt: skip

    def _units(self, text: str, what: str) -> bytes:
        """A number in units of 1e-16. Raises: CommandError."""
        whole, _, rest = text.partition(".")
        rest = rest.rstrip("0")
        if len(rest) > DECIMALS:
            raise CommandError(f"{what} {text} has more decimals than NautilusTrader's {DECIMALS}.")
        self._decimals[what] = max(self._decimals[what], len(rest))
        return int(whole + rest.ljust(DECIMALS, "0")).to_bytes(16, "little", signed=True)

    def _take(self, rows: list[tuple[Any, ...]]) -> None:
        if not rows:
            return
        self._first = self._first or rows[0][-1]
        self._last = rows[-1][-1]
        self.count += len(rows)
        self._waiting += rows
        if len(self._waiting) >= ROWS:
            self._write()

    def _write(self) -> None:
        import pyarrow as pa  # noqa: PLC0415 -- an extra

        columns = zip(*self._waiting, strict=True)
        arrays = [pa.array(values, field.type) for field, values in zip(self._schema, columns, strict=True)]
        self._waiting = []
        self._writer.table(pa.Table.from_arrays(arrays, schema=self._schema))

    def close(self) -> Path | None:
        """Write the end, and put the file in its place; None: there was nothing.

        Raises:
            OSError: it cannot be written.
            CommandError: another file has some of the same time: whoever reads both would have its rows twice.
        """
        if self._waiting:
            self._write()
        self._writer.metadata(
            {
                "instrument_id": self._instrument,
                "price_precision": str(self._decimals["price"]),
                "size_precision": str(self._decimals["size"]),
            }
        )
        self._writer.close()
        self._file.close()
        if not self.count:
            os.unlink(self._file.name)
            return None
        first, last = _time_name(self._first), _time_name(self._last)
        path = self._folder / f"{first}_{last}.parquet"
        for other in self._folder.glob("*_*.parquet"):
            begins, ends = other.stem.split("_", 1)
            if other != path and begins <= last and first <= ends:
                os.unlink(self._file.name)
                raise CommandError(
                    f"{other} has some of the same time: take it away, or export another stretch."
                )
        os.chmod(self._file.name, 0o644)
        os.replace(self._file.name, path)
        return path

    @property
    def precision(self) -> tuple[int, int]:
        """Decimals of prices and of sizes."""
        return self._decimals["price"], self._decimals["size"]

    def discard(self) -> None:
        """Something went wrong: leave nothing behind."""
        with suppress(OSError):  # of a full disk: there is no room for the end either
            self._writer.close()
        with suppress(OSError):
            self._file.close()
        Path(self._file.name).unlink(missing_ok=True)


def _type_of(name: str, small: Any, text: Any, count: Any, fixed: Any) -> Any:
    if name in _SMALL:
        return small
    if name == "trade_id":
        return text
    return fixed if name.endswith(("price", "size")) else count
