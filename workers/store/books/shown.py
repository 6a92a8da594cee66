"""Reading what the fleet says of its symbols and of itself, for status displays."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from redis.exceptions import ResponseError

from workers.errors import StateUnreadable
from workers.store.keys import BOOKS_GROUP, DEPTH, TRADES, TRADES_GROUP, Keys
from workers.store.log.streams import parts, undelivered
from workers.store.replies import unusable

_WHOLE = re.compile(r"-?[0-9]{1,17}", re.ASCII)
_PLAIN = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?")
PAGE = 100
"""Symbols asked for in one round trip."""

TRADES_STATE = (
    "last_id",
    "last_trade_time",
    "applied_count",
    "repeated_count",
    "missing_count",
    "late_count",
    "not_market_count",
    "ids_since",
)
UNFOLDED_MS: Final = 10_000
"""A trade that has been in the log for so long should be folded."""


class GroupLag(NamedTuple):
    """How far a consumer group is behind: entries not yet delivered, entries not yet acknowledged."""

    waiting: int
    pending: int


class TradesLog(NamedTuple):
    """Ids of trades in the log; -1: there is none."""

    newest: int = -1
    due: int = -1
    """The newest of those that came `UNFOLDED_MS` ago or earlier, if its ids are those the fold goes by."""


class SymbolReading(NamedTuple):
    """What Redis says of one symbol; the mappings are hashes as text."""

    book: Mapping[str, str]
    """`book:{S}:status`."""
    shown: bool
    """Whether `LIVE_ORDERBOOK` has it."""
    owner: str
    """The worker whose lease of the book holds; empty when nobody's does."""
    trades: Mapping[str, str]
    """Counters of `trades:{S}:state`; empty before the first trade."""
    history_blocks: int
    depth_lag: GroupLag
    trades_lag: GroupLag
    trades_status: Mapping[str, str]
    """`trades:{S}:status`; empty while the trades are folded."""
    trades_log: TradesLog = TradesLog()
    unheard_ms: int = 0
    """How long ago the owner last wrote the status of the book."""
    unreadable: Sequence[StateUnreadable] = ()
    """Keys of the symbol that hold what cannot be used; what they should tell is as if there were none."""


class ServerMemory(NamedTuple):
    """Bytes Redis uses and may use (0: no limit), and its version."""

    used: int
    limit: int
    version: str


def text_of(found: Mapping[bytes, bytes]) -> dict[str, str]:
    """A hash as redis-py gives it, as text."""
    return {name.decode(errors="replace"): value.decode(errors="replace") for name, value in found.items()}


def whole(text: str, default: int = 0) -> int:
    """The whole number a text says; what it says that is none counts as nothing said."""
    return int(text) if _WHOLE.fullmatch(text) else default


def plain_number(text: str) -> int | float | None:
    """The number a text says that was written plainly; None for any other text."""
    if not _PLAIN.fullmatch(text):
        return None
    return float(text) if "." in text else int(text)


async def _lag(client: Any, key: str, groups: Any, group_name: str) -> GroupLag:
    for group in groups if isinstance(groups, list) else ():
        name = group["name"]
        if (name.decode() if isinstance(name, bytes) else name) == group_name:
            return GroupLag(await undelivered(client, key, group), int(group["pending"]))
    return GroupLag(0, 0)


async def read_infos(client: Any, keys: Keys, symbols: Sequence[str]) -> list[dict[str, str]]:
    """`symbol:{S}:info` of each symbol; empty where the exchange has said nothing yet. Cost: one round trip."""
    pipe = client.pipeline(transaction=False)
    for symbol in symbols:
        pipe.hgetall(keys.symbol_info(symbol))
    replies = await pipe.execute(raise_on_error=False)
    return [
        {} if unusable(keys.symbol_info(symbol), found) else text_of(found)
        for symbol, found in zip(symbols, replies, strict=True)
    ]


class ShownBook(NamedTuple):
    """Whether a book may be used now, and what is shown of it."""

    payload: bytes | None
    """The field in `LIVE_ORDERBOOK`; None: withheld."""
    state: str
    """Where it may not be used: why; else as in `book:{S}:status`."""
    reason: str
    is_shown: bool
    """There is a payload, and a worker that would take it back."""


