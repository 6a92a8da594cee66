"""The documentation says what is there: links, settings, metrics, keys, commands, and nothing of the author's desk."""

from __future__ import annotations

import ast
import builtins
import importlib
import importlib.util
import inspect
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from workers.api.server import Api
from workers.archive.files.rows import COLUMNS
from workers.cli import application
from workers.model.books.audit import AuditOutcome
from workers.model.books.top_of_book import TopOfBook
from workers.model.trades.latest import LatestTrade
from workers.model.trades.windows import INTERVALS_MS, Window
from workers.operations.role import PROGRAMS, WORKERS
from workers.runtime.process import PORT_OFFSETS, Process, port_offset
from workers.settings.schema import Settings
from workers.store import keys
from workers.store.books.audits import Audit
from workers.store.log.streams import GapRecord
from workers.venues.binance.settings import BinanceSettings

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
MACHINE = (ROOT, Path.home(), Path(sys.prefix))
"""Folders that are elsewhere for everybody else."""


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def load_tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_tables", DOCS / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


tables = load_tables()


def without_code(text: str) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^( *)```.*?^\1```", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors GitHub makes of a page's headings."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", without_code(text_of(page)), re.MULTILINE):
        plain = heading.replace("&lt;", "<").replace("&gt;", ">").replace("`", "").strip().lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return found


def links(page: Path) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(text_of(page))):
        if not re.match(r"[a-z]+:", target):
            yield target


def command_lines(page: Path) -> Iterator[str]:
    """The lines of the page's console blocks that were typed, without the prompt."""
    for block in re.findall(r"^ *```console\n(.*?)^ *```", text_of(page), re.DOTALL | re.MULTILINE):
        yield from (line.strip()[2:] for line in block.splitlines() if line.strip().startswith("$ "))


def fleet_calls(page: Path) -> Iterator[list[str]]:
    """The arguments of every `./fleet …` or `fleet …` that was typed."""
    for line in command_lines(page):
        words = shlex.split(line.split("|")[0], comments=True)
        while words and re.match(r"[A-Z_]+=", words[0]):
            words = words[1:]
        if words and words[0] in ("./fleet", "fleet"):
            yield words[1:]


def commands() -> dict[str, typer.core.TyperCommand]:
    application._register_others()
    return typer.main.get_command(application.app).commands


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path):
    broken = []
    for link in links(page):
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_every_page_can_be_reached_from_the_readme():
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md" or not page.exists():
            continue
        seen.add(page)
        waiting += [
            (page.parent / link.partition("#")[0]).resolve() for link in links(page) if link[0] != "#"
        ]
    assert sorted(name_of(page) for page in set(PAGES) - seen) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pages_name_no_folder_of_the_machine_they_were_written_on(page: Path):
    assert [str(folder) for folder in MACHINE if f"{folder}/" in text_of(page)] == []


def test_the_readme_is_short():
    assert len(text_of(ROOT / "README.md").splitlines()) < 120


def test_tables_are_up_to_date():
    stale = [path.name for path, made in tables.pages().items() if made != text_of(path)]
    assert not stale, "run python docs/tables.py"


def test_tables_name_only_what_is_there():
    settings = {found.name for found in tables.settings()}
    metrics = {metric.name for metric in tables.declared_metrics.metrics()}
    events = tables.declared_metrics.log_events()
    assert set(tables.MEANING) <= settings
    assert set(tables.declared_metrics.EVENTS) <= metrics
    assert {event for found in tables.declared_metrics.EVENTS.values() for event in found} <= events


def test_settings_in_pages_exist():
    known = {found.name.replace("venues.*.", "venues.") for found in tables.settings()}
    sections = {field.name for field in msgspec.structs.fields(Settings)} - {"venues"}
    wrong = []
    for page in PAGES:
        for section, key in re.findall(r"`([a-z]+)\.([a-z_]+)(?: = [^`]+)?`", text_of(page)):
            if section in sections and f"{section}.{key}" not in known and key not in ("py", "lua", "toml"):
                wrong.append(f"{name_of(page)}: {section}.{key}")
    assert not wrong


def test_environment_variables_in_pages_exist():
    names = {re.sub(r"^venues\.\*\.[a-z]+\.", "venues.*.", found.name) for found in tables.settings()}
    known = {f"FLEET_{name}".replace(".", "__").upper() for name in names}
    known |= {"FLEET_HOME", "FLEET_CONFIG", "FLEET_PYTHON", "FLEET_BOOKS__PUBLISHMS"}
    wrong = []
    for page in PAGES:
        for name in re.findall(r"\bFLEET_[A-Z_]*[A-Z]\b", text_of(page)):
            general = re.sub(r"^FLEET_VENUES__[A-Z]+?__", "FLEET_VENUES__*__", name)
            if general not in known:
                wrong.append(f"{name_of(page)}: {name}")
    assert not wrong


