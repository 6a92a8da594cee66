from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.errors import BadNumber
from workers.model.events import Trade
from workers.model.trades.absurd import marked
from workers.model.trades.decimals import COARSE, FINE, is_fine
from workers.model.trades.windows import Window


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
    assert COARSE.price_units(text) == units
    assert FINE.price_units(text) == units * 10**10
    assert not is_fine(text)


@pytest.mark.parametrize(
    ("text", "units"),
    [("0.00000074408", 744_080_000_000), ("0.0000001", 10**11), ("0.000000000000000001", 1)],
)
def test_a_market_may_have_finer_numbers(text: str, units: int) -> None:
    assert FINE.price_units(text) == FINE.quantity_units(text) == units
    assert FINE.plain_quantity(units) == text
    assert FINE.plain_product(units * 10**18) == text


def test_the_largest_quantity_of_the_exchange_is_exact() -> None:
    assert COARSE.quantity_units("92233720368.54775807") == 9_223_372_036_854_775_807
    assert COARSE.plain_quantity(9_223_372_036_854_775_807) == "92233720368.54775807"
    assert FINE.plain_quantity(FINE.quantity_units("92233720368.54775807")) == "92233720368.54775807"


def test_a_market_of_tiny_prices_has_huge_quantities() -> None:
    """A hundred dollars of AIDOGE-USDT at OKX, whose tick is 1e-12."""
    trade = marked(
        Trade(
            "AIDOGE-USDT", 1, "0.000000000098", "1020408163265.3", 1, 1, 1683086400000, 1683086400000, False
        )
    )
    assert (trade.is_market, trade.is_absurd) == (True, False)
    assert Window.of(trade, 0).quote_volume == 98 * 10**6 * 10_204_081_632_653 * 10**17


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
    for units in (COARSE.price_units, COARSE.quantity_units, FINE.price_units, FINE.quantity_units):
        with pytest.raises(BadNumber):
            units(text)


def test_more_digits_than_can_be_kept_are_refused() -> None:
    for scale, texts in (
        (COARSE, ("0.000000001", "1234567.123456781")),
        (FINE, ("0.0000000000000000001", "1234567.1234567890123456789")),
    ):
        for text in texts:
            with pytest.raises(BadNumber):
                scale.quantity_units(text)
            with pytest.raises(BadNumber):
                scale.price_units(text)
        for price in ("12345678.12345678", "1000000000000000"):
            # the first has 16 significant digits: a double would not order it exactly
            with pytest.raises(BadNumber):
                scale.price_units(price)
        for quantity in ("10000000000000000", "9" * 5000):
            with pytest.raises(BadNumber):
                scale.quantity_units(quantity)


@given(units=st.integers(0, 10**90))
def test_text_is_plain_canonical_and_exact(units: int) -> None:
    for plain, places in (
        (COARSE.plain_quantity, 8),
        (COARSE.plain_product, 16),
        (FINE.plain_quantity, 18),
        (FINE.plain_product, 36),
    ):
        text = plain(units)
        whole, _, fraction = text.partition(".")
        assert int(whole + fraction.ljust(places, "0")) == units
        assert set(text) <= set("0123456789.")
        assert "." not in text or text[-1] not in "0."
        assert text == "0" or text[0] != "0" or text[1] == "."


@given(whole=st.integers(0, 10**7 - 1), fraction=st.text("0123456789", max_size=8))
def test_units_are_what_decimal_says(whole: int, fraction: str) -> None:
    text = f"{whole}.{fraction}"
    for scale in (COARSE, FINE):
        assert scale.price_units(text) == Decimal(text) * 10**scale.digits
        assert scale.quantity_units(text) == Decimal(text) * 10**scale.digits
