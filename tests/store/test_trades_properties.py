"""Any tape in any batches leaves exactly what the pure fold says, in every key, on fakeredis and a real server."""

from __future__ import annotations

import asyncio
from itertools import product
from typing import Any, get_args

import fakeredis
import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from workers.errors import StoreError
from workers.model.events import Trade
from workers.model.trades.fold import Passing, TradesFold
from workers.model.trades.latest import Member
from workers.model.trades.windows import INTERVALS_MS
from workers.store.keys import Keys
from workers.store.scripts import Scripts
from workers.store.trades.fold import TradeStore

KEYS = Keys()
SYMBOL = "BTCUSDT"
BASE_MS = 1_723_161_540_000  # one minute before an hour, so that most windows end within a tape
PRICES = ["61800.30", "61800.3", "0.00000001", "61799.99", "9999999.99999999", "1", "007.50", "9" * 15]
QUANTITIES = [
    "0.006",
    "92233720368.54775807",
    "0",
    "0.00000000",
    "1.5",
    "123456.00000001",
    f"{10**16 - 1}.99999999",
]
FINE_PRICES = ["0.00000074408", "0.000000000000000001", "0.0000000000001"]
FINE_QUANTITIES = ["0.000000001", f"{10**16 - 1}.999999999999999999", "0.000000000000000001", "3.0000000010"]


@st.composite
def tapes(draw: st.DrawFn) -> list[Trade]:
    """Trades with consecutive ids whose times mostly rise, by steps from nothing to more than an hour."""
    count = draw(st.integers(1, 25))
    first = draw(st.integers(0, 10**10))
    fine = draw(st.sampled_from([False, False, True]))
    prices, quantities = (
        (PRICES + FINE_PRICES, QUANTITIES + FINE_QUANTITIES) if fine else (PRICES, QUANTITIES)
    )
    time, trades, raw = BASE_MS, [], draw(st.integers(1, 10**9))
    for index in range(count):
        step = st.sampled_from(
            [0, 0, 1, 7, 37, 60, 100, 900, 30_000, 3_700_000, -1, -90, -150, -2_000, -70_000]
        )
        time = max(time + draw(step), BASE_MS - 90_000_000)
        wide = draw(st.integers(1, 3))
        trades.append(
            Trade(
                symbol=SYMBOL,
                trade_id=first + index,
                price=draw(st.sampled_from(prices)),
                quantity=draw(st.sampled_from(quantities)),
                first_trade_id=raw,
                last_trade_id=raw + wide - 1,
                trade_time=time,
                event_time=time + 3,
                is_buyer_maker=draw(st.booleans()),
                is_market=draw(st.integers(0, 9)) > 0,
            )
        )
        raw += wide
    return trades


PASSINGS: tuple[Passing, ...] = get_args(Passing)
Step = tuple[str, Any]
Latest = tuple[int, int, Member, bool, str]
"""Of the latest set: retention in ms, members at most, how trades stand in it; whether the ids are the venue's; and
whether long windows may wait: `no`, `yes`, or `now and then`, as two releases would have it."""
LATEST = st.tuples(
    st.sampled_from([0, 86_400_000, 3_600_000, 1_000]),
    st.sampled_from([0, 0, 1, 7]),
    st.sampled_from(["json", "packed"]),
    st.booleans(),
    st.sampled_from(["no", "yes", "now and then"]),
)


@st.composite
def deliveries(draw: st.DrawFn) -> list[Step]:
    """A tape as it comes: in batches, some again, some with holes that are repaired or accepted, and clock closes."""
    tape = draw(tapes())
    steps: list[Step] = []
    at = 0
    while at < len(tape):
        size = draw(st.integers(1, 12))
        action = draw(st.sampled_from(["batch", "batch", "batch", "again", "hole", "lost", "close", "mixed"]))
        if action == "close":
            steps.append(
                (
                    "close",
                    tape[max(at - 1, 0)].trade_time + draw(st.sampled_from([0, 150, 70_000, 9_000_000])),
                )
            )
            continue
        if action == "again":
            steps.append(("apply", tape[max(0, at - size) : at + draw(st.integers(0, 4))]))
            at = max(at, min(len(tape), at + 0))
            continue
        if action in ("hole", "lost") and at > 0:
            gap = draw(st.integers(1, 3))
            steps.append(("apply", tape[at - 1 : at] + tape[at + gap : at + gap + size]))
            if draw(st.booleans()):
                steps.append(("close", tape[at - 1].trade_time + 200_000))
            if action == "lost" and at + gap < len(tape):
                steps.append(("skip", (tape[at].trade_id, tape[at + gap - 1].trade_id)))
                at += gap
            continue
        batch = tape[at : at + size]
        if action == "mixed":
            batch = batch[:3] + batch[:2] + batch[3:]
        steps.append(("apply", batch))
        at += size
    steps.append(("apply", tape))
    return steps


