"""`fleet tail`: any stream of a symbol, its entries decoded."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from workers.client import Gap, Interrupted
from workers.client.naming import keys_of
from workers.errors import WrongArgument
from workers.model.trades.windows import INTERVALS_MS
from workers.reading.opening import fleet_of, run_reading, symbol_name, tell_notice
from workers.store.connection import connect_reader, heeding_cancellation
from workers.store.keys import DEPTH, TRADES, Keys
from workers.store.log.follower import START, StreamFollower, before, entry_id
from workers.terminal.saying import say, say_json
from workers.terminal.times import clock_text

BLOCK_MS: Final = 500
PAUSE_S: Final = 0.5
LEVELS_SHOWN: Final = 3
CHANNELS: Final = (
    DEPTH,
    TRADES,
    "snapshot",
    "top",
    "gaps",
    "audit",
    "derivatives",
    "liquidations",
    *(f"bars:{name}" for name in INTERVALS_MS),
)


class Request(NamedTuple):
    """The command line."""

    symbol: str
    channel: str
    last: int
    from_ms: int | None
    most: int
    seconds: float | None


def stream_key(keys: Keys, symbol: str, channel: str, further: Sequence[str] = ()) -> str:
    """The stream of a channel; `further`: those of the venue's settings. Raises: WrongArgument."""
    if channel in (DEPTH, TRADES, *further):
        return keys.raw(symbol, channel)
    named = {
        "snapshot": keys.raw_snapshot,
        "top": keys.book_top,
        "gaps": keys.gaps,
        "audit": keys.audit,
        "derivatives": keys.derivatives,
        "liquidations": keys.liquidations,
    }
    if channel in named:
        return named[channel](symbol)
    head, _, interval = channel.partition(":")
    if head == "bars" and interval in INTERVALS_MS:
        return keys.bars(symbol, interval)
    raise WrongArgument(f"There is no channel {channel!r}", (*CHANNELS, *further))


def run_tail(request: Request, config: Path | None, *, as_json: bool) -> int:
    """Follow the stream; the exit code."""
    effective = fleet_of(config)
    name = symbol_name(effective, request.symbol)
    keys, symbol = keys_of(name)
    venues = effective.settings.venues
    venue = venues[keys.prefix.removesuffix(":") or next(iter(venues))]
    key = stream_key(keys, symbol, request.channel, venue.channels)

    async def read(url: str) -> None:
        client: Any = connect_reader(url)
        try:
            follower = StreamFollower(client, {key: await _begin(client, key, request)})
            await _follow(follower, name, request, as_json=as_json)
        finally:
            await client.aclose()

    return run_reading(effective, [name], read, request.seconds)


async def _begin(client: Any, key: str, request: Request) -> str:
    if request.from_ms is not None:
        return before(request.from_ms)
    found = await client.xrevrange(key, count=request.last + 1)
    return found[request.last][0].decode() if len(found) > request.last else START


async def _follow(follower: StreamFollower, name: str, request: Request, *, as_json: bool) -> None:
    count, away = 0, False
    while True:
        try:
            with heeding_cancellation():
                followed = await follower.read(BLOCK_MS)
            away = False
        except (RedisConnectionError, RedisTimeoutError) as error:
            if not away:
                tell_notice(Interrupted(str(error)), as_json=as_json)
            away = True
            await asyncio.sleep(PAUSE_S)
            continue
        for lost in followed.lost:
            reason = "restarted" if lost.restarted else "trimmed"
            tell_notice(Gap(name, request.channel, reason, lost.after, lost.first, None), as_json=as_json)
        for entries in followed.entries.values():
            for stream_id, fields in entries:
                row = entry_row(stream_id.decode(), fields)
                if as_json:
                    say_json(row)
                else:
                    say(entry_line(row))
                count += 1
                if count == request.most:
                    return


def entry_row(stream_id: str, fields: Mapping[bytes, bytes]) -> dict[str, Any]:
    """An entry with its `data` as the object it is; other fields are text."""
    row: dict[str, Any] = {"id": stream_id}
    for name, value in fields.items():
        row[name.decode()] = value.decode(errors="replace")
        if name == b"data":
            with suppress(msgspec.MsgspecError):
                row["data"] = msgspec.json.decode(value)
    return row


def _shown(value: Any) -> str:
    if isinstance(value, list):
        head = ", ".join(
            " x ".join(map(str, level)) if isinstance(level, list) else str(level)
            for level in value[:LEVELS_SHOWN]
        )
        return f"[{head}{', … ' + str(len(value)) if len(value) > LEVELS_SHOWN else ''}]"
    if isinstance(value, dict):
        return "  ".join(f"{name}={_shown(inner)}" for name, inner in value.items())
    return str(value)


def entry_line(row: Mapping[str, Any]) -> str:
    """An entry for people: its time, its id, its fields, long lists cut."""
    rest = {name: value for name, value in row.items() if name not in ("id", "data")}
    data = row.get("data")
    parts = [clock_text(entry_id(row["id"])[0]), row["id"]]
    parts += [_shown(data)] if data is not None else []
    parts += [f"{name}={value}" for name, value in rest.items()]
    return "  ".join(parts)
