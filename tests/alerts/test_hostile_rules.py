"""Rule files that somebody made to break the role: refused with one readable line, or harmless."""

from __future__ import annotations

import time

import pytest
from alert_examples import BTC, rule

from workers.errors import MOST_SHOWN, SettingsError
from workers.model.alerts.rules import Target
from workers.model.alerts.signals import signal_of
from workers.model.alerts.values import field_value, status_values
from workers.settings.alert_rules import rules_in_force
from workers.settings.loading import parse

BASE = '[venues.usdm]\nexchange = "binance"\nmarket = "usdm"\nsymbols = ["BTCUSDT"]\n'
MEGABYTE = 2**20
LONG = "x\\u001b[31m" * (MEGABYTE // 8)
"""1 MB of TOML text with signs that a terminal obeys."""
SILENCES = "'22:00-06:00'," * 101


def refusal(keys: str, head: str = "") -> str:
    with pytest.raises(SettingsError) as caught:
        parse(f"{BASE}{head}[[alerts.rules]]\n{keys}\n", "my.toml", {})
    return str(caught.value)


REFUSED = {
    'when = "mid > 5"\nresolve = nan': "`resolve` is no number",
    'when = "mid > 5"\nresolve = -inf': "`resolve` is no number",
    'when = "mid < 5"\nresolve = inf': "`resolve` is no number",
    'when = "gap"\nflapping_after = 1': "what fires once does not flap",
    'when = "gap"\nflapping_after = -1': "expected `int` >= 0",
    'when = "gap"\nmost_open = 0': "expected `int` >= 1",
    'when = "gap"\nresolve_after_s = inf': "`resolve_after_s` is at most",
    'when = "gap"\nresolve_after_s = nan': "expected `float` >= 0",
    'when = "gap"\nresolve_after_s = 1e9': "`resolve_after_s` is at most",
    'when = "gap"\nresolve_after_s = -1': "expected `float` >= 0",
    f'when = "mid > 5 for {"9" * 400}h"': "a duration is at most",
    'when = "mid > 5 for 1000000000s"': "a duration is at most",
    'when = "mid > 5 for -1s"': "'-1s' is no duration",
    'signal = "mid"\noperator = ">"\nthreshold = 5\nfor_s = inf': "`for_s` is at most",
    'signal = "mid"\noperator = ">"\nthreshold = 5\nfor_s = nan': "expected `float` >= 0",
    'signal = "mid"\noperator = ">"\nthreshold = 5\nfor_s = 1e9': "`for_s` is at most",
    'signal = "mid"\noperator = ">"\nthreshold = nan': "'nan' is no number",
    'signal = "mid"\noperator = ">"\nthreshold = -inf': "'-inf' is no number",
    'signal = "book_state"\noperator = "=="\nthreshold = "synced on A*"': "has more than a word",
    'signal = "book.x > 5 on A"\noperator = ">"\nthreshold = 5': "is no signal",
    'when = "mid > 5 ! on A"': "'!' is not expected",
    'when = "mid > 5 ="': "'=' is not expected",
    'when = "mid = 5"': "'=' is no operator",
    'when = "book_state == \\u001b[2Jx"': "signs that cannot be seen",
    'when = "mid > 5 on \\u202eTCB"': "signs that cannot be seen",
    f'when = "{LONG}"': "at most 1000 characters",
    f'signal = "{LONG}"\noperator = ">"\nthreshold = 5': "is no signal",
    f'when = "gap"\nseverity = "{LONG}"': "invalid enum value",
    f'when = "gap"\n"{LONG}" = 1': "unknown field",
    f'when = "gap"\nsilence = ["{LONG}"]': "is no stretch of time",
    'when = "gap"\nsilence = ["06:00-06:00"]': "silences nothing",
    'when = "gap"\nsilence = ["2026-01-01/9999-12-31"]': "is longer than a year",
    'when = "gap"\nsilence = ["2026-01-01T00:00/2026-01-01T00:00"]': "is no stretch of time",
    f'when = "gap"\nsilence = [{SILENCES}]': "at most 100 silences",
}


@pytest.mark.parametrize("keys", REFUSED, ids=lambda keys: keys[:60].replace("\n", " "))
def test_what_nobody_can_mean_is_refused_in_one_readable_line(keys: str):
    said = refusal(f'name = "a"\n{keys}')
    assert REFUSED[keys] in said
    assert said.startswith("my.toml, line ")
    assert said.isprintable()
    assert len(said) <= MOST_SHOWN * 4


@pytest.mark.parametrize("name", ["", "a\\nb", "a\\u001b[31m", "a" * 65, LONG, "ä", "-"])
def test_a_name_that_is_none_is_shown_as_text(name: str):
    said = refusal(f'name = "{name}"\nwhen = "gap"')
    assert "cannot name a rule" in said
    assert said.isprintable()
    assert len(said) <= MOST_SHOWN * 4


def test_the_name_of_a_rule_that_is_wrong_otherwise_is_shown_as_text():
    said = refusal(f'name = "a\\n{LONG}"\nwhen = 5')
    assert "expected `str`, got `int`" in said
    assert said.isprintable()
    assert len(said) <= MOST_SHOWN * 4


def test_more_rules_than_anybody_reads_are_refused():
    rules = "".join(f'[[alerts.rules]]\nname = "r{number}"\nwhen = "gap"\n' for number in range(1_000))
    assert "there are 1001 rules; at most 1000 are looked at" in refusal('name = "a"\nwhen = "gap"', rules)


def test_a_pattern_that_takes_a_regular_expression_for_ever_takes_no_time():
    bomb = rule(f"mid > 1 on {'*A' * 31}*B")
    hostile = [Target("usdm", "A" * 64), Target("usdm", "A" * 63 + "B"), BTC]
    began = time.process_time()
    assert [bomb.is_about(target) for target in hostile] == [False, True, False]
    assert (
        time.process_time() - began < 5
    )  # CPU time of this process; tried one after another it would be years


def test_a_damaged_word_is_kept_in_part():
    signal = signal_of("book.reason", word=True)
    assert signal is not None
    word = field_value(signal, {"reason": "x" * MEGABYTE})
    assert isinstance(word, str)
    assert len(word) == 1_000
    state = status_values({"state": "x" * MEGABYTE}, 1)["book_state"]
    assert isinstance(state, str)
    assert len(state) == 1_000


def test_a_rule_may_say_for_itself_how_many_are_open_and_when_it_flaps():
    keys = "[alerts]\nmost_open_a_rule = 7\nflapping_within_s = 30\n"
    own = '[[alerts.rules]]\nname = "own"\nwhen = "gap"\nmost_open = 3\nflapping_after = 0\n'
    settings = parse(f'{BASE}{keys}{own}[[alerts.rules]]\nname = "a"\nwhen = "gap"\n', "my.toml", {})
    rules = rules_in_force(settings.settings.alerts)
    assert [(one.most_open, one.flapping_after, one.flapping_within_ms) for one in rules] == [
        (3, 0, 30_000),
        (7, 4, 30_000),
    ]


def test_what_fires_once_does_not_flap():
    with pytest.raises(SettingsError, match=r"my.toml, line 6, alerts.flapping_after: what fires once"):
        parse(f"{BASE}[alerts]\nflapping_after = 1\n", "my.toml", {})


@pytest.mark.parametrize("seconds", ["inf", "nan", "0", "1e9"])
@pytest.mark.parametrize("key", ["webhook_timeout_s", "commentary_timeout_s", "flapping_within_s"])
def test_a_time_that_no_request_may_take_is_refused(key: str, seconds: str):
    with pytest.raises(SettingsError, match=r"my.toml, line 6, alerts\..*_s: "):
        parse(f"{BASE}[alerts]\n{key} = {seconds}\n", "my.toml", {})
