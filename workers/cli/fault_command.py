"""Setting, telling and taking back faults of a running simulated exchange, over its control endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.markup import escape
from rich.table import Table

from workers.conformance.fleet.control import ExchangeControl
from workers.errors import CommandError, WrongArgument
from workers.operations.running import running_fleet
from workers.settings.exchanges import DEFAULT
from workers.settings.schema import Settings
from workers.sim.engine.faults import KINDS, Fault
from workers.terminal.exit_codes import EXIT_FINE
from workers.terminal.output import out


def fault_text(words: Sequence[str]) -> str:
    """The fault the words of a command line describe, empty for none.

    Raises:
        ValueError: they describe none; the text says why.
    """
    text = " ".join(words)
    if text:
        Fault.parse(text)
    return text


def run_kinds(*, as_json: bool) -> int:
    """Tell what can go wrong."""
    if as_json:
        _write(KINDS)
        return EXIT_FINE
    table = Table()
    table.add_column("kind", no_wrap=True)
    table.add_column("what it does")
    for kind, sentence in KINDS.items():
        table.add_row(kind, escape(sentence))
    out.print(table)
    return EXIT_FINE


def control_url(settings: Settings, venue: str | None) -> str:
    """The address of the exchange that a venue of the settings runs on, without one of the simulated Binance.

    Raises:
        CommandError: it runs on no simulated exchange.
        WrongArgument: there is no such venue.
    """
    exchange = settings.exchange
    if not exchange.enabled:
        raise CommandError("This fleet runs on no simulated exchange; a real one takes no orders for faults.")
    if venue is None:
        return f"http://{exchange.host}:{exchange.port}"
    if venue not in settings.venues:
        raise WrongArgument(f"There is no venue {venue!r}", list(settings.venues))
    name = settings.venues[venue].exchange
    port = exchange.port if name == DEFAULT else exchange.flavours.get(name, 0)
    if not port:
        raise CommandError(
            f"{venue} runs on no simulated exchange: exchange.flavours has no port for {name}."
        )
    return f"http://{exchange.host}:{port}"


def run_fault(
    text: str, remove: int | None, config: Path | None, *, venue: str | None = None, as_json: bool
) -> int:
    """Set or take back what is named, and tell the faults that are set then.

    Raises:
        CommandError: see `control_url`; or no fleet runs, or the exchange does not answer.
    """
    effective, supervisor = running_fleet(config)
    if not effective.settings.exchange.enabled and supervisor.find() is None:
        raise CommandError(f"No fleet runs in {supervisor.home}. Start one with `fleet demo`.")
    rows = asyncio.run(_alter(control_url(effective.settings, venue), text, remove))
    if as_json:
        _write({"faults": rows})
    else:
        out.print(faults_table(rows))
    return EXIT_FINE


async def _alter(url: str, text: str, remove: int | None) -> list[dict[str, Any]]:
    async with ExchangeControl(url) as control:
        if text:
            await control.set_fault(text)
        if remove is not None:
            known = await control.faults()
            if remove and remove not in known:
                raise WrongArgument(
                    f"No fault has the number {remove}; `fleet fault` tells those that are set"
                )
            for number in [remove] if remove else known:
                await control.remove_fault(number)
        return list((await control.faults()).values())


def faults_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The faults that are set: number, words, whether on, how often there was occasion and how often they struck."""
    table = Table(title="faults" if rows else "no faults")
    for name in ("number", "fault", "on", "cases", "struck"):
        table.add_column(name, justify="left" if name in ("fault", "on") else "right")
    for row in rows:
        fault = msgspec.convert(row["fault"], Fault)
        table.add_row(
            str(row["id"]),
            escape(fault.text()),
            "yes" if row["on"] else "not yet",
            str(row["cases"]),
            str(row["hits"]),
        )
    return table


def _write(found: object) -> None:
    out.write_json(found)
