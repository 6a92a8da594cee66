"""`fleet watch`: ladders and tapes, live."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from workers.client import BookTop, Derivative, FleetClient, Gap, Interrupted, PriceLevel, Trade, Withheld
from workers.client.feed import Feed
from workers.reading.opening import fleet_of, notice_text, run_reading, symbol_name, withheld_text
from workers.terminal.output import note, out
from workers.terminal.saying import say
from workers.terminal.times import clock_text

REFRESH_S: Final = 0.2
PLAIN_EVERY_S: Final = 1.0
PAGE_S: Final = 5.0
"""How long a page is shown where not all symbols fit."""
NOTE_LINES: Final = 2
PANEL_LINES: Final = 4
"""Lines of a panel besides levels and trades: its frame, the spread, the age."""
TAPE: Final = 10
BAR: Final = 12
"""Characters of the longest size bar."""


class Watched:
    """What is known of one symbol."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.top: BookTop | None = None
        self.state = "waiting for its book"
        self.tape: deque[Trade] = deque(maxlen=TAPE)
        self.contract: Derivative | None = None
        self.changed = False

    def take(self, record: BookTop | Trade | Derivative | Gap | Withheld) -> None:
        """A record of this symbol."""
        self.changed = True
        if isinstance(record, Derivative):
            self.contract = record
        if isinstance(record, BookTop):
            self.top, self.state = record, ""
        elif isinstance(record, Trade):
            self.tape.appendleft(record)
        elif isinstance(record, Withheld):
            self.top, self.state = None, withheld_text(record)

    def line(self) -> str:
        """One line for a log."""
        parts = [clock_text(int(time.time() * 1000)), self.symbol]
        if self.top is None:
            parts.append(self.state)
        else:
            sides = (self.top.bids, self.top.asks)
            parts += [f"{side[0].quantity} at {side[0].price}" if side else "none" for side in sides]
        if self.tape:
            last = self.tape[0]
            parts.append(f"last {last.quantity} at {last.price}, {'sell' if last.is_buyer_maker else 'buy'}")
        if self.contract is not None:
            parts += _said(self.contract)
        return "  ".join(parts)

    def panel(self, depth: int, trades: int = TAPE) -> Panel:
        """Ladder and so many trades for a terminal."""
        parts: list[RenderableType] = []
        if self.top is None:
            parts.append(Text(self.state, style="yellow"))
        else:
            parts += [self._ladder(self.top, depth), Text(_trust(self.top), style="dim")]
        if self.contract is not None:
            parts.append(Text("\n".join(_said(self.contract)), style="dim"))
        parts.append(self._tape(trades))
        return Panel(Group(*parts), title=escape(self.symbol), expand=False)

    @staticmethod
    def _ladder(top: BookTop, depth: int) -> Table:
        table = Table.grid(padding=(0, 1))
        table.add_column(justify="right", min_width=BAR)
        table.add_column(justify="right")
        table.add_column(justify="right")
        largest = max((level.quantity.float for level in [*top.bids[:depth], *top.asks[:depth]]), default=0.0)

        def row(level: PriceLevel, style: str) -> None:
            length = round(BAR * level.quantity.float / largest) if largest else 0
            table.add_row(
                Text("█" * length, style=f"dim {style}"),
                str(level.quantity),
                Text(str(level.price), style=style),
            )

        for level in reversed(top.asks[:depth]):
            row(level, "red")
        table.add_row("", Text("spread", style="dim"), Text(str(top.spread), style="dim"))
        for level in top.bids[:depth]:
            row(level, "green")
        return table

    def _tape(self, trades: int) -> Table:
        table = Table.grid(padding=(0, 1))
        for trade in islice(self.tape, trades):
            style = "red" if trade.is_buyer_maker else "green"
            when = clock_text(trade.trade_time_ms)[11:]
            table.add_row(Text(when, style="dim"), str(trade.quantity), Text(str(trade.price), style=style))
        return table


def _said(contract: Derivative) -> list[str]:
    """What is known of a contract: `mark 84554.30`, `funding 0.0001 at 2026-11-20 16:00:00.000`."""
    funding, at = contract.funding_rate, contract.next_funding_time_ms
    when = f" at {clock_text(at)}" if at is not None else ""
    told = (
        ("mark", contract.mark_price, ""),
        ("index", contract.index_price, ""),
        ("funding", funding, when),
        ("open interest", contract.open_interest, ""),
    )
    return [f"{name} {value}{rest}" for name, value, rest in told if value is not None]


