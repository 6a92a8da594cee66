"""Frames with rubbish in them, for properties of sessions and decoders."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

_BITS = [b"null", b"true", b"-1", b"0", b"1e999", b"9" * 400, b'"x"', b'"\xff"', b'"\\ud800"', b"[]", b"[[]]", b"{}",
         b"[" * 1200, b'"', b",", b"]", b"}", b":", b"18446744073709551616", b'"0001-01-01T00:00:00Z"',
         b'"9999-12-31T23:59:59.9999999Z"', b"-0", b"1E2", b'""', "\"\u0661\"".encode()]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, frames: Sequence[bytes]) -> bytes:
    """One of the frames with a few pieces cut out or replaced by rubbish."""
    frame = bytearray(draw(st.sampled_from(frames)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(frame)))
        end = min(at + draw(st.integers(0, 30)), len(frame))
        frame[at:end] = draw(st.one_of(st.sampled_from(_BITS), st.binary(max_size=4)))
    return bytes(frame)