@st.composite
def deliveries_with_a_restart(draw: st.DrawFn) -> list[Step]:
    """Two tapes, the ids of the second lower and its entries later; old entries are delivered again among the new."""
    old, new, entries_ms = draw(tapes()), draw(tapes()), BASE_MS
    before: list[tuple[int, Trade]] = []
    for trade in old:
        entries_ms = max(entries_ms, trade.trade_time)
        before.append((entries_ms, trade))
    since_ms = entries_ms + draw(st.integers(1, 100_000))
    first = draw(st.integers(1, max(old[-1].trade_id, 1)))
    after = [
        (
            since_ms + index,
            msgspec.structs.replace(
                trade, trade_id=first + index, trade_time=trade.trade_time + since_ms - BASE_MS
            ),
        )
        for index, trade in enumerate(new)
    ]
    kept = before[: draw(st.integers(1, len(before)))]
    restart = ("restart", (first, kept[-1][1].trade_id, since_ms))
    steps: list[Step] = [("entries", kept), *draw(st.sampled_from([[restart], [restart, restart]]))]
    at = 0
    while at < len(after):
        size, again = draw(st.integers(1, 12)), draw(st.integers(0, len(before)))
        batch = after[max(at - draw(st.integers(0, 2)), 0) : at + size]
        steps.append(
            ("entries", draw(st.sampled_from([batch, before[again:] + batch, batch + before[again:]])))
        )
        if draw(st.booleans()):
            steps.append(draw(st.sampled_from([restart, ("close", since_ms + 70_000)])))
        at += size
    return [*steps, ("entries", before + after)]


async def contents(client: Redis) -> dict[str, Any]:
    """Every key of the symbol that the fold writes."""
    found: dict[str, Any] = {}
    for interval in INTERVALS_MS:
        stats = await client.hgetall(KEYS.stats(SYMBOL, interval))
        found[f"stats {interval}"] = {name.decode(): value.decode() for name, value in stats.items()}
        bars = await client.xrange(KEYS.bars(SYMBOL, interval))
        found[f"bars {interval}"] = [
            (entry.decode(), [(name.decode(), value.decode()) for name, value in fields.items()])
            for entry, fields in bars
        ]
    latest = await client.zrange(KEYS.trades_latest(SYMBOL), 0, -1, withscores=True)
    found["latest"] = [(int(score), member) for member, score in latest]
    state = await client.hgetall(KEYS.trades_state(SYMBOL))
    found["state"] = {name.decode(): value.decode() for name, value in state.items()}
    found["state"].pop("long_windows", None)  # how the others are held, no part of what is known
    return found


def expected(twin: TradesFold) -> dict[str, Any]:
    """The same of the pure fold."""
    found: dict[str, Any] = {}
    for interval in INTERVALS_MS:
        found[f"stats {interval}"] = twin.stats(interval)
        found[f"bars {interval}"] = [(entry, list(fields.items())) for entry, fields in twin.bars(interval)]
    found["latest"] = twin.latest()
    found["state"] = twin.state()
    return found


def newest_versions(found: dict[str, Any]) -> dict[str, Any]:
    """What does not depend on how the tape was cut into batches: a batch makes one revision of a window."""
    kept: dict[str, Any] = {}
    for interval in INTERVALS_MS:
        bars = {dict(fields)["start"]: dict(fields) for _, fields in found[f"bars {interval}"]}
        kept[interval] = [bars, dict(found[f"stats {interval}"])]
        for fields in (*bars.values(), kept[interval][1]):
            fields.pop("revision", None)
    return kept


