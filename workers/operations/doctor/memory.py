"""How much memory a fleet will need once every key holds what its settings let it hold, from what it holds now."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from redis.exceptions import RedisError, ResponseError

from workers.errors import StateUnreadable
from workers.model.symbols.sizing import bytes_per_trade
from workers.model.trades.windows import INTERVALS_MS
from workers.runtime.context import VenueContext, venue_contexts
from workers.settings.schema import Settings
from workers.store.history.writing import decode_summary, statistics_of
from workers.store.keys import DEPTH, TRADES, Keys

SHORTEST_MS: Final = 60_000
"""A rate measured over less says nothing."""
MEASURED: Final = 20
"""Symbols looked at, spread over the list; the others are taken to be like them."""


class Estimate(NamedTuple):
    """Bytes by what holds them, all symbols together."""

    trades: float
    streams: float
    """The raw streams."""
    history: float
    bars: float
    other: float
    """What is used now and is none of these."""
    trades_a_day: float
    symbols: int
    is_known: bool

    @property
    def total(self) -> float:
        """All of it; 0 where nothing is known."""
        return self.trades + self.streams + self.history + self.bars + self.other if self.is_known else 0.0

    def rows(self) -> dict[str, float]:
        """The figures, whole bytes."""
        parts = {
            name: round(getattr(self, name)) for name in ("trades", "streams", "history", "bars", "other")
        }
        return {**parts, "total": round(self.total), "trades_a_day": round(self.trades_a_day)}

    def text(self) -> str:
        """The parts for people."""
        named = {
            "trades": self.trades,
            "raw streams": self.streams,
            "history": self.history,
            "bars": self.bars,
        }
        return ", ".join(f"{name} {size / 1e6:,.0f} MB" for name, size in named.items())


class _Symbol(NamedTuple):
    """What one symbol holds now (bytes) and will hold."""

    held: float
    trades: float
    streams: float
    history: float
    bars: float
    trades_a_day: float


async def estimate(client: Any, settings: Settings) -> Estimate:
    """The estimate. Cost: some 40 commands for each of at most 20 symbols of a venue.

    Raises:
        RedisError: the server does not answer.
    """
    info = await client.info("memory")
    server = "valkey" if "valkey_version" in await client.info("server") else "redis"
    sums = dict.fromkeys(_Symbol._fields, 0.0)
    symbols, measured = 0, 0
    for context in venue_contexts(settings):
        with suppress(StateUnreadable):  # the keeper publishes again soon; until then what was known holds
            await context.symbols.refresh(client)
        chosen = _spread(list(context.symbols))
        found = [need for name in chosen if (need := await _symbol(client, settings, context, name, server))]
        symbols += len(context.symbols)
        measured += len(found)
        for name in sums:
            mean = sum(getattr(need, name) for need in found) / len(found) if found else 0.0
            sums[name] += mean * len(context.symbols)
    other = max(0.0, int(info["used_memory"]) - sums.pop("held"))
    return Estimate(**sums, other=other, symbols=symbols, is_known=measured > 0)


def _spread(symbols: Sequence[str]) -> list[str]:
    step = max(1, -(-len(symbols) // MEASURED))
    return list(symbols[::step])


async def _symbol(
    client: Any, settings: Settings, context: VenueContext, symbol: str, server: str
) -> _Symbol | None:
    """One symbol; None while its streams hold less than a minute."""
    keys = context.keys
    depth = await _stream(client, keys.raw(symbol, DEPTH))
    if depth is None or depth.span_ms < SHORTEST_MS:
        return None
    trades_stream = await _stream(client, keys.raw(symbol, TRADES))
    latest_bytes, held, a_ms = await _latest(client, keys, symbol)
    needed = a_ms * settings.trades.retention_ms
    if settings.trades.latest_max:
        needed = min(needed, settings.trades.latest_max)
    streams = depth.after(settings.streams.depth_ms)
    if trades_stream is not None:
        streams += trades_stream.after(settings.streams.trades_ms)
        latest_bytes += trades_stream.bytes
    history_bytes, history = await _history(client, settings, keys, symbol)
    bars_bytes, bars = await _bars(client, settings, keys, symbol)
    per_trade = max(bytes_per_trade(settings.trades.member, server), 0)
    return _Symbol(
        held=depth.bytes + latest_bytes + history_bytes + bars_bytes,
        trades=max(needed, held) * per_trade,
        streams=streams,
        history=history,
        bars=bars,
        trades_a_day=a_ms * 86_400_000,
    )


class _Stream(NamedTuple):
    """A stream as it is."""

    entries: int
    bytes: int
    span_ms: int

    def after(self, kept_ms: int) -> float:
        """Bytes once it holds so much time."""
        return (
            self.bytes * max(1.0, kept_ms / self.span_ms)
            if self.span_ms >= SHORTEST_MS
            else float(self.bytes)
        )


async def _memory_of(client: Any, key: str) -> int:
    try:
        return int(await client.memory_usage(key, samples=20) or 0)
    except RedisError:
        return 0  # a hosted server that does not tell


async def _stream(client: Any, key: str) -> _Stream | None:
    try:
        found = await client.xinfo_stream(key)
    except ResponseError:
        return None
    if not found["length"]:
        return None
    first, last = (int(found[name][0].partition(b"-")[0]) for name in ("first-entry", "last-entry"))
    return _Stream(int(found["length"]), await _memory_of(client, key), last - first)


async def _latest(client: Any, keys: Keys, symbol: str) -> tuple[int, int, float]:
    """(bytes, trades held, trades a ms)."""
    key = keys.trades_latest(symbol)
    held = int(await client.zcard(key))
    if held < 2:
        return 0, held, 0.0
    ends = [await client.zrange(key, at, at, withscores=True) for at in (0, -1)]
    span_ms = ends[1][0][1] - ends[0][0][1]
    return await _memory_of(client, key), held, held / span_ms if span_ms >= SHORTEST_MS else 0.0


async def _history(client: Any, settings: Settings, keys: Keys, symbol: str) -> tuple[float, float]:
    """Bytes now, and after the hours of the settings."""
    members = await client.zrange(keys.history_index(symbol), 0, -1)
    found = statistics_of([decode_summary(member) for member in members])
    if not found.seconds_held or not settings.history.enabled:
        return float(found.bytes), float(found.bytes)
    needed = found.bytes / found.seconds_held * settings.history.hours * 3600
    return float(found.bytes), max(needed, float(found.bytes))


async def _bars(client: Any, settings: Settings, keys: Keys, symbol: str) -> tuple[float, float]:
    """Bytes now, and once every interval holds a day, or as much as is kept of it."""
    now = after = 0.0
    for interval, length_ms in INTERVALS_MS.items():
        stream = await _stream(client, keys.bars(symbol, interval))
        if stream is None:
            continue
        rate = stream.entries / stream.span_ms if stream.span_ms >= SHORTEST_MS else 1 / length_ms
        needed = min(rate * 86_400_000, settings.trades.bars_kept[interval])
        now += stream.bytes
        after += max(stream.bytes, stream.bytes / stream.entries * needed)
    return now, after
