"""One venue's list of symbols: what exchangeInfo says is stored, who is followed is decided and published.

The list of the exchange is the only truth. Its live announcements say when to read it again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import structlog
from prometheus_client import Counter, Gauge

from workers.errors import MalformedFrame, RestError, StateUnreadable
from workers.model.symbols.info import SymbolInfo
from workers.model.symbols.names import near_names
from workers.model.symbols.selection import NOT_CHOSEN, NOT_LISTED, Selected, Selection
from workers.model.symbols.volumes import comparable_volumes
from workers.plain_text import plain
from workers.runtime.context import VenueContext
from workers.runtime.process import Process
from workers.runtime.rest import RestClient
from workers.runtime.unreadable import UnreadableKeys
from workers.settings.exchanges import description
from workers.store.fleet.budget import Urgency
from workers.store.fleet.followed import Listed, Publication, publish, published, still_published
from workers.store.fleet.symbols import UNLISTED as UNLISTED_STATUS
from workers.store.fleet.symbols import UNREADABLE as UNREADABLE_STATUS
from workers.store.fleet.symbols import SymbolStore
from workers.venues.interface import BadListing, ExchangeInfo, Venue
from workers.venues.messages import ContractNotice

log = structlog.get_logger()

REFRESHES = Counter("fleet_symbol_refreshes_total", "exchangeInfo read", ["venue", "outcome"])
UNLISTED = Counter(
    "fleet_symbol_unlisted_total", "Symbols named in the settings that are not listed", ["venue"]
)
STATUS_CHANGES = Counter("fleet_symbol_status_changes_total", "Symbols whose status changed", ["venue"])
TICK_SIZE_CHANGES = Counter(
    "fleet_symbol_tick_size_changes_total", "Symbols whose grid of prices changed", ["venue"]
)
STEP_SIZE_CHANGES = Counter(
    "fleet_symbol_step_size_changes_total", "Symbols whose grid of quantities changed", ["venue"]
)
LIMIT_REFUSED = Counter(
    "fleet_weight_limit_refused_total", "Limits of the request weight that can be none", ["venue"]
)
FOLLOWED = Gauge("fleet_symbols_followed", "Symbols the settings choose now", ["venue"])
TAKEN_UP = Counter("fleet_symbols_taken_up_total", "Symbols that came to be followed", ["venue"])
RETIRED = Counter("fleet_symbols_retired_total", "Symbols given up and withdrawn", ["venue", "state"])
UNREADABLE = Counter(
    "fleet_symbol_unreadable_total",
    "Entries of the exchange's lists that came to be unusable, each by itself",
    ["venue", "list"],
)
LEFT_OUT = Gauge(
    "fleet_symbols_left_out", "Symbols the patterns choose for which max_symbols left no room", ["venue"]
)
UNRANKED = Counter(
    "fleet_symbol_tickers_failed_total", "Symbols taken up without knowing what they trade", ["venue"]
)

REQUEST_TIMEOUT_S: Final = 30.0
RETRY_S: Final = 5.0
MOST_PAGES: Final = 50
"""Of one list: an exchange that always names another one has gone wrong."""
TOLD_AT_MOST: Final = 10
"""Unusable entries of a list that one line of the log names."""
LEAST_PAUSE_S: Final = 2.0
"""Between two readings that announcements ask for."""
EXPECTED_FOR_S: Final = 60.0
"""How long the list may lag behind an announcement and is read again and again."""


class Listings:
    """The symbols of one venue. Times are monotonic seconds."""

    def __init__(self, process: Process, context: VenueContext, rest: RestClient) -> None:
        self._process = process
        self._context = context
        self._rest = rest
        self._store = SymbolStore(process.client, context.keys)
        self._selection: Selection | None = None
        self._published: Listed | None = None
        """What this keeper published last."""
        self._retiring: dict[str, str] = {}
        self._retire_from = 0.0
        # until every worker has heard of a list a symbol may go from one owner to the next
        self._given_back_s = process.settings.fleet.lease_ms / 1000 + 1
        self._statuses: dict[str, str] = {}
        self._expected: dict[str, tuple[str, float]] = {}
        self._unreadable = UnreadableKeys("keeper")
        self._unlisted: dict[str, list[str]] = {}
        """Symbols the settings name that are not listed, with the nearest names."""
        self._told_left_out = 0
        self._told_bad: dict[str, set[BadListing]] = {}
        """By the name of a list, its unusable entries as of its last reading."""
        self._due = self._read_at = 0.0
        self.weight_limit = 0
        """The exchange's request weight a minute; 0: not known yet."""

    def announced(self, notice: ContractNotice, now: float) -> None:
        """The exchange says that something about a symbol is new."""
        rule, symbol = self._context.symbols.rule, notice.symbol
        concerns_us = symbol in self._context.symbols or symbol in rule.exact or rule.wants(symbol)
        if concerns_us and self._statuses.get(symbol) != notice.status:
            self._expected[symbol] = (notice.status, now + EXPECTED_FOR_S)
            self.read_soon(now)

    def read_soon(self, now: float) -> None:
        """Read the list again, if that has not just been done."""
        self._due = min(self._due, max(now, self._read_at + LEAST_PAUSE_S))

    async def step(self, now: float) -> None:
        """One round: read the list when that is due, and let go of what nobody owns any more.

        Raises:
            RedisError: nothing is lost; the next round tries again.
        """
        if now >= self._due:
            try:
                await self._refresh(now)
            except (RestError, MalformedFrame) as error:
                self._due = now + RETRY_S
                REFRESHES.labels(self._context.name, "failed").inc()
                log.warning("symbol_refresh_failed", venue=self._context.name, error=str(error))
        elif self._selection is not None and await self._lost():
            await self._publish()
        if self._retiring and now >= self._retire_from:
            await self._retire()

    async def _refresh(self, now: float) -> None:
        self._read_at = now
        venue = self._context.venue
        info = await self._read_list(venue)
        self._due = now + RETRY_S  # whatever fails now, the exchange is not asked every second
        await self._learn(info.weight_limit)
        selection = self._selection or await self._resumed(now)
        before = list(selection.followed)
        try:
            unreadable = {entry.symbol for entry in info.bad}
            volumes = await self._volumes(selection, info.symbols)
            selected = selection.take(info.symbols, volumes, unreadable)
            await self._store_info(info.symbols, {*selected.followed, *selected.retired})
            await self._store.note(UNREADABLE_STATUS, sorted(unreadable.intersection(selected.followed)))
            if self._note_unlisted({*info.symbols, *unreadable}) and self._published is not None:
                self._published = None  # to be published anew
            await self._apply(selected, now)
        except BaseException:
            selection.followed = before  # told again by the next round
            raise
        self._tell_left_out(selected.left_out)
        self._statuses = {symbol: one.status for symbol, one in info.symbols.items()}
        self._tell_bad("exchangeInfo", info.bad)
        self._plan(selected, now)
        REFRESHES.labels(self._context.name, "done").inc()
        log.info("symbols_refreshed", venue=self._context.name, listed=len(info.symbols),
                 followed=len(selected.followed))  # fmt: skip

    async def _read_list(self, venue: Venue) -> ExchangeInfo:
        """All pages of the list: a part of it would end what stands in the others.

        Raises:
            RestError, MalformedFrame: a page is not to be had, or there is no last one.
        """
        request, pages = venue.info_request(), []
        for _ in range(MOST_PAGES):
            body = await self._rest.get(request, Urgency.START, REQUEST_TIMEOUT_S)
            pages.append(venue.info(body))
            if pages[-1].next_page is None:
                symbols = {name: found for page in pages for name, found in page.symbols.items()}
                return ExchangeInfo(
                    symbols, pages[0].weight_limit, [bad for page in pages for bad in page.bad]
                )
            request = pages[-1].next_page
        raise MalformedFrame(venue.name, "list of symbols", f"it has more than {MOST_PAGES} pages", body)

    async def _learn(self, limit: int) -> None:
        """Take in the limit of the request weight; one that can be none would stop every request."""
        if limit and await self._rest.budget.learn(limit):
            self.weight_limit = limit
        elif limit:
            LIMIT_REFUSED.labels(self._context.name).inc()
            log.error("weight_limit_refused", venue=self._context.name, limit=limit)

    def _plan(self, selected: Selected, now: float) -> None:
        """When to read again: soon where a symbol is missing or an announcement has not come true yet."""
        self._expected = {
            symbol: (status, until)
            for symbol, (status, until) in self._expected.items()
            if until > now and self._statuses.get(symbol) != status
        }
        soon = bool(selected.doubtful or self._expected)
        self._due = now + (RETRY_S if soon else self._process.settings.keeper.info_s)

    async def _resumed(self, now: float) -> Selection:
        """Go on with what the last keeper published, also if its settings were others."""
        rule = self._context.symbols.rule
        found = await self._published_before()
        known = await self._store.known(rule.exact)
        self._selection = Selection(rule, found.symbols if found else (), known)
        if found:
            self._retiring = dict(found.retiring)
            self._retire_from = now + self._given_back_s
        return self._selection

    async def _published_before(self) -> Publication | None:
        """What the last keeper published; None where there is nothing, or nothing that can be read."""
        try:
            found = await published(self._process.client, self._context.name)
        except StateUnreadable as error:
            self._unreadable.looked("published", [error])
            return None
        return found

    async def _volumes(self, selection: Selection, listed: Mapping[str, SymbolInfo]) -> Mapping[str, float]:
        """What all symbols trade, asked for only where there is something to choose or to order.

        Raises:
            RestError, MalformedFrame: they are not known, and there is not room for all.
        """
        candidates, followed = selection.candidates(listed), len(selection.followed)
        if len(candidates) < 2:
            return {}
        venue = self._context.venue
        try:
            body = await self._rest.get(venue.tickers_request(), Urgency.START, REQUEST_TIMEOUT_S)
            tickers = venue.tickers(body)
            self._tell_bad("ticker/24hr", tickers.bad)
            return comparable_volumes(tickers.rows, listed)
        except (RestError, MalformedFrame) as error:
            UNRANKED.labels(self._context.name).inc()
            log.warning("symbol_tickers_failed", venue=self._context.name, error=str(error))
            if selection.rule.most and followed + len(candidates) > selection.rule.most:
                raise
            return {}

    async def _store_info(self, listed: Mapping[str, SymbolInfo], symbols: set[str]) -> None:
        found = [listed[symbol] for symbol in sorted(symbols) if symbol in listed]
        stored = await self._store.store(found)
        self._unreadable.looked("symbols", stored.bad)
        for change in stored.changes:
            told = {"venue": self._context.name, **change._asdict()}
            if change.field == "status":
                STATUS_CHANGES.labels(self._context.name).inc()
                log.warning("symbol_status_changed", **told)
            elif change.field == "tick_size":
                TICK_SIZE_CHANGES.labels(self._context.name).inc()
                log.warning("symbol_tick_size_changed", **told)
            else:
                STEP_SIZE_CHANGES.labels(self._context.name).inc()
                log.warning("symbol_step_size_changed", **told)

    async def _apply(self, selected: Selected, now: float) -> None:
        """Make a changed selection known; a symbol that comes back begins anew before anybody takes it up."""
        name = self._context.name
        for symbol in selected.added:
            self._retiring.pop(symbol, None)
            if await self._store.revive(symbol):
                log.info("symbol_revived", venue=name, symbol=symbol)
        for symbol, reason in selected.retired.items():
            if reason == NOT_LISTED:
                await self._store.note(UNLISTED_STATUS, [symbol])
            self._retiring[symbol] = reason
        if selected.added or selected.retired or self._published is None:
            await self._publish()
        self._context.symbols.replace(selected.followed)
        FOLLOWED.labels(name).set(len(selected.followed))
        if selected.retired:
            self._retire_from = now + self._given_back_s
            log.warning("symbols_given_up", venue=name, symbols=dict(selected.retired))
        if selected.added:
            TAKEN_UP.labels(name).inc(len(selected.added))
            log.info("symbols_taken_up", venue=name, symbols=selected.added[:20], count=len(selected.added))

    async def _publish(self) -> None:
        if self._selection is None:
            return
        rule, followed = self._context.symbols.rule, self._selection.followed
        self._published = await publish(
            self._process.client,
            self._context.name,
            rule.text,
            followed,
            self._retiring,
            self._unlisted,
            list(self._process.settings.venues),
            description(self._context.settings),
        )
        self._unreadable.looked("published", [])

    async def _lost(self) -> bool:
        """Whether what was published last is not there any more, or nobody can read it."""
        if self._published is None:
            return False
        try:
            return not await still_published(self._process.client, self._context.name, self._published)
        except StateUnreadable as error:
            self._unreadable.looked("published", [error])
            return True

    async def _retire(self) -> None:
        """Let what a symbol has expire as soon as nobody owns it."""
        name, kept_ms = self._context.name, self._process.settings.streams.retired_ms
        followed = self._selection.followed if self._selection is not None else []
        done = []
        for symbol, reason in self._retiring.items():
            if symbol in followed:
                continue  # what would have given it up could not be published yet
            state = "retired" if reason == NOT_CHOSEN else "delisted"
            if await self._store.retire(symbol, state, reason, kept_ms):
                done.append(symbol)
                RETIRED.labels(name, state).inc()
                log.warning("symbol_retired", venue=name, symbol=symbol, state=state, reason=reason)
        for symbol in done:
            del self._retiring[symbol]
        if done:
            await self._publish()

    def _tell_bad(self, which: str, bad: Sequence[BadListing]) -> None:
        """Say which entries of a list cannot be used, once for as long as that is so: each costs itself alone."""
        name, rule = self._context.name, self._context.symbols.rule
        fresh = set(bad) - self._told_bad.get(which, set())
        self._told_bad[which] = set(bad)
        if not fresh:
            return
        UNREADABLE.labels(name, which).inc(len(fresh))
        for symbol in rule.exact:
            for entry in fresh:
                if entry.symbol == symbol:
                    log.error(
                        "symbol_unreadable", venue=name, list=which, symbol=symbol, error=plain(entry.problem)
                    )
        told = [
            f"{plain(entry.symbol, 40)!r}: {plain(entry.problem)}" for entry in sorted(fresh)[:TOLD_AT_MOST]
        ]
        log.warning("symbols_unreadable", venue=name, list=which, count=len(fresh), entries=told)

    def _tell_left_out(self, count: int) -> None:
        """Say that the patterns choose more than there is room for, when that begins and each time it grows."""
        LEFT_OUT.labels(self._context.name).set(count)
        if count > self._told_left_out:
            log.warning("symbols_left_out", venue=self._context.name, count=count,
                        max_symbols=self._context.symbols.rule.most,
                        cure="narrower patterns, or a higher max_symbols")  # fmt: skip
        self._told_left_out = count

    def _note_unlisted(self, listed: Collection[str]) -> bool:
        """Say which names of the settings are not listed, once for as long as that is so; whether that changed."""
        name, rule = self._context.name, self._context.symbols.rule
        before = self._unlisted
        missing = [symbol for symbol in rule.exact if symbol not in listed]
        self._unlisted = {
            symbol: near_names(symbol, listed) for symbol in missing if symbol not in before
        } | {symbol: before[symbol] for symbol in missing if symbol in before}
        for symbol in missing:
            if symbol not in before:
                UNLISTED.labels(name).inc()
                log.error("symbol_unlisted", venue=name, symbol=symbol, near=self._unlisted[symbol])
        return self._unlisted != before

    async def keep_keys(self) -> None:
        """Keep `last_trade_time`, and withdraw the books nobody owns.

        Raises:
            RedisError: the next round does it.
        """
        bad = await self._store.keep_last_trade_times(self._context.symbols)
        try:
            await self._store.withdraw_orphans()
        except StateUnreadable as error:
            bad.append(error)
        self._unreadable.looked("kept", bad)
