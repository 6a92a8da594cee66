"""A `Number` is a number: it compares, sorts, hashes and adds as its Decimal does, exactly, or refuses."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.client import Number

TEXTS = st.decimals(
    allow_nan=False, allow_infinity=False, places=8, min_value=-(10**15), max_value=10**15
).map(lambda number: f"{number:f}")
WIDE = Context(prec=300)


def test_the_greater_one_is_the_greater_one() -> None:
    assert str(max(Number("9.5"), Number("10.1"))) == "10.1"
    assert [str(n) for n in sorted(map(Number, ["10.1", "9.5", "100"]))] == ["9.5", "10.1", "100"]
    assert Number("9.5") + Number("10.1") == Decimal("19.6")


@given(TEXTS, TEXTS)
def test_compares_and_reckons_like_its_decimal(one: str, other: str) -> None:
    a, b, x, y = Number(one), Number(other), Decimal(one), Decimal(other)
    assert (a < b, a <= b, a == b, a >= b, a > b) == (x < y, x <= y, x == y, x >= y, x > y)
    assert hash(a) == hash(x)
    exact = {"+": WIDE.add(x, y), "-": WIDE.subtract(x, y), "*": WIDE.multiply(x, y)}
    for left, right in ((a, b), (a, y), (x, b)):
        assert left + right == exact["+"]
        assert left - right == exact["-"]
        assert left * right == exact["*"]
        assert all(isinstance(made, Number) for made in (left + right, left - right, left * right))
    assert -a == -x
    assert abs(a) == abs(x)
    assert str(-a + a) == f"{WIDE.subtract(x, x):f}"


@given(st.lists(TEXTS, max_size=50))
def test_sums_are_exact(texts: list[str]) -> None:
    assert sum(map(Number, texts)) == sum(map(Fraction, texts))


@given(TEXTS)
def test_the_text_stays(text: str) -> None:
    number = Number(text)
    kept = [number, copy.copy(number), copy.deepcopy(number), pickle.loads(pickle.dumps(number))]
    assert {str(one) for one in kept} == {f"{one}" for one in kept} == {text}
    assert msgspec.json.encode(number, enc_hook=str).decode() == f'"{text}"'
    assert number.decimal == Decimal(text)
    assert type(number.decimal) is Decimal
    assert number.float == float(text)


def test_zeros_are_written_as_they_came() -> None:
    assert str(Number("0.00000000")) == "0.00000000"
    assert f"{Number('0.00000000'):>12}" == "  0.00000000"
    assert str(Number("0.00000000") + 0) == "0.00000000"
    assert f"{Number('1234.5'):,.2f}" == "1,234.50"


@pytest.mark.parametrize(
    "refused",
    [
        lambda: Number("1") + 1.5,  # type: ignore[operator]  # what mypy refuses too
        lambda: 1.5 * Number("1"),
        lambda: Number("1") - "1",  # type: ignore[operator]  # as above
        lambda: Number("1") < "2",
        lambda: Number("1") == "1",
        lambda: Number(0.1),  # type: ignore[arg-type]  # as above
    ],
)
def test_refuses_what_has_lost_digits_and_what_is_no_number(refused: Callable[[], Any]) -> None:
    with pytest.raises(TypeError):
        refused()


def test_refuses_text_that_is_no_number() -> None:
    with pytest.raises(ValueError, match="no decimal number"):
        Number("ten")
