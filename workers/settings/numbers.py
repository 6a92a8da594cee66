"""The numbers that settings are, with their bounds: a value outside is refused when the settings are loaded."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

LARGEST: Final = 2**53
"""Lua and JSON know no larger whole number; as ms some 285,000 years."""

Count = Annotated[int, Meta(ge=1, le=LARGEST)]
Milliseconds = Annotated[int, Meta(ge=0, le=LARGEST)]
Number = Annotated[int, Meta(ge=0, le=LARGEST)]
"""Of what there may be none, or where 0 says something else."""
Port = Annotated[int, Meta(ge=0, le=65535)]
Seconds = Annotated[float, Meta(ge=0)]
