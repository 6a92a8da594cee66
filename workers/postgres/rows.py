"""What an entry of each stream is as rows. No I/O.

Prices, quantities and sums keep every digit that the exchange or the fold wrote (NUMERIC keeps trailing zeros too).
What cannot be a row is told as a gap of this database: nothing is passed over in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from workers.errors import MalformedFrame, StateUnreadable
from workers.model.analytics.events import AnalyticsEvent
from workers.model.events import Trade
from workers.model.stored_json import decoder_of
from workers.model.trades.windows import LATEST_MS
from workers.postgres import cells
from workers.store.analytics.reading import Figures, figures_of
from workers.store.keys import TRADES, Keys
from workers.store.log.follower import entry_id
from workers.store.log.streams import delivered
from workers.store.log.tail import UNKNOWN
from workers.venues.entries import is_break
from workers.venues.entries import trade_of as trade_of_entry
from workers.venues.interface import Venue

Table = Literal["trades", "bars", "top_of_book", "gaps", "audits", "analytics", "analytics_events"]
Fields = Mapping[bytes, bytes]
DAY_MS: Final = 86_400_000
TOLD_BY: Final = "postgres"
"""The channel of what this role records in `gaps:{S}`, and `told_by` of it here."""
REPAIRED: Final = "repair"
"""The `line` of a trade that no line brought: it was filled in over REST."""

COLUMNS: Final[Mapping[Table, str]] = {
    "trades": "instrument_id, is_buyer_maker, is_market, time, trade_id, first_trade_id, last_trade_id, event_time, "
    "received, price, quantity, line, venue_trade_id",
    "bars": "instrument_id, revision, start, last_update_time, trades_count, skipped_count, is_buyer_maker_count, "
    'first_trade_id, last_trade_id, first_agg_trade_id, last_agg_trade_id, complete, "interval", reason, open_price, '
    "high_price, low_price, close_price, volume, quote_volume, buy_volume",
    "top_of_book": "instrument_id, published, update_id, event_time, transaction_time, received, synced_at, "
    "bid_prices, bid_quantities, ask_prices, ask_quantities",
    "gaps": "instrument_id, time, sequence, first_id, last_id, told_by, channel, reason, repaired",
    "audits": "instrument_id, time, sequence, compared_at, update_id, snapshot_id, compared, differing, low, high, "
    "waited_s, source, outcome, reason, differences",
    "analytics": "instrument_id, told, state, event_time, window_ms, spread, spread_bps, mid, microprice, "
    "depth_imbalance, order_flow_imbalance, liquidity, volatility, vwap, quote_bid, quote_ask, reservation, walls, "
    "icebergs, level",
    "analytics_events": "instrument_id, time, told, kind, side, price, figures, order_id",
}
"""In the order of a row."""


class Row(NamedTuple):
    """A row on its way."""

    table: Table
    day: int
    """UTC day since 1970."""
    line: str
    """As COPY takes it."""


class Decoded(NamedTuple):
    """What an entry holds."""

    rows: Sequence[Row] = ()
    first: int = UNKNOWN
    """Of trades: it follows directly on an entry whose `last` is one less."""
    last: int = UNKNOWN
    problem: str = ""
    """Why it is no row."""

    @classmethod
    def of(cls, row: Row) -> Decoded:
        """An entry that is one row."""
        return cls((row,))


class Source(NamedTuple):
    """A stream of a symbol that is stored."""

    table: Table
    name: str
    """What the stream is called where its symbol is known: `aggTrade`, `bars:1m`, `top`, `gaps`, `audit`."""
    key: str
    """Of `analytics` it is a hash, which is sampled: what it says at a time is an entry."""
    interval: str = ""

    def decode(self, venue: Venue, symbol: str, instrument: int, stream_id: bytes, fields: Fields) -> Decoded:
        """An entry."""
        if self.table == "trades":
            return _trade(venue, symbol, instrument, stream_id, fields)
        if self.table == "bars":
            return _bar(instrument, self.interval, fields)
        return _DECODERS[self.table](instrument, stream_id, fields)


def sources_of(
    keys: Keys, symbol: str, tables: Sequence[str], intervals: Sequence[str], trades: bool, analytics: bool
) -> list[Source]:
    """The streams of a symbol that the settings want stored.

    Args:
        trades: whether the venue's trades are followed.
        analytics: whether somebody computes them.
    """
    found: list[Source] = []
    if trades and "trades" in tables:
        found.append(Source("trades", TRADES, keys.raw(symbol, TRADES)))
    if trades and "bars" in tables:
        found += [Source("bars", f"bars:{name}", keys.bars(symbol, name), name) for name in intervals]
    if "top_of_book" in tables:
        found.append(Source("top_of_book", "top", keys.book_top(symbol)))
    if "gaps" in tables:
        found.append(Source("gaps", "gaps", keys.gaps(symbol)))
    if "audits" in tables:
        found.append(Source("audits", "audit", keys.audit(symbol)))
    if analytics and "analytics" in tables:
        found.append(Source("analytics", "analytics", keys.analytics(symbol)))
    if analytics and "analytics_events" in tables:
        found.append(Source("analytics_events", "analytics:events", keys.analytics_events(symbol)))
    return found


def _trade(venue: Venue, symbol: str, instrument: int, stream_id: bytes, fields: Fields) -> Decoded:
    [entry] = delivered([(stream_id, fields)])
    sequence = min(entry_id(stream_id)[1], cells.MOST_BIGINT)
    if is_break(entry):
        return Decoded((), sequence, sequence)
    try:
        trade = trade_of_entry(venue, symbol, entry)
    except MalformedFrame:
        return Decoded((), sequence, sequence, "cannot be decoded")
    line = fields.get(b"line", b"").decode(errors="replace")
    row = trade_row(instrument, trade, entry.received_us, line)
    if row is None:
        return Decoded((), trade.trade_id, trade.trade_id, "has no number or no time that can be stored")
    return Decoded((row,), trade.trade_id, trade.trade_id)


def trade_row(instrument: int, trade: Trade, received_us: int, line: str) -> Row | None:
    """The row of a trade; None for one whose time, price or quantity is none."""
    ms = trade.trade_time
    ids = (trade.trade_id, trade.first_trade_id, trade.last_trade_id)
    fits = all(-cells.MOST_BIGINT <= number <= cells.MOST_BIGINT for number in ids)
    if not (ms > 0 and cells.is_time(ms) and fits):
        return None
    if not (cells.is_number(trade.price) and cells.is_number(trade.quantity)):
        return None
    values = (
        str(instrument),
        cells.flag(trade.is_buyer_maker),
        cells.flag(trade.is_market),
        cells.from_ms(ms),
        str(trade.trade_id),
        str(trade.first_trade_id),
        str(trade.last_trade_id),
        cells.from_ms(trade.event_time),
        cells.from_us(received_us),
        trade.price,
        trade.quantity,
        cells.text(line),
        cells.text(trade.name),
    )
    return Row("trades", ms // DAY_MS, cells.line_of(values))


_BAR_COUNTS: Final = (
    b"trades_count",
    b"skipped_count",
    b"is_buyer_maker_count",
    b"first_trade_id",
    b"last_trade_id",
    b"first_agg_trade_id",
    b"last_agg_trade_id",
)
_BAR_NUMBERS: Final = (
    b"open_price",
    b"high_price",
    b"low_price",
    b"close_price",
    b"volume",
    b"quote_volume",
    b"buy_volume",
)


def _bar(instrument: int, interval: str, fields: Fields) -> Decoded:
    start, revision = cells.whole(fields.get(b"start")), cells.whole(fields.get(b"revision"))
    if (
        start is None
        or not cells.is_time(start)
        or not start
        or revision is None
        or not 0 <= revision < 2**31
    ):
        return Decoded(problem="has no start or no revision")
    values = [
        str(instrument),
        str(revision),
        cells.from_ms(start),
        cells.from_ms(cells.whole(fields.get(b"last_update_time"))),
        *(cells.integer(cells.whole(fields.get(name))) for name in _BAR_COUNTS),
        cells.flag(fields.get(b"complete") == b"1"),
        interval,
        cells.text(_text(fields, b"reason")),
        *(cells.number(_text(fields, name)) for name in _BAR_NUMBERS),
    ]
    return Decoded.of(Row("bars", start // DAY_MS, cells.line_of(values)))


class _Top(msgspec.Struct):
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]
    u: int
    E: int
    published: int
    T: int = 0
    synced_at: int = 0
    received: int = 0


_top_of: Final = decoder_of(_Top)


def _top(instrument: int, stream_id: bytes, fields: Fields) -> Decoded:
    try:
        top = _top_of(fields.get(b"data", b""))
    except msgspec.MsgspecError:
        return Decoded(problem="is no published book")
    ms = top.published // 1000
    if not (ms > 0 and cells.is_time(ms) and abs(top.u) <= cells.MOST_BIGINT):
        return Decoded(problem="is no published book")
    values = (
        str(instrument),
        cells.from_us(top.published),
        str(top.u),
        cells.from_ms(top.E),
        cells.from_ms(top.T),
        cells.from_us(top.received),
        cells.from_ms(top.synced_at),
        cells.numbers(price for price, _ in top.b),
        cells.numbers(quantity for _, quantity in top.b),
        cells.numbers(price for price, _ in top.a),
        cells.numbers(quantity for _, quantity in top.a),
    )
    return Decoded.of(Row("top_of_book", ms // DAY_MS, cells.line_of(values)))


def _gap(instrument: int, stream_id: bytes, fields: Fields) -> Decoded:
    channel = _text(fields, b"channel")
    if channel == TOLD_BY:  # it is here already, written in one step with what it is about
        return Decoded()
    ms, sequence = entry_id(stream_id)
    first, last = _text(fields, b"from"), _text(fields, b"to")
    return Decoded.of(
        gap_row(
            instrument,
            ms,
            sequence,
            "fleet",
            channel,
            first,
            last,
            _text(fields, b"reason"),
            _text(fields, b"repaired"),
        )
    )


def gap_row(
    instrument: int,
    ms: int,
    sequence: int,
    told_by: str,
    channel: str,
    first: str,
    last: str,
    reason: str,
    repaired: str,
) -> Row:
    """The row of a hole told at a time, ms."""
    ms = min(max(ms, 1), LATEST_MS - 1)
    values = (
        str(instrument),
        cells.from_ms(ms),
        str(min(sequence, cells.MOST_BIGINT)),
        cells.number(first),
        cells.number(last),
        told_by,
        cells.text(channel),
        cells.text(reason),
        cells.text(repaired),
    )
    return Row("gaps", ms // DAY_MS, cells.line_of(values))


def _audit(instrument: int, stream_id: bytes, fields: Fields) -> Decoded:
    ms, sequence = entry_id(stream_id)
    ms = min(max(ms, 1), LATEST_MS - 1)
    values = (
        str(instrument),
        cells.from_ms(ms),
        str(min(sequence, cells.MOST_BIGINT)),
        cells.from_ms(cells.whole(fields.get(b"time"))),
        *(
            cells.integer(cells.whole(fields.get(name)))
            for name in (b"u", b"snapshot_id", b"compared", b"differing")
        ),
        *(cells.number(_text(fields, name)) for name in (b"low", b"high", b"waited_s")),
        *(cells.text(_text(fields, name)) for name in (b"source", b"outcome", b"reason", b"differences")),
    )
    return Decoded.of(Row("audits", ms // DAY_MS, cells.line_of(values)))


_FIGURES: Final = (
    "spread", "spread_bps", "mid", "microprice", "depth_imbalance", "order_flow_imbalance", "liquidity", "volatility",
    "vwap", "quote_bid", "quote_ask", "reservation",
)  # fmt: skip
_events_of: Final = decoder_of(list[AnalyticsEvent])


def _figures(instrument: int, stream_id: bytes, fields: Fields) -> Decoded:
    try:
        figures = figures_of("analytics", dict(fields)) or Figures(
            state="withheld", event_time=0, told_ms=0, window_ms=0
        )
    except StateUnreadable:
        return Decoded(problem="holds what are no figures")
    if not (figures.told_ms > 0 and cells.is_time(figures.told_ms)):
        return Decoded(problem="has no time at which it was written")
    values = (
        str(instrument),
        cells.from_ms(figures.told_ms),
        figures.state,
        cells.from_ms(figures.event_time),
        cells.integer(figures.window_ms),
        *(cells.double(getattr(figures, name)) for name in _FIGURES),
        cells.json(figures.walls),
        cells.json(figures.icebergs),
        cells.integer(figures.level),
    )
    return Decoded.of(Row("analytics", figures.told_ms // DAY_MS, cells.line_of(values)))


def _analytics_events(instrument: int, stream_id: bytes, fields: Fields) -> Decoded:
    try:
        events = _events_of(fields.get(b"data", b""))
    except msgspec.MsgspecError:
        return Decoded(problem="is no list of events")
    rows: list[Row] = []
    for event in events:
        if not (event.time_us > 0 and cells.is_time(event.time_us // 1000)):
            continue
        values = (
            str(instrument),
            cells.from_us(event.time_us),
            cells.from_ms(entry_id(stream_id)[0]),
            event.kind,
            event.side,
            cells.double(event.price),
            cells.json(event.figures),
            cells.text(event.order_id),
        )
        rows.append(Row("analytics_events", event.time_us // (1000 * DAY_MS), cells.line_of(values)))
    problem = "has an event without a time" if len(rows) < len(events) else ""
    return Decoded(rows, problem=problem)


def _text(fields: Fields, name: bytes) -> str:
    return fields.get(name, b"").decode(errors="replace")


_DECODERS: Final[Mapping[str, Callable[[int, bytes, Any], Decoded]]] = {
    "top_of_book": _top,
    "gaps": _gap,
    "audits": _audit,
    "analytics": _figures,
    "analytics_events": _analytics_events,
}
