"""From what Redis holds to records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from redis.asyncio import Redis

from workers.client.numbers import Number
from workers.client.records import Bar, BookTop, PriceLevel, Trade
from workers.errors import MalformedFrame
from workers.model.books.in_band import StreamRule
from workers.model.books.top_of_book import decode_top
from workers.model.events import DepthEvent, Level
from workers.model.events import Trade as WireTrade
from workers.settings.exchanges import DEFAULT, described, settings_of
from workers.settings.schema import VenueSettings
from workers.store.fleet.followed import description_of, known_venues
from workers.store.log.streams import Delivered
from workers.store.orders.rebuilding import OrderDecoding
from workers.venues.entries import depth_of, trade_of
from workers.venues.interface import Venue
from workers.venues.registry import venue_of


def levels(found: Iterable[Level]) -> list[PriceLevel]:
    """Levels as records."""
    return [PriceLevel(Number(price), Number(quantity)) for price, quantity in found]


def book_top(symbol: str, position: str, payload: bytes) -> BookTop:
    """A published payload. Raises: msgspec.MsgspecError."""
    top = decode_top(payload)
    return BookTop(
        symbol,
        position,
        levels(top.b),
        levels(top.a),
        top.u,
        top.E,
        top.T,
        top.synced_at,
        top.received,
        top.published,
    )


def bar(symbol: str, interval: str, position: str, found: Mapping[bytes, bytes]) -> Bar:
    """A bar entry, or a stats hash (which has `closed`). Raises: KeyError, ValueError."""
    return Bar(
        symbol=symbol,
        position=position,
        interval=interval,
        start_ms=int(found[b"start"]),
        revision=int(found[b"revision"]),
        complete=found[b"complete"] == b"1",
        reason=found.get(b"reason", b"").decode(errors="replace"),
        closed=found.get(b"closed", b"1") == b"1",
        last_update_ms=int(found[b"last_update_time"]),
        open=_number(found, b"open_price"),
        high=_number(found, b"high_price"),
        low=_number(found, b"low_price"),
        close=_number(found, b"close_price"),
        volume=_number(found, b"volume"),
        quote_volume=_number(found, b"quote_volume"),
        buy_volume=_number(found, b"buy_volume"),
        trades_count=int(found[b"trades_count"]),
        skipped_count=int(found[b"skipped_count"]),
        is_buyer_maker_count=int(found[b"is_buyer_maker_count"]),
        first_trade_id=int(found[b"first_trade_id"]),
        last_trade_id=int(found[b"last_trade_id"]),
        first_agg_trade_id=int(found[b"first_agg_trade_id"]),
        last_agg_trade_id=int(found[b"last_agg_trade_id"]),
    )


def _number(found: Mapping[bytes, bytes], name: bytes) -> Number:
    return Number(found[name].decode())


def trade(symbol: str, position: str, row: WireTrade) -> Trade:
    """A trade as a record."""
    return Trade(
        symbol,
        position,
        row.trade_id,
        Number(row.price),
        Number(row.quantity),
        row.trade_time,
        row.event_time,
        row.is_buyer_maker,
        row.first_trade_id,
        row.last_trade_id,
        row.name,
    )


class WireDecoder:
    """Decodes the exchange's own messages of the raw streams of one venue.

    The two kinds of Binance's trades are told apart by trying; a stream holds one kind.

    Args:
        exchange: its name, where no kinds are given.
        kinds: the venues whose messages the streams may hold.
    """

    def __init__(self, exchange: str = DEFAULT, kinds: Sequence[Venue] = ()) -> None:
        self._kinds = kinds or _kinds_of(exchange)
        self._trades_of = self._kinds[0]

    @property
    def stream(self) -> StreamRule | None:
        """What the snapshots of the exchange's depth streams are."""
        return self._kinds[0].book_rule.stream

    @property
    def orders(self) -> OrderDecoding | None:
        """How messages of single orders are read; None: they are not followed of its exchange."""
        feed = self._kinds[0].order_feed
        return None if feed is None else OrderDecoding(feed.rules, feed.by_id, feed.message)

    def depth(self, symbol: str, entry: Delivered) -> DepthEvent:
        """The event of an entry of a depth stream. Raises: MalformedFrame."""
        return depth_of(self._kinds[0], symbol, entry)

    def trade(self, symbol: str, entry: Delivered) -> WireTrade:
        """The trade of an entry that is no break. Raises: MalformedFrame."""
        try:
            return trade_of(self._trades_of, symbol, entry)
        except MalformedFrame:
            for venue in self._kinds:
                if venue is not self._trades_of:
                    found = trade_of(venue, symbol, entry)
                    self._trades_of = venue
                    return found
            raise


def _venue(name: str, settings: VenueSettings) -> Venue:
    """A venue as a reader needs it: whether the fleet follows single orders is no matter of how they are read."""
    return venue_of(name, msgspec.structs.replace(settings, orders=settings.tells_orders))


def _kinds_of(exchange: str) -> list[Venue]:
    """What the streams of an exchange may hold where nothing else is known of the venue."""
    if exchange != DEFAULT:
        return [_venue(exchange, msgspec.convert({"symbols": []}, settings_of(exchange)))]
    common = {"exchange": exchange, "market": "usdm", "symbols": []}
    return [
        venue_of(exchange, msgspec.convert({**common, "trades": kind}, settings_of(exchange)))
        for kind in ("aggTrade", "trade")
    ]


async def decoder_of(client: Redis, name: str, exchange: str) -> WireDecoder:
    """The decoder of the venue of a symbol, named as keys have it. Cost: two round trips at the most.

    Args:
        exchange: what its venue is of where no keeper has published anything.
    """
    section = name.rpartition(":")[0] or next(iter(await known_venues(client)), "")
    description = await description_of(client, section) if section else {}
    if not description:
        return WireDecoder(exchange)
    try:
        settings = described(description)
    except ValueError:  # of a fleet that knows an exchange which this client does not
        return WireDecoder(exchange)
    others = (
        _kinds_of(DEFAULT) if settings.exchange == DEFAULT else []
    )  # should the setting have been changed
    return WireDecoder(kinds=[_venue(section, settings), *others])
