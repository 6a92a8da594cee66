"""The commands, their options and their help."""

from __future__ import annotations

import errno
import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from inspect import cleandoc
from typing import Annotated, Final

import typer
from typer.models import CommandInfo

from workers import __version__
from workers.cli.options import Config, Json, for_seconds
from workers.errors import FleetError, SettingsError, SymbolError, WrongArgument
from workers.terminal.exit_codes import EXIT_FINE, EXIT_INTERRUPTED, EXIT_NOT_STARTED, EXIT_SETTINGS
from workers.terminal.output import escape_unencodable, note, out

REGISTERED: Final = (
    "workers.cli.replay",
    "workers.cli.conform",
    "workers.cli.bench",
    "workers.cli.fault",
    "workers.cli.export",
    "workers.cli.import_files",
    "workers.cli.verify_archive",
    "workers.cli.serve_tardis",
    "workers.cli.reading",
    "workers.cli.doctor",
)
"""Modules with commands of their own: each has `register(app)`."""
EXIT_CODES: Final = (
    "Exit codes: 0 fine · 1 a check failed or something disagreed · 2 the command line or the settings "
    "cannot be used · 3 something could not be started or reached · 130 ended by Ctrl-C or a termination "
    "before the result."
)

PANELS: Final = {
    "Run a fleet": ("demo", "live", "status", "stop", "config", "doctor"),
    "Read it": ("book", "orders", "trades", "bars", "history", "watch", "tail", "alerts"),
    "Files": ("export", "import", "verify-archive", "replay", "serve-tardis"),
    "Prove it": ("test", "conform", "bench", "fault"),
}
"""The commands by what one wants to do, as the help lists them."""

app = typer.Typer(
    name="fleet",
    help="Exact order books and exact trade statistics in Redis Streams, and proof that they are exact.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"fleet {__version__}\n")
        raise typer.Exit


@app.callback()
def fleet(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Exact order books and exact trade statistics in Redis Streams, and proof that they are exact."""


@app.command(epilog="Example: fleet demo --for 30s --json")
def demo(
    duration: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="TIME", help="Run that long, then compare everything. Else until Ctrl-C."
        ),
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="What goes wrong, as in `fleet fault`; may be repeated."),
    ] = None,
    venue: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Simulate and follow okx, bybit, kraken, coinbase, bitfinex or bitstamp too (okx:swap: another "
            "market); may be repeated.",
        ),
    ] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Run the fleet on a simulated exchange and compare it with what really happened.

    Everything runs on loopback, on a Redis server of its own unless REDIS_URL names one. Code 1 means that
    a book, a trade or a bar disagreed, or that something never came into sync.
    """
    from workers.cli.demo import run_demo  # noqa: PLC0415 -- keeps `fleet --help` quick

    seconds = for_seconds(duration) if duration else 30.0 if json else None
    raise typer.Exit(run_demo(seconds, config, fault or [], venue or [], as_json=json))


@app.command(epilog="Example: fleet live BTCUSDT ETHUSDT")
def live(
    symbols: Annotated[
        list[str] | None, typer.Argument(help="Instead of the list of their venue: BTCUSDT, spot:ETHUSDT.")
    ] = None,
    config: Config = None,
) -> None:
    """Run the fleet on the real exchange, until Ctrl-C."""
    from workers.cli.live import run_live  # noqa: PLC0415 -- as above

    raise typer.Exit(run_live(symbols or [], config))


@app.command(name="config", epilog="Example: FLEET_BOOKS__PUBLISH_MS=50 fleet config")
def show_config(json: Json = False, config: Config = None) -> None:
    """Print every setting in force and where it came from."""
    from workers.operations.show_config import run_config  # noqa: PLC0415 -- as above

    raise typer.Exit(run_config(config, as_json=json))


@app.command(epilog="Example: fleet status --json")
def status(json: Json = False, config: Config = None) -> None:
    """Show the workers and the symbols of the running fleet. Code 3 when none runs."""
    from workers.cli.status import run_status  # noqa: PLC0415 -- as above

    raise typer.Exit(run_status(config, as_json=json))


@app.command(epilog="Example: FLEET_HOME=/srv/fleet fleet stop")
def stop(config: Config = None) -> None:
    """Stop the running fleet and wait until it has ended."""
    from workers.cli.status import run_stop  # noqa: PLC0415 -- as above

    raise typer.Exit(run_stop(config))


@app.command(
    name="test",
    epilog="Example: ./fleet test -k order_book",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def self_test(context: typer.Context) -> None:
    """Check a checkout: linters, types, every test. Options go to pytest; ends at the first failure."""
    from workers.operations.self_test import run_tests  # noqa: PLC0415 -- as above

    raise typer.Exit(run_tests(context.args))


@app.command(
    name="run",
    hidden=True,
    epilog="Example: fleet run books --number 1",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def run_role(context: typer.Context) -> None:
    """Run one role in this process; supervisord uses it."""
    from workers.operations.role import main as role_main  # noqa: PLC0415 -- as above

    raise typer.Exit(role_main(context.args))


@cache
def _register_others() -> None:
    for name in REGISTERED:
        if find_spec(name) is not None:
            import_module(name).register(app)
    panel_of = {name: panel for panel, names in PANELS.items() for name in names}
    for command in app.registered_commands:
        command.rich_help_panel = panel_of.get(_name_of(command))
        command.help = _flowing(command.help or (command.callback and command.callback.__doc__) or "")
    places = {name: place for place, name in enumerate(panel_of)}
    app.registered_commands.sort(key=lambda command: places.get(_name_of(command), len(places)))


def _flowing(text: str) -> str:
    """The text with one line a paragraph: help is broken where the terminal ends, not where the source does."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in cleandoc(text).split("\n\n"))


def _name_of(command: CommandInfo) -> str:
    return command.name or (command.callback.__name__ if command.callback else "")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code. Errors of ours are one sentence."""
    escape_unencodable()
    try:
        _register_others()
        app(args=arguments)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    except (SettingsError, SymbolError, WrongArgument) as error:
        note(str(error))
        return EXIT_SETTINGS
    except FleetError as error:
        note(str(error))
        return EXIT_NOT_STARTED
    except OSError as error:
        if error.filename is None:
            if error.errno != errno.ENOSPC:
                raise
            out.forget()
        note(f"{error.filename or 'What is written'}: {error.strerror}.")
        return EXIT_NOT_STARTED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return EXIT_FINE
