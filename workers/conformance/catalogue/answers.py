"""The scenarios of snapshots, REST and sockets."""

from __future__ import annotations

from typing import Final

from workers.conformance.catalogue.streams import both
from workers.conformance.fleet import answers as rest
from workers.conformance.fleet import bars, rubbish, sockets, subscriptions
from workers.conformance.model import snapshots as model
from workers.conformance.scenario import OnFleet, OnModel, Scenario

SNAPSHOTS: Final = (
    Scenario(
        "snapshot-stale",
        "Snapshots are older than the stream.",
        "They are not used; another one is asked for, not in a storm.",
        OnModel(model.stale),
        OnFleet(rest.stale, both("STALEUSDT")),
    ),
    Scenario(
        "snapshot-ahead",
        "The snapshot is far ahead of the stream.",
        "Nothing is shown until the stream has reached it; one snapshot suffices.",
        OnModel(model.ahead),
        OnFleet(rest.ahead, both("AHEADUSDT")),
    ),
    Scenario(
        "snapshot-minus-one",
        "Snapshots of a trading symbol have no levels and lastUpdateId -1.",
        "They are not used.",
        OnModel(model.minus_one),
        OnFleet(rest.minus_one, both("MINUSUSDT")),
    ),
    Scenario(
        "first-snapshot-minus-one",
        "The first snapshots of all have no levels and lastUpdateId -1, though the symbol trades.",
        "They are not used; the book begins with the first good one.",
        OnModel(model.first_minus_one),
        OnFleet(rest.minus_one_at_start, both("EMPTYFIRSTUSDT"), from_start=("snapshot_empty count=2",)),
    ),
    Scenario(
        "snapshot-wrong-level",
        "A snapshot has a wrong bid far from the market though its id fits; a later one shows it.",
        "The book leaves sync when the later one comes, and is right afterwards.",
        OnModel(model.wrong_level),
        OnFleet(rest.wrong_level, ("spot:WRONGUSDT",), alone=True),
    ),
    Scenario(
        "wrong-snapshot",
        "A snapshot has a wrong bid near the market though its id fits.",
        "No wrong level is ever shown: a second snapshot contradicts it first, and the book is right afterwards.",
        fleet=OnFleet(rest.wrong_snapshot, both("FALSEUSDT")),
    ),
    Scenario(
        "snapshot-lags",
        "Snapshots come from a cache that lags by more events than anybody buffers.",
        "The log is the buffer: the book comes into sync with the first of them.",
        OnModel(model.lagging),
    ),
    Scenario(
        "wrong-quantity",
        "Depth events that follow each other have wrong quantities.",
        "An audit finds it, says so, and the book is resynced.",
        fleet=OnFleet(rest.wrong_quantity, ("usdm:CORRUPTUSDT",), alone=True),
    ),
    Scenario(
        "snapshot-check",
        "Right snapshots come to a book in sync.",
        "It agrees with each of them and stays in sync.",
        OnModel(model.right_check),
    ),
    Scenario(
        "snapshot-inside-event",
        "The snapshot's id lies inside an event.",
        "The event is applied on top: the book neither rolls back nor asks again.",
        OnModel(model.overlapping),
    ),
    Scenario(
        "snapshot-before-event",
        "The first event begins exactly where the snapshot ends.",
        "The two fit.",
        OnModel(model.adjoining),
    ),
    Scenario(
        "late-snapshot",
        "An old reply comes when the book has long been in sync.",
        "It changes nothing.",
        OnModel(model.late_reply),
    ),
    Scenario(
        "rest-truncated",
        "Replies end in the middle.",
        "They are not used; another one is asked for.",
        OnModel(model.truncated_reply),
        OnFleet(rest.truncated, both("HALFUSDT")),
    ),
    Scenario(
        "rest-forbidden",
        "REST answers 403 with an HTML page.",
        "It is asked again a little later; the book is right afterwards.",
        fleet=OnFleet(rest.forbidden, both("HTMLUSDT")),
    ),
    Scenario(
        "rest-server-error",
        "REST answers 500, 503 and 504.",
        "It is asked again a little later; the book is right afterwards.",
        fleet=OnFleet(rest.server_errors, both("ERRORUSDT")),
    ),
    Scenario(
        "rest-slow",
        "A reply takes longer than the reader waits.",
        "It is asked again; the book is right afterwards.",
        fleet=OnFleet(rest.slow, ("usdm:SLOWUSDT",)),
    ),
    Scenario(
        "rest-reset",
        "The connection is cut instead of a reply.",
        "It is asked again; the book is right afterwards.",
        fleet=OnFleet(rest.reset, both("CUTUSDT")),
    ),
    Scenario(
        "list-with-one-bad-symbol",
        "exchangeInfo has null where one symbol's filters are, and entries whose names are none, one of 1,000 letters.",
        "That symbol alone is told unreadable; what is new of the others is taken in, and nobody leaves sync.",
        fleet=OnFleet(
            rubbish.list_with_one_bad_symbol, ("usdm:BADROWUSDT", "usdm:GOODROWUSDT"), undisturbed=True
        ),
    ),
    Scenario(
        "rest-429",
        "The request for one book gets 429 with Retry-After; other books want a snapshot a moment later.",
        "Nobody asks before that time is over; then all books come right with few requests.",
        fleet=OnFleet(rest.too_many, alone=True),
    ),
    Scenario(
        "rest-418",
        "The same with 418, a ban.",
        "Nobody asks before that time is over; then all books come right with few requests.",
        fleet=OnFleet(rest.banned, alone=True),
    ),
)

