"""What a replay needs to know of its recordings before the first message: markets, symbols, settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from msgspec.structs import replace

from workers.errors import RecordingError
from workers.model.trades.windows import INTERVALS_MS
from workers.recordings.recording import Recording
from workers.recordings.records import Market
from workers.recordings.streams import Stream
from workers.settings.orders import OrderSettings
from workers.settings.schema import (
    BookSettings,
    FleetSettings,
    IngestSettings,
    RedisSettings,
    Settings,
    TradeSettings,
    VenueSettings,
)
from workers.venues.binance.settings import BinanceSettings
from workers.venues.registry import venue_of

PARTIAL: Final = (
    "a stream of partial books (depth5, depth10, depth20) shows the best levels anew each time, and cannot be "
    "folded into a book; record <symbol>@depth and a REST snapshot instead"
)
UNPROVEN: Final = "the exchange's ids are not consecutive, so nothing tells whether a trade is missing"
LINE: Final = "a"
"""A recording is what one line received."""
PATIENCE_S: Final = 86_400.0
"""A snapshot request waits until the recording has come to its snapshot, however slowly it is replayed."""
UNLIMITED_WEIGHT: Final = 1_000_000_000
NEVER_MS: Final = 10**12
MOST_LEVELS: Final = 50_000
"""Levels kept per side: all that a recording tells of, so that the result is a fold of all of it."""


class ReplayPlan:
    """The markets, symbols and streams of some recordings.

    The market of the first file has no key prefix, as the first venue of any settings; the others have theirs
    (`spot:`), in Redis and in the report.

    Raises:
        RecordingError: there is no depth and no trade stream in any of them.
    """

    def __init__(self, recordings: Sequence[Recording]) -> None:
        self.recordings = recordings
        self.markets: list[Market] = list(dict.fromkeys(recording.market for recording in recordings))
        self.streams: dict[Market, dict[Stream, int]] = {market: {} for market in self.markets}
        for recording in recordings:
            counts = self.streams[recording.market]
            for stream, count in recording.streams.items():
                counts[stream] = counts.get(stream, 0) + count
        self._refuse_bare_partial_books()
        idle = [recording for recording in recordings if not self.symbols(recording.market)]
        self.markets = [market for market in self.markets if self.symbols(market)]
        if not self.markets:
            raise RecordingError(str(recordings[0].path), 1, self._why_nothing())
        self.notes: list[str] = []
        """What is not replayed, in sentences."""
        for recording in idle:
            self.notes.append(f"{recording.path} is not fed: nothing else of {recording.market} was given.")
        for market in self.markets:
            self.notes += [
                f"{self.prefix(market)}{stream.name} is not fed: {PARTIAL}."
                for stream in self.streams[market]
                if stream.is_partial
            ]
        self._left_out = {market: self._second_speeds(market) for market in self.markets}
        for market in self.markets:
            if self._unproven_trades(market) and any(stream.is_trades for stream in self.streams[market]):
                self.notes.append(f"{market}: {UNPROVEN}; the log numbers those that came.")

    def _refuse_bare_partial_books(self) -> None:
        for recording in self.recordings:
            for stream in recording.streams:
                if recording.partial.found(stream):
                    problem = (
                        f"its depth frames of {stream.symbol}, recorded without the name of their stream, are "
                        f"not changes: each repeats the levels of the one before. {PARTIAL[0].upper()}{PARTIAL[1:]}"
                    )
                    raise RecordingError(str(recording.path), 1, problem)

    def _why_nothing(self) -> str:
        problem = "there is neither a depth nor a trade stream in it"
        partial = [stream.name for counts in self.streams.values() for stream in counts if stream.is_partial]
        if partial:
            return f"{problem}, but {', '.join(partial)}: {PARTIAL}"
        books = sum(sum(recording.snapshots.values()) for recording in self.recordings)
        if books:
            return f"{problem}, but {books} whole or partial books and no event that changes them: {PARTIAL}"
        return problem

    def symbols(self, market: Market) -> list[str]:
        """The symbols of a market's streams of books, single orders and trades."""
        wanted = (
            stream.symbol
            for stream in self.streams[market]
            if stream.is_depth or stream.is_orders or stream.is_trades
        )
        return list(dict.fromkeys(wanted))

    def prefix(self, market: Market) -> str:
        """What stands before a market's keys in Redis and names in the report."""
        return "" if market == self.markets[0] else f"{market}:"

    def left_out(self, market: Market) -> frozenset[Stream]:
        """Depth streams that are not fed because the recording has a better one of the symbol."""
        return self._left_out.get(market, frozenset())

    def _second_speeds(self, market: Market) -> frozenset[Stream]:
        """The streams of one book at different speeds do not chain: only the one with the most events is fed."""
        best: dict[str, Stream] = {}
        counts = self.streams[market]
        for stream in counts:
            if stream.is_depth:
                other = best.setdefault(stream.symbol, stream)
                if counts[stream] > counts[other]:
                    best[stream.symbol] = stream
        left = frozenset(stream for stream in counts if stream.is_depth and best[stream.symbol] is not stream)
        for stream in left:
            kept = best[stream.symbol].name
            self.notes.append(
                f"{self.prefix(market)}{stream.name} is not fed: {kept} tells the same book faster."
            )
        return left

    def _recorded(self, market: Market) -> VenueSettings | None:
        """With which settings the frames of another exchange than Binance came."""
        return next((each.settings for each in self.recordings if each.market == market), None)

    def _unproven_trades(self, market: Market) -> bool:
        settings = self._recorded(market)
        return settings is not None and venue_of(market, settings).facts.trade_ids != "consecutive"

    def is_of_trades(self, market: Market, stream: Stream) -> bool:
        """Whether a stream feeds the trades fold."""
        if self._recorded(market) is None:
            return stream.kind == self.trades(market)
        return stream.is_trades

    def _venue_settings(self, market: Market, rest_url: str) -> VenueSettings:
        """The section of a market."""
        recorded, symbols = self._recorded(market), self.symbols(market)
        rest_url = f"{rest_url}/{market}"
        if recorded is not None:
            return replace(
                recorded,
                symbols=symbols,
                max_symbols=0,
                rest_url=rest_url,
                weight_per_minute=UNLIMITED_WEIGHT,
            )
        return BinanceSettings(
            market=market,  # type: ignore[arg-type]  # recordings of Binance are of its markets
            symbols=symbols,
            trades=self.trades(market),
            snapshot_depth=self._snapshot_depth(market),
            rest_url=rest_url,
            weight_per_minute=UNLIMITED_WEIGHT,
        )

    def trades(self, market: Market) -> Literal["aggTrade", "trade", "none"]:
        """Which stream of Binance feeds the trades fold: aggregate trades where they were recorded."""
        kinds = {stream.kind for stream in self.streams[market]}
        if "aggTrade" in kinds:
            return "aggTrade"
        return "trade" if "trade" in kinds else "none"

    @property
    def messages(self) -> int:
        """Frames recorded."""
        return sum(sum(counts.values()) for counts in self.streams.values())

    def _snapshot_depth(self, market: Market) -> int:
        limits = [
            recording.snapshot_limit
            for recording in self.recordings
            if recording.market == market and recording.snapshot_limit
        ]
        return min(limits, default=1000)

    def settings(self, rest_url: str, redis_url: str, home: str, speed: float | None) -> Settings:
        """The settings of the workers.

        Time stands still for a book between two events unless the replay runs by the recorded clock, so nothing
        that depends on our clock may judge it: no limit for how long it is crossed, no window closed by clock.
        """
        return Settings(
            fleet=FleetSettings(home=home, lease_ms=30_000),
            redis=RedisSettings(url=redis_url),
            venues={market: self._venue_settings(market, rest_url) for market in self.markets},
            ingest=IngestSettings(),
            books=BookSettings(
                levels=MOST_LEVELS,
                read_count=1000,
                gather_ms=1,
                snapshot_delay_ms=0,
                two_snapshots=False,  # what was recorded is all there is
                snapshot_timeout_s=PATIENCE_S,
                snapshot_retry_s=0.002,
                snapshot_retry_max_s=0.01,
                refresh_below=0,
                stale_ms=NEVER_MS,
                behind_ms=NEVER_MS,
                crossed_ms=int(BookSettings().crossed_ms / speed) if speed else NEVER_MS,
            ),
            orders=OrderSettings(
                read_count=1000,
                gather_ms=1,
                compare_ms=0,
                stale_ms=NEVER_MS,
                behind_ms=NEVER_MS,
                commit_ms=100,
            ),
            trades=TradeSettings(
                retention_ms=0,
                repair_attempts=1,  # a recording is asked once: it holds no trades but those that come
                repair_for_s=0,
                read_count=2000,
                gather_ms=1,
                close_by_clock=False,
                bars_kept=dict.fromkeys(INTERVALS_MS, 0),
            ),
        )
