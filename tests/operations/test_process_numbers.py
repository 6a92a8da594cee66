"""How many processes run: what `auto` means, and that supervisord reads it from the copy of its file."""

from __future__ import annotations

from pathlib import Path

import pytest
from fleet_runs import CHECKOUT
from supervisor.options import ServerOptions

from workers.operations.doctor.machine import processes_finding
from workers.operations.process_numbers import by_machine, chosen_text, process_numbers, with_numbers
from workers.settings.loading import parse
from workers.settings.schema import Settings

VENUE = '[venues.usdm]\nexchange = "binance"\nmarket = "usdm"\nsymbols = {}\n'


def settings(symbols: str = '["BTCUSDT"]', processes: str = "", **environ: str) -> Settings:
    return parse(VENUE.format(symbols) + processes, "a test", environ).settings


def programs(numbers: dict[str, int], folder: Path) -> dict[str, str]:
    """By name of its process, the command of every program, as supervisord reads the file."""
    text = with_numbers((CHECKOUT / "supervisord.conf").read_text(encoding="utf-8"), numbers)
    conf = folder / "supervisord.conf"
    conf.write_text(text.replace("%(here)s/var", str(folder)), encoding="utf-8")
    for name in ("log", "run"):
        (folder / name).mkdir()
    options = ServerOptions()
    options.realize(["-c", str(conf)])
    return {
        process.name: f"{process.command} >{Path(process.stdout_logfile).name}"
        for group in options.process_group_configs
        for process in group.process_configs
    }


def test_without_a_setting_cores_and_symbols_decide() -> None:
    chosen = settings('["*USDT"]\nmax_symbols = 500')
    assert process_numbers(chosen, cores=8) == {"ingest": 2, "books": 4, "trades": 2}
    assert chosen_text(chosen, cores=8) == "2 ingest a line, 4 books, 2 trades (auto: 8 cores, 500 symbols)"


def test_where_the_settings_say_0_the_file_decides(tmp_path: Path) -> None:
    chosen = settings(processes="[processes]\ningest = 0\nbooks = 0\ntrades = 0\n")
    assert process_numbers(chosen, cores=8) == {}
    assert chosen_text(chosen, cores=8) == ""
    found = programs({}, tmp_path)
    assert [name for name in found if name.startswith(("ingest", "books"))] == [
        "books-0", "books-1", "ingest-a", "ingest-b",
    ]  # fmt: skip
    assert found["ingest-a"].endswith("run ingest-a --number 0 --of 1 >ingest-a.log")


def test_several_processes_of_a_line_have_names_and_logs_of_their_own(tmp_path: Path) -> None:
    found = programs({"ingest": 2, "books": 1, "trades": 3}, tmp_path)
    assert [name for name in found if name.startswith(("ingest", "books", "trades"))] == [
        "books-0", "trades-0", "trades-1", "trades-2", "ingest-a-0", "ingest-a-1", "ingest-b-0", "ingest-b-1",
    ]  # fmt: skip
    assert found["ingest-b-1"].endswith("run ingest-b --number 1 --of 2 >ingest-b-1.log")
    assert found["books-0"].endswith("run books --number 0 >books-0.log")


@pytest.mark.parametrize(
    ("symbols", "cores", "numbers"),
    [
        (6, 2, (1, 2, 2)),
        (500, 2, (1, 2, 2)),
        (500, 8, (2, 4, 2)),
        (500, 64, (2, 5, 2)),
        (1_000, 16, (4, 8, 4)),
        (1_000, 4, (1, 2, 2)),
        (100_000, 1_000, (30, 30, 30)),
    ],
)
def test_auto_goes_by_cores_and_symbols(symbols: int, cores: int, numbers: tuple[int, ...]) -> None:
    assert tuple(by_machine(role, symbols, cores) for role in ("ingest", "books", "trades")) == numbers


def test_the_doctor_warns_of_more_processes_than_cores():
    few = settings(processes='[processes]\ningest = "auto"\nbooks = "auto"\n')
    many = settings(processes="[processes]\ningest = 4\nbooks = 2\n")
    assert processes_finding(settings(), 2).level == "ok"
    assert processes_finding(few, 2).level == "ok"
    assert processes_finding(many, 8).level == "ok"
    warned = processes_finding(many, 4)
    assert (warned.level, warned.found) == (
        "warning",
        "4 ingest, 2 books, 2 trades (`ingest` of each line) on 4 cores",
    )


def test_what_was_chosen_is_said_in_a_line():
    text = '[processes]\ningest = "auto"\nbooks = 3\n'
    chosen = settings('["BTCUSDT", "*USDC"]', text, FLEET_PROCESSES__TRADES="auto")
    assert process_numbers(chosen, cores=8) == {"ingest": 2, "books": 3, "trades": 2}
    assert chosen_text(chosen, cores=8) == "2 ingest a line, 2 trades (auto: 8 cores, 1,000 symbols)"