UNREADABLE = "unreadable"
UNHEARD_MS: Final = 10_000
"""An owner writes the status of its book every second. What is older than this says nothing of the book any more."""
NOT_OWNED = ("not owned", "no worker holds its lease; the fleet may have stopped")
GIVEN_UP: Final = ("delisted", "retired")
"""States that the keeper writes of a symbol that is not followed any more: there is no owner, and none is missing."""


def server_ms(reply: Any) -> int:
    """The time of a server's reply to TIME, ms since 1970; 0 where this user may not ask for it."""
    return 0 if isinstance(reply, Exception) else int(reply[0]) * 1000 + int(reply[1]) // 1000


def unheard_ms(told: bytes | str | None, now_ms: int) -> int:
    """How long ago a status was written.

    A clock of the server that was set back makes it a time to come: that is as long ago as it is ahead, until the
    owner writes again.

    Args:
        told: `told_ms` of the status; a status without one tells no age.
        now_ms: by the server's clock; 0: not known.
    """
    text = told.decode(errors="replace") if isinstance(told, bytes) else told or ""
    return abs(now_ms - whole(text)) if now_ms and whole(text) else 0


def standing(state: str, reason: str, *, owned: bool, unheard_ms: int, shown: bool = True) -> tuple[str, str]:
    """State and reason of a book as they are now: what its owner said last holds while it has one, and not for long.

    Args:
        state, reason: as in `book:{S}:status`, empty where there is none.
        owned: a worker holds its lease.
        unheard_ms: since the owner wrote that.
        shown: `LIVE_ORDERBOOK` has it.
    """
    if not owned:
        return (state, reason) if state in GIVEN_UP else NOT_OWNED
    if unheard_ms > UNHEARD_MS:
        ago = f"its owner has said nothing of it for {unheard_ms / 1000:.0f} s"
        return "unheard", f"{ago}; the last was: {state or 'unknown'}{f', {reason}' if reason else ''}"
    return "withdrawn" if state == "synced" and not shown else state or "unknown", reason


async def shown_books(client: Any, symbols: Sequence[tuple[Keys, str]]) -> list[ShownBook]:
    """What is shown of books, each as the keys of its venue and its symbol.

    Cost: one round trip, 3 commands a book and 1 more.
    """
    if not symbols:
        return []
    pipe = client.pipeline(transaction=False)
    for keys, symbol in symbols:
        pipe.hget(keys.live_orderbook, symbol)
        pipe.hmget(keys.book_status(symbol), "state", "reason", "told_ms")
        pipe.exists(keys.lease(BOOKS_GROUP, symbol))
    pipe.time()
    *some, time = await pipe.execute(raise_on_error=False)
    replies, now_ms, found = iter(some), server_ms(time), []
    for (keys, symbol), reply, told, owned in zip(symbols, replies, replies, replies, strict=True):
        payload = None if unusable(keys.live_orderbook, reply) else reply
        if (problem := unusable(keys.book_status(symbol), told)) is not None:
            unheard, state, reason = 0, UNREADABLE, sentence_of(problem)
        else:
            unheard = unheard_ms(told[2], now_ms)
            state, reason = standing(
                *((value or b"").decode(errors="replace") for value in told[:2]),
                owned=bool(owned),
                unheard_ms=unheard,
                shown=payload is not None,
            )
        is_shown = payload is not None and bool(owned) and unheard <= UNHEARD_MS
        found.append(ShownBook(payload, state, reason, is_shown))
    return found


def sentence_of(problem: StateUnreadable) -> str:
    """What is wrong with a key, and the command that lets the fleet make it anew."""
    return f"{problem.key}: {problem.problem} (cure: {problem.cure})"


