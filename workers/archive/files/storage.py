"""Where the archive's files are: a local folder, or anything fsspec has a file system for.

A file is written under a name that no reader looks at, then moved. On a local file system the move is one atomic
rename, and file and folder are synced before and after it. On a remote one the move is a copy inside the store and
a deletion: object stores show the copy whole or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Protocol, cast

from workers.errors import ExtraMissing


class Storage(Protocol):
    """A tree of files; paths are relative and have `/` between their parts. Every call may raise OSError."""

    def create(self, path: str) -> BinaryIO:
        """Open a new file for writing, in place of an old one of that name."""

    def sync(self, file: BinaryIO) -> int:
        """Bring everything written to the device and close the file; its length in bytes."""

    def publish(self, incomplete: str, path: str) -> None:
        """Give a whole file its name. Raises FileNotFoundError when somebody removed the incomplete one."""

    def remove(self, path: str) -> None:
        """Remove a file; nothing happens when there is none."""

    def names(self, folder: str) -> list[str]:
        """The names in a folder, sorted; empty when there is none."""

    def exists(self, path: str) -> bool:
        """Whether a file is there."""

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading, with seek."""

    def shown(self, path: str) -> str:
        """A path as people know it."""


class LocalStorage:
    """A folder of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(self, path: str) -> BinaryIO:
        """See `Storage`."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target.open("wb")

    def sync(self, file: BinaryIO) -> int:
        """See `Storage`."""
        file.flush()
        os.fsync(file.fileno())
        length = file.tell()
        file.close()
        return length

    def publish(self, incomplete: str, path: str) -> None:
        """See `Storage`."""
        target = self.root / path
        for folder in self._make(target.parent):
            _sync_folder(folder)
        os.rename(self.root / incomplete, target)
        _sync_folder(target.parent)

    def _make(self, folder: Path) -> Iterator[Path]:
        """Make a folder with those above it; what holds a new one is to be synced."""
        missing = []
        while not folder.exists():
            missing.append(folder)
            folder = folder.parent
        for made in reversed(missing):
            made.mkdir(exist_ok=True)
            yield made.parent

    def remove(self, path: str) -> None:
        """See `Storage`."""
        (self.root / path).unlink(missing_ok=True)

    def names(self, folder: str) -> list[str]:
        """See `Storage`."""
        try:
            return sorted(os.listdir(self.root / folder))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def exists(self, path: str) -> bool:
        """See `Storage`."""
        return (self.root / path).is_file()

    def open(self, path: str) -> BinaryIO:
        """See `Storage`."""
        return (self.root / path).open("rb")

    def shown(self, path: str) -> str:
        """See `Storage`."""
        return str(self.root / path)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class RemoteStorage:
    """An fsspec file system.

    Args:
        url: such as `s3://bucket/archive`; credentials and endpoints are the file system's own affair.
    """

    def __init__(self, url: str) -> None:
        if find_spec("fsspec") is None:
            raise ExtraMissing(f"An archive at {url} would", "fsspec", "archive")
        import fsspec  # noqa: PLC0415 -- an extra: everything else must run without it

        self._url = url.rstrip("/")
        try:
            self._files, self._root = fsspec.core.url_to_fs(self._url)
        except (ImportError, ValueError) as error:
            raise OSError(f"{url} cannot be used: {error}") from error

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}"

    def create(self, path: str) -> BinaryIO:
        """See `Storage`."""
        with as_os_error():
            with suppress(NotImplementedError):
                self._files.makedirs(str(PurePosixPath(self._path(path)).parent), exist_ok=True)
            return cast(BinaryIO, self._files.open(self._path(path), "wb"))

    def sync(self, file: BinaryIO) -> int:
        """See `Storage`; a remote file is whole once it is closed."""
        with as_os_error():
            length = file.tell()
            file.close()
            return length

    def publish(self, incomplete: str, path: str) -> None:
        """See `Storage`."""
        with as_os_error():
            with suppress(NotImplementedError):
                self._files.makedirs(str(PurePosixPath(self._path(path)).parent), exist_ok=True)
            self._files.mv(self._path(incomplete), self._path(path))
            self._files.invalidate_cache()

    def remove(self, path: str) -> None:
        """See `Storage`."""
        with as_os_error(), suppress(FileNotFoundError):
            self._files.rm_file(self._path(path))

    def names(self, folder: str) -> list[str]:
        """See `Storage`."""
        with as_os_error():
            self._files.invalidate_cache()
            try:
                found: list[Any] = self._files.ls(self._path(folder), detail=False)
            except (FileNotFoundError, NotADirectoryError):
                return []
        return sorted(str(name).rstrip("/").rpartition("/")[2] for name in found)

    def exists(self, path: str) -> bool:
        """See `Storage`."""
        with as_os_error():
            self._files.invalidate_cache()
            return bool(self._files.exists(self._path(path)))

    def open(self, path: str) -> BinaryIO:
        """See `Storage`."""
        with as_os_error():
            return cast(BinaryIO, self._files.open(self._path(path), "rb"))

    def shown(self, path: str) -> str:
        """See `Storage`."""
        return f"{self._url}/{path}"


@contextmanager
def as_os_error() -> Iterator[None]:
    """File systems raise errors of their own libraries; here they are all OSError."""
    try:
        yield
    except (OSError, NotImplementedError):
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


def storage_of(url: str, home: Path) -> Storage:
    """The storage of `archive.url`; a path without a scheme is relative to the run directory.

    Raises:
        ExtraMissing: it needs fsspec, which is not installed.
        OSError: fsspec has no such file system.
    """
    if url.startswith("file://"):
        return LocalStorage(Path(url.removeprefix("file://")))
    if "://" in url:
        return RemoteStorage(url)
    return LocalStorage(home / Path(url).expanduser())
