"""Reading what is said of contracts: figures as they change, and liquidations as they happen."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence

from redis.asyncio import Redis

from workers.client.feed import Feed, Record
from workers.client.numbers import Number
from workers.client.records import Derivative, Liquidation
from workers.client.tokens import Place
from workers.errors import BadNumber
from workers.model.derivatives.figures import figures_from
from workers.store.keys import Keys
from workers.store.log.follower import Entry


def derivative(symbol: str, position: str, fields: Mapping[bytes, bytes]) -> Derivative:
    """The record of an entry of `derivatives:{S}`.

    Raises:
        BadNumber, ValueError: it is none of ours.
    """
    found = figures_from(fields)
    numbers = {name: Number(figure.value) for name, figure in found.items() if name != "next_funding_time"}
    funding = found.get("next_funding_time")
    return Derivative(
        symbol,
        position,
        numbers.get("mark_price"),
        numbers.get("index_price"),
        numbers.get("funding_rate"),
        int(funding.value) if funding else None,
        numbers.get("open_interest"),
        {name: figure.time_ms for name, figure in found.items()},
    )


def liquidation(symbol: str, position: str, fields: Mapping[bytes, bytes]) -> Liquidation:
    """The record of an entry of `liquidations:{S}`.

    Raises:
        BadNumber, KeyError, ValueError: it is none of ours.
    """
    average = fields.get(b"average_price")
    return Liquidation(
        symbol,
        position,
        fields[b"side"].decode(),
        Number(fields[b"price"].decode()),
        Number(fields[b"quantity"].decode()),
        int(fields[b"time"]),
        int(fields[b"event_time"]),
        Number(average.decode()) if average is not None else None,
        fields.get(b"id", b"").decode(errors="replace"),
    )


class _ContractFeed(Feed[Record]):
    """A stream of which every entry is one record."""

    def __init__(
        self,
        connect: Callable[[], Redis],
        symbols: Sequence[str],
        *,
        resume: str | None = None,
        from_ms: int | None = None,
    ) -> None:
        super().__init__(connect, symbols, self._key, resume, from_ms)

    @staticmethod
    @abstractmethod
    def _key(keys: Keys, symbol: str, /) -> str:
        """The stream of a symbol."""

    @staticmethod
    @abstractmethod
    def _record(symbol: str, position: str, fields: Mapping[bytes, bytes]) -> Record:
        """The record of an entry. Raises: BadNumber, KeyError, ValueError: it is none of ours."""

    def _take(self, name: str, entries: Sequence[Entry]) -> None:
        for stream_id, fields in entries:
            position = stream_id.decode()
            try:
                found = self._record(name, position, fields)
            except (BadNumber, KeyError, ValueError):
                self._undecodable(name, position)
            else:
                self._put(name, Place(position), found)


class DerivativeFeed(_ContractFeed[Derivative]):
    """All that is known of some contracts, whenever something of it changes."""

    channel = "derivatives"
    _key, _record = staticmethod(Keys.derivatives), staticmethod(derivative)


class LiquidationFeed(_ContractFeed[Liquidation]):
    """Every liquidation of some contracts."""

    channel = "liquidations"
    _key, _record = staticmethod(Keys.liquidations), staticmethod(liquidation)
