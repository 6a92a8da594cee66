"""`fleet verify-archive`: what is held, compared with a file of the exchange's own archive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from workers.cli.options import Config, Json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        name="verify-archive", epilog="Example: fleet verify-archive BTCUSDT-aggTrades-2026-11-20.zip"
    )(verify_archive)


def verify_archive(
    file: Annotated[
        Path,
        typer.Argument(
            help="A file of data.binance.vision (aggTrades, trades or klines): .zip, or the .csv in it."
        ),
    ],
    symbol: Annotated[str, typer.Option("--symbol", help="Instead of the one in the file's name.")] = "",
    market: Annotated[
        Literal["spot", "usdm", "coinm"] | None,
        typer.Option("--market", help="Instead of the one that folder and columns of the file show."),
    ] = None,
    venue: Annotated[
        str, typer.Option("--venue", help="Else the first venue of the settings that is this market.")
    ] = "",
    source: Annotated[
        Literal["auto", "redis", "archive"],
        typer.Option("--source", help="What to compare: auto is Redis and the fleet's own archive together."),
    ] = "auto",
    json: Json = False,
    config: Config = None,
) -> None:
    """Compare the trades or bars held with an official file: missing, extra, different.

    The CHECKSUM beside the file is verified. Compared is what lies between the first and the last trade that the
    fleet holds at all. Code 1 means that something differs there.
    """
    from workers.verification.archive import Request, run_verify  # noqa: PLC0415 -- keeps `fleet --help` quick

    raise typer.Exit(run_verify(Request(file, symbol, market, venue, source), config, as_json=json))
