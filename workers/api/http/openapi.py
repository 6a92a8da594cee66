"""The OpenAPI 3.1 document, made from the operations and their msgspec types."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import msgspec

from workers import __version__
from workers.api.http import types
from workers.api.http.operations import Operation
from workers.api.http.types import Problem
from workers.api.security.access import WITHOUT_TOKEN

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
REFERENCE: Final = "#/components/schemas/{name}"
PROBLEMS: Final = {
    404: "There is no such venue, symbol, second or level",
    401: "There is no token, or one that is not known",
    413: "The body is too large",
    421: "The request is for a server of another name",
    422: "A parameter or the body cannot be used",
    503: "The book is withheld, Redis does not answer, or the answer took too long",
}
TAGS: Final = {
    "books": "Order books as they are now",
    "history": "Order books at any second of the last 24 h",
    "trades": "Trades and their windows",
    "analytics": "What is computed and inferred of books and trades",
    "fleet": "The fleet, its symbols, and what went wrong",
}


def document(operations: Sequence[Operation], *, is_locked: bool = False) -> dict[str, Any]:
    """The whole document; `is_locked`: a token is asked for."""
    kinds: list[Any] = [Problem, *(operation.answer for operation in operations)]
    kinds += [operation.body for operation in operations if operation.body is not None]
    schemas, components = msgspec.json.schema_components(kinds, ref_template=REFERENCE)
    _describe_fields(components)
    schemas, components = _plain_tuples(list(schemas)), _plain_tuples(components)
    schema_of = dict(zip(map(str, kinds), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(
            operation, schema_of, is_locked and operation.path not in WITHOUT_TOKEN
        )
    made: dict[str, Any] = {
        "openapi": "3.1.0",
        "jsonSchemaDialect": DIALECT,
        "info": {
            "title": "marketfleet",
            "version": __version__,
            "summary": "Exact order books and exact trade statistics",
            "description": "What cannot be trusted is withheld, not guessed: a book that is not in sync gives 503.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {"schemas": components},
    }
    if is_locked:
        made["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return made


def _describe_fields(components: dict[str, Any]) -> None:
    """Add what stands under a field in the source of its type: the schema has the docstrings of types only."""
    for node in ast.parse(inspect.getsource(types)).body:
        if not isinstance(node, ast.ClassDef) or node.name not in components:
            continue
        properties = components[node.name]["properties"]
        for field, text in pairwise(node.body):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
            ):
                meaning = " ".join(str(text.value.value).split())
                properties[field.target.id.rstrip("_")].setdefault("description", meaning)


def _plain_tuples(schema: Any) -> Any:
    """The schema with each tuple as an array of fixed length: few tools know `prefixItems`."""
    if isinstance(schema, list):
        return [_plain_tuples(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: _plain_tuples(value) for key, value in schema.items() if key != "prefixItems"}
    if "prefixItems" in schema:
        kinds = [
            kind
            for number, kind in enumerate(schema["prefixItems"])
            if kind not in schema["prefixItems"][:number]
        ]
        plain["items"] = _plain_tuples(kinds[0] if len(kinds) == 1 else {"anyOf": kinds})
    return plain


def _operation(operation: Operation, schema_of: dict[str, Any], is_locked: bool) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": _parameters(operation),
        "responses": _responses(operation, schema_of[str(operation.answer)], schema_of[str(Problem)]),
    }
    if is_locked:
        made["security"] = [{"token": []}]
        made["responses"]["401"] = _problem(401, schema_of[str(Problem)])
    if operation.described:
        made["description"] = operation.described
    if operation.body is not None:
        content = {"application/json": {"schema": schema_of[str(operation.body)]}}
        made["requestBody"] = {"required": True, "content": content}
    return made


def _responses(operation: Operation, answer: Any, problem: Any) -> dict[str, Any]:
    responses: dict[str, Any] = {
        "200": {"description": operation.summary, "content": {operation.content_type: {"schema": answer}}}
    }
    if operation.method == "GET":
        responses["304"] = {"description": "What `If-None-Match` names is still current"}
    for status in sorted({*operation.problems, 421}):
        responses[str(status)] = _problem(status, problem)
    return responses


def _problem(status: int, schema: Any) -> dict[str, Any]:
    return {"description": PROBLEMS[status], "content": {"application/problem+json": {"schema": schema}}}


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    (_,), components = msgspec.json.schema_components([operation.asked])
    described = components[operation.asked.__name__]
    required = described.get("required", [])
    made = []
    for name, schema in described["properties"].items():
        in_path = f"{{{name}}}" in operation.path
        text = schema.pop("description", "")
        parameter = {
            "name": name,
            "in": "path" if in_path else "query",
            "required": in_path or name in required,
            "schema": schema,
        }
        if text:
            parameter["description"] = text
        made.append(parameter)
    return sorted(made, key=lambda parameter: (parameter["in"], not parameter["required"]))
