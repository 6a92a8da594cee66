"""Trades whose numbers are none a market makes: a price or quantity of zero, negative, not finite, or too long to hold.

Their ids are the exchange's own and go on; their volume does not count (as that of off-book fills does not).
"""

from __future__ import annotations

from workers.errors import BadNumber
from workers.model.events import Trade
from workers.model.trades.decimals import COARSE, FINE


def marked(trade: Trade) -> Trade:
    """The trade as it is, or marked as absurd, outside the market, and with `0` for numbers that cannot be held."""
    try:
        if _positive(trade):
            return trade
    except BadNumber:
        trade.price = trade.quantity = "0"
    trade.is_absurd = trade.is_market
    trade.is_market = False
    return trade


def _positive(trade: Trade) -> bool:
    try:
        return COARSE.price_units(trade.price) > 0 and COARSE.quantity_units(trade.quantity) > 0
    except BadNumber:
        return FINE.price_units(trade.price) > 0 and FINE.quantity_units(trade.quantity) > 0