def named(subject: Any) -> Any:
    """The trades of a step as a venue has them that names each."""
    if not isinstance(subject, list):
        return subject
    return [
        (each[0], named([each[1]])[0])
        if isinstance(each, tuple)
        else msgspec.structs.replace(each, name=f"{each.trade_id:x}-中")
        for each in subject
    ]


async def play(client: Redis, steps: list[Step], latest: Latest) -> None:
    retention_ms, latest_max, member, provable, waits = latest
    stores = [
        TradeStore(
            client,
            KEYS,
            Scripts(client),
            retention_ms=retention_ms,
            latest_max=latest_max,
            bar_retention={},
            member=member,
            provable=provable,
            long_windows_s=long_windows_s,
        )
        for long_windows_s in {"no": [0.0], "yes": [1e9], "now and then": [1e9, 1e9, 0.0]}[waits]
    ]
    twin = TradesFold(retention_ms=retention_ms, latest_max=latest_max, member=member, provable=provable)
    if not provable:
        steps = [(action, named(subject)) for action, subject in steps]
    for at, (action, subject) in enumerate(steps):
        store = stores[at % len(stores)]
        if action == "apply":
            got: Any = await store.apply(SYMBOL, [("", trade) for trade in subject])
            want: Any = twin.apply(subject)
        elif action == "entries":
            got = await store.apply(SYMBOL, [(f"{ms}-{trade.trade_id}", trade) for ms, trade in subject])
            want = twin.apply([trade for _, trade in subject], [ms for ms, _ in subject])
        elif action == "restart":
            want = twin.restart(*subject)
            try:
                await store.restart(SYMBOL, *subject)
                got = True
            except StoreError:
                got = False
        elif action == "skip":
            passing: Passing = PASSINGS[sum(subject) % 4] if not provable else "skip"
            want = twin.skip(*subject, passing)
            got = await store.skip(SYMBOL, *subject, passing=passing) if want else None
        else:
            got = await store.close(SYMBOL, subject, 100)
            want = twin.close(subject, 100)
        assert got == want, (action, subject)
    await stores[0].close(SYMBOL, 0, 0)  # closes nothing, but nothing waits any more
    state = {"repeated_count", "not_market_count", "missing_count", "late_count", "hole_next_id"} | {
        "capped_count"
    }
    got, want = await contents(client), expected(twin)
    # A counter that never moved has no field.
    got["state"] = dict.fromkeys(state, "0") | got["state"] if got["state"] else {}
    assert got == want


PLAYED = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@PLAYED
@given(steps=st.one_of(deliveries(), deliveries_with_a_restart()), latest=LATEST)
def test_fakeredis_holds_what_the_pure_fold_says(steps: list[Step], latest: Latest) -> None:
    async def run() -> None:
        client = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer())
        await play(client, steps, latest)
        await client.aclose()

    asyncio.run(run())


@PLAYED
@given(steps=st.one_of(deliveries(), deliveries_with_a_restart()), latest=LATEST)
def test_a_real_server_holds_what_the_pure_fold_says(
    real_server: str, steps: list[Step], latest: Latest
) -> None:
    async def run() -> None:
        client = Redis.from_url(real_server, protocol=2)
        await client.flushall()  # the server is this test process's own
        await play(client, steps, latest)
        await client.aclose()

    asyncio.run(run())


async def test_trades_outside_the_market_end_and_prove_windows_as_the_pure_fold_says(client: Redis) -> None:
    """In one batch after trades of the market, whose windows the clock may have closed: all ways there are."""
    times = [-200_000_000, 0, 10, 130, 140, 60_250]
    for *markets, is_longer, is_closed in product([True, False], repeat=len(times)):
        tape = [
            Trade(SYMBOL, number, "1.5", "2", number, number, BASE_MS + ms, BASE_MS + ms, False, is_market)
            for number, (ms, is_market) in enumerate(zip(times, (True, True, *markets), strict=True), 1)
        ]
        closed = [("close", BASE_MS + 200_000_000)] if is_closed else []
        steps = [("apply", tape[:2]), *closed, ("apply", tape[2 : 6 if is_longer else 5])]
        await client.flushall()
        await play(client, steps, (0, 0, "json", True, "no"))