def _trust(top: BookTop) -> str:
    age_ms = time.time() * 1000 - top.published_us / 1000
    return f"u {top.update_id}, {max(age_ms, 0):.0f} ms old"


def fitting(depth: int, lines: int) -> tuple[int, int]:
    """Levels a side and trades of a panel that is not higher than so many lines."""
    trades = min(TAPE, max(0, lines - 2 * depth - PANEL_LINES))
    return min(depth, max(1, (lines - PANEL_LINES - trades) // 2)), trades


class Screen:
    """Everything watched, and how it is shown: on a terminal, or as lines."""

    def __init__(self, symbols: Sequence[str], depth: int) -> None:
        self._watched = {symbol: Watched(symbol) for symbol in symbols}
        self._depth = depth
        self._notice = ""

    async def follow(self, feed: Feed[BookTop] | Feed[Trade] | Feed[Derivative]) -> None:
        """Take what a reading brings, for ever."""
        async with feed:
            async for record in feed:
                if isinstance(record, Interrupted):
                    self._notice = notice_text(record)
                    continue
                self._notice = ""
                if isinstance(record, Gap) and sys.stdout.isatty():
                    self._notice = notice_text(record)
                elif isinstance(record, Gap):
                    note(notice_text(record))
                self._watched[record.symbol].take(record)

    @property
    def _said_lines(self) -> int:
        """Lines that the most of what is said of a contract takes in a panel."""
        contracts = (market.contract for market in self._watched.values())
        return max((len(_said(contract)) for contract in contracts if contract is not None), default=0)

    def picture(self, console: Console, now_s: float) -> RenderableType:
        """What fits on the terminal; where not all symbols do, one page after the other.

        Args:
            now_s: any clock's seconds, which turn the pages.
        """
        depth, trades = fitting(self._depth, console.size.height - NOTE_LINES - self._said_lines)
        panels = [market.panel(depth, trades) for market in self._watched.values()]
        widest = max(console.measure(panel).maximum for panel in panels)
        tallest = max(len(console.render_lines(panel, pad=False)) for panel in panels)
        a_row = max(1, (console.size.width + 1) // (widest + 1))
        a_page = a_row * max(1, (console.size.height - NOTE_LINES) // tallest)
        pages = -(-len(panels) // a_page)
        first = int(now_s / PAGE_S) % pages * a_page
        shown = panels[first : first + a_page]
        more = f"{first + 1} to {first + len(shown)} of {len(panels)} symbols, the others follow; " * (
            pages > 1
        )
        footer = self._notice or f"{more}Ctrl-C ends"
        return Group(Columns(shown), Text(footer, style="yellow" if self._notice else "dim"))

    async def show(self) -> None:
        """Show it, for ever."""
        if not sys.stdout.isatty():
            await self._show_lines()
        with Live(console=out, auto_refresh=False, transient=False) as live:
            while True:
                live.update(self.picture(out, time.monotonic()), refresh=True)
                await asyncio.sleep(REFRESH_S)

    async def _show_lines(self) -> None:
        while True:
            await asyncio.sleep(PLAIN_EVERY_S)
            for market in self._watched.values():
                if market.changed:
                    market.changed = False
                    say(market.line())
            if self._notice:
                note(self._notice)


def run_watch(symbols: Sequence[str], depth: int, seconds: float | None, config: Path | None) -> int:
    """Watch until Ctrl-C; the exit code."""
    effective = fleet_of(config)
    names = list(dict.fromkeys(symbol_name(effective, symbol) for symbol in symbols))
    screen = Screen(names, depth)

    async def read(url: str) -> None:
        async with FleetClient(url) as fleet:
            await fleet.get_symbols()  # a fleet that does not answer is told at once
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(
                        screen.follow(fleet.books(names, latest_only=True)), name="watch: books"
                    )
                    tasks.create_task(screen.follow(fleet.trades(names)), name="watch: trades")
                    tasks.create_task(screen.follow(fleet.derivatives(names)), name="watch: derivatives")
                    tasks.create_task(screen.show(), name="watch: screen")
            except* BrokenPipeError as group:
                raise group.exceptions[0] from None

    return run_reading(effective, names, read, seconds)
