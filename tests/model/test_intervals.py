"""Where the trade windows are listed in another language, or with a value each: the list is the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from workers.api.dashboard.files import FOLDER as PAGE
from workers.model.trades.windows import INTERVALS_MS, Interval
from workers.settings.schema import TradeSettings

LUA = Path(__file__).resolve().parents[2] / "lua"


def test_the_type_has_the_names():
    assert list(get_args(Interval)) == list(INTERVALS_MS)


def test_the_script_has_the_lengths():
    [lengths] = re.findall(r"local LENGTHS = {([^}]*)}", (LUA / "trades/apply_trades.lua").read_text())
    assert [int(length) for length in lengths.split(",")] == list(INTERVALS_MS.values())


def test_the_page_has_names_and_lengths():
    text = (PAGE / "candle_series.js").read_text(encoding="utf-8")
    [body] = re.findall(r"INTERVALS = .*?\({(.*?)}\)", text, re.DOTALL)
    rows = re.findall(r'"(\w+)": ([\d_]+)', body)
    assert [(name, int(length)) for name, length in rows] == list(INTERVALS_MS.items())


def test_each_has_a_number_of_bars_to_keep():
    assert list(TradeSettings().bars_kept) == list(INTERVALS_MS)
