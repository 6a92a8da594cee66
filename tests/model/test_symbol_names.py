"""One rule for the spelling of symbols, whoever reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.errors import InvalidSymbol, UnknownSymbol, UnknownVenue
from workers.model.symbols.names import (
    LONGEST_SYMBOL,
    SymbolName,
    fold_symbol,
    near_names,
    parse_symbol,
    parse_venue,
    symbol_problem,
    unknown_symbol,
)

VENUES = ["usdm", "spot"]


@pytest.mark.parametrize(
    ("text", "venue", "symbol"),
    [
        ("BTCUSDT", "usdm", "BTCUSDT"),
        ("btcusdt", "usdm", "BTCUSDT"),
        (" btcUsdt\t", "usdm", "BTCUSDT"),
        ("usdm:BTCUSDT", "usdm", "BTCUSDT"),
        ("spot:ETHUSDT", "spot", "ETHUSDT"),
        ("SPOT:ethusdt", "spot", "ETHUSDT"),
        ("btcusdt_260327", "usdm", "BTCUSDT_260327"),
        ("币安人生usdt", "usdm", "币安人生USDT"),
        ("straßeusdt", "usdm", "STRAßEUSDT"),
    ],
)
def test_every_spelling_means_one_symbol(text: str, venue: str, symbol: str):
    assert parse_symbol(text, VENUES) == SymbolName(venue, symbol)


@given(
    st.text(alphabet="ABCXYZ019_-.币ßı", min_size=1, max_size=20).filter(lambda name: name.strip(".") != ""),
    st.sampled_from(VENUES),
    st.data(),
)
def test_case_of_ascii_letters_never_matters(symbol: str, venue: str, data: st.DataObject):
    spelled = "".join(
        sign.lower() if sign.isascii() and data.draw(st.booleans()) else sign for sign in f"{venue}:{symbol}"
    )
    assert parse_symbol(spelled, VENUES) == parse_symbol(f"{venue}:{symbol}", VENUES)
    assert fold_symbol(fold_symbol(symbol)) == fold_symbol(symbol)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "spot:",
        "A" * (LONGEST_SYMBOL + 1),
        "BTC USDT",
        "BTC\nUSDT",
        "BTC\x1b[31m",
        "}{",
        "../x",
        "a@depth",
        "\x00",
        "..",
        "<img src=x onerror=alert(1)>",
        "BTC'USDT",
        "A@depth/btcusdt@aggTrade",
        "BTC\u202eUSDT",
        "BTC%2fUSDT",
    ],
)
def test_what_no_symbol_is_written_like(text: str):
    with pytest.raises(InvalidSymbol):
        parse_symbol(text, VENUES)


def test_lone_surrogates_are_no_symbol():
    with pytest.raises(InvalidSymbol):
        parse_symbol("BTC\udcff", VENUES)


def test_an_unknown_venue_tells_which_there_are():
    with pytest.raises(
        UnknownVenue, match=r"There is no venue 'spt'; there are usdm, spot\. Did you mean 'spot'\?"
    ):
        parse_symbol("spt:BTCUSDT", VENUES)


def test_venues_that_differ_in_case_alone_stay_apart():
    assert parse_venue("Spot", ["spot", "Spot"]) == "Spot"


def test_an_unknown_symbol_tells_the_nearest():
    error = unknown_symbol(SymbolName("spot", "BTCUSD"), ["ETHBTC", "BTCUSDT", "BTCUSDC"])
    assert isinstance(error, UnknownSymbol)
    assert error.near[:2] in (("BTCUSDT", "BTCUSDC"), ("BTCUSDC", "BTCUSDT"))
    assert str(error).startswith("BTCUSD is not followed at spot; the nearest names: BTCUSD")
    told = str(unknown_symbol(SymbolName("spot", "NOPEUSDT"), [], listed=False))
    assert told == "The exchange of spot does not list NOPEUSDT; no name is near to it."


def test_near_names_are_told_as_they_are_spelled():
    assert near_names("SPTO", VENUES) == ["spot"]


@pytest.mark.parametrize(
    "name",
    ["BTCUSDT", "1000SATSUSDT", "币安人生USDT", "我踏马来了USDT", "BTCUSD_PERP", "BTC-USD.X", "हिन्दीUSDT"],
)
def test_what_exchanges_call_their_symbols_is_none_of_our_business(name: str):
    assert symbol_problem(name) == ""


@pytest.mark.parametrize(
    "blank", "\u034f\u115f\u1160\u17b4\u180b\u180f\u3164\ufe00\ufe0f\uffa0\U000e0100\U000e01ef"
)
def test_no_two_names_look_alike_by_what_cannot_be_seen(blank: str):
    assert symbol_problem(f"BTC{blank}USDT")
    assert symbol_problem(blank)


def test_a_mark_does_not_hang_on_what_stands_before_the_name():
    assert symbol_problem("\u0301BTCUSDT")


@given(st.text(max_size=80))
def test_a_name_that_passes_can_stand_in_keys_streams_paths_and_pages(name: str):
    if symbol_problem(name):
        return
    assert name.isprintable()
    assert name.strip(".")
    assert not set(name) & set("{}:@/\\*?![]<>&\"'`%#, \t\n")
    assert fold_symbol(name) == name
