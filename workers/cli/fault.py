"""`fleet fault`: what goes wrong on the simulated exchange of the running fleet."""

from __future__ import annotations

from typing import Annotated

import typer

from workers.cli.options import Config, Json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="fault", epilog="Example: fleet fault lose 'stream=*@depth*' count=1")(fault)


def _complete_kind(incomplete: str) -> list[str]:
    from workers.sim.engine.faults import KINDS  # noqa: PLC0415 -- keeps `fleet --help` quick

    return [kind for kind in KINDS if kind.startswith(incomplete)]


def fault(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KIND [NAME=VALUE]...",
            help="The fault to set. Else those set are told.",
            autocompletion=_complete_kind,
        ),
    ] = None,
    remove: Annotated[
        int | None, typer.Option("--remove", metavar="NUMBER", help="Take this fault back; 0 for all.")
    ] = None,
    venue: Annotated[
        str | None,
        typer.Option(
            "--venue",
            metavar="NAME",
            help="On the exchange of this venue of the settings. Else on the simulated Binance.",
        ),
    ] = None,
    kinds: Annotated[bool, typer.Option("--kinds", help="Tell the kinds of faults there are.")] = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """Set, tell or take back faults of the simulated exchange a fleet runs on.

    Faults that shall be there from the start: `fleet demo --fault`, or `exchange.faults` of the settings.
    """
    from workers.cli import fault_command as command  # noqa: PLC0415 -- keeps `fleet --help` quick

    if kinds:
        raise typer.Exit(command.run_kinds(as_json=json))
    if words and remove is not None:
        raise typer.BadParameter("a fault is set or taken back, not both.", param_hint="--remove")
    try:
        text = command.fault_text(words or [])
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="KIND") from error
    raise typer.Exit(command.run_fault(text, remove, config, venue=venue, as_json=json))
