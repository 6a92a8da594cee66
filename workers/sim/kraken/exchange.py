"""Kraken as a flavour of the simulated exchange: `/v2`, `/l3/v2` in the place of a host of its own, and `/0`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Final

from aiohttp import web

from workers.sim.engine.exchange import Exchange
from workers.sim.engine.feed import FeedParts, Schedule
from workers.sim.engine.flavour import JsonShape, Root
from workers.sim.engine.subscriptions import Subscriptions
from workers.sim.engine.topics import TopicRegistry
from workers.sim.kraken.conversation import KrakenConversation
from workers.sim.kraken.feed import KrakenFeed
from workers.sim.kraken.rest import KrakenRest
from workers.sim.kraken.symbols import DEFAULT_SYMBOLS, listed_symbol
from workers.sim.kraken.tokens import KrakenTokens
from workers.sim.settings import SimSettings

FIRST_CONNECTION: Final = 806_193_442_143_087_786
LARGEST_REQUEST: Final = 256 * 1024
ORDERS_PATH: Final = "/l3/v2"
_NUMBER: Final = re.compile(r'"\\u0000([^"]*)"')
"""A number as `decode` keeps it: text behind a mark."""


class KrakenShape(JsonShape):
    """Levels are objects of numbers, whose text must survive what a fault does to other keys."""

    def decode(self, payload: str) -> dict[str, Any]:
        """The body with levels as lists of texts, and every other number with a fraction as marked text."""
        body: dict[str, Any] = json.loads(payload, parse_float=lambda text: f"\0{text}")
        if body.get("channel") == "book":
            for side in ("bids", "asks"):
                levels = body["data"][0][side]
                body["data"][0][side] = [
                    [str(level[key]).lstrip("\0") for key in ("price", "qty")] for level in levels
                ]
        return body

    def encode(self, body: dict[str, Any]) -> str:
        """The text with objects and numbers again; what is no number any more stays text."""
        if body.get("channel") == "book":
            for side in ("bids", "asks"):
                levels = body["data"][0][side]
                body["data"][0][side] = [
                    {"price": _marked(level[0]), "qty": _marked(level[1])} for level in levels
                ]
        return _NUMBER.sub(r"\1", super().encode(body))

    def sides(self, body: dict[str, Any]) -> tuple[list[list[str]], list[list[str]]] | None:
        """Bids and asks of `book`."""
        if body.get("channel") != "book":
            return None
        return body["data"][0]["bids"], body["data"][0]["asks"]

    def spoil_trade_id(self, body: dict[str, Any], trade_id: int) -> None:
        """Give the trades of a message an id."""
        for trade in body["data"] if body.get("channel") == "trade" else ():
            trade["trade_id"] = trade_id

    def spoil_checksum(self, body: dict[str, Any]) -> None:
        """A checksum that is wrong by a bit."""
        if body.get("channel") in ("book", "level3"):
            body["data"][0]["checksum"] ^= 1


def _marked(text: str) -> str:
    """A number to be written bare; other texts stay as they are."""
    return f"\0{text}" if re.fullmatch(r"\d+(\.\d+)?", text) else text


class KrakenFlavour:
    """Kraken's market, socket and REST."""

    name = "kraken"
    markets: Sequence[str] = ("spot",)
    shape = KrakenShape()
    roots: Sequence[Root] = (
        Root("/v2", "spot", frozenset({"public"}), ("/v2",), largest_frame=LARGEST_REQUEST),
        Root(ORDERS_PATH, "spot", frozenset({"orders"}), (ORDERS_PATH,), largest_frame=LARGEST_REQUEST),
    )

    def __init__(self, settings: SimSettings) -> None:
        self._settings = settings
        self._connections = count(FIRST_CONNECTION)
        self._tokens = KrakenTokens(settings.key.get("api_key", ""), settings.key.get("api_secret", ""))
        self._feeds: list[KrakenFeed] = []

    def listed(self, market: str) -> Sequence[str]:
        """The pairs."""
        return self._settings.named(market, DEFAULT_SYMBOLS)

    def begin(self, topics: TopicRegistry) -> None:
        """`instrument` belongs to the whole market, and begins with all pairs."""
        self._instruments = topics.create("spot", "public", "", "instrument:")
        self._instruments.first = self._pairs

    def _pairs(self) -> str:
        rows = ",".join(
            feed.wire.pair(feed.status, feed.market.grid) for feed in self._feeds if feed.phase != "closed"
        )
        return f'{{"channel":"instrument","type":"snapshot","data":{{"assets":[],"pairs":[{rows}]}}}}'

    def feed(
        self, market: str, symbol: str, start_ms: int, topics: TopicRegistry, schedule: Schedule
    ) -> KrakenFeed:
        """A pair's feed."""
        spec = listed_symbol(symbol, self._settings.seed)
        feed = KrakenFeed(FeedParts(spec, self._settings, start_ms, topics, schedule), self._instruments)
        self._feeds.append(feed)
        return feed

    def converse(
        self, root: Root, subscriptions: Subscriptions, request: web.Request, now_s: float
    ) -> KrakenConversation:
        """The conversation of a socket."""
        tokens = self._tokens if root.path == ORDERS_PATH else None
        return KrakenConversation(next(self._connections), subscriptions, now_s, tokens)

    def rest(self, exchange: Exchange[KrakenFeed], clock_ms: Callable[[], float]) -> KrakenRest:
        """The REST side."""
        return KrakenRest(exchange, clock_ms, self._tokens)