SOCKETS: Final = (
    Scenario(
        "legacy-path",
        "The aggTrade socket goes to the root of before 2026, which acknowledges and stays silent.",
        "The silence is reported and hangs nothing: the books of that venue are right.",
        fleet=OnFleet(sockets.legacy_path, ("legacy:OLDPATH1USDT", "legacy:OLDPATH2USDT"), undisturbed=True),
    ),
    Scenario(
        "silent-line",
        "One line's sockets stay open and bring no data.",
        "Its sockets are replaced; no gap, no resync, no missing trade.",
        fleet=OnFleet(sockets.silent_line, alone=True, undisturbed=True),
    ),
    Scenario(
        "silent-line-with-pings",
        "One line's spot sockets bring pings and no data.",
        "A ping is no data: new sockets are tried; no gap, no resync, no missing trade.",
        fleet=OnFleet(sockets.silent_line_with_pings, alone=True, undisturbed=True),
    ),
    Scenario(
        "silent-exchange",
        "Nobody gets data for many seconds while the market goes on.",
        "Books are withdrawn as stale; afterwards they resync, lost trades are fetched, all is right.",
        fleet=OnFleet(sockets.silent_exchange, alone=True),
    ),
    Scenario(
        "ack-then-silence",
        "New sockets of one line acknowledge the subscription and bring nothing.",
        "They are given up and opened again; the other line carries everything.",
        fleet=OnFleet(sockets.acknowledged_and_silent, alone=True, undisturbed=True),
    ),
    Scenario(
        "half-open-stall",
        "One line's sockets are half open: nothing comes, no close, no pong.",
        "They are replaced; no gap, no resync, no missing trade.",
        fleet=OnFleet(sockets.half_open, alone=True, undisturbed=True),
    ),
    Scenario(
        "stall-over-minute",
        "All sockets of both lines stand still over the end of a minute.",
        "The minute's bars are unproven, then complete with every trade; no bar called complete changes.",
        fleet=OnFleet(bars.stalled, alone=True),
    ),
    Scenario(
        "tcp-reset-of-one-line",
        "All TCP connections of one line are cut.",
        "No gap, no resync, no missing trade.",
        fleet=OnFleet(sockets.reset_line, alone=True, undisturbed=True),
    ),
    Scenario(
        "tcp-reset",
        "All TCP connections are cut at once.",
        "What was missed is a gap: books resync, trades are fetched, all is right afterwards.",
        fleet=OnFleet(sockets.reset_both, alone=True),
    ),
    Scenario(
        "upgrade-refused",
        "One line is cut off and its new connections get 503 for a while.",
        "No gap, no resync, no missing trade; the line comes back.",
        fleet=OnFleet(sockets.refused, alone=True, undisturbed=True),
    ),
    Scenario(
        "server-shutdown",
        "The exchange announces the end of all connections and closes them soon.",
        "They are replaced before they end; no gap, no resync, no missing trade.",
        fleet=OnFleet(sockets.shutdown_notice, alone=True, undisturbed=True),
    ),
    Scenario(
        "shutdown-with-quiet-symbol",
        "The same, twice in a row, while a symbol of each market is halted.",
        "The quiet symbol holds up no successor: its book is shown all the time, both lines live.",
        fleet=OnFleet(
            subscriptions.shutdown_with_quiet_symbol, both("QUIETUSDT"), alone=True, undisturbed=True
        ),
    ),
    Scenario(
        "stream-dead-on-both-lines",
        "One depth stream dies on both lines, whose sockets live; its market goes on.",
        "The book is withheld as `stream dead`, the stream subscribed anew; then one gap, one resync.",
        fleet=OnFleet(subscriptions.dead_depth, both("DEADUSDT")),
    ),
    Scenario(
        "trades-dead-on-both-lines",
        "One aggTrade stream dies on both lines, whose sockets live; its market goes on.",
        "The stream is subscribed anew, what was missed is fetched over REST; no trade is missing.",
        fleet=OnFleet(subscriptions.dead_trades, both("DEADTAPEUSDT"), undisturbed=True),
    ),
    Scenario(
        "refused-stream-among-many",
        "The exchange refuses one of more than 200 streams on a socket, to both lines.",
        "It is named and asked for again; its socket is never replaced, the other streams notice nothing.",
        fleet=OnFleet(subscriptions.refused_among_many, alone=True, undisturbed=True),
    ),
    Scenario(
        "day-over",
        "An exchange that was away begins to answer, and closes each connection after its (six second) day.",
        "The venue starts late, reconnects each time, and is right afterwards.",
        fleet=OnFleet(sockets.day_over, ("brief:DAYUSDT", "brief:NIGHTUSDT"), alone=True),
    ),
    Scenario(
        "day-with-rotation",
        "The same exchange, and sockets are replaced before its day is over, line by line.",
        "No gap, no resync, no missing trade.",
        fleet=OnFleet(
            sockets.day_with_rotation, ("brief:DAYUSDT", "brief:NIGHTUSDT"), alone=True, undisturbed=True
        ),
    ),
)
