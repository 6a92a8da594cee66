"""The parts of a replay by themselves: quotes against books, the plan, the recorded REST side."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest
from replay_captures import Capture

from workers.errors import RecordingError
from workers.recordings.recording import Recording
from workers.recordings.streams import Quote
from workers.replay.plan import ReplayPlan
from workers.replay.quotes import REMEMBERED, QuoteCheck, same_number
from workers.replay.rest import RecordedRest
from workers.venues.binance.settings import BinanceSettings
from workers.venues.binance.venue import Binance


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1.0", "1.0", True),
        ("1.0", "1.00", True),
        ("1.0", "1.01", False),
        ("0.1", "0.10000000000000001", False),
        ("x", "x", True),
        ("x", "1", False),
    ],
)
def test_numbers_are_compared_exactly(one: str, other: str, same: bool):
    assert same_number(one, other) is same


class TestQuotes:
    quote = Quote(7, ("1", "2"), ("3", "4"))

    def test_either_may_come_first(self):
        check = QuoteCheck()
        check.stood(7, ("1", "2"), ("3", "4.0"))
        check.quoted(self.quote)
        check.quoted(self.quote._replace(u=8))
        check.stood(8, ("1", "2"), ("3", "5"))
        assert (check.exact, check.of) == (1, 2)
        assert "1 of 2 bookTickers" in check.sentence("A")
        assert "ask was recorded as 4 at 3 and is 5 at 3" in check.sentence("A")

    def test_repeats_count_once(self):
        check = QuoteCheck()
        for _ in range(3):
            check.quoted(self.quote)
            check.stood(7, ("1", "2"), ("3", "4"))
        assert (check.exact, check.of) == (1, 1)
        assert check.sentence("A") == ""

    def test_an_empty_side_is_a_mismatch(self):
        check = QuoteCheck()
        check.quoted(self.quote)
        check.stood(7, None, ("3", "4"))
        assert (check.exact, check.of) == (0, 1)
        assert "is missing in the book" in check.sentence("A")

    def test_only_so_much_is_remembered(self):
        check = QuoteCheck()
        for u in range(REMEMBERED + 10):
            check.quoted(Quote(u, ("1", "2"), ("3", "4")))
        check.stood(9, ("1", "2"), ("3", "4"))
        check.stood(10, ("1", "2"), ("3", "4"))
        assert check.of == 1


class TestPlan:
    def recording(self, path: Path, capture: Capture) -> Recording:
        return Recording(capture.write(path))

    def test_the_first_file_s_market_has_no_prefix(self, tmp_path: Path):
        futures = self.recording(tmp_path / "f", Capture().depth())
        spot = self.recording(tmp_path / "s", Capture(symbol="ETHUSDT", spot=True).depth().trade())
        plan = ReplayPlan([futures, spot])
        assert [plan.prefix(market) for market in plan.markets] == ["", "spot:"]
        assert ReplayPlan([spot, futures]).prefix("spot") == ""
        settings = plan.settings("http://127.0.0.1:1", "unix:///x", "", None)
        assert [venue.symbols for venue in settings.venues.values()] == [["BTCUSDT"], ["ETHUSDT"]]
        assert [venue.trades for venue in settings.venues.values()] == ["none", "trade"]
        assert settings.venues["usdm"].rest_url == "http://127.0.0.1:1/usdm"
        assert plan.messages == 3

    def test_aggregate_trades_are_preferred(self, tmp_path: Path):
        capture = Capture().trade().add(b'{"stream":"btcusdt@aggTrade","data":{}}')
        assert ReplayPlan([self.recording(tmp_path / "a", capture)]).trades("usdm") == "aggTrade"

    def test_a_snapshot_does_not_prove_more_than_was_asked_for(self, tmp_path: Path):
        capture = Capture().depth().snapshot([("1", "1"), ("2", "1"), ("3", "1")]).snapshot([("1", "1")])
        plan = ReplayPlan([self.recording(tmp_path / "a", capture)])
        assert plan.settings("", "", "", None).venues["usdm"].snapshot_depth == 1

    def test_quotes_alone_are_nothing_to_replay(self, tmp_path: Path):
        with pytest.raises(RecordingError, match="neither a depth nor a trade stream"):
            ReplayPlan([self.recording(tmp_path / "a", Capture().quote(("1", "1"), ("2", "1")))])

    def test_a_file_that_feeds_nothing_is_noted(self, tmp_path: Path):
        futures = self.recording(tmp_path / "f", Capture().depth())
        spot = self.recording(tmp_path / "s", Capture(spot=True).quote(("1", "1"), ("2", "1")))
        plan = ReplayPlan([futures, spot])
        assert plan.markets == ["usdm"]
        assert f"{tmp_path}/s is not fed" in plan.notes[0]


async def started() -> RecordedRest:
    """A server that knows the requests for one futures symbol."""
    rest = RecordedRest()
    await rest.start()
    usdm = Binance("usdm", BinanceSettings(symbols=["BTCUSDT"], market="usdm", rest_url=f"{rest.url}/usdm"))
    rest.expect("usdm", usdm, ["BTCUSDT"])
    return rest


class TestRecordedRest:
    async def get(self, session: aiohttp.ClientSession, url: str) -> tuple[int, bytes]:
        async with session.get(url) as response:
            return response.status, await response.read()

    async def test_snapshots_are_given_out_in_order_each_once(self):
        rest = await started()
        depth = f"{rest.url}/usdm/fapi/v1/depth?symbol=BTCUSDT&limit=1000"
        async with aiohttp.ClientSession() as session:
            waiting = asyncio.create_task(self.get(session, depth))
            while not rest.asked_in_vain("usdm", "BTCUSDT"):
                await asyncio.sleep(0.001)
            rest.release("spot", "BTCUSDT", b"other")
            rest.release("usdm", "BTCUSDT", b"one")
            assert not rest.asked_in_vain("usdm", "BTCUSDT")
            rest.release("usdm", "BTCUSDT", b"two")
            assert await waiting == (200, b"one")
            assert await self.get(session, depth) == (200, b"two")
            waiting = asyncio.create_task(self.get(session, depth))
            await asyncio.sleep(0.05)
            assert not waiting.done()
            rest.end()
            assert (await waiting)[0] == 503
            assert (await self.get(session, depth))[0] == 503
        assert rest.served == 2
        await rest.close()

    @pytest.mark.parametrize("path", ["aggTrades?symbol=BTCUSDT&fromId=1", "exchangeInfo", "depth"])
    async def test_nothing_else_is_recorded(self, path: str):
        rest = await started()
        async with aiohttp.ClientSession() as session:
            assert (await self.get(session, f"{rest.url}/usdm/fapi/v1/{path}"))[0] == 404
        await rest.close()

    async def test_a_request_given_up_takes_no_snapshot(self):
        rest = await started()
        depth = f"{rest.url}/usdm/fapi/v1/depth?symbol=BTCUSDT"
        async with aiohttp.ClientSession() as session:
            given_up = asyncio.create_task(self.get(session, depth))
            while not rest.asked_in_vain("usdm", "BTCUSDT"):
                await asyncio.sleep(0.001)
            given_up.cancel()
            await asyncio.gather(given_up, return_exceptions=True)
            while rest.asked_in_vain("usdm", "BTCUSDT"):
                await asyncio.sleep(0.001)
            rest.release("usdm", "BTCUSDT", b"one")
            assert await self.get(session, depth) == (200, b"one")
        await rest.close()
