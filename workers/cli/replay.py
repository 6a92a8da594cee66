"""`fleet replay`: recordings through the same code as live traffic, and a report of what came out."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from workers.cli.options import Json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="replay", epilog="Example: fleet replay usdm__btcusdt_20240808.gz --json")(replay)


def replay(
    files: Annotated[
        list[str],
        typer.Argument(
            help="Captures of hftbacktest or cryptofeed, bare frames, or CSV of Tardis (incremental_book_L2, trades): "
            "plain, .gz, .zst. Merged by time. Or the URL of a tardis-machine."
        ),
    ],
    json: Json = False,
    market: Annotated[
        Literal["spot", "usdm", "coinm"] | None,
        typer.Option(
            "--market", help="Of Binance: instead of the market that URLs or messages of a file show."
        ),
    ] = None,
    venue: Annotated[
        str,
        typer.Option(
            "--venue", metavar="EXCHANGE[:MARKET]", help="Instead of what the files show, such as okx:swap."
        ),
    ] = "",
    speed: Annotated[
        float | None,
        typer.Option(
            "--speed", min=0.001, help="1 is real time by the recorded clock. Else as fast as it goes."
        ),
    ] = None,
    redis: Annotated[
        str, typer.Option("--redis", metavar="URL", help="Use this server instead of a private one.")
    ] = "",
    add: Annotated[
        bool, typer.Option("--add", help="Go on from keys of these symbols that the server already has.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the private server and its keys for inspection.")
    ] = False,
) -> None:
    """Feed recordings through the fleet's own ingest, books and trades, and check what comes out.

    Books are compared with recorded bookTickers of the same update id, trade ids are checked for holes. Code 1
    means that something was lost, could not be read, or disagrees.

    What a tardis-machine replays: tardis://HOST:PORT/EXCHANGE?symbols=A,B&from=TIME&to=TIME
    """
    from workers.replay.command import run_replay  # noqa: PLC0415 -- keeps `fleet --help` quick

    raise typer.Exit(
        run_replay(
            files, as_json=json, market=market, venue=venue, speed=speed, redis=redis, add=add, keep=keep
        )
    )
