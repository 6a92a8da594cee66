"""What is wrong with a question: which of its fields cannot be used, and what it may be.

msgspec tells that in sentences for people, which another version may word otherwise. So a question that it refused is
converted once more field by field: the first that fails is the one at fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple, get_args, get_origin

import msgspec
from msgspec import Struct

from workers.api.http.types import PriceText
from workers.errors import BadInput


class Fault(NamedTuple):
    """A field that cannot be used, and why; no name: the question as a whole."""

    name: str
    problem: str

    def refusal(self, place: str) -> BadInput:
        """What to answer; `place` is where the field stands (`query`, `path`, `body`, `message`)."""
        where = f"{place}.{self.name}" if self.name else place
        return BadInput("A parameter cannot be used", f"{self.problem}; GET /docs says what it may be", where)


def fault_of(values: Any, kind: type[Struct], error: msgspec.ValidationError, *, strict: bool) -> Fault:
    """Why values could not be converted to a struct.

    Args:
        values: what JSON or a query gave.
        error: what msgspec said of the whole.
        strict: numbers must not be text.
    """
    if not isinstance(values, Mapping):
        return Fault("", str(error))
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name, value in values.items():
        if name in fields:
            if problem := _problem(value, fields[name].type, strict=strict):
                return Fault(name, problem)
        elif name != kind.__struct_config__.tag_field:
            return Fault(name, f"Object contains unknown field `{name}`")
    for name, field in fields.items():
        if field.required and name not in values:
            return Fault(name, f"Object missing required field `{name}`")
    return Fault("", str(error))


def _problem(value: Any, annotation: Any, *, strict: bool) -> str:
    """Why a value is not of a type; empty: it is."""
    try:
        msgspec.convert(value, annotation, strict=strict)
    except msgspec.ValidationError as error:
        if not isinstance(value, str):
            return str(error)
        if annotation == PriceText or PriceText in get_args(annotation):
            return "Expected a plain decimal above zero, of at most 15 significant digits"
        choices = list(_choices(annotation))
        return f"Expected one of {', '.join(choices)}" if choices else str(error)
    return ""


def _choices(annotation: Any) -> Iterator[str]:
    """The values a field may have, where it is one of a few; the empty one left out."""
    if get_origin(annotation) is Literal:
        yield from filter(None, get_args(annotation))
        return
    for part in get_args(annotation):
        yield from _choices(part)
