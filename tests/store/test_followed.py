"""The list of followed symbols, as the keeper publishes it and the others read it."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from workers.errors import OtherMarket
from workers.model.symbols.selection import SymbolRule
from workers.model.symbols.shares import Share
from workers.store.fleet.followed import (
    Changed,
    FollowedSymbols,
    Publication,
    publish,
    published,
    refuse_other_markets,
)

RULE = SymbolRule.parse(["BTCUSDT", "*USDC"])
NONE = Changed([], [])


async def test_without_a_keeper_the_names_of_the_settings_are_followed(client: Redis) -> None:
    followed = FollowedSymbols("usdm", RULE)
    assert await followed.refresh(client) == NONE
    assert list(followed) == ["BTCUSDT"]
    assert await published(client, "usdm") is None
    assert not followed.chosen
    assert FollowedSymbols("usdm", SymbolRule.parse(["BTCUSDT"])).chosen


async def test_each_publication_is_taken_once(client: Redis) -> None:
    followed = FollowedSymbols("usdm", RULE)
    await publish(client, "usdm", RULE.text, ["BTCUSDT", "币安人生USDC", "1000SHIBUSDC"], {})
    assert await followed.refresh(client) == Changed(["币安人生USDC", "1000SHIBUSDC"], [])
    assert await followed.refresh(client) == NONE
    assert (followed.ended, followed.chosen) == (frozenset(), True)
    ends = {"币安人生USDC": "SETTLING", "XUSDC": "not chosen"}
    await publish(client, "usdm", RULE.text, ["BTCUSDT", "1000SHIBUSDC"], ends)
    assert await followed.refresh(client) == Changed([], ["币安人生USDC"])
    assert list(followed) == ["BTCUSDT", "1000SHIBUSDC"]
    assert "币安人生USDC" not in followed
    assert (len(followed), followed[0], followed[1:]) == (2, "BTCUSDT", ["1000SHIBUSDC"])
    assert followed.ended == {"币安人生USDC"}
    found = await published(client, "usdm")
    assert found is not None
    assert found == Publication(found.generation, RULE.text, ["BTCUSDT", "1000SHIBUSDC"], ends)


async def test_a_publication_for_other_settings_is_not_taken(client: Redis) -> None:
    followed = FollowedSymbols("usdm", RULE)
    await publish(client, "usdm", RULE.text, ["BTCUSDT", "XUSDC"], {})
    await followed.refresh(client)
    await publish(client, "usdm", SymbolRule.parse(["ETHUSDT"]).text, ["ETHUSDT"], {})
    assert await followed.refresh(client) == NONE
    assert list(followed) == ["BTCUSDT", "XUSDC"]
    await publish(client, "usdm", RULE.text, ["BTCUSDT"], {})
    assert await followed.refresh(client) == Changed([], ["XUSDC"])


async def test_what_was_published_before_a_loss_of_all_data_is_not_taken_for_the_new(client: Redis) -> None:
    followed = FollowedSymbols("usdm", RULE)
    await publish(client, "usdm", RULE.text, ["A"], {})
    await followed.refresh(client)
    await client.flushall()  # the server is this test process's own
    assert await followed.refresh(client) == NONE
    assert list(followed) == ["A"]
    await publish(client, "usdm", RULE.text, ["B"], {})
    assert await followed.refresh(client) == Changed(["B"], ["A"])


async def test_venues_have_lists_of_their_own(client: Redis) -> None:
    await publish(client, "spot", RULE.text, ["X"], {})
    assert await FollowedSymbols("usdm", RULE).refresh(client) == NONE


async def test_of_a_list_that_changes_each_process_takes_its_share(client: Redis) -> None:
    both = [FollowedSymbols("usdm", RULE, Share(number, 2)) for number in range(2)]
    assert sorted([*both[0], *both[1]]) == ["BTCUSDT"]
    listed = ["BTCUSDT", *(f"S{number}USDC" for number in range(20))]
    await publish(client, "usdm", RULE.text, listed, {})
    added = [(await followed.refresh(client)).added for followed in both]
    assert sorted([*added[0], *added[1]]) == sorted(listed[1:])
    assert sorted([*both[0], *both[1]]) == sorted(listed)
    assert all(both)
    await publish(client, "usdm", RULE.text, listed[:-1], {})
    removed = [(await followed.refresh(client)).removed for followed in both]
    assert [*removed[0], *removed[1]] == ["S19USDC"]


USDM, SPOT = {"exchange": "binance", "market": "usdm"}, {"exchange": "binance", "market": "spot"}


@pytest.mark.parametrize(
    ("wanted", "keys"),
    [
        ({"usdm": SPOT}, "keys raw:"),  # another market in the same section
        ({"spot": SPOT}, "keys raw:"),  # the first section was removed
        ({"spot": SPOT, "usdm": USDM}, "keys raw:"),
        ({"usdm": USDM, "spot": {**SPOT, "exchange": "okx"}}, "keys spot:raw:"),
    ],
)
async def test_keys_go_on_with_the_market_that_they_hold(
    client: Redis, wanted: dict[str, dict[str, str]], keys: str
) -> None:
    await refuse_other_markets(client, wanted)  # in an empty database any may begin
    for name, market in (("usdm", USDM), ("spot", SPOT)):
        await publish(client, name, "", ["BTCUSDT"], {}, {}, ["usdm", "spot"], market)
    with pytest.raises(OtherMarket, match=keys):
        await refuse_other_markets(client, wanted)
    for good in (
        {"usdm": USDM},
        {"futures": USDM},
        {"usdm": {**USDM, "depth": "x"}, "new": SPOT, "spot": SPOT},
    ):
        await refuse_other_markets(client, good)


async def test_what_an_earlier_release_published_refuses_nothing(client: Redis) -> None:
    await publish(client, "usdm", "", ["BTCUSDT"], {}, {}, ["usdm"])
    await refuse_other_markets(client, {"usdm": SPOT})
    await client.delete("fleet:symbols:usdm")
    await client.lpush("fleet:symbols:usdm", "rubbish")
    await refuse_other_markets(client, {"usdm": SPOT})
