"""Made captures: a small futures market whose every number is known, and the replay of any files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workers.recordings.recording import Recording
from workers.replay.plan import ReplayPlan
from workers.replay.run import Options, replay

START_MS = 1_723_161_256_000


@dataclass
class Capture:
    """Lines of an hftbacktest capture, 10 ms apart; depth events chain, trade ids count up."""

    symbol: str = "BTCUSDT"
    spot: bool = False
    lines: list[bytes] = field(default_factory=list)
    last_u: int = 1000
    trade_id: int = 500
    ms: int = START_MS

    def add(self, payload: dict[str, Any] | bytes) -> Capture:
        self.ms += 10
        data = payload if isinstance(payload, bytes) else json.dumps(payload, separators=(",", ":")).encode()
        self.lines.append(b"%d %s" % (self.ms * 10**6, data))
        return self

    def _stream(self, kind: str, data: dict[str, Any]) -> Capture:
        return self.add({"stream": f"{self.symbol.lower()}@{kind}", "data": data})

    def depth(self, bids: Iterable[tuple[str, str]] = (), asks: Iterable[tuple[str, str]] = ()) -> Capture:
        """The next change of the book: futures ids have holes, spot ids do not."""
        first = self.last_u + (1 if self.spot else 3)
        data = {"e": "depthUpdate", "E": self.ms, "s": self.symbol, "U": first, "u": first + 5}
        if not self.spot:
            data |= {"T": self.ms, "pu": self.last_u}
        self.last_u = first + 5
        return self._stream("depth@100ms", {**data, "b": list(bids), "a": list(asks)})

    def lose(self) -> Capture:
        """The line just written was never received."""
        self.lines.pop()
        return self

    def repeat(self) -> Capture:
        """The line just written was received twice."""
        self.lines.append(self.lines[-1])
        return self

    def trade(self, price: str = "100.5", quantity: str = "1", kind: str = "MARKET") -> Capture:
        self.trade_id += 1
        data = {"e": "trade", "E": self.ms, "T": self.ms, "s": self.symbol, "t": self.trade_id}
        return self._stream("trade", {**data, "p": price, "q": quantity, "X": kind, "m": False})

    def quote(self, bid: tuple[str, str], ask: tuple[str, str]) -> Capture:
        """A bookTicker at the update id of the last change."""
        data = {"u": self.last_u, "s": self.symbol, "b": bid[0], "B": bid[1], "a": ask[0], "A": ask[1]}
        return self._stream("bookTicker", data if self.spot else {"e": "bookTicker", "T": self.ms, **data})

    def snapshot(
        self,
        bids: Iterable[tuple[str, str]] = (("100", "1"),),
        asks: Iterable[tuple[str, str]] = (("101", "1"),),
    ) -> Capture:
        """A REST snapshot at the update id of the last change."""
        return self.add({"lastUpdateId": self.last_u, "bids": list(bids), "asks": list(asks)})

    def write(self, path: Path) -> Path:
        path.write_bytes(b"\n".join(self.lines) + b"\n")
        return path


def replayed(url: str, *files: Path, add: bool = False, speed: float | None = None) -> dict[str, Any]:
    """The report of files replayed onto a server."""
    plan = ReplayPlan([Recording(path) for path in files])

    async def run() -> dict[str, Any]:
        return await replay(plan, Options(url, "", speed, add), asyncio.Event(), lambda _: None)

    return asyncio.run(run())
