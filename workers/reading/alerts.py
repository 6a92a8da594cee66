"""`fleet alerts`: those that are open, and what becomes of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import msgspec
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from workers.client import Interrupted
from workers.model.alerts.notices import place, sentence, value_text
from workers.model.alerts.records import Alert
from workers.model.alerts.rules import BEYOND_LIMIT
from workers.plain_text import plain
from workers.reading.opening import fleet_of, run_reading, tell_notice
from workers.store.alerts.book import AlertBook, AlertEntry, OpenAlert
from workers.store.connection import connect
from workers.terminal.saying import say, say_json
from workers.terminal.times import clock_text

PAUSE_S: Final = 0.5
READ_AT_ONCE: Final = 100
LONGEST: Final = 1_500
"""Characters of a line."""


def run_alerts(config: Path | None, seconds: float | None, *, follow: bool, as_json: bool) -> int:
    """Show the open alerts, then what becomes of alerts; the exit code."""
    effective = fleet_of(config)

    async def read(url: str) -> None:
        client = connect(url)
        try:
            book = AlertBook(client)
            place, owner, opened = await book.last(), await book.owner(), await book.opened()
            if as_json:
                left_out = sum(one.alert.left_out for one in opened)
                records = [_plain(one._asdict()) for one in opened]
                say_json({"owner": owner or None, "open": records, "left_out": left_out})
            elif not opened:
                say(
                    "No alert is open."
                    if owner
                    else "No alert is open, and no worker looks. Are there alerts.rules?"
                )
            else:
                for one in opened:
                    _show(one)
            if follow:
                await _follow(book, place, as_json=as_json)
        finally:
            await client.aclose()

    return run_reading(effective, [], read, seconds)


def _show(one: OpenAlert) -> None:
    alert, comment = one
    value = f"{value_text(alert.value)} (last {value_text(alert.last_value)})"
    if alert.target == BEYOND_LIMIT:
        value = f"no alert of their own ({alert.facts.get('targets', '')}, …)"
    head = f"{clock_text(alert.fired_ms)}  {alert.severity}{' silenced' * alert.silenced}"
    if alert.flapping:
        value += f", flapping: {alert.firings} times lately{', not met now' * (not alert.met)}"
    say(plain(f"{head}  {alert.rule} at {place(alert)}: {alert.condition}: {value}", LONGEST))
    if comment is not None:
        say(plain(f"    {sentence('commented', comment)}", LONGEST))


async def _follow(book: AlertBook, place: str, *, as_json: bool) -> None:
    away = False
    while True:
        try:
            entries = await book.after(place, READ_AT_ONCE)
            away = False
        except (RedisConnectionError, RedisTimeoutError) as error:
            if not away:
                tell_notice(Interrupted(str(error)), as_json=as_json)
            away, entries = True, []
        for entry in entries:
            _tell(entry, as_json=as_json)
            place = entry.id
        if len(entries) < READ_AT_ONCE:
            await asyncio.sleep(PAUSE_S)


def _tell(entry: AlertEntry, *, as_json: bool) -> None:
    kind = "alert" if isinstance(entry.record, Alert) else "comment"
    if as_json:
        say_json({"id": entry.id, "event": entry.event, kind: _plain(entry.record)})
        return
    moment = clock_text(int(entry.id.partition("-")[0]))
    say(plain(f"{moment}  {sentence(entry.event, entry.record)}", LONGEST))


def _plain(record: Any) -> Any:
    return msgspec.to_builtins(record)
