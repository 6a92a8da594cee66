"""What the tests of whole fleets share: a copy of the checkout, an environment that configures nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", "var", "dist", "build", "__pycache__", ".*_cache", ".hypothesis"
)


def plain_environment(**changes: str) -> dict[str, str]:
    """Our environment without anything that configures a fleet."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLEET_")}
    kept.pop("REDIS_URL", None)
    return {**kept, **changes}


def copy_checkout(target: Path) -> Path:
    """The checkout as a fresh clone would be."""
    shutil.copytree(CHECKOUT, target, ignore=NOT_COPIED, symlinks=True)
    return target
