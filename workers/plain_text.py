"""Text that others wrote, made fit to be printed: no sign of it does anything to a terminal or hides what it says."""

from __future__ import annotations

import json
from typing import Final

LONGEST: Final = 200


def plain(text: str, longest: int = LONGEST) -> str:
    """The text in one line; what cannot be seen is written as Python escapes it (`\\x1b`), what is too long is cut.

    Args:
        longest: characters of `text` that are shown.
    """
    shown = text[:longest] + "…" * (len(text) > longest)
    if shown.isprintable():
        return shown
    return "".join(sign if sign.isprintable() else _escaped(sign) for sign in shown)


def printable_json(line: str) -> str:
    """One line of JSON without any sign a terminal would act upon: such signs are in its strings alone.

    JSON demands it of those below 0x20; a terminal also obeys others, such as 0x9b, which begins a sequence as
    ESC [ does.
    """
    return (
        line if line.isprintable() else "".join(s if s.isprintable() else json.dumps(s)[1:-1] for s in line)
    )


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape", "surrogatepass").decode("ascii")
