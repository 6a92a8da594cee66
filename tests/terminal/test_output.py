"""What others wrote is read on a terminal, not obeyed."""

from __future__ import annotations

import io
import json

import pytest
from rich.markup import escape
from rich.table import Table

from workers.runtime.logs import _visible_json, _visible_values
from workers.terminal.output import PlainConsole, json_line
from workers.terminal.saying import say, say_json

HOSTILE = "\x1b[2J\x1b]0;owned\x07BTC\x9b31mUSDT\u202eTDSU\r\x00[red]x[/red]"


def test_tables_titles_and_lines_carry_no_escape_sequence() -> None:
    screen = io.StringIO()
    console = PlainConsole(file=screen, width=160, force_terminal=True)
    table = Table(title=escape(HOSTILE))
    table.add_column(escape(HOSTILE))
    table.add_row(escape(HOSTILE))
    console.print(table, style=None)
    console.print(escape(HOSTILE), highlight=False, soft_wrap=True)
    text = screen.getvalue()
    for sign in ("\x1b[2J", "\x1b]", "\x07", "\x9b", "\u202e", "\r", "\x00"):
        assert sign not in text
    assert "\u241b[2J" in text
    assert "[red]x[/red]" in text


@pytest.mark.parametrize("hostile", [HOSTILE, "\udcff", "\U000e0001"])
def test_logs_carry_none_either(hostile: str) -> None:
    line = _visible_json(None, "info", json.dumps({"symbol": hostile}, ensure_ascii=False))
    assert line.isprintable()
    assert json.loads(line) == {"symbol": hostile}
    event = _visible_values(None, "info", {"symbol": hostile, "count": 3, "exception": f"a\n{hostile}"})
    assert event["symbol"].isprintable()
    assert event["exception"].startswith("a\n")
    assert event["exception"].replace("\n", "").isprintable()


def test_json_of_the_command_carries_none_and_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    line = json_line({"reason": HOSTILE})
    assert line.rstrip("\n").isprintable()
    assert json.loads(line) == {"reason": HOSTILE}
    say_json({"reason": HOSTILE})
    said = capsys.readouterr().out
    assert said == line
    say(f"raw {HOSTILE}")
    assert "\x9b" not in capsys.readouterr().out
