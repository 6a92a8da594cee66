"""One GET, and no more trust in what comes back than it deserves.

Whoever answers in the exchange's place (a proxy, an attacker, a broken cache) can send any status, header and body.
Here is everything that bounds it: redirects are not followed, a body is read in pieces up to what its kind can be,
also unpacked, and a header counts only where it says something that can be so.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

import aiohttp

from workers.errors import RestUnavailable
from workers.store.fleet.budget import MOST_BLOCK_S, MOST_WEIGHT
from workers.venues.requests import RestRequest

MOST_ERROR_BYTES: Final = 65_536
"""Of a reply that is an error: there is one short object in it, or a page of HTML."""
ERROR_BODY_S: Final = 2.0
"""How long the body of an error may take: its status and headers are what counts, and must not be lost with it."""
UNKNOWN_WAIT_S: Final = 60.0
"""Wait after a 429 or 418 that names no time, or none that can be."""
PIECE_BYTES: Final = 65_536
BYTES_PER_ELEMENT: Final = 16
"""Of a body of the greatest size, on an average: `[0,0,…` of 64 MB would fill gigabytes once it is decoded."""
_DIGITS: Final = re.compile(r"[0-9]{1,12}", re.ASCII)


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    overlong: bool
    """Whether the body was longer than its kind can be, or of more elements; then `body` may be its beginning."""

    @property
    def exchange_ms(self) -> int:
        """The `Date` of the reply in ms, which has whole seconds; 0 where there is none."""
        return _date_ms(self.headers.get("Date", ""))

    def used_weight(self, header: str) -> int | None:
        """The request weight that a header reports; None where it reports none."""
        text = self.headers.get(header, "")
        return min(int(text), MOST_WEIGHT) if _DIGITS.fullmatch(text) else None

    def wait_s(self, banned_until_ms: int) -> float:
        """How long nobody may ask after a 429 or 418: the latest of all that is told, three days at the most.

        Args:
            banned_until_ms: what the body names, by the exchange's clock; 0: nothing.
        """
        now_ms = self.exchange_ms or int(time.time() * 1000)
        text = self.headers.get("Retry-After", "").strip()
        waits = [float(text) if _DIGITS.fullmatch(text) else (_date_ms(text) - now_ms) / 1000]
        waits.append((banned_until_ms - now_ms) / 1000)
        longest = max(waits)
        return max(1.0, min(longest, MOST_BLOCK_S)) if longest > 0 else UNKNOWN_WAIT_S


def _date_ms(text: str) -> int:
    """An HTTP date in ms; 0 where the text is none."""
    try:
        return max(0, int(parsedate_to_datetime(text[:64]).replace(tzinfo=UTC).timestamp() * 1000))
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0


async def read_body(response: aiohttp.ClientResponse, most_bytes: int) -> tuple[bytes, bool]:
    """A body up to a size, unpacked, and whether there was more; what is more is not read.

    Raises:
        aiohttp.ClientError: it was cut short, or cannot be unpacked.
    """
    body = bytearray()
    async for piece in response.content.iter_chunked(PIECE_BYTES):
        body += piece
        if len(body) > most_bytes:
            response.close()
            return bytes(body[:most_bytes]), True
    return bytes(body), False


async def _error_body(response: aiohttp.ClientResponse) -> bytes:
    try:
        async with asyncio.timeout(ERROR_BODY_S):
            return (await read_body(response, MOST_ERROR_BYTES))[0]
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        response.close()
        return b""


def _sent(session: aiohttp.ClientSession, request: RestRequest) -> aiohttp.client._RequestContextManager:
    if request.post is None:
        return session.get(request.url, allow_redirects=False)
    body, headers = request.post
    return session.post(request.url, data=body, headers=headers, allow_redirects=False)


async def fetch(session: aiohttp.ClientSession, request: RestRequest, timeout_s: float) -> Reply:
    """Send a request and read its reply.

    Raises:
        RestUnavailable: there was none, or not a whole one, within the time.
    """
    try:
        async with asyncio.timeout(timeout_s), _sent(session, request) as response:
            if response.status == 200:
                body, overlong = await read_body(response, request.most_bytes)
                overlong = overlong or body.count(b",") > request.most_bytes // BYTES_PER_ELEMENT
            else:
                body, overlong = await _error_body(response), False
            return Reply(response.status, response.headers, body, overlong)
    except TimeoutError as error:
        problem = f"TimeoutError: no whole answer within {timeout_s:g} s"
        raise RestUnavailable(request.url, 0, problem) from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise RestUnavailable(request.url, 0, printable(str(error)) or type(error).__name__) from error


def printable(text: str, most: int = 200) -> str:
    """What others wrote, fit for a log line or a terminal: short, and without control characters."""
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in text[:most])
    return f"{shown}…" if len(text) > most else shown