async def read_symbols(client: Any, keys: Keys, symbols: Sequence[str]) -> list[SymbolReading]:
    """What Redis says of each symbol; what one key does not say costs that symbol alone. Cost: one round trip per 100
    symbols, 10 commands each and 1 for all, and one more for a group that is behind.
    """
    found = []
    for first in range(0, len(symbols), PAGE):
        page = symbols[first : first + PAGE]
        pipe = client.pipeline(transaction=False)
        due_ms = int(time.time() * 1000) - UNFOLDED_MS
        for symbol in page:
            pipe.hgetall(keys.book_status(symbol))
            pipe.hexists(keys.live_orderbook, symbol)
            pipe.hget(keys.lease(BOOKS_GROUP, symbol), "owner")
            pipe.hmget(keys.trades_state(symbol), *TRADES_STATE)
            pipe.zcard(keys.history(symbol))
            pipe.hgetall(keys.trades_status(symbol))
            pipe.xinfo_groups(keys.raw(symbol, DEPTH))
            pipe.xinfo_groups(keys.raw(symbol, TRADES))
            pipe.xrevrange(keys.raw(symbol, TRADES), count=1)  # after the state: the log is never behind it
            pipe.xrevrange(keys.raw(symbol, TRADES), max=due_ms, count=1)
        pipe.time()
        *replies, told_time = await pipe.execute(raise_on_error=False)
        now_ms = server_ms(told_time)
        for symbol, place in zip(page, range(0, len(replies), 10), strict=True):
            found.append(await _read_symbol(client, keys, symbol, replies[place : place + 10], now_ms))
    return found


async def _read_symbol(
    client: Any, keys: Keys, symbol: str, replies: Sequence[Any], now_ms: int
) -> SymbolReading:
    asked = (
        keys.book_status(symbol),
        keys.live_orderbook,
        keys.lease(BOOKS_GROUP, symbol),
        keys.trades_state(symbol),
        keys.history(symbol),
        keys.trades_status(symbol),
        keys.raw(symbol, DEPTH),
        *[keys.raw(symbol, TRADES)] * 3,
    )
    bad: list[StateUnreadable] = []
    told: list[Any] = []
    for key, reply in zip(asked, replies, strict=True):
        missing = (
            key in asked[-4:] and isinstance(reply, ResponseError) and "no such key" in str(reply).lower()
        )
        problem = None if missing else unusable(key, reply)
        if problem is not None and problem.key not in [one.key for one in bad]:
            bad.append(problem)
        told.append(None if problem or missing else reply)
    book, shown, owner, trades, blocks, trades_status, depth, traded, newest, due = told
    return SymbolReading(
        book=text_of(book or {}),
        unheard_ms=unheard_ms((book or {}).get(b"told_ms"), now_ms),
        shown=bool(shown),
        owner=owner.decode(errors="replace") if owner else "",
        trades={
            name: value.decode(errors="replace")
            for name, value in zip(TRADES_STATE, trades or (), strict=bool(trades))
            if value is not None
        },
        history_blocks=int(blocks or 0),
        depth_lag=await _lag(client, keys.raw(symbol, DEPTH), depth, BOOKS_GROUP),
        trades_lag=await _lag(client, keys.raw(symbol, TRADES), traded, TRADES_GROUP),
        trades_status=text_of(trades_status or {}),
        trades_log=_trades_log(newest or (), due or (), (trades or ())[-1:]),
        unreadable=tuple(bad),
    )


def _trades_log(newest: Sequence[Any], due: Sequence[Any], ids_since: Sequence[bytes | None]) -> TradesLog:
    """From pages of one entry at most: the id of an entry ends with that of its trade."""
    since_ms = whole(b"".join(told or b"" for told in ids_since).decode(errors="replace"))
    found = [parts(page[0][0]) if page else (0, -1) for page in (newest, due)]
    return TradesLog(*(trade_id if ms >= since_ms else -1 for ms, trade_id in found))


async def read_memory(client: Any) -> ServerMemory:
    """What the server says of its memory and of itself; one round trip."""
    try:
        found = await client.info("memory")
        server = await client.info("server")
    except ResponseError:  # a server that does not know the section
        return ServerMemory(0, 0, "")
    version = server.get("valkey_version") or server.get("redis_version", "")
    return ServerMemory(int(found.get("used_memory", 0)), int(found.get("maxmemory", 0)), str(version))


async def read_newest(client: Any, key: str, count: int) -> list[tuple[str, dict[str, str]]]:
    """The newest entries of a stream of text fields, newest first, each with its id.

    Raises:
        StateUnreadable: the key is no stream.
    """
    try:
        found = await client.xrevrange(key, count=count)
    except ResponseError as error:
        raise unusable(key, error) or error from None
    return [(entry_id.decode(), text_of(fields)) for entry_id, fields in found]
