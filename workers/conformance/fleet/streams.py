"""Fleet-level scripts of single streams and symbols: each keeps to its own books."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Final

from workers.conformance.fleet.run import FleetRun
from workers.conformance.fleet.settings import LEVELS_KEPT
from workers.verification.stored import Book
from workers.verification.truth import Findings, check_levels, within

DEPTH: Final = "stream=*@depth*"
WHILE_S: Final = 5.0
DRIFT_LOOKS: Final = 12


async def calm(run: FleetRun) -> None:
    """Let the others have their trouble."""
    await asyncio.sleep(WHILE_S)


async def lost(run: FleetRun) -> None:
    """One depth event is sent to nobody."""
    await run.fault(f"lose {DEPTH} count=1")
    await run.one_gap_resynced()


async def lost_on_one_line(run: FleetRun) -> None:
    """Line a misses a few events of both channels which line b brings late, then the other way round."""
    await run.fault("burst value=3")
    for poor, late in (("a", "b"), ("b", "a")):
        numbers = await run.fault(f"delay agent=*line-{late}* value=400")
        losses = await run.fault(f"lose agent=*line-{poor}* share=0.3 count=6")
        await run.struck(losses, 6)
        await run.remove(losses)
        await asyncio.sleep(0.5)
        await run.remove(numbers)


async def lost_trades(run: FleetRun) -> None:
    """Aggregate trades are sent to nobody."""
    numbers = await run.fault("lose stream=*@aggTrade count=3")
    await run.struck(numbers, 3)
    await run.remove(numbers)

    async def repaired() -> bool:
        return all([await run.world.reader.gaps(book) > 0 for book in run.books])

    await run.until("the repaired hole is in the gaps stream", repaired)


async def repair_refused(run: FleetRun) -> None:
    """Aggregate trades are sent to nobody while REST refuses to give any, by one status after the other."""
    refused = await run.fault("rest_status value=401 path=*/aggTrades")
    lost = await run.fault("lose stream=*@aggTrade count=3")
    await run.struck(lost, 3)
    await run.remove(lost)
    await run.struck(refused)
    for status in (404, 451):
        await asyncio.sleep(2.0)
        # Set before the last is taken back, which strikes until then: a request between the two would fill the hole.
        following = await run.fault(f"rest_status value={status} path=*/aggTrades")
        await run.remove(refused)
        refused = following
        await run.struck(refused)
    await asyncio.sleep(2.0)
    await run.remove(refused)

    async def repaired() -> bool:
        return all([await run.world.reader.gaps(book) > 0 for book in run.books])

    await run.until("the repaired hole is in the gaps stream", repaired)


async def late_trades(run: FleetRun) -> None:
    """Every tenth aggregate trade comes 300 ms late, on both lines."""
    await for_a_while(run, "delay stream=*@aggTrade share=0.1 value=300")
    for book in run.books:
        holes = await run.world.reader.gaps(book)
        run.expect(holes == 0, f"{book.name} asked REST for trades that were on their way {holes} times.")


async def for_a_while(run: FleetRun, *faults: str) -> None:
    """Faults that change nothing of what is true."""
    numbers = [number for text in faults for number in await run.fault(text)]
    await asyncio.sleep(WHILE_S)
    await run.struck(numbers)


async def duplicated(run: FleetRun) -> None:
    """Every message comes twice, and many come a third time, when they are old."""
    await for_a_while(run, "duplicate", "repeat share=0.5")


async def truncated(run: FleetRun) -> None:
    """The text of one depth event ends in the middle."""
    await run.fault(f"truncate {DEPTH} count=1")
    await run.one_gap_resynced()


async def absurd_number(run: FleetRun) -> None:
    """One depth event has a quantity that is no number."""
    await run.struck(await run.fault(f"absurd {DEPTH} count=1"))
    await run.resynced()
    for book in run.books:
        run.withdrawn(book, "it lacked an event")
        await run.few_snapshots(book, 3)


async def unknown_deletes(run: FleetRun) -> None:
    """Depth events delete levels nobody ever saw."""
    await for_a_while(run, f"unknown_deletes {DEPTH}")


async def largest_quantity(run: FleetRun) -> None:
    """A level of each side has the largest quantity there is, now and then."""
    for _ in range(4):
        await run.remove(await run.fault("largest_quantity"))
        await asyncio.sleep(1.0)


async def deep_levels(run: FleetRun) -> None:
    """More levels than a book keeps appear far from the market, and never go away."""
    await run.fault(f"deep_levels value={2 * LEVELS_KEPT}")
    compared = 0
    for _ in range(8):
        await asyncio.sleep(0.5)
        for book in run.books:
            compared += await check_known(run, book)
    run.facts["levels_compared"] = compared
    run.expect(compared > 0, "Nothing was compared.")
    for book in run.books:
        sight = run.world.observer.sights[book]
        for side in ("bids", "asks"):
            held = sight.number(side)
            run.expect(
                held <= LEVELS_KEPT, f"{book.name} holds {held} {side}, {LEVELS_KEPT} at most are wanted."
            )


async def swapped(run: FleetRun) -> None:
    """Neighbours come in the wrong order."""
    numbers = await run.fault(f"swap {DEPTH} count=2 share=0.5")
    await run.struck(numbers, 2)
    await run.until("every book is shown again", run.shown)
    for book in run.books:
        await run.few_snapshots(book, 8)


async def delayed(run: FleetRun) -> None:
    """Depth is late by more than a second for a while."""
    numbers = await run.fault(f"delay {DEPTH} value=1300")
    await asyncio.sleep(WHILE_S)
    await run.remove(numbers)


async def burst(run: FleetRun) -> None:
    """Everything runs ten times faster."""
    await run.fault("burst value=10")
    await asyncio.sleep(WHILE_S)


async def crossed(run: FleetRun) -> None:
    """A depth event puts a bid above the best ask, which no later event takes back."""

    def all_lost() -> bool:
        return all(run.world.observer.sights[book].status.get("reason") == "crossed" for book in run.books)

    for _ in range(20):  # an event without asks cannot be crossed
        await run.struck(await run.fault(f"cross {DEPTH} count=1"))
        await asyncio.sleep(1.0)
        if all_lost():
            break
    await run.until("the crossed book was taken out of sync for being crossed", all_lost)
    await run.resynced()
    for book in run.books:
        run.withdrawn(book, "crossed")
        run.expect(run.gaps(book) == 0, f"{book.name} counts gaps; there was none.")


async def keys_spoiled(run: FleetRun) -> None:
    """Unknown keys."""
    await for_a_while(run, "unknown_keys")


async def keys_shuffled(run: FleetRun) -> None:
    """Keys in any order."""
    await for_a_while(run, "shuffle_keys")


async def zero_spellings(run: FleetRun) -> None:
    """Zeros in several spellings."""
    await for_a_while(run, f"zero_spelling {DEPTH}")


async def cjk_and_digits(run: FleetRun) -> None:
    """Symbols that no case change leaves alone lose an event."""
    await lost(run)


def middle(run: FleetRun, book: Book) -> Decimal:
    """The middle of the market as the book shows it, 0 while it shows none."""
    shown = run.world.observer.sights[book].shown
    if not shown or not shown["b"] or not shown["a"]:
        return Decimal(0)
    return (Decimal(shown["b"][0][0]) + Decimal(shown["a"][0][0])) / 2


def _is_beyond(run: FleetRun, book: Book, price: Decimal, *, above: bool) -> bool:
    now = middle(run, book)
    return now > price if above else 0 < now < price


def _is_empty(run: FleetRun, place: str) -> bool:
    """Whether every book is shown with an empty side."""
    shown = [run.world.observer.sights[book].shown for book in run.books]
    return all(payload is not None and not payload[place] for payload in shown)


async def power_of_ten(run: FleetRun) -> None:
    """The price goes over a power of ten, up and down."""
    for book in run.books:
        now = middle(run, book)
        power = Decimal(10) ** (now.adjusted() + (1 if now.scaleb(-now.adjusted()) > 3 else 0))
        for above in (False, True, False, True):
            wanted = power * (Decimal("1.0006") if above else Decimal("0.9994"))
            market = book.context.settings.market
            number = await run.world.control.set_fault(
                f"price value={wanted} market={market} symbol={book.symbol}"
            )
            await run.until(
                f"{book.name} is {'above' if above else 'below'} {power}",
                partial(_is_beyond, run, book, power, above=above),
            )
            await run.world.control.remove_fault(number)


async def check_known(run: FleetRun, book: Book) -> int:
    """Compare everything a book claims to know now with the truth; the levels compared."""
    checkpoint = await run.world.reader.checkpoint(book)
    if checkpoint is None or not checkpoint.synced:
        return 0
    at = checkpoint.last_update_id
    truth = await run.world.source_of(book).book(book.context.settings.market, book.symbol, at)
    low, high = checkpoint.known
    held = within(checkpoint.bids, low, "inf"), within(checkpoint.asks, "0", high)
    real = within(truth.bids, low, "inf"), within(truth.asks, "0", high)
    findings = Findings()
    check_levels(f"{book.name} (known range)", at, held, real, findings)
    run.result.problems += findings.sentences()
    return len(held[0]) + len(held[1])


async def drift(run: FleetRun) -> None:
    """The price drifts by thousands of ticks; what the book knows is compared all the time."""
    compared = 0
    for value in (500, -500):
        numbers = await run.fault(f"drift value={value}")
        looks, asked = 0, [await run.requests(book) for book in run.books]

        async def followed(before: Sequence[int] = asked) -> bool:
            nonlocal compared, looks
            await asyncio.sleep(0.5)
            looks += 1
            compared += sum([await check_known(run, book) for book in run.books])
            now = [await run.requests(book) for book in run.books]
            return looks >= DRIFT_LOOKS and all(
                later > earlier for earlier, later in zip(before, now, strict=True)
            )

        await run.until("newer snapshots were asked for as the market drifted", followed)
        await run.remove(numbers)
    run.facts["levels_compared"] = compared
    for book in run.books:
        run.facts["refreshes"] = run.facts.get("refreshes", 0) + await run.requests(book)
        run.expect(run.syncs(book) == 0, f"{book.name} left sync {run.syncs(book)} times; nothing was wrong.")


async def one_side_empty(run: FleetRun) -> None:
    """One side disappears and comes back, then the other."""
    for place, kind in (("b", "empty_bids"), ("a", "empty_asks")):
        numbers = await run.fault(kind)
        await run.until(
            "the side is shown empty",
            partial(_is_empty, run, place),
        )
        await run.remove(numbers)
        await run.until(
            "the side is there again",
            lambda: all(middle(run, book) > 0 for book in run.books),
        )


async def status_of(run: FleetRun, book: Book, field: str) -> str:
    """A field of a symbol's information."""
    found = await run.world.client.hget(book.context.keys.symbol_info(book.symbol), field)
    return found.decode() if isinstance(found, bytes) else ""


