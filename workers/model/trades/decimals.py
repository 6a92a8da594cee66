"""Exact decimals as integers: price and quantity text in, sums out as plain decimal text.

A price or quantity is counted in units of 1e-8, a product of the two in units of 1e-16; where a market has finer
numbers, in units of 1e-18 and 1e-36. Python's integers have no limit; Lua has doubles only and cuts them into limbs of
15 decimal digits (see `lua/include/exact_sums.lua`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from workers.errors import BadNumber

PRICE_DIGITS: Final = 15
"""Significant digits of a price: as many as a double orders exactly, which is how Lua compares prices."""
PRICE_LIMIT: Final = 10**15
"""Prices are below this."""
QUANTITY_LIMIT: Final = 10**16
"""Quantities are below this: at 1e-10 dollars, as AIDOGE-USDT of OKX, 1e12 are a hundred."""

_MOST_DIGITS: Final = 40
_CACHED_TEXTS: Final = 1 << 16


class Scale:
    """Numbers with so many decimals, as integers; a product of a price and a quantity has twice as many.

    Args:
        digits: the decimals.
    """

    def __init__(self, digits: int) -> None:
        self.digits = digits
        self.price_units = lru_cache(_CACHED_TEXTS)(self._price_units)
        """A price in units of 10^-digits.

        Raises:
            BadNumber: not a plain non-negative decimal, too many decimals, more than 15 significant digits, or not
                below 1e15.
        """
        self.quantity_units = lru_cache(_CACHED_TEXTS)(self._quantity_units)
        """A quantity in units of 10^-digits.

        Raises:
            BadNumber: not a plain non-negative decimal, too many decimals, or not below 1e16.
        """
        self._price_limit = PRICE_LIMIT * 10**digits
        self._quantity_limit = QUANTITY_LIMIT * 10**digits

    def _units(self, text: str, place: str) -> int:
        whole, _, fraction = text.partition(".")
        digits = whole + fraction
        if not (digits.isascii() and digits.isdigit()) or len(digits) > _MOST_DIGITS:
            raise BadNumber(text, place)
        if fraction[self.digits :].strip("0"):
            raise BadNumber(text, place)
        return int((whole + fraction[: self.digits]).ljust(len(whole) + self.digits, "0"))

    def _price_units(self, text: str) -> int:
        units = self._units(text, "price")
        if units >= 10**PRICE_DIGITS and len(str(units).rstrip("0")) > PRICE_DIGITS:
            raise BadNumber(text, "price")
        if units >= self._price_limit:
            raise BadNumber(text, "price")
        return units

    def _quantity_units(self, text: str) -> int:
        units = self._units(text, "quantity")
        if units >= self._quantity_limit:
            raise BadNumber(text, "quantity")
        return units

    def plain_quantity(self, units: int) -> str:
        """Canonical text of a number of 10^-digits: no exponent, no trailing zeros, no bare point."""
        return _plain(units, self.digits)

    def plain_product(self, units: int) -> str:
        """Canonical text of a number of 10^-2 digits: no exponent, no trailing zeros, no bare point."""
        return _plain(units, 2 * self.digits)


def _plain(units: int, places: int) -> str:
    whole, fraction = divmod(units, 10**places)
    return f"{whole}.{fraction:0{places}d}".rstrip("0") if fraction else str(whole)


COARSE: Final = Scale(8)
"""What nearly all markets need, and what doubles in Lua add up fastest."""
FINE: Final = Scale(18)
"""What the others need: ELON-USDT is traded at 0.00000074408."""


def is_fine(text: str) -> bool:
    """Whether a number of the fine scale is none of the coarse one."""
    _, _, fraction = text.partition(".")
    return bool(fraction[COARSE.digits :].strip("0"))
