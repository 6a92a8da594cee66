"""The options of the reading commands and their help."""

from __future__ import annotations

from typing import Annotated

import typer

from workers.cli.options import Config, Json, for_seconds
from workers.errors import BadNumber
from workers.model.trades.windows import Interval
from workers.terminal.times import time_ms


def _complete(incomplete: str) -> list[str]:
    from workers.reading.opening import known_symbols  # noqa: PLC0415 -- keeps `fleet --help` quick

    return list(known_symbols(incomplete))


def _complete_channel(incomplete: str) -> list[str]:
    from workers.reading.tail import CHANNELS  # noqa: PLC0415 -- as above

    return [channel for channel in CHANNELS if channel.startswith(incomplete)]


Symbol = Annotated[
    str,
    typer.Argument(help="BTCUSDT of the first venue, spot:BTCUSDT of another.", autocompletion=_complete),
]
Symbols = Annotated[list[str], typer.Argument(help="As for `fleet book`.", autocompletion=_complete)]
JsonLines = Annotated[
    bool, typer.Option("--json", help="One JSON object on standard output; one a line where it follows.")
]
From = Annotated[str, typer.Option("--from", metavar="TIME", help="ISO (UTC) or ms since 1970.")]
To = Annotated[str, typer.Option("--to", metavar="TIME", help="The same, excluded. Else the end.")]
At = Annotated[str, typer.Option("--at", metavar="TIME", help="Its second; ISO (UTC) or ms since 1970.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")]
For = Annotated[str, typer.Option("--for", metavar="TIME", help="End after that long. Else at Ctrl-C.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(name="book", epilog="Example: fleet book BTCUSDT --depth 5")(book)
    app.command(name="history", epilog="Example: fleet history BTCUSDT --price 84554.30")(history)
    app.command(name="trades", epilog="Example: fleet trades BTCUSDT --from 2026-11-20T12:00 --limit 50")(
        trades
    )
    app.command(name="bars", epilog="Example: fleet bars spot:ETHUSDT --interval 5m --limit 12")(bars)
    app.command(name="watch", epilog="Example: fleet watch BTCUSDT ETHUSDT")(watch)
    app.command(name="orders", epilog="Example: fleet orders bitstamp:BTCUSD --depth 5")(orders)
    app.command(name="alerts", epilog="Example: fleet alerts --follow --json")(alerts)
    app.command(name="tail", epilog="Example: fleet tail BTCUSDT depth --count 3")(tail)


def _seconds(text: str) -> float | None:
    return for_seconds(text) if text else None


def _refuse_no_price(text: str) -> None:
    from workers.model.trades.decimals import FINE  # noqa: PLC0415 -- as above

    try:
        FINE.price_units(text or "0")
    except BadNumber as error:
        raise typer.BadParameter(str(error), param_hint="--price") from error


def _span(start: str, end: str) -> tuple[int | None, int | None]:
    from_ms = time_ms(start, "--from") if start else None
    to_ms = time_ms(end, "--to") if end else None
    if from_ms is not None and to_ms is not None and to_ms <= from_ms:
        raise typer.BadParameter("it must be later than --from.", param_hint="--to")
    return from_ms, to_ms


def book(
    symbol: Symbol,
    depth: Annotated[int, typer.Option("--depth", min=1, help="Levels a side.")] = 20,
    at: At = "",
    json: Json = False,
    config: Config = None,
) -> None:
    """Show the book of a symbol now, with what makes it trustworthy, or as it was at a second of the past.

    The past is the last 24 hours, and what the archive has. Code 3 with the reason while the book is withheld, or
    where it was not known.
    """
    from workers.reading.book import run_book  # noqa: PLC0415 -- as above

    at_ms = time_ms(at, "--at") if at else None
    raise typer.Exit(run_book(symbol, depth, at_ms, config, as_json=json))


def history(
    symbol: Symbol,
    price: Annotated[
        str, typer.Option("--price", help="Show the quantity at this price, second by second.")
    ] = "",
    start: From = "",
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="The same, included. Else now.")] = "",
    json: Json = False,
    config: Config = None,
) -> None:
    """Show what is held of a book's past, with its gaps; or the quantity at a price, second by second.

    Without --from the last minute. A second that is not known is said to be unknown, never guessed.
    """
    from workers.reading.history import Request, run_history  # noqa: PLC0415 -- as above

    if not price and (start or end):
        raise typer.BadParameter("it goes with --price.", param_hint="--from, --to")
    _refuse_no_price(price)
    from_ms, to_ms = _span(start, end)
    raise typer.Exit(run_history(Request(symbol, price, from_ms, to_ms), config, as_json=json))


