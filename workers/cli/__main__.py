"""`python -m workers.cli`: the same as the `fleet` command."""

from __future__ import annotations

from workers.cli.main import run

run()
