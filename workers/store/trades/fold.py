"""Trades into windows, bars and the latest set: one atomic, exactly-once call per symbol and batch.

Whatever a call is told twice it does once: the script knows the last id it applied, and a call that an error or a
lost reply cut short can simply be repeated.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis

from workers.errors import BadNumber, LeaseLost, StateUnreadable, StoreError
from workers.model.trades.fills import Range
from workers.model.trades.fold import TRIMMED_AT_MOST, Applied, Closed, Hole, Passing, Skipped
from workers.model.trades.latest import EventType, Member
from workers.model.trades.windows import INTERVALS_MS, NOT_PROVABLE
from workers.plain_text import plain
from workers.store.keys import TRADES, Keys
from workers.store.replies import unusable
from workers.store.scripts import Argument, Scripts
from workers.store.trades.batch import Batch, cut
from workers.store.trades.state import TradesState, read_fills, read_state

__all__ = ["Batch", "TradeStore", "TradesState"]

_SCRIPT: Final = "trades/apply_trades"
_ATTEMPTS: Final = 8
_NOTHING_KNOWN: Final = (b"unproven", NOT_PROVABLE.encode())
"""Reasons of windows of which no trade is known to be missing."""
NOT_HAD: Final = "the exchange does not have them"
"""Why trades are missing."""


class WindowFigures(NamedTuple):
    """What the stats hash says of a newest window."""

    start: int
    """Its first ms."""
    closed: bool
    complete: bool
    """Of a window that lacks the proof alone, too."""
    trades: int
    missing: int
    """Ids between its first and its last that are not in it; of numbers of the log, which may be free: 0."""


class _Call:
    """One symbol's apply, until the script takes it."""

    def __init__(self, symbol: str, batch: Batch, token: str) -> None:
        self.symbol = symbol
        self.batch = batch
        self.token = token
        self.after = -1
        self.sent_at = 0.0
        self.may_wait = False


