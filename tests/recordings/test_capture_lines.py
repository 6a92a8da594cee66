"""Numbered lines of plain and compressed files, and of damaged ones."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import zstandard

from workers.errors import RecordingError
from workers.recordings.lines import CHUNK, numbered_lines

TEXT = b"one\ntwo\n\nfour\n"
LINES = [(1, b"one"), (2, b"two"), (3, b""), (4, b"four")]


def lines_before_error(path: Path) -> tuple[list[tuple[int, bytes]], RecordingError]:
    found = []
    try:
        for numbered in numbered_lines(path):
            found.append(numbered)  # noqa: PERF402 -- what came before the error counts
    except RecordingError as error:
        return found, error
    pytest.fail(f"{path} was read without an error")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        pytest.param("a", TEXT, id="plain"),
        pytest.param("a.gz", gzip.compress(TEXT), id="a.gz"),
        pytest.param("a.zst", zstandard.compress(TEXT), id="a.zst"),
        pytest.param("by content", gzip.compress(TEXT), id="by content"),
        pytest.param(
            "two members.gz",
            gzip.compress(TEXT[:5]) + gzip.compress(TEXT[5:]) + b"\0\0\0",
            id="two members.gz",
        ),
        pytest.param(
            "two frames.zst", zstandard.compress(TEXT[:5]) + zstandard.compress(TEXT[5:]), id="two frames.zst"
        ),
        pytest.param("no last newline", TEXT[:-1], id="no last newline"),
    ],
)
def test_every_kind_of_file_gives_the_same_lines(tmp_path: Path, name: str, data: bytes):
    (tmp_path / name).write_bytes(data)
    assert list(numbered_lines(tmp_path / name)) == LINES


def test_lines_longer_than_a_chunk_stay_whole(tmp_path: Path):
    rows = [b"x" * (CHUNK * 2 + 17), b"", b"y" * CHUNK, b"z"]
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"\n".join(rows)))
    assert [line for _, line in numbered_lines(tmp_path / "a.gz")] == rows


def test_an_empty_file_has_no_lines(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"")
    assert list(numbered_lines(tmp_path / "a")) == []


@pytest.mark.parametrize(("suffix", "compress"), [(".gz", gzip.compress), (".zst", zstandard.compress)])
def test_a_file_cut_short_gives_what_it_has_and_names_the_line(tmp_path: Path, suffix: str, compress):
    rows = b"".join(b"%d %s\n" % (number, str(hash(str(number))).encode()) for number in range(20_000))
    path = tmp_path / f"a{suffix}"
    whole = compress(rows)
    path.write_bytes(whole[: len(whole) * 2 // 3])
    found, error = lines_before_error(path)
    assert 0 < len(found) < 20_000
    assert found[-1][1].startswith(b"%d " % (len(found) - 1))
    assert error.path == str(path)
    assert error.line == len(found) + 1
    assert "cut short" in error.problem


def test_damaged_compressed_data_names_the_line(tmp_path: Path):
    rows = b"".join(b"%d\n" % number for number in range(100_000))
    whole = bytearray(gzip.compress(rows))
    whole[len(whole) // 2] ^= 0xFF
    (tmp_path / "a.gz").write_bytes(whole)
    found, error = lines_before_error(tmp_path / "a.gz")
    assert error.line == len(found) + 1
    assert "damaged" in error.problem


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_name_that_lies_is_refused(tmp_path: Path, suffix: str):
    (tmp_path / f"a{suffix}").write_bytes(TEXT)
    found, error = lines_before_error(tmp_path / f"a{suffix}")
    assert (found, error.line) == ([], 1)
    assert suffix in error.problem


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    _, error = lines_before_error(tmp_path / "nothing.gz")
    assert "cannot be read" in error.problem
    assert "nothing.gz" in str(error)


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("workers.recordings.lines.LONGEST_LINE", 100_000)
    (tmp_path / "a").write_bytes(b"first\n" + b"x" * 300_000)
    found, error = lines_before_error(tmp_path / "a")
    assert found == [(1, b"first")]
    assert (error.line, "longer than" in error.problem) == (2, True)
