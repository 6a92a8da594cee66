"""Of which exchange and market a capture is, and how its recorder had subscribed: by its URLs and its first frames."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from workers.settings.exchanges import exchanges, settings_of
from workers.settings.schema import VenueSettings

BINANCE: Final = "binance"
_HOSTS: Final = {
    "binance": BINANCE, "bybit": "bybit", "okx": "okx", "okex": "okx", "kraken": "kraken", "coinbase": "coinbase",
    "bitfinex": "bitfinex", "bitstamp": "bitstamp",
}  # fmt: skip
"""By a part of the host's name."""
_FRAMES: Final = (
    ("tardis", re.compile(rb'"localTimestamp":\s*"')),
    (BINANCE, re.compile(rb'\{"(stream|e)":|\{"lastUpdateId":')),
    ("okx", re.compile(rb'"arg":\s*\{[^}]*"channel"')),
    ("bybit", re.compile(rb'"topic":\s*"(orderbook|publicTrade|tickers)\.|"op":\s*"subscribe"')),
    ("bitstamp", re.compile(rb'"bts:|"channel":\s*"(diff_order_book|order_book|live_trades|live_orders)_')),
    ("bitfinex", re.compile(rb'"event":\s*"subscribed".*"chanId"|"serverId"')),
    ("coinbase", re.compile(rb'"sequence_num"|"product_ids?"')),
    (
        "kraken",
        re.compile(
            rb'"event":\s*"(systemStatus|subscriptionStatus)"|"channel":\s*"(status|book|trade|heartbeat|level3)"|"book-\d+"'
        ),
    ),
)
"""What the frames of an exchange have, the more particular first."""
_WHOLE_BOOK: Final = re.compile(r"/order_book/([^/]+)/?")


class Source(NamedTuple):
    """A market of an exchange; `market` is empty where its settings' default is meant."""

    exchange: str
    market: str = ""

    @classmethod
    def parse(cls, text: str) -> Source:
        """`okx:swap`, or `kraken`.

        Raises:
            ValueError: there is no such exchange.
        """
        exchange, _, market = text.strip().lower().partition(":")
        if exchange not in exchanges():
            raise ValueError(f"{text!r} begins with none of {', '.join(exchanges())}")
        return cls(exchange, market)


def exchange_of_url(url: str) -> str | None:
    """The exchange behind a URL; None where it is none of ours."""
    host = (urlsplit(url).hostname or "").lower()
    return next((exchange for part, exchange in _HOSTS.items() if part in host), None)


def exchange_of_frame(frame: bytes) -> str | None:
    """The exchange whose frames look like this one; None where it does not tell."""
    return next((exchange for exchange, pattern in _FRAMES if pattern.search(frame)), None)


def whole_book_of(url: str) -> str | None:
    """The pair, as the exchange spells it, of a request for a whole book that a stream goes on from; else None."""
    if exchange_of_url(url) != "bitstamp":
        return None
    found = _WHOLE_BOOK.search(urlsplit(url).path)
    return found[1] if found else None


_TRAITS: Final[dict[str, dict[str, re.Pattern[bytes]]]] = {
    "bybit": {"depth": re.compile(rb'"orderbook\.(\d+)\.')},
    "okx": {
        "depth": re.compile(rb'"channel":\s*"(books(?:50)?(?:-l2-tbt)?)"'),
        "trades": re.compile(rb'"channel":\s*"(trades(?:-all)?)"'),
        "type": re.compile(rb'"instId":\s*"[^"]*-(SWAP|\d{6})"'),
        "book": re.compile(rb'"action":\s*"(snapshot)"'),
        "numbered": re.compile(rb'"(seqId)"'),
    },
    "kraken": {
        "depth": re.compile(rb'"book-(\d+)"|"depth":\s*(\d+)'),
        "orders": re.compile(rb'"channel":\s*"(level3)"'),
        "orders_depth": re.compile(rb'"level3"[^{}]*"depth":\s*(\d+)'),
        "v1": re.compile(rb'^\[|"event":\s*"(?:systemStatus|subscriptionStatus)"'),
    },
    "tardis": {"exchange": re.compile(rb'"exchange":\s*"([a-z0-9-]+)"')},
    "bitfinex": {"depth": re.compile(rb'"len":\s*"?(\d+)')},
    "bitstamp": {
        "depth": re.compile(rb"(diff_order_book|order_book)_"),
        "orders": re.compile(rb'"(live_orders)_'),
    },
    "coinbase": {"exchange": re.compile(rb'"product_ids"|"type":\s*"(?:l2update|match)"|^\{"type"')},
}
"""By exchange: what of its frames shows how the recorder had subscribed, by the name of the trait."""


class Traits:
    """How a recorder had subscribed, by what came.

    Args:
        exchange: see `_TRAITS`; of another there is nothing to look for.
    """

    def __init__(self, exchange: str) -> None:
        self._patterns = dict(_TRAITS.get(exchange, {}))
        self.found: dict[str, str] = {}

    def look_at(self, frame: bytes) -> None:
        """The next frame. O(length) until each trait has been found."""
        for name, pattern in list(self._patterns.items()):
            if match := pattern.search(frame):
                text = next((group for group in match.groups() if group), b"yes")
                self.found[name] = text.decode()
                del self._patterns[name]


def settings_as_recorded(source: Source, traits: Traits, urls: list[str]) -> VenueSettings:
    """The settings with which the frames of a recording are those that came; symbols are to be filled in."""
    found = traits.found
    chosen: dict[str, Any] = {"market": source.market} if source.market else {}
    values = dict(chosen)
    path = " ".join(urlsplit(url).path for url in urls)
    match source.exchange:
        case "bybit":
            market = re.search("/(spot|linear|inverse)", path)
            values = {"market": market[1] if market else "spot"} | chosen
        case "okx":
            kind = found.get("type", "")
            values = {"market": ("swap" if kind == "SWAP" else "futures") if kind else "spot"} | chosen
            values |= {name: found[name] for name in ("depth", "trades") if name in found}
            values["legacy"] = "book" in found and "numbered" not in found
        case "coinbase":
            values = {"market": "exchange" if "exchange" in found else "advanced"} | chosen
        case "bitstamp":
            values |= {"depth": found["depth"]} if "depth" in found else {}
            # a seed that was recorded names no place in the stream: books begin empty
            values |= {"orders": True, "orders_seed": False} if "orders" in found else {}
        case "tardis":
            values = {"market": found["exchange"]} if "exchange" in found else {}
            values |= chosen
        case "kraken" if "v1" in found:
            values["websocket_url"] = "wss://ws.kraken.com"
        case "kraken" if "orders" in found:
            values |= {"orders": True, "orders_depth": int(found.get("orders_depth", 10))}
    if source.exchange in ("bybit", "kraken", "bitfinex") and "depth" in found:
        values["depth"] = int(found["depth"])
    return settings_of(source.exchange)(symbols=[], **values)


def section_of(settings: VenueSettings) -> str:
    """What a replay calls the market: as an exchange's usual one is of its name alone."""
    usual = settings_of(settings.exchange)(symbols=[]).market  # type: ignore[call-arg]  # each has a default
    return settings.exchange if settings.market == usual else f"{settings.exchange}-{settings.market}"
