"""`fleet import`: files of Tardis and of Binance into the archive."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from workers.cli.options import Config, Json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        name="import", epilog="Example: fleet import binance-futures_trades_2026-11-01_BTCUSDT.csv.gz"
    )(import_files)


def import_files(
    files: Annotated[
        list[str],
        typer.Argument(
            help="Tardis CSV (plain, .gz, .zst), .zip or .csv of data.binance.vision, also at URLs that fsspec knows; "
            "or the URL of a tardis-machine.",
            metavar="FILES",
        ),
    ],
    venue: Annotated[
        str, typer.Option("--venue", help="File under it. Else Tardis' own name, or Binance's market.")
    ] = "",
    symbol: Annotated[str, typer.Option("--symbol", help="Of Binance's: instead of the file's name.")] = "",
    market: Annotated[
        Literal["spot", "usdm", "coinm"] | None,
        typer.Option("--market", help="Of Binance's: instead of the one that the file shows."),
    ] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Put trades, books and bars of others into the archive; again, and only what is missing is added.

    Books are followed on the way. Code 1: a row could not be used, or a book was crossed.

    What a tardis-machine replays: tardis://HOST:PORT/EXCHANGE?symbols=A,B&from=TIME&to=TIME
    """
    from workers.research.importing import Request, run_import  # noqa: PLC0415 -- keeps `fleet --help` quick

    raise typer.Exit(run_import(Request(files, venue, symbol, market), config, as_json=json))
