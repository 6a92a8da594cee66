"""`fleet watch` shows what fits on the terminal, and the rest on further pages."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from workers.client import Withheld
from workers.reading.watch import PAGE_S, Screen, Watched, fitting

NAMES = [f"A{number}USDT" for number in range(9)]


def page(width: int, height: int, now_s: float) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    console.print(Screen(NAMES, 10).picture(console, now_s))
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize(("width", "height"), [(40, 10), (80, 24), (120, 8), (40, 6)])
def test_every_symbol_has_its_page(width: int, height: int):
    told = set[str]()
    for turn in range(len(NAMES)):
        lines = page(width, height, turn * PAGE_S)
        assert len(lines) <= height
        assert any("Ctrl-C ends" in line or "of 9 symbols" in line for line in lines)
        told |= {name for name in NAMES if any(name in line for line in lines)}
    assert told == set(NAMES)


def test_all_fit_on_a_large_terminal_and_no_page_is_told():
    lines = page(400, 100, 0)
    assert all(any(name in line for line in lines) for name in NAMES)
    assert not [line for line in lines if "symbols" in line]


@pytest.mark.parametrize("lines", range(1, 60))
def test_a_panel_is_no_higher_than_the_terminal(lines: int):
    depth, trades = fitting(10, lines)
    assert 1 <= depth <= 10
    assert 2 * depth + 4 + trades <= max(lines, 6)


def test_a_withheld_book_is_named_once():
    watched = Watched("BTCUSDT")
    watched.take(Withheld("BTCUSDT", "stale", "stream dead"))
    assert watched.line().count("BTCUSDT") == 1
    assert "the book is withheld: stale (stream dead)" in watched.line()