def test_metrics_in_pages_exist():
    known = {metric.name for metric in tables.declared_metrics.metrics()}
    others = {"fleet_runs", "fleet_answers"}
    wrong = []
    for page in PAGES:
        for name in re.findall(r"\bfleet_[a-z_]+[a-z]\b", text_of(page)):
            base = re.sub(r"_(bucket|count|sum|created)$", "", name)
            if not {name, base} & (known | others) and not any(one.startswith(name) for one in known):
                wrong.append(f"{name_of(page)}: {name}")
    assert not wrong


def test_metric_ports_are_those_of_the_code():
    page = text_of(DOCS / "metrics.md")
    for role, offset in PORT_OFFSETS.items():
        assert re.search(rf"`{role}(-0)?`.*base \+ {offset}\b", page), role


def test_targets_for_prometheus_are_the_ports_of_a_fleet_of_two():
    page = text_of(DOCS / "how-to" / "server.md")
    base = int(re.search(r"`metrics.base_port = (\d+)`", page)[1])
    targets = dict(re.findall(r"- 127\.0\.0\.1:(\d+)  # (\S+)", page))
    assert len(targets) == 8
    for port, worker in targets.items():
        role, _, number = worker.rpartition("-")
        wanted = (role, int(number)) if number.isdigit() else (worker, 0)
        assert int(port) == base + port_offset(*wanted), worker


def spelled_keys() -> set[str]:
    """Every key the code can spell, for the symbol S."""
    values = {
        "symbol": ["S"],
        "channel": [keys.DEPTH, keys.TRADES],
        "named": [keys.TRADES],
        "interval": list(INTERVALS_MS),
        "role": ["books"],
        "name": ["books"],
        "pool": ["spot"],
        "venue": ["spot"],
    }
    calls = [
        getattr(keys.Keys(), name) for name in dir(keys.Keys) if name[0] != "_" and name != "live_orderbook"
    ]
    calls += [keys.resubscriptions, keys.resubscription_asked]
    calls += [keys.workers, keys.worker, keys.budget, keys.followed_symbols, keys.venues, keys.plan]
    found = {keys.Keys().live_orderbook, keys.ALERTS, keys.OPEN_ALERTS}
    found |= {keys.ALERT_COMMENTS, keys.ALERT_PLACES, keys.ALERT_SPENDING}
    for call in calls:
        known = [values[parameter] for parameter in inspect.signature(call).parameters]
        chosen: list[list[str]] = [[]]
        for options in known:
            chosen = [[*before, option] for before in chosen for option in options]
        spelled = [call(*arguments) for arguments in chosen]
        found |= {key for one in spelled for key in ([one] if isinstance(one, str) else one)}
    return found


def test_every_key_is_documented():
    page = text_of(DOCS / "keys.md")
    missing = []
    for key in spelled_keys():
        general = key
        for interval in INTERVALS_MS:
            general = re.sub(rf":{interval}$", ":<interval>", general)
        general = re.sub(r"^(fleet:(?:lease|fence|workers|plan)):books", r"\1:<role>", general)
        general = general.replace("fleet:worker:books", "fleet:worker:<name>")
        general = general.replace("fleet:budget:spot", "fleet:budget:<pool>")
        general = re.sub(r"^fleet:resubscribe:spot", "fleet:resubscribe:<venue>", general)
        general = re.sub(r"(fleet:resubscribe:.*):(?:depth|aggTrade)$", r"\1:<channel>", general)
        general = general.replace("fleet:symbols:spot", "fleet:symbols:<venue>")
        if f"`{general}`" not in page and f"[`{general}`" not in page:
            missing.append(general)
    assert sorted(set(missing)) == []


def test_every_documented_key_is_there():
    heads = {re.split(r"[{<]", key.replace("{S}", "{"))[0] for key in spelled_keys()}
    page = text_of(DOCS / "keys.md")
    rows = re.findall(r"^\| \[?(`[^|]+)\|", page.partition("## LIVE_ORDERBOOK")[0], re.MULTILINE)
    documented = [key for row in rows for key in re.findall(r"`([^`]+)`", row)]
    assert len(documented) >= 20
    for key in documented:
        head = re.split(r"[{<]", key)[0]
        assert head in heads or any(spelled.startswith(head) for spelled in spelled_keys()), key