def trades(
    symbol: Symbol,
    start: From = "",
    end: To = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 20,
    follow: Follow = False,
    duration: For = "",
    json: JsonLines = False,
    config: Config = None,
) -> None:
    """Show the trades of a symbol: the newest ones, or those from a time on.

    They reach back 24 hours, or as far as the archive.

    With --follow each trade as it comes, in the order of the ids; holes are waited for until they are repaired.
    """
    from workers.reading.trades import Request, run_trades  # noqa: PLC0415 -- as above

    request = Request(symbol, *_span(start, end), limit, follow, _seconds(duration))
    raise typer.Exit(run_trades(request, config, as_json=json))


def bars(
    symbol: Symbol,
    interval: Annotated[Interval, typer.Option("--interval", "-i", help="The length of the windows.")] = "1m",
    start: From = "",
    end: To = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 20,
    follow: Follow = False,
    duration: For = "",
    json: JsonLines = False,
    config: Config = None,
) -> None:
    """Show the bars of a symbol: the newest ones and the open one, or those from a time on.

    With --follow each window as it closes, and each revision of one.
    """
    from workers.reading.bars import Request, run_bars  # noqa: PLC0415 -- as above

    request = Request(symbol, interval, *_span(start, end), limit, follow, _seconds(duration))
    raise typer.Exit(run_bars(request, config, as_json=json))


def watch(
    symbols: Symbols,
    depth: Annotated[int, typer.Option("--depth", min=1, max=10, help="Levels a side.")] = 10,
    duration: For = "",
    config: Config = None,
) -> None:
    """Show books and trades live: ladder and tape on a terminal, one line a second elsewhere."""
    from workers.reading.watch import run_watch  # noqa: PLC0415 -- as above

    raise typer.Exit(run_watch(symbols, depth, _seconds(duration), config))


def orders(
    symbol: Symbol,
    depth: Annotated[int, typer.Option("--depth", min=1, help="Levels a side.")] = 10,
    first: Annotated[int, typer.Option("--first", min=0, help="Orders of each queue, from its head.")] = 8,
    order: Annotated[str, typer.Option("--id", help="Show where this order stands instead.")] = "",
    json: Json = False,
    config: Config = None,
) -> None:
    """Show the single orders of a symbol in their queues, oldest first, or where one of them stands.

    `?`: from a seed, its creation was not seen; `≥`: more may rest there than is known.
    """
    from workers.reading.orders import Request, run_orders  # noqa: PLC0415 -- as above

    raise typer.Exit(run_orders(Request(symbol, depth, first, order), config, as_json=json))


def alerts(
    follow: Follow = False, duration: For = "", json: JsonLines = False, config: Config = None
) -> None:
    """Show the alerts that are open, with what a machine said of them; with --follow what becomes of alerts, too."""
    from workers.reading.alerts import run_alerts  # noqa: PLC0415 -- as above

    raise typer.Exit(run_alerts(config, _seconds(duration), follow=follow, as_json=json))


def tail(
    symbol: Symbol,
    channel: Annotated[
        str,
        typer.Argument(
            help="depth, aggTrade, snapshot, top, gaps, audit, derivatives, liquidations, bars:1m and the like, or one "
            "of the venue's channels.",
            autocompletion=_complete_channel,
        ),
    ],
    last: Annotated[int, typer.Option("--last", "-n", min=0, help="Begin so many entries back.")] = 5,
    start: From = "",
    count: Annotated[int, typer.Option("--count", min=0, help="End after so many entries; 0: never.")] = 0,
    duration: For = "",
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    config: Config = None,
) -> None:
    """Follow any stream of a symbol, its entries decoded."""
    from workers.reading.tail import Request, run_tail  # noqa: PLC0415 -- as above

    from_ms, _ = _span(start, "")
    raise typer.Exit(
        run_tail(Request(symbol, channel, last, from_ms, count, _seconds(duration)), config, as_json=json)
    )
