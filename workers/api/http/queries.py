"""What a request may ask: one struct per kind of question, and the way from text into it.

Times come in seconds or milliseconds: from 1e11 on a number is milliseconds (1e11 seconds is the year 5138, 1e11 ms
is 1973).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from workers.api.http.faults import fault_of
from workers.api.http.types import PriceText
from workers.errors import BadInput, BadNumber
from workers.model.books.order_book import price_key
from workers.model.trades.windows import Interval

MILLISECONDS_FROM = 1e11

Time = Annotated[float, Meta(ge=0, le=1e14, description="Seconds since 1970, or ms: from 1e11 on it is ms.")]
DEFAULT_ROWS = 500
Rows = Annotated[int, Meta(ge=1, le=5000, description="Default: 500; the most is `api.most_rows`.")]
Depth = Annotated[int, Meta(ge=1, le=5000, description="Levels of each side; without it every known level.")]
Price = PriceText


class Nothing(Struct, forbid_unknown_fields=True, kw_only=True):
    """No parameters."""


class AsNumbers(Struct, forbid_unknown_fields=True, kw_only=True):
    """How numbers are wanted."""

    numbers: Annotated[bool, Meta(description="Prices and quantities as JSON numbers instead of text.")] = (
        False
    )


class OfSymbol(AsNumbers, forbid_unknown_fields=True, kw_only=True):
    """Which symbol; by default the default symbol of the first venue."""

    symbol: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=40,
                description="`BTCUSDT` or `spot:BTCUSDT`, in capitals or not. Default: `api.default_symbol`, or the "
                "venue's first.",
            ),
        ]
        | UnsetType
    ) = UNSET
    venue: (
        Annotated[
            str,
            Meta(min_length=1, max_length=40, description="A section of the settings; default: the first."),
        ]
        | UnsetType
    ) = UNSET


class BookQuery(OfSymbol, forbid_unknown_fields=True, kw_only=True):
    """A book, to some depth."""

    depth: Depth | UnsetType = UNSET


class NearestQuery(OfSymbol, forbid_unknown_fields=True, kw_only=True):
    """The level nearest to a price."""

    price: Price


class TradesQuery(OfSymbol, forbid_unknown_fields=True, kw_only=True):
    """A page of trades: the newest (before a time), or those from a time or after an id on."""

    from_: Time | UnsetType = msgspec.field(default=UNSET, name="from")
    to: Time | UnsetType = UNSET
    after_id: Annotated[int, Meta(ge=-1, le=2**63 - 1)] | UnsetType = UNSET
    limit: Rows | UnsetType = UNSET


class BarsQuery(OfSymbol, forbid_unknown_fields=True, kw_only=True):
    """Windows of one interval: the newest (before a time), or those of a range of start times."""

    interval: Interval
    from_: Time | UnsetType = msgspec.field(default=UNSET, name="from")
    to: Time | UnsetType = UNSET
    limit: Rows | UnsetType = UNSET
    format: Annotated[
        Literal["records", "klines"],
        Meta(description="`klines`: the array of arrays that Binance's REST gives."),
    ] = "records"


class NewestQuery(OfSymbol, forbid_unknown_fields=True, kw_only=True):
    """The newest entries of a kind."""

    limit: Rows | UnsetType = UNSET


class OrdersQuery(OfSymbol, forbid_unknown_fields=True, kw_only=True):
    """The best levels of single orders."""

    depth: (
        Annotated[int, Meta(ge=1, le=1000, description="Levels of each side. Default: 10.")] | UnsetType
    ) = UNSET
    first: (
        Annotated[int, Meta(ge=0, le=1000, description="Orders of each queue, from its head. Default: 20.")]
        | UnsetType
    ) = UNSET


class OrderQuery(OfSymbol, forbid_unknown_fields=True, kw_only=True):
    """One order."""

    id: Annotated[str, Meta(min_length=1, max_length=64, description="The exchange's id of the order.")]


class AnalyticsQuery(OfSymbol, forbid_unknown_fields=True, kw_only=True):
    """The figures, and so many of the newest events."""

    events: (
        Annotated[int, Meta(ge=0, le=5000, description="Default: none; the most is `api.most_rows`.")]
        | UnsetType
    ) = UNSET


class AlertsQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    """The open alerts, and the newest entries of what became of alerts."""

    limit: Rows | UnsetType = UNSET


class HistoryBookQuery(BookQuery, forbid_unknown_fields=True, kw_only=True):
    """A book at a second."""

    at: Time


class HistoryQuantityQuery(OfSymbol, forbid_unknown_fields=True, kw_only=True):
    """The quantity at a price, second by second."""

    price: Price
    from_: Time = msgspec.field(name="from")
    to: Time


Asked = TypeVar("Asked", bound=Struct)


def parse_query(pairs: Iterable[tuple[str, str]], path: Mapping[str, str], kind: type[Asked]) -> Asked:
    """The parameters of a request as a typed question.

    Raises:
        BadInput: one is unknown, given twice, of the wrong type or out of range; it names the place.
    """
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise BadInput(f"{name} is given twice", "give it once", f"query.{name}")
        found[name] = value
    for name, value in path.items():
        if name in found:
            raise BadInput(f"{name} belongs into the path", "leave it out of the query", f"query.{name}")
        found[name] = value
    try:
        return msgspec.convert(found, kind, strict=False)
    except msgspec.ValidationError as error:
        fault = fault_of(found, kind, error, strict=False)
        raise fault.refusal("path" if fault.name in path else "query") from None


def parse_body(body: bytes, kind: type[Asked]) -> Asked:
    """A JSON body as a typed question. Raises: BadInput."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise fault_of(_values(body), kind, error, strict=True).refusal("body") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadInput("The body is no JSON", str(error), "body") from None


