"""JSON text of Kraken's messages: prices and quantities are numbers written with all their places."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from workers.sim.engine.history import Fill
from workers.sim.engine.symbols import Spelling, SymbolSpec
from workers.sim.kraken.symbols import socket_name

CHECKED_LEVELS: Final = 10


def timestamp(micros: int) -> str:
    """`2026-08-24T22:21:58.343688Z`."""
    seconds, part = divmod(micros, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{part:06d}Z"


def checksum(asks: Iterable[tuple[str, str]], bids: Iterable[tuple[str, str]]) -> int:
    """CRC32 over the ten best asks, then the ten best bids: texts without points and zeros in front."""
    texts = [text.replace(".", "").lstrip("0") for level in (*asks, *bids) for text in level]
    return zlib.crc32("".join(texts).encode())


def order_id(number: int) -> str:
    """`OAAAAA-AAAAA-BAREZF`."""
    letters = []
    for _ in range(15):
        number, digit = divmod(number, 26)
        letters.append(chr(ord("A") + digit))
    text = "".join(reversed(letters))
    return f"O{text[:5]}-{text[5:10]}-{text[10:]}X"


def nanoseconds(at_ms: float) -> int:
    """A time in the unit of the times of orders."""
    return int(at_ms * 1_000_000)


def order_row(wire: Spelling, number: int, key: int, quantity: int, at_ms: float, event: str = "") -> str:
    """An order of a snapshot, or with what has happened to it; times have nine digits."""
    head = f'"event":"{event}",' if event else ""
    micros, part = divmod(nanoseconds(at_ms), 1000)
    return (
        f'{{{head}"order_id":"{order_id(number)}","limit_price":{wire.price(abs(key))},'
        f'"order_qty":{wire.quantity(quantity)},"timestamp":"{timestamp(micros)[:-1]}{part:03d}Z"}}'
    )


class KrakenWire(Spelling):
    """Spells the messages of one pair."""

    def __init__(self, spec: SymbolSpec) -> None:
        super().__init__(spec)
        self.name = socket_name(spec)

    def _levels(self, levels: Iterable[tuple[int, int]]) -> str:
        price, quantity = self.price, self.quantity
        return "[" + ",".join([f'{{"price":{price(p)},"qty":{quantity(q)}}}' for p, q in levels]) + "]"

    def _texts(self, levels: Sequence[tuple[int, int]]) -> list[tuple[str, str]]:
        return [(self.price(p), self.quantity(q)) for p, q in levels[:CHECKED_LEVELS]]

    def checksum(self, bids: Sequence[tuple[int, int]], asks: Sequence[tuple[int, int]]) -> int:
        """That of a book whose best levels are given, best first."""
        return checksum(self._texts(asks), self._texts(bids))

    def book(
        self,
        kind: str,
        bids: Iterable[tuple[int, int]],
        asks: Iterable[tuple[int, int]],
        check: int,
        micros: int,
    ) -> str:
        """A `snapshot` or `update` of `book`."""
        return (
            f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{self.name}","bids":{self._levels(bids)},'
            f'"asks":{self._levels(asks)},"checksum":{check},"timestamp":"{timestamp(micros)}"}}]}}'
        )

    def orders(self, kind: str, bids: Sequence[str], asks: Sequence[str], check: int, micros: int) -> str:
        """A `snapshot` or `update` of `level3`."""
        return (
            f'{{"channel":"level3","type":"{kind}","data":[{{"symbol":"{self.name}","bids":[{",".join(bids)}],'
            f'"asks":[{",".join(asks)}],"checksum":{check},"timestamp":"{timestamp(micros)}"}}]}}'
        )

    def trades(self, kind: str, fills: Iterable[Fill]) -> str:
        """A `snapshot` or `update` of `trade`, oldest first."""
        rows = [
            f'{{"symbol":"{self.name}","side":"{"sell" if fill.buyer_is_maker else "buy"}",'
            f'"price":{self.price(fill.price)},"qty":{self.quantity(fill.quantity)},"ord_type":"market",'
            f'"trade_id":{fill.trade_id},"timestamp":"{timestamp(fill.time * 1000)}"}}'
            for fill in fills
        ]
        return f'{{"channel":"trade","type":"{kind}","data":[{",".join(rows)}]}}'

    def pair(self, status: str, grid: int) -> str:
        """A row of `pairs` on the stream `instrument`."""
        spec = self.spec
        return (
            f'{{"symbol":"{self.name}","base":"{spec.base_asset}","quote":"{spec.quote_asset}",'
            f'"status":"{status}","qty_precision":{spec.quantity_decimals},"qty_increment":{spec.step_size},'
            f'"price_precision":{spec.price_decimals},"price_increment":{self.price(grid)},'
            f'"qty_min":{spec.step_size}}}'
        )
