"""Which part of a question cannot be used, and what it may be: told by its own name and type."""

from __future__ import annotations

import msgspec
import pytest

from workers.api.http.queries import BarsQuery, BookQuery, parse_body, parse_message, parse_query
from workers.api.http.types import QuantityRequest
from workers.api.live.websocket import REQUESTS, Subscribe
from workers.errors import BadInput

decode = msgspec.json.Decoder(Subscribe).decode


@pytest.mark.parametrize(
    ("query", "where", "detail"),
    [
        ({"depth": "x"}, "query.depth", "Expected `int`, got `str`"),
        ({"depth": "0"}, "query.depth", "Expected `int` >= 1"),
        ({"depth": "5", "levels": "5"}, "query.levels", "Object contains unknown field `levels`"),
        ({"a`b": "5"}, "query.a`b", "Object contains unknown field `a`b`"),
        ({"symbol": ""}, "query.symbol", "Expected `str` of length >= 1"),
    ],
)
def test_of_a_query(query: dict[str, str], where: str, detail: str):
    with pytest.raises(BadInput) as refused:
        parse_query(query.items(), {}, BookQuery)
    assert refused.value.where == where
    assert refused.value.detail.startswith(detail)


def test_of_a_path():
    with pytest.raises(BadInput) as refused:
        parse_query([], {"interval": "2m"}, BarsQuery)
    assert refused.value.where == "path.interval"
    assert refused.value.detail.startswith("Expected one of 100ms, 1m, 5m, 15m, 1h, 4h, 1d;")


@pytest.mark.parametrize(
    ("body", "where", "detail"),
    [
        (b'{"price":"-1"}', "body.price", "Expected a plain decimal above zero"),
        (b'{"price":-1}', "body.price", "Expected `float` >= "),
        (b"{}", "body.price", "Object missing required field `price`"),
        (b"[]", "body", "Expected `object`, got `array`"),
        (b"{", "body", "Input data was truncated"),
        (b"[" * 60_000, "body", "Expected `object`, got `array`"),
        (b'{"price":' + b"1" * 5_000 + b"}", "body", "Number out of range"),
        (b'{"depth":1,', "body", "Object contains unknown field `depth`"),
        (b'{"depth":"\xff"}', "body", "Object contains unknown field `depth`"),
    ],
)
def test_of_a_body(body: bytes, where: str, detail: str):
    with pytest.raises(BadInput) as refused:
        parse_body(body, QuantityRequest)
    assert refused.value.where == where
    assert refused.value.detail.startswith(detail)


@pytest.mark.parametrize(
    ("message", "where", "detail"),
    [
        ('{"op":"dance"}', "message.op", "Expected one of subscribe, unsubscribe, ping;"),
        ('{"op":["ping"]}', "message.op", "Expected one of subscribe, unsubscribe, ping;"),
        ("{}", "message.op", "Expected one of subscribe, unsubscribe, ping;"),
        (
            '{"op":"subscribe","channel":"x","symbols":["S"]}',
            "message.channel",
            "Expected one of book, trades,",
        ),
        ('{"op":"subscribe","channel":"book"}', "message.symbols", "Object missing required field `symbols`"),
        ('{"op":"subscribe","channel":"book","symbols":[1]}', "message.symbols", "Expected `str`, got `int`"),
        ("[]", "message", "Expected `object`, got `array`"),
        (b"\xff", "message", "JSON is malformed"),
        (b"[" * 60_000, "message", "Expected `object`, got `array`"),
        (b'{"x":' + b"[" * 60_000, "message", "Object contains unknown field `x`"),
        (b'{"op":"subscribe","x":1,', "message", "Object contains unknown field `x`"),
        (b'{"op":"subscribe","depth":' + b"1" * 5_000 + b"}", "message", "Integer value out of range"),
    ],
)
def test_of_a_message(message: str | bytes, where: str, detail: str):
    with pytest.raises(BadInput) as refused:
        parse_message(message, REQUESTS, decode)
    assert refused.value.where == where
    assert refused.value.detail.startswith(detail)
