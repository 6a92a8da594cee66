"""The filled-in supervisord.conf, the programs, and the run directory."""

from __future__ import annotations

import asyncio
import configparser
import json
import os
import shlex
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from fleet_runs import CHECKOUT
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError
from supervisor.options import ServerOptions

from workers.cli.application import main
from workers.conformance.catalogue.all import SCENARIOS
from workers.errors import CommandError, SettingsError
from workers.operations import self_test
from workers.operations.exchange_program import simulator_settings
from workers.operations.foreground import ForegroundFleet, free_ports, with_free_ports
from workers.operations.redis_program import listening_problem, port_is_free, server_command, write_password
from workers.operations.role import PROGRAMS, WORKERS
from workers.operations.run_directory import make_run_directory, make_socket_folder
from workers.operations.simulated import discard_simulated, mark_or_refuse
from workers.operations.supervision import Supervisor, fill_in, inherited
from workers.settings.loading import load, parse, redis_url
from workers.settings.paths import socket_path
from workers.store.connection import connect
from workers.store.server import find_server
from workers.terminal.output import seconds_of

CONF = (CHECKOUT / "supervisord.conf").read_text(encoding="utf-8")


def programs(text: str) -> dict[str, configparser.SectionProxy]:
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    return {name.removeprefix("program:"): parser[name] for name in parser if name.startswith("program:")}


