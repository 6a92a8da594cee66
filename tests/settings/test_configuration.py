"""Settings: where values come from, and how each kind of mistake is refused."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import inspect
from msgspec.structs import fields

from workers.errors import SettingsError
from workers.masking import mask
from workers.settings.exchanges import description, exchanges, settings_of
from workers.settings.loading import load, parse, redis_url
from workers.settings.paths import LONGEST_SOCKET_PATH, data_folder, find_file, socket_path, temporary_place
from workers.settings.schema import Settings
from workers.settings.signed import SignedVenueSettings
from workers.settings.toml_lines import locate_keys, nearest_line

VENUE = '[venues.usdm]\nmarket = "usdm"\nsymbols = ["BTCUSDT"]\n'


def refused(text: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        parse(text, "my.toml", environ or {})
    return str(caught.value)


def test_defaults_file_and_environment_in_that_order():
    text = VENUE + "[books]\npublish_ms = 50\nlevels = 100\n"
    found = parse(text, "my.toml", {"FLEET_BOOKS__LEVELS": "200", "PATH": "/bin"})
    assert found.settings.books.publish_ms == 50
    assert found.settings.books.levels == 200
    assert found.settings.books.gather_ms == 10
    origins = {key: origin for key, _, origin in found.rows()}
    assert origins["books.publish_ms"] == "my.toml, line 5"
    assert origins["books.levels"] == "environment FLEET_BOOKS__LEVELS"
    assert origins["books.gather_ms"] == "default"


def test_every_setting_has_a_row():
    rows = list(parse(VENUE, "my.toml", {}).rows())
    keys = [key for key, _, _ in rows]
    assert len(set(keys)) == len(keys)
    assert {"trades.bars_kept.1m", "venues.usdm.rest_url", "exchange.spot_symbols", "fleet.home"} <= set(keys)


@pytest.mark.parametrize(
    ("variable", "text", "read"),
    [
        ("FLEET_VENUES__USDM__SYMBOLS", "BTCUSDT, 币安人生USDT", ["BTCUSDT", "币安人生USDT"]),
        ("FLEET_VENUES__USDM__SYMBOLS", '["ETHUSDT"]', ["ETHUSDT"]),
        ("FLEET_VENUES__USDM__WEIGHT_SHARE", "0.5", 0.5),
        ("FLEET_VENUES__USDM__PUBLIC_PATH", "/public", "/public"),
    ],
)
def test_a_venue_can_be_set_from_the_environment(variable: str, text: str, read: object):
    venue = parse(VENUE, "my.toml", {variable: text}).settings.venues["usdm"]
    assert getattr(venue, variable.rpartition("__")[2].lower()) == read


def test_a_venue_can_be_added_from_the_environment():
    added = {"FLEET_VENUES__SPOT__MARKET": "spot", "FLEET_VENUES__SPOT__SYMBOLS": "ETHBTC"}
    assert list(parse(VENUE, "my.toml", added).settings.venues) == ["usdm", "spot"]


def test_bars_kept_are_replaced_one_by_one():
    text = VENUE + '[trades.bars_kept]\n"1m" = 5\n'
    kept = parse(text, "my.toml", {"FLEET_TRADES__BARS_KEPT__5M": "7"}).settings.trades.bars_kept
    assert (kept["1m"], kept["5m"], kept["1h"]) == (5, 7, 8_760)
    kept = parse(text, "my.toml", {"FLEET_TRADES__BARS_KEPT": '{"1h": 9}'}).settings.trades.bars_kept
    assert (kept["1m"], kept["1h"]) == (5, 9)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "example.org", ""])
def test_an_api_that_others_reach_needs_a_token_or_a_word(host: str):
    text = f'{VENUE}[api]\nhost = "{host}"\n'
    assert "set api.token_sha256, or api.open = true" in refused(text)
    assert parse(f"{text}open = true\n", "my.toml", {}).settings.api.open
    digest = "0123456789abcdef" * 4
    assert parse(text, "my.toml", {"FLEET_API__TOKEN_SHA256": digest}).settings.api.token_sha256 == [digest]
    assert "api.token_sha256" in refused(f'{text}token_sha256 = ["my-token"]\n')


def test_booleans_from_the_environment():
    found = parse(VENUE, "my.toml", {"FLEET_TRADES__CLOSE_BY_CLOCK": "false", "FLEET_EXCHANGE__ENABLED": "1"})
    assert not found.settings.trades.close_by_clock
    assert found.settings.exchange.enabled


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[books]\npublsh_ms = 1\n", ["my.toml, line 5, books.publsh_ms", "'publish_ms'"]),
        ("[bookz]\nlevels = 1\n", ["my.toml, line 5", "no section 'bookz'", "'books'"]),
        ("[books]\nlevels = 'many'\n", ["my.toml, line 5, books.levels", "'many'", "int"]),
        ("[books]\nlevels = 0\n", ["my.toml, line 5", ">= 1"]),
        ("[books]\nlevels = 1.5\n", ["my.toml, line 5", "1.5"]),
        ("[fleet]\nlog_level = 'loud'\n", ["my.toml, line 5, fleet.log_level", "'loud'"]),
        ("[venues.spot]\nsymbols = ['A']\n", ["my.toml, line 4, venues.spot", "'market' is missing"]),
        ("[venues.spot]\n", ["my.toml, line 4, venues.spot", "missing"]),
        (
            "[venues.spot]\nmarket = 'sport'\nsymbols = ['A']\n",
            ["line 5, venues.spot.market", "one of 'spot', "],
        ),
        ("[venues.Spot]\nmarket = 'spot'\nsymbols = ['A']\n", ["'Spot' cannot name a venue"]),
        ("[venues.spot]\nmarket = 'spot'\nsymbols = []\n", ["line 6, venues.spot.symbols", "empty"]),
        ("[venues.spot]\nmarket = 'spot'\nsymbols = ['A', 'A']\n", ["line 6", "twice"]),
        ("[venues.spot]\nmarket = 'spot'\nsymbols = ['btc', 'BTC']\n", ["'BTC' is there twice"]),
        ("[venues.spot]\nmarket = 'spot'\nsymbols = ['um:BTC']\n", ["'um:BTC' cannot be a symbol"]),
        ("[venues.spot]\nmarket = 'spot'\nsymbols = ['A{B}']\n", ["cannot be a symbol"]),
        ("[venues.spot]\nmarket = 'spot'\nsymbols = ['?BTC']\n", ["'?BTC' cannot be a symbol"]),
        ("[venues.spot]\nmarket = 'spot'\nsymbols = ['all', 'all']\n", ["twice"]),
        ("[venues.spot]\nmarket = 'spot'\nsymbols = ['!*UP']\n", ["chooses nothing"]),
        ("[venues.spot]\nmarket = 'spot'\nsymbols = ['A', '!*UP']\n", ["excludes from patterns"]),
        ("[venues.spot]\nmarket='spot'\nsymbols=['A', 'B', '*']\nmax_symbols=1\n", ["line 7", "one by one"]),
        ("[exchange]\nspot_symbols = ['*']\n", ["exchange.spot_symbols", "cannot be a symbol"]),
        ("[venues.spot]\nmarket = 'spot'\nsymbols = 'A'\n", ["'A' cannot be used", "array"]),
        ("[venues.spot]\nmarket='spot'\nsymbols=['A']\nrest_url='ftp://x'\n", ["line 7", "http://"]),
        ("[trades.bars_kept]\n'2m' = 4\n", ["line 5, trades.bars_kept.2m", "no key '2m'"]),
        ("[trades]\nbars_kept = 4\n", ["line 5, trades.bars_kept", "section"]),
        ("[books.levels]\ndeep = 4\n", ["books.levels.deep", "no keys of its own"]),
        ("[ingest]\nbackoff_max_s = 0.1\n", ["line 5, ingest.backoff_max_s", "backoff_first_s"]),
        ("[fleet]\nlease_ms = 1\n", ["line 5, fleet.lease_ms", "twice fleet.heartbeat_ms"]),
        ("[redis]\nurl = 'localhost:6379'\n", ["line 5, redis.url", "redis://"]),
        ("[ingest]\nbackoff_first_s = 31\n", ["line 5, ingest.backoff_first_s", "backoff_max_s"]),
        ("[fleet]\nheartbeat_ms = 2000\n", ["line 5, fleet.heartbeat_ms", "twice fleet.heartbeat_ms"]),
        ("[fleet]\nlease_ms = 100_000_000_000_000_000\n", ["line 5, fleet.lease_ms", "<= 9007199254740992"]),
        ("[venues.by]\nexchange='bybit'\nsymbols=['A']\nstreams_per_request=0\n", ["line 7", ">= 1"]),
        ("[books\n", ["my.toml", "not valid TOML", "line 4"]),
    ],
)
def test_a_mistake_in_the_file_is_refused_with_its_place(text: str, says: list[str]):
    told = refused(VENUE + text)
    for part in says:
        assert part in told


def test_no_venue_at_all_is_refused():
    assert "there is no venue" in refused("[books]\nlevels = 5\n")
    assert "section" in refused("books = 5\n" + VENUE)


@pytest.mark.parametrize(
    ("variable", "text", "says"),
    [
        ("FLEET_BOOKS__PUBLSH_MS", "1", ["environment FLEET_BOOKS__PUBLSH_MS", "'publish_ms'"]),
        ("FLEET_BOOK__LEVELS", "1", ["no section 'book'", "'books'"]),
        ("FLEET_BOOKS__LEVELS", "many", ["environment FLEET_BOOKS__LEVELS, books.levels", "'many'"]),
        ("FLEET_BOOKS__LEVELS", "-1", [">= 1"]),
        ("FLEET_HOMES", "/x", ["no such setting", "'FLEET_HOME'"]),
        ("FLEET_BOOKS", "1", ["no such setting"]),
        ("FLEET_BOOKS__LEVELS__DEEP", "1", ["no keys of its own"]),
        ("FLEET_VENUES__USDM", "1", ["section"]),
        ("FLEET_VENUES__USDM__SYMBOL", "A", ["'symbols'"]),
        ("FLEET_VENUES__USDM__SYMBOLS", "", ["empty"]),
        (
            "FLEET_VENUES__SPOT__SYMBOLS",
            "A",
            ["environment FLEET_VENUES__SPOT__SYMBOLS", "'market' is missing"],
        ),
        ("FLEET_TRADES__BARS_KEPT", "5", ["bars_kept", "section"]),
        ("REDIS_URL", "localhost", ["environment REDIS_URL, redis.url"]),
        ("REDIS_URL", "redis://[", ["environment REDIS_URL, redis.url", "cannot be taken apart"]),
        ("FLEET_FLEET__LOG_LEVEL", "\udcff", ["environment FLEET_FLEET__LOG_LEVEL", "UTF-8"]),
    ],
)
def test_a_mistake_in_the_environment_is_refused_with_its_name(variable: str, text: str, says: list[str]):
    told = refused(VENUE, {variable: text})
    for part in says:
        assert part in told


def test_variables_that_are_no_settings_pass():
    parse(VENUE, "my.toml", {"FLEET_CONFIG": "x", "FLEET_PYTHON": "y", "FLEETING": "z", "REDIS_URL": ""})


def test_passwords_are_masked():
    rows = {key: value for key, value, _ in parse(VENUE, "x", {"REDIS_URL": "redis://me:secret@h/1"}).rows()}
    assert rows["redis.url"] == "redis://me:***@h/1"
    assert mask("redis://:secret@h") == "redis://:***@h"
    assert mask("plain text") == "plain text"


def test_a_token_in_the_place_of_its_hash_is_not_shown():
    told = refused(VENUE, {"FLEET_API__TOKEN_SHA256": "the-token-itself"})
    assert "api.token_sha256" in told
    assert "the-token-itself" not in told


def test_the_shipped_files_are_valid_and_found_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    for name in ("default.toml", "demo.toml", "config/demo.toml"):
        assert load(Path(name), {}).file == find_file(name)
    assert load(None, {"FLEET_CONFIG": "demo.toml"}).settings.exchange.enabled
    assert not load(None, {}).settings.exchange.enabled
    demo = load(Path("demo.toml"), {}).settings.venues
    assert list(demo) == ["usdm", "spot"]
    assert sum(len(venue.symbols) for venue in demo.values()) >= 8


def test_a_file_of_the_current_folder_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo.toml").write_text(VENUE)
    assert load(Path("demo.toml"), {}).origin["venues.usdm.market"] == "demo.toml, line 2"


@pytest.mark.parametrize("section", ["books", "trades"])
def test_a_key_of_an_earlier_release_is_refused_with_its_new_name(section: str):
    with pytest.raises(SettingsError, match=r"no key 'poll_ms'.*Did you mean 'gather_ms'"):
        parse(f"[{section}]\npoll_ms = 3\n", "fleet.toml", {})


def test_an_unknown_file_is_refused():
    with pytest.raises(SettingsError, match=r"no such settings file.*Did you mean 'demo.toml'"):
        load(Path("demos.toml"), {})


def test_the_home_is_absolute_and_the_same_from_everywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    assert load(None, {}).home == data_folder() / "var"
    assert load(None, {"FLEET_HOME": "elsewhere"}).home == tmp_path / "elsewhere"
    assert load(None, {"FLEET_HOME": str(tmp_path)}).home == tmp_path
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert load(None, {"FLEET_HOME": str(tmp_path)}).home == tmp_path
    with pytest.raises(SettingsError, match="cannot be a folder"):
        load(None, {"FLEET_HOME": "elsewhere"})
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("home", ["~nobody-there/x", "a\\u0000b"])
def test_a_home_that_can_be_none_is_refused(home: str):
    told = refused(f'{VENUE}[fleet]\nhome = "{home}"\n')
    assert "my.toml, line 5, fleet.home" in told
    assert "cannot be a folder" in told


def test_a_settings_file_in_the_home_of_nobody_is_refused():
    with pytest.raises(SettingsError, match=r"~nobody-there/my\.toml: the file cannot be read"):
        load(Path("~nobody-there/my.toml"), {})


@pytest.mark.parametrize("exchange", exchanges())
def test_every_whole_number_has_bounds(exchange: str):
    free = [
        key
        for section in (*fields(Settings), *fields(settings_of(exchange)))
        for key, kind in whole_numbers(section.name, inspect.type_info(section.type))
        if kind.ge is None or kind.le is None
    ]
    assert free == ["exchange.seed"]


def whole_numbers(key: str, kind: inspect.Type) -> Iterator[tuple[str, inspect.IntType]]:
    """The whole numbers that a setting is or has in it."""
    if isinstance(kind, inspect.IntType):
        yield key, kind
    elif isinstance(kind, inspect.StructType):
        for item in kind.fields:
            yield from whole_numbers(f"{key}.{item.name}", item.type)
    elif isinstance(kind, inspect.UnionType):
        for one in kind.types:
            yield from whole_numbers(key, one)
    elif isinstance(kind, inspect.ListType):
        yield from whole_numbers(key, kind.item_type)
    elif isinstance(kind, inspect.DictType) and key != "venues":
        yield from whole_numbers(key, kind.value_type)


def test_the_shipped_settings_are_read_from_a_folder_that_is_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert load(None, {}).home == data_folder() / "var"


def test_the_redis_url_is_the_given_one_or_our_socket():
    assert redis_url(load(None, {"REDIS_URL": "redis://h:1/2"}).settings) == "redis://h:1/2"
    home = Path("/srv/a b%c")
    found = redis_url(load(None, {"FLEET_HOME": str(home)}).settings)
    assert found == f"unix://{home}/run/redis.sock".replace("%", "%25").replace(" ", "%20")


def test_a_socket_in_a_long_path_moves_to_a_short_one():
    short, long = Path("/home/me/var"), Path("/home") / ("x" * 150)
    assert socket_path(short, "redis.sock") == short / "run" / "redis.sock"
    moved = socket_path(long, "redis.sock")
    assert len(str(moved)) < 60
    assert moved == socket_path(long, "redis.sock")
    assert moved.parent == socket_path(long, "supervisor.sock").parent
    assert moved.parent != socket_path(long / "y", "redis.sock").parent


@pytest.mark.parametrize("length", range(60, 90))
def test_all_sockets_of_a_fleet_are_in_one_folder(length: int):
    home = Path("/" + "x" * (length - 1))
    folders = {socket_path(home, name).parent for name in ("redis.sock", "supervisor.sock")}
    assert len(folders) == 1
    assert len(str(socket_path(home, "supervisor.sock"))) <= LONGEST_SOCKET_PATH


def test_a_temporary_folder_is_where_sockets_have_short_paths(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", "/var/tmp")
    assert temporary_place("run/redis.sock") is None
    monkeypatch.setattr(tempfile, "tempdir", f"/var/{'x' * 60}")
    assert temporary_place("run/redis.sock") == "/tmp"


def test_lines_of_keys():
    text = 'a.b = 1\n[t] # c\n"k y" = 2\n[[list]]\nx = 3\n[t."u.v"]\n# y = 1\nz = """\n"""\n'
    found = locate_keys(text)
    assert found == {
        "a.b": 1,
        "t": 2,
        "t.k y": 3,
        "list": 4,
        "list[0]": 4,
        "list[0].x": 5,
        "t.u.v": 6,
        "t.u.v.z": 8,
    }
    assert nearest_line(found, "t.k y.deeper") == 3
    assert nearest_line(found, "unknown.key") is None


def test_symbols_are_spelled_as_the_exchange_does_however_they_are_written():
    words = ["btcusdt", "Spot:ethusdt", "币安人生usdt", "*usdc", "!spot:*upusdc", "all"]
    text = f"[venues.spot]\nmarket = 'spot'\nsymbols = {words}\n"
    found = parse(text, "my.toml", {"FLEET_EXCHANGE__SPOT_SYMBOLS": "bnbbtc"}).settings
    assert found.venues["spot"].symbols == ["BTCUSDT", "ETHUSDT", "币安人生USDT", "*USDC", "!*UPUSDC", "all"]
    assert found.exchange.spot_symbols == ["BNBBTC"]


KRAKEN = '[venues.kraken]\nexchange = "kraken"\nmarket = "spot"\nsymbols = ["BTC-USD"]\n'
KEY = {"FLEET_VENUES__KRAKEN__API_KEY": "wOpEn", "FLEET_VENUES__KRAKEN__API_SECRET": "c2VzYW1l"}


def test_a_key_of_the_users_own_comes_from_the_environment_and_is_never_shown():
    found = parse(KRAKEN, "my.toml", KEY)
    venue = found.settings.venues["kraken"]
    assert isinstance(venue, SignedVenueSettings)
    assert (venue.api_key, venue.api_secret) == ("wOpEn", "c2VzYW1l")
    rows = {key: value for key, value, _ in found.rows()}
    assert (rows["venues.kraken.api_key"], rows["venues.kraken.api_secret"]) == ("***", "***")
    assert not {"websocket_url", "orders_url", "api_key"} & description(venue).keys()
    told = [str(rows), repr(venue), repr(found.settings), str(description(venue)), str(venue.__rich_repr__())]
    assert not any(part in text for part in KEY.values() for text in told)
    assert refused(KRAKEN, {"FLEET_VENUES__KRAKEN__API_KEY__X": "wOpEn"}).find("wOpEn") == -1


@pytest.mark.parametrize("name", ["api_key", "api_secret"])
def test_a_key_in_a_file_is_refused(name: str):
    said = refused(f'{KRAKEN}{name} = "wOpEn"\n')
    assert f"set FLEET_VENUES__KRAKEN__{name.upper()} in the environment" in said
    assert "my.toml, line 5" in said
    assert "wOpEn" not in said


def test_a_key_that_lacks_a_part_says_which():
    venue = parse(KRAKEN, "my.toml", {"FLEET_VENUES__KRAKEN__API_KEY": "wOpEn"}).settings.venues["kraken"]
    assert isinstance(venue, SignedVenueSettings)
    assert venue.missing_key("kraken") == (
        "kraken tells this to holders of a key alone: set FLEET_VENUES__KRAKEN__API_SECRET in the environment"
    )
    venue.api_secret = "c2VzYW1l"
    assert venue.missing_key("kraken") == ""


def test_single_orders_want_a_whole_key_when_settings_are_read():
    orders = f"{KRAKEN}orders = true\n"
    assert parse(orders, "my.toml", KEY).settings.venues["kraken"].orders
    for name in KEY:
        said = refused(orders, {each: part for each, part in KEY.items() if each != name})
        assert f"set {name} in the environment" in said
        assert "my.toml, line 5, venues.kraken.orders" in said
    assert "base64" in refused(orders, KEY | {"FLEET_VENUES__KRAKEN__API_SECRET": "sesame!"})
    for name, part in KEY.items():
        for odd in (f"{part}\n", f"{part}\r\nHost: elsewhere", f" {part}", f"{part}\u00e9"):
            said = refused(orders, KEY | {name: odd})
            assert f"environment {name}" in said
            assert "blanks" in said
            assert part not in said


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_a_number_that_is_not_finite_is_refused(number: str):
    said = refused(f"[analytics]\ninventory = {number}\n")
    assert "my.toml, line 2, analytics.inventory" in said
    assert "finite" in said
    assert "FLEET_ANALYTICS__INVENTORY" in refused("", {"FLEET_ANALYTICS__INVENTORY": number})
