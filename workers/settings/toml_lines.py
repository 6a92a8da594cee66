"""On which line of a TOML text a key stands: what the standard parser does not tell."""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_DOTTED = rf"{_NAME}(?:\s*\.\s*{_NAME})*"
_HEADER = re.compile(rf"\s*(\[{{1,2}})\s*({_DOTTED})\s*\]{{1,2}}\s*(?:#.*)?$")
_KEY = re.compile(rf"\s*({_DOTTED})\s*=")


def _parts(dotted: str) -> list[str]:
    return [part.strip("\"'") for part in re.findall(_NAME, dotted)]


def locate_keys(text: str) -> dict[str, int]:
    """The line of every table header and of every key that begins a line, by dotted key.

    Tables of an array are numbered from 0, `alerts.rules[1].when`; `alerts.rules` is the first of them. Keys inside an
    inline table have none of their own; `nearest_line` gives the line of the table.
    """
    found: dict[str, int] = {}
    tables: dict[str, int] = {}
    table: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _parts(header.group(2))
            found.setdefault(".".join(table), number)
            if header.group(1) == "[[":
                name = table[-1]
                tables[".".join(table)] = index = tables.get(".".join(table), -1) + 1
                table[-1] = f"{name}[{index}]"
                found[".".join(table)] = number
        elif key := _KEY.match(line):
            found.setdefault(".".join(table + _parts(key.group(1))), number)
    return found


def nearest_line(lines: Mapping[str, int], key: str) -> int | None:
    """The line of a key, else of the innermost table around it that has one."""
    while key and key not in lines:
        key = key.rpartition(".")[0]
    return lines.get(key)
