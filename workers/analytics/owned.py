"""A symbol whose analytics a worker owns, and the streams it is read from."""

from __future__ import annotations

from typing import Final

import structlog
from prometheus_client import Counter

from workers.analytics.symbol import SymbolAnalytics
from workers.model.pauses import Pauses
from workers.runtime.ownership import Claim
from workers.store.keys import ORDERS, TRADES
from workers.store.log.tail import Place

log = structlog.get_logger()

FIRST_PAUSE_S: Final = 0.5
"""Between two tries to take up a book of orders; doubled each time, up to the longest."""
LONGEST_PAUSE_S: Final = 5.0

FELL_BACK = Counter(
    "fleet_analytics_fell_back_total",
    "Times analytics went on with level 2 because a book of orders was lost",
    ["venue"],
)


class ReadStream:
    """A stream of an owned symbol, and up to where it was read."""

    def __init__(self, owned: OwnedAnalytics, place: Place) -> None:
        self.owned = owned
        self.read_to(place)

    def read_to(self, place: Place) -> None:
        self.place = place
        self.last_stream_id = place.stream_id.encode()

    @property
    def listens(self) -> bool:
        return True


class OwnedAnalytics:
    """A symbol this process owns."""

    def __init__(self, claim: Claim, token: int, analytics: SymbolAnalytics) -> None:
        self.claim = claim
        self.token = token
        self.analytics = analytics
        self.top_key = claim.context.keys.book_top(claim.symbol)
        self.trades_key = claim.context.keys.raw(claim.symbol, TRADES)
        self.orders_key = claim.context.keys.raw(claim.symbol, ORDERS)
        self.published_at = 0.0
        self.orders_at = 0.0
        """Before that time its book of orders is not taken up again (monotonic seconds)."""
        self.orders_pauses = Pauses(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._level = analytics.level

    def tell_level(self) -> None:
        """Tell the log if figures are of another level than before."""
        before, self._level = self._level, self.analytics.level
        venue, symbol = self.claim.context.name, self.claim.symbol
        if self._level < before:
            FELL_BACK.labels(venue).inc()
            log.warning("analytics_fell_back", venue=venue, symbol=symbol)
        elif self._level > before:
            log.info("analytics_level3", venue=venue, symbol=symbol)
