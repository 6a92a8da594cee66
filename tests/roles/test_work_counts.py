"""What messages, and nothing, cost the owners of books and trades: counted, so that no machine is too slow to tell."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec
import pytest
from in_process import KEYS, SYMBOLS, Fleet, fleet_of, settle

from workers.model.books.top_of_book import decode_top
from workers.runtime.rounds import ROUNDS
from workers.store.keys import BOOKS_GROUP
from workers.store.log.streams import GroupReader, RawEntry, RawStreams
from workers.venues.binance.venue import Binance

BATCHES, OF_SYMBOL = 20, 10
MESSAGES = BATCHES * OF_SYMBOL * 2 * len(SYMBOLS)
IDLE_S = 3


class Work(NamedTuple):
    """What was done within a time."""

    commands: dict[str, int]
    """Redis commands, by name; those a script runs are among them."""
    rounds: float
    decoded: int


@contextmanager
def counting_decodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The messages decoded whole, by whomever."""
    decoded = [0]
    with monkeypatch.context() as patch:
        for name in ("depth", "trade"):
            original = getattr(Binance, name)

            def counted(*arguments: Any, original: Any = original, **named: Any) -> Any:
                decoded[0] += 1
                return original(*arguments, **named)

            patch.setattr(Binance, name, counted)
        yield decoded


async def counted(fleet: Fleet, decoded: list[int], work: Awaitable[None]) -> Work:
    """What was done while something was awaited."""
    await fleet.client.config_resetstat()
    rounds, decodes = all_rounds(), decoded[0]
    await work
    stats = await fleet.client.info("commandstats")
    calls = {name.removeprefix("cmdstat_"): int(row["calls"]) for name, row in stats.items()}
    return Work(calls, all_rounds() - rounds, decoded[0] - decodes)


def all_rounds() -> float:
    return sum(
        sample.value
        for metric in ROUNDS.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    )


class Tape:
    """Messages that go on where books and trades stand."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._streams = RawStreams(fleet.client, 10_000)
        self._tops: dict[str, Any] = {}
        self._trade_ids: dict[str, int] = {}

    async def begin(self) -> None:
        """Learn where they stand."""
        for symbol in SYMBOLS:
            self._tops[symbol] = decode_top(await self._fleet.client.hget("LIVE_ORDERBOOK", symbol))
            self._trade_ids[symbol] = int(await self._fleet.client.hget(KEYS.trades_state(symbol), "last_id"))

    async def play(self) -> None:
        """Append batch by batch, each when the last one has been read, and wait until all is folded."""
        for batch in range(BATCHES):
            await self._streams.append(*self._batch(batch))
            await self._fleet.until(self._is_read)
        await self._fleet.until(self._is_shown)

    def _batch(self, batch: int) -> tuple[list[RawEntry], dict[str, int]]:
        now_us = time.time_ns() // 1000
        entries = []
        for symbol, top in self._tops.items():
            for number in range(OF_SYMBOL):
                ms = now_us // 1000
                depth = {
                    "e": "depthUpdate", "E": ms, "T": ms, "s": symbol, "U": top.u + 1, "u": top.u + 1, "pu": top.u,
                    "b": [[top.b[0][0], f"{batch + number + 1}.5"]], "a": [[top.a[0][0], f"{batch + number + 1}.5"]],
                }  # fmt: skip
                top.u += 1
                self._trade_ids[symbol] += 1
                trade_id = self._trade_ids[symbol]
                trade = {
                    "e": "aggTrade", "E": ms, "a": trade_id, "s": symbol, "p": top.b[0][0], "q": "1", "f": trade_id,
                    "l": trade_id, "T": ms, "m": False,
                }  # fmt: skip
                for channel, update_id, message in (("depth", top.u, depth), ("aggTrade", trade_id, trade)):
                    data = msgspec.json.encode(message)
                    entries.append(RawEntry(KEYS.raw(symbol, channel), ms, update_id, data, now_us, "a"))
        return entries, {entry.key: 600_000 for entry in entries}

    async def _is_read(self) -> bool:
        for symbol in SYMBOLS:
            for group, channel in ((BOOKS_GROUP, "depth"), ("trades", "aggTrade")):
                unread, _ = await GroupReader(self._fleet.client, group).lag(KEYS.raw(symbol, channel))
                if unread:
                    return False
        return True

    async def _is_shown(self) -> bool:
        for symbol, top in self._tops.items():
            shown = await self._fleet.client.hget("LIVE_ORDERBOOK", symbol)
            last = await self._fleet.client.hget(KEYS.trades_state(symbol), "last_id")
            if decode_top(shown).u != top.u or int(last) != self._trade_ids[symbol]:
                return False
        return True


async def test_work_follows_what_comes(real_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with fleet_of(real_server) as fleet:
        fleet.be_patient()
        fleet.settings.books.stale_ms = 600_000
        for role, name in (("ingest-a", "a"), ("books", "books"), ("trades", "trades")):
            fleet.start(role, name)
        await fleet.until(fleet.all_shown)

        async def has_traded() -> bool:
            states = [await fleet.client.hexists(KEYS.trades_state(symbol), "last_id") for symbol in SYMBOLS]
            return all(states)

        await fleet.until(has_traded)
        await settle(fleet)
        await fleet.stop("a")
        await asyncio.sleep(2)  # the windows of the last trades close, statuses are told
        with counting_decodes(monkeypatch) as decoded:
            idle = await counted(fleet, decoded, asyncio.sleep(IDLE_S))
            tape = Tape(fleet)
            await tape.begin()
            busy = await counted(fleet, decoded, tape.play())
        # of polling every 3 ms: some 1,200 in three seconds, and as many reads
        assert idle.rounds <= IDLE_S * 25
        assert idle.commands["xreadgroup"] <= IDLE_S * 25
        assert sum(idle.commands.values()) <= IDLE_S * 200
        assert idle.decoded == 0
        assert busy.decoded == MESSAGES  # each once: nothing is decoded again for history or checkpoints
        # a batch is a round of each role, and a publication or two
        assert BATCHES <= busy.rounds <= 10 * BATCHES
        assert busy.commands["xreadgroup"] <= 8 * BATCHES
        assert busy.commands["evalsha"] <= 10 * BATCHES
