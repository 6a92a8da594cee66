"""The options of `fleet doctor` and its help."""

from __future__ import annotations

from typing import Annotated

import typer

from workers.cli.options import Config, Json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="doctor", epilog="Example: fleet doctor --json")(doctor)


def doctor(
    offline: Annotated[bool, typer.Option("--offline", help="Ask the exchange nothing.")] = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """Look at everything a fleet needs: Redis, memory, clock, exchange, limits, disk, ports, packages.

    Of each finding it says what it means and what to do. Code 1 means that there is a problem.
    """
    from workers.operations.doctor.examination import run_doctor  # noqa: PLC0415 -- keeps `fleet --help` quick

    raise typer.Exit(run_doctor(config, offline=offline, as_json=json))
