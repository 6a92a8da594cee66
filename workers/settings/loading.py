"""Loading the settings: one TOML file, the environment over it, and where every value came from.

    effective = load(None, os.environ)
    effective.settings.books.publish_ms     # 100
    effective.origin["books.publish_ms"]    # such as "config/default.toml, line 31"

What cannot be used is refused with its place (file and line, or variable), its key, what is wrong with it
and, for an unknown name, the nearest valid one.
"""

from __future__ import annotations

import math
import re
import tomllib
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec
from msgspec.structs import FieldInfo, fields

from workers.errors import SettingsError
from workers.masking import MASK, mask
from workers.settings.checks import check_meaning, is_secret
from workers.settings.exchanges import DEFAULT, exchanges, settings_of
from workers.settings.paths import absolute_home, data_folder, find_file, socket_path
from workers.settings.schema import Settings, VenueSettings
from workers.settings.symbols import spell_symbols
from workers.settings.toml_lines import locate_keys, nearest_line

DEFAULT_FILE: Final = "default.toml"
SHORT_NAMES: Final = {"FLEET_HOME": ("fleet", "home"), "REDIS_URL": ("redis", "url")}
NOT_SETTINGS: Final = frozenset({"FLEET_CONFIG", "FLEET_PYTHON"})
"""Variables of ours that are no settings: the file to read, and the interpreter `./fleet` takes."""

RENAMED: Final = {"books.poll_ms": "gather_ms", "trades.poll_ms": "gather_ms"}
"""Keys of earlier releases, and the name of what is nearest to them now."""

Key = tuple[str, ...]
VenueTypes = Mapping[str, type[VenueSettings]]
"""By the name of a venue section, what can be set in it."""


@dataclass
class Effective:
    """The settings in force and where each came from.

    `origin` has an entry for every dotted key: `default`, a file and line, or an environment variable.
    """

    settings: Settings
    origin: dict[str, str] = field(default_factory=dict)
    file: Path | None = None

    @property
    def home(self) -> Path:
        """The run directory, absolute."""
        return Path(self.settings.fleet.home)

    def rows(self) -> Iterator[tuple[str, Any, str]]:
        """Every setting as (dotted key, value, where it came from); passwords in URLs are masked."""
        for key, value in _leaves(msgspec.to_builtins(self.settings)):
            name = ".".join(key)
            yield (
                name,
                MASK if value and is_secret(name) else _masked(value),
                self.origin.get(name, "default"),
            )


@dataclass(frozen=True)
class _Given:
    """One value somebody gave: its key, what it is, and where that was written."""

    key: Key
    raw: Any
    place: str
    strict: bool = True
    elements: Sequence[str] = ()
    """Of an array of tables: where each of them was written."""

    @property
    def shown(self) -> str:
        """The value as a message may show it."""
        key = ".".join(self.key)
        # what is no hash may be the token itself
        return MASK if is_secret(key) or key == "api.token_sha256" else repr(_masked(self.raw))

    def refused(self, problem: str, suggestion: str = "") -> SettingsError:
        return SettingsError(f"{self.place}, {'.'.join(self.key)}", problem, suggestion)


class _FixedTable(typing.NamedTuple):
    """A table whose names are those of its default (the intervals)."""

    names: Iterable[str]
    element: object


_VENUES: Final = object()
"""The node of the schema below which every name is a venue."""


def load(path: Path | None, environ: Mapping[str, str]) -> Effective:
    """The effective settings.

    Args:
        path: the TOML file; None: what `FLEET_CONFIG` names, else `config/default.toml`.
        environ: the environment, such as `os.environ`.

    Raises:
        SettingsError: something in the file or the environment is not valid.
    """
    file = find_file(str(path) if path else environ.get("FLEET_CONFIG") or DEFAULT_FILE)
    effective = parse(_read(file), _shown(file), environ)
    effective.file = file
    return effective


