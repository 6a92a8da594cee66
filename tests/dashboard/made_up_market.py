"""The symbols, levels and bars of a market that does not exist; the same at every call."""

from __future__ import annotations

from typing import Any

Levels = list[list[str]]
START_MS = 1_723_161_600_000
SYMBOLS = [
    ("usdm", "BTCUSDT"),
    ("usdm", "ETHUSDT"),
    ("usdm", "币安人生USDT"),
    ("spot", "BTCUSDT"),
    ("spot", "BNBBTC"),
]


def side(best: float, step: float, count: int = 300) -> Levels:
    """Levels of a plausible shape around a price; deterministic."""
    return [
        [f"{best + step * place:.2f}", f"{0.05 + (place * 7919 % 97) / 20 + place / 60:.3f}"]
        for place in range(count)
    ]


def bar(start_ms: int, number: int, step_ms: int) -> dict[str, Any]:
    """A bar that depends on its number alone."""
    opened = 84_500 + (number * 37 % 90) - (number * 11 % 50)
    closed = 84_500 + ((number + 1) * 37 % 90) - ((number + 1) * 11 % 50)
    return {
        "start_ms": start_ms,
        "end_ms": start_ms + step_ms - 1,
        "open": f"{opened:.2f}",
        "high": f"{max(opened, closed) + 12:.2f}",
        "low": f"{min(opened, closed) - 9:.2f}",
        "close": f"{closed:.2f}",
        "volume": f"{5 + number * 13 % 40}.250",
        "trades_count": 10 + number % 7,
        "complete": number % 9 != 0,
        "reason": "" if number % 9 else "unproven",
        "revision": 0,
        "closed": True,
    }
