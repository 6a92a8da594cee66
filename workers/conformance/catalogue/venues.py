"""The scenarios of exchanges whose books begin with a message of their stream."""

from __future__ import annotations

from typing import Final

from workers.conformance.scenario import OnVenues, Scenario
from workers.conformance.venues import scripts
from workers.conformance.venues.needs import in_band, sends_checksums

VENUES: Final = (
    Scenario(
        "wrong-checksum",
        "The checksums of a book are wrong for a moment.",
        "The book leaves sync, its whole is asked for, and it is shown again; other books notice nothing.",
        venues=OnVenues(scripts.wrong_checksum, sends_checksums),
    ),
    Scenario(
        "silent-subscription",
        "All sockets are cut, and the new subscription to one book is acknowledged and brings nothing.",
        "It is asked for anew, once, and the book goes on.",
        venues=OnVenues(scripts.silent_subscription),
    ),
    Scenario(
        "snapshot-before-answer",
        "The whole book comes before the acknowledgement of its subscription.",
        "It is a whole book like any other, or is asked for anew.",
        venues=OnVenues(scripts.snapshot_first, in_band),
    ),
    Scenario(
        "refused-book",
        "One book is refused on new sockets, for a while.",
        "The refusal is known by the name of the stream; its sockets stay, and the other books notice nothing.",
        venues=OnVenues(scripts.refused),
    ),
    Scenario(
        "market-still",
        "Nothing happens on the market for minutes: what still comes says that the sockets and the books live.",
        "The books stay in sync, and no socket is given up.",
        venues=OnVenues(scripts.still, in_band),
    ),
    Scenario(
        "end-announced",
        "The exchange announces maintenance or the end of its sockets, where it has words for it, and closes them.",
        "Their successors take over: a numbered book goes on, another begins anew, each trade is there once.",
        venues=OnVenues(scripts.ended_with_notice),
    ),
    Scenario(
        "maintenance-told",
        "Maintenance begins, and is over four seconds later, where the exchange has words for it.",
        "The books leave sync at the first word, once, and begin anew; on a kept socket only after the second word.",
        venues=OnVenues(scripts.maintained),
    ),
    Scenario(
        "sockets-cut",
        "All sockets are cut, three times.",
        "Each time the books come back with a whole book of the new socket; each trade is there once.",
        venues=OnVenues(scripts.reconnected),
    ),
    Scenario(
        "asked-without-need",
        "Whole books are asked for while all is well, again and again.",
        "They say what the books are; no message is taken twice.",
        venues=OnVenues(scripts.asked_without_need),
    ),
    Scenario(
        "every-venue",
        "On all other exchanges at once a message is lost, another torn, a checksum wrong, a subscription silent, ids "
        "begin anew, a line is cut; then a line, a books and a trades worker, and the other line are killed.",
        "Every book comes back each time; in the end books, trades and bars are what the exchanges say.",
        every_venue=True,
    ),
)
