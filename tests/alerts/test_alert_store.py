"""The alerts in Redis: stored and told in one step, once, and by their owner alone; and what is read for rules."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from alert_examples import BTC, alert, rule
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from workers.errors import LeaseLost
from workers.model.alerts.records import Change, Comment, Past, encode, field_of
from workers.model.alerts.rules import Target
from workers.model.alerts.signals import SIGNALS, Value
from workers.model.alerts.values import MOST_MISSING, occurrences
from workers.model.analytics.events import AnalyticsEvent, EventKind
from workers.store.alerts.book import LEASE, ROLE, AlertBook
from workers.store.alerts.reading import Watch, look
from workers.store.fleet.leases import Leases
from workers.store.keys import Keys

KEYS = Keys()


async def owned(client: Redis) -> int:
    leases = Leases(client, KEYS, ROLE, "alerts-1", 60_000)
    await leases.take([LEASE])
    return leases.held[LEASE]


class Twin:
    """The script in plain Python."""

    def __init__(self) -> None:
        self.stream: list[tuple[str, str]] = []
        self.opened: dict[str, tuple[str, bytes]] = {}
        self.comments: dict[str, bytes] = {}

    def commit(self, what: str, field: str, id_: str, record: bytes) -> None:
        held = self.opened.get(field)
        if not ((held is None and what == "fired") or (held and held[0] == id_ and what != "fired")):
            return
        if what == "resolved":
            del self.opened[field]
            self.comments.pop(field, None)
        elif what == "commented":
            self.comments[field] = record
        else:
            self.opened[field] = (id_, record)
        if what != "updated":
            self.stream.append((what, id_))


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["fired", "fired", "updated", "unsilenced", "resolved", "commented"]),
        st.sampled_from(["a", "b"]),
        st.integers(1, 3),
    ),
    max_size=6,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(CHANGES, max_size=5))
async def test_the_script_does_as_its_twin(client: Redis, calls: list[list[tuple[Any, str, int]]]):
    untyped: Any = client
    await untyped.flushall()
    token, book, twin = await owned(client), AlertBook(client), Twin()
    for call in calls:
        for what, name, at in call:
            made = alert(name, fired_ms=at)
            field = field_of(name, BTC)
            if what == "commented":
                comment = Comment(made.id, "text", "m", 1)
                await book.commit(token, comments=[(field, comment)])
                twin.commit(what, field, made.id, encode(comment))
            else:
                await book.commit(token, [Change(what, made)])
                twin.commit(what, field, made.id, encode(made))
    told = [
        (one.event, getattr(one.record, "id", None) or one.record.alert) for one in await book.newest(1_000)
    ]  # type: ignore[union-attr]
    assert told[::-1] == twin.stream
    opened = await book.opened()
    assert {
        field_of(one.alert.rule, one.alert.target): (one.alert.id, encode(one.alert)) for one in opened
    } == twin.opened
    assert {encode(one.comment) for one in opened if one.comment} == {
        record for field, record in twin.comments.items() if f'"{twin.opened[field][0]}"'.encode() in record
    }


async def test_a_repeated_command_tells_nothing_twice(client: Redis):
    token, book = await owned(client), AlertBook(client)
    for _ in range(2):
        await book.commit(token, [Change("fired", alert())], {"gaps:{S}": "5-0"})
    for _ in range(2):
        await book.commit(token, [Change("resolved", alert())])
    assert [one.event for one in await book.newest(10)] == ["resolved", "fired"]
    assert await book.places() == {"gaps:{S}": "5-0"}


async def test_only_the_owner_stores(client: Redis):
    token, book = await owned(client), AlertBook(client)
    with pytest.raises(LeaseLost):
        await book.commit(token - 1, [Change("fired", alert())])
    assert await book.opened() == []


async def test_what_is_no_alert_is_removed_by_the_new_owner_and_shown_by_nobody(client: Redis):
    untyped: Any = client
    token, book = await owned(client), AlertBook(client)
    await book.commit(token, [Change("fired", alert())])
    await untyped.hset("{alerts}:open", "wide/usdm:ETHUSDT", "rubbish")
    await untyped.xadd("alerts", {"what": "others wrote"})
    assert [one.alert.symbol for one in await book.opened()] == ["BTCUSDT"]
    assert len(await book.newest(10)) == 1
    await untyped.hset("{alerts}:pasts", mapping={"wide/usdm:BTCUSDT": "rubbish", "wide/usdm:ETHUSDT": "[1]"})
    known = Past("wide", "usdm", "XRPUSDT", [1, 2], 3)
    await untyped.hset("{alerts}:pasts", "low/usdm:XRPUSDT", encode(known))
    await book.commit(token, pasts={"wide/usdm:XRPUSDT": known})
    found = await book.take_up()
    assert ([one.symbol for one in found.opened], found.pasts) == (["BTCUSDT"], [known])
    assert await untyped.hlen("{alerts}:open") == await untyped.hlen("{alerts}:pasts") == 1
    await book.commit(token, pasts={"wide/usdm:XRPUSDT": None})
    assert (await book.take_up()).pasts == []


async def test_what_others_wrote_in_any_number_hides_nothing_that_comes_after_it(client: Redis):
    untyped: Any = client
    token, book = await owned(client), AlertBook(client)
    for _ in range(7):
        await untyped.xadd("alerts", {"event": "fired", "data": "rubbish"})
    assert await book.after("0-0", 3) == []
    await book.commit(token, [Change("fired", alert())])
    assert [one.event for one in await book.after("0-0", 3)] == ["fired"]


async def test_questions_and_tokens_are_bounded(client: Redis):
    book, hour = AlertBook(client), 3_600_000
    assert [await book.spend(0, 2, 10_000, 100) for _ in range(3)] == [True, True, False]
    assert await book.spend(hour, 2, 250, 100) is False
    assert await book.spend(hour, 2, 250, -90)
    assert await book.spend(hour, 2, 250, 100)
    assert await book.spend(24 * hour, 2, 250, 250)


def watch(*conditions: str, target: Target = BTC) -> Watch:
    signals = {rule(text).condition.signal.name: rule(text).condition.signal for text in conditions}
    return Watch(KEYS, target, list(signals.values()))


TOP = (
    '{"s":"BTCUSDT","b":[["99.9","1"]],"a":[["100.1","2"]],"u":1,"E":1,"T":1,"synced_at":1,"received":1,'
    '"published":1000000}'
)


async def test_a_look_gives_every_kind_of_value(client: Redis):
    untyped: Any = client
    await untyped.hset("LIVE_ORDERBOOK", "BTCUSDT", TOP)
    status = {"state": "synced", "age_ms": 50, "behind_ms": 4, "told_ms": 1_000, "levels": 2319}
    await untyped.hset(KEYS.book_status("BTCUSDT"), mapping=status)
    await untyped.hset(KEYS.trades_status("BTCUSDT"), mapping={"state": "repairing"})
    await untyped.hset(KEYS.trades_state("BTCUSDT"), mapping={"missing_count": 3})
    await untyped.hset(KEYS.stats("BTCUSDT", "1m"), mapping={"volume": "307.793"})
    await untyped.xadd(KEYS.derivatives("BTCUSDT"), {"funding_rate": "0.0003"})
    await untyped.xadd(KEYS.raw("BTCUSDT", "depth"), {"data": "{}"})
    await untyped.xgroup_create(KEYS.raw("BTCUSDT", "depth"), "books", id="$")
    watched = watch(
        "spread_bps > 1", "mid > 1", "withheld", "stale_ms > 1", "book_state == synced", "trades_halted",
        "trades.missing_count > 0", "stats.1m.volume > 1", "derivatives.funding_rate > 0", "book.levels > 1",
        "depth_waiting > 5", "trades_waiting > 5",
    )  # fmt: skip
    [seen] = await look(client, [watched], {}, 1_200, attended=True)
    assert seen.unreadable == []
    values = {signal.name: seen.values[signal.name] for signal in watched.signals}
    assert values.pop("depth_waiting") in (0.0, None)  # fakeredis does not tell it
    assert values == {
        "spread_bps": pytest.approx(20.0),
        "mid": 100.0,
        "withheld": False,
        "stale_ms": 250.0,
        "book_state": "synced",
        "trades_halted": True,
        "trades.missing_count": 3.0,
        "stats.1m.volume": 307.793,
        "derivatives.funding_rate": 0.0003,
        "book.levels": 2319.0,
        "trades_waiting": None,
    }
    [seen] = await look(client, [watched], {}, 1_200, attended=False)
    assert (seen.values["withheld"], seen.values["mid"]) == (True, None)


async def test_what_happened_before_the_first_look_is_no_news_and_what_follows_is_seen_once(client: Redis):
    untyped: Any = client
    watched = watch("gap", "missing_trades", "audit_mismatch", "liquidation")
    hole = {"channel": "aggTrade", "from": 5, "to": 7, "reason": "gap", "repaired": "no"}
    await untyped.xadd(KEYS.gaps("BTCUSDT"), hole)
    places: dict[str, str] = {}
    [seen] = await look(client, [watched], places, 0, attended=True)
    assert set(seen.values.values()) == {0.0}
    places |= seen.places
    assert len(places) == 3
    await untyped.xadd(KEYS.gaps("BTCUSDT"), hole)
    await untyped.xadd(KEYS.gaps("BTCUSDT"), {**hole, "channel": "depth", "repaired": "resync"})
    await untyped.xadd(KEYS.gaps("BTCUSDT"), {**hole, "repaired": "no hole"})
    await untyped.xadd(KEYS.audit("BTCUSDT"), {"outcome": "match"})
    await untyped.xadd(KEYS.audit("BTCUSDT"), {"outcome": "mismatch"})
    [seen] = await look(client, [watched], places, 0, attended=True)
    assert seen.values == {"gap": 2.0, "missing_trades": 3.0, "audit_mismatch": 1.0, "liquidation": 0.0}
    [again] = await look(client, [watched], places | seen.places, 0, attended=True)
    assert set(again.values.values()) == {0.0}


async def test_a_key_of_another_type_is_not_known_and_spoils_nothing_else(client: Redis):
    untyped: Any = client
    await untyped.hset("LIVE_ORDERBOOK", "BTCUSDT", TOP)
    await untyped.set(KEYS.gaps("BTCUSDT"), "rubbish")
    await untyped.set(KEYS.book_status("BTCUSDT"), "rubbish")
    watched = watch("gap", "stale_ms > 5", "book_state != synced", "mid > 1")
    [seen] = await look(client, [watched], {}, 0, attended=True)
    assert [seen.values[name] for name in ("gap", "stale_ms", "book_state", "mid")] == [
        None,
        None,
        None,
        100.0,
    ]
    assert sorted(problem.key for problem in seen.unreadable) == ["book:{BTCUSDT}:status", "gaps:{BTCUSDT}"]
    assert watched.commands == 3


@pytest.mark.parametrize("role", ["analytics", "orders"])
async def test_what_nobody_owns_any_more_is_not_known(client: Redis, role: str):
    untyped: Any = client
    key = KEYS.analytics("BTCUSDT") if role == "analytics" else KEYS.orders_status("BTCUSDT")
    await untyped.hset(key, mapping={"state": "shown", "told_ms": 1_000, "spread": ""})
    watched = watch(f"{role}.state == shown", f"{role}.told_ms > 5", f"{role}.spread > 5")
    assert watched.commands == 2

    async def values() -> list[Value]:
        [seen] = await look(client, [watched], {}, 0, attended=True)
        return [seen.values[signal.name] for signal in watched.signals]

    assert await values() == [None, None, None]
    leases = Leases(client, KEYS, role, f"{role}-1", 60_000)
    await leases.take(["BTCUSDT"])
    assert await values() == ["shown", 1_000.0, None]
    await leases.release(["BTCUSDT"])
    assert await values() == [None, None, None]


async def test_a_lease_of_another_type_is_told_and_the_next_watch_is_read_right(client: Redis):
    untyped: Any = client
    await untyped.hset("LIVE_ORDERBOOK", "BTCUSDT", TOP)
    await untyped.hset(KEYS.analytics("BTCUSDT"), mapping={"mid": 5})
    await untyped.set(KEYS.lease("analytics", "BTCUSDT"), "rubbish")
    watches = [watch("analytics.mid > 1"), watch("mid > 1")]
    seen = await look(client, watches, {}, 0, attended=True)
    assert (seen[0].values["analytics.mid"], seen[1].values["mid"]) == (None, 100.0)
    assert [problem.key for problem in seen[0].unreadable] == [KEYS.lease("analytics", "BTCUSDT")]


async def test_each_event_of_an_entry_of_analytics_counts_by_its_kind(client: Redis):
    untyped: Any = client
    key = KEYS.analytics_events("BTCUSDT")
    names = ("wall_appeared", "wall_eaten", "iceberg_found", "iceberg_confirmed")

    async def tell(*kinds: EventKind) -> None:
        events = [AnalyticsEvent(kind, "bid", 99.5, 1) for kind in kinds]
        await untyped.xadd(key, {"data": msgspec.json.encode(events)})

    await tell("wall_appeared", "wall_eaten")
    [seen] = await look(client, [watch(*names)], {}, 0, attended=True)
    assert seen.values == dict.fromkeys(names, 0.0)
    places = seen.places
    await tell("wall_appeared", "wall_appeared", "iceberg_found", "wall_vanished")
    await untyped.xadd(key, {"data": "rubbish"})
    await tell("wall_appeared", "iceberg_confirmed", "flicker")
    [seen] = await look(client, [watch(*names)], places, 0, attended=True)
    assert seen.values == {
        "wall_appeared": 3.0, "wall_eaten": 0.0, "iceberg_found": 1.0, "iceberg_confirmed": 1.0
    }  # fmt: skip
    [again] = await look(client, [watch(*names)], seen.places, 0, attended=True)
    assert again.values == dict.fromkeys(names, 0.0)


@pytest.mark.parametrize(
    ("first", "last", "missing"),
    [
        (5, 7, 3),
        (5, 5, 1),
        (7, 5, 1),
        ("", "x", 1),
        (0, 10**30, MOST_MISSING),
        (-1e308, 1e308, MOST_MISSING),
        (1e308, -1e308, 1),
    ],
)
async def test_a_damaged_hole_says_a_bounded_number_of_missing_trades(first: Any, last: Any, missing: int):
    hole = {"channel": "aggTrade", "from": str(first), "to": str(last), "repaired": "no"}
    assert occurrences(SIGNALS["missing_trades"], [hole]) == missing
