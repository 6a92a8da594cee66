"""JSON with rubbish at one place or two, as hypothesis draws it: what a decoder must refuse or bear."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from hypothesis import strategies as st

from workers.errors import MalformedFrame
from workers.venues.interface import Venue
from workers.venues.messages import Message
from workers.venues.session import Accepted, Event, RefusedStreams

MARK = "a place of rubbish"
RUBBISH = st.sampled_from(
    [b"null", b"true", b"0", b"-1", b"1.5", b"1e400", b"-0.0", b"9" * 400, b"9" * 5000, b"18446744073709551616",
     b"9007199254740993",
     b"9223372036854775808", b'""', b'"x"', b'"NaN"', b'"-1"', b'"1.5"', b'"\\ud800"', b'"\xff\xfe"', b'"\\u0000"',
     b'"' + b"9" * 5000 + b'"', b'"1e999"', b"[]", b"[null]", b'[["1"]]', b'[["1","2","3","4"]]', b"{}",
     b'{"a":{"b":[null]}}', b"[" * 2000 + b"]" * 2000, b"", b"NaN", "\"\u0661\u0662\"".encode()]
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a value, the whole first."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in inside for place in places(child, (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...]) -> Any:
    """The value with the mark at a place."""
    if not path:
        return MARK
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:])
    return copy


@st.composite
def spoiled(draw: st.DrawFn, value: Any) -> bytes:
    """A value as JSON with rubbish in it."""
    text = json.dumps(value).encode()
    for _ in range(draw(st.integers(1, 2))):
        try:
            known = json.loads(text)
        except (ValueError, RecursionError):
            break
        text = json.dumps(replaced(known, draw(st.sampled_from(places(known))))).encode()
        text = text.replace(json.dumps(MARK).encode(), draw(RUBBISH))
    return text


@st.composite
def cut_up(draw: st.DrawFn, frame: bytes) -> bytes:
    """A frame cut short, doubled, or with a byte changed."""
    kind, place = draw(st.integers(0, 2)), draw(st.integers(0, max(0, len(frame) - 1)))
    if kind == 0:
        return frame[:place]
    if kind == 1:
        return frame + frame[place:]
    return frame[:place] + bytes([draw(st.integers(0, 255))]) + frame[place + 1 :]


def decode(venue: Venue, events: Callable[[], Iterable[Event]]) -> None:
    """Decode what a session makes of a frame: a MalformedFrame or nothing, and no word of no stream."""
    try:
        for event in events():
            if isinstance(event, Message):
                if event.channel == "depth":
                    venue.depth(event.data, event.symbol, event.kind)
                else:
                    venue.trade(event.data, event.symbol)
            assert not (isinstance(event, RefusedStreams | Accepted) and not event.streams)
    except MalformedFrame as error:
        str(error).encode()
