from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.errors import BadNumber
from workers.model.trades.decimals import plain_product, plain_quantity, price_units, quantity_units


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("61800.30", 6_180_030_000_000),
        ("0.00000001", 1),
        ("0", 0),
        ("0.00000000", 0),
        ("1.", 100_000_000),
        (".5", 50_000_000),
        ("007.50", 750_000_000),
        ("1.000000000000", 100_000_000),
        ("9999999.99999999", 999_999_999_999_999),
        ("100000000000000", 10**22),
    ],
)
def test_text_becomes_units_of_1e_8(text: str, units: int) -> None:
    assert price_units(text) == units


def test_the_largest_quantity_of_the_exchange_is_exact() -> None:
    assert quantity_units("92233720368.54775807") == 9_223_372_036_854_775_807
    assert plain_quantity(9_223_372_036_854_775_807) == "92233720368.54775807"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "-1",
        "+1",
        "1e5",
        "1E-8",
        "nan",
        "inf",
        "0x10",
        "1_000",
        "1,5",
        " 1",
        "1 ",
        "1.2.3",
        "٣",
        "²",
        "1\n",
    ],
)
def test_what_is_no_plain_decimal_is_refused(text: str) -> None:
    for units in (price_units, quantity_units):
        with pytest.raises(BadNumber):
            units(text)


def test_more_digits_than_can_be_kept_are_refused() -> None:
    for text in ("0.000000001", "1234567.123456781"):
        with pytest.raises(BadNumber):
            quantity_units(text)
    with pytest.raises(BadNumber):
        price_units("12345678.12345678")  # 16 significant digits: a double would not order it exactly
    with pytest.raises(BadNumber):
        quantity_units("1000000000000")
    with pytest.raises(BadNumber):
        quantity_units("9" * 5000)


@given(units=st.integers(0, 10**40))
def test_text_is_plain_canonical_and_exact(units: int) -> None:
    for plain, places in ((plain_quantity, 8), (plain_product, 16)):
        text = plain(units)
        assert Decimal(text) == Decimal(f"{units}E-{places}")
        assert set(text) <= set("0123456789.")
        assert "." not in text or text[-1] not in "0."
        assert text == "0" or text[0] != "0" or text[1] == "."


@given(whole=st.integers(0, 10**7 - 1), fraction=st.text("0123456789", max_size=8))
def test_units_are_what_decimal_says(whole: int, fraction: str) -> None:
    text = f"{whole}.{fraction}"
    assert price_units(text) == Decimal(text) * 10**8
    assert quantity_units(text) == Decimal(text) * 10**8
