"""The numbered lines of a file that is plain, gzip or zstandard, and what is wrong with it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import zstandard

from workers.errors import RecordingError

CHUNK: Final = 65_536
LONGEST_LINE: Final = 16 * 1024 * 1024
"""Bytes; the largest frame an exchange sends, a full depth snapshot, has about 300 kB."""


class _Compression(NamedTuple):
    name: str
    suffix: str
    magic: bytes
    start: Callable[[], Any]


_COMPRESSIONS: Final = (
    _Compression("gzip", ".gz", b"\x1f\x8b", lambda: zlib.decompressobj(wbits=31)),
    _Compression(
        "zstandard", ".zst", b"\x28\xb5\x2f\xfd", lambda: zstandard.ZstdDecompressor().decompressobj()
    ),
)


class _Unreadable(Exception):
    """The compressed data cannot be taken further."""


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Every line with its number from 1, without its line end; a last line needs none.

    Raises:
        RecordingError: the file cannot be opened, is not what its name says, is cut short or damaged. All
            complete lines before the damage have been given by then.
    """
    number, rest = 0, b""
    try:
        for piece in _pieces(path):
            first, *others = piece.split(b"\n")
            rest += first
            if others:
                number += 1
                yield number, rest
                rest = others.pop()
                for line in others:
                    number += 1
                    yield number, line
            if len(rest) > LONGEST_LINE:
                raise _Unreadable(f"the line is longer than {LONGEST_LINE} bytes")
    except OSError as error:
        problem = f"the file cannot be read: {error.strerror or error}"
        raise RecordingError(str(path), number + 1 if number else 0, problem) from error
    except _Unreadable as error:
        raise RecordingError(str(path), number + 1, str(error)) from error
    if rest:
        yield number + 1, rest


def line_blocks(path: Path, size: int = 1 << 20) -> Iterator[tuple[int, bytes]]:
    """The lines in blocks of about `size` bytes, each whole lines with their ends, and the number of its first line.

    Raises:
        RecordingError: as of `numbered_lines`.
    """
    number, pieces, held = 1, list[bytes](), 0
    try:
        for piece in _pieces(path):
            pieces.append(piece)
            held += len(piece)
            if held < size:
                continue
            block, end, rest = b"".join(pieces).rpartition(b"\n")
            pieces, held = [rest], len(rest)
            if end:
                yield number, block + end
                number += block.count(b"\n") + 1
            elif held > LONGEST_LINE:
                raise _Unreadable(f"the line is longer than {LONGEST_LINE} bytes")
    except OSError as error:
        raise RecordingError(str(path), 0, f"the file cannot be read: {error.strerror or error}") from error
    except _Unreadable as error:
        block, end, _ = b"".join(pieces).rpartition(b"\n")
        if end:
            yield number, block + end
            number += block.count(b"\n") + 1
        raise RecordingError(str(path), number, str(error)) from error
    if held:
        yield number, b"".join(pieces)


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        head = file.read(4)
        if not head:
            return
        file.seek(0)
        for compression in _COMPRESSIONS:
            if head.startswith(compression.magic):
                yield from _inflated(file, compression)
                return
            if path.suffix == compression.suffix:
                raise _Unreadable(f"the name ends in {path.suffix} but this is no {compression.name} data")
        while chunk := file.read(CHUNK):
            yield chunk


def _inflated(file: BinaryIO, compression: _Compression) -> Iterator[bytes]:
    """The data of all members (frames), one after the other."""
    inflater: Any = None
    while data := file.read(CHUNK):
        while data:
            if inflater is None:
                data = data.lstrip(b"\0")  # padding behind the last member
                if not data:
                    break
                inflater = compression.start()
            try:
                inflated = inflater.decompress(data)
            except (zlib.error, zstandard.ZstdError) as error:
                raise _Unreadable(f"the {compression.name} data is damaged from here on: {error}") from error
            if inflated:
                yield inflated
            if not inflater.eof:
                break
            data, inflater = inflater.unused_data, None
    if inflater is not None:
        raise _Unreadable(f"the {compression.name} data is cut short here")
