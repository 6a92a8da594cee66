"""The envelope of what is stored as bytes: what it is, in which format, and that it is undamaged.

Four letters, one byte of format version, CRC-32 of the payload (4 bytes, big endian), the payload.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

from workers.errors import StateUnreadable


class Seal(NamedTuple):
    """One kind of stored state.

    letters: four, with which it begins.
    version: of its format.
    what: what it is called in errors, "a book".
    largest: bytes after decompression that are still believed.
    """

    letters: bytes
    version: int
    what: str
    largest: int

    @property
    def _header(self) -> int:
        return len(self.letters) + 1 + 4

    def close(self, payload: bytes) -> bytes:
        """The bytes to store. O(n)."""
        return self.letters + bytes([self.version]) + zlib.crc32(payload).to_bytes(4, "big") + payload

    def open(self, data: bytes, key: str) -> bytes:
        """The payload. O(n).

        Raises:
            StateUnreadable: truncated, damaged, or of another kind or format; it names `key`.
        """
        header = self._header
        if len(data) < header or data[: len(self.letters)] != self.letters:
            raise StateUnreadable(key, f"it is not {self.what}")
        if data[len(self.letters)] != self.version:
            raise StateUnreadable(key, f"it has format {data[len(self.letters)]}, not {self.version}")
        payload = data[header:]
        if zlib.crc32(payload) != int.from_bytes(data[header - 4 : header], "big"):
            raise StateUnreadable(key, "its checksum does not match")
        return payload

    def deflate(self, plain: bytes) -> bytes:
        """The bytes to store of what zlib is to make smaller. O(n)."""
        return self.close(zlib.compress(plain, 1))

    def inflate(self, data: bytes, key: str) -> bytes:
        """The reverse of `deflate`; memory is bounded, whatever the data says. O(n).

        Raises:
            StateUnreadable: as `open`, or what is inside is no zlib data, or too large.
        """
        inflater = zlib.decompressobj()
        try:
            plain = inflater.decompress(self.open(data, key), self.largest)
        except zlib.error as error:
            raise StateUnreadable(key, str(error).rstrip(".")) from error
        if not inflater.eof:
            raise StateUnreadable(key, f"it is cut short or larger than {self.what} can be")
        return plain
