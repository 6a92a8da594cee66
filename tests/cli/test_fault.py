"""Faults from the command line: `fleet fault` on a running exchange, `fleet demo --fault` and `exchange.faults`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from workers.cli.application import main
from workers.cli.fault_command import _alter, control_url, fault_text, faults_table, run_fault
from workers.errors import CommandError, SettingsError, WrongArgument
from workers.operations.exchange_program import flavour_settings, simulator_settings
from workers.operations.supervision import Supervisor
from workers.settings.loading import parse
from workers.sim.engine.faults import KINDS, Fault
from workers.sim.server import SimulatedExchange
from workers.sim.settings import SimSettings

Run = Callable[..., subprocess.CompletedProcess[str]]
VENUE = '[venues.usdm]\nmarket = "usdm"\nsymbols = ["BTCUSDT"]\n'


async def test_faults_are_set_told_and_taken_back():
    settings = SimSettings(port=0, spot_symbols=(), usdm_symbols=("BTCUSDT",), faults=("lose share=0.5",))
    async with SimulatedExchange(settings) as exchange:
        url = exchange.url
        assert [row["fault"]["kind"] for row in await _alter(url, "", None)] == ["lose"]
        rows = await _alter(url, fault_text(["price", "market=usdm", "value=99000.5"]), None)
        assert [msgspec.convert(row["fault"], Fault).text() for row in rows] == [
            "lose share=0.5",
            "price market=usdm value=99000.5",
        ]
        assert faults_table(rows).row_count == 2
        with pytest.raises(CommandError, match="No fault has the number 9"):
            await _alter(url, "", 9)
        assert [row["id"] for row in await _alter(url, "", rows[0]["id"])] == [rows[1]["id"]]
        assert await _alter(url, "", 0) == []


def test_a_fault_in_words_is_the_same_fault():
    for text in (
        "lose stream=*@depth* share=0.01 count=3",
        "price market=usdm symbol=币安人生USDT value=123456.75",
        "delay agent=*line-a* value=1300.0 after_s=2.5 for_s=10.0",
        "halt",
    ):
        fault = Fault.parse(text)
        assert Fault.parse(fault.text()) == fault


def test_settings_and_environment_give_the_exchange_its_faults():
    text = VENUE + '[exchange]\nenabled = true\nfaults = ["lose share=0.1", "burst value=10"]\n'
    assert simulator_settings(parse(text, "here", {}).settings).faults == ("lose share=0.1", "burst value=10")
    given = parse(VENUE, "here", {"FLEET_EXCHANGE__FAULTS": "halt after_s=5, delay value=100"}).settings
    assert simulator_settings(given).faults == ("halt after_s=5", "delay value=100")
    with pytest.raises(SettingsError, match="'loose' is no fault"):
        simulator_settings(parse(VENUE, "here", {"FLEET_EXCHANGE__FAULTS": "loose"}).settings)


def test_every_kind_is_told(capsys: pytest.CaptureFixture[str]):
    assert main(["fault", "--kinds", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == KINDS


def test_what_is_no_fault_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("FLEET_HOME", str(tmp_path))
    monkeypatch.delenv("FLEET_CONFIG", raising=False)
    assert main(["fault", "loose"]) == 2
    assert main(["fault", "lose", "shape=1"]) == 2
    assert main(["fault", "lose", "--remove", "1"]) == 2
    assert main(["fault", "lose", "share=7"]) == 2
    assert main(["fault", "lose", "count=-1"]) == 2
    monkeypatch.setattr(Supervisor, "find", lambda self: 1)
    with pytest.raises(CommandError, match="no simulated exchange"):
        run_fault("lose", None, None, as_json=False)


def test_a_fault_goes_to_the_exchange_of_the_venue_that_is_named():
    text = (
        VENUE
        + """
    [venues.okx]
    exchange = "okx"
    symbols = ["BTC-USDT"]
    [venues.kraken]
    exchange = "kraken"
    symbols = ["BTC-USD"]
    [exchange]
    enabled = true
    port = 7400
    flavours = {okx = 7401}
    """
    )
    settings = parse(text, "here", {}).settings
    ports = {name: control_url(settings, name).rpartition(":")[2] for name in (None, "usdm", "okx")}
    assert ports == {None: "7400", "usdm": "7400", "okx": "7401"}
    with pytest.raises(CommandError, match=r"kraken runs on no simulated exchange"):
        control_url(settings, "kraken")
    with pytest.raises(WrongArgument, match=r"no venue 'spot'; there are usdm, okx, kraken"):
        control_url(settings, "spot")


def test_where_no_fleet_runs_a_fault_has_nowhere_to_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FLEET_HOME", str(tmp_path))
    monkeypatch.delenv("FLEET_CONFIG", raising=False)
    with pytest.raises(CommandError, match=f"No fleet runs in {tmp_path}"):
        run_fault("lose", None, None, as_json=False)


def test_the_demo_says_what_is_wrong_with_a_fault(fleet: Run):
    done = fleet("demo", "--for", "1s", "--fault", "lose shape=1")
    assert done.returncode == 2
    assert "exchange" in done.stderr
    assert "'shape'" in done.stderr
    assert "share" in done.stderr  # the words there are


def test_the_simulator_lists_the_names_of_the_venues_where_it_has_no_list_of_its_own():
    text = VENUE.replace('"BTCUSDT"', '"BTCUSDT", "*USDC", "!X*"') + "max_symbols = 5\n"
    assert simulator_settings(parse(text, "here", {}).settings).usdm_symbols == ("BTCUSDT",)
    given = {"FLEET_EXCHANGE__USDM_SYMBOLS": "AUSDC,BUSDC"}
    assert simulator_settings(parse(text, "here", given).settings).usdm_symbols == ("AUSDC", "BUSDC")


def test_each_exchange_has_the_symbols_of_its_own_venues():
    text = """
    [exchange]
    enabled = true
    flavours = {okx = 7401}
    [venues.spot]
    market = "spot"
    symbols = ["BTCUSDT"]
    [venues.okx]
    exchange = "okx"
    market = "spot"
    symbols = ["BTC-USDT", "ETH-USDT"]
    """
    settings = parse(text, "here", {}).settings
    assert simulator_settings(settings).spot_symbols == ("BTCUSDT",)
    [okx] = flavour_settings(settings)
    assert (okx.flavour, okx.port, okx.symbols) == ("okx", 7401, {"spot": ("BTC-USDT", "ETH-USDT")})
    assert flavour_settings(parse(VENUE, "here", {}).settings) == []