def _values(data: str | bytes) -> Any:
    """What JSON holds that was refused for its types; None where it cannot be read to its end."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def parse_message(
    data: str | bytes, kinds: Mapping[str, type[Struct]], decode: Callable[[Any], Asked]
) -> Asked:
    """A frame of a live client as a typed request.

    Args:
        kinds: the structs that `decode` knows, by their tag, the field `op`.

    Raises:
        BadInput: it is no JSON or no such request.
    """
    try:
        return decode(data)
    except msgspec.ValidationError as error:
        values = _values(data)
        if isinstance(values, dict) and not (isinstance(op := values.get("op"), str) and op in kinds):
            problem = f"Expected one of {', '.join(kinds)}; docs/api.md says what they do"
            raise BadInput("A parameter cannot be used", problem, "message.op") from None
        kind = kinds[values["op"]] if isinstance(values, dict) else Nothing
        raise fault_of(values, kind, error, strict=True).refusal("message") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadInput("The message is no JSON", str(error), "message") from None


def to_ms(time: float) -> int:
    """A time in seconds or milliseconds as milliseconds."""
    return int(time) if time >= MILLISECONDS_FROM else round(time * 1000)


def to_second(time: float) -> int:
    """A time in seconds or milliseconds as the second it lies in."""
    return to_ms(time) // 1000


def rows(limit: int | UnsetType, most: int, name: str = "limit") -> int:
    """How many rows the parameter of that name wants. Raises: BadInput, for more than `most`."""
    if isinstance(limit, UnsetType):
        return min(DEFAULT_ROWS, most)
    if limit > most:
        raise BadInput(f"{name} is too large", f"at most {most}", f"query.{name}")
    return limit


def price_text(price: str | float, where: str) -> str:
    """A price as plain decimal text. Raises: BadInput."""
    text = price if isinstance(price, str) else format(Decimal(f"{price:.15g}"), "f")
    try:
        price_key(text)
    except BadNumber as error:
        raise BadInput("The price cannot be used", str(error), where) from None
    return text


def number(text: str, numbers: bool) -> Any:
    """A price or quantity as the client wants it."""
    return float(text) if numbers else text