def parse(text: str, name: str, environ: Mapping[str, str]) -> Effective:
    """The effective settings of a TOML text under an environment; `name` is what messages call the text."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(name, f"this is not valid TOML: {error}") from error
    lines = locate_keys(text)

    def place(key: str) -> str:
        line = nearest_line(lines, key)
        return f"{name}, line {line}" if line else name

    given = [
        _Given(
            key, raw, place(".".join(key)), elements=[place(f"{'.'.join(key)}[{n}]") for n in range(len(raw))]
        )
        if isinstance(raw, list) and raw and isinstance(raw[0], dict)
        else _Given(key, raw, place(".".join(key)))
        for key, raw in _leaves(table)
    ]
    venues = _venue_types(given, environ)
    given += _from_environment(environ, venues)
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for item in given:
        _assign(values, item, venues)
        origin[".".join(item.key)] = item.place
    for key in lines:  # tables of arrays, as long as the environment does not replace them all
        array = key.partition("[")[0]
        if array != key and origin.get(array) == place(array):
            origin[key] = place(key)
    _check_venues(values, name, place, origin, venues)
    sections = {
        venue: msgspec.convert(keys, venues.get(venue, settings_of(DEFAULT)))
        for venue, keys in values.pop("venues").items()
    }
    settings = msgspec.convert({**values, "venues": {}}, Settings)
    settings.venues = sections
    settings.fleet.home = str(absolute_home(settings.fleet.home, origin.get("fleet.home", name)))
    effective = Effective(settings, origin)
    spell_symbols(effective.settings)
    check_meaning(effective.settings, effective.origin, name)
    return effective


def redis_url(settings: Settings) -> str:
    """Where the fleet's Redis is: the server named in the settings, else the unix socket of our own."""
    if settings.redis.url:
        return settings.redis.url
    password = f":{quote(settings.redis.password, safe='')}@" if settings.redis.password else ""
    return f"unix://{password}" + quote(str(socket_path(Path(settings.fleet.home), "redis.sock")))


def _masked(value: Any) -> Any:
    if isinstance(value, list):
        return [_masked(item) for item in value]
    return mask(value) if isinstance(value, str) else value


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(str(file), f"the file cannot be read: {error}") from error


def _shown(file: Path) -> str:
    for folder in (data_folder, Path.cwd):  # the latter may be gone
        if file.is_relative_to(folder()):
            return str(file.relative_to(folder()))
    return str(file)


def _leaves(table: Mapping[str, Any], prefix: Key = ()) -> Iterator[tuple[Key, Any]]:
    for name, value in table.items():
        key = (*prefix, name)
        if isinstance(value, dict) and value:
            yield from _leaves(value, key)
        else:
            yield key, value


def _venue_types(given: Iterable[_Given], environ: Mapping[str, str]) -> VenueTypes:
    """The settings of each venue section, by the exchange it names; a section that names none is of the default."""
    named = [
        (item.key[1], item) for item in given if item.key[:1] == ("venues",) and item.key[2:] == ("exchange",)
    ]
    for variable in sorted(environ):
        key = tuple(variable.removeprefix("FLEET_").lower().split("__"))
        if variable.startswith("FLEET_") and len(key) == 3 and key[::2] == ("venues", "exchange"):
            named.append((key[1], _Given(key, environ[variable], f"environment {variable}")))
    types = {}
    for venue, item in named:
        if item.raw not in exchanges():
            near = get_close_matches(str(item.raw), exchanges(), 1)
            problem = f"{item.shown} cannot be used: it is one of {', '.join(map(repr, exchanges()))}"
            raise item.refused(problem, near[0] if near else "")
        types[venue] = settings_of(item.raw)
    return types


def _from_environment(environ: Mapping[str, str], venues: VenueTypes) -> Iterator[_Given]:
    for variable in sorted(environ):
        place, text = f"environment {variable}", environ[variable]
        if not variable.startswith(("FLEET_", "REDIS_URL")) or variable in NOT_SETTINGS:
            continue
        if text != text.encode(errors="replace").decode():
            raise SettingsError(place, "this is no text in UTF-8")
        if variable in SHORT_NAMES:
            if text:
                yield _Given(SHORT_NAMES[variable], text, place, strict=False)
        elif variable.startswith("FLEET_"):
            key = tuple(variable.removeprefix("FLEET_").lower().split("__"))
            if len(key) == 1:
                near = get_close_matches(variable, _variables(), 1, 0.5)
                raise SettingsError(place, "there is no such setting", near[0] if near else "")
            given = _Given(key, text, place, strict=False)
            raw = _environment_value(text, _resolve(given, venues))
            if isinstance(raw, dict):
                yield from (_Given(inner, value, place) for inner, value in _leaves(raw, key))
            else:
                yield _Given(key, raw, place, strict=False)


def _variables() -> list[str]:
    names = [*SHORT_NAMES, *NOT_SETTINGS]
    for section in fields(Settings):
        if _is_struct(section.type):
            names += [f"FLEET_{section.name}__{item.name}".upper() for item in fields(section.type)]
    return names


def _environment_value(text: str, wanted: object) -> object:
    """A list is words between commas, or JSON; a table is JSON."""
    if isinstance(wanted, _FixedTable) or (typing.get_origin(wanted) is list and text.lstrip()[:1] == "["):
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError:
            return text
    if typing.get_origin(wanted) is list:
        return [word.strip() for word in text.split(",") if word.strip()]
    return text


def _is_struct(wanted: object) -> typing.TypeGuard[type[msgspec.Struct]]:
    return isinstance(wanted, type) and issubclass(wanted, msgspec.Struct)


def _node(key: Key, item: FieldInfo) -> object:
    if key == ("venues",):
        return _VENUES
    if typing.get_origin(item.type) is dict:
        return _FixedTable(tuple(item.default_factory()), typing.get_args(item.type)[1])
    return item.type


