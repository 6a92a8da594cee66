"""Sums in Lua, whose numbers are doubles, are those of Python's integers: on fakeredis and on a real server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import fakeredis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from workers.model.trades.decimals import COARSE, FINE
from workers.settings.paths import data_folder

SCRIPT = (
    "local format, sub, match, tonumber = string.format, string.sub, string.match, tonumber\n"
    + (Path(data_folder()) / "lua" / "include" / "exact_sums.lua").read_text(encoding="utf-8")
    + """
local coarse = {plain_volume(ARGV[1]), plain_quote(ARGV[1]), unplain_volume(plain_volume(ARGV[1]))}
refine()
local fine = {plain_volume(ARGV[1]), plain_quote(ARGV[1]), unplain_quote(plain_quote(ARGV[1])),
    plain_volume(widen_volume(ARGV[1])), plain_quote(widen_quote(ARGV[1]))}
return {add_any(ARGV[1], ARGV[2]), coarse, fine}
"""
)

NUMBERS = st.one_of(
    st.integers(0, 10**100),
    st.integers(0, 120).map(lambda power: 10**power),
    st.integers(0, 120).map(lambda power: 10**power - 1),
    st.integers(0, 10**16),
)
PLAYED = settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])


async def _agree(client: Any, one: int, other: int) -> None:
    total, coarse, fine = await client.eval(SCRIPT, 0, str(one), str(other))
    assert int(total) == one + other
    assert total.decode() == str(one + other)
    assert [text.decode() for text in coarse] == [
        COARSE.plain_quantity(one),
        COARSE.plain_product(one),
        str(one),
    ]
    assert [text.decode() for text in fine] == [
        FINE.plain_quantity(one),
        FINE.plain_product(one),
        str(one),
        COARSE.plain_quantity(one),
        COARSE.plain_product(one),
    ]


@PLAYED
@given(one=NUMBERS, other=NUMBERS)
def test_fakeredis_adds_as_python_does(one: int, other: int) -> None:
    async def run() -> None:
        client = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer())
        await _agree(client, one, other)
        await client.aclose()

    asyncio.run(run())


@PLAYED
@given(one=NUMBERS, other=NUMBERS)
def test_a_real_server_adds_as_python_does(real_server: str, one: int, other: int) -> None:
    async def run() -> None:
        client = Redis.from_url(real_server, protocol=2)
        await _agree(client, one, other)
        await client.aclose()

    asyncio.run(run())
