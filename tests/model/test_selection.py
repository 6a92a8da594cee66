"""Which symbols the settings' words choose, and how that changes with what the exchange lists."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workers.model.symbols.info import Phase, SymbolInfo
from workers.model.symbols.selection import NOT_CHOSEN, NOT_LISTED, Selection, SymbolRule


def listing(*symbols: str, **phases: Phase) -> dict[str, SymbolInfo]:
    status = {"trading": "TRADING", "paused": "HALT", "ended": "SETTLING"}
    found: dict[str, Phase] = {**dict.fromkeys(symbols, "trading"), **phases}  # type: ignore[arg-type]
    return {name: SymbolInfo(name, status[phase], "", "", "", "", phase) for name, phase in found.items()}


def test_words_are_names_patterns_and_exclusions() -> None:
    rule = SymbolRule.parse(["BTCUSDT", "*USDC", "!*DOWNUSDC", "all"], 7)
    assert rule == SymbolRule(("BTCUSDT",), ("*USDC", "*"), ("*DOWNUSDC",), 7)
    assert rule.wants("币安人生USDT")
    assert not rule.wants("BTCDOWNUSDC")


def test_rules_that_differ_have_texts_that_differ() -> None:
    words = [["A"], ["A*"], ["!A"], ["A", "B"], ["all"], ["!A*", "B"]]
    assert len({SymbolRule.parse(some, most).text for some in words for most in (0, 1)}) == 2 * len(words)


def test_names_need_no_listing_and_no_status() -> None:
    selection = Selection(SymbolRule.parse(["GONEUSDT", "HALTED", "WAITING"]))
    found = selection.take(listing("X", HALTED="paused", GONEUSDT="ended"), {})
    assert found.followed == ["GONEUSDT", "HALTED", "WAITING"]
    assert (found.retired, found.doubtful) == ({}, [])


def test_patterns_take_what_trades_the_most_traded_first() -> None:
    selection = Selection(SymbolRule.parse(["*USDT", "1000*", "!*UPUSDT", "EXACT"], 4))
    listed = listing("AUSDT", "BUSDT", "BUPUSDT", "1000SHIBUSDC", "币安人生USDT", "ETHBTC", HUSDT="paused")
    found = selection.take(listed, {"BUSDT": 3.0, "币安人生USDT": 5.0, "1000SHIBUSDC": 4.0, "AUSDT": 1.0})
    assert found.followed == ["EXACT", "币安人生USDT", "1000SHIBUSDC", "BUSDT"]
    assert found.added == found.followed
    assert found.left_out == 1


def test_who_is_followed_stays_though_another_trades_more() -> None:
    selection = Selection(SymbolRule.parse(["all"], 1), ["A"])
    assert selection.take(listing("A", "B"), {"B": 9.0}).followed == ["A"]
    assert selection.take(listing("B", A="paused"), {"B": 9.0}).followed == ["A"]


def test_an_end_makes_room_for_the_next() -> None:
    selection = Selection(SymbolRule.parse(["all"], 1), ["A"])
    found = selection.take(listing("B", "C", A="ended"), {"C": 2.0, "B": 1.0})
    assert (found.followed, found.added, found.retired) == (["C"], ["C"], {"A": "SETTLING"})


def test_a_symbol_must_be_missing_twice() -> None:
    selection = Selection(SymbolRule.parse(["all"]), ["A", "B"], ["A", "B"])
    first = selection.take(listing("B"), {})
    assert (first.followed, first.retired, first.doubtful) == (["A", "B"], {}, ["A"])
    back = selection.take(listing("A", "B"), {})
    assert (back.retired, back.doubtful) == ({}, [])
    assert selection.take(listing("B"), {}).doubtful == ["A"]
    second = selection.take(listing("B"), {})
    assert (second.followed, second.retired, second.doubtful) == (["B"], {"A": NOT_LISTED}, [])
    assert selection.take(listing("A", "B"), {}).added == ["A"]


def test_a_name_that_was_listed_once_is_given_up_and_comes_back() -> None:
    selection = Selection(SymbolRule.parse(["A", "B"]))
    assert selection.take(listing("A"), {}).followed == ["A", "B"]
    assert selection.take(listing("C"), {}).doubtful == ["A"]
    assert selection.take(listing("C"), {}).retired == {"A": NOT_LISTED}
    assert selection.followed == ["B"]
    after_restart = Selection(selection.rule, selection.followed, ["A"])
    assert after_restart.take(listing("C"), {}).followed == ["B"]
    assert after_restart.take(listing("A"), {}).followed == ["A", "B"]


def test_an_empty_list_is_not_believed() -> None:
    selection = Selection(SymbolRule.parse(["all"]), ["A"])
    assert selection.take({}, {}).followed == ["A"]
    assert selection.take({}, {}).followed == ["A"]
    assert selection.take(listing("B"), {}).doubtful == ["A"]


def test_other_settings_give_up_what_they_do_not_name() -> None:
    selection = Selection(SymbolRule.parse(["B*", "!BX"], 2), ["A", "BA", "BX", "BB", "BC"])
    found = selection.take(listing("A", "BA", "BX", "BB", "BC"), {})
    assert found.followed == ["BA", "BB"]
    assert found.retired == dict.fromkeys(["A", "BX", "BC"], NOT_CHOSEN)


NAMES = st.sampled_from(["A", "B", "BA", "AUSDT", "1BUSDT", "币USDT"])
LISTINGS = st.lists(st.dictionaries(NAMES, st.sampled_from(["trading", "paused", "ended"])), max_size=8)
WORDS = st.lists(st.sampled_from(["A", "B", "*USDT", "B*", "all", "!BA", "!币*"]), unique=True, min_size=1)


@given(WORDS, st.integers(0, 4), LISTINGS, st.dictionaries(NAMES, st.floats(0, 9)))
def test_every_change_is_told_and_the_bound_holds(
    words: list[str], most: int, listings: list[dict[str, Phase]], volumes: dict[str, float]
) -> None:
    rule = SymbolRule.parse(words, most)
    selection = Selection(rule)
    followed: list[str] = []
    for listed in listings:
        found = selection.take(listing(**listed), volumes)
        assert [name for name in found.followed if name in followed or name in found.added] == found.followed
        assert set(followed) - set(found.retired) | set(found.added) == set(found.followed)
        assert not set(found.added) & set(followed)
        followed = list(found.followed)
        assert len(set(followed)) == len(followed)
        by_pattern = [name for name in followed if name not in rule.exact]
        assert all(rule.wants(name) for name in by_pattern)
        if most and by_pattern:
            assert len(followed) <= most
        for name in by_pattern:
            assert listed.get(name) != "ended" or not listed
