"""The audit loop: fair, paced, and neither deceived by one odd snapshot nor by a book that is wrong."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from workers.books.book import OwnedBook
from workers.books.worker import BookWorker
from workers.errors import RateLimited, RestUnavailable
from workers.ingest.worker import IngestWorker
from workers.keeper import audit as module
from workers.keeper.audit import Auditor
from workers.keeper.worker import Keeper
from workers.model.books.audit import AuditOutcome
from workers.model.books.checkpoint import encode_checkpoint
from workers.model.books.sync import BookSync, SequenceRule
from workers.model.books.top_of_book import TopOfBook, encode_top
from workers.model.events import DepthEvent, Snapshot
from workers.runtime.context import venue_contexts
from workers.runtime.process import Process
from workers.runtime.proxies import Sessions
from workers.settings.schema import BookSettings, KeeperSettings, Settings
from workers.sim import SimSettings, SimulatedExchange
from workers.sim.engine.faults import ActiveFault, Fault
from workers.store.fleet.budget import Urgency
from workers.store.keys import Keys, resubscriptions
from workers.venues.binance.settings import BinanceSettings
from workers.venues.requests import RestRequest

S = "BTCUSDT"
KEYS = Keys()
BIDS = [("9.9", "1"), ("9.8", "2")]
ASKS = [("10.1", "4"), ("10.2", "5")]


class Clock:
    """Time that moves when the test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1_795_000_000.0 + self.now


