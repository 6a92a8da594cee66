"""The scenarios of streams and markets."""

from __future__ import annotations

from typing import Final

from workers.conformance.fleet import bars
from workers.conformance.fleet import streams as fleet
from workers.conformance.fleet import trade_ids as ids
from workers.conformance.model import snapshots
from workers.conformance.model import streams as model
from workers.conformance.scenario import OnFleet, OnModel, OnVenues, Scenario
from workers.conformance.venues import scripts as venue
from workers.conformance.venues.needs import counts_trades, numbers_books, sees_losses

CALM: Final = (
    *(f"usdm:CALM{number}USDT" for number in range(1, 9)),
    *(f"spot:CALM{number}USDT" for number in range(1, 5)),
)
"""The books to which nothing happens."""


def both(symbol: str) -> tuple[str, str]:
    """A symbol of either market."""
    return f"usdm:{symbol}", f"spot:{symbol}"


STREAMS: Final = (
    Scenario(
        "calm",
        "Nothing goes wrong.",
        "One snapshot, every book right at every update id, whatever happens to other symbols.",
        OnModel(model.calm),
        OnFleet(fleet.calm, CALM, undisturbed=True),
        venues=OnVenues(venue.calm),
    ),
    Scenario(
        "lost-event",
        "A depth event is sent to nobody.",
        "The book leaves sync at the next event, is withdrawn, and is right again after one snapshot.",
        OnModel(model.lost),
        OnFleet(fleet.lost, both("LOSTUSDT")),
        venues=OnVenues(venue.lost, sees_losses),
    ),
    Scenario(
        "lost-on-one-line",
        "One line misses messages which the other brings late, then the other way round.",
        "Nothing: no gap, no snapshot, no repair.",
        fleet=OnFleet(fleet.lost_on_one_line, both("ONELINEUSDT"), undisturbed=True),
    ),
    Scenario(
        "lost-trades",
        "Aggregate trades are sent to nobody.",
        "The hole in the ids is filled over REST and recorded; bars and the latest set are complete.",
        fleet=OnFleet(fleet.lost_trades, both("HOLEUSDT"), undisturbed=True),
        venues=OnVenues(venue.lost_trades, counts_trades),
    ),
    Scenario(
        "repair-refused",
        "Aggregate trades are sent to nobody while REST answers 401, then 404, then 451.",
        "No refusal is taken for the truth: the trades come when REST gives them, none is missing.",
        fleet=OnFleet(fleet.repair_refused, both("REFUSALUSDT"), undisturbed=True),
    ),
    Scenario(
        "absurd-trade-id",
        "One aggregate trade has the id 2^53 on both lines.",
        "It is dropped and its trade fetched; all later ones are stored, bars are right.",
        fleet=OnFleet(ids.absurd_trade_id, both("ABSURDIDUSDT"), undisturbed=True),
    ),
    Scenario(
        "trade-ids-restarted",
        "The exchange begins its trade ids anew, lower, and gives no trades over REST at first.",
        "The trust says that trades are not folded; then all of them are, and the gaps stream tells of it.",
        fleet=OnFleet(ids.trade_ids_restarted, both("ANEWUSDT"), undisturbed=True),
    ),
    Scenario(
        "late-trades",
        "Every tenth aggregate trade comes 300 ms late on both lines.",
        "They are put in order before they are appended; none is asked for over REST, none is missing.",
        fleet=OnFleet(fleet.late_trades, both("TARDYUSDT"), undisturbed=True),
    ),
    Scenario(
        "duplicated-events",
        "Every message comes twice, and old ones come again.",
        "Nothing is applied twice, sync is kept.",
        OnModel(model.duplicated),
        OnFleet(fleet.duplicated, both("TWICEUSDT"), undisturbed=True),
        venues=OnVenues(venue.duplicated, numbers_books),
    ),
    Scenario(
        "swapped-events",
        "Neighbouring depth events come in the wrong order.",
        "The book is put right, with a resync at most for each; it never shows a state in between.",
        OnModel(model.swapped),
        OnFleet(fleet.swapped, both("SWAPUSDT")),
    ),
    Scenario(
        "delayed-events",
        "Depth events come late, then in a heap.",
        "Every state shown is right for its update id; sync is kept.",
        OnModel(model.delayed),
        OnFleet(fleet.delayed, both("LATEUSDT"), undisturbed=True),
    ),
    Scenario(
        "trades-three-seconds-late",
        "Trades come three seconds after the depth events of the same moment.",
        "Bars are those of the trade times; the clock closes them unproven, and no bar called complete changes.",
        fleet=OnFleet(bars.trades_late, both("LATETRADEUSDT"), undisturbed=True),
    ),
    Scenario(
        "burst",
        "Ten times the usual rate, and events with thousands of levels.",
        "Nothing is lost and sync is kept.",
        OnModel(model.burst),
        OnFleet(fleet.burst, both("BURSTUSDT"), undisturbed=True),
    ),
    Scenario(
        "long-burst",
        "More events than a buffer holds come before the first snapshot.",
        "The first usable snapshot still gives a right book.",
        OnModel(model.long_burst),
    ),
    Scenario(
        "crossed-book",
        "A depth event puts a bid above the best ask, and no later event takes it back.",
        "A crossed book is never shown; if it stays crossed it is resynced.",
        OnModel(model.crossed),
        OnFleet(fleet.crossed, both("CROSSUSDT")),
    ),
    Scenario(
        "crossed-book-passed",
        "A wrong bid crosses the book until the market has risen past it, then a wrong ask until it has fallen.",
        "The wrong level, which no event took back, is not shown: the book is resynced when it is no longer crossed.",
        OnModel(model.crossed_and_passed),
    ),
    Scenario(
        "truncated-event",
        "The text of an event ends in the middle.",
        "The event counts as lost: out of sync at the next one, then a snapshot.",
        OnModel(model.truncated_event),
        OnFleet(fleet.truncated, both("TORNUSDT")),
        venues=OnVenues(venue.truncated, sees_losses),
    ),
    Scenario(
        "absurd-number",
        "An event has a quantity that is no number.",
        "The book leaves sync rather than hold the event in part.",
        OnModel(model.absurd_number),
        OnFleet(fleet.absurd_number, both("ABSURDUSDT")),
        venues=OnVenues(venue.absurd_number),
    ),
    Scenario(
        "unknown-keys",
        "Messages have keys no document names.",
        "They are ignored.",
        OnModel(model.unknown_keys),
        OnFleet(fleet.keys_spoiled, both("KEYSUSDT"), undisturbed=True),
        venues=OnVenues(venue.unknown_keys),
    ),
    Scenario(
        "shuffled-keys",
        "The keys of messages come in any order.",
        "The order means nothing.",
        OnModel(model.shuffled_keys),
        OnFleet(fleet.keys_shuffled, both("SHUFFLEUSDT"), undisturbed=True),
        venues=OnVenues(venue.shuffled_keys),
    ),
    Scenario(
        "zero-spellings",
        "Zero quantities are spelled 0, 0.0, 0.000 or 0.00000000.",
        "Each of them deletes the level.",
        OnModel(model.zero_spellings),
        OnFleet(fleet.zero_spellings, both("ZEROUSDT"), undisturbed=True),
    ),
    Scenario(
        "unknown-deletes",
        "Events delete levels nobody ever saw.",
        "They are normal.",
        OnModel(model.unknown_deletes),
        OnFleet(fleet.unknown_deletes, both("NEVERUSDT"), undisturbed=True),
        venues=OnVenues(venue.unknown_deletes),
    ),
    Scenario(
        "largest-quantity",
        "Levels have the largest quantity that exchanges show, 92,233,720,368.54775807.",
        "It is shown to the last digit; sync is kept.",
        fleet=OnFleet(fleet.largest_quantity, both("HUGEUSDT"), undisturbed=True),
    ),
    Scenario(
        "deep-levels",
        "Hundreds of levels appear far from the market and are never taken away.",
        "The book keeps its bound, and every level it claims to know is right.",
        fleet=OnFleet(fleet.deep_levels, both("DEEPUSDT"), undisturbed=True),
    ),
    Scenario(
        "ids-restarted",
        "The exchange begins to count its update ids anew.",
        "The book leaves sync once and is right again after one snapshot.",
        OnModel(model.ids_restarted),
        venues=OnVenues(venue.ids_anew, numbers_books),
    ),
)

