"""What `lua/log/append.lua` is called with: entries by stream, those first that have only to be appended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from workers.store.scripts import Argument

Place = tuple[int, int]
"""Of an entry in its stream: ms and update id."""
_TRIMS: Final = 100
"""A stream is trimmed so often in its retention; as in the script."""


class Entry(Protocol):
    """An exchange message on its way into a stream."""

    @property
    def key(self) -> str: ...
    @property
    def event_ms(self) -> int: ...
    @property
    def update_id(self) -> int: ...
    @property
    def data(self) -> bytes: ...
    @property
    def received_us(self) -> int: ...
    @property
    def line(self) -> str: ...
    @property
    def kind(self) -> str: ...


class Call(NamedTuple):
    """Keys and arguments of a call."""

    newest: dict[str, Entry]
    """By stream, in the order of KEYS, the last of its entries."""
    arguments: list[Argument]


def call_of(
    entries: Sequence[Entry],
    retention_ms: Mapping[str, int],
    last: Mapping[str, Place],
    id_reset_ms: int,
) -> Call:
    """The call that appends entries.

    Args:
        last: of streams of which that is known, what was appended last.
    """
    by_key: dict[str, list[Entry]] = {}
    for entry in entries:
        if (of_key := by_key.get(entry.key)) is None:
            by_key[entry.key] = [entry]
        else:
            of_key.append(entry)
    plain = {key: of_key for key, of_key in by_key.items() if key in last and _follow(last[key], of_key)}
    others = {key: of_key for key, of_key in by_key.items() if key not in plain}
    arguments: list[Argument] = [id_reset_ms, len(plain)]
    for key, of_key in plain.items():
        last_ms, kept_ms = last[key][0], retention_ms[key]
        trims = _part(last_ms, kept_ms) != _part(of_key[-1].event_ms, kept_ms)
        arguments += (kept_ms if trims else "", _text(last[key]), len(of_key), of_key[0].line)
    for key, of_key in others.items():
        arguments += (retention_ms[key], _text(last[key]) if key in last else "", len(of_key), "")
    for of_key in plain.values():
        for entry in of_key:
            arguments += (f"{entry.event_ms}-{entry.update_id}", entry.received_us, entry.data)
    for of_key in others.values():
        for entry in of_key:
            kind = "" if entry.kind == "update" else entry.kind
            place = f"{entry.event_ms}-{entry.update_id}"
            arguments += (place, entry.received_us, entry.line, kind, entry.data)
    return Call({key: of_key[-1] for key, of_key in (plain | others).items()}, arguments)


def _follow(last: Place, entries: Sequence[Entry]) -> bool:
    """Whether entries are updates of one line, each of which comes after the one before."""
    last_ms, last_id = last
    line = entries[0].line
    for entry in entries:
        if (
            entry.kind != "update"
            or entry.line != line
            or entry.update_id <= last_id
            or entry.event_ms < last_ms
        ):
            return False
        last_ms, last_id = entry.event_ms, entry.update_id
    return bool(line)


def _part(ms: int, retention_ms: int) -> int:
    return ms // -(-retention_ms // _TRIMS) if retention_ms > 0 else 0


def _text(place: Place) -> str:
    return f"{place[0]}-{place[1]}"