@pytest.mark.parametrize("role", ["orders", "alerts", "analytics", "archive", "postgres"])
def test_a_role_that_nobody_wants_says_so_in_the_log_and_ends_well(role: str, tmp_path: Path):
    command = [sys.executable, "-P", "-m", "workers.cli", "run", role]
    environment = {"FLEET_HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    [line] = (done.stdout + done.stderr).splitlines()
    found = json.loads(line)
    assert found["event"].endswith("_not_wanted")
    assert found["reason"]


def test_every_role_is_a_program_of_its_own():
    found = programs(CONF)
    assert set(found) == {*WORKERS, *PROGRAMS}
    assert "[group:" not in CONF
    for name, program in found.items():
        assert program["stopsignal"] == "TERM"
        assert program["killasgroup"] == "true"
        assert program["autostart"] == "false"
        assert shlex.split(program["command"])[1:3] == ["run", name]
        assert f"/var/log/{name}" in program["stdout_logfile"]
        assert int(program["stdout_logfile_backups"]) > 0
        assert (
            int(program["startretries"]) >= 1_000_000
        )  # what cannot be forked three times is not down for good
    for name in WORKERS:
        assert found[name]["autorestart"] == "true"
        assert int(found[name]["stopwaitsecs"]) >= 20


def test_the_copy_has_the_run_directory_and_the_interpreter_in_it():
    text = fill_in(CONF, Path("/srv/a b/100%/home"), "/opt/py thon/bin/python")
    found = programs(text)
    command = shlex.split(found["books"]["command"] % {"process_num": 1})
    assert command == ["/opt/py thon/bin/python", "-P", "-m", "workers.cli", "run", "books", "--number", "1"]
    assert "file=/srv/a b/100%%/home/run/supervisor.sock" in text


def test_supervisord_reads_the_copy_of_a_home_with_odd_characters(tmp_path: Path):
    home = tmp_path / "ä b'c %d 100%"
    make_run_directory(home)
    conf = home / "run" / "supervisord.conf"
    conf.write_text(fill_in(CONF, home, sys.executable), encoding="utf-8")
    options = ServerOptions()
    options.realize(["-c", str(conf)])
    [books] = [group for group in options.process_group_configs if group.name == "books"]
    [_, second] = books.process_configs
    assert second.stdout_logfile == str(home / "log" / "books-1.log")
    assert shlex.split(second.command)[0] == sys.executable
    assert options.configroot.supervisord.pidfile == str(home / "run" / "supervisord.pid")
    [server] = options.server_configs
    assert server["file"] == str(socket_path(home, "supervisor.sock"))


@pytest.mark.parametrize("path", ['/a"b', "/a ;b", "/a #b", "/a\nb", "/a\\b"])
def test_a_path_the_file_cannot_hold_is_refused(path: str):
    with pytest.raises(CommandError, match="plainer"):
        fill_in(CONF, Path(path), "/usr/bin/python3")


def test_what_a_fleet_inherits():
    environ = {"FLEET_HOME": "/x", "REDIS_URL": "redis://h", "PATH": "/bin"}
    assert inherited(environ) == {"FLEET_HOME": "/x", "REDIS_URL": "redis://h"}


def test_free_ports_are_chosen_and_venues_follow_the_exchange():
    effective = load(Path("demo.toml"), {})
    chosen = with_free_ports(effective, {"FLEET_CONFIG": "demo.toml", "FLEET_API__PORT": "7"})
    settings = load(None, chosen).settings
    assert settings.api.port == 7
    assert settings.exchange.port not in (0, effective.settings.exchange.port)
    assert settings.venues["spot"].rest_url == f"http://127.0.0.1:{settings.exchange.port}/spot"
    assert settings.venues["usdm"].websocket_url == f"ws://127.0.0.1:{settings.exchange.port}/usdm"


def test_an_exchange_port_that_was_named_is_where_the_venues_go():
    effective = load(Path("demo.toml"), {"FLEET_EXCHANGE__PORT": "7"})
    chosen = with_free_ports(effective, {"FLEET_CONFIG": "demo.toml", "FLEET_EXCHANGE__PORT": "7"})
    settings = load(None, chosen).settings
    assert settings.exchange.port == 7
    assert settings.venues["spot"].rest_url == "http://127.0.0.1:7/spot"
    assert settings.venues["usdm"].websocket_url == "ws://127.0.0.1:7/usdm"


def test_a_taken_port_is_seen():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert not port_is_free("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize("host", ["::1", "localhost"])
def test_a_port_of_any_family_is_looked_at(host: str):
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[-1]
        taken = socket.create_server(found[4][:2], family=found[0])
    except OSError:
        pytest.skip("this machine has no IPv6")
    port = taken.getsockname()[1]
    with taken:
        assert listening_problem(host, port) == "is taken"
    assert port_is_free(host, port)


def test_an_address_of_another_machine_is_not_taken_for_a_taken_port():
    assert listening_problem("192.0.2.1", 8080).startswith("cannot be listened at")
    assert listening_problem("a..b", 8080).startswith("cannot be listened at")


def test_of_two_starts_in_one_run_directory_the_later_one_is_refused_and_ends_nothing(tmp_path: Path):
    environment = {"FLEET_HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    effective, supervisor = load(None, environment), Supervisor(tmp_path)
    first = supervisor.start_child(effective, environment)
    try:
        with pytest.raises(CommandError, match="did not start"):
            Supervisor(tmp_path).start_child(effective, environment | {"FLEET_API__PORT": "7"})
        assert supervisor.pid() == first.pid
        assert "FLEET_API__PORT" not in supervisor.environment()
    finally:
        supervisor.stop()
        first.wait(60)


def test_simulated_and_real_data_are_never_mixed(tmp_path: Path):
    mark_or_refuse(tmp_path, simulated=True)
    mark_or_refuse(tmp_path, simulated=True)
    with pytest.raises(CommandError, match="holds simulated market data"):
        mark_or_refuse(tmp_path, simulated=False)
    discard_simulated(tmp_path)
    mark_or_refuse(tmp_path, simulated=False)
    (tmp_path / "redis" / "appendonly.aof").touch()
    with pytest.raises(CommandError, match="holds real market data"):
        mark_or_refuse(tmp_path, simulated=True)
    discard_simulated(tmp_path)
    assert (tmp_path / "redis" / "appendonly.aof").exists()


@pytest.mark.parametrize("use", [partial(mark_or_refuse, simulated=True), make_run_directory])
def test_a_run_directory_that_cannot_be_used_is_said(tmp_path: Path, use: Callable[[Path], None]):
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match=r"home cannot be used: Not a directory .*FLEET_HOME"):
        use(tmp_path / "file" / "home")


def mode(folder: Path) -> int:
    return stat.S_IMODE(folder.stat().st_mode)


def test_a_user_without_a_home_has_a_run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As a user id of a container, which has no name and no HOME."""

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    make_run_directory(tmp_path / "fleet")
    make_run_directory(tmp_path / "fleet")
    assert (tmp_path / "fleet" / "run").is_dir()


@pytest.mark.parametrize("first", [partial(mark_or_refuse, simulated=True), make_run_directory])
def test_a_run_directory_is_for_its_user_alone(tmp_path: Path, first: Callable[[Path], None]):
    home, before = tmp_path / "home", os.umask(0o022)
    try:
        first(home)
        assert mode(home) == 0o700
        mark_or_refuse(home, simulated=True)
        make_run_directory(home)
        for folder in (home, home / "log", home / "run", home / "redis"):
            assert mode(folder) == 0o700
            folder.chmod(0o755)  # as an older version left it
        make_run_directory(home)
        assert {mode(home), mode(home / "log"), mode(home / "run"), mode(home / "redis")} == {0o700}
    finally:
        os.umask(before)


def test_a_folder_that_was_there_for_something_else_is_left_as_it_is(tmp_path: Path):
    tmp_path.chmod(0o755)
    (tmp_path / "notes").touch()
    make_run_directory(tmp_path)
    assert (mode(tmp_path), mode(tmp_path / "log")) == (0o755, 0o700)


def test_data_that_cannot_be_discarded_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    mark_or_refuse(tmp_path, simulated=True)
    monkeypatch.setattr("shutil.rmtree", refuse)
    with pytest.raises(CommandError, match=r"cannot be used: Permission denied .*redis.*FLEET_HOME"):
        discard_simulated(tmp_path)


@pytest.mark.parametrize(
    ("states", "stopped"),
    [
        (["RUNNING", "EXITED"], False),
        (["RUNNING", "FATAL"], False),
        (["STOPPED", "RUNNING"], True),
        (["STOPPING", "EXITED"], True),
    ],
)
def test_a_fleet_that_somebody_stops_is_told_from_one_that_fails(
    states: list[str], stopped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fleet = ForegroundFleet(Path("demo.toml"), {"FLEET_HOME": str(tmp_path)})
    asked = []

    def processes() -> list[dict[str, str]]:
        asked.append(len(asked))
        if len(asked) > 2:
            raise CommandError("supervisord shuts down")
        return [{"statename": state} for state in states]

    monkeypatch.setattr(fleet.supervisor, "processes", processes)
    monkeypatch.setattr(ForegroundFleet, "ended", property(lambda _: len(asked) > 3))
    assert fleet.is_being_stopped() is stopped


def test_what_the_system_refuses_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "/srv/fleet.toml")

    monkeypatch.setattr("workers.operations.show_config.run_config", refuse)
    assert main(["config"]) == 3
    assert capsys.readouterr().err == "/srv/fleet.toml: Permission denied.\n"


def test_a_socket_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.geteuid", lambda: 4_242)
    with pytest.raises(CommandError, match="belongs to another user"):
        make_socket_folder(tmp_path)


def test_the_simulator_lists_the_venues_symbols():
    found = simulator_settings(load(Path("demo.toml"), {}).settings)
    assert "币安人生USDT" in found.spot_symbols
    assert "BTCUSDT_261225" in found.usdm_symbols
    named = {"FLEET_EXCHANGE__SPOT_SYMBOLS": "BNBBTC"}
    assert simulator_settings(load(Path("demo.toml"), named).settings).spot_symbols == ("BNBBTC",)


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("30", 30), ("1.5m", 90), ("2h", 7200)])
def test_durations(text: str, seconds: float):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "0s", "soon", "-1s", "1d"])
def test_what_is_no_duration(text: str):
    with pytest.raises(CommandError, match="no duration"):
        seconds_of(text)


def test_the_steps_of_the_self_test():
    assert [name for name, _ in self_test.steps([])][:3] == ["ruff check", "ruff format", "mypy"]
    everything = dict(self_test.steps([self_test.FULL]))
    assert everything["pytest"] == dict(self_test.steps([]))["pytest"]
    assert {"running demo", "starved", "soak"} <= set(everything)
    assert set(self_test.STARVED) <= {scenario.name for scenario in SCENARIOS}
    assert self_test.steps(["-k", "book"])[-1] == ("pytest", ["pytest", "-k", "book"])


async def answers(client: Redis) -> bool:
    try:
        return bool(await client.ping())
    except RedisConnectionError:
        return False


async def test_our_server_takes_the_shipped_configuration(tmp_path: Path):
    venue = '[venues.usdm]\nmarket = "usdm"\nsymbols = ["BTCUSDT"]\n[redis]\nport = 0\nmaxmemory_mb = 64\n'
    settings = parse(venue, "my.toml", {"FLEET_HOME": str(tmp_path)}).settings
    make_run_directory(tmp_path)
    (tmp_path / "redis").mkdir()
    command = server_command(find_server("/usr/bin:/usr/local/bin"), settings)
    server = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    path = socket_path(tmp_path, "redis.sock")
    client = Redis(unix_socket_path=str(path), protocol=2, decode_responses=True)
    async with asyncio.timeout(60):
        while not await answers(client):
            await asyncio.sleep(0.05)
    wanted = {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction", "save": ""}
    found = {name: (await client.config_get(name))[name] for name in wanted}
    assert found == wanted
    assert (await client.config_get("maxmemory"))["maxmemory"] == str(64 * 2**20)
    assert path.stat().st_mode & 0o777 == 0o700
    assert (await client.config_get("port"))["port"] == "0"  # no other user of the machine reaches it
    await client.aclose()
    server.terminate()
    assert await server.wait() == 0


async def test_a_port_of_our_server_can_have_a_password(tmp_path: Path):
    venue = '[venues.usdm]\nmarket = "usdm"\nsymbols = ["BTCUSDT"]\n'
    secret, port = 's/e"c#r@e t:é', free_ports(1)[0]
    environment = {
        "FLEET_HOME": str(tmp_path), "FLEET_REDIS__PORT": str(port), "FLEET_REDIS__PASSWORD": secret
    }  # fmt: skip
    effective = parse(venue, "my.toml", environment)
    settings = effective.settings
    make_run_directory(tmp_path)
    (tmp_path / "redis").mkdir()
    write_password(settings)
    command = server_command(find_server("/usr/bin:/usr/local/bin"), settings)
    assert not any(secret in word for word in command)
    assert secret not in str(list(effective.rows()))
    server = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    client = connect(redis_url(settings))
    async with asyncio.timeout(60):
        while not await answers(client):
            await asyncio.sleep(0.05)
    stranger = Redis(port=port, protocol=2)
    with pytest.raises(AuthenticationError):
        await stranger.config_set("dir", "/")
    await stranger.aclose()
    guest = Redis(port=port, protocol=2, password=secret)
    assert await guest.ping()
    await guest.aclose()
    await client.aclose()
    server.terminate()
    assert await server.wait() == 0


def test_a_password_in_a_file_is_refused():
    venue = '[venues.usdm]\nmarket = "usdm"\nsymbols = ["BTCUSDT"]\n[redis]\npassword = "x"\n'
    with pytest.raises(SettingsError, match="FLEET_REDIS__PASSWORD"):
        parse(venue, "my.toml", {})
