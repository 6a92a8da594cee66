"""A folder for archives where syncing is quick."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")


@pytest.fixture
def archive_folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="fleet-archive-", dir=MEMORY if MEMORY.is_dir() else None))
    yield made
    shutil.rmtree(made, ignore_errors=True)
