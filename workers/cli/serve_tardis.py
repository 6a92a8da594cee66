"""`fleet serve-tardis`: what the fleet holds, in the protocol of tardis-machine."""

from __future__ import annotations

from typing import Annotated

import typer

from workers.cli.options import Config


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="serve-tardis", epilog="Example: fleet serve-tardis --port 8000")(serve_tardis)


def serve_tardis(
    host: Annotated[str, typer.Option("--host", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=1, max=65_534, help="Of HTTP; WebSocket is on the next one.")
    ] = 8000,
    config: Config = None,
) -> None:
    """Serve archive and log as tardis-machine would, until Ctrl-C: replay-normalized and stream-normalized.

    Beyond loopback a token is asked for, as the settings of the api say.
    """
    from workers.tardis.command import Request, run_serve  # noqa: PLC0415 -- keeps `fleet --help` quick

    raise typer.Exit(run_serve(Request(host, port), config))
