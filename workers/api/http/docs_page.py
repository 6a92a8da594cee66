"""`/docs`: the OpenAPI document as a page for people, without a line of script."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --link: #0b62c4; }
@media (prefers-color-scheme: dark) { :root { --link: #7db7ff; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
a { color: var(--link); }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
h3 { margin-top: 2rem; font-family: ui-monospace, monospace; font-size: 1.05rem; overflow-wrap: anywhere; }
h3 b { display: inline-block; min-width: 3.2rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1rem; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--soft); }
code { font-family: ui-monospace, monospace; font-size: .92em; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
"""


def page(document: Mapping[str, Any]) -> str:
    """The page."""
    info = document["info"]
    body = [f"<h1>{escape(info['title'])} API</h1>", f"<p>{_text(info['description'])}</p>"]
    body.append(
        "<p>Made from <a href='/openapi.json'>/openapi.json</a>. Prices and quantities are text with the exchange's "
        "own digits; <code>numbers=1</code> gives JSON numbers. Times are seconds or, from 1e11 on, milliseconds. "
        "Live data: WebSocket at <code>/ws</code>, Server-Sent Events at <code>/sse</code>.</p>"
    )
    body += _contents(document)
    for tag in document["tags"]:
        body.append(f"<h2 id='{escape(tag['name'])}'>{escape(tag['description'])}</h2>")
        for path, method, operation in _operations(document):
            if tag["name"] in operation["tags"]:
                body += _operation(path, method, operation)
    body.append("<h2 id='types'>Types</h2>")
    for name, schema in sorted(document["components"]["schemas"].items()):
        body += _schema(name, schema)
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(info['title'])} API</title><style>{STYLE}</style></head><body><main>"
        + "\n".join(body)
        + "</main></body></html>"
    )


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


def _contents(document: Mapping[str, Any]) -> list[str]:
    rows = [
        f"<tr><td><a href='#{escape(operation['operationId'])}'><code>{method} {escape(path)}</code></a></td>"
        f"<td>{_text(operation['summary'])}</td></tr>"
        for path, method, operation in _operations(document)
    ]
    return ["<nav aria-label='Operations'><table>", *rows, "</table></nav>"]


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> list[str]:
    made = [
        f"<h3 id='{escape(operation['operationId'])}'><b>{method}</b> {escape(path)}</h3>",
        f"<p>{_text(operation['summary'])}. {_text(operation.get('description', ''))}</p>",
    ]
    if operation["parameters"]:
        made.append("<div class='scroll'><table><tr><th>parameter</th><th>in</th><th>type</th><th></th></tr>")
        for parameter in operation["parameters"]:
            needed = "" if parameter["required"] else " <small>(optional)</small>"
            made.append(
                f"<tr><td><code>{escape(parameter['name'])}</code>{needed}</td><td>{parameter['in']}</td>"
                f"<td>{kind(parameter['schema'])}</td><td>{_text(parameter.get('description', ''))}</td></tr>"
            )
        made.append("</table></div>")
    if "requestBody" in operation:
        (content,) = operation["requestBody"]["content"].values()
        made.append(f"<p>Body: {kind(content['schema'])}</p>")
    made.append("<div class='scroll'><table><tr><th>status</th><th>when</th><th>answer</th></tr>")
    for status, response in operation["responses"].items():
        kinds = " ".join(kind(content["schema"]) for content in response.get("content", {}).values())
        made.append(f"<tr><td>{status}</td><td>{_text(response['description'])}</td><td>{kinds}</td></tr>")
    made.append("</table></div>")
    return made


def _schema(name: str, schema: Mapping[str, Any]) -> list[str]:
    made = [
        f"<h3 id='type-{escape(name)}'>{escape(name)}</h3>",
        f"<p>{_text(schema.get('description', ''))}</p>",
    ]
    if schema.get("properties"):
        made.append("<div class='scroll'><table><tr><th>field</th><th>type</th><th></th></tr>")
        for field, kept in schema["properties"].items():
            optional = "" if field in schema.get("required", ()) else " <small>(optional)</small>"
            made.append(
                f"<tr><td><code>{escape(field)}</code>{optional}</td><td>{kind(kept)}</td>"
                f"<td>{_text(kept.get('description', ''))}</td></tr>"
            )
        made.append("</table></div>")
    return made


def kind(schema: Mapping[str, Any]) -> str:
    """A schema in a few words, as HTML."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"<a href='#type-{escape(name)}'>{escape(name)}</a>"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(kind(option) for option in schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if schema.get("type") == "array":
        inner = kind(schema["items"]) if schema.get("items") else "anything"
        if schema.get("minItems") and schema["minItems"] == schema.get("maxItems"):
            return f"{schema['minItems']} of {inner}"
        return f"list of {inner}"
    if schema.get("type") == "object":
        values = schema.get("additionalProperties")
        return f"object of {kind(values)}" if isinstance(values, dict) and values else "object"
    text = escape(str(schema.get("type", "anything")))
    limits = [
        f"{word} {schema[key]:g}"
        for key, word in (("minimum", "from"), ("exclusiveMinimum", "above"), ("maximum", "to"))
        if key in schema
    ]
    if "default" in schema:
        limits.append(f"default {escape(str(schema['default']).lower())}")
    return f"{text} <small>({', '.join(limits)})</small>" if limits else text


def _text(text: str) -> str:
    """Plain text with `code` in backquotes, as HTML."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
