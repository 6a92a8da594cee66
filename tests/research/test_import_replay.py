"""`fleet import tardis://…`: from our own server, and from one that breaks off, errs and lies."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from workers.api.security.access import Access
from workers.archive.files.layout import Source
from workers.archive.files.reading import ArchiveReader
from workers.archive.files.storage import LocalStorage
from workers.cli.application import main
from workers.errors import CommandError
from workers.recordings.tardis.replayed import parse_line
from workers.research import tardis_machine
from workers.research.tardis_machine import ReplayUrl
from workers.settings.loading import load
from workers.tardis.holdings import holdings_of
from workers.tardis.server import TardisServer

pytestmark = pytest.mark.xdist_group("research")
S = "BTCUSDT"
EVER = 1 << 60
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
Hostile = tuple[TestServer, list[Any], list[Any]]


async def imported(capsys: pytest.CaptureFixture[str], url: str, *options: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = await asyncio.to_thread(main, ["import", url, *options, "--json"])
    return code, json.loads(capsys.readouterr().out)


def url_of(server: TestServer, exchange: str = "binance", **query: str) -> str:
    asked = {"symbols": S, "from": "2021-04-03T12:00", "to": "2021-04-05"} | query
    return f"tardis://{server.host}:{server.port}/{exchange}?" + "&".join(
        f"{k}={v}" for k, v in asked.items()
    )


def filed(home: Path, kind: Any, venue: str, channel: str = "") -> list[tuple[Any, ...]]:
    reader = ArchiveReader(LocalStorage(home / "archive"))
    return list(reader.rows(Source(venue, S, kind, channel=channel), 0, EVER))


@pytest.fixture
async def server(home: Path, world: tuple[str, Path]) -> AsyncIterator[TestServer]:
    effective = load(None, os.environ)
    async with holdings_of(effective) as holdings:
        serving = TardisServer(holdings, world[0], Access(effective.settings.api))
        async with TestServer(serving.build()) as running:
            yield running


@pytest.mark.recorded
@pytest.mark.skipif(not DATA.is_dir(), reason="needs the recordings in ../shared/data")
async def test_what_our_own_server_replays_is_what_the_log_exports(
    server: TestServer, home: Path, capsys: pytest.CaptureFixture[str]
):
    code, said = await imported(capsys, url_of(server), "--venue", "elsewhere")
    assert (code, said["fine"], said["holes"], said["crossed"], said["ignored"]) == (0, True, 0, 0, 0)
    assert said["symbols"] == [S]
    assert said["written"] == said["rows"] > 2000
    for kind in ("trades", "depth"):
        texts = []
        for venue in ("spot", "elsewhere"):
            path = home / f"{venue}.csv"
            command = ["export", "--symbol", S, "--format", "tardis-csv", "--kind", kind, "--venue", venue]
            assert await asyncio.to_thread(main, [*command, "-o", str(path)]) == 0
            texts.append([_numbers(row) for row in path.read_text().splitlines()])
        assert texts[0] == texts[1]
    code, again = await imported(capsys, url_of(server), "--venue", "elsewhere")
    assert (again["written"], again["present"]) == (0, said["written"])
    code, part = await imported(
        capsys, url_of(server, **{"from": "2021-04-04T20:04"}), "--venue", "elsewhere"
    )
    assert part["present"] > 500
    assert part["written"] == 0


def _numbers(row: str) -> list[str]:
    """Cells but for the venue and for zeros at the end of numbers, which a machine does not tell."""
    cells = row.split(",")[1:]
    return [cell.rstrip("0").rstrip(".") if "." in cell else cell for cell in cells]


def message(number: int, **changes: Any) -> dict[str, Any]:
    time = f"2021-04-04T00:00:{number:02}.000Z"
    told = {
        "type": "trade",
        "symbol": S,
        "exchange": "bybit",
        "id": f"n{number}",
        "price": 1.5,
        "amount": 1e-7,
    }
    return told | {"side": "buy", "timestamp": time, "localTimestamp": time} | changes


LINES = [json.dumps(message(number)).encode() + b"\n" for number in range(20)]


async def whole(_: web.Request, reply: web.StreamResponse) -> None:
    await reply.write(b"".join(LINES))


async def half_a_line(_: web.Request, reply: web.StreamResponse) -> None:
    await reply.write(b"".join(LINES[:7]) + LINES[7][:40])


async def error_at_the_end(_: web.Request, reply: web.StreamResponse) -> None:
    await reply.write(b"".join(LINES[:9]) + b'{"responseText":"","message":"it broke","url":"x"}')


async def cut_off(request: web.Request, reply: web.StreamResponse) -> None:
    await reply.write(b"".join(LINES[:11]))
    request.transport.abort()


@pytest.fixture
async def hostile(home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hostile]:
    """A server that answers with one thing after the other, and what it was asked."""
    answers: list[Any] = []
    asked: list[Any] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append((json.loads(request.query["options"]), request.headers.get("Authorization")))
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, int):
            return web.json_response({"message": "it does not like you"}, status=answer)
        reply = web.StreamResponse()
        await reply.prepare(request)
        await answer(request, reply)
        return reply

    monkeypatch.setattr(tardis_machine, "Pauses", lambda *_: type("", (), {"take": lambda _: 0.0})())
    app = web.Application()
    app.router.add_get("/replay-normalized", handler)
    async with TestServer(app) as running:
        yield running, answers, asked


async def test_a_reply_that_breaks_off_is_asked_for_again_and_nothing_is_doubled(
    hostile: Hostile, home: Path, capsys: pytest.CaptureFixture[str]
):
    server, answers, asked = hostile
    answers += [500, half_a_line, error_at_the_end, cut_off, whole]
    url = url_of(server, "bybit", **{"from": "2021-04-04", "dataTypes": "trade"})
    code, said = await imported(capsys, url)
    assert (code, len(asked), said["fine"]) == (0, 5, True)
    rows = filed(home, "trades", "bybit")
    assert [row[-1] for row in rows] == [f"n{number}" for number in range(20)]
    assert {row[3] for row in rows} == {"0.0000001"}
    notes = "\n".join(said["notes"])
    for what in ("it does not like you", "in the middle of a line", "it broke"):
        assert what in notes


async def test_what_will_never_be_answered_is_asked_once(
    hostile: Hostile,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    server, answers, asked = hostile
    monkeypatch.setenv("TARDIS_API_KEY", "secret-of-mine")
    answers.append(401)
    code, said = await imported(capsys, url_of(server, "bybit"))
    assert (code, len(asked)) == (1, 1)
    assert "it does not like you" in said["problems"][0]
    assert "secret-of-mine" not in json.dumps(said)
    options, header = asked[0]
    assert header == "Bearer secret-of-mine"
    assert [(one["from"], one["dataTypes"]) for one in options] == [
        ("2021-04-03T12:00:00+00:00", ["trade"]), ("2021-04-03T00:00:00+00:00", ["book_change"]),
    ]  # fmt: skip


async def test_who_never_answers_whole_is_given_up(hostile: Hostile, capsys: pytest.CaptureFixture[str]):
    server, answers, asked = hostile
    answers.append(cut_off)
    code, said = await imported(
        capsys, url_of(server, "bybit", **{"from": "2021-04-04", "dataTypes": "trade"})
    )
    assert (code, len(asked)) == (1, tardis_machine.TRIES)
    assert said["problem_count"] == 1


async def test_messages_of_every_kind_with_a_disconnect_as_a_hole_and_rubbish_named(
    hostile: Hostile, home: Path, capsys: pytest.CaptureFixture[str]
):
    server, answers, _ = hostile
    level = {"price": 5, "amount": 2}
    of_book: dict[str, Any] = {"type": "book_change", "bids": [level], "asks": []}
    told = [
        message(1, **of_book, isSnapshot=False),
        message(2, **of_book, isSnapshot=True),
        message(3, type="derivative_ticker", markPrice=2.5, fundingRate=-1e-05),
        message(4, type="liquidation"),
        {"type": "disconnect", "exchange": "bybit", "localTimestamp": "2021-04-04T00:00:04.500Z"},
        message(5, side="up"),
        message(6, type="book_ticker"),
        message(7, **of_book, isSnapshot=True),
        message(8, **of_book, isSnapshot=False),
    ]

    async def everything(_: web.Request, reply: web.StreamResponse) -> None:
        await reply.write("".join(f"{json.dumps(one)}\n" for one in told).encode())

    answers.append(everything)
    types = {"from": "2021-04-04", "dataTypes": "book_change,derivative_ticker,liquidation"}
    code, said = await imported(capsys, url_of(server, "bybit", **types))
    assert (code, said["problem_count"], said["holes"], said["ignored"]) == (1, 2, 1, 1), said
    assert "message 6: it has the side 'up'" in said["problems"][0]
    assert [bool(row[8]) for row in filed(home, "depth", "bybit")] == [True, False, True, True]
    [ticker] = filed(home, "raw", "bybit", "derivative_ticker")
    assert ticker[4].decode().endswith(",,-0.00001,,,,,2.5")
    assert len(filed(home, "raw", "bybit", "liquidations")) == 1
    told[:] = [message(2, type="derivative_ticker", markPrice=3), *told[2:4]]  # a reply that begins elsewhere
    code, said = await imported(capsys, url_of(server, "bybit", **types))
    assert (code, said["present"], said["written"]) == (0, 2, 1), said


async def test_a_stretch_that_begins_in_the_middle_begins_with_the_whole_book(
    hostile: Hostile, home: Path, capsys: pytest.CaptureFixture[str]
):
    server, answers, _ = hostile
    of_book: dict[str, Any] = {"type": "book_change", "asks": []}

    async def book(_: web.Request, reply: web.StreamResponse) -> None:
        for number in range(10):
            bids = [{"price": 5 + number, "amount": 2}]
            await reply.write(
                json.dumps(message(number, **of_book, bids=bids, isSnapshot=number == 0)).encode() + b"\n"
            )

    answers.append(book)
    span = {"from": "2021-04-04T00:00:06", "dataTypes": "book_change"}
    assert (await imported(capsys, url_of(server, "bybit", **span)))[0] == 0
    first, *rest = [json.loads(row[8]) for row in filed(home, "depth", "bybit")]
    assert (first["isSnapshot"], len(first["bids"]), first["localTimestamp"][:19]) == (
        True,
        7,
        "2021-04-04T00:00:06",
    )
    assert [(one["isSnapshot"], len(one["bids"])) for one in rest] == [(False, 1)] * 3


@pytest.mark.parametrize(
    "text",
    ["tardis://localhost/x?from=2021-04-04", "tardis://localhost/x?from=2021-04-05&to=2021-04-04",
     "tardis://localhost?from=2021-04-04&to=2021-04-05", "tardis://localhost/x?from=a&to=b",
     "tardis://localhost/x?from=2021-04-04&to=2021-04-05&symbol=A",
     "tardis://localhost/x?from=2021-04-04&to=2021-04-05&dataTypes=quote"],
)  # fmt: skip
def test_urls_that_name_no_replay(text: str):
    with pytest.raises(CommandError):
        ReplayUrl.parse(text)


@pytest.mark.parametrize(
    "line", [b"", b"[]", b"{}", b'{"type":"trade"}', b"\xff", b'{"type":"book_snapshot"}']
)
def test_lines_that_are_no_messages(line: bytes):
    with pytest.raises(ValueError, match="is no message"):
        parse_line(line)


async def test_a_disconnect_is_a_hole_among_trades_whose_ids_do_not_show_it(
    hostile: Hostile, home: Path, capsys: pytest.CaptureFixture[str]
):
    server, answers, _ = hostile
    away = [
        {"type": "disconnect", "exchange": "bybit", "localTimestamp": f"2021-04-04T00:00:0{at}.500Z"}
        for at in (1, 3)
    ]
    told = [message(1), away[0], message(2), message(3), away[1], message(4)]

    async def trades(_: web.Request, reply: web.StreamResponse) -> None:
        await reply.write("".join(f"{json.dumps(one)}\n" for one in told).encode())

    answers.append(trades)
    span = {"from": "2021-04-04", "dataTypes": "trade"}
    code, said = await imported(capsys, url_of(server, "bybit", **span))
    assert (code, said["holes"], said["written"]) == (0, 2, 6), said
    names = [row[-1] for row in filed(home, "trades", "bybit")]
    assert names == ["n1", None, "n2", "n3", None, "n4"]
    code, said = await imported(capsys, url_of(server, "bybit", **span))
    assert (code, said["written"], said["present"]) == (0, 0, 6), said
    told.insert(0, message(0))  # what came later is told of holes by their places
    told[1:1] = [{**away[0], "localTimestamp": "2021-04-04T00:00:00.500Z"}]
    code, said = await imported(capsys, url_of(server, "bybit", **span))
    assert (code, said["written"], said["present"]) == (0, 2, 6), said
