"""What `--help` says, as a terminal of 80 columns shows it (`run` is argparse's own)."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import typer
from typer.testing import CliRunner

from workers.cli import application

WIDTH = 80
PANEL = re.compile(r"[╭│╰]")


def names() -> list[str]:
    application._register_others()
    return sorted(typer.main.get_command(application.app).commands)


def shown(name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The help of a command."""
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", WIDTH)
    result = CliRunner().invoke(application.app, [name, "--help"] if name else ["--help"])
    assert result.exit_code == 0, result.output
    return result.output


def paragraphs(text: str) -> Iterator[list[str]]:
    """Those outside of panels, each as its lines."""
    lines: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.strip() and not PANEL.match(line):
            lines.append(line.strip())
        elif lines:
            yield lines
            lines = []


@pytest.mark.parametrize("name", ["", *(name for name in names() if name != "run")])
def test_a_line_of_help_ends_where_the_terminal_does(name: str, monkeypatch: pytest.MonkeyPatch):
    found = list(paragraphs(shown(name, monkeypatch)))
    assert len(found) >= 2
    early = [
        (line, following)
        for lines in found
        for line, following in zip(lines, lines[1:], strict=False)
        if len(line) + 1 + len(following.split()[0]) <= WIDTH - 2
    ]
    assert early == []


@pytest.mark.parametrize("name", names())
def test_no_word_of_help_is_cut(name: str, monkeypatch: pytest.MonkeyPatch):
    text = shown(name, monkeypatch)
    assert "…" not in text
    choices = re.findall(r"<[^<>│\s]*\|[^<>│\s]*(?=\s)", text)
    assert choices == []
