"""How often the auditor asks, and of which book."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from test_auditor import KEYS, Clock, Rest, bench, held, reply

from workers.keeper import audit as module
from workers.keeper.audit import AuditPace


class TestPace:
    @given(
        st.integers(0, 10**6),
        st.floats(1, 600),
        st.lists(st.sampled_from((2, 5, 10, 20, 50)), min_size=1, max_size=3),
    )
    def test_no_minute_gets_more_than_is_allowed(self, seed: int, allowed: float, weights: list[int]) -> None:
        draw, pace, now = random.Random(seed), AuditPace(), 0.0
        sent: list[tuple[float, int]] = []
        while now < 300:
            weight = draw.choice(weights)
            if pace.ready(now, weight, allowed):
                pace.asking()
                assert not pace.ready(now, 1, 10**6)
                now += draw.choice((0, 0.1, 20))
                pace.sent(now, weight, allowed)
                sent.append((now, weight))
            now += draw.choice((0.25, 0.25, 3))
        for at, weight in sent:
            minute = [one for when, one in sent if at - 60 < when <= at]
            assert sum(minute) <= max(allowed, weight)
        assert sent

    async def test_the_round_is_fair_and_within_the_share(
        self, client: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = Clock()
        monkeypatch.setattr(module, "time", clock)
        symbols = tuple(f"S{number}USDT" for number in range(15))
        for symbol in symbols:
            await client.hset(KEYS.book_status(symbol), "state", "synced")
        rest = Rest(clock)
        rest.answers = [reply(-1)]
        auditor = bench(client, rest, symbols)
        for _ in range(4 * 180):
            await auditor.step(clock.now)
            await asyncio.gather(*auditor._tasks)
            clock.now += 0.25
        assert all(weight == 20 for _, _, weight in rest.asked)
        for at, _, _ in rest.asked:
            assert sum(at - 60 < when <= at for when, _, _ in rest.asked) <= 2400 * 0.1 / 20
        order = [symbol for _, symbol, _ in rest.asked]
        assert len(order) >= 30
        assert set(Counter(order).values()) <= {2, 3}
        assert sorted(order[:15]) == sorted(symbols)
        assert order[15:30] == order[:15]

    async def test_the_limit_learned_from_the_exchange_counts(self, client: Redis) -> None:
        auditor = bench(client, Rest())
        [context] = auditor._contexts
        [book] = auditor._audited
        assert auditor._weight(book) == (20, 240.0)
        auditor.learned(context, 1000)
        assert auditor._weight(book) == (20, 100.0)

    async def test_one_symbol_is_never_audited_twice_at_once(self, client: Redis) -> None:
        await held(client, 99, 100)
        rest = Rest()
        rest.free.clear()
        auditor = bench(client, rest)
        for _ in range(3):
            for pace in auditor._paces.values():
                pace.sent(-100.0, 1, 10**6)  # as if the request were out already
            await auditor.step(time.monotonic())
        assert len(auditor._tasks) == 1
        rest.free.set()
        await asyncio.gather(*auditor._tasks)

    async def test_a_restarted_keeper_goes_on_with_the_longest_unaudited(self, client: Redis) -> None:
        now_ms = int(time.time() * 1000)
        for symbol, ago_s in (("A", 70), ("B", 300), ("C", 10)):
            fields = {"last_audit_ms": now_ms - ago_s * 1000, "last_audit": "match x", "state": "synced"}
            await client.hset(KEYS.book_status(symbol), mapping=fields)
        rest = Rest()
        rest.answers = [reply(-1)]
        auditor = bench(client, rest, ("A", "B", "C"), audit_weight_share=0.5)
        for _ in range(3):
            auditor._paces["um+cm"]._next = 0.0
            await auditor.step(time.monotonic())
            await asyncio.gather(*auditor._tasks)
        assert [symbol for _, symbol, _ in rest.asked] == ["B", "A"]

    async def test_a_cold_start_of_many_costs_one_look_a_book(
        self, client: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        symbols = [f"S{number}USDT" for number in range(600)]
        auditor = bench(client, Rest(), symbols)
        weighed, looked = 0, []
        plain, state = auditor._weight, auditor._stores["usdm"].state

        def weight(book: module._Audited) -> tuple[int, float]:
            nonlocal weighed
            weighed += 1
            return plain(book)

        async def look(symbol: str) -> str:
            looked.append(symbol)
            return await state(symbol)

        monkeypatch.setattr(auditor, "_weight", weight)
        monkeypatch.setattr(auditor._stores["usdm"], "state", look)
        await auditor.step(time.monotonic())
        assert sorted(looked) == sorted(symbols)
        assert weighed <= len(symbols) + 1

    async def test_a_list_that_shrank_before_the_last_audits_were_read(self, client: Redis) -> None:
        auditor = bench(client, Rest(), ["A", "B"])
        [context] = auditor._contexts
        context.symbols.replace(["B", "C"])
        await auditor.step(time.monotonic())
        assert [book.symbol for book in auditor._audited] == ["B", "C"]

    async def test_no_audits_when_switched_off(self, client: Redis) -> None:
        rest = Rest()
        await asyncio.wait_for(bench(client, rest, audit_s=0).run(), 60)
        assert rest.asked == []