class Rest:
    """Answers every request with the next of its answers, the last one for ever."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.answers: list[bytes | Exception] = [reply(100)]
        self.asked: list[tuple[float, str, int]] = []
        self.clock = clock or Clock()
        self.free = asyncio.Event()
        self.free.set()

    async def get(self, request: RestRequest, urgency: Urgency, timeout_s: float) -> bytes:
        assert urgency is Urgency.AUDIT
        assert timeout_s > 0
        await self.free.wait()
        symbol = request.url.split("symbol=")[1].split("&")[0]
        self.asked.append((self.clock.monotonic(), symbol, request.weight))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def reply(update_id: int, bids: list[tuple[str, str]] | None = None) -> bytes:
    return msgspec.json.encode({"lastUpdateId": update_id, "bids": bids or BIDS, "asks": ASKS})


def depth(first: int, last: int, previous: int, bids: list[tuple[str, str]]) -> bytes:
    fields = {"e": "depthUpdate", "E": last, "s": S, "U": first, "u": last, "pu": previous}
    return msgspec.json.encode({**fields, "b": bids, "a": []})


def bench(client: Redis, rest: Rest, symbols: tuple[str, ...] = (S,), **keeper: float) -> Auditor:
    settings = Settings(
        venues={"usdm": BinanceSettings(market="usdm", symbols=list(symbols))},
        keeper=KeeperSettings(**{"audit_wait_s": 0.0, **keeper}),  # type: ignore[arg-type] -- floats and counts
    )
    process = Process("keeper", settings, 0, "unix:///nowhere")
    process.client = client
    contexts = venue_contexts(settings)
    return Auditor(process, contexts, {"usdm": rest})  # type: ignore[dict-item] -- stands in for RestClient


def synced(update_id: int, bids: list[tuple[str, str]] | None = None) -> bytes:
    """The checkpoint of a book in sync."""
    sync = BookSync(S, SequenceRule.FUTURES)
    sync.on_event(DepthEvent(S, update_id, update_id, update_id - 1, 5, 0, [], []), 5)
    sync.on_snapshot(Snapshot(S, update_id, bids or BIDS, ASKS), 5)
    return encode_checkpoint(sync.checkpoint(f"{update_id}-{update_id}"))


async def held(client: Redis, *update_ids: int, bids: list[tuple[str, str]] | None = None) -> None:
    """A stream that stands at the last update id, and a checkpoint there."""
    await client.hset(KEYS.book_status(S), "state", "synced")
    for update_id in update_ids:
        data = depth(update_id, update_id, update_id - 1, [])
        await client.xadd(KEYS.raw(S, "depth"), {"data": data}, id=f"{update_id}-{update_id}")
    await client.set(KEYS.book_checkpoint(S), synced(update_ids[-1], bids))


async def rounds(auditor: Auditor, count: int, client: Redis) -> list[dict[str, str]]:
    """Let every book be audited so many times; what was recorded."""
    for _ in range(count):
        for book in auditor._audited:
            book.due = 0.0
        for pace in auditor._paces.values():
            pace._next = 0.0
        await auditor.step(time.monotonic())
        await asyncio.gather(*auditor._tasks)
    return await recorded(client)


async def recorded(client: Redis, symbol: str = S) -> list[dict[str, str]]:
    entries = await client.xrange(KEYS.audit(symbol))
    return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in entries]


class TestOneBook:
    async def test_a_right_book_matches(self, client: Redis) -> None:
        await held(client, 99, 100, 101)
        auditor = bench(client, Rest())
        [found] = await rounds(auditor, 1, client)
        assert (found["outcome"], found["u"], found["snapshot_id"]) == ("match", "101", "100")
        assert (found["compared"], found["differing"], found["low"], found["high"]) == (
            "4",
            "0",
            "9.8",
            "10.2",
        )
        assert auditor.details["audits_match"] == 1
        assert await client.hget(KEYS.book_status(S), "last_audit")
        assert not await client.exists(KEYS.book_distrust(S))

    async def test_the_stream_brings_the_snapshot_forward(self, client: Redis) -> None:
        await held(client, 99, 100)
        data = depth(101, 105, 100, [("9.9", "0"), ("9.85", "7")])
        await client.xadd(KEYS.raw(S, "depth"), {"data": data}, id="105-105")
        await client.set(KEYS.book_checkpoint(S), synced(105, [("9.85", "7"), ("9.8", "2")]))
        [found] = await rounds(bench(client, Rest()), 1, client)
        assert (found["outcome"], found["u"]) == ("match", "105")

    async def test_a_wrong_checkpoint_is_distrusted_after_the_second_snapshot(self, client: Redis) -> None:
        await held(client, 99, 100, 101, 102, bids=[("9.9", "1"), ("9.80", "2.5")])
        rest = Rest()
        rest.answers = [reply(100), reply(101)]
        auditor = bench(client, rest, audit_confirm_s=3)
        [found] = await rounds(auditor, 1, client)
        assert (found["outcome"], found["differing"]) == ("unconfirmed", "1")
        assert found["differences"] == "bid 9.80 held 2.5 exchange 2"
        [book] = auditor._audited
        assert book.hurried
        assert not await client.exists(KEYS.book_distrust(S))
        [_, found] = await rounds(auditor, 1, client)
        assert (found["outcome"], found["differences"]) == ("mismatch", "bid 9.80 held 2.5 exchange 2")
        assert await client.get(KEYS.book_distrust(S)) == b"audit mismatch"
        assert not book.hurried

    async def test_one_odd_snapshot_is_recorded_and_nothing_more(self, client: Redis) -> None:
        await held(client, 99, 100, 101, 102)
        rest = Rest()
        rest.answers = [reply(100, [("9.9", "77")]), reply(101)]
        found = await rounds(bench(client, rest), 2, client)
        assert [one["outcome"] for one in found] == ["unconfirmed", "match"]
        assert not await client.exists(KEYS.book_distrust(S))

    async def test_published_levels_are_compared_too(self, client: Redis) -> None:
        await held(client, 99, 100, 101, 102)
        top = TopOfBook(S, [("9.9", "1"), ("9.8", "3")], ASKS, 102, 5, 0, 5, 5, 5)
        await client.hset(KEYS.live_orderbook, S, encode_top(top))
        [found] = await rounds(bench(client, Rest()), 1, client)
        assert (found["outcome"], found["differences"]) == ("unconfirmed", "bid 9.8 held 3 exchange 2")

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (RestUnavailable("u", 500, "no"), "no snapshot"),
            (RateLimited("u", 429, 30, "no"), "no snapshot"),
            (b"<html>", "no snapshot"),
            (reply(-1), "never traded"),
            (reply(103), "stream behind"),
            (reply(90), "stream does not reach back to the snapshot"),
            (reply(100, [("x", "1")]), "bad number in the snapshot"),
        ],
    )
    async def test_what_stands_in_the_way_is_named(
        self, client: Redis, answer: bytes | Exception, reason: str
    ) -> None:
        await held(client, 99, 100, 101, 102)
        rest = Rest()
        rest.answers = [answer]
        [found] = await rounds(bench(client, rest), 1, client)
        assert (found["outcome"], found["reason"]) == ("unknown", reason)
        assert not await client.exists(KEYS.book_distrust(S))

    async def test_a_stream_behind_a_snapshot_of_another_book_is_dead(self, client: Redis) -> None:
        """The exchange's book went on and the stream did not: the book is distrusted, the stream asked for anew."""
        await held(client, 99, 100, 101, 102)
        rest = Rest()
        rest.answers = [reply(103, [("9.9", "7"), ("9.8", "2")])]
        with capture_logs() as logs:
            [found] = await rounds(bench(client, rest), 1, client)
        assert (found["outcome"], found["reason"]) == ("unknown", "stream dead")
        assert await client.get(KEYS.book_distrust(S)) == b"stream dead"
        [(_, asked)] = await client.xrange(resubscriptions("usdm"))
        assert (asked[b"symbol"], asked[b"channel"]) == (S.encode(), b"depth")
        assert [entry["channel"] for entry in logs if entry["event"] == "stream_dead"] == ["depth"]

    async def test_a_checkpoint_that_does_not_help_is_named(self, client: Redis) -> None:
        await held(client, 99, 100)
        auditor = bench(client, Rest())
        for stored, reason in (
            (synced(99), "checkpoint behind"),
            (b"damaged", "checkpoint unreadable"),
            (encode_checkpoint(BookSync(S, SequenceRule.FUTURES).checkpoint("1-1")), "book not in sync"),
            (None, "no checkpoint"),
        ):
            if stored is None:
                await client.delete(KEYS.book_checkpoint(S))
            else:
                await client.set(KEYS.book_checkpoint(S), stored)
            assert (await rounds(auditor, 1, client))[-1]["reason"] == reason

    async def test_a_book_out_of_sync_costs_no_request_and_is_told_once(self, client: Redis) -> None:
        rest = Rest()
        auditor = bench(client, rest)
        found = await rounds(auditor, 5, client)
        assert [(one["outcome"], one["reason"]) for one in found] == [("unknown", "book not in sync")]
        await held(client, 99, 100)
        assert rest.asked == []
        assert [one["outcome"] for one in await rounds(auditor, 1, client)] == ["unknown", "match"]

    async def test_a_ban_holds_up_every_audit_of_the_pool(
        self, client: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = Clock()
        monkeypatch.setattr(module, "time", clock)
        await held(client, 99, 100)
        rest = Rest(clock)
        rest.answers = [RateLimited("u", 418, 300, "no"), reply(100)]
        auditor = bench(client, rest)
        for _ in range(1300):
            await auditor.step(clock.now)
            await asyncio.gather(*auditor._tasks)
            clock.now += 0.25
        assert [at for at, _, _ in rest.asked] == [1000.0, 1300.0]


class Fleet:
    """Line a, a books worker and the keeper in this process, on a simulated exchange and a real server."""

    def __init__(self, settings: Settings, url: str, session: Sessions) -> None:
        self.processes = [Process(role, settings, 0, url) for role in ("ingest-a", "books", "keeper")]
        ingest, books, keeper = self.processes
        self.client = keeper.client
        self.books = BookWorker(books, session)
        runs = (IngestWorker(ingest, "a").run(), self.books.run(), Keeper(keeper, session).run())
        self._tasks = [asyncio.create_task(run) for run in runs]

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(60):
            while not await condition():
                for task in self._tasks:
                    assert not task.done(), task.result()
                await asyncio.sleep(0.05)

    async def until_outcome(self, outcome: AuditOutcome, after: int = 0) -> dict[str, str]:
        """The first audit with an outcome, of those after the first so many."""

        async def there() -> bool:
            return any(one["outcome"] == outcome.value for one in (await recorded(self.client))[after:])

        await self.until(there)
        return next(one for one in (await recorded(self.client))[after:] if one["outcome"] == outcome.value)

    @property
    def book(self) -> OwnedBook:
        return self.books.books[KEYS.raw(S, "depth")]

    async def stop(self) -> None:
        for process in self.processes:
            process.stop.set()
        await asyncio.gather(*self._tasks)
        for process in self.processes:
            await process.client.aclose()


@asynccontextmanager
async def fleet(url: str) -> AsyncIterator[tuple[Fleet, SimulatedExchange]]:
    quiet = {"rate_scale": 0.2, "burst_every_s": 0.0}
    world = SimSettings(port=0, usdm_symbols=(S,), spot_symbols=(), levels_per_side=300, **quiet)
    async with SimulatedExchange(world) as exchange, Sessions() as session:
        venue = BinanceSettings(
            market="usdm",
            symbols=[S],
            snapshot_depth=50,  # weight 2
            websocket_url=exchange.websocket_url + "/usdm",
            rest_url=exchange.url + "/usdm",
            trades="none",
            request_spacing_ms=10,
        )
        settings = Settings(
            venues={"usdm": venue},
            books=BookSettings(commit_ms=150, snapshot_delay_ms=600),
            keeper=KeeperSettings(audit_s=0.3, audit_confirm_s=0.5, audit_weight_share=0.5),
        )
        running = Fleet(settings, url, session)
        try:
            yield running, exchange
        finally:
            await running.stop()


@pytest.fixture
async def server(real_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(module, "RETRY_S", 0.2)
    client = Redis.from_url(real_server)
    await client.flushall()  # the server is this test process's own
    await client.aclose()
    return real_server


async def test_a_wrong_book_is_caught_taken_out_of_sync_and_synced_anew(server: str) -> None:
    async with fleet(server) as (running, _):
        await running.until_outcome(AuditOutcome.MATCH)
        sync = running.book.sync
        wrong = list(itertools.islice(sync.book.known_levels("bid"), 10, 30))
        sync.book.apply([(price, "123456.789") for price, _ in wrong], [])
        found = await running.until_outcome(AuditOutcome.MISMATCH)
        assert int(found["differing"]) > 0
        assert "held 123456.789 exchange" in found["differences"]

        async def resynced() -> bool:
            return sync.sync_count > 1 and sync.reason == "audit mismatch"

        await running.until(resynced)
        done = len(await recorded(running.client))
        await running.until_outcome(AuditOutcome.MATCH, after=done)


async def test_a_wrong_snapshot_does_not_cost_a_right_book_its_sync(server: str) -> None:
    async with fleet(server) as (running, exchange):
        await running.until_outcome(AuditOutcome.MATCH)
        outcomes: list[str] = []
        while "unconfirmed" not in outcomes:  # an event may set the wrong level before the books are compared
            before = len(await recorded(running.client))
            odd = exchange.exchange.set_fault(Fault.parse("snapshot_wrong count=1"))

            async def answered(odd: ActiveFault = odd, before: int = before) -> bool:
                return odd.hits > 0 and len(await recorded(running.client)) > before + 1

            await running.until(answered)
            outcomes = [one["outcome"] for one in await recorded(running.client)]
        done = len(outcomes)
        await running.until_outcome(AuditOutcome.MATCH, after=done)
        assert running.book.sync.sync_count == 1
        assert "mismatch" not in {one["outcome"] for one in await recorded(running.client)}