class TradeStore:
    """The trades fold of one venue's symbols in Redis.

    Args:
        client: for reading the state.
        keys: the venue's keys.
        scripts: runs the scripts.
        retention_ms: how far back the latest set goes from the newest trade; 0 keeps all.
        latest_max: trades the latest set may hold; 0: any number.
        bar_retention: bars kept per interval (about: whole stream nodes are trimmed); 0 or no entry keeps all.
        gaps_kept: accepted holes, and other entries, kept in the gaps stream (about).
        group: consumer group whose entries are acknowledged.
        event_type: what the trades are, as said in the latest set.
        member: how trades stand in the latest set.
        provable: whether ids are the venue's, and consecutive; else they are numbers of the log (see `trade_of`).
        long_windows_s: how long the windows of 5 m and longer may lag behind the trades, as far as more are applied.
    """

    def __init__(
        self,
        client: Redis,
        keys: Keys,
        scripts: Scripts,
        *,
        retention_ms: int,
        bar_retention: Mapping[str, int],
        latest_max: int = 0,
        gaps_kept: int = 10_000,
        group: str = "trades",
        event_type: EventType = "aggTrade",
        member: Member = "json",
        provable: bool = True,
        long_windows_s: float = 0.0,
    ) -> None:
        self._client = client
        self._keys = keys
        self._scripts = scripts
        self._retention_ms = retention_ms
        self._latest_max = latest_max
        self._bar_retention = [bar_retention.get(interval, 0) for interval in INTERVALS_MS]
        self._gaps_kept = gaps_kept
        self._group = group
        self._event_type = event_type
        self._member = member
        self._provable = provable
        self._long_windows_s = long_windows_s
        self._long_windows_at: dict[str, float] = {}  # when they were brought up to date last, monotonic s
        self._keys_of: dict[str, list[str]] = {}
        self._ids_since: dict[str, int] = {}
        """By symbol, as the script said last."""

    async def apply(self, symbol: str, trades: Batch, token: str = "") -> Applied:
        """Apply a batch up to the first hole, and acknowledge what was applied or repeated.

        Args:
            symbol: whose trades these are.
            trades: in the order they came.
            token: fencing number of the symbol's lease; empty: unfenced.

        Raises:
            BadNumber: a trade the fold cannot take; nothing was sent.
            LeaseLost: the lease is another's; nothing was done.
        """
        result = (await self.apply_many({symbol: trades}, {symbol: token}))[symbol]
        if isinstance(result, Exception):
            raise result
        return result

    async def apply_many(
        self, batches: Mapping[str, Batch], tokens: Mapping[str, str] | None = None
    ) -> dict[str, Applied | Exception]:
        """Apply the batches of many symbols, several in a round trip.

        Returns each symbol's result, or the exception that befell that symbol alone.
        """
        tokens = tokens or {}
        results: dict[str, Applied | Exception] = {}
        waiting = [_Call(symbol, batch, tokens.get(symbol, "")) for symbol, batch in batches.items()]
        for _ in range(_ATTEMPTS):
            sent: list[_Call] = []
            calls: list[tuple[list[str], list[Argument]]] = []
            for call in waiting:
                try:
                    tail = self._cut(call)
                except BadNumber as bad:
                    results[call.symbol] = bad
                    continue
                sent.append(call)
                calls.append((self._script_keys(call.symbol), self._head("apply", call.token) + tail))
            replies = await self._scripts.run_many(_SCRIPT, calls)
            waiting = []
            for call, reply in zip(sent, replies, strict=True):
                result = self._applied(call, reply)
                if result is None:
                    waiting.append(call)
                else:
                    results[call.symbol] = result
            if not waiting:
                break
        for call in waiting:
            results[call.symbol] = StoreError(
                f"The trades of {call.symbol} are written by somebody else too."
            )
        return results

    async def skip(
        self,
        symbol: str,
        first: int,
        last: int,
        token: str = "",
        *,
        reason: str = NOT_HAD,
        passing: Passing = "skip",
        filled: str = "no",
    ) -> Skipped:
        """Accept that the ids `first`..`last` will never come: they are counted as missing, and recorded in the gaps.

        The newest window of every interval and the windows that the first trade after the hole falls into are
        incomplete, unless it is filled or no trade has them; a newest window that the clock had closed is revised.
        Accepting again is harmless.

        Args:
            passing: what they are.
            filled: what was filled in at this place, for the gaps.

        Raises:
            LeaseLost: the lease is another's; nothing was done.
            StoreError: the fold does not stand right before `first`; nothing was done.
        """
        reply = await self._scripts.run(
            _SCRIPT,
            [*self._script_keys(symbol), self._keys.gaps(symbol)],
            [*self._head(passing, token), first, last, reason, self._gaps_kept, filled],
        )
        self._refuse_fenced(symbol, token, reply)
        if reply[0] == b"NOT_NEXT":
            raise StoreError(
                f"Trades {first} to {last} of {symbol} do not follow {reply[1]}, the last applied."
            )
        return Skipped(reply[1], reply[2])

    async def restart(self, symbol: str, first: int, last_id: int, since_ms: int, token: str = "") -> None:
        """Go on with ids that began anew lower, and record it in the gaps: what was traded meanwhile is not known.

        Entries before `since_ms` count as repeated from now on, whatever their ids. The newest window of every
        interval and those that the first of the new trades falls into are incomplete. Repeating it is harmless.

        Args:
            symbol: whose ids began anew.
            first: the first of the new ids.
            last_id: where the fold stands, among the old ids.
            since_ms: the ms of the first raw entry with new ids.
            token: fencing number of the symbol's lease; empty: unfenced.

        Raises:
            LeaseLost: the lease is another's; nothing was done.
            StoreError: the fold does not stand at `last_id`, or `first` is not lower; nothing was done.
        """
        reply = await self._scripts.run(
            _SCRIPT,
            [*self._script_keys(symbol), self._keys.gaps(symbol)],
            [*self._head("restart", token), first, last_id, since_ms, self._gaps_kept],
        )
        self._refuse_fenced(symbol, token, reply)
        if reply[0] == b"NOT_THERE":
            raise StoreError(
                f"The trades of {symbol} stand at {reply[1]}: they cannot go on at {first} after {last_id}."
            )
        self._ids_since[symbol] = since_ms

    async def close(self, symbol: str, now_ms: int, grace_ms: int, token: str = "") -> Closed:
        """Close the windows that ended `grace_ms` or longer before `now_ms` (exchange time).

        Nothing is closed while a hole waits for repair. The stats hash keeps a closed window, with `closed` 1,
        until a trade opens the next. The latest set is trimmed by `now_ms`.

        Raises:
            LeaseLost: the lease is another's; nothing was done.
        """
        result = (await self.close_many([symbol], now_ms, grace_ms, {symbol: token}))[symbol]
        if isinstance(result, Exception):
            raise result
        return result

    async def close_many(
        self, symbols: Iterable[str], now_ms: int, grace_ms: int, tokens: Mapping[str, str] | None = None
    ) -> dict[str, Closed | Exception]:
        """Close the ended windows of many symbols, several in a round trip.

        Returns each symbol's result, or the exception that befell that symbol alone.
        """
        tokens = tokens or {}
        names = list(symbols)
        for symbol in names:
            self._long_windows_at.pop(symbol, None)  # what comes after a pause is shown at once
        calls = [
            (
                self._script_keys(symbol),
                [*self._head("close", tokens.get(symbol, "")), now_ms, grace_ms],
            )
            for symbol in names
        ]
        replies = await self._scripts.run_many(_SCRIPT, calls)
        results: dict[str, Closed | Exception] = {}
        for symbol, reply in zip(names, replies, strict=True):
            if isinstance(reply, Exception):
                results[symbol] = self._failure(symbol, reply)
                continue
            try:
                self._refuse_fenced(symbol, tokens.get(symbol, ""), reply)
            except LeaseLost as lost:
                results[symbol] = lost
            else:
                results[symbol] = Closed(reply[1], reply[2], reply[3])
        return results

    def may_lag(self, symbol: str) -> bool:
        """Whether this store has left long windows of a symbol behind; `close` brings them up to date."""
        return bool(self._long_windows_s) and symbol in self._long_windows_at

    async def state(self, symbol: str) -> TradesState:
        """How far the fold has come.

        Raises:
            StateUnreadable: the state hash holds something else than numbers.
        """
        return await read_state(self._client, self._keys.trades_state(symbol))

    async def fills(self, symbol: str) -> Range | None:
        """The first and the last fill of the newest hour's trades; None where that cannot be read."""
        return await read_fills(self._client, self._keys, symbol)

    async def tell(self, symbol: str, reason: str, state: str = "unreadable") -> None:
        """Say in `trades:{S}:status` why the trades of a symbol are not folded now; empty: they are."""
        key = self._keys.trades_status(symbol)
        pipe: Any = self._client.pipeline(transaction=True)
        pipe.delete(key)
        if reason:
            told = {"state": state, "reason": reason, "updated": int(time.time() * 1000)}
            pipe.hset(key, mapping=told)
        await pipe.execute()

    async def windows(self, symbols: Sequence[str]) -> dict[str, dict[str, WindowFigures]]:
        """The newest window of every interval that has one, for each symbol. Cost: one round trip."""
        names = (
            "start",
            "closed",
            "complete",
            "trades_count",
            "skipped_count",
            "first_agg_trade_id",
            "last_agg_trade_id",
            "reason",
        )
        reading = self._client.pipeline(transaction=False)
        for symbol in symbols:
            for interval in INTERVALS_MS:
                reading.hmget(self._keys.stats(symbol, interval), names)
        replies = iter(await reading.execute(raise_on_error=False))
        found: dict[str, dict[str, WindowFigures]] = {}
        for symbol in symbols:
            found[symbol] = {}
            for interval in INTERVALS_MS:
                values = next(replies)
                key = self._keys.stats(symbol, interval)
                if unusable(key, values) is not None:
                    continue
                reason = values.pop()
                if not all(value and value.isdigit() for value in values):
                    continue  # not there yet, or not ours
                start, closed, complete, trades, skipped, first, last = map(int, values)
                missing = max(0, last - first + 1 - trades - skipped) if self._provable else 0
                found[symbol][interval] = WindowFigures(
                    start, bool(closed), bool(complete) or reason in _NOTHING_KNOWN, trades, missing
                )
        return found

    def _script_keys(self, symbol: str) -> list[str]:
        known = self._keys_of.get(symbol)
        if known is None:
            keys = self._keys
            known = self._keys_of[symbol] = [
                keys.lease("trades", symbol),
                keys.raw(symbol, TRADES),
                keys.trades_state(symbol),
                keys.trades_latest(symbol),
                *(keys.stats(symbol, interval) for interval in INTERVALS_MS),
                *(keys.bars(symbol, interval) for interval in INTERVALS_MS),
            ]
        return known

    def _cut(self, call: _Call) -> list[Argument]:
        call.sent_at, since = time.monotonic(), self._ids_since.get(call.symbol, 0)
        last = self._long_windows_at.get(call.symbol, -math.inf)
        wait = call.may_wait = call.sent_at - last < self._long_windows_s
        return cut(call.batch, self._event_type, call.after, self._member, since, may_wait=wait)

    def _head(self, operation: str, token: str) -> list[Argument]:
        return [
            operation,
            token,
            self._group,
            self._retention_ms,
            self._latest_max,
            TRIMMED_AT_MOST,
            *self._bar_retention,
            int(self._provable),
        ]

    @staticmethod
    def _refuse_fenced(symbol: str, token: str, reply: list[Any]) -> None:
        if reply[0] == b"FENCED":
            raise LeaseLost(symbol, int(token))

    def _failure(self, symbol: str, error: Exception) -> Exception:
        """The error of a script, as one that names the key where it found rubbish in the state."""
        _, found, what = str(error).partition("UNREADABLE ")
        return StateUnreadable(self._keys.trades_state(symbol), plain(f"its {what}")) if found else error

    def _applied(self, call: _Call, reply: list[Any] | Exception) -> Applied | Exception | None:
        """The result of a call, or None if the batch must be cut again."""
        if isinstance(reply, Exception):
            return self._failure(call.symbol, reply)
        if reply[0] == b"FENCED":
            return LeaseLost(call.symbol, int(call.token))
        if reply[0] == b"AGAIN":
            call.after, self._ids_since[call.symbol] = reply[1], reply[2]
            return None
        if not call.may_wait:
            self._long_windows_at[call.symbol] = call.sent_at
        _, applied, not_market, repeated, late, last_id, seen, newest, capped = reply
        hole = Hole(last_id + 1, seen) if seen else None
        return Applied(applied, not_market, repeated, late, last_id, newest, hole, capped)
