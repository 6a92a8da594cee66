"""What the reading commands share: whose fleet, which symbol, and reading until it is time to stop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from redis.exceptions import RedisError

from workers.archive.files.past import readable_archive
from workers.client import Gap, Interrupted, Withheld
from workers.client.naming import held_keys
from workers.errors import CommandError, FleetError, StateUnreadable
from workers.masking import mask
from workers.model.symbols.names import SymbolName, parse_symbol, unknown_symbol
from workers.model.symbols.selection import SymbolRule
from workers.operations.foreground import stop_on_signals
from workers.operations.run_directory import closed_by
from workers.operations.running import running_fleet
from workers.operations.supervision import Supervisor
from workers.runtime.context import venue_contexts
from workers.runtime.tasks import end
from workers.settings.loading import Effective, load, redis_url
from workers.store.connection import connect
from workers.store.refusals import Refusal, refusal_of
from workers.terminal.exit_codes import EXIT_FINE
from workers.terminal.output import note, out, sentence
from workers.terminal.saying import say_json

NOTICES: Final = (Gap, Withheld, Interrupted)


def archive_of(effective: Effective) -> str:
    """The fleet's archive, where it keeps one that can be read here; else empty."""
    archive = effective.settings.archive
    if readable_archive(effective.settings) is None:
        return ""
    return archive.url if "://" in archive.url else str(effective.home / Path(archive.url).expanduser())


def fleet_of(config: Path | None) -> Effective:
    """The settings of the fleet meant, as `fleet status` finds it."""
    return running_fleet(config)[0]


def symbol_name(effective: Effective, text: str) -> str:
    """A symbol as the client names it, from `BTCUSDT`, `spot:ethusdt` or, of the first venue, `usdm:BTCUSDT`.

    Raises:
        InvalidSymbol, UnknownVenue: the text names nothing.
    """
    venues = list(effective.settings.venues)
    name = parse_symbol(text, venues)
    return name.symbol if name.venue == venues[0] else f"{name.venue}:{name.symbol}"


async def refuse_unknown(effective: Effective, url: str, names: Sequence[str]) -> None:
    """Raise if one of the symbols is neither followed nor held, or not listed: nothing would ever come of it.

    Args:
        names: as the client names them.

    Raises:
        UnknownSymbol: it is unknown.
        RedisError: the server does not answer.
    """
    contexts = venue_contexts(effective.settings)
    by_name = {context.name: context for context in contexts}
    client = connect(url)
    try:
        for name in names:
            venue, _, symbol = name.rpartition(":")
            context = by_name[venue] if venue else contexts[0]
            symbols = context.symbols
            with suppress(StateUnreadable):
                await symbols.refresh(client)
            meant = SymbolName(context.name, symbol)
            if symbol in symbols.unlisted:
                raise unknown_symbol(meant, symbols.unlisted[symbol], listed=False)
            followed = symbol in symbols or (not symbols.chosen and symbols.rule.wants(symbol))
            if not followed and not await client.exists(*held_keys(context.keys, symbol)):
                raise unknown_symbol(meant, symbols)
    finally:
        await client.aclose()


def known_symbols(incomplete: str) -> Iterator[str]:
    """Symbols of the settings that begin like that, for the shell."""
    try:
        effective = load(None, os.environ)
    except FleetError:
        return
    for number, (venue, settings) in enumerate(effective.settings.venues.items()):
        for symbol in SymbolRule.parse(settings.symbols).exact:
            name = symbol if number == 0 else f"{venue}:{symbol}"
            if name.lower().startswith(incomplete.lower()):
                yield name


CURES: Final = {
    Refusal.AWAY: "Start one with `fleet live`.",
    Refusal.LOADING: "It reads its data after a start: ask again when it has done so.",
    Refusal.NOT_LOGGED_IN: "Look at the user and the password in redis.url or REDIS_URL.",
}
"""What is to be done where a server does not answer as it should; of other refusals their own words tell it."""


@contextmanager
def reaching(effective: Effective) -> Iterator[str]:
    """The URL of the fleet's Redis; what it does not answer is one sentence.

    Raises:
        CommandError: the server cannot be reached.
    """
    url = redis_url(effective.settings)
    try:
        yield url
    except (RedisError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            raise
        said = f"No fleet answers: Redis at {mask(url)} says: {sentence(error)}."
        raise CommandError(f"{said} {_cure(effective, refusal_of(error))}".rstrip()) from error


def _cure(effective: Effective, refusal: Refusal) -> str:
    if refusal is Refusal.AWAY and (owner := closed_by(effective.home)):
        return f"{effective.home} belongs to {owner}: run this as that user."
    if refusal is Refusal.AWAY and Supervisor(effective.home).find() is not None:
        log = effective.home / "log"
        return f"A fleet runs in {effective.home}, or is starting: `fleet doctor` and the logs in {log} tell more."
    return CURES.get(refusal, "")


def run_reading(
    effective: Effective,
    names: Sequence[str],
    read: Callable[[str], Coroutine[Any, Any, None]],
    seconds: float | None,
) -> int:
    """Read of these symbols until it ends, Ctrl-C, a closed pipe, or so many seconds have passed; the exit code."""

    async def reading(url: str) -> None:
        await refuse_unknown(effective, url, names)
        await read(url)

    try:
        with reaching(effective) as url:
            asyncio.run(_until(reading(url), seconds))
    except BrokenPipeError:
        out.forget()  # whoever read has enough
    return EXIT_FINE


async def _until(reading: Coroutine[Any, Any, None], seconds: float | None) -> None:
    stop = stop_on_signals()
    tasks = [
        asyncio.create_task(reading, name="reading"),
        asyncio.create_task(stop.wait(), name="reading: stop"),
    ]
    done, waiting = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    await end(waiting)
    for task in done:
        task.result()


def notice_text(notice: Gap | Withheld | Interrupted) -> str:
    """A notice as a sentence."""
    if isinstance(notice, Withheld):
        return f"{notice.symbol}: {withheld_text(notice)}"
    if isinstance(notice, Gap):
        count = f"{notice.missing} missing, " if notice.missing is not None else ""
        return f"{notice.symbol}: {notice.channel}, {count}{notice.reason}: {notice.first} to {notice.last}"
    return f"Redis does not answer: {notice.reason}"


def withheld_text(notice: Withheld) -> str:
    """Why a book is withheld, without its name."""
    return f"the book is withheld: {notice.state}" + (f" ({notice.reason})" if notice.reason else "")


def tell_notice(notice: Gap | Withheld | Interrupted, *, as_json: bool) -> None:
    """A notice among the records: a JSON object with `notice`, or a line for people."""
    if as_json:
        say_json({"notice": type(notice).__name__.lower(), **notice._asdict()})
    else:
        note(notice_text(notice))
