"""The language of rules: what is understood, what is refused and where, and when a value meets a rule."""

from __future__ import annotations

import pytest
from alert_examples import BTC, rule
from hypothesis import given
from hypothesis import strategies as st

from workers.errors import SettingsError
from workers.model.alerts.rules import Target, condition_text, parse_condition
from workers.model.alerts.silences import parse_silence
from workers.settings.alert_rules import rules_in_force
from workers.settings.loading import parse

BASE = '[venues.usdm]\nexchange = "binance"\nmarket = "usdm"\nsymbols = ["BTCUSDT"]\n'


def refusal(text: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        parse(BASE + text, "my.toml", environ or {})
    return str(caught.value)


def test_a_rule_says_what_to_watch_where_and_for_how_long():
    condition = parse_condition("spread_bps > 5 for 10s on *usdt, spot:btc*", "here", "wide")
    assert condition.signal.name == "spread_bps"
    assert (condition.operator, condition.threshold, condition.for_ms) == (">", 5.0, 10_000)
    assert condition.patterns == ("*USDT", "spot:BTC*")


@pytest.mark.parametrize(
    ("when", "problem"),
    [
        ("", "character 1 of '': a signal is missing"),
        (
            "spred_bps > 5",
            "character 1 of 'spred_bps > 5': 'spred_bps' is no signal. Did you mean 'spread_bps'?",
        ),
        ("spread_bps >", "character 13 of 'spread_bps >': a value is missing"),
        ("spread_bps", "'spread_bps' is a number: compare it with one"),
        ("spread_bps > wide", "character 12 of 'spread_bps > wide': 'wide' is no number"),
        ("spread_bps == wide", "'spread_bps' is compared with a number, not with 'wide'"),
        ("book_state == 5", "'book_state' is compared with a word, not with 5.0"),
        ("withheld > 1", "'withheld' stands alone"),
        ("gap for 5s", "'gap' happens at a moment: it does not last"),
        ("mid > 5 for 10", "character 13 of 'mid > 5 for 10': '10' is no duration"),
        ("mid > 5 for", "a duration is missing"),
        ("mid > 5 on", "a symbol or a pattern is missing"),
        ("mid > 5 on A,", "a symbol or a pattern is missing"),
        ("mid > 5 on A B", "character 14 of 'mid > 5 on A B': 'B' is not expected"),
        ("mid > nan", "'nan' is no number"),
        ("stats.2m.volume > 5", "'stats.2m.volume' is no signal"),
        ("stats. > 5", "'stats.' is no signal"),
        (
            "workers.books < 2 on usdm",
            "character 19 of 'workers.books < 2 on usdm': 'workers.books' is of the whole",
        ),
        ("feed_silent on usdm:*", "'feed_silent' is of a venue: name that alone. Did you mean 'usdm'?"),
    ],
)
def test_what_is_no_condition_is_refused_with_its_rule_and_place(when: str, problem: str):
    first, second = (
        '[[alerts.rules]]\nname = "first"\nwhen = "gap"\n\n',
        '[[alerts.rules]]\nname = "second"\n',
    )
    text = f'{first}{second}when = "{when}"\n'
    if not when:
        text = text.replace('when = ""', 'signal = "withheld"\noperator = ">"\nthreshold = 1')
        problem = "'withheld' stands alone"
    said = refusal(text)
    assert problem in said
    assert said.startswith("my.toml, line 1")
    assert "alerts.rules[1]" in said
    assert "rule 'second'" in said


def test_the_line_told_is_that_of_the_rule():
    text = '[[alerts.rules]]\nname = "a"\nwhen = "gap"\n[[alerts.rules]]\nname = "b"\nwhen = "gab"\n'
    assert refusal(text).startswith("my.toml, line 10, alerts.rules[1].when: rule 'b', character 1 of 'gab':")
    text = '[[alerts.rules]]\nname = "a"\nwhen = "gap"\n[[alerts.rules]]\nname = "b"\nwhen = 5\n'
    assert refusal(text).startswith("my.toml, line 8, alerts.rules[1] (b): expected `str`, got `int`")
    given = {"FLEET_ALERTS__RULES": '[{"name":"a","when":"withheld > 1"}]'}
    assert refusal("", given).startswith("environment FLEET_ALERTS__RULES, alerts.rules[0].when: rule 'a'")


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ('name = "A b"\nwhen = "gap"', "'A b' cannot name a rule"),
        ('name = "a"', "it needs `when`, or `signal`"),
        ('name = "a"\nwhen = "gap"\nsignal = "gap"', "and not both"),
        ('name = "a"\nsignal = "mid"\noperator = ">"', "`operator` and `threshold` belong together"),
        (
            'name = "a"\nsignal = "mit"\noperator = ">"\nthreshold = 5',
            "'mit' is no signal. Did you mean 'mid'?",
        ),
        ('name = "a"\nwhen = "mid > 5"\nresolve = 6', "`resolve` 6 must not be above the threshold 5"),
        ('name = "a"\nwhen = "mid < 5"\nresolve = 4', "`resolve` 4 must not be below the threshold 5"),
        ('name = "a"\nwhen = "gap"\nresolve = 4', "`resolve` is for a number"),
        ('name = "a"\nwhen = "gap"\nsilence = ["25:00-26:00"]', "is no stretch of time"),
        ('name = "a"\nwhen = "gap"\nseverity = "grave"', "invalid enum value 'grave'"),
        ('name = "a"\nwhen = "gap"\nseverety = "info"', "unknown field `severety`"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(keys: str, problem: str):
    assert problem in refusal(f"[[alerts.rules]]\n{keys}\n")


def test_two_rules_of_one_name_are_refused():
    text = '[[alerts.rules]]\nname = "a"\nwhen = "gap"\n[[alerts.rules]]\nname = "a"\nwhen = "withheld"\n'
    assert "there are two rules 'a'" in refusal(text)


def test_typed_keys_say_the_same_as_text():
    text = """
[[alerts.rules]]
name = "text"
when = "spread_bps >= 0.5 for 1500ms on *USDT, spot:X"
[[alerts.rules]]
name = "typed"
signal = "spread_bps"
operator = ">="
threshold = 0.5
for_s = 1.5
symbols = ["*USDT", "spot:X"]
"""
    [first, second] = rules_in_force(parse(BASE + text, "my.toml", {}).settings.alerts)
    assert first.condition == second.condition
    assert first.text == second.text


def test_secrets_of_alerts_come_from_the_environment_alone_and_are_not_shown():
    assert "a secret does not belong in a file" in refusal('[alerts]\nwebhook_url = "http://x.test/hook"\n')
    assert "a secret does not belong in a file" in refusal('[alerts]\ncommentary_key = "sk-1"\n')
    given = {"FLEET_ALERTS__WEBHOOK_URL": "https://x.test/T0/secret", "FLEET_ALERTS__COMMENTARY_KEY": "sk-1"}
    shown = {name: value for name, value, _ in parse(BASE, "my.toml", given).rows()}
    assert (shown["alerts.webhook_url"], shown["alerts.commentary_key"]) == ("***", "***")
    assert "secret" not in refusal("", {"FLEET_ALERTS__WEBHOOK_URL": "file:///secret"})
    remote = '[alerts]\ncommentary_url = "http://models.test/v1"\ncommentary_model = "m"\n'
    assert "over https:// alone" in refusal(remote, {"FLEET_ALERTS__COMMENTARY_KEY": "sk-1"})
    assert "needs a model to ask" in refusal('[alerts]\ncommentary_url = "http://127.0.0.1:1/v1"\n')


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
CONDITIONS = st.one_of(
    st.builds(
        lambda name, sign, number, ms, on: f"{name} {sign} {number!r}" + (f" for {ms}ms" if ms else "") + on,
        st.sampled_from(["spread_bps", "stats.1m.volume", "book.levels", "trades_waiting"]),
        st.sampled_from([">", ">=", "<", "<=", "==", "!="]),
        NUMBERS,
        st.integers(0, 10**7),
        st.sampled_from(["", " on *USDT", " on spot:BTC*, 币安人生USDT"]),
    ),
    st.sampled_from(
        ["withheld", "withheld for 3s on A", "gap", "book_state != synced for 1m", "feed_silent on usdm"]
    ),
)


@given(CONDITIONS)
def test_a_condition_that_is_written_again_is_the_same(text: str):
    condition = parse_condition(text, "here", "a")
    assert parse_condition(condition_text(condition), "here", "a") == condition


def test_a_venue_may_be_written_in_capitals_too():
    assert rule("feed_silent on USDM").is_about(Target("usdm"))


def test_patterns_choose_symbols_with_or_without_their_venue():
    assert rule("mid > 1 on *USDT").is_about(BTC)
    assert rule("mid > 1 on usdm:*").is_about(BTC)
    assert not rule("mid > 1 on spot:*").is_about(BTC)
    assert rule("feed_silent on usdm").is_about(Target("usdm"))
    assert not rule("feed_silent on usdm").is_about(Target("spot"))
    assert rule("mid > 1").is_about(BTC)


def test_between_threshold_and_resolve_an_alert_neither_fires_nor_resolves():
    wide = rule("spread_bps > 5", resolve=3.0)
    assert [(wide.is_met(value), wide.is_clear(value)) for value in (5.1, 5.0, 3.1, 3.0, None)] == [
        (True, False),
        (False, False),
        (False, False),
        (False, True),
        (None, None),
    ]
    low = rule("spread_bps <= 5", resolve=7.0)
    assert [low.is_clear(value) for value in (5.0, 6.9, 7.0)] == [False, False, True]


def test_silences_cover_their_hours():
    night = parse_silence("22:00-06:00", "here", "a")
    hour = 3_600_000
    assert [night.covers(at * hour) for at in (21, 22, 24, 29, 30)] == [False, True, True, True, False]
    once = parse_silence("2026-11-28T20:00/2026-11-28T22:00", "here", "a")
    assert once.once
    assert once.covers(once.start_ms)
    assert not once.covers(once.end_ms)
    assert not once.covers(once.start_ms + 24 * hour)
