"""Options that several commands have, each said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Settings file, or the name of a shipped one. Else FLEET_CONFIG."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
