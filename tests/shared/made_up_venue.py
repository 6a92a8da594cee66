"""An exchange that there is not: whole books in band, no numbers of books, trades whose ids only name them.

{"k":"book","s":"BTC","whole":true,"b":[["1","2"]],"a":[]}      {"k":"trade","s":"BTC","i":"a-1","p":"1","q":"2"}
{"k":"ok","n":"book.BTC"}      {"k":"gap"}      {"k":"anew","n":"book.BTC"}
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from workers.errors import MalformedFrame
from workers.model.events import DepthEvent, Kind, Trade
from workers.venues.binance.settings import BinanceSettings
from workers.venues.binance.venue import Binance
from workers.venues.facts import Continuity, Facts
from workers.venues.interface import Endpoint
from workers.venues.messages import Message, Subscription
from workers.venues.session import Accepted, Broken, Event, Stale

FACTS = Facts(Continuity.CONNECTION, "in band", trade_ids="neither", second_source="in band")


class MadeUpSession:
    """Its socket."""

    def opened(self, now_ms: int) -> list[str]:
        return []

    def subscribe(self, streams: Sequence[Subscription], request_id: int) -> list[str]:
        return [f"sub {stream.stream}" for stream in streams]

    def unsubscribe(self, streams: Sequence[Subscription], request_id: int) -> list[str]:
        return [f"unsub {stream.stream}" for stream in streams]

    def received(self, frame: bytes | str, now_ms: int) -> list[Event]:
        data = frame.encode() if isinstance(frame, str) else frame
        try:
            told = msgspec.json.decode(data)
            kind: Kind = "snapshot" if told.get("whole") else "update"
            if told["k"] == "book":
                return [Message("depth", told["s"], data, now_ms, 0, 0, 0, kind=kind)]
            if told["k"] == "trade":
                return [Message("aggTrade", told["s"], data, now_ms, 0, 0, 0, name=told["i"])]
            if told["k"] == "ok":
                return [Accepted([told["n"]])]
            return [Broken("sequence", 3, 5)] if told["k"] == "gap" else [Stale([told["n"]], "checksum")]
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
            raise MalformedFrame("made up", "frame", str(error), data) from None

    def tick(self, now_ms: int) -> list[Event]:
        return []


class MadeUp(Binance):
    """The exchange; what it has not of its own is Binance's and of no use."""

    def __init__(self, facts: Facts = FACTS, name: str = "made-up", url: str = "") -> None:
        super().__init__(name, BinanceSettings(market="spot", symbols=["BTC", "ETH"]))
        self._url = url
        self.facts = facts
        self.book_rule = facts.book_rule

    def endpoints(self, symbols: Sequence[str]) -> list[Endpoint]:
        return [Endpoint(self._url, [Subscription(f"book.{symbol}", "depth", symbol) for symbol in symbols])]

    def session(self, url: str) -> MadeUpSession:  # type: ignore[override]  # as a Session it is one
        return MadeUpSession()

    def depth(self, data: bytes, symbol: str = "", kind: Kind = "update") -> DepthEvent:
        told = msgspec.json.decode(data)
        bids, asks = ([tuple(level) for level in told[side]] for side in ("b", "a"))
        return DepthEvent(symbol, 0, 0, -1, 0, 0, bids, asks, kind)

    def trade(self, data: bytes, symbol: str = "") -> Trade:
        told = msgspec.json.decode(data)
        return Trade(symbol, 0, told["p"], told["q"], 0, 0, 0, 0, False, name=told["i"])
