"""Structured logs on standard error, which never end a process."""

from __future__ import annotations

import io
import logging
import sys
from typing import Any, Final, TextIO, cast

import structlog
from prometheus_client import Counter

from workers.masking import mask
from workers.plain_text import plain, printable_json

LONGEST_LOGGED: Final = 5_000
"""Signs of one value that a log for people shows."""
LOST = Counter(
    "fleet_log_lines_lost_total", "Lines of log that could not be written (a full disk, a closed pipe)"
)


class UnfailingStream(io.TextIOBase):
    """A text stream that loses what cannot be written instead of raising."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, if that is possible now."""
        try:
            self._stream.write(text)
        except (OSError, ValueError):
            LOST.inc()
        return len(text)

    def flush(self) -> None:
        """Flush, if that is possible now."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            LOST.inc()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The descriptor behind it."""
        return self._stream.fileno()


def configure_logging(level: str, log_format: str) -> None:
    """One JSON object (or one coloured line) per event."""
    renderers: list[structlog.typing.Processor] = (
        [structlog.processors.JSONRenderer(ensure_ascii=False), _visible_json]
        if log_format == "json"
        else [_visible_values, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _without_secrets,
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, UnfailingStream(sys.stderr))),
        cache_logger_on_first_use=True,
    )


def _without_secrets(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Whoever writes a URL or an error into a line need not think of passwords."""
    return {name: mask(value) if isinstance(value, str) else value for name, value in event.items()}


def _visible_json(_logger: object, _method: str, line: Any) -> str:
    """See `printable_json`."""
    return printable_json(str(line))


def _visible_values(_logger: object, _method: str, event: Any) -> Any:
    """The same for people: what others wrote is escaped, our own colours and line ends come after it."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = (
                "\n".join(plain(line, LONGEST_LOGGED) for line in value.split("\n"))
                if name == "exception"
                else plain(value, LONGEST_LOGGED)
            )
    return event
