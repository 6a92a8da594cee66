"""Following ticker streams: from now on, each entry once, whatever happens to the streams."""

from __future__ import annotations

from redis.asyncio import Redis

from workers.store.log.tickers import TickerReader

ONE, TWO = "raw:{A}:bookTicker", "raw:{B}:bookTicker"


async def add(client: Redis, key: str, *ids: str) -> None:
    for stream_id in ids:
        await client.xadd(key, {"data": stream_id, "received": "5", "line": "a"}, id=stream_id)


async def new(reader: TickerReader, *keys: str, count: int = 100) -> dict[str, list[bytes]]:
    found = await reader.new(keys, count)
    return {key: [entry.data for entry in entries] for key, entries in found.items()}


async def test_only_what_comes_after_the_first_look(client: Redis) -> None:
    await add(client, ONE, "1000-1", "1000-2")
    reader = TickerReader(client)
    assert await new(reader) == {}
    assert await new(reader, ONE, TWO) == {}
    await add(client, ONE, "1001-3", "1001-4")
    await add(client, TWO, "900-7")
    assert await new(reader, ONE, TWO) == {ONE: [b"1001-3", b"1001-4"], TWO: [b"900-7"]}
    assert await new(reader, ONE, TWO) == {}


async def test_what_is_more_than_the_count_comes_next(client: Redis) -> None:
    reader = TickerReader(client)
    await reader.new([ONE], 2)
    await add(client, ONE, "1-1", "1-2", "1-3")
    assert await new(reader, ONE, count=2) == {ONE: [b"1-1", b"1-2"]}
    assert await new(reader, ONE, count=2) == {ONE: [b"1-3"]}


async def test_a_stream_left_out_is_taken_up_where_it_then_stands(client: Redis) -> None:
    reader = TickerReader(client)
    await reader.new([ONE, TWO], 10)
    await add(client, ONE, "5-1")
    assert await new(reader, TWO) == {}
    await add(client, ONE, "5-2")
    assert await new(reader, ONE, TWO) == {}
    await add(client, ONE, "5-3")
    assert await new(reader, ONE, TWO) == {ONE: [b"5-3"]}


async def test_a_server_that_lost_its_data_is_followed_on(client: Redis) -> None:
    reader = TickerReader(client)
    await add(client, ONE, "5-1")
    await reader.new([ONE], 10)
    await client.delete(ONE)
    assert await new(reader, ONE) == {}
    await add(client, ONE, "6-1")
    assert await new(reader, ONE) == {ONE: [b"6-1"]}
