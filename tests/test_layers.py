"""The layers of the project, enforced: who may import whom."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "workers"
BASE = {"errors", "masking"}
SHARED = {
    "errors",
    "masking",
    "settings",
    "paths",
    "process",
    "configuration",
    "symbol_settings",
    "toml_lines",
    "context",
    "following",
    "ownership",
    "rest",
    "rest_reply",
    "steady_clock",
    "tasks",
    "backoff",
    "unreadable",
    "quarantine",
    "dead_streams",
    "stream_places",
    "proxies",
    "proxy_settings",
    "socks",
    "logs",
    "progress",
    "pulse",
}
"""Modules at the top of the package that the roles share."""
ROLES = {"ingest", "books", "trades", "keeper", "archive", "api"}
CORE = {"model", "venues", "store"}
ALLOWED: dict[str, set[str]] = {
    "model": BASE | {"model"},
    "venues": BASE | {"settings", "model", "venues"},
    "store": BASE | {"settings", "paths", "model", "store"},
    "recordings": BASE | {"model", "recordings"},
    "sim": BASE | {"settings", "sim"},
    "client": BASE | CORE | {"settings", "client"},
    "cli": SHARED | CORE | ROLES | {"recordings", "sim", "client", "cli"},
    **{role: SHARED | CORE | {role} for role in ROLES},
}
"""What a package may import of ours; the modules at the top may import everything but roles, cli and sim."""
TOP = SHARED | CORE | BASE
PURE = {"model", "venues"}
IMPURE = {"asyncio", "socket", "time", "redis", "aiohttp", "websockets", "threading", "subprocess", "uvloop"}
"""What a package that takes bytes and returns values has no use for."""


def imports_of(source: str, package: str = "") -> Iterator[str]:
    """Every absolute module name a source imports; relative ones are resolved against `package`."""
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


def layer_of(module: str) -> str:
    """`books` for `workers.books.worker`, `settings` for `workers.settings`; empty for `workers` itself."""
    return module.split(".")[1] if "." in module else ""


def violations(module: str, source: str) -> list[str]:
    """What a module imports that its layer must not."""
    layer = layer_of(module)
    allowed = ALLOWED.get(layer, TOP)
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


def test_nothing_outside_the_package_is_hidden_in_it():
    found = {
        path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name not in ("__pycache__", "_data")
    }
    assert found <= set(ALLOWED), "a new package needs its line in ALLOWED"


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("workers.model.book", "import asyncio"),
        ("workers.model.book", "from redis.asyncio import Redis"),
        ("workers.model.book", "from workers.store.keys import Keys"),
        ("workers.model.book", "def f():\n    import time"),
        ("workers.venues.binance", "import aiohttp.web"),
        ("workers.venues.binance", "from workers.store import keys"),
        ("workers.store.streams", "from workers.books.worker import main"),
        ("workers.store.streams", "from workers.process import Process"),
        ("workers.books.worker", "from workers.trades import worker"),
        ("workers.books.worker", "from workers.cli.main import run"),
        ("workers.api.server", "from workers.sim.server import serve"),
        ("workers.sim.server", "from workers.venues.binance import Binance"),
        ("workers.process", "from workers import cli"),
        ("workers.books.worker", "from ..cli import main"),
        ("workers.client.fleet", "from workers.process import Process"),
        ("workers.store.streams", "from workers.client import FleetClient"),
        ("workers.process", "from workers.books.book import OwnedBook"),
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
        ("workers.books.worker", "import asyncio\nfrom workers.store.streams import GroupReader"),
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
