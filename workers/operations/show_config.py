"""`fleet config`: the settings in force, and where each came from."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from rich.markup import escape

from workers.masking import mask
from workers.settings.loading import load, redis_url
from workers.terminal.exit_codes import EXIT_FINE
from workers.terminal.output import out


def run_config(config: Path | None, *, as_json: bool) -> int:
    """Print every setting; secrets in URLs are masked."""
    effective = load(config, os.environ)
    rows = list(effective.rows())
    rows.append(("(redis in use)", mask(redis_url(effective.settings)), "derived"))
    if as_json:
        settings = {key: {"value": value, "from": origin} for key, value, origin in rows}
        out.write_json({"file": str(effective.file), "settings": settings})
        return EXIT_FINE
    width = max(len(key) for key, _, _ in rows)
    out.print(f"[dim]# {escape(str(effective.file))}[/dim]", soft_wrap=True)
    for key, value, origin in rows:
        shown = f"{key:{width}}  {msgspec.json.encode(value).decode()}"
        out.print(f"{escape(shown)}  [dim]# {escape(origin)}[/dim]", soft_wrap=True, highlight=False)
    return EXIT_FINE
