"""Faults of REST answers: what a request gets instead of, or besides, a good answer."""

from __future__ import annotations

import asyncio
from typing import Any, Final, NamedTuple

import msgspec
from aiohttp import web

from workers.sim.engine.faults import Fault, FaultBoard
from workers.sim.engine.feed import SymbolFeed

FORBIDDEN_PAGE: Final = (
    "<html>\r\n<head><title>{status} {reason}</title></head>\r\n"
    "<body>\r\n<center><h1>{status} {reason}</h1></center>\r\n</body>\r\n</html>\r\n"
)
REASONS: Final = {403: "Forbidden", 451: "Unavailable For Legal Reasons"}
STRANGE_NAMES: Final = ("", "../../x", "<img src=x onerror=alert(1)>", "\x1b[31mRED", "A\x00\nB", "}{", "A" * 1000,
                        "A@depth/btcusdt@aggTrade")  # fmt: skip
RETRY_AFTER_S: Final = {429: 3, 418: 4}


class RestErrors(NamedTuple):
    """Bodies of an exchange's refusals: too many requests, with its status, and something it does not explain."""

    busy: object
    failed: object
    busy_status: int = 429


class RestFaults:
    """The faults that strike one request.

    Args:
        symbol: what it names by other means than its query.
    """

    def __init__(
        self,
        board: FaultBoard,
        market: str,
        request: web.Request,
        errors: RestErrors,
        *,
        symbol_key: str = "symbol",
        symbol: str = "",
    ) -> None:
        self._board = board
        self._errors = errors
        self._symbol_key = symbol_key
        self._symbol = symbol
        self._market = market
        self._request = request

    def strike(self, kind: str, symbol: str = "") -> Fault | None:
        """The fault of a kind that strikes this request, or what it says of a symbol, if any."""
        if not self._board.on(kind):
            return None
        agent = self._request.headers.get("User-Agent", "")
        symbol = symbol or self._symbol or self._request.query.get(self._symbol_key, "")
        return self._board.strike(kind, self._market, symbol, self._request.path, agent)

    def listing(self, entries: list[dict[str, Any]], field: str) -> list[Any]:
        """A list of symbols as it goes out: those struck have null in a field, and entries that are none come first.

        Args:
            field: what cannot be read then; a list gets one element that is null.
        """
        if not self._board.on("bad_listing"):
            return entries
        found: list[Any] = []
        for entry in entries:
            if self.strike("bad_listing", entry[self._symbol_key]) is not None:
                spoiled = [None] if isinstance(entry[field], list) else None
                strange = [entry | {self._symbol_key: name} for name in STRANGE_NAMES]
                found += [None, 7, {"status": "TRADING"}, *strange, entry | {field: spoiled}]
            else:
                found.append(entry)
        return found

    def copy_id(self, feed: SymbolFeed, now_ms: float) -> int:
        """The update id of the book's copy that REST serves, or of an older one."""
        stale = self.strike("snapshot_stale")
        return feed.snapshot_id(now_ms, stale.value if stale else 0.0)

    async def before(self) -> None:
        """Make the request wait, or cut its connection."""
        slow = self.strike("rest_slow")
        if slow is not None:
            await asyncio.sleep(slow.value)
        if self.strike("rest_reset") is not None and self._request.transport is not None:
            self._request.transport.abort()
            raise web.HTTPInternalServerError

    def instead(self, headers: dict[str, str]) -> web.Response | None:
        """Another status in place of the answer."""
        fault = self.strike("rest_status")
        if fault is None:
            return None
        status = int(fault.value) or 500
        if status in REASONS:
            page = FORBIDDEN_PAGE.format(status=status, reason=REASONS[status])
            return web.Response(status=status, text=page, content_type="text/html")
        body = self._errors.failed
        if status in RETRY_AFTER_S:
            headers = headers | {"Retry-After": str(RETRY_AFTER_S[status])}
            body = self._errors.busy
        return web.Response(
            status=status, body=msgspec.json.encode(body), content_type="application/json", headers=headers
        )

    def after(self, body: str | bytes) -> bytes:
        """The body as it goes out: whole, or cut in the middle."""
        data = body.encode() if isinstance(body, str) else body
        return data[: len(data) // 2] if self.strike("rest_truncated") is not None else data
