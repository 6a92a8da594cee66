"""The load generator: `python -m workers.bench.generator PORT SYMBOLS`, a process of its own.

It speaks what a reader of Binance spot asks for: combined streams, by `SUBSCRIBE` or in the URL, exchangeInfo, depth
snapshots and aggTrades over REST. Frames are rendered beforehand (`tape.py`); to send one costs a `%` and an append.
What it sent, and when, it tells under `/bench/`.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import time
from array import array
from typing import Any, Final

import msgspec
import uvloop
from aiohttp import WSMsgType, web

from workers.bench.tape import FIRST_TRADE_ID, is_depth, names, tapes, update_id
from workers.operations.parent import end_with_parent

SHORTEST_S: Final = 0.002
LONGEST_S: Final = 0.01
FEW: Final = 4
"""So many frames, or those of the longest pause, are sent together: to wake up costs more than a frame."""
PING_S: Final = 20.0
"""As the exchange does."""
PAGE: Final = 1_000
"""Trades in an answer."""
WEIGHT_A_MINUTE: Final = 100_000
"""So many that none waits: how a fleet starts within a limit is another measurement."""


class Socket:
    """One reader: where its frames go, and which it asked for."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.streams: set[str] = set()


class Generator:
    """Sends the tapes of all symbols in turn at a rate, to whoever subscribed."""

    def __init__(self, symbols: int) -> None:
        self._tapes = tapes(names(symbols))
        self._by_name = {tape.symbol: number for number, tape in enumerate(self._tapes)}
        self._streams = [
            (f"{tape.symbol.lower()}@depth@100ms", f"{tape.symbol.lower()}@aggTrade") for tape in self._tapes
        ]
        self._depth_us = [array("q") for _ in self._tapes]
        self._trade_ms = [array("q") for _ in self._tapes]
        self._sockets: set[Socket] = set()
        self._rate = 0.0
        self._began = 0.0
        self._since_began = 0
        self._messages = 0
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Send, until cancelled."""
        pinged = time.monotonic()
        while True:
            now = time.monotonic()
            if now - pinged > PING_S:
                pinged = now
                for socket in self._sockets:
                    socket.transport.write(b"\x89\x00")
            pause = PING_S
            if self._rate:
                due = int((now - self._began) * self._rate) + 1
                self._send(due - self._since_began)
                self._since_began = due
                together_s = min(LONGEST_S, max(SHORTEST_S, FEW / self._rate))
                pause = max(together_s, due / self._rate - (time.monotonic() - self._began))
            self._changed.clear()
            if pause > 1:  # only a change of the rate ends a long one
                try:
                    await asyncio.wait_for(self._changed.wait(), pause)
                except TimeoutError:
                    continue
            else:
                await asyncio.sleep(pause)

    def _send(self, count: int) -> None:
        now_us = time.time_ns() // 1000
        now_ms = now_us // 1000
        frames, streams = [], []
        symbols = len(self._tapes)
        for place in range(self._messages, self._messages + count):
            turn, symbol = divmod(place, symbols)
            if is_depth(turn):
                sent = self._depth_us[symbol]
                frames.append(self._tapes[symbol].depth_frame(len(sent), now_ms))
                sent.append(now_us)
                streams.append(self._streams[symbol][0])
            else:
                sent = self._trade_ms[symbol]
                frames.append(self._tapes[symbol].trade_frame(len(sent), now_ms))
                sent.append(now_ms)
                streams.append(self._streams[symbol][1])
        self._messages += count
        everything = b"".join(frames)
        for socket in self._sockets:
            if len(socket.streams) == 2 * symbols:
                socket.transport.write(everything)
            else:
                chosen = zip(frames, streams, strict=True)
                socket.transport.write(
                    b"".join(frame for frame, stream in chosen if stream in socket.streams)
                )

    async def stream(self, request: web.Request) -> web.WebSocketResponse:
        """`/stream`, with or without `?streams=`."""
        ws = web.WebSocketResponse(compress=False)
        await ws.prepare(request)
        transport = request.transport
        assert transport is not None
        socket = Socket(transport)
        socket.streams.update(filter(None, request.query.get("streams", "").split("/")))
        self._sockets.add(socket)
        try:
            async for message in ws:
                if message.type is WSMsgType.TEXT:
                    asked = msgspec.json.decode(message.data)
                    if asked["method"] == "SUBSCRIBE":
                        socket.streams.update(asked["params"])
                    else:
                        socket.streams.difference_update(asked["params"])
                    await ws.send_str(f'{{"result":null,"id":{asked["id"]}}}')
        finally:
            self._sockets.discard(socket)
        return ws

    async def exchange_info(self, _: web.Request) -> web.Response:
        """Every symbol, with its filters."""
        limit = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1}
        filters = [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": "0.01",
                "maxPrice": "1000000",
                "tickSize": "0.01000000",
            },
            {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "9000", "stepSize": "0.00100000"},
        ]
        symbols = [
            {
                "symbol": tape.symbol,
                "status": "TRADING",
                "baseAsset": tape.symbol.removesuffix("USDT"),
                "quoteAsset": "USDT",
                "filters": filters,
            }
            for tape in self._tapes
        ]
        return _json({"rateLimits": [{**limit, "limit": WEIGHT_A_MINUTE}], "symbols": symbols})

    async def depth(self, request: web.Request) -> web.Response:
        """A snapshot of the book as it is after what was sent."""
        number = self._by_name[request.query["symbol"]]
        events, limit = len(self._depth_us[number]), int(request.query.get("limit", "100"))
        bids, asks = self._tapes[number].book(events)
        return _json({"lastUpdateId": update_id(events), "bids": bids[:limit], "asks": asks[:limit]})

    async def trades(self, request: web.Request) -> web.Response:
        """Aggregate trades from `fromId` on, or the newest."""
        number = self._by_name[request.query["symbol"]]
        times, limit = self._trade_ms[number], int(request.query.get("limit", "500"))
        asked = request.query.get("fromId")
        first = max(0, len(times) - limit if asked is None else int(asked) - FIRST_TRADE_ID)
        rows = []
        for place in range(first, min(first + limit, len(times))):
            trade = self._tapes[number].trade(place)
            ids = {"a": trade.trade_id, "f": trade.trade_id, "l": trade.trade_id}
            values = {"p": trade.price, "q": trade.quantity, "m": trade.buyer_is_maker, "M": True}
            rows.append({**ids, **values, "T": times[place]})
        return _json(rows)

    async def rate(self, request: web.Request) -> web.Response:
        """From now on so many messages a second."""
        self._rate, self._began, self._since_began = float(request.query["value"]), time.monotonic(), 0
        self._changed.set()
        return _json({"messages": self._messages})

    async def state(self, _: web.Request) -> web.Response:
        """What was sent so far, what is asked for, and what its readers have not taken yet."""
        streams = set().union(*(socket.streams for socket in self._sockets))
        unsent = sum(socket.transport.get_write_buffer_size() for socket in self._sockets)
        return _json({"messages": self._messages, "streams": len(streams), "unsent_bytes": unsent})

    async def sent(self, _: web.Request) -> web.Response:
        """When each event was sent, by symbol: µs of depth events, ms of trades."""
        return _json(
            {
                tape.symbol: {"depth_us": list(depth), "trade_ms": list(trades)}
                for tape, depth, trades in zip(self._tapes, self._depth_us, self._trade_ms, strict=True)
            }
        )


def _json(value: Any) -> web.Response:
    headers = {"X-MBX-USED-WEIGHT-1M": "1"}
    return web.Response(body=msgspec.json.encode(value), content_type="application/json", headers=headers)


async def _time(_: web.Request) -> web.Response:
    return _json({"serverTime": time.time_ns() // 1_000_000})


async def serve(port: int, symbols: int, stop: asyncio.Event) -> None:
    """Serve on loopback until told to stop."""
    generator = Generator(symbols)
    app = web.Application()
    answers = {
        "/stream": generator.stream,
        "/api/v3/exchangeInfo": generator.exchange_info,
        "/api/v3/depth": generator.depth,
        "/api/v3/aggTrades": generator.trades,
        "/api/v3/time": _time,
        "/bench/rate": generator.rate,
        "/bench/state": generator.state,
        "/bench/sent": generator.sent,
    }
    app.add_routes([web.get(path, answer) for path, answer in answers.items()])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    gc.collect()
    gc.freeze()
    sending = asyncio.create_task(generator.run(), name="bench: sending")
    stopping = asyncio.create_task(stop.wait(), name="bench: stop")
    try:
        await asyncio.wait((sending, stopping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        sending.cancel()
        stopping.cancel()
        await runner.cleanup()


async def _main() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(int(sys.argv[1]), int(sys.argv[2]), stop)


if __name__ == "__main__":
    end_with_parent()
    uvloop.run(_main())
