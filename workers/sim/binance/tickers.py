"""REST `ticker/24hr`: what each symbol traded in the last day (Binance docs)."""

from __future__ import annotations

from typing import Any

from workers.sim.binance.feed import BinanceFeed
from workers.sim.engine.history import DAY_MS


def ticker(feed: BinanceFeed, now_ms: int) -> dict[str, Any]:
    """One symbol's row: spot has the best prices and the previous close besides. A symbol without trades has zeros."""
    wire, spec = feed.wire, feed.spec
    day = feed.market.tape.day(now_ms)
    decimals = spec.price_decimals + spec.quantity_decimals

    def amount(units: int, places: int) -> str:
        whole, part = divmod(units, 10**places)
        return f"{whole}.{part:0{places}d}" if places else str(whole)

    volume = wire.quantity(day.quantity)
    average = day.notional // day.quantity if day.quantity else 0
    change = day.close - day.open
    row: dict[str, Any] = {
        "symbol": spec.symbol,
        "priceChange": ("-" if change < 0 else "") + wire.price(abs(change)),
        "priceChangePercent": f"{100 * change / day.open if day.open else 0:.3f}",
        "weightedAvgPrice": wire.price(average),
        "lastPrice": wire.price(day.close),
        "lastQty": wire.quantity(day.last_quantity),
        "openPrice": wire.price(day.open),
        "highPrice": wire.price(day.high),
        "lowPrice": wire.price(day.low),
        "volume": volume,
        "quoteVolume": amount(day.notional * spec.tick_units, decimals),
        "openTime": now_ms - DAY_MS,
        "closeTime": now_ms,
        "firstId": day.first_id,
        "lastId": day.last_id,
        "count": day.fills,
    }
    if spec.market == "spot":
        bid, bid_quantity, ask, ask_quantity = feed.market.book.best()
        row |= {
            "prevClosePrice": wire.price(day.open),
            "bidPrice": wire.price(bid),
            "bidQty": wire.quantity(bid_quantity),
            "askPrice": wire.price(-ask),
            "askQty": wire.quantity(ask_quantity),
        }
    return row
