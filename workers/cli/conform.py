"""`fleet conform`, registered with the other commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workers.cli.options import Json


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(epilog="Example: fleet conform --scenario 'lost-*' --json")
    def conform(
        scenario: Annotated[
            list[str] | None,
            typer.Option(
                "--scenario", metavar="NAME", help="Only this one; may be repeated, may be a pattern."
            ),
        ] = None,
        level: Annotated[
            list[str] | None,
            typer.Option("--level", help="Only on this level: model or fleet; may be repeated."),
        ] = None,
        venue: Annotated[
            list[str] | None,
            typer.Option(
                "--venue", metavar="EXCHANGE", help="Only of this exchange, such as okx; may be repeated."
            ),
        ] = None,
        adapter: Annotated[
            str | None,
            typer.Option(metavar="MODULE:CLASS", help="Run this book on the model level instead of ours."),
        ] = None,
        keep: Annotated[
            Path | None,
            typer.Option(metavar="FOLDER", help="Leave the fleet's logs and data in a new folder."),
        ] = None,
        cpu_share: Annotated[
            float,
            typer.Option(metavar="SHARE", help="Hold every worker of the fleet to this share of a core."),
        ] = 1.0,
        listing: Annotated[bool, typer.Option("--list", help="Tell the scenarios and run none.")] = False,
        json: Json = False,
    ) -> None:
        """Run everything that can go wrong between exchange and reader, and compare with what really happened.

        The model level runs books without processes, of Binance and of every other exchange that is simulated;
        the fleet level runs the whole fleet on a server and an exchange of its own. Code 1 means that a scenario
        failed.
        """
        from workers.conformance.suite import run_suite  # noqa: PLC0415 -- keeps `fleet --help` quick

        raise typer.Exit(
            run_suite(
                scenario or [],
                level or [],
                venue or [],
                adapter,
                keep,
                cpu_share=cpu_share,
                listing=listing,
                as_json=json,
            )
        )
