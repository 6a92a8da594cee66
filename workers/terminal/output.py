"""Consoles, durations and the live table."""

from __future__ import annotations

import codecs
import io
import os
import re
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, NamedTuple

import msgspec
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from workers.errors import CommandError
from workers.plain_text import printable_json
from workers.terminal.exit_codes import EXIT_FINE

UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
ESCAPED: Final = "fleet-escaped"
"""Our handler of what an encoding lacks."""
PLAIN_EVERY_S: Final = 10.0


class PlainConsole(Console):
    """A console on which text of others does nothing but be read.

    Names, reasons and states come from exchanges and from Redis, where others may write; rich keeps their escape
    sequences, and every text it prints, of tables too, passes here.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        """The text with a picture in place of each sign that a terminal would act upon."""
        return super().render_str(visible(text), **options)


def visible(text: str) -> str:
    """The text with a picture in place of each sign that a terminal would act upon; line ends and tabs stay."""
    return text if text.isprintable() else "".join(map(_picture, text))


def _picture(sign: str) -> str:
    if sign.isprintable() or sign in "\n\t":
        return sign
    # a picture, not an escape: a backslash would mean something to the markup that may follow
    return chr(0x2400 + ord(sign)) if ord(sign) < 0x20 else "\N{REPLACEMENT CHARACTER}"


def json_line(value: Any) -> str:
    """A value as one line of JSON with its end; what others wrote in it does nothing to a terminal."""
    return printable_json(msgspec.json.encode(value, enc_hook=str).decode()) + "\n"


class Answer(PlainConsole):
    """Standard output, of which a reader may have had enough."""

    def write_json(self, value: Any) -> None:
        """A value as one line of JSON, as it is, at once."""
        try:
            self.file.write(json_line(value))
            self.file.flush()
        except BrokenPipeError:
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        """End without a complaint: that is no failure of ours."""
        self.forget()
        raise SystemExit(EXIT_FINE)

    def forget(self) -> None:
        """Write what is left nowhere: else the interpreter tries, and complains, at its end."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


out = Answer(width=None if sys.stdout.isatty() else 160)
err = PlainConsole(stderr=True)


def note(text: str) -> None:
    """A sentence for people, on standard error: as it stands, whatever it quotes, and not wrapped."""
    err.print(escape(text), highlight=False, soft_wrap=True)


def escape_unencodable() -> None:
    """Have what the terminal's encoding lacks written as JSON escapes it, such as `\\u5e01` on an ASCII one."""
    codecs.register_error(ESCAPED, _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ESCAPED)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    units = (signs[place : place + 2].hex() for place in range(0, len(signs), 2))
    return "".join(f"\\u{unit}" for unit in units), error.end


def seconds_of(text: str) -> float:
    """A duration such as `30`, `30s`, `1.5m`, `2h` in seconds.

    Raises:
        CommandError: it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if not found or float(found.group(1)) <= 0:
        raise CommandError(f"{text!r} is no duration; write one like 30s, 5m or 1h.")
    return float(found.group(1)) * UNITS[found.group(2)]


def counted(number: int, noun: str) -> str:
    """`1 warning`, `2 warnings`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def sentence(error: BaseException) -> str:
    """What an error says, to be put into a sentence of ours: without a full stop of its own."""
    return str(error).rstrip(".")


class Totals(NamedTuple):
    """What the whole fleet has done."""

    synced: int
    messages: int
    trades: int


class Progress(NamedTuple):
    """What the live display shows."""

    phase: str
    symbols: int
    totals: Totals
    samples: int | None = None
    differ: int = 0


class LiveStatus:
    """One table that renews itself on a terminal; a line now and then elsewhere."""

    def __init__(self) -> None:
        self._live: Live | None = None
        self._last: tuple[float, int] = (time.monotonic(), 0)
        self._rate = 0.0
        self._said = 0.0

    def running(self) -> AbstractContextManager[object]:
        """To be entered while the display is shown."""
        if not sys.stderr.isatty():
            return nullcontext()
        self._live = Live(console=err, refresh_per_second=4, transient=True)
        return self._live

    def show(self, progress: Progress) -> None:
        """Show the present state."""
        now = time.monotonic()
        passed = now - self._last[0]
        if passed >= 1:
            self._rate = (progress.totals.messages - self._last[1]) / passed
            self._last = (now, progress.totals.messages)
        if self._live is not None:
            self._live.update(self._table(progress))
        elif now - self._said >= PLAIN_EVERY_S:
            self._said = now
            totals = progress.totals
            err.print(
                f"fleet: {progress.phase}; {totals.synced} of {progress.symbols} books in sync, "
                f"{totals.messages} messages, {totals.trades} trades",
                highlight=False,
                soft_wrap=True,
            )

    def _table(self, progress: Progress) -> Table:
        table = Table(title=progress.phase)
        row = [f"{progress.totals.synced}/{progress.symbols}", f"{progress.totals.messages:,}"]
        row += [f"{self._rate:,.0f}", f"{progress.totals.trades:,}"]
        names = ["books in sync", "messages", "per second", "trades"]
        if progress.samples is not None:
            names += ["books compared", "different"]
            row += [f"{progress.samples:,}", str(progress.differ)]
        for name in names:
            table.add_column(name, justify="right")
        table.add_row(*row)
        return table