MARKETS: Final = (
    Scenario(
        "power-of-ten",
        "The price crosses a power of ten, up and down.",
        "Levels stay in the order of their numbers, not of their texts.",
        OnModel(model.power_of_ten, middle=9_990),
        OnFleet(fleet.power_of_ten, ("usdm:TENUSDT",), undisturbed=True),
    ),
    Scenario(
        "drift",
        "The price drifts by thousands of ticks, out of the range of the snapshot.",
        "Every level it claims to know is right at all times; the range moves with the market, in sync.",
        OnModel(model.drift, limit=20, reach=100, middle=50_000),
        OnFleet(fleet.drift, ("spot:DRIFTUSDT",)),
    ),
    Scenario(
        "one-side-empty",
        "All bids are taken away and come back, then all asks.",
        "The empty side is shown empty; sync is kept.",
        OnModel(model.one_side_empty),
        OnFleet(fleet.one_side_empty, ("usdm:EMPTYUSDT",), undisturbed=True),
    ),
    Scenario(
        "halt",
        "The symbol stops trading and goes on later.",
        "The last book stays, the status says so, sync is kept.",
        OnModel(model.halted),
        OnFleet(fleet.halted, both("HALTUSDT"), undisturbed=True),
    ),
    Scenario(
        "silent-stream",
        "One symbol's streams stop for a while, its sockets live and its market goes on.",
        "When they go on there is a gap: the book is withdrawn and resynced, trades are fetched.",
        fleet=OnFleet(fleet.silent_stream, both("STILLUSDT")),
    ),
    Scenario(
        "delisting",
        "The symbol stops for good.",
        "Its status says so; its last book stays, other symbols notice nothing.",
        fleet=OnFleet(fleet.delisted, both("GONEUSDT"), undisturbed=True),
    ),
    Scenario(
        "listing",
        "A symbol is listed while the reader waits for it.",
        "Its book begins with its first event.",
        OnModel(snapshots.listed, begins_empty=True),
        OnFleet(fleet.listed, ("usdm:NEWUSDT",), unlisted=("usdm:NEWUSDT",)),
    ),
    Scenario(
        "tick-size",
        "The grid of prices changes, and with it how they are spelled.",
        "Two spellings of one price are one level.",
        OnModel(model.tick_size),
        OnFleet(fleet.tick_size, both("TICKUSDT"), undisturbed=True),
    ),
    Scenario(
        "cjk-and-digit-symbols",
        "Symbols are written in Chinese or begin with digits, and lose an event.",
        "They are symbols like others.",
        OnModel(model.lost, symbol="币安人生USDT"),
        OnFleet(fleet.cjk_and_digits, ("usdm:币安人生USDT", "spot:币安人生USDT", "usdm:1000SHIBUSDT")),
    ),
)
