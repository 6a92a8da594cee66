"""`fleet verify-archive`: what is held against files of the official layouts."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from held_tape import ARCHIVED, DAY, FIRST, MIDNIGHT, SYMBOL, environment, lay, official_zip, tape

from workers.cli.application import main
from workers.model.events import Trade

TODAY = [trade for trade in tape() if trade.trade_time >= MIDNIGHT]
BEFORE = [trade for trade in tape() if trade.trade_time < MIDNIGHT]


@pytest.fixture(scope="module")
def held(real_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    home = tmp_path_factory.mktemp("held")
    asyncio.run(lay(real_server, home))
    yield real_server, home
    shutil.rmtree(home)


Verify = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def verify(
    held: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Verify:
    for name, value in environment(*held).items():
        monkeypatch.setenv(name, value)

    def run(path: Path, *options: str) -> tuple[int, dict[str, Any]]:
        code = main(["verify-archive", str(path), "--json", *options])
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out else {"error": said.err}

    return run


def replaced(trades: list[Trade], place: int, **changes: Any) -> list[Trade]:
    return [*trades[:place], msgspec.structs.replace(trades[place], **changes), *trades[place + 1 :]]


@pytest.mark.parametrize(("market", "header", "micros"), [("um", True, False), ("um", False, False)])
@pytest.mark.parametrize("suffix", ["zip", "csv"])
def test_the_same_trades_are_the_same(
    verify: Verify, tmp_path: Path, market: str, header: bool, micros: bool, suffix: str
):
    name = f"{SYMBOL}-aggTrades-{DAY}.{suffix}"
    code, found = verify(
        official_zip(tmp_path, TODAY, market=market, header=header, micros=micros, name=name)
    )
    assert code == 0, found
    assert found["same"] is True
    assert found["checksum"] == "verified"
    assert (found["official"], found["held"], found["equal"]) == (len(TODAY),) * 3
    assert (found["from"], found["to"]) == (MIDNIGHT, MIDNIGHT + 86_400_000)


def test_the_spot_layout_with_microseconds(verify: Verify, tmp_path: Path):
    """The settings have no spot venue, so the one to compare with is named."""
    path = official_zip(tmp_path, TODAY, market="spot", header=False, micros=True)
    code, found = verify(path)
    assert code == 3
    assert "spot market" in found["error"]
    assert verify(path, "--venue", "usdm")[0] == 0
    assert verify(path, "--market", "usdm")[0] == 0


@pytest.mark.parametrize("source", ["redis", "archive"])
def test_each_store_alone_claims_only_its_own_range(verify: Verify, tmp_path: Path, source: str):
    path = official_zip(tmp_path, BEFORE + TODAY, name=f"{SYMBOL}-aggTrades-2026-09.zip")
    code, found = verify(path, "--source", source)
    assert code == 0, found
    assert found["not_held"] == found["official"] - found["held"] > 0
    if source == "archive":
        assert found["held_last_id"] == FIRST + ARCHIVED - 1


def test_rows_removed_from_the_file_are_extra(verify: Verify, tmp_path: Path):
    trades = [trade for trade in TODAY if trade.trade_id % 50 != 7]
    code, found = verify(official_zip(tmp_path, trades))
    removed = len(TODAY) - len(trades)
    assert code == 1
    assert (found["extra"], found["missing"], found["different"]) == (removed, 0, 0)
    assert found["examples"]["extra"][0]["agg_trade_id"] % 50 == 7


def test_rows_the_file_has_more_are_missing(verify: Verify, held: tuple[str, Path], tmp_path: Path):
    path = official_zip(tmp_path, TODAY)
    files = sorted((held[1] / "archive").rglob(f"kind=trades/**/date={DAY}/**/*.parquet"))
    aside = tmp_path / files[0].name
    files[0].rename(aside)
    try:
        code, found = verify(path, "--source", "archive")
    finally:
        aside.rename(files[0])
    assert code == 1
    assert 0 < found["missing"] <= 70
    assert found["extra"] == found["different"] == 0
    assert found["examples"]["missing"][0]["agg_trade_id"] == TODAY[0].trade_id
    assert len(found["examples"]["missing"]) == 10


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"price": "0.2"}, ["price"]),
        ({"quantity": "1.50000001"}, ["quantity"]),
        ({"is_buyer_maker": True, "trade_time": MIDNIGHT + 1}, ["trade_time", "is_buyer_maker"]),
        ({"first_trade_id": 1, "last_trade_id": 2}, ["first_trade_id", "last_trade_id"]),
    ],
)
def test_a_changed_row_is_told_with_its_fields(
    verify: Verify, tmp_path: Path, changes: dict[str, Any], fields: list[str]
):
    place = next(at for at, trade in enumerate(TODAY) if at > 5 and not trade.is_buyer_maker)
    code, found = verify(official_zip(tmp_path, replaced(TODAY, place, **changes)))
    assert code == 1
    assert (found["missing"], found["extra"], found["different"]) == (0, 0, 1)
    assert sorted(found["fields"]) == sorted(fields)
    (example,) = found["examples"]["different"]
    assert example["official"]["agg_trade_id"] == example["held"]["agg_trade_id"] == TODAY[place].trade_id


def test_a_row_that_contradicts_another_is_a_difference(verify: Verify, tmp_path: Path):
    code, found = verify(official_zip(tmp_path, [*TODAY, msgspec.structs.replace(TODAY[-1], price="9")]))
    assert code == 1
    assert (found["contradictory"], found["missing"], found["extra"], found["different"]) == (1, 0, 0, 0)


def test_repeated_and_disordered_rows_are_no_difference(verify: Verify, tmp_path: Path):
    shuffled = [*TODAY[40:200], *TODAY[:40], *TODAY[190:]]
    code, found = verify(official_zip(tmp_path, shuffled))
    assert code == 0, found
    assert found["repeated"] == 10


def test_a_file_of_another_name_is_compared_for_what_it_holds(verify: Verify, tmp_path: Path):
    path = official_zip(tmp_path, TODAY[10:60], name="mine.csv", checksum=False)
    assert "--symbol" in verify(path)[1]["error"]
    code, found = verify(path, "--symbol", SYMBOL)
    assert code == 0, found
    assert (found["official"], found["held"], found["checksum"]) == (50, 50, "none")


def test_a_wrong_checksum_and_damage_are_refused(verify: Verify, tmp_path: Path):
    path = official_zip(tmp_path, TODAY)
    path.with_name(path.name + ".CHECKSUM").write_text(f"{'0' * 64}  x\n")
    code, found = verify(path)
    assert code == 2
    assert "sha256" in found["error"]
    path.with_name(path.name + ".CHECKSUM").unlink()
    path.write_bytes(path.read_bytes()[:-40])
    code, found = verify(path)
    assert code == 2
    assert "cannot be read" in found["error"]
    text = official_zip(tmp_path, TODAY, name=f"{SYMBOL}-aggTrades-{DAY}.csv", checksum=False)
    text.write_text(text.read_text().replace(",true", ",perhaps", 1))
    code, found = verify(text)
    assert code == 2
    assert "line 2" in found["error"]


def test_nothing_held_is_no_agreement(verify: Verify, tmp_path: Path):
    path = official_zip(tmp_path, TODAY, name=f"NOBODYUSDT-aggTrades-{DAY}.zip")
    code, found = verify(path)
    assert code == 3
    assert "Nothing is held" in found["error"]
    elsewhere = [msgspec.structs.replace(trade, trade_id=trade.trade_id + 10**6) for trade in TODAY]
    path = official_zip(tmp_path, elsewhere, name="other.csv")
    code, found = verify(path, "--symbol", SYMBOL)
    assert code == 3
    assert "none of which" in found["error"]


def test_the_report_for_people(verify: Verify, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = official_zip(tmp_path, replaced(TODAY, 3, price="7"))
    assert main(["verify-archive", str(path)]) == 1
    said = capsys.readouterr().out
    assert "Not the same." in said
    (example,) = (line for line in said.splitlines() if '"price":"7"' in line)
    kind, shown = example.split(maxsplit=1)
    assert (kind, json.loads(shown)["fields"]) == ("different", ["price"])


TWO_EXCHANGES = """
[venues.okx]
exchange = "okx"
market = "spot"
symbols = ["BTC-USDT"]
[venues.spot]
market = "spot"
symbols = ["BTCUSDT"]
"""


def test_a_file_is_compared_with_the_market_of_the_exchange_that_publishes_it(
    held: tuple[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    for name, value in environment(*held).items():
        if "VENUES" not in name:
            monkeypatch.setenv(name, value)
    config = tmp_path / "two.toml"
    config.write_text(TWO_EXCHANGES)
    path = str(official_zip(tmp_path, TODAY, market="spot", header=False, micros=True))
    main(["verify-archive", path, "--json", "--config", str(config)])
    assert "held of the trades of spot " in capsys.readouterr().err
    assert main(["verify-archive", path, "--venue", "okx", "--config", str(config)]) == 2
    assert "Official files are Binance's" in " ".join(capsys.readouterr().err.split())
