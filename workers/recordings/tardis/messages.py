"""The messages of tardis-machine, and each as its JSON. No I/O.

Prices and amounts are JSON numbers with the exchange's digits, without zeros at their end; times are ISO UTC, with six
digits of the second where µs are known and three elsewhere. What is not known is absent.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from workers.model.events import Level
from workers.recordings.tardis.books import BookMessage
from workers.recordings.tardis.data_types import MessageType, SnapshotType
from workers.recordings.tardis.normalised import iso_us

Shown = tuple[str, str] | None
"""A level; None: there is none so deep."""
_text: Final = msgspec.json.Encoder().encode


class Trade(NamedTuple):
    """A trade; times in µs since 1970, as everywhere here."""

    symbol: str
    name: str | None
    """Its id."""
    price: str
    amount: str
    side: str
    """Of who took: `buy`, `sell` or `unknown`."""
    timestamp: int
    local_timestamp: int
    type: MessageType = "trade"


class BookChange(NamedTuple):
    """A whole book, or absolute amounts by price of which 0 deletes."""

    symbol: str
    book: BookMessage
    type: MessageType = "book_change"

    @property
    def timestamp(self) -> int:
        """The exchange's."""
        return self.book.timestamp

    @property
    def local_timestamp(self) -> int:
        """When it came."""
        return self.book.local_timestamp


class BookSnapshot(NamedTuple):
    """The best levels of a book, best first."""

    symbol: str
    of: SnapshotType
    bids: tuple[Shown, ...]
    asks: tuple[Shown, ...]
    timestamp: int
    local_timestamp: int
    type: MessageType = "book_snapshot"


class TradeBar(NamedTuple):
    """Trades put together. Numbers are doubles, as tardis-machine reckons."""

    symbol: str
    name: str
    interval: float
    kind: str
    open: float
    high: float
    low: float
    close: float
    volume: float
    buy_volume: float
    sell_volume: float
    trades: int
    vwap: float
    open_timestamp: int
    close_timestamp: int
    timestamp: int
    local_timestamp: int
    type: MessageType = "trade_bar"


class DerivativeTicker(NamedTuple):
    """What is known of a contract besides its book; None: it is not."""

    symbol: str
    last_price: str | None
    open_interest: str | None
    funding_rate: str | None
    funding_timestamp: int | None
    predicted_funding_rate: str | None
    index_price: str | None
    mark_price: str | None
    timestamp: int
    local_timestamp: int
    type: MessageType = "derivative_ticker"


class Liquidation(NamedTuple):
    """A position was closed by force: `buy` a short one, `sell` a long one."""

    symbol: str
    name: str | None
    price: str
    amount: str
    side: str
    timestamp: int
    local_timestamp: int
    type: MessageType = "liquidation"


class BookTicker(NamedTuple):
    """The best levels as the exchange says them apart from its book."""

    symbol: str
    bid: Level
    ask: Level
    timestamp: int
    local_timestamp: int
    type: MessageType = "book_ticker"


class Disconnect(NamedTuple):
    """Messages are missing after `local_timestamp`: a book is void until its next whole one."""

    symbol: str
    local_timestamp: int
    type: str = "disconnect"


class Trouble(NamedTuple):
    """Something failed; the stream goes on."""

    details: str
    failures: int
    """How often in a row."""
    local_timestamp: int
    type: str = "error"


Message = (
    Trade
    | BookChange
    | BookSnapshot
    | TradeBar
    | DerivativeTicker
    | Liquidation
    | BookTicker
    | Disconnect
    | Trouble
)


def encode(exchange: str, message: Message) -> str:
    """A message as JSON."""
    return f'{{"type":"{message.type}",{_BODIES[type(message)](exchange, message)}}}'


def number(text: str) -> str:
    """The shortest text of the same decimal number: `0.10` is `0.1`, `7.00` is `7`."""
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text


