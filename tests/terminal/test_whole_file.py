"""Files that appear whole, and what may stand where they shall."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from workers.errors import CommandError
from workers.terminal.row_writers import whole_file


def test_a_link_stays_one(tmp_path: Path):
    (tmp_path / "real").mkdir()
    link, target = tmp_path / "link", tmp_path / "real" / "file"
    link.symlink_to(target)
    for text in (b"one", b"other"):
        with whole_file(str(link)) as file:
            file.write(text)
        assert target.read_bytes() == text
    assert link.is_symlink()
    assert [path.name for path in target.parent.iterdir()] == ["file"]


def test_nothing_takes_the_place_of_a_pipe(tmp_path: Path):
    pipe, found = tmp_path / "pipe", list[bytes]()
    os.mkfifo(pipe)
    reading = threading.Thread(target=lambda: found.append(pipe.read_bytes()), daemon=True)
    reading.start()
    with whole_file(str(pipe)) as file:
        file.write(b"rows")
    assert pipe.is_fifo()
    reading.join(60)
    assert found == [b"rows"]


def test_a_folder_is_no_file(tmp_path: Path):
    with pytest.raises(CommandError, match="cannot be written"), whole_file(str(tmp_path)):
        pass
