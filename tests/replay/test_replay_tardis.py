"""`fleet replay` of Tardis' CSV datasets and of what a tardis-machine said: books, trades, and holes."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path

import pytest
import zstandard
from aiohttp import web
from aiohttp.test_utils import TestServer
from redis import Redis
from replay_captures import replayed

from workers.errors import RecordingError
from workers.recordings.recording import Recording
from workers.recordings.tardis.rows import header_of
from workers.replay.server import PrivateServer
from workers.research.tardis_spool import spool

BASE = 1_585_699_200_000_000
S = "XBT-USD"


def change(local: int, snapshot: bool, side: str, price: str, amount: str, exchange: str = "kraken") -> str:
    flag = "true" if snapshot else "false"
    return f"{exchange},XBT/USD,{BASE + local - 900},{BASE + local},{flag},{side},{price},{amount}"


def trade(local: int, name: str, side: str, price: str, amount: str, exchange: str = "kraken") -> str:
    return f"{exchange},XBT/USD,{BASE + local - 900},{BASE + local},{name},{side},{price},{amount}"


BOOK = [
    change(0, False, "bid", "1", "1"),  # before the first whole book: ignored
    change(1_000, True, "bid", "100.10", "2"),
    change(1_000, True, "ask", "101", "3"),
    change(2_000, False, "bid", "100.10", "0"),
    change(2_000, False, "bid", "100.0", "1e-05"),
    change(9_000, True, "bid", "90", "1"),  # the recorder was away
    change(9_000, True, "ask", "91", "1"),
    change(9_500, False, "ask", "91", "4"),
]
TRADES = [
    trade(1_500, "T-1", "buy", "101", "0.5"),
    trade(1_600, "T-2", "sell", "100.1", "2"),
    trade(1_600, "T-2", "sell", "100.1", "2"),  # told again
    trade(9_600, "T-9", "sell", "90", "2"),
]


def write(path: Path, dataset: str, lines: list[str]) -> Path:
    data = "\n".join([header_of(dataset), *lines, ""]).encode()  # type: ignore[arg-type]  # one of the datasets
    packed = {".gz": gzip.compress, ".zst": zstandard.compress}.get(path.suffix, lambda plain: plain)
    path.write_bytes(packed(data))
    return path


def test_datasets_are_folded_like_any_recording(server: PrivateServer, tmp_path: Path) -> None:
    book = write(tmp_path / "book.csv.gz", "incremental_book_L2", BOOK)
    trades = write(tmp_path / "trades.csv.zst", "trades", TRADES)
    found = replayed(server.url, book, trades)
    assert found["venues"] == {"tardis-kraken": {"exchange": "tardis", "market": "kraken"}}
    assert found["messages"] == {f"{S}@depth": 4, f"{S}@aggTrade": 4}
    assert (found["malformed"], found["crossed"], found["resyncs"]) == (0, 0, 1)
    assert found["problems"] == [
        f"{S}: the book left sync 1 time(s).",
        f"{S}: trades may be missing in 1 stretch(es).",
    ]
    shown = found["books"][S]
    assert (shown["bids"], shown["asks"], shown["levels"]) == ([["90", "1"]], [["91", "4"]], [1, 1])
    assert found["trades"][S]["count"] == 3
    with Redis.from_url(server.url) as redis:
        kinds = [fields.get(b"kind", b"update") for _, fields in redis.xrange(f"raw:{{{S}}}:depth")]
        gaps = {fields[b"channel"]: fields for _, fields in redis.xrange(f"gaps:{{{S}}}")}
    assert kinds == [b"snapshot", b"update", b"break", b"snapshot", b"update"]
    hole = gaps[b"depth"]
    ms = BASE // 1000
    assert (hole[b"from"], hole[b"to"], hole[b"reason"]) == (
        b"%d" % (ms + 1),
        b"%d" % (ms + 9),
        b"disconnect",
    )
    assert gaps[b"aggTrade"][b"reason"].startswith(b"connection")  # nobody knows what was traded meanwhile


def test_consecutive_ids_prove_which_trades_are_missing(server: PrivateServer, tmp_path: Path) -> None:
    rows = [trade(10 * n, str(n), "buy", "1", "1", "binance").replace("/", "") for n in (5, 6, 8)]
    found = replayed(server.url, write(tmp_path / "trades.csv", "trades", rows))
    assert found["venues"] == {"tardis-binance": {"exchange": "tardis", "market": "binance"}}
    assert {key: found["trades"]["XBTUSD"][key] for key in ("count", "missing")} == {
        "count": 3,
        "missing": 1,
    }


def test_what_cannot_be_read_names_file_and_line_and_loses_nothing_else(
    server: PrivateServer, tmp_path: Path
) -> None:
    rows = [*BOOK[1:3], "kraken,XBT/USD,torn", change(500, False, "bid", "1", "1"), BOOK[3]]
    found = replayed(server.url, write(tmp_path / "book.csv", "incremental_book_L2", rows))
    assert (found["messages"], found["malformed"]) == ({f"{S}@depth": 2}, 2)
    told = " ".join(found["problems"])
    assert "book.csv, line 4" in told
    assert "book.csv, line 5: its local_timestamp is before" in told


def test_a_dataset_that_cannot_be_folded_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "quotes.csv", "quotes", ["kraken,XBT/USD,1,1,1,1,1,1"])
    with pytest.raises(RecordingError, match="a file of quotes cannot be folded"):
        Recording(path)


def test_what_a_machine_said_is_a_recording_too(server: PrivateServer, tmp_path: Path) -> None:
    """Lines of `replay-normalized`, as curl saves them, with doubles as JavaScript prints them."""
    times = '"timestamp":"2020-04-01T00:00:0%d.001Z","localTimestamp":"2020-04-01T00:00:0%d.001003Z"'
    names = '"symbol":"BTCUSDT","exchange":"bybit"'
    sides = '"bids":[{"price":%s,"amount":3}],"asks":[]'
    lines = [
        f'{{"type":"book_change",{names},"isSnapshot":true,{sides % "1e-8"},{times % (0, 0)}}}',
        '{"type":"disconnect","exchange":"bybit","localTimestamp":"2020-04-01T00:00:01.000Z"}',
        f'{{"type":"book_change",{names},"isSnapshot":false,{sides % "7"},{times % (2, 2)}}}',
        f'{{"type":"book_change",{names},"isSnapshot":true,{sides % "2"},{times % (3, 3)}}}',
        f'{{"type":"trade",{names},"price":2,"amount":0.5,"side":"sell",{times % (3, 3)}}}',
    ]
    path = tmp_path / "said.jsonl"
    path.write_text("\n".join(lines))
    found = replayed(server.url, path)
    assert found["venues"] == {"tardis-bybit": {"exchange": "tardis", "market": "bybit"}}
    assert found["books"]["BTCUSDT"]["bids"] == [["2", "3"]]
    assert (found["resyncs"], found["trades"]["BTCUSDT"]["count"]) == (1, 1)


async def test_what_a_machine_replays_is_asked_for_by_day_until_it_is_whole(
    server: PrivateServer, tmp_path: Path
) -> None:
    """The stretch begins with the book as it stood then, and nothing stays of a reply that broke off."""
    names = '"symbol":"BTCUSDT","exchange":"bybit"'
    sides = '"isSnapshot":%s,"bids":[{"price":%d,"amount":3}],"asks":[]'
    times = '"timestamp":"%s","localTimestamp":"%s"'
    change = f'{{"type":"book_change",{names},{sides},{times}}}\n'
    at = [
        f"2020-04-0{day}T{time}:00.000Z"
        for day, time in ((1, "00:00"), (1, "09:00"), (1, "12:00"), (2, "00:00"))
    ]
    midnight, earlier, wanted, next_day = (
        (change % (whole, price, time, time)).encode()
        for whole, price, time in zip(("true", "false", "false", "true"), (1, 2, 3, 9), at, strict=True)
    )
    replies = [midnight + earlier + wanted + wanted[:30], midnight + earlier + wanted, next_day]
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(json.loads(request.query["options"])[0]["from"][:10])
        return web.Response(body=replies[len(asked) - 1])

    app = web.Application()
    app.router.add_get("/replay-normalized", answer)
    notes: list[str] = []
    async with TestServer(app) as machine:
        stretch = "symbols=BTCUSDT&from=2020-04-01T10:00&to=2020-04-02T01:00&dataTypes=book_change"
        url = f"tardis://{machine.host}:{machine.port}/bybit?{stretch}"
        path = await spool(url, tmp_path, "", notes.append)
    assert asked == ["2020-04-01", "2020-04-01", "2020-04-02"]
    assert [note.rpartition(": ")[2] for note in notes] == [
        "the reply ends in the middle of a line; asked again."
    ]
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [(line["isSnapshot"], [level["price"] for level in line["bids"]]) for line in lines] == [
        (True, [3, 2, 1]),
        (True, [9]),
    ]
    found = await asyncio.to_thread(replayed, server.url, path)
    assert (found["problems"], found["resyncs"]) == ([], 0)
    assert found["books"]["BTCUSDT"]["bids"] == [["9", "3"]]