async def _until_field(run: FleetRun, field: str, wanted: set[str]) -> None:
    async def told() -> bool:
        return all([await status_of(run, book, field) in wanted for book in run.books])

    await run.until(f"{field} of the symbols is one of {', '.join(sorted(wanted))}", told)


async def halted(run: FleetRun) -> None:
    """Trading stops for some seconds."""
    await _until_field(run, "status", {"TRADING"})
    numbers = await run.fault("halt")
    await _until_field(run, "status", {"HALT", "TRADING_HALT"})
    await asyncio.sleep(2.0)
    await run.remove(numbers)
    await _until_field(run, "status", {"TRADING"})
    await asyncio.sleep(2.0)


async def delisted(run: FleetRun) -> None:
    """The symbol stops for good."""
    await _until_field(run, "status", {"TRADING"})
    await run.fault("delist")
    await _until_field(run, "status", {"BREAK", "SETTLING"})
    await asyncio.sleep(2.0)


async def silent_stream(run: FleetRun) -> None:
    """The streams of one symbol stop while all else goes on."""
    numbers = await run.fault("silence")
    await asyncio.sleep(WHILE_S)
    await run.remove(numbers)
    await run.one_gap_resynced()
    await run.overtaken()


async def listed(run: FleetRun) -> None:
    """A symbol the fleet waits for is listed."""
    await asyncio.sleep(2.0)
    await run.fault("list")
    await run.until("the new symbol's book is shown", run.shown)
    await _until_field(run, "status", {"TRADING"})
    await asyncio.sleep(2.0)


async def tick_size(run: FleetRun) -> None:
    """Prices get a five times coarser grid."""
    steps = [Decimal(await status_of(run, book, "tick_size") or 0) for book in run.books]
    numbers = await run.fault("tick_size value=5")

    async def told() -> bool:
        now = [Decimal(await status_of(run, book, "tick_size") or 0) for book in run.books]
        return now == [step * 5 for step in steps]

    await run.until("the new tick size is known", told)
    await asyncio.sleep(2.0)
    await run.remove(numbers)
    await asyncio.sleep(1.0)
