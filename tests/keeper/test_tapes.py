"""Whether a silent trade stream is dead, where the venue's ids do not say which trades are later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from named_trades_venue import frame, made_up
from redis.asyncio import Redis

from workers.keeper import tapes
from workers.keeper.tapes import TapeWatch
from workers.runtime.context import venue_contexts
from workers.runtime.process import Process
from workers.settings.schema import Settings
from workers.store.keys import TRADES, Keys, resubscriptions
from workers.venues import registry
from workers.venues.binance.settings import BinanceSettings
from workers.venues.facts import TradeIds

S = "BTCUSDT"
T0 = 1_790_035_200_000
BIG = 2**53 + 1
NAMES: Mapping[TradeIds, list[str | int]] = {
    "rising": [BIG, BIG + 2, BIG + 9],
    "neither": ["ffff", "0001", "7f-成"],
}


class _Rest:
    """Answers with the trades of a venue."""

    def __init__(self, *rows: bytes) -> None:
        self.body = b"[" + b",".join(rows) + b"]"

    async def get(self, *_: object) -> bytes:
        return self.body


@pytest.mark.parametrize("ids", ["rising", "neither"])
@pytest.mark.parametrize("later", [False, True])
async def test_a_stream_is_dead_when_rest_has_a_trade_of_a_later_time(
    real_server: str, monkeypatch: pytest.MonkeyPatch, ids: TradeIds, later: bool
) -> None:
    monkeypatch.setitem(registry._VENUES, "binance", made_up(ids))  # type: ignore[call-overload]  # it is a dict
    monkeypatch.setattr(tapes, "STANDING_S", 0.01)
    client = Redis.from_url(real_server, protocol=2)
    await client.flushall()  # the server is this test process's own
    settings = Settings(venues={"usdm": BinanceSettings(market="usdm", symbols=[S])})
    [context] = venue_contexts(settings)
    await context.symbols.refresh(client)
    names = NAMES[ids]
    await client.xadd(Keys().raw(S, TRADES), {"data": frame(names[1], T0 + 1)}, id=f"{T0 + 1}-2")
    rows = [frame(names[0], T0), frame(names[1], T0 + 1), frame(names[2], T0 + 1 + later)]
    process = Process("keeper", settings, 0, real_server)
    await process.registry.beat("ingest-a", "a", {"open": "usdm", "alive": "usdm"})  # somebody listens
    rest: Any = _Rest(*rows)
    watch = TapeWatch(process, [context], {"usdm": rest}, 1)
    await watch.step(context, 1000.0)
    await watch.step(context, 2000.0)
    assert await client.xlen(resubscriptions("usdm")) == int(later)
    await process.client.aclose()
    await client.aclose()
