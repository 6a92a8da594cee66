"""cryptofeed with its Redis stream back end, as a program: run by the interpreter of its own venv, it imports nothing
of ours.

    python peer_program.py EXCHANGE_PORT REDIS_PORT LOG SYMBOL …      (symbols as cryptofeed has them: SIM000-USDT)

Everything is as a user of cryptofeed would have it, but that it is sent to the load generator, and over plain sockets:
it knows only `wss://`, and TLS would be a cost that the other plant does not have.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from cryptofeed import FeedHandler, connection  # type: ignore[import-not-found]  # only in its own venv
from cryptofeed.backends.redis import BookStream, TradeStream  # type: ignore[import-not-found]
from cryptofeed.connection import RestEndpoint, Routes, WebsocketEndpoint  # type: ignore[import-not-found]
from cryptofeed.defines import L2_BOOK, TRADES  # type: ignore[import-not-found]
from cryptofeed.exchanges import Binance  # type: ignore[import-not-found]

_connect = connection.connect


def connect_plain(address: str, **options: Any) -> Any:
    """What cryptofeed connects with, without TLS."""
    return _connect(address.replace("wss://", "ws://", 1), **options)


def main() -> None:
    """Run until terminated."""
    exchange, redis, log, *symbols = sys.argv[1:]
    connection.connect = connect_plain

    class Simulated(Binance):  # type: ignore[misc]  # untyped
        websocket_endpoints = [WebsocketEndpoint(f"wss://127.0.0.1:{exchange}")]  # noqa: RUF012 -- as its base has it
        rest_endpoints = [  # noqa: RUF012 -- too
            RestEndpoint(
                f"http://127.0.0.1:{exchange}",
                routes=Routes("/api/v3/exchangeInfo", l2book="/api/v3/depth?symbol={}&limit={}"),
            )
        ]

    handler = FeedHandler(config={"uvloop": True, "log": {"filename": log, "level": "WARNING"}})
    asyncio.set_event_loop(
        asyncio.new_event_loop()
    )  # cryptofeed asks for one, and uvloop makes none by itself
    handler.add_feed(
        Simulated(
            symbols=symbols,
            channels=[L2_BOOK, TRADES],
            callbacks={
                L2_BOOK: BookStream(host="127.0.0.1", port=int(redis)),
                TRADES: TradeStream(host="127.0.0.1", port=int(redis)),
            },
        )
    )
    handler.run()


if __name__ == "__main__":
    main()
