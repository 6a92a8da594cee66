"""Reads a fleet with its Python client: python read.py [unix:///tmp/demo/run/redis.sock] [BTCUSDT]"""

import asyncio
import sys

from workers.client import BookTop, FleetClient, Gap, Interrupted, Withheld


async def main(url: str = "unix:///tmp/demo/run/redis.sock", symbol: str = "BTCUSDT") -> None:
    async with FleetClient(url) as fleet:
        # The whole book; BookWithheld says why there is none.
        book = await fleet.get_book(symbol)
        print("whole book", book.update_id, len(book.bids), "bids", len(book.asks), "asks")

        # Every published top 10, with what one must know of it.
        async with fleet.books([symbol]) as books:
            for _ in range(3):
                match await anext(books):
                    case BookTop() as top:
                        print(top.update_id, "bid", *top.bids[0], "ask", *top.asks[0], "spread", top.spread)
                    case Withheld(_, state, reason):
                        print("do not use the last one any more:", state, reason)
                    case Gap() | Interrupted() as notice:
                        print(notice)

        # Trades without holes: stop, and go on exactly there.
        async with fleet.trades([symbol], from_ms=0) as trades:
            first = [await anext(trades) for _ in range(2)]
            token = trades.token
        async with fleet.trades([symbol], resume=token) as trades:
            rest = [await anext(trades) for _ in range(2)]
        print("trades", [trade.trade_id for trade in first + rest])

        # The newest windows, the open one last.
        for bar in await fleet.get_bars(symbol, "1m", limit=3):
            print(
                bar.start_ms,
                bar.close,
                bar.volume,
                bar.trades_count,
                "complete" if bar.complete else "incomplete",
            )


asyncio.run(main(*sys.argv[1:]))
