"""`fleet live`: the whole fleet on the real exchange, until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from redis.exceptions import RedisError

from workers.cli.demo import Dashboard, introduce
from workers.model.symbols.names import parse_symbol
from workers.operations.foreground import ForegroundFleet, stop_on_signals
from workers.operations.simulated import mark_or_refuse
from workers.settings.loading import load, redis_url
from workers.store.connection import connect
from workers.terminal.exit_codes import EXIT_FINE
from workers.terminal.output import LiveStatus, Progress, Totals, note
from workers.verification.stored import FleetReader

REFRESH_S: Final = 0.5
TROUBLE_AFTER_S: Final = 10.0


def run_live(symbols: Sequence[str], config: Path | None) -> int:
    """Run the fleet until Ctrl-C; the exit code."""
    environment = dict(os.environ)
    if symbols:
        environment |= chosen_symbols(symbols, list(load(config, environment).settings.venues))
    fleet = ForegroundFleet(config, environment)
    fleet.refuse_if_running()
    settings = fleet.effective.settings
    if not settings.redis.url:
        mark_or_refuse(fleet.home, simulated=settings.exchange.enabled)
    with fleet.running():
        introduce(fleet)
        asyncio.run(_watch(fleet))
        who = " by somebody else" if fleet.ended else ""
    note(f"Stopped{who}. The logs are in {fleet.home / 'log'}.")
    return EXIT_FINE


def chosen_symbols(texts: Sequence[str], venues: Sequence[str]) -> dict[str, str]:
    """The environment that makes these the symbols of their venues; a venue of which none is named keeps its list.

    Raises:
        InvalidSymbol, UnknownVenue: a text names nothing.
    """
    named: dict[str, list[str]] = {}
    for text in texts:
        name = parse_symbol(text, venues)
        named.setdefault(name.venue, []).append(name.symbol)
    return {
        f"FLEET_VENUES__{venue.upper()}__SYMBOLS": ",".join(dict.fromkeys(symbols))
        for venue, symbols in named.items()
    }


def nothing_came(home: Path) -> str:
    """What to say of an exchange that has sent nothing."""
    log = next(iter(sorted((home / "log").glob("ingest-a*.log"))), home / "log" / "ingest-a.log")
    why = f"`fleet doctor` and {log} tell why"
    return f"exchange: no message has come for {TROUBLE_AFTER_S:g} s; {why}."


async def _watch(fleet: ForegroundFleet) -> None:
    stop = stop_on_signals()
    client = connect(redis_url(fleet.effective.settings))
    reader = FleetReader(client, fleet.effective.settings)
    display, dashboard = LiveStatus(), Dashboard(fleet)
    totals, told, passed = Totals(0, 0, 0), set[str](), 0.0
    try:
        with display.running():
            while not stop.is_set() and not fleet.ended:
                fleet.revive()
                await dashboard.look()
                try:
                    await reader.refresh()
                    totals = await reader.totals()
                except (RedisError, OSError):
                    totals = Totals(0, totals.messages, totals.trades)
                except Exception as error:  # whoever watches may fail; the fleet goes on
                    if (sentence := f"what is shown here cannot be read: {error!r}") not in told:
                        told.add(sentence)
                        note(sentence)
                display.show(Progress("live; Ctrl-C stops everything", len(reader.books), totals))
                if passed >= TROUBLE_AFTER_S:
                    silence = [] if totals.messages else [nothing_came(fleet.home)]
                    told_of = [*await asyncio.to_thread(fleet.troubles), *reader.unlisted(), *silence]
                    for sentence in told_of:
                        program = sentence.split(":", 1)[0]
                        if program not in told:
                            told.add(program)
                            note(sentence)
                await asyncio.sleep(REFRESH_S)
                passed += REFRESH_S
    finally:
        await client.aclose()
