"""Number text and times that several venues share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.venues.bitstamp import wire as bitstamp
from workers.venues.okx import wire as okx
from workers.venues.wire_values import LONGEST_EXPANDED, milliseconds, number_text, seconds_text_ms


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (b"0.00005100", "0.00005100"),
        (b"78878.0", "78878.0"),
        (b"86704", "86704"),
        (b'"0.0240"', "0.0240"),
        (b"-0.03483509", "-0.03483509"),
        (b"7e-7", "0.0000007"),
        (b"6.6e-7", "0.00000066"),
        (b"1e-05", "0.00001"),
        (b"-1.50E-3", "-0.00150"),
        (b"1e+21", "1000000000000000000000"),
        (b"1.25e1", "12.5"),
        (b"0E-8", "0"),
    ],
)
def test_a_number_becomes_plain_decimal_text(sent: bytes, text: str):
    assert number_text(msgspec.Raw(sent)) == text


@pytest.mark.parametrize(
    "sent",
    [b"null", b'""', b'"x"', b"[1]", b"1e41", b"1e-41", b"1e9999", '"١"'.encode(), b'"1_0"', b'" 1"', b"NaN"],
)
def test_what_is_no_number_of_a_market_is_refused(sent: bytes):
    with pytest.raises(ValueError, match="number"):
        number_text(msgspec.Raw(sent))


@given(st.integers(0, 10**12), st.integers(-20, 15))
def test_an_exponent_changes_nothing_of_the_value(digits: int, exponent: int):
    text = number_text(msgspec.Raw(f"{digits}e{exponent}".encode()))
    assert Decimal(text) == Decimal(digits).scaleb(exponent)
    assert "e" not in text.lower()
    assert len(text) <= LONGEST_EXPANDED + 2


def test_times_are_milliseconds_cut_not_rounded():
    decode = msgspec.json.Decoder(datetime).decode
    assert milliseconds(decode(b'"2026-08-24T22:21:58.343988Z"')) == 1787610118343
    assert milliseconds(decode(b'"2026-08-24T22:34:13.813379359Z"')) == 1787610853813
    assert milliseconds(datetime(1, 1, 1, tzinfo=UTC)) == -1
    assert seconds_text_ms("1617666423.606999") == 1617666423606
    assert seconds_text_ms("1617666423.6") == 1617666423600
    for rubbish in ("", "-1", "1e9", "1.2.3", "9" * 12, "١"):
        with pytest.raises(ValueError, match="seconds"):
            seconds_text_ms(rubbish)


@pytest.mark.parametrize("code_number", [okx.code_number, bitstamp.code_number])
@pytest.mark.parametrize(
    ("code", "number"),
    [
        ("50011", 50011),
        (7, 7),
        ("999999999", 999999999),
        ("9999999999", 0),
        ("", 0),
        ("API0012", 0),
        ("\u0667", 0),
        ("-5", 0),
    ],
)
def test_a_code_is_a_number_or_none(code_number: Callable[[str | int], int], code: str | int, number: int):
    assert code_number(code) == number
