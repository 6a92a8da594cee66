"""The figures of a symbol's trades and windows, as the metrics show them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from prometheus_client import REGISTRY
from redis.asyncio import Redis

from workers.model.events import Trade
from workers.runtime.ownership import Claim
from workers.store.keys import Keys
from workers.store.scripts import Scripts
from workers.store.trades.fold import TradeStore, WindowFigures
from workers.trades.figures import SymbolFigures, lag_s, refresh

SYMBOL = "FIGUREUSDT"
KEYS = Keys()
T0 = 1_723_165_200_000
CLAIM = Claim(cast(Any, SimpleNamespace(name="usdm")), SYMBOL)


def trade(number: int, time: int) -> Trade:
    return Trade(SYMBOL, number, "10.0", "1.5", number, number, time, time, is_buyer_maker=True)


def shown(name: str, interval: str = "") -> float | None:
    labels = {"venue": "usdm", "symbol": SYMBOL} | ({"interval": interval} if interval else {})
    return REGISTRY.get_sample_value(f"fleet_{name}", labels)


async def test_a_symbols_figures_say_what_its_windows_hold(client: Redis) -> None:
    store = TradeStore(client, KEYS, Scripts(client), retention_ms=0, bar_retention={})
    figures = SymbolFigures(CLAIM)
    try:
        figures.applied(await store.apply(SYMBOL, [("", trade(n, T0 + n)) for n in range(5)]))
        figures.missing((await store.skip(SYMBOL, 5, 6)).missing)
        late = [trade(4, T0 + 4), trade(7, T0 + 61_000), trade(8, T0 + 50), trade(9, T0 + 61_001)]
        figures.applied(await store.apply(SYMBOL, [("", one) for one in late]))
        await refresh(store, {SYMBOL: figures}, T0 + 62_000)
        names = ("seen", "missing", "repaired", "doubled", "late")
        assert [shown(f"symbol_trades_{name}_total") for name in names] == [8, 2, 0, 1, 1]
        assert (shown("symbol_trades_per_second") or 0) > 0
        windows = ("window_trades", "window_missing", "window_complete", "window_lag_seconds")
        # The late trade stands between the two of the newest minute, and the hole right before them.
        assert [shown(name, "1m") for name in windows] == [2, 1, 0, 0]
        assert [shown(name, "1d") for name in windows] == [8, 2, 0, 0]
        assert [shown(name, "100ms") for name in windows] == [2, 1, 0, 0.9]
        await store.close(SYMBOL, T0 + 62_000, 100)
        await refresh(store, {SYMBOL: figures}, T0 + 99_000)
        assert shown("window_lag_seconds", "100ms") == 0
    finally:
        figures.remove()
    await refresh(store, {SYMBOL: figures}, T0 + 99_000)
    assert [shown(f"symbol_trades_{name}_total") for name in names] == [None] * 5
    assert [shown(name, "1m") for name in windows] == [None] * 4


def test_a_window_lags_while_it_is_over_and_open() -> None:
    window = WindowFigures(T0, closed=False, complete=True, trades=1, missing=0)
    assert lag_s(window, 60_000, T0 + 59_999) == 0
    assert lag_s(window, 60_000, T0 + 61_500) == 1.5
    assert lag_s(window._replace(closed=True), 60_000, T0 + 61_500) == 0
