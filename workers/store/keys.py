"""Every Redis key the fleet uses: the only place where a key is spelled.

The symbol stands in literal braces, Redis Cluster's hash tag, so that all keys of a symbol share a slot and
every script stays atomic there. A second venue has a prefix (`spot:`); the first has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from workers.model.trades.windows import INTERVALS_MS

DEPTH: Final = "depth"
TRADES: Final = "aggTrade"
TICKER: Final = "bookTicker"
ORDERS: Final = "orders"

BOOKS_GROUP: Final = "books"
TRADES_GROUP: Final = "trades"
ARCHIVE_GROUP: Final = "archive"
ORDERS_GROUP: Final = "orders"
ANALYTICS_GROUP: Final = "analytics"
POSTGRES_GROUP: Final = "postgres"
"""Each role that owns symbols: the name of its consumer groups, of its leases, and of the role."""
FOLDS: Final = ((DEPTH, BOOKS_GROUP), (TRADES, TRADES_GROUP))
"""What each raw stream is folded by."""


class Keys:
    """The keys of one venue.

    Args:
        prefix: `""` for the first venue of the settings, else its name and a colon (`spot:`).
        channels: the further channels of its settings.
    """

    def __init__(self, prefix: str = "", channels: Sequence[str] = ()) -> None:
        self.prefix = prefix
        self._channels = tuple(channels)

    def _key(self, head: str, symbol: str, tail: str = "") -> str:
        return f"{self.prefix}{head}:{{{symbol}}}{':' if tail else ''}{tail}"

    def raw(self, symbol: str, channel: str) -> str:
        """Stream: the exchange's messages of one channel, byte for byte (`depth`, `aggTrade`, `bookTicker`, `orders`,
        or one that the settings ask for by the exchange's name)."""
        return self._key("raw", symbol, channel)

    def raw_writer(self, symbol: str) -> str:
        """Hash: whose turn it is to write a depth stream that the exchange does not number, and how far it came."""
        return writer_of(self.raw(symbol, DEPTH))

    def raw_orders_writer(self, symbol: str) -> str:
        """Hash: the same of single orders."""
        return writer_of(self.raw(symbol, ORDERS))

    def raw_names(self, symbol: str, named: str = TRADES) -> str:
        """Sorted set: the newest messages of a raw stream by their names: trades where ids only name them, and those
        of the further channels."""
        return names_of(self.raw(symbol, named))

    def raw_claimed(self, symbol: str) -> str:
        """String with expiry: trades of the newest stretch that no line received, as REST had them."""
        return f"{self.raw(symbol, TRADES)}:claimed"

    def raw_snapshot(self, symbol: str) -> str:
        """Stream: REST depth snapshots as received."""
        return self._key("raw", symbol, "snapshot")

    def raw_orders_snapshot(self, symbol: str) -> str:
        """Stream: all single orders as REST had them, as received."""
        return f"{self.raw(symbol, ORDERS)}:snapshot"

    def derivatives(self, symbol: str) -> str:
        """Stream: mark and index price, funding and open interest, each with its time."""
        return self._key("derivatives", symbol)

    def liquidations(self, symbol: str) -> str:
        """Stream: positions that were closed by force."""
        return self._key("liquidations", symbol)

    @property
    def live_orderbook(self) -> str:
        """Hash: symbol -> JSON of the top 10, while the book is in sync."""
        return f"{self.prefix}LIVE_ORDERBOOK"

    def book_top(self, symbol: str) -> str:
        """Stream: each published top 10."""
        return self._key("book", symbol, "top")

    def book_status(self, symbol: str) -> str:
        """Hash: why the book can or cannot be trusted."""
        return self._key("book", symbol, "status")

    def book_checkpoint(self, symbol: str) -> str:
        """String: the full book with the stream id it is a fold of."""
        return self._key("book", symbol, "checkpoint")

    def book_distrust(self, symbol: str) -> str:
        """String: why the owner must take its book out of sync (set by the audit, taken by the owner)."""
        return self._key("book", symbol, "distrust")

    def orders_top(self, symbol: str) -> str:
        """Stream: the best levels of the single orders, or why they are withheld."""
        return self._key("orders", symbol, "top")

    def orders_status(self, symbol: str) -> str:
        """Hash: why the single orders can or cannot be trusted, and what was counted of them."""
        return self._key("orders", symbol, "status")

    def orders_checkpoint(self, symbol: str) -> str:
        """String: all single orders with the stream id they are a fold of."""
        return self._key("orders", symbol, "checkpoint")

    def analytics(self, symbol: str) -> str:
        """Hash: figures of the best levels and trades, or that they are withheld."""
        return self._key("analytics", symbol)

    def analytics_events(self, symbol: str) -> str:
        """Stream: walls, icebergs and flicker, as they were found and ended."""
        return self._key("analytics", symbol, "events")

    def history(self, symbol: str) -> str:
        """Sorted set: one compressed block of book history a minute."""
        return self._key("history", symbol)

    def history_index(self, symbol: str) -> str:
        """Sorted set: what each of those blocks holds, in short."""
        return self._key("history", symbol, "index")

    def trades_latest(self, symbol: str) -> str:
        """Sorted set: the aggregate trades of the last 24 h by trade time."""
        return self._key("trades", symbol, "latest")

    def stats(self, symbol: str, interval: str) -> str:
        """Hash: the open window of an interval; the 100 ms one is called `current`."""
        return self._key("stats", symbol, "current" if interval == "100ms" else interval)

    def bars(self, symbol: str, interval: str) -> str:
        """Stream: closed windows of an interval."""
        return self._key("bars", symbol, interval)

    def trades_state(self, symbol: str) -> str:
        """Hash: how far the trades fold has come (last id, open window starts, counters)."""
        return self._key("trades", symbol, "state")

    def trades_status(self, symbol: str) -> str:
        """Hash: why the trades of a symbol are not folded now; not there while they are."""
        return self._key("trades", symbol, "status")

    def symbol_info(self, symbol: str) -> str:
        """Hash: what the exchange says of the symbol."""
        return self._key("symbol", symbol, "info")

    def gaps(self, symbol: str) -> str:
        """Stream: every hole seen and how it was repaired."""
        return self._key("gaps", symbol)

    def audit(self, symbol: str) -> str:
        """Stream: comparisons with an independent REST snapshot."""
        return self._key("audit", symbol)

    def archive(self, symbol: str) -> str:
        """Hash: how far each stream of the symbol has been archived."""
        return self._key("archive", symbol)

    def raw_streams(self, symbol: str) -> list[str]:
        """The streams of the symbol that ingest appends to."""
        return [self.raw(symbol, channel) for channel in (DEPTH, TRADES, TICKER, ORDERS, *self._channels)]

    def _all_names(self, symbol: str) -> list[str]:
        return [self.raw_names(symbol, channel) for channel in (TRADES, *self._channels)]

    def folds(self, symbol: str) -> list[str]:
        """What the folds of books, orders and trades keep of where they stand."""
        windows = [self.stats(symbol, interval) for interval in INTERVALS_MS]
        return [
            self.book_checkpoint(symbol),
            self.book_distrust(symbol),
            self.orders_checkpoint(symbol),
            self.trades_state(symbol),
            *windows,
        ]

    def kept(self, symbol: str) -> list[str]:
        """All other keys of the symbol but its status, leases and fences."""
        return [
            self.raw_writer(symbol),
            self.raw_orders_writer(symbol),
            *self._all_names(symbol),
            self.raw_claimed(symbol),
            self.raw_snapshot(symbol),
            self.raw_orders_snapshot(symbol),
            *([self.derivatives(symbol), self.liquidations(symbol)] if self._channels else []),
            self.book_top(symbol),
            self.orders_top(symbol),
            self.orders_status(symbol),
            self.analytics(symbol),
            self.analytics_events(symbol),
            self.history(symbol),
            self.history_index(symbol),
            self.trades_latest(symbol),
            self.trades_status(symbol),
            *(self.bars(symbol, interval) for interval in INTERVALS_MS),
            self.symbol_info(symbol),
            self.gaps(symbol),
            self.audit(symbol),
            self.archive(symbol),
        ]

    def types(self, symbol: str) -> dict[str, str]:
        """Every key of the symbol, and the type Redis must say it has."""
        streams = [*self.raw_streams(symbol), self.raw_snapshot(symbol), self.book_top(symbol)]
        streams += [
            self.orders_top(symbol),
            self.analytics_events(symbol),
            self.raw_orders_snapshot(symbol),
            self.gaps(symbol),
            self.audit(symbol),
        ]
        if self._channels:
            streams += [self.derivatives(symbol), self.liquidations(symbol)]
        streams += [self.bars(symbol, interval) for interval in INTERVALS_MS]
        hashes = [self.book_status(symbol), self.trades_state(symbol), self.trades_status(symbol)]
        hashes += [self.symbol_info(symbol), self.archive(symbol), self.raw_writer(symbol)]
        hashes += [self.orders_status(symbol), self.analytics(symbol), self.raw_orders_writer(symbol)]
        hashes += [self.stats(symbol, interval) for interval in INTERVALS_MS]
        sorted_sets = [self.history(symbol), self.history_index(symbol), self.trades_latest(symbol)]
        sorted_sets += self._all_names(symbol)
        strings = [self.book_checkpoint(symbol), self.book_distrust(symbol), self.raw_claimed(symbol)]
        strings += [self.orders_checkpoint(symbol)]
        of_type = {"stream": streams, "hash": hashes, "zset": sorted_sets, "string": strings}
        return {key: kind for kind, keys in of_type.items() for key in keys}

    def lease(self, role: str, symbol: str) -> str:
        """Hash with expiry: the owner of a symbol in a role, and its fencing number."""
        return f"{self.prefix}fleet:lease:{role}:{{{symbol}}}"

    def fence(self, role: str, symbol: str) -> str:
        """Integer: the last fencing number given out; it only grows."""
        return f"{self.prefix}fleet:fence:{role}:{{{symbol}}}"


