"""The numbers of price levels: text as the exchange sent it, checked, and made keys to order and find levels by."""

from __future__ import annotations

import re
from itertools import chain

import msgspec

from workers.errors import BadNumber
from workers.model.events import Level

Numbers = tuple[list[float], list[float]]
"""Of levels: the sort key of each, minus the price of an ask, and a number that is 0 where its quantity is."""
LONGEST_NUMBER = 40
"""Characters of the longest number accepted; Binance's longest has 20 (its quantity cap)."""

_DECIMAL = re.compile(r"(?=\.?[0-9])[0-9]*\.?[0-9]*")
_ZERO = re.compile(r"[+-]?(?=\.?0)0*\.?0*(?:[eE][+-]?[0-9]+)?")
_SHAPE = bytes(ord("0" if byte in b"0123456789." else "," if byte in b",-" else "x") for byte in range(256))
_SIXTEEN = b"0" * 16
_decode_numbers = msgspec.json.Decoder(list[float]).decode


def price_key(text: str) -> float:
    """The number by which a price is ordered and found, or BadNumber.

    A decimal of at most 15 significant digits survives the way to a double and back (`DBL_DIG` of IEEE 754),
    so two such prices are equal as doubles only if they are equal as decimals, and rounding keeps their
    order: the double is an exact key, and `"1.0"` and `"1.00"` are one level. Zeros before the first and
    after the last other digit are not significant. More digits, signs, exponents, zero and everything else
    are refused.
    """
    plain = len(text) <= LONGEST_NUMBER and _DECIMAL.fullmatch(text)
    if plain and 1 <= len(text.replace(".", "").strip("0")) <= 15:
        return float(text)
    raise BadNumber(text, "price")


def quantity_value(text: str) -> float:
    """A quantity as a double, to compare with zero, or BadNumber. Any spelling of zero is 0.0."""
    if len(text) <= LONGEST_NUMBER:
        if _DECIMAL.fullmatch(text):
            return float(text)
        if _ZERO.fullmatch(text):
            return 0.0
    raise BadNumber(text, "quantity")


def parse_changes(bids: list[Level], asks: list[Level]) -> Numbers:
    """The sort keys of `bids`, then of `asks` (minus the price), and numbers that are 0 where a quantity is.

    One JSON decode of all numbers costs half of a `float()` for each, and refuses nan, inf and underscores by
    itself. Whatever is unusual (a sign, an exponent, more than 15 characters) is looked at one by one. O(n).
    Raises BadNumber if a single one is unusable.
    """
    bid_text = ",".join(chain.from_iterable(bids))
    ask_text = ",-".join(chain.from_iterable(asks))
    text = f"{bid_text},-{ask_text}" if bids and asks else f"-{ask_text}" if asks else bid_text
    joined = text.encode("utf-8", "replace")
    shape = joined.translate(_SHAPE)
    if b"x" not in shape and _SIXTEEN not in shape and "-" not in bid_text:
        try:
            numbers = _decode_numbers(b"[" + joined + b"]")
        except msgspec.DecodeError:
            numbers = []
        keys = numbers[::2]
        if len(numbers) == 2 * (len(bids) + len(asks)) and all(keys):
            return keys, numbers[1::2]
    keys = [price_key(price) for price, _ in bids] + [-price_key(price) for price, _ in asks]
    return keys, [quantity_value(quantity) for _, quantity in chain(bids, asks)]