def _resolve(given: _Given, venues: VenueTypes) -> object:
    """What the schema expects at a key: a type, a table, or a section.

    Raises:
        SettingsError: there is no such key.
    """
    node: object = Settings
    for depth, name in enumerate(given.key):
        above = ".".join(given.key[:depth])
        if node is _VENUES:
            if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
                raise given.refused(f"{name!r} cannot name a venue: use a-z, 0-9, - and _, a letter first")
            node = venues.get(name, settings_of(DEFAULT))
            continue
        if _is_struct(node):
            known: dict[str, object] = {
                item.name: _node((*given.key[:depth], item.name), item) for item in fields(node)
            }
        elif isinstance(node, _FixedTable):
            known = dict.fromkeys(node.names, node.element)
        else:
            raise given.refused(f"{above!r} is a single value, it has no keys of its own")
        if name not in known:
            renamed = RENAMED.get(f"{above}.{name}")
            near = [renamed] if renamed else get_close_matches(name, known, 1, 0.5)
            problem = f"{above!r} has no key {name!r}" if above else f"there is no section {name!r}"
            raise given.refused(
                problem if near else f"{problem} (known: {', '.join(known)})", near[0] if near else ""
            )
        node = known[name]
    return node


def _assign(values: dict[str, Any], given: _Given, venues: VenueTypes) -> None:
    """Check one value against the schema and put it in its place."""
    wanted = _resolve(given, venues)
    section = wanted is _VENUES or _is_struct(wanted) or isinstance(wanted, _FixedTable)
    if section and given.raw != {}:
        raise given.refused(f"{given.shown} cannot be used: this is a section, it takes keys")
    if not section:
        try:
            value = _converted(given, wanted)
        except msgspec.ValidationError as error:
            problem = _lowered(error)
            words = typing.get_args(wanted) if typing.get_origin(wanted) is list else (wanted,)
            if typing.get_origin(words[0]) is typing.Literal:
                each = "it is" if words[0] is wanted else "each is"
                problem = f"{each} one of {', '.join(map(repr, typing.get_args(words[0])))}"
            raise given.refused(f"{given.shown} cannot be used: {problem}") from error
        if isinstance(value, float) and not math.isfinite(value):
            raise given.refused(f"{given.shown} cannot be used: it is no finite number")
    target = values
    for depth, name in enumerate(given.key[: None if section else -1]):
        fixed = _resolve(_Given(given.key[: depth + 1], None, given.place), venues)
        target = target.setdefault(
            name, _defaults(given.key[: depth + 1]) if isinstance(fixed, _FixedTable) else {}
        )
    if not section:
        target[given.key[-1]] = value


def _converted(given: _Given, wanted: Any) -> Any:
    """The value as the schema wants it; of an array of tables, each by itself, so that a message says which.

    Raises:
        ValidationError: it is of another type.
    """
    element = next(iter(typing.get_args(wanted)), None)
    if not (typing.get_origin(wanted) is list and _is_struct(element) and isinstance(given.raw, list)):
        return msgspec.convert(given.raw, wanted, strict=given.strict)
    made = []
    for index, table in enumerate(given.raw):
        try:
            made.append(msgspec.convert(table, element, strict=given.strict))
        except msgspec.ValidationError as error:
            named = table.get("name") if isinstance(table, dict) else None
            key = f"{'.'.join(given.key)}[{index}]" + (f" ({named})" if isinstance(named, str) else "")
            place = given.elements[index] if index < len(given.elements) else given.place
            raise SettingsError(f"{place}, {key}", _lowered(error)) from error
    return made


def _lowered(error: msgspec.ValidationError) -> str:
    return str(error)[:1].lower() + str(error)[1:]


def _defaults(key: Key) -> dict[str, Any]:
    """A fixed table as it is by default, for what is given to replace entries of."""
    section = next(item.type for item in fields(Settings) if item.name == key[0])
    made: dict[str, Any] = next(item.default_factory() for item in fields(section) if item.name == key[1])
    return made


def _check_venues(
    values: Mapping[str, Any],
    name: str,
    place: typing.Callable[[str], str],
    origin: Mapping[str, str],
    types: VenueTypes,
) -> None:
    venues = values.get("venues") or {}
    if not venues:
        raise SettingsError(name, "there is no venue: write a section [venues.NAME] with market and symbols")
    for venue, keys in venues.items():
        for item in fields(types.get(venue, settings_of(DEFAULT))):
            if item.required and item.name not in keys:
                given = next((origin[key] for key in origin if key.startswith(f"venues.{venue}.")), "")
                where = given if given.startswith("environment") else place(f"venues.{venue}")
                raise SettingsError(f"{where}, venues.{venue}", f"the key {item.name!r} is missing")
