"""Scripts are joined of their parts when they are loaded; what cannot be joined is told with its place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from workers.errors import ScriptUnreadable
from workers.settings.paths import data_folder
from workers.store.scripts import CALLS_AT_ONCE, MOST_TRIPS, Scripts, joined, source

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


@pytest.mark.parametrize("number", [0, 1, CALLS_AT_ONCE, CALLS_AT_ONCE + 1, 200, 203])
async def test_many_calls_go_a_few_at_a_time_so_that_others_are_answered_between(
    client: Redis, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr("workers.store.scripts.source", lambda _: "return {KEYS[1], ARGV[1]}")
    together: list[int] = []
    pipeline = client.pipeline

    def counted(*, transaction: bool) -> Any:
        together.append(0)
        made: Any = pipeline(transaction=transaction)
        execute = made.execute_command

        def added(*command: Any) -> Any:
            together[-1] += 1
            return execute(*command)

        made.execute_command = added
        return made

    monkeypatch.setattr(client, "pipeline", counted)
    calls = [([f"k{place}"], [place]) for place in range(number)]
    replies = await Scripts(client).run_many("echo", calls)
    assert replies == [[b"k%d" % place, b"%d" % place] for place in range(number)]
    assert sum(together) == number
    assert len(together) <= MOST_TRIPS
    assert max(together, default=0) <= max(CALLS_AT_ONCE, -(-number // MOST_TRIPS))
