"""`fleet demo`: the whole fleet on the simulated exchange, checked against what really happened."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from redis.exceptions import RedisError
from rich.markup import escape
from rich.table import Table

from workers.archive.files import parquet
from workers.errors import CommandError, ExtraMissing, SettingsError
from workers.masking import mask
from workers.model.symbols.selection import SymbolRule
from workers.operations.exchange_program import simulator_settings
from workers.operations.foreground import ForegroundFleet, free_ports, stop_on_signals, with_free_ports
from workers.operations.simulated import discard_simulated, mark_or_refuse
from workers.runtime.tasks import end
from workers.settings.addresses import address_of
from workers.settings.exchanges import DEFAULT
from workers.settings.loading import load, redis_url
from workers.settings.paths import socket_path
from workers.sim.flavours import FLAVOURS
from workers.sim.settings import SimSettings
from workers.store.connection import connect
from workers.terminal.exit_codes import EXIT_DISAGREEMENT, EXIT_FINE, EXIT_INTERRUPTED
from workers.terminal.output import LiveStatus, Progress, err, json_line, out, sentence
from workers.verification.fleet import STARTING, Verification
from workers.verification.stored import Held
from workers.verification.truth_source import TruthSource

START_S: Final = 90.0
ENDED_EVERY_S: Final = 0.5
CONNECT_S: Final = 1.0
DEFAULT_FILE: Final = Path("demo.toml")
WEBSOCKET_PATHS: Final = {"kraken": "/v2", "coinbase": "/{market}", "bitfinex": "/ws/2"}
"""What the settings of an exchange want behind the host."""
FAILED: Final = ("books_differ", "trades_missing", "trades_doubled", "trades_differ", "bars_differ")


def run_demo(
    seconds: float | None,
    config: Path | None,
    faults: Sequence[str],
    venues: Sequence[str] = (),
    *,
    as_json: bool,
) -> int:
    """Run the demo until Ctrl-C, or for `seconds` with a verdict at the end; the exit code.

    Args:
        faults: what goes wrong on the exchange, besides what the settings say.
        venues: other exchanges that are simulated and followed too, such as `okx`.

    Raises:
        SettingsError: a venue that is not simulated, a fault that is none, or settings the demo cannot run with.
    """
    chosen = config or Path(os.environ.get("FLEET_CONFIG") or DEFAULT_FILE)
    given = {**os.environ, "FLEET_EXCHANGE__ENABLED": "true", **_with_venues(venues)}
    effective = load(chosen, given)
    if faults:
        given["FLEET_EXCHANGE__FAULTS"] = ",".join([*effective.settings.exchange.faults, *faults])
        effective = load(chosen, given)
    simulator_settings(effective.settings)
    fleet = ForegroundFleet(chosen, with_free_ports(effective, given))
    fleet.refuse_if_running()
    _refuse_other_markets(fleet)
    if not fleet.effective.settings.redis.url:
        discard_simulated(fleet.home)
        mark_or_refuse(fleet.home, simulated=True)
    asyncio.run(_refuse_leftovers(fleet))
    with fleet.running():
        introduce(fleet)
        result = asyncio.run(_demo(fleet, seconds))
        who = " by somebody else" if fleet.ended else ""
    if result is None:
        err.print(
            f"Stopped{who}. The logs are in {escape(str(fleet.home / 'log'))}.",
            highlight=False,
            soft_wrap=True,
        )
        return EXIT_INTERRUPTED if seconds is not None else EXIT_FINE
    if as_json:
        out.file.write(json_line(result))
    else:
        out.print(verdict_table(result))
    failed = bool(result["problems"]) or any(result[name] for name in FAILED)
    if failed:
        err.print(f"The logs are in {escape(str(fleet.home / 'log'))}.", highlight=False, soft_wrap=True)
    return EXIT_DISAGREEMENT if failed else EXIT_FINE


def _with_venues(texts: Sequence[str]) -> dict[str, str]:
    """What the environment must say for other exchanges to be simulated and followed: a port each, and sections.

    Args:
        texts: `okx` for the exchange's first market, `okx:swap` for another one, in a section `okx_swap`.
    """
    wanted = [(name, market) for name, _, market in (text.partition(":") for text in dict.fromkeys(texts))]
    names = list(dict.fromkeys(name for name, _ in wanted))
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    said: dict[str, str] = {}
    for name, chosen in wanted:
        if name not in FLAVOURS or name == DEFAULT:
            known = ", ".join(flavour for flavour in FLAVOURS if flavour != DEFAULT)
            raise SettingsError("--venue", f"{name!r} is not simulated besides {DEFAULT} (known: {known})")
        flavour, port = FLAVOURS[name](SimSettings(flavour=name)), ports[name]
        market = chosen or flavour.markets[0]
        if market not in flavour.markets:
            raise SettingsError(
                "--venue", f"{name} has no market {market!r} (known: {', '.join(flavour.markets)})"
            )
        section = f"FLEET_VENUES__{name.upper()}"
        section += "" if market == flavour.markets[0] else f"_{market.upper()}"
        path = WEBSOCKET_PATHS.get(name, "").format(market=market)
        said |= {
            f"FLEET_EXCHANGE__FLAVOURS__{name.upper()}": str(port),
            f"{section}__EXCHANGE": name,
            f"{section}__MARKET": market,
            f"{section}__SYMBOLS": ",".join(flavour.listed(market)),
            f"{section}__WEBSOCKET_URL": f"ws://127.0.0.1:{port}{path}",
            f"{section}__REST_URL": f"http://127.0.0.1:{port}",
        }
    return said


def _refuse_other_markets(fleet: ForegroundFleet) -> None:
    exchange = fleet.effective.settings.exchange
    for name, venue in fleet.effective.settings.venues.items():
        port = exchange.flavours.get(venue.exchange, exchange.port)
        here = f"//{exchange.host}:{port}/"
        markets = FLAVOURS[venue.exchange](SimSettings()).markets if venue.exchange in FLAVOURS else ()
        if venue.market not in markets:
            raise SettingsError(
                f"venues.{name}.market", f"the simulated exchange has no {venue.market} market"
            )
        if here not in f"{venue.rest_url}/" or here not in f"{venue.websocket_url}/":
            raise SettingsError(
                f"venues.{name}",
                f"rest_url and websocket_url do not point at the simulated exchange ({here}…), so there would be "
                "nothing to compare with: write them as config/demo.toml does",
            )


async def _refuse_leftovers(fleet: ForegroundFleet) -> None:
    """A server we were told to use may hold an earlier run's keys: they would be taken for this one's."""
    settings = fleet.effective.settings
    if not settings.redis.url:
        return
    client = connect(settings.redis.url)
    try:
        found = await Held(client, settings).leftovers()
    except (RedisError, OSError) as error:
        raise CommandError(
            f"Redis at {mask(settings.redis.url)} does not answer: {sentence(error)}."
        ) from error
    finally:
        await client.aclose()
    if found:
        raise CommandError(
            f"{mask(settings.redis.url)} already holds {found[0]} and {len(found) - 1} more keys of these "
            "symbols. The demo deletes nothing it did not make: name an empty database, such as /5 at the "
            "end of the URL."
        )


def cli_line(fleet: ForegroundFleet, command: str) -> str:
    """A redis-cli line to paste, which asks for the password itself; empty for sentinels: redis-cli asks none."""
    url = fleet.effective.settings.redis.url
    if not url:
        return f"redis-cli -s {shlex.quote(str(socket_path(fleet.home, 'redis.sock')))} {command}"
    address = address_of(url)
    if address.sentinels:
        return ""
    options = address.options
    words = ["-s", options["path"]] if "path" in options else ["-h", options["host"], "-p", options["port"]]
    words += ["-n", options["db"]] if options.get("db") else []
    words += ["--user", options["username"]] if "username" in options else []
    words += ["--askpass"] if "password" in options else []
    words += ["--tls"] if address.tls else []
    for option, name in (("--cacert", "ssl_ca_certs"), ("--cert", "ssl_certfile"), ("--key", "ssl_keyfile")):
        words += [option, options[name]] if name in options else []
    return f"redis-cli {shlex.join(str(word) for word in words)} {command}"


def introduce(fleet: ForegroundFleet) -> None:
    """Say on standard error where everything is."""
    settings = fleet.effective.settings
    symbol = next(iter(SymbolRule.parse(next(iter(settings.venues.values())).symbols).exact), "BTCUSDT")
    lines = [
        f"dashboard          http://{settings.api.host}:{settings.api.port}/ (starting)",
        f"Redis              {mask(redis_url(settings))}",
        *(
            f"{'' if place else 'try':19}{line}"
            for place, command in enumerate(
                (f"HGET LIVE_ORDERBOOK {symbol}", f"XREVRANGE bars:{{{symbol}}}:1m + - COUNT 3")
            )
            if (line := cli_line(fleet, command))
        ),
        f"logs               {fleet.home / 'log'}",
    ]
    if settings.archive.enabled:
        try:
            parquet.require()
        except ExtraMissing as error:
            lines.append(f"archive            nothing is archived: {error}")
    for line in lines:
        err.print(escape(line), highlight=False, soft_wrap=True)


class Dashboard:
    """Says once that the dashboard can be opened: its role is the last to start."""

    def __init__(self, fleet: ForegroundFleet) -> None:
        self._api = fleet.effective.settings.api
        self._told = False

    async def look(self) -> None:
        """Try whether it listens now, unless that was told already."""
        if self._told:
            return
        host, port = self._api.host, self._api.port
        try:
            async with asyncio.timeout(CONNECT_S):
                _, writer = await asyncio.open_connection(host, port)
        except OSError:  # TimeoutError is one
            return
        writer.close()
        self._told = True
        err.print(escape(f"The dashboard is open: http://{host}:{port}/"), highlight=False, soft_wrap=True)


async def _demo(fleet: ForegroundFleet, seconds: float | None) -> dict[str, Any] | None:
    """The verdict; None when Ctrl-C, or a `fleet stop` while no verdict was wanted, came first."""
    settings = fleet.effective.settings
    stop = stop_on_signals()
    client = connect(redis_url(settings))
    display = LiveStatus()
    try:
        async with AsyncExitStack() as stack:
            base = f"http://{settings.exchange.host}"
            source = await stack.enter_async_context(TruthSource(f"{base}:{settings.exchange.port}"))
            others = {
                name: await stack.enter_async_context(TruthSource(f"{base}:{port}"))
                for name, port in settings.exchange.flavours.items()
                if port
            }
            verification = Verification(Held(client, settings), source, others)
            with display.running():
                beside = [
                    asyncio.create_task(_show(display, verification, fleet), name="demo: display"),
                    asyncio.create_task(
                        _stop_with_fleet(fleet, verification, stop), name="demo: end of the fleet"
                    ),
                ]
                try:
                    result = await _verify(fleet, verification, seconds, stop)
                finally:
                    await end(beside)
    except (RedisError, OSError, CommandError) as error:
        stopped = await asyncio.to_thread(fleet.is_being_stopped)
        if stopped and seconds is None:
            return None
        what = "It was stopped by somebody else" if stopped else f"It stopped answering: {sentence(error)}"
        raise CommandError(f"The demo cannot go on. {what}. The logs are in {fleet.home / 'log'}.") from error
    finally:
        await client.aclose()
    if result is None and fleet.failed:
        raise CommandError(f"The demo cannot start: {fleet.failed}")
    if result is None and seconds is not None and fleet.ended:
        raise CommandError(f"The demo was stopped by somebody else. The logs are in {fleet.home / 'log'}.")
    return result


async def _verify(
    fleet: ForegroundFleet, verification: Verification, seconds: float | None, stop: asyncio.Event
) -> dict[str, Any] | None:
    if await verification.wait_until_synced(START_S, stop):
        verification.phase = "running"
        await verification.run(seconds, stop)
        if not stop.is_set():
            verification.phase = "comparing everything"
            await verification.finish()
    elif not stop.is_set():
        for trouble in await asyncio.to_thread(fleet.troubles):
            verification.findings.tell(trouble)
    return None if stop.is_set() else await verification.report()


async def _stop_with_fleet(fleet: ForegroundFleet, verification: Verification, stop: asyncio.Event) -> None:
    """Set `stop` when supervisord has ended, or a program will not start; Redis away alone is no reason to stop."""
    while True:
        await asyncio.sleep(ENDED_EVERY_S)
        if fleet.ended or (verification.phase == STARTING and await asyncio.to_thread(fleet.failing) != ""):
            stop.set()


async def _show(display: LiveStatus, verification: Verification, fleet: ForegroundFleet) -> None:
    told, dashboard = set[str](), Dashboard(fleet)
    while True:
        fleet.revive()
        await dashboard.look()
        for line in verification.unlisted:
            if line not in told:
                told.add(line)
                err.print(escape(f"{line} The demo goes on without it."), highlight=False, soft_wrap=True)
        found, symbols = verification.findings, len(verification.books)
        display.show(
            Progress(
                verification.phase, symbols, verification.totals, found.book_samples, len(found.books_differ)
            )
        )
        await asyncio.sleep(0.25)


def verdict_table(result: Mapping[str, Any]) -> Table:
    """The verdict for people."""
    table = Table(title="Compared with what really happened", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in result.items():
        if name not in ("problems", "unlisted"):
            table.add_row(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
    for symbol in result["unlisted"]:
        table.add_row("not compared", escape(symbol))
    for problem in result["problems"]:
        table.add_row("problem", escape(problem))
    return table
