"""Rows as CSV, Parquet or Arrow, into a file that appears whole or not at all, or to standard output."""

from __future__ import annotations

import csv
import gzip
import io
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import zstandard

from workers.archive.files.layout import Source
from workers.archive.files.parquet import ExportWriter
from workers.archive.files.rows import COLUMNS, Values
from workers.archive.files.transfer import is_url, put
from workers.errors import CommandError

STDOUT = "-"


class RowWriter(Protocol):
    """Takes rows of one stream."""

    def rows(self, rows: Sequence[Values]) -> None:
        """Write rows."""

    def close(self) -> None:
        """Write the end."""


class CsvWriter:
    """Comma-separated UTF-8 with a header; times in ms (`received` in µs), nothing for null, `true` and `false`."""

    def __init__(self, file: BinaryIO, source: Source) -> None:
        self._text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
        self._writer = csv.writer(self._text, lineterminator="\n")
        self._named = [source.symbol, *(value for _, value in source.within)]
        columns = COLUMNS[source.kind]
        self._special = [place for place, column in enumerate(columns) if column.type in ("flag", "bytes")]
        names = ["symbol", *(name for name, _ in source.within)]
        self._writer.writerow([*names, *(column.name for column in columns)])

    def rows(self, rows: Sequence[Values]) -> None:
        """See `RowWriter`."""
        self._writer.writerows(self._line(row) for row in rows)

    def _line(self, row: Values) -> list[Any]:
        line = list(row)
        for place in self._special:
            value = line[place]
            if isinstance(value, bytes):
                line[place] = value.decode(errors="backslashreplace")
            elif value is not None:
                line[place] = "true" if value else "false"
        return self._named + line

    def close(self) -> None:
        """See `RowWriter`."""
        self._text.flush()
        self._text.detach()


@contextmanager
def row_writer(output: str, form: str, source: Source) -> Iterator[RowWriter]:
    """A writer of a format (`csv`, `parquet`, `arrow`) into a file or to standard output (`-`); CSV may be compressed.

    Raises:
        CommandError: the file cannot be written.
        ExtraMissing: Parquet or Arrow is wanted and pyarrow is not installed.
    """
    try:
        if output == STDOUT:
            with _standard_output(form) as file:
                yield from _writing(file, form, source)
            return
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CommandError(f"{output} cannot be written: {error}.") from error
    with whole_file(output) as file, compressed(file, output if form == "csv" else "") as stream:
        yield from _writing(stream, form, source)


@contextmanager
def compressed(file: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """What is to be written to, so that a file of this name (`….gz`, `….zst`) holds it; `file` is left open."""
    if name.endswith(".gz"):
        with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6, mtime=0, filename="") as packed:
            yield cast(BinaryIO, packed)
    elif name.endswith(".zst"):
        with zstandard.ZstdCompressor(level=6).stream_writer(file, closefd=False) as stream:
            yield cast(BinaryIO, stream)
    else:
        yield file


@contextmanager
def whole_file(output: str) -> Iterator[BinaryIO]:
    """A file that appears whole or not at all; `output` may be a URL that fsspec knows, a link, a pipe or a device.

    Raises:
        CommandError: it cannot be written.
        ExtraMissing: it is a URL, and fsspec is not installed.
    """
    path = Path(output)
    try:
        if is_url(output):
            with tempfile.NamedTemporaryFile(prefix="fleet-") as copy:
                yield cast(BinaryIO, copy)
                copy.flush()
                put(copy.name, output)
            return
        if path.exists() and not path.is_file():  # nothing may take the place of a pipe or of /dev/null
            with path.open("wb") as special:
                yield special
            return
        path = path.resolve()
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as part:
            try:
                yield cast(BinaryIO, part)
                part.flush()
                os.fchmod(part.fileno(), 0o666 & ~_umask())
                os.replace(part.name, path)
            except BaseException:
                os.unlink(part.name)
                raise
    except OSError as error:
        raise CommandError(f"{output} cannot be written: {error}.") from error


def _writing(file: BinaryIO, form: str, source: Source) -> Iterator[RowWriter]:
    writer: RowWriter = CsvWriter(file, source) if form == "csv" else ExportWriter(file, source, form)
    try:
        yield writer
    finally:
        writer.close()  # also after an error: what is left open would close standard output


@contextmanager
def _standard_output(form: str) -> Iterator[BinaryIO]:
    if form == "csv":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if sys.stdout.isatty():
        raise CommandError("Parquet is not for a terminal: name a file with -o.")
    # A Parquet writer wants to know where it stands, which a pipe does not tell.
    with tempfile.TemporaryFile() as part:
        yield cast(BinaryIO, part)
        part.seek(0)
        while chunk := part.read(1 << 20):
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
