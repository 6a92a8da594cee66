"""A list of symbols in several pages is read to its end, or not at all."""

from __future__ import annotations

import json

import pytest
from redis.asyncio import Redis

from workers.errors import MalformedFrame
from workers.keeper.listings import MOST_PAGES, Listings
from workers.runtime.context import venue_contexts
from workers.runtime.process import Process
from workers.settings.schema import Settings
from workers.venues.bybit.settings import BybitSettings
from workers.venues.requests import RestRequest

NAMES = ("AUSDT", "BUSDT", "CUSDT")


class Pages:
    """Answers in place of a `RestClient`, a symbol a page; `endless`: each names another."""

    def __init__(self, *, endless: bool = False) -> None:
        self.endless = endless
        self.asked: list[str] = []

    async def get(self, request: RestRequest, _urgency: object, _timeout_s: float) -> bytes:
        self.asked.append(request.url)
        page = int(request.url.partition("cursor=")[2] or 0)
        row = {
            "symbol": NAMES[page % 3],
            "status": "Trading",
            "baseCoin": NAMES[page % 3][:1],
            "quoteCoin": "USDT",
            "priceFilter": {"tickSize": "0.1"},
            "lotSizeFilter": {"qtyStep": "1"},
        }
        cursor = str(page + 1) if self.endless or page < 2 else ""
        return json.dumps({"retCode": 0, "result": {"list": [row, 7], "nextPageCursor": cursor}}).encode()


def listings(client: Redis, pages: Pages) -> Listings:
    settings = Settings(venues={"linear": BybitSettings(market="linear", symbols=["CUSDT"])})
    process = Process("keeper", settings, 0, "unix:///nowhere")
    process.client = client
    [context] = venue_contexts(settings)
    return Listings(process, context, pages)  # type: ignore[arg-type] -- stands in for it


async def test_what_stands_on_the_last_page_is_listed(client: Redis) -> None:
    pages = Pages()
    here = listings(client, pages)
    found = await here._read_list(here._context.venue)
    assert tuple(found.symbols) == NAMES
    assert len(found.bad) == len(pages.asked) == 3


async def test_a_list_without_end_is_none(client: Redis) -> None:
    here = listings(client, pages := Pages(endless=True))
    with pytest.raises(MalformedFrame, match="pages"):
        await here._read_list(here._context.venue)
    assert len(pages.asked) == MOST_PAGES
