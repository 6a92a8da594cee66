"""Options that several commands have, each said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workers.errors import CommandError
from workers.terminal.output import seconds_of

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Settings file, or the name of a shipped one. Else FLEET_CONFIG."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


def for_seconds(text: str) -> float:
    """What `--for` says, in seconds. Raises: BadParameter."""
    try:
        return seconds_of(text)
    except CommandError as error:
        raise typer.BadParameter(str(error), param_hint="--for") from error
