"""What the fleet holds, asked as clients of tardis-machine ask, and compared with what a second server answers."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import redis
from aiohttp import ClientSession, WSMsgType
from aiohttp.test_utils import TestServer
from test_exported_books import half_told_later
from test_research_export import file_rows, settings_of_world

from workers.api.security.access import Access
from workers.archive.files.layout import Source, StreamId
from workers.archive.files.rows import row_of
from workers.archive.files.storage import LocalStorage
from workers.cli.application import main
from workers.recordings.tardis.rows import header_of
from workers.runtime.context import venue_contexts
from workers.settings.loading import load
from workers.tardis.holdings import holdings_of
from workers.tardis.server import TardisServer

pytestmark = [
    pytest.mark.xdist_group("research"),  # others clear the server that these share
    pytest.mark.recorded,
    pytest.mark.skipif(
        not (Path(__file__).resolve().parents[3] / "shared" / "data").is_dir(), reason="needs the recordings"
    ),
]
SECOND = Path(__file__).with_name("second_machine.js")
SPAN = {"from": "2021-04-04T20:00:00.000Z", "to": "2021-04-04T20:10:00.000Z"}
BASE = 1_585_699_200_000_000
S = "BTCUSDT"


def node_modules() -> Path | None:
    """A folder with the package `tardis-dev` of npm: what NODE_PATH names, else in the checkout or the home folder."""
    places = [Path(text) for text in os.environ.get("NODE_PATH", "").split(":") if text]
    places += [SECOND.parents[2] / "node_modules", Path.home() / "node_modules"]
    return next((place for place in places if (place / "tardis-dev").is_dir()), None)


needs_second = pytest.mark.skipif(
    not shutil.which("node") or node_modules() is None,
    reason="no node, or no npm package tardis-dev beside the checkout or in NODE_PATH",
)


@pytest.fixture
async def server(home: Path, world: tuple[str, Path]) -> AsyncIterator[TestServer]:
    effective = load(None, os.environ)
    async with holdings_of(effective) as holdings:
        serving = TardisServer(holdings, world[0], Access(effective.settings.api))
        async with TestServer(serving.build()) as running:
            yield running


def options(**changes: Any) -> dict[str, Any]:
    return {"exchange": "binance", "symbols": [S], **SPAN, "withDisconnectMessages": True} | changes


async def asked(server: TestServer, question: Any, status: int = 200) -> list[dict[str, Any]]:
    async with ClientSession() as session:
        query = {"options": json.dumps(question)}
        async with session.get(server.make_url("/replay-normalized"), params=query) as reply:
            assert reply.status == status
            return [json.loads(line, parse_float=Decimal) for line in (await reply.text()).splitlines()]


async def framed(
    server: TestServer, path: str, query: dict[str, str]
) -> tuple[list[dict[str, Any]], int, str]:
    """The messages of a socket, and how it was closed."""
    frames = []
    async with ClientSession() as session, session.ws_connect(server.make_url(path), params=query) as ws:
        while (message := await ws.receive(30)).type is WSMsgType.TEXT:
            frames.append(json.loads(message.data, parse_float=Decimal))
        return frames, int(message.data), str(message.extra)


def raw_lines(url: str) -> list[str]:
    """The log as Tardis' servers would send it: 100 ns, a blank, the frame.

    The book begins where the fleet's does: with the snapshot and the first event that follows it, as one snapshot.
    """
    client = redis.Redis.from_url(url)
    [(_, fields)] = client.xrange(f"raw:{{{S}}}:snapshot")
    snapshot, found = json.loads(fields[b"data"]), []
    entries = [
        (int(fields[b"received"]), json.loads(fields[b"data"]))
        for channel in ("depth", "aggTrade")
        for _, fields in client.xrange(f"raw:{{{S}}}:{channel}")
    ]
    for received, sent in sorted(entries, key=lambda entry: entry[0]):
        frame = sent
        name = "trade" if frame["e"] == "aggTrade" else "depth@100ms"
        if name == "trade":  # Tardis has single trades, we put together ones: the same but for their names
            frame = sent | {"e": "trade", "t": frame["a"]}
        elif snapshot and frame["u"] > snapshot["lastUpdateId"]:
            name, frame, snapshot = "depthSnapshot", following(snapshot, frame), None
        seconds, rest = divmod(received, 1_000_000)
        stamp = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        found.append(f'{stamp}.{rest:06}0Z {{"stream":"{S.lower()}@{name}","data":{json.dumps(frame)}}}')
    return found


def following(snapshot: dict[str, Any], event: dict[str, Any]) -> dict[str, Any]:
    """The snapshot after an event."""
    levels = {}
    for side in ("bids", "asks"):
        known = {Decimal(price): amount for price, amount in [*snapshot[side], *event[side[0]]]}
        levels[side] = [[str(price), amount] for price, amount in known.items() if Decimal(amount)]
    return {"lastUpdateId": event["u"], "T": event["E"], **levels}


def second(
    url: str, folder: Path, question: dict[str, Any], raw: list[str] | None = None
) -> list[dict[str, Any]]:
    """The same question to tardis-dev, offline, over the log or other lines."""
    told = {"cacheDir": str(folder), "options": question, "raw": raw_lines(url) if raw is None else raw}
    environment = {**os.environ, "NODE_PATH": str(node_modules())}
    done = subprocess.run(
        ["node", str(SECOND)],
        check=False,
        input=json.dumps(told),
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line, parse_float=Decimal) for line in done.stdout.splitlines()]


def comparable(message: dict[str, Any]) -> dict[str, Any]:
    """A message with times of ms, which is all that JavaScript prints of them."""
    times = {name: value[:23] for name, value in message.items() if name.endswith("imestamp")}
    return {name: value for name, value in (message | times).items() if value is not None}


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def of_type(messages: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [comparable(one) for one in messages if name in (one["type"], one.get("name"))]


def applied(messages: list[dict[str, Any]]) -> dict[str, dict[Decimal, Decimal]]:
    sides: dict[str, dict[Decimal, Decimal]] = {"bids": {}, "asks": {}}
    for message in messages:
        for side, levels in sides.items():
            if message["isSnapshot"]:
                levels.clear()
            levels.update({Decimal(one["price"]): Decimal(one["amount"]) for one in message[side]})
    return {
        side: {price: amount for price, amount in levels.items() if amount} for side, levels in sides.items()
    }


@needs_second
async def test_trades_and_books_are_those_of_a_second_server(server: TestServer, world, tmp_path: Path):
    question = options(dataTypes=["trade", "book_change"])
    ours, theirs = await asked(server, question), second(world[0], tmp_path, question)
    assert len(of_type(ours, "trade")) > 1000
    assert of_type(ours, "trade") == of_type(theirs, "trade")
    books, others = of_type(ours, "book_change"), of_type(theirs, "book_change")
    assert len(books) > 800
    assert books[1:] == others[1:]
    assert applied(books[:1]) == applied(others[:1])  # its levels may stand in another order
    assert {**books[0], "bids": 0, "asks": 0} == {**others[0], "bids": 0, "asks": 0}
    assert not of_type(ours, "disconnect")


@needs_second
async def test_best_levels_are_those_of_a_second_server(home: Path, world, tmp_path: Path):
    """Frames of spot, which have no time, and one as futures send them."""
    client, key = redis.Redis.from_url(world[0]), f"raw:{{{S}}}:bookTicker"
    came = int(datetime(2021, 4, 4, 20, 3, 15, tzinfo=UTC).timestamp()) * 1_000_000
    frames = [
        {"u": n, "s": S, "b": f"58001.{n}0000000", "B": "0.00000100", "a": f"58002.{n}", "A": "0.00000000"}
        for n in range(1, 9)
    ]
    frames.append(frames.pop() | {"e": "bookTicker", "E": came // 1000 - 5, "T": came // 1000 - 7})
    lines = []
    for number, frame in enumerate(frames):
        local = came + 1_000 * number
        client.xadd(key, {"data": json.dumps(frame), "received": local}, id=f"{local // 1000}-{number + 1}")
        sent = {"stream": f"{S.lower()}@bookTicker", "data": frame}
        lines.append(f"2021-04-04T20:03:15.{1_000 * number:06}0Z {json.dumps(sent)}")
    try:
        effective = load(None, {**os.environ, "FLEET_VENUES__SPOT__BOOK_TICKER": "true"})
        async with holdings_of(effective) as holdings:
            serving = TardisServer(holdings, world[0], Access(effective.settings.api))
            async with TestServer(serving.build()) as running:
                question = options(dataTypes=["book_ticker"])
                ours, theirs = await asked(running, question), second(world[0], tmp_path, question, lines)
    finally:
        client.delete(key)
    assert len(ours) == len(frames)
    assert [comparable(one) for one in ours] == [comparable(one) for one in theirs]


@needs_second
async def test_what_is_computed_is_that_of_a_second_server(server: TestServer, world, tmp_path: Path):
    names = ["book_snapshot_5_1s", "book_snapshot_3_0ms", "quote", "quote_500ms"]
    bars = ["trade_bar_1s", "trade_bar_25ticks", "trade_bar_3vol", "trade_bar_0.5m"]
    question = options(dataTypes=[*names, *bars])
    ours, theirs = await asked(server, question), second(world[0], tmp_path, question)
    assert all(of_type(ours, name) for name in question["dataTypes"])
    assert [comparable(one) for one in ours] == [comparable(one) for one in theirs]


@pytest.mark.parametrize(("filed", "forgotten"), [(0.6, 0.4), (0.5, 0.5), (1.0, 1.0), (0.3, 0.0)])
async def test_nothing_is_doubled_or_missing_where_files_and_log_meet(
    server: TestServer, home: Path, world, spare_server: str, filed: float, forgotten: float
):
    """The first share of the log is in files, and Redis has forgotten a share that is no larger."""
    source, copy = redis.Redis.from_url(world[0]), redis.Redis.from_url(spare_server)
    for key in source.keys(f"*{{{S}}}*"):
        copy.restore(key, 0, source.dump(key))
    [context] = venue_contexts(settings_of_world())
    for kind, channel in (("depth", "depth"), ("trades", "aggTrade")):
        entries = source.xrange(f"raw:{{{S}}}:{channel}")
        of = Source("spot", S, kind)
        rows = [row_of(of, context.venue, StreamId.parse(raw_id), fields) for raw_id, fields in entries]
        kept = [row.values for row in rows[: int(len(rows) * filed)]]
        file_rows(LocalStorage(home / "archive"), of, rows[0].day, kept)
        copy.xtrim(f"raw:{{{S}}}:{channel}", maxlen=len(rows) - int(len(rows) * forgotten), approximate=False)
        if kind == "trades":
            names = copy.zrange(f"trades:{{{S}}}:latest", 0, -1)
            if gone := names[: int(len(names) * forgotten)]:
                copy.zrem(f"trades:{{{S}}}:latest", *gone)
    question = options(dataTypes=["trade", "book_change", "trade_bar_1s", "quote_1s"])
    expected = await asked(server, question)
    effective = load(None, {**os.environ, "REDIS_URL": spare_server})
    async with holdings_of(effective) as holdings:
        serving = TardisServer(holdings, spare_server, Access(effective.settings.api))
        async with TestServer(serving.build()) as running:
            found = await asked(running, question)
    assert len(found) > 2_000
    assert found == expected


async def test_several_objects_are_merged_by_local_time_and_their_types_are_pooled(server: TestServer):
    alone = [
        await asked(server, options(symbols=[name.lower()], dataTypes=types))
        for name, types in ((S, ["trade", "trade_bar_1s"]), ("DOTUSDT", ["book_change", "trade"]))
    ]
    question = [
        options(symbols=[S], dataTypes=["trade_bar_1s"]),
        options(symbols=["DOTUSDT"], dataTypes=["book_change", "trade"], withDisconnectMessages=False),
    ]
    found = await asked(server, question)
    times = [one["localTimestamp"] for one in found]
    assert len({one["type"] for one in found}) == 3
    assert [one for one in found if one["symbol"] == S] == alone[0]
    assert [one for one in found if one["symbol"] != S] == alone[1]
    assert [moment(text) for text in times] == sorted(map(moment, times))


async def test_without_symbols_all_that_is_held(server: TestServer):
    found = await asked(server, options(symbols=[], dataTypes=["trade"]))
    assert {one["symbol"] for one in found} == {S, "ETHUSDT", "DOTUSDT"}
    assert await asked(server, options(exchange="spot", symbols=None, dataTypes=["trade"])) == [
        one | {"exchange": "spot"} for one in found
    ]


async def test_a_stretch_begins_with_the_whole_book_and_ends_before_its_end(server: TestServer):
    every = await asked(server, options(dataTypes=["book_change"]))
    begins, ends = every[300]["localTimestamp"], every[500]["localTimestamp"]
    part = await asked(server, options(dataTypes=["book_change"], **{"from": begins, "to": ends}))
    assert applied(part[:1]) == applied(every[:301])
    assert part[0]["isSnapshot"]
    assert part[1:] == every[301:500]


async def test_what_cannot_be_asked_says_why(server: TestServer):
    for question, problem in (
        (options(exchange="nowhere", dataTypes=["trade"]), "following exchanges: binance, spot"),
        (options(dataTypes=["trades"]), "'trades' is none of trade, book_change"),
        (options(dataTypes=[]), "name at least one"),
        (options(dataTypes=["trade"], **{"from": "yesterday"}), "is no valid date string"),
        (options(dataTypes=["trade"], **{"from": SPAN["to"], "to": SPAN["from"]}), "later than"),
        ({"exchange": "binance"}, "missing required field"),
        ([], "1 to 50 objects"),
    ):
        [said] = await asked(server, question, 500)
        assert problem in said["message"]
        _, code, reason = await framed(server, "/ws-replay-normalized", {"options": json.dumps(question)})
        assert code == 1011
        assert reason
        assert said["message"].startswith(reason)


async def test_paths_and_ports(server: TestServer):
    async with ClientSession() as session:
        for path, status in (("/ws-stream-normalized", 426), ("/nowhere", 404), ("/health-check", 200)):
            async with session.get(server.make_url(path)) as reply:
                assert reply.status == status
        async with session.post(server.make_url("/replay-normalized")) as reply:
            assert reply.status == 405
        async with session.get(server.make_url("/health-check"), headers={"Host": "evil.example"}) as reply:
            assert reply.status == 421
        async with session.get(
            server.make_url("/health-check"), headers={"Origin": "http://evil.example"}
        ) as reply:
            assert reply.status == 403
    assert await framed(server, "/nowhere", {}) == ([], 1008, "there is no such path")


async def test_frames_are_the_lines_and_the_end_is_said(server: TestServer):
    question = options(dataTypes=["trade", "quote"])
    lines = await asked(server, question)
    frames, code, reason = await framed(server, "/ws-replay-normalized", {"options": json.dumps(question)})
    assert (code, reason) == (1000, "WS replay-normalized finished")
    assert frames == lines


async def test_a_hole_in_files_is_a_disconnect_and_what_is_computed_begins_anew(
    server: TestServer, home: Path
):
    cells = [
        "0,10,true,bid,99,1", "0,10,true,ask,101,1", "1000000,1000010,false,bid,99,2",
        "9000000,9000010,true,bid,98,3", "9000000,9000010,true,ask,102,3",
    ]  # fmt: skip
    rows = [
        f"deribit,X,{BASE + int(time)},{BASE + int(local)},{rest}"
        for time, local, rest in (row.split(",", 2) for row in cells)
    ]
    path = home / "book.csv"
    path.write_text("\n".join([header_of("incremental_book_L2"), *rows]) + "\n")
    assert main(["import", str(path)]) == 0
    span = {"exchange": "deribit", "symbols": ["X"], "from": "2020-04-01", "to": "2020-04-02"}
    async with holdings_of(load(None, os.environ)) as holdings:
        access = Access(load(None, os.environ).settings.api)
        async with TestServer(TardisServer(holdings, "", access).build()) as other:
            found = await asked(other, options(dataTypes=["book_change", "quote_1m"], **span))
            quiet = await asked(
                other, options(dataTypes=["book_change"], **span) | {"withDisconnectMessages": False}
            )
    assert [(one["type"], one.get("isSnapshot")) for one in found] == [
        ("book_change", True), ("book_snapshot", None), ("book_change", False), ("disconnect", None),
        ("book_change", True), ("book_snapshot", None),
    ]  # fmt: skip
    assert found[3] == {
        "type": "disconnect", "exchange": "deribit", "symbols": ["X"], "localTimestamp": "2020-04-01T00:00:01.000010Z",
    }  # fmt: skip
    assert [one["type"] for one in quiet] == ["book_change"] * 3


async def test_the_log_goes_on_from_a_file_of_the_same_exchange_with_its_own_whole_book(
    home: Path, server: TestServer
):
    whole = applied(of_type(await asked(server, options(dataTypes=["book_change"])), "book_change"))
    later = await asyncio.to_thread(half_told_later, home)
    assert main(["import", "--venue", "binance", str(later)]) == 0
    found = of_type(await asked(server, options(dataTypes=["book_change"])), "book_change")
    assert {message["isSnapshot"] for message in found[1:]} == {True, False}, "two parts"
    assert applied(found) == whole