def double(value: float) -> str:
    """A double as JavaScript prints it, but for its exponents."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def iso(time_us: int) -> str:
    """`2019-10-23T11:29:53.469Z`, or with µs where there are any."""
    text = iso_us(time_us)
    return text if time_us % 1_000 else f"{text[:-4]}Z"


def _quoted(text: str) -> str:
    return _text(text).decode()


def _names(exchange: str, symbol: str) -> str:
    return f'"symbol":{_quoted(symbol)},"exchange":{_quoted(exchange)}'


def _times(message: Any) -> str:
    return f'"timestamp":"{iso(message.timestamp)}","localTimestamp":"{iso(message.local_timestamp)}"'


def _levels(levels: list[Level]) -> str:
    return ",".join([f'{{"price":{number(price)},"amount":{number(amount)}}}' for price, amount in levels])


def _shown(levels: tuple[Shown, ...]) -> str:
    return ",".join(["{}" if one is None else f'{{"price":{one[0]},"amount":{one[1]}}}' for one in levels])


def _trade(exchange: str, message: Trade | Liquidation) -> str:
    name = "" if message.name is None else f'"id":{_quoted(message.name)},'
    numbers = f'"price":{number(message.price)},"amount":{number(message.amount)},"side":"{message.side}"'
    return f"{_names(exchange, message.symbol)},{name}{numbers},{_times(message)}"


def _change(exchange: str, message: BookChange) -> str:
    book = message.book
    whole = "true" if book.is_snapshot else "false"
    sides = f'"bids":[{_levels(book.bids)}],"asks":[{_levels(book.asks)}]'
    return f'{_names(exchange, message.symbol)},"isSnapshot":{whole},{sides},{_times(message)}'


def _snapshot(exchange: str, message: BookSnapshot) -> str:
    of = message.of
    grouping = "" if of.grouping is None else f'"grouping":{number(f"{of.grouping:f}")},'
    head = f'"name":{_quoted(of.name)},"depth":{of.depth},"interval":{of.interval_ms},{grouping}'
    sides = f'"bids":[{_shown(message.bids)}],"asks":[{_shown(message.asks)}]'
    return f"{_names(exchange, message.symbol)},{head}{sides},{_times(message)}"


def _bar(exchange: str, message: TradeBar) -> str:
    numbers = {
        "open": message.open, "high": message.high, "low": message.low, "close": message.close,
        "volume": message.volume, "buyVolume": message.buy_volume, "sellVolume": message.sell_volume,
        "trades": float(message.trades), "vwap": message.vwap,
    }  # fmt: skip
    told = ",".join(f'"{name}":{double(value)}' for name, value in numbers.items())
    head = f'"name":{_quoted(message.name)},"interval":{double(message.interval)},"kind":"{message.kind}"'
    ends = (
        f'"openTimestamp":"{iso(message.open_timestamp)}","closeTimestamp":"{iso(message.close_timestamp)}"'
    )
    return f"{_names(exchange, message.symbol)},{head},{told},{ends},{_times(message)}"


def _ticker(exchange: str, message: DerivativeTicker) -> str:
    numbers = {
        "lastPrice": message.last_price, "openInterest": message.open_interest, "fundingRate": message.funding_rate,
        "predictedFundingRate": message.predicted_funding_rate, "indexPrice": message.index_price,
        "markPrice": message.mark_price,
    }  # fmt: skip
    told = [f'"{name}":{number(value)}' for name, value in numbers.items() if value is not None]
    if message.funding_timestamp is not None:
        told.append(f'"fundingTimestamp":"{iso(message.funding_timestamp)}"')
    return ",".join([_names(exchange, message.symbol), *told, _times(message)])


def _book_ticker(exchange: str, message: BookTicker) -> str:
    (bid, bid_amount), (ask, ask_amount) = message.bid, message.ask
    numbers = {"askAmount": ask_amount, "askPrice": ask, "bidPrice": bid, "bidAmount": bid_amount}
    told = [f'"{name}":{number(value)}' for name, value in numbers.items()]
    return ",".join([_names(exchange, message.symbol), *told, _times(message)])


def _disconnect(exchange: str, message: Disconnect) -> str:
    symbols = f'"symbols":[{_quoted(message.symbol)}],' if message.symbol else ""
    return f'"exchange":{_quoted(exchange)},{symbols}"localTimestamp":"{iso(message.local_timestamp)}"'


def _trouble(exchange: str, message: Trouble) -> str:
    said = f'"details":{_quoted(message.details)},"subSequentErrorsCount":{message.failures}'
    return f'"exchange":{_quoted(exchange)},"localTimestamp":"{iso(message.local_timestamp)}",{said}'


_BODIES: Final[dict[Any, Any]] = {
    Trade: _trade,
    Liquidation: _trade,
    BookChange: _change,
    BookSnapshot: _snapshot,
    TradeBar: _bar,
    DerivativeTicker: _ticker,
    BookTicker: _book_ticker,
    Disconnect: _disconnect,
    Trouble: _trouble,
}
