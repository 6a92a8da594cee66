"""Scripts are joined of their parts when they are loaded; what cannot be joined is told with its place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from workers.errors import ScriptUnreadable
from workers.settings.paths import data_folder
from workers.store.scripts import joined, source

LUA = Path(data_folder()) / "lua"


def scripts(folder: Path, texts: Mapping[str, str]) -> Path:
    (folder / "include").mkdir()
    for name, text in texts.items():
        (folder / f"{name}.lua").write_text(text, encoding="utf-8")
    return folder


def test_a_part_stands_where_its_line_was(tmp_path: Path) -> None:
    folder = scripts(
        tmp_path,
        {
            "whole": "-- what it does\nlocal a = 1\n-- include: sums\n-- include: bars\nreturn b  -- include: no\n",
            "include/sums": "local b = a\n",
            "include/bars": "-- nothing\n",
        },
    )
    assert joined(folder, "whole") == (
        "-- what it does\nlocal a = 1\nlocal b = a\n-- nothing\nreturn b  -- include: no\n"
    )


@pytest.mark.parametrize(
    ("whole", "said"),
    [
        ("\n-- include: absent\n", "lua/whole.lua, line 2: there is no lua/include/absent.lua to include."),
        ("-- include: a\n-- include: a\n", "lua/whole.lua, line 2: 'a' is included twice."),
        ("-- include: b\n", "lua/include/b.lua, line 3: a part includes nothing."),
    ],
)
def test_what_cannot_be_joined_is_told_with_its_place(tmp_path: Path, whole: str, said: str) -> None:
    folder = scripts(tmp_path, {"whole": whole, "include/a": "local a\n", "include/b": "\n\n-- include: a\n"})
    with pytest.raises(ScriptUnreadable) as raised:
        joined(folder, "whole")
    assert str(raised.value) == said


def test_every_script_can_be_joined_and_every_part_is_used() -> None:
    paths = [path.relative_to(LUA) for path in LUA.rglob("*.lua") if path.parent.name != "include"]
    whole = "".join(source(str(path.with_suffix(""))) for path in paths)
    assert len(paths) > 10
    assert "-- include:" not in whole
    parts = list((LUA / "include").glob("*.lua"))
    assert parts
    for part in parts:
        assert part.read_text(encoding="utf-8") in whole
