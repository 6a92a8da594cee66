"""`fleet export`: a stretch of what is held, from Redis and the archive, as a file."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import typer

from workers.cli.options import Config
from workers.model.trades.windows import Interval
from workers.terminal.times import LATEST_MS, time_ms

EXAMPLE = "fleet export --kind bars --interval 1m --symbol BTCUSDT --from 2026-11-20 --format csv -o bars.csv"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="export", epilog=f"Example: {EXAMPLE}")(export)


def export(
    kind: Annotated[
        Literal["trades", "bars", "depth", "raw", "book", "quotes", "derivatives", "liquidations"],
        typer.Option(
            "--kind",
            metavar="KIND",
            help="trades, bars, depth, raw, book, quotes, derivatives or liquidations.",
        ),
    ],
    symbol: Annotated[str, typer.Option("--symbol", help="Whose: BTCUSDT, spot:BTCUSDT.")],
    venue: Annotated[
        str, typer.Option("--venue", help="Else the first that follows the symbol, or has files of it.")
    ] = "",
    start: Annotated[
        str, typer.Option("--from", metavar="TIME", help="ISO (UTC) or ms since 1970. Else the beginning.")
    ] = "",
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="The same, excluded. Else the end.")] = "",
    interval: Annotated[
        Interval,
        typer.Option("--interval", metavar="LENGTH", help=f"Of bars: {', '.join(get_args(Interval))}."),
    ] = "1m",
    channel: Annotated[
        str, typer.Option("--channel", help="Of raw: one of the venue's `channels`, such as kline_1m.")
    ] = "",
    form: Annotated[
        Literal["csv", "parquet", "arrow", "tardis-csv", "hftbacktest", "nautilus"] | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="csv, parquet, arrow, tardis-csv, hftbacktest (.npz) or nautilus (a catalog). Else what the "
            "file's name ends in, else csv.",
        ),
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="`-` is standard output.")
    ] = "-",
    source: Annotated[
        Literal["auto", "redis", "archive"],
        typer.Option("--source", help="auto is both, each row once."),
    ] = "auto",
    versions: Annotated[
        Literal["newest", "all"],
        typer.Option("--versions", help="Of bars: one row a window, or also what a later revision replaced."),
    ] = "newest",
    depth: Annotated[
        int, typer.Option("--depth", help="Of book: levels a side; as tardis-csv 5 or 25.")
    ] = 25,
    every: Annotated[
        str,
        typer.Option("--every", metavar="TIME", help="Of book and quotes: at that cadence, such as 100ms."),
    ] = "",
    instrument: Annotated[
        str, typer.Option("--instrument", metavar="ID", help="Of nautilus: its id. Else SYMBOL.VENUE.")
    ] = "",
    config: Config = None,
) -> None:
    """Export trades, bars, depth or a further channel of one symbol from Redis and the archive.

    Trades are selected by trade time, bars by the start of their window, the others by event time.
    """
    from workers.verification.export import Request, run_export  # noqa: PLC0415 -- keeps `fleet --help` quick

    from_ms = time_ms(start, "--from") if start else 0
    to_ms = time_ms(end, "--to") if end else LATEST_MS
    if to_ms <= from_ms:
        raise typer.BadParameter("it must be later than --from.", param_hint="--to")
    if (kind == "raw") != bool(channel):
        raise typer.BadParameter("it goes with --kind raw, which needs it.", param_hint="--channel")
    match form, kind:
        case ("tardis-csv" | "hftbacktest" | "nautilus", _) | (
            _,
            "book" | "quotes" | "derivatives" | "liquidations",
        ):
            from workers.research import exporting  # noqa: PLC0415 -- as above

            where = (symbol, venue, from_ms, to_ms, output, source, channel)
            raise typer.Exit(
                exporting.run_export(exporting.Request(form, kind, *where, depth, every, instrument), config)
            )
        case _, "trades" | "bars" | "depth" | "raw" as archived:
            pass
    if every:
        raise typer.BadParameter("it goes with --kind book and quotes.", param_hint="--every")
    of_bars = interval if kind == "bars" else ""
    request = Request(
        archived, symbol, venue, from_ms, to_ms, of_bars, form, output, source, versions, channel
    )
    raise typer.Exit(run_export(request, config))