@pytest.mark.parametrize(
    "fields",
    [
        TopOfBook.__struct_fields__,
        tuple(set(Window.__struct_fields__) - {"closed"}),
        LatestTrade.__struct_fields__,
        tuple(Audit(0, AuditOutcome.MATCH).fields()),
        ("channel", "from", "to", *GapRecord._fields[3:]),
    ],
    ids=["top", "bar", "trade", "audit", "gap"],
)
def test_fields_of_values_are_documented(fields: tuple[str, ...]):
    page = text_of(DOCS / "keys.md")
    assert [field for field in fields if f"`{field}`" not in page and f'"{field}":' not in page] == []


def test_columns_of_the_archive_are_documented():
    page = text_of(DOCS / "how-to" / "archive.md").partition("## Columns")[2]
    missing = [
        f"{kind}.{column.name}"
        for kind in ("trades", "bars", "depth", "raw")
        for column in COLUMNS[kind]
        if column.type not in ("number", "integer") and f"`{column.name}`" not in page
    ]
    assert missing == []


def test_fields_of_the_status_hash_are_documented():
    tree = ast.parse((ROOT / "workers/books/status.py").read_text(encoding="utf-8"))
    status = next(
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "status_fields"
    )
    told = {key.value for node in ast.walk(status) if isinstance(node, ast.Dict) for key in node.keys if key}
    page = text_of(DOCS / "keys.md")
    assert len(told) > 10
    assert [field for field in sorted(told) if f"`{field}`" not in page] == []


def test_every_command_is_documented():
    page = text_of(DOCS / "commands.md")
    assert [name for name in commands() if f"`fleet {name}" not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_pages_exist(page: Path):
    known = commands()
    for call in fleet_calls(page):
        name, *rest = call
        if name == "run":
            assert rest[0] in {*WORKERS, *PROGRAMS}
            continue
        assert name in known, call
        if name == "test":
            continue  # its options are pytest's
        options = {option for parameter in known[name].params for option in parameter.opts}
        used = {word.partition("=")[0] for word in rest if word.startswith("-")}
        assert used <= options | {"--help"}, call


@pytest.mark.parametrize("name", sorted({call[0] for page in PAGES for call in fleet_calls(page)} - {"run"}))
def test_help_of_documented_commands(name: str):
    application._register_others()
    result = CliRunner().invoke(application.app, [name, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_programs_in_pages_are_those_of_supervisord():
    conf = (ROOT / "supervisord.conf").read_text(encoding="utf-8")
    programs = set(re.findall(r"^\[program:(\S+)\]", conf, re.MULTILINE))
    actions = {"start", "stop", "restart", "status", "tail", "pid", "shutdown"}
    for page in PAGES:
        for line in command_lines(page):
            for call in re.findall(r"supervisorctl -c supervisord\.conf ([^|)]*)", line):
                action, *names = shlex.split(call)
                assert action in actions, line
                assert {name.partition(":")[0] for name in names} <= programs | {"all"}, line


def test_paths_of_the_api_are_documented():
    api = Api(
        Process(
            "api",
            Settings(venues={"usdm": BinanceSettings(market="usdm", symbols=["S"])}),
            0,
            "redis://127.0.0.1",
        )
    )
    found = {
        f"{route.method} {route.resource.canonical}"
        for route in api.application.build().router.routes()
        if route.method not in ("HEAD", "OPTIONS") and route.resource is not None
    }
    page = text_of(DOCS / "api.md")
    assert "GET /orderbook" in found
    assert [path for path in sorted(found) if path not in page] == []


def python_of(page: Path) -> list[str]:
    """The Python a page shows; a sample program is all of its file."""
    if page.suffix == ".py":
        return [text_of(page)]
    return re.findall(r"^```python\n(.*?)^```", text_of(page), re.DOTALL | re.MULTILINE)


PROGRAMS_SHOWN = [
    (page, code) for page in [*PAGES, *sorted(DOCS.glob("examples/*.py"))] for code in python_of(page)
]


@pytest.mark.parametrize(("page", "code"), PROGRAMS_SHOWN, ids=[name_of(page) for page, _ in PROGRAMS_SHOWN])
def test_every_name_the_docs_import_is_there(page: Path, code: str) -> None:
    if page.name != "README.md":
        compile(code, str(page), "exec")  # a program, not a part of one
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("workers"):
            module = importlib.import_module(node.module)
            assert not [name.name for name in node.names if not hasattr(module, name.name)], page


def test_every_class_the_pages_of_the_client_name_can_be_imported() -> None:
    client = importlib.import_module("workers.client")
    named = set[str]()
    for page in (DOCS / "client.md", DOCS / "how-to" / "read-from-python.md"):
        inline = re.findall(r"`([A-Z][a-z]\w*)\b", without_code(text_of(page)))
        named |= {name for name in inline if not hasattr(builtins, name) and name != "Decimal"}
    assert {"BookWithheld", "SecondUnknown", "Number"} <= named
    assert not {name for name in named if name not in client.__all__}
