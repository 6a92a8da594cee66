"""Exact decimals as integers: price and quantity text in, sums out as plain decimal text.

A price or quantity is counted in units of 1e-8, a product of the two in units of 1e-16. Python's integers have no
limit; Lua has doubles only and cuts them into limbs of 15 decimal digits (see `lua/trades/apply_trades.lua`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from workers.errors import BadNumber

FRACTION_DIGITS: Final = 8
"""Decimals of a price or a quantity; a product has twice as many."""
PRICE_DIGITS: Final = 15
"""Significant digits of a price: as many as a double orders exactly, which is how Lua compares prices."""
QUANTITY_LIMIT: Final = 10**12
"""Quantities are below this."""

_CACHED_TEXTS = 1 << 16


def _units(text: str, place: str) -> int:
    whole, _, fraction = text.partition(".")
    digits = whole + fraction
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 40:
        raise BadNumber(text, place)
    if len(fraction) > FRACTION_DIGITS:
        if fraction[FRACTION_DIGITS:].strip("0"):
            raise BadNumber(text, place)
        digits = whole + fraction[:FRACTION_DIGITS]
        return int(digits)
    return int(digits.ljust(len(whole) + FRACTION_DIGITS, "0"))


@lru_cache(_CACHED_TEXTS)
def price_units(text: str) -> int:
    """A price in units of 1e-8.

    Raises:
        BadNumber: not a plain non-negative decimal, more than 8 decimals, or more than 15 significant digits.
    """
    units = _units(text, "price")
    if units >= 10**PRICE_DIGITS and len(str(units).rstrip("0")) > PRICE_DIGITS:
        raise BadNumber(text, "price")
    return units


@lru_cache(_CACHED_TEXTS)
def quantity_units(text: str) -> int:
    """A quantity in units of 1e-8.

    Raises:
        BadNumber: not a plain non-negative decimal, more than 8 decimals, or not below 1e12.
    """
    units = _units(text, "quantity")
    if units >= QUANTITY_LIMIT * 10**FRACTION_DIGITS:
        raise BadNumber(text, "quantity")
    return units


def plain_quantity(units: int) -> str:
    """Canonical text of a number of 1e-8: no exponent, no trailing zeros, no bare point."""
    whole, fraction = divmod(units, 10**8)
    return f"{whole}.{fraction:08d}".rstrip("0") if fraction else str(whole)


def plain_product(units: int) -> str:
    """Canonical text of a number of 1e-16: no exponent, no trailing zeros, no bare point."""
    whole, fraction = divmod(units, 10**16)
    return f"{whole}.{fraction:016d}".rstrip("0") if fraction else str(whole)
