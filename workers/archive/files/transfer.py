"""Files at URLs that fsspec knows (`s3://`, `gs://`, `https://` …), brought here to be read and taken there when whole.

They are copied and not read where they are (docs/decisions/files-at-urls.md). Credentials and endpoints are the file
system's own affair.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from workers.archive.files.storage import as_os_error
from workers.errors import ExtraMissing

_PIECE: Final = 1 << 20
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def is_url(name: str) -> bool:
    """Whether a name is that of a file elsewhere."""
    return bool(_URL.match(name))


@contextmanager
def fetched(url: str) -> Iterator[Path]:
    """A copy of a file, in folders named like its own, which is removed in the end.

    Raises:
        ExtraMissing: fsspec is not installed.
        OSError: it cannot be read.
    """
    files, place = _files(url)
    with tempfile.TemporaryDirectory(prefix="fleet-") as folder:
        names = [unquote(name) for name in urlsplit(url).path.split("/") if name not in ("", ".", "..")]
        path = Path(folder, *(name.replace("/", "_") for name in names or ["file"]))
        path.parent.mkdir(parents=True, exist_ok=True)
        with as_os_error(), files.open(place, "rb") as source, path.open("wb") as copy:
            shutil.copyfileobj(source, copy, _PIECE)
        yield path


def put(path: str, url: str) -> None:
    """Take a whole file to where a URL says. Raises: ExtraMissing, OSError."""
    files, place = _files(url)
    with as_os_error():
        files.put_file(path, place)


def _files(url: str) -> tuple[Any, str]:
    if find_spec("fsspec") is None:
        raise ExtraMissing(f"Files at {url}", "fsspec", "archive")
    import fsspec  # noqa: PLC0415 -- an extra: everything else must run without it

    try:
        files, place = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise OSError(f"{url} cannot be used: {error}") from error
    return files, str(place)