def writer_of(raw: str) -> str:
    """The key of the writer of a raw stream."""
    return f"{raw}:writer"


def names_of(raw: str) -> str:
    """The key of the names that a raw stream has."""
    return f"{raw}:names"


def workers(role: str) -> str:
    """Sorted set: the live workers of a role, by the ms their heartbeat runs out."""
    return f"fleet:workers:{role}"


def worker(name: str) -> str:
    """Hash with expiry: what one worker says of itself."""
    return f"fleet:worker:{name}"


def plan(role: str) -> str:
    """Hash: who shall own which symbols in a role, by their load."""
    return f"fleet:plan:{role}"


def venues() -> str:
    """String: a JSON list of the sections of the settings; the first one's keys have no prefix."""
    return "fleet:venues"


def followed_symbols(venue: str) -> str:
    """Hash: the symbols of a venue that are followed now."""
    return f"fleet:symbols:{venue}"


def resubscriptions(venue: str) -> str:
    """Stream: streams of a venue that the lines are asked to subscribe anew to."""
    return f"fleet:resubscribe:{venue}"


def resubscription_asked(venue: str, symbol: str, channel: str) -> str:
    """String with expiry: somebody has just asked for that stream."""
    return f"fleet:resubscribe:{venue}:{{{symbol}}}:{channel}"


def budget(pool: str) -> str:
    """Hash: the request weight of a REST pool in the current minute."""
    return f"fleet:budget:{pool}"


ALERTS: Final = "alerts"
"""Stream: what became of alerts. It and the other keys of alerts share a slot."""
OPEN_ALERTS: Final = "{alerts}:open"
"""Hash: the alerts that are open, by rule and target."""
ALERT_COMMENTS: Final = "{alerts}:comments"
"""Hash: what a language model said of open alerts, by the same fields."""
ALERT_PASTS: Final = "{alerts}:pasts"
"""Hash: what the owner of the alerts must know besides the open ones, by the same fields."""
ALERT_PLACES: Final = "{alerts}:places"
"""Hash: up to which entry each stream of happenings was looked at, and alerts were sent."""
ALERT_SPENDING: Final = "{alerts}:spending"
"""Hash: what the language model was asked this hour, and cost today."""
