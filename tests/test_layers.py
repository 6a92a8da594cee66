"""The layers of the project, enforced: who may import whom."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "workers"
GROUND = {"errors", "extras", "masking", "plain_text", "settings"}
ROLES = {"ingest", "books", "trades", "orders", "keeper", "archive", "postgres", "alerts", "analytics", "api"}
CORE = GROUND | {"model", "venues", "store"}
PROOFS = {"replay", "conformance", "verification", "operations", "bench", "research", "tardis"}
FILES = "workers.archive.files"
"""What the files of the archive are: below the role that writes them."""
ALLOWED: dict[str, set[str]] = {
    "errors": {"extras", "masking", "plain_text"},
    "extras": set(),
    "masking": set(),
    "plain_text": set(),
    "settings": GROUND | {"model"},
    "model": {"errors", "plain_text", "model"},
    "venues": GROUND | {"model", "venues"},
    "store": GROUND | {"model", "store"},
    "runtime": CORE | {"runtime"},
    **{role: CORE | {"runtime", role} for role in sorted(ROLES - {"archive", "api"})},
    "archive": CORE | {"runtime", "archive.files", "archive"},
    "archive.files": CORE | {"runtime", "archive.files"},
    "api": CORE | {"runtime", "archive.files", "api"},
    "client": CORE | {"archive.files", "client"},
    "recordings": GROUND | {"model", "venues", "recordings"},
    "sim": {"errors", "sim"},
    "terminal": {"errors", "plain_text", "model", "archive.files", "terminal"},
    "verification": CORE
    | {"runtime", "archive.files", "recordings", "sim", "client", "terminal", "operations", "verification"},
    "operations": CORE
    | {"runtime", "archive", "archive.files", "postgres", "sim", "client", "terminal", "operations"},
    "replay": CORE
    | ROLES
    | {"runtime", "recordings", "terminal", "operations", "verification", "research", "replay"},
    "conformance": CORE
    | ROLES
    | {"runtime", "archive.files", "sim", "client", "terminal", "operations", "verification", "conformance"},
    "bench": CORE | {"client", "operations", "conformance", "terminal", "bench"},
    "research": CORE
    | {"runtime", "archive.files", "recordings", "terminal", "operations", "verification", "research"},
    "tardis": CORE
    | {
        "runtime",
        "archive.files",
        "api",
        "client",
        "recordings",
        "terminal",
        "operations",
        "research",
        "tardis",
    },
    "reading": CORE | {"runtime", "archive.files", "client", "terminal", "operations", "reading"},
    "cli": CORE
    | ROLES
    | PROOFS
    | {"archive.files", "runtime", "recordings", "sim", "client", "terminal", "reading", "cli"},
}
"""What a folder or a module at the top may import of ours, besides the version in `workers`. Arrows run downwards
only: what is in no line above may not be imported."""
PURE = {"model", "venues"}
IMPURE = {"asyncio", "socket", "time", "redis", "aiohttp", "websockets", "threading", "subprocess", "uvloop"}
"""What a package that takes bytes and returns values has no use for."""


def imports_of(source: str, package: str = "") -> Iterator[str]:
    """Every absolute module name a source imports, for types too; relative ones are resolved against `package`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = parts[: len(parts) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            yield stem
            if stem == "workers":
                yield from (f"workers.{name.name}" for name in node.names if name.name[0] != "_")


def neighbours_of(source: str, package: str, known: set[str]) -> set[str]:
    """Those of the known modules that a source imports, as a whole or a name of them."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{package} imports by a relative name"
            parts = {f"{node.module}.{name.name}" for name in node.names}
            found |= parts & known or {str(node.module)}
    return found & known


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Modules each of which imports the next, the last one the first; empty when there are none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def layer_of(module: str) -> str:
    """`books` for `workers.books.worker`, `settings` for `workers.settings.schema`; empty for `workers` itself.

    What the archive's files are is a layer of its own below the role that writes them.
    """
    if module == FILES or module.startswith(f"{FILES}."):
        return "archive.files"
    return module.split(".")[1] if "." in module else ""


def violations(module: str, source: str) -> list[str]:
    """What a module imports that its layer must not."""
    layer = layer_of(module)
    allowed = ALLOWED[layer] if layer else set()
    found = []
    for name in imports_of(source, module.rpartition(".")[0]):
        root = name.split(".")[0]
        if root == "workers":
            target = layer_of(name)
            if target and target not in allowed:
                found.append(f"{module} imports {name}")
        elif layer in PURE and root in IMPURE:
            found.append(f"{module} imports {root}, which is not for pure code")
    return found


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts).removesuffix(".__init__"), path


@pytest.mark.parametrize(("module", "path"), [pytest.param(*pair, id=pair[0]) for pair in modules()])
def test_a_module_imports_only_what_its_layer_may(module: str, path: Path):
    assert violations(module, path.read_text(encoding="utf-8")) == []


def test_no_modules_import_each_other_in_a_circle():
    known = dict(modules())
    graph = {
        module: neighbours_of(path.read_text(encoding="utf-8"), module, set(known))
        for module, path in known.items()
    }
    assert circle(graph) == []


def test_a_circle_is_caught():
    sources = {
        "workers.model.a": "from workers.model import b",
        "workers.model.b": "if TYPE_CHECKING:\n    from workers.model.c import C",
        "workers.model.c": "def f():\n    import workers.model.a",
    }
    graph = {name: neighbours_of(source, name, set(sources)) for name, source in sources.items()}
    assert sorted(circle(graph)[1:]) == sorted(sources)
    assert circle(graph | {"workers.model.c": set()}) == []


@pytest.mark.parametrize(("module", "path"), [pytest.param(*pair, id=pair[0]) for pair in modules()])
def test_every_task_has_a_name(module: str, path: Path):
    """What hangs, or ends with an error, is told by its name."""
    calls = [
        node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
    ]
    unnamed = [
        call.lineno
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and call.func.attr == "create_task"
        and not any(keyword.arg == "name" for keyword in call.keywords)
    ]
    assert unnamed == []


def test_nothing_outside_the_package_is_hidden_in_it():
    found = {
        path.stem
        for path in PACKAGE.iterdir()
        if path.name not in ("__init__.py", "py.typed", "__pycache__", "_data")
    }
    assert found == set(ALLOWED) - {"archive.files"}, (
        "a folder or a module at the top has its line in ALLOWED"
    )


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("workers.model.book", "import asyncio"),
        ("workers.model.book", "from redis.asyncio import Redis"),
        ("workers.model.book", "from workers.store.keys import Keys"),
        ("workers.model.book", "def f():\n    import time"),
        ("workers.venues.binance.venue", "import aiohttp.web"),
        ("workers.venues.binance.venue", "from workers.store import keys"),
        ("workers.store.log.streams", "from workers.books.worker import main"),
        ("workers.store.log.streams", "from workers.runtime.process import Process"),
        ("workers.books.worker", "from workers.trades import worker"),
        ("workers.books.worker", "from workers.cli.main import run"),
        ("workers.api.server", "from workers.sim.server import serve"),
        ("workers.sim.server", "from workers.venues.binance.venue import Binance"),
        ("workers.runtime.process", "from workers import cli"),
        ("workers.books.worker", "from ..cli import main"),
        ("workers.client.fleet", "from workers.runtime.process import Process"),
        ("workers.store.log.streams", "from workers.client import FleetClient"),
        ("workers.runtime.process", "from workers.books.book import OwnedBook"),
    ],
)
def test_a_violation_is_caught(module: str, source: str):
    assert violations(module, source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "workers.model.book",
            "import heapq\nfrom workers.errors import BadNumber\nfrom workers.model import events",
        ),
        ("workers.books.worker", "import asyncio\nfrom workers.store.log.streams import GroupReader"),
        ("workers.cli.demo", "from workers.sim.server import serve"),
        ("workers.store.keys", "from typing import Final"),
    ],
)
def test_what_is_allowed_passes(module: str, source: str):
    assert violations(module, source) == []


def test_every_test_module_has_a_name_of_its_own():
    """pytest imports them all into one namespace, and the run of the whole suite stops at the second of a name."""
    names = Counter(path.name for path in Path(__file__).parent.rglob("*.py") if path.name != "conftest.py")
    assert [name for name, times in names.items() if times > 1] == []


def test_the_commands_only_parse_and_print():
    """What a command does has a room of its own."""
    lines = sum(len(path.read_text().splitlines()) for path in (PACKAGE / "cli").rglob("*.py"))
    assert lines < 2_500
