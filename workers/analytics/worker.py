"""The analytics role: reads the tops, trades and orders of the symbols it owns, folds them, publishes figures and
events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable
from typing import Final

import msgspec
import structlog
from prometheus_client import Counter
from redis.exceptions import RedisError

from workers.analytics.following import OrdersFollowing
from workers.analytics.owned import OwnedAnalytics, ReadStream
from workers.analytics.symbol import SymbolAnalytics
from workers.errors import MalformedFrame
from workers.model.books.top_of_book import TopOfBook, decode_top
from workers.model.events import Trade
from workers.runtime.backoff import MOST_PAUSE_S, Backoff
from workers.runtime.context import venue_contexts
from workers.runtime.deadlines import Deadlines
from workers.runtime.ownership import Claim, Ownership
from workers.runtime.process import Process
from workers.runtime.quarantine import Quarantine
from workers.runtime.rounds import Rounds
from workers.store.analytics.publishing import AnalyticsPublication, AnalyticsStore
from workers.store.connection import connect_reader
from workers.store.keys import ANALYTICS_GROUP
from workers.store.log.streams import delivered
from workers.store.log.tail import Read, Tails
from workers.venues.entries import is_break, trade_of

log = structlog.get_logger()

LOOK_ALL_S: Final = 0.5
"""Pause between two looks at which books are shown."""
ALL: Final = " all"
"""That look, among the keys of symbols, in the schedule."""

UNUSABLE = Counter("fleet_analytics_unusable_total", "Entries that analytics could not read", ["venue"])
MISSED = Counter(
    "fleet_analytics_missed_total", "Times a stream lost entries before analytics read them", ["venue"]
)
EVENTS = Counter("fleet_analytics_events_total", "Walls, icebergs and flicker told", ["venue", "kind"])


class AnalyticsWorker:
    """The analytics this process owns, and the loop over them."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._settings = settings = process.settings.analytics
        self._contexts = venue_contexts(process.settings)
        self.quarantine = Quarantine(process.client, ANALYTICS_GROUP)
        self._reader_client = connect_reader(process.url)
        self._tails = Tails(process.client)
        self._stores = {
            context.name: AnalyticsStore(process.client, context.keys, settings.events)
            for context in self._contexts
        }
        self._orders = OrdersFollowing(
            process.client, self._stores, self.quarantine, process.settings.orders.max_orders
        )
        self.owned: dict[str, OwnedAnalytics] = {}
        """By the key of the stream of tops."""
        self._streams: dict[str, ReadStream] = {}
        self.ownership = Ownership(process, ANALYTICS_GROUP, self._contexts, self, self.quarantine)
        self._rounds = Rounds(
            self._reader_client, process.stop, ANALYTICS_GROUP, self._streams, settings.gather_ms
        )
        self._deadlines = Deadlines()
        self._deadlines.set(ALL, 0.0)

    async def recover(self, claim: Claim, token: int) -> None:
        """Begin with what comes from now on: what an earlier owner had inferred is not taken over, nor told again."""
        store = self._stores[claim.context.name]
        owned = OwnedAnalytics(claim, token, SymbolAnalytics(self._settings))
        places = {key: await store.newest(key) for key in (owned.top_key, owned.trades_key)}
        if claim.context.venue.order_feed is not None:
            await self._orders.remember(owned)
        self.owned[owned.top_key] = owned
        owned.analytics.changed = True
        for key, place in places.items():
            self._streams[key] = ReadStream(owned, place)
            self._rounds.touch(key)

    async def hand_over(self, claim: Claim) -> None:
        """There is nothing to commit."""
        self.forget(claim)

    def forget(self, claim: Claim) -> None:
        """Drop a symbol that is another worker's now."""
        owned = self.owned.pop(claim.context.keys.book_top(claim.symbol), None)
        if owned is not None:
            self._streams.pop(owned.top_key, None)
            self._streams.pop(owned.trades_key, None)
            self._streams.pop(owned.orders_key, None)
            self._deadlines.drop(owned.top_key)
            self.quarantine.forget(*claim)

    def retired(self, claim: Claim) -> None:
        """Nothing more to forget: the keeper lets the keys expire."""

    async def step(self, ready: Collection[str] | None = None) -> int:
        """One round: read, fold, publish; the number of entries taken in.

        Args:
            ready: the streams to be read; None: all. Now and then all are, and who is shown is looked up after that.
        """
        now = time.monotonic()
        at_all = ALL in self._deadlines.due(now)
        taken = await self._read(list(self._streams) if ready is None or at_all else ready)
        if at_all:
            await self._look_who_is_shown()
            await self._look_at_orders()
            self._deadlines.set(ALL, now + LOOK_ALL_S)
            shown = sum(owned.analytics.shown for owned in self.owned.values())
            level3 = sum(owned.analytics.level == 3 for owned in self.owned.values())
            self._process.details = {"symbols": len(self.owned), "shown": shown, "level3": level3}
        await self._publish(now)
        return taken

    async def _look_who_is_shown(self) -> None:
        for context in self._contexts:
            owned = [each for each in self.owned.values() if each.claim.context.name == context.name]
            shown = await self._stores[context.name].shown([each.claim.symbol for each in owned])
            for each in owned:
                if each.claim.symbol not in shown:
                    each.analytics.withhold()

    async def _look_at_orders(self) -> None:
        begun = await self._orders.look([each for each in self.owned.values() if self._readable(each)])
        for owned, place in begun.items():
            if self.owned.get(owned.top_key) is not owned:
                continue  # another worker's meanwhile
            self._streams[owned.orders_key] = ReadStream(owned, place)
            self._rounds.touch(owned.orders_key)
            self.ownership.progress.made()
        for owned in self.owned.values():
            self._leave_orders(owned)

    async def _read(self, keys: Iterable[str]) -> int:
        places = {
            key: self._streams[key].place
            for key in keys
            if key in self._streams and self._readable(self._streams[key].owned)
        }
        found, refused = await self._tails.read(places, self._settings.read_count)
        for key, error in refused.items():
            if (stream := self._streams.get(key)) is None:
                continue
            if key == stream.owned.orders_key:
                del self._streams[key]
                await self._orders.failed(stream.owned, error)
            else:
                await self.quarantine.failed(*stream.owned.claim, "read", error)
                stream.owned.analytics.withhold()  # of what comes meanwhile nothing is read
        of_symbol: dict[str, dict[str, Read]] = {}
        for key, read in found.items():
            if (stream := self._streams.get(key)) is not None:
                stream.read_to(read.place)
                of_symbol.setdefault(stream.owned.top_key, {})[key] = read
        for top_key, reads in of_symbol.items():
            owned = self.owned[top_key]
            try:
                self._fold(owned, reads)
            except Exception as error:
                self.quarantine.stumbled(*owned.claim, "fold", error)
                owned.analytics = SymbolAnalytics(self._settings, owned.analytics.orders.told)
            owned.tell_level()
            self._leave_orders(owned)
            self.ownership.progress.made()
        return sum(len(read.entries) for read in found.values())

    def _readable(self, owned: OwnedAnalytics) -> bool:
        return self.ownership.safe(owned.claim) and self.quarantine.due(*owned.claim, "read")

    def _fold(self, owned: OwnedAnalytics, reads: dict[str, Read]) -> None:
        """Tops and trades in the order of their times, trades first: a top has what was traded before it.

        Orders, which have a clock of their own, before either.
        """
        analytics, name = owned.analytics, owned.claim.context.name
        told = len(analytics.events)
        if lossy := {key for key, read in reads.items() if read.loss}:
            MISSED.labels(name).inc()
            log.warning("analytics_missed", venue=name, symbol=owned.claim.symbol)
        if lossy - {owned.orders_key}:  # of orders the entries themselves tell that one is missing
            analytics.withhold()
        if (read := reads.get(owned.orders_key)) is not None:
            analytics.on_orders(delivered(read.entries))
        happened: list[tuple[int, int, Trade | TopOfBook]] = []
        if (read := reads.get(owned.trades_key)) is not None:
            happened += ((trade.trade_time, 0, trade) for trade in self._trades(owned, read))
        if (read := reads.get(owned.top_key)) is not None:
            happened += ((top.E, 1, top) for top in self._tops(owned, read))
        for _, _, what in sorted(happened, key=lambda row: row[:2]):
            if isinstance(what, TopOfBook):
                analytics.on_top(what)
            else:
                analytics.on_trade(what)
        for event in analytics.events[told:]:
            EVENTS.labels(name, event.kind).inc()

    def _leave_orders(self, owned: OwnedAnalytics) -> None:
        """Read the orders of a symbol no further where there is no book of them."""
        if owned.analytics.orders.fold is None:
            self._streams.pop(owned.orders_key, None)

    def _trades(self, owned: OwnedAnalytics, read: Read) -> list[Trade]:
        venue, trades = owned.claim.context.venue, []
        for entry in delivered(read.entries):
            try:
                if not is_break(entry):
                    trades.append(trade_of(venue, owned.claim.symbol, entry))
            except MalformedFrame as error:
                self._unusable(owned, error)
        return trades

    def _tops(self, owned: OwnedAnalytics, read: Read) -> list[TopOfBook]:
        tops = []
        for _, fields in read.entries:
            try:
                tops.append(decode_top(fields.get(b"data", b"")))
            except msgspec.DecodeError as error:
                self._unusable(owned, error)
        return tops

    @staticmethod
    def _unusable(owned: OwnedAnalytics, error: Exception) -> None:
        UNUSABLE.labels(owned.claim.context.name).inc()
        log.warning("analytics_unusable", symbol=owned.claim.symbol, error=str(error))

    async def _publish(self, now: float) -> None:
        pause_s = self._settings.publish_ms / 1000
        for context in self._contexts:
            made: list[tuple[OwnedAnalytics, AnalyticsPublication]] = []
            for key, owned in self.owned.items():
                analytics, due_at = owned.analytics, owned.published_at + pause_s
                if owned.claim.context.name != context.name or not analytics.changed:
                    continue
                if now < due_at:
                    self._deadlines.set(key, due_at)
                elif self.ownership.safe(owned.claim) and self.quarantine.due(*owned.claim, "publish"):
                    events = msgspec.json.encode(analytics.events) if analytics.events else b""
                    figures = analytics.figures()
                    made.append(
                        (owned, AnalyticsPublication(owned.claim.symbol, owned.token, figures, events))
                    )
            fenced, refused = await self._stores[context.name].publish([each for _, each in made])
            for owned, written in made:
                if written.symbol in fenced:
                    self.ownership.lost(owned.claim, owned.token)
                elif (error := refused.get(written.symbol)) is not None:
                    await self.quarantine.failed(*owned.claim, "publish", error)
                else:
                    owned.published_at, owned.analytics.changed = now, False
                    owned.analytics.events.clear()
                    self.quarantine.worked(*owned.claim, "publish")

    async def _go_round(self) -> None:
        waits = Backoff("round")
        while not self._process.stop.is_set():
            ready = await self._rounds.next(self._deadlines.next)
            try:
                taken = await self.step(ready)
                waits.accepted()
            except (RedisError, OSError) as error:
                self._deadlines.set(ALL, 0.0)
                await asyncio.sleep(min(waits.refused(error), MOST_PAUSE_S))
            else:
                self._rounds.took(taken, more=False)
            self.ownership.progress.made()

    async def run(self) -> None:
        """Serve until told to stop; then give everything back."""
        try:
            await self.ownership.guard(self._go_round())
        finally:
            await self.ownership.release_all()
            await self._rounds.close()
            await self._reader_client.aclose()


async def main(process: Process) -> None:
    """The role's loop."""
    await AnalyticsWorker(process).run()
