"""Prices, quantities and sums: numbers that keep the digits they were written with."""

from __future__ import annotations

from decimal import Clamped, Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from typing import TYPE_CHECKING, Any, Final

EXACT: Final = Context(prec=400, traps=[InvalidOperation, DivisionByZero, Overflow, Inexact, Clamped])
"""Sums, differences and products of what an exchange sends have far fewer digits; what has more is refused."""


class Number(Decimal):
    """A decimal number with its own text, so that `"1.50"` stays `1.50` and no digit is lost.

    It compares, sorts and hashes as the number it is: `Number("1.0") == Number("1.00")`. Sums, differences and
    products with others, with `Decimal` and with `int` are exact Numbers; `/` gives a `Decimal` of 28 digits; a
    `float` or a text raises TypeError. `str` gives the text as the exchange wrote it, that of a result without
    an exponent.
    """

    __slots__ = ("_text",)

    if TYPE_CHECKING:  # the text stands in a slot, which mypy does not know of a class of C
        _text: str

    def __new__(cls, value: str | int | Decimal) -> Number:
        """From text, an int or a Decimal. Raises: ValueError for a text that is no number, TypeError for a float."""
        if isinstance(value, float):
            raise TypeError("a Number is made from its text, an int or a Decimal: a float has lost digits")
        try:
            made = super().__new__(cls, value)
        except InvalidOperation:
            raise ValueError(f"{value!r} is no decimal number") from None
        made._text = value if isinstance(value, str) else f"{Decimal(value):f}"
        return made

    @property
    def decimal(self) -> Decimal:
        """The exact value as a plain `Decimal`."""
        return Decimal(self)

    @property
    def float(self) -> float:
        """The nearest double."""
        return float(self._text)

    def __str__(self) -> str:
        """The text."""
        return self._text

    def __repr__(self) -> str:
        """As it is written in Python."""
        return f"Number({self._text!r})"

    def __format__(self, spec: str, _: Context | None = None, /) -> str:
        """The text without a format, or with one that only pads it; else as a `Decimal`."""
        if not spec:
            return self._text
        padded_only = spec[-1].isdigit() and "." not in spec and self.is_finite()
        return format(Decimal(self), f"{spec}f" if padded_only else spec)

    def __eq__(self, other: object) -> bool:
        """Whether the values are equal. Raises: TypeError for a text, which would never be."""
        if isinstance(other, str):
            raise TypeError(f"a Number is compared with {other!r}, which is text: compare str(number)")
        return Decimal.__eq__(self, other)

    __hash__ = Decimal.__hash__

    def __reduce__(self) -> tuple[type[Number], tuple[str]]:
        """For pickle and copies."""
        return type(self), (self._text,)

    def __copy__(self) -> Number:
        """Itself: it does not change."""
        return self

    def __deepcopy__(self, _: Any) -> Number:
        """Itself."""
        return self

    def __add__(self, other: Decimal | int) -> Number:
        """The exact sum."""
        return Number(EXACT.add(self, other)) if isinstance(other, Decimal | int) else NotImplemented

    def __sub__(self, other: Decimal | int) -> Number:
        """The exact difference."""
        return Number(EXACT.subtract(self, other)) if isinstance(other, Decimal | int) else NotImplemented

    def __rsub__(self, other: Decimal | int) -> Number:
        """The exact difference."""
        return Number(EXACT.subtract(other, self)) if isinstance(other, Decimal | int) else NotImplemented

    def __mul__(self, other: Decimal | int) -> Number:
        """The exact product."""
        return Number(EXACT.multiply(self, other)) if isinstance(other, Decimal | int) else NotImplemented

    __radd__ = __add__
    __rmul__ = __mul__

    def __neg__(self) -> Number:
        """Its negative."""
        return Number(self.copy_negate())

    def __pos__(self) -> Number:
        """Itself: nothing is rounded."""
        return self

    def __abs__(self) -> Number:
        """Without its sign."""
        return Number(self.copy_abs())
