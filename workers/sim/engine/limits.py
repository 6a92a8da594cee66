"""Limits per client address: REST request weight and connection attempts. Times are arguments.

Weight is counted in fixed clock windows (Binance docs). How many ignored 429 answers lead to a ban, and
whether refused requests count, is documented nowhere: here refused requests do not count, and a client
that keeps asking in the window in which it was refused is banned.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

LONGEST_BAN_S: Final = 3 * 86_400.0
NEVER: Final = 10**9


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a request gets: 200, 429 or 418, the weight used so far, and when to ask again."""

    status: int
    used: int
    retry_after_s: int = 0
    banned_until_ms: int = 0


@dataclass(slots=True)
class _Account:
    window: int = -1
    used: int = 0
    ignored: int = 0
    banned_until_ms: float = 0.0
    bans: int = field(default=0)


class WeightPool:
    """Request weight of one pool (spot, or USD-M and COIN-M together) per address."""

    def __init__(self, limit: int, window_s: int, ban_after_ignored: int = NEVER, ban_s: float = 1.0) -> None:
        self.limit = limit
        self.window_s = window_s
        self._ban_after_ignored = ban_after_ignored
        self._ban_s = ban_s
        self._accounts: dict[str, _Account] = {}

    def charge(self, address: str, weight: int, now_ms: float) -> Verdict:
        """Count a request and say whether it may be served."""
        account = self._accounts.setdefault(address, _Account())
        window = int(now_ms // (self.window_s * 1000))
        if window != account.window:
            account.window, account.used, account.ignored = window, 0, 0
        if now_ms < account.banned_until_ms:
            return self._banned(account, now_ms)
        if account.used + weight <= self.limit:
            account.used += weight
            return Verdict(200, account.used)
        account.ignored += 1
        if account.ignored > self._ban_after_ignored:
            ban_s = min(LONGEST_BAN_S, self._ban_s * 2**account.bans)
            account.bans += 1
            account.banned_until_ms = now_ms + ban_s * 1000
            return self._banned(account, now_ms)
        wait_ms = (window + 1) * self.window_s * 1000 - now_ms
        return Verdict(429, account.used, retry_after_s=max(1, math.ceil(wait_ms / 1000)))

    def _banned(self, account: _Account, now_ms: float) -> Verdict:
        wait_ms = account.banned_until_ms - now_ms
        return Verdict(
            418,
            account.used,
            retry_after_s=max(1, math.ceil(wait_ms / 1000)),
            banned_until_ms=int(account.banned_until_ms),
        )

    def used(self) -> dict[str, int]:
        """Weight used in the newest window by address."""
        return {address: account.used for address, account in self._accounts.items()}


class AttemptLimiter:
    """Connection attempts per address in a rolling window (300 in five minutes, Binance docs)."""

    def __init__(self, attempts: int, window_s: float) -> None:
        self._attempts = attempts
        self._window_s = window_s
        self._recent: dict[str, deque[float]] = {}

    def admit(self, address: str, now_s: float) -> bool:
        """Count an attempt; False when it is one too many."""
        recent = self._recent.setdefault(address, deque())
        while recent and recent[0] <= now_s - self._window_s:
            recent.popleft()
        if len(recent) >= self._attempts:
            return False
        recent.append(now_s)
        return True
