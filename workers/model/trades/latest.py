"""The members of the latest set `trades:{S}:latest`: one trade each, as JSON or packed. The score is the trade time.

A packed member is seven integers in decimal, with a blank between them:

    54346948439 845544 -54 108693021886 0 27 1130

1. aggregate id (with `trades = "trade"`: raw id; where the venue's ids are not consecutive: the log's number)
2. price without its point
3. quantity without its point; negative when the buyer was the maker
4. first raw trade id; -1: a raw trade, whose id is the first field
5. last raw trade id minus the first
6. event time minus trade time, ms
7. four digits: decimals of the price, zeros that the exchange wrote after them, the same two of the quantity

and, where the venue's ids are not consecutive, an eighth: the venue's id as text.

So `845544` with `11` is the text `84554.40`, and `54` with `30` is `0.054`: the exchange's own text comes back. A trade
whose texts this cannot give back exactly (a leading zero, a quantity of zero, more than nine decimals) stands in the
set as JSON, and so may trades written before the setting was changed: JSON begins with `{`, a packed member never.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final, Literal

import msgspec

from workers.errors import StateUnreadable
from workers.model.events import Trade

EventType = Literal["aggTrade", "trade"]
Member = Literal["json", "packed"]
"""How trades stand in the latest set."""

_CACHED_TEXTS: Final = 1 << 16
_RAW: Final = "-1"
_MOST_DECIMALS: Final = 9


class LatestTrade(msgspec.Struct, gc=False, omit_defaults=True):
    """A trade of `trades:{S}:latest`; as JSON it has its keys in this order, without the last where that is empty."""

    event_type: EventType
    event_time: int
    symbol: str
    agg_trade_id: int
    price: str
    quantity: str
    first_trade_id: int
    last_trade_id: int
    trade_time: int
    is_buyer_maker: bool
    venue_trade_id: str = ""
    """The venue's own id where ids are not consecutive: `agg_trade_id` is then the log's number."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(LatestTrade).decode


def json_member(trade: Trade, event_type: EventType) -> bytes:
    """The trade as JSON."""
    return _encode(
        LatestTrade(
            event_type,
            trade.event_time,
            trade.symbol,
            trade.trade_id,
            trade.price,
            trade.quantity,
            trade.first_trade_id,
            trade.last_trade_id,
            trade.trade_time,
            trade.is_buyer_maker,
            trade.name,
        )
    )


def _text(digits: str, decimals: int, zeros: int) -> str:
    whole = digits.zfill(decimals + 1)
    if not decimals:
        return f"{whole}.{'0' * zeros}" if zeros else whole
    return f"{whole[:-decimals]}.{whole[-decimals:]}{'0' * zeros}"


@lru_cache(_CACHED_TEXTS)
def _number(text: str) -> tuple[str, str] | None:
    """(integer, its two digits of the last field) of a number's text; None when that would not give it back."""
    whole, _, fraction = text.partition(".")
    kept = fraction.rstrip("0")
    decimals, zeros = len(kept), len(fraction) - len(kept)
    digits = (whole + kept).lstrip("0")
    if not (digits.isascii() and digits.isdigit()) or max(decimals, zeros) > _MOST_DECIMALS:
        return None
    if _text(digits, decimals, zeros) != text:
        return None
    return digits, f"{decimals}{zeros}"


def packed_member(trade: Trade, event_type: EventType) -> bytes:
    """The trade packed, or as JSON where the packed form would not give its texts back."""
    price, quantity = _number(trade.price), _number(trade.quantity)
    if price is None or quantity is None:
        return json_member(trade, event_type)
    first = trade.first_trade_id
    if event_type == "trade":
        if not first == trade.last_trade_id == trade.trade_id:
            return json_member(trade, event_type)
        ids = f"{_RAW} 0"
    elif first < 0:
        return json_member(trade, event_type)
    else:
        ids = f"{first} {trade.last_trade_id - first}"
    sign = "-" if trade.is_buyer_maker else ""
    name = f" {trade.name}" if trade.name else ""
    return (
        f"{trade.trade_id} {price[0]} {sign}{quantity[0]} {ids} {trade.event_time - trade.trade_time}"
        f" {price[1]}{quantity[1]}{name}"
    ).encode()


MEMBERS: Final[dict[Member, Callable[[Trade, EventType], bytes]]] = {
    "json": json_member,
    "packed": packed_member,
}
"""How a trade becomes a member, by the name of the form."""


def decode_member(member: bytes, symbol: str, trade_time: int) -> LatestTrade:
    """A member of either form as a trade.

    Args:
        member: as it stands in the set.
        symbol: whose set it is.
        trade_time: its score, ms.

    Raises:
        StateUnreadable: it is neither.
    """
    try:
        if member.startswith(b"{"):
            return _decode(member)
        trade_id, price, quantity, first, more, delay, form, *name = member.decode().split(" ", 7)
        decimals, zeros, quantity_decimals, quantity_zeros = map(int, form)
        number = int(trade_id)
        first_id = number if first == _RAW else int(first)
        return LatestTrade(
            "trade" if first == _RAW else "aggTrade",
            trade_time + int(delay),
            symbol,
            number,
            _text(price, decimals, zeros),
            _text(quantity.removeprefix("-"), quantity_decimals, quantity_zeros),
            first_id,
            first_id + int(more),
            trade_time,
            quantity.startswith("-"),
            *name,
        )
    except (msgspec.MsgspecError, ValueError) as error:
        raise StateUnreadable(f"trades:{{{symbol}}}:latest", f"{member[:80]!r}: {error}") from error


def trade_of(row: LatestTrade) -> Trade:
    """A trade of the latest set as the venue sent it."""
    return Trade(
        row.symbol,
        row.agg_trade_id,
        row.price,
        row.quantity,
        row.first_trade_id,
        row.last_trade_id,
        row.trade_time,
        row.event_time,
        row.is_buyer_maker,
        name=row.venue_trade_id,
    )
