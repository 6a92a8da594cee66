"""`fleet bench`: its options."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from workers.cli.options import Config, Json, for_seconds


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command(epilog="Example: fleet bench --rates 172,3500 --for 10s --against cryptofeed")
    def bench(
        rates: Annotated[
            str, typer.Option(metavar="LIST", help="Messages a second over all symbols, with commas between.")
        ] = "172,3500,10000",
        symbols: Annotated[int, typer.Option(min=1, max=1000, help="Symbols followed.")] = 20,
        duration: Annotated[
            str, typer.Option("--for", metavar="TIME", help="How long each is measured.")
        ] = "15s",
        lines: Annotated[int, typer.Option(min=1, max=2, help="Ingest lines of the fleet.")] = 1,
        against: Annotated[
            str | None,
            typer.Option(metavar="PEER", help="Measure this after the fleet, at each rate: cryptofeed."),
        ] = None,
        burst: Annotated[
            float,
            typer.Option(
                metavar="FACTOR",
                min=0,
                max=1000,
                help="After each rate so many times of it for 10 s, and how long it takes to catch up; 0: none.",
            ),
        ] = 0.0,
        no_idle: Annotated[
            bool, typer.Option("--no-idle", help="Leave out the whole fleet without any message.")
        ] = False,
        json: Json = False,
        config: Config = None,
    ) -> None:
        """Measure the fleet under load: CPU by role, memory, delays, where it falls behind, and whether it is right.

        A load generator plays the exchange; every measurement has a Redis server of its own, without a file.
        `--against cryptofeed` installs that once, in a venv of its own in the run directory. Code 1 means that a book
        or trade of the fleet was in the end not what had been sent. Linux only.
        """
        from workers.bench.report import run_bench  # noqa: PLC0415 -- keeps `fleet --help` quick
        from workers.bench.suite import PEERS, Plan  # noqa: PLC0415 -- as above
        from workers.settings.loading import load  # noqa: PLC0415 -- as above

        if against is not None and against not in PEERS:
            raise typer.BadParameter(f"{against!r} is none of: {', '.join(PEERS)}", param_hint="--against")
        seconds = for_seconds(duration)
        cache = load(config, os.environ).home / "bench"
        plan = Plan(_rates(rates), symbols, seconds, lines, not no_idle, against or "", cache, burst)
        raise typer.Exit(run_bench(plan, as_json=json))


def _rates(text: str) -> list[float]:
    try:
        rates = [float(word) for word in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no list of numbers", param_hint="--rates") from error
    if not all(0 < rate <= 1_000_000 for rate in rates):
        raise typer.BadParameter("a rate is a number from 1 to 1,000,000", param_hint="--rates")
    return rates
