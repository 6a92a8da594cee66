"""Datasets as Tardis' own client downloads them from us."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from test_serving_tardis import S, pytestmark, server  # noqa: F401 -- marks and a fixture

from workers.cli.application import main
from workers.recordings.tardis.rows import header_of


async def test_the_client_of_tardis_downloads_datasets_from_us(server: TestServer, home: Path):  # noqa: F811 -- the fixture
    tardis_dev = pytest.importorskip(
        "tardis_dev", reason="tardis-dev is not installed: pip install tardis-dev"
    )
    kinds = ["trades", "incremental_book_L2", "book_snapshot_5", "quotes"]
    await tardis_dev.download_datasets_async(
        exchange="binance",
        data_types=kinds,
        symbols=[S],
        from_date="2021-04-04",
        to_date="2021-04-05",
        endpoint=str(server.make_url("/v1")),
        download_dir=str(home / "datasets"),
    )
    for kind in kinds:
        with gzip.open(home / "datasets" / f"binance_{kind}_2021-04-04_{S}.csv.gz", "rt") as file:
            header, *rows = file.read().splitlines()
        assert header == header_of(kind)
        assert len(rows) > 500, kind
        times = [int(row.split(",")[3]) for row in rows]
        assert times == sorted(times)


async def test_a_day_is_a_file_and_a_day_without_anything_is_none(server: TestServer, home: Path):  # noqa: F811 -- the fixture
    command = [
        "export",
        "--symbol",
        S,
        "--format",
        "tardis-csv",
        "--kind",
        "depth",
        "-o",
        str(home / "a.csv"),
    ]
    assert await asyncio.to_thread(main, command) == 0
    async with ClientSession(auto_decompress=False) as session:
        folder = "/v1/spot/incremental_book_L2/2021/04"
        async with session.get(server.make_url(f"{folder}/04/{S}.csv.gz")) as reply:
            assert gzip.decompress(await reply.read()).decode() == (home / "a.csv").read_text()
        for path in (f"{folder}/05/{S}", f"{folder}/04/NOTHING", f"{folder}/31/{S}"):
            async with session.get(server.make_url(f"{path}.csv.gz")) as reply:
                assert reply.status == 404
        async with session.get(server.make_url(f"/v1/spot/nothing/2021/04/04/{S}.csv.gz")) as reply:
            assert reply.status == 400
