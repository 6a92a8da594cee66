"""Trades with lower ids though they were made later: whether the exchange began its ids anew, and going on with them.

They stay unacknowledged until that is known, so the next owner finds them as this one did.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

import structlog
from prometheus_client import Counter

from workers.errors import MalformedFrame, NotServed, RateLimited, RestError
from workers.model.pauses import Pauses
from workers.model.trades.numbering import LOWER_CONFIRMING, Confirmation, LowerRun, confirmed, first_of
from workers.runtime.rest import RestClient
from workers.store.fleet.budget import Urgency
from workers.store.trades.batch import entry_ms
from workers.store.trades.fold import TradeStore
from workers.trades.tape import OwnedTape

log = structlog.get_logger()

RESTARTED = Counter(
    "fleet_trade_ids_restarted_total", "Times the exchange began the ids of a symbol's trades anew", ["venue"]
)
UNCONFIRMED = Counter(
    "fleet_trade_ids_unconfirmed_total", "Requests that did not tell whether trade ids began anew", ["venue"]
)
REFUTED = Counter(
    "fleet_trade_ids_refuted_total",
    "Trades passed over because their ids are not the exchange's",
    ["venue"],
)

FEWER_AFTER_S: Final = 30.0
"""In a market where so few trades are made, those that waited this long are enough to ask about."""
FIRST_PAUSE_S: Final = 1.0
"""Before the exchange is asked again; each further pause is twice as long."""
LONGEST_PAUSE_S: Final = 15.0
MOST_PAGES: Final = 20
"""Pages of trades looked through for the first of the new ids."""


class Restarts:
    """Recognises ids that began anew, for one venue.

    Args:
        id_reset_ms: by how much the time of an event with a lower id must have gone on for the log to take it. That
            is judged by event times, this by trade times, some of which are older: half of it has to do.
        timeout_s: of a request.
    """

    def __init__(self, rest: RestClient, store: TradeStore, id_reset_ms: int, timeout_s: float) -> None:
        self._rest = rest
        self._store = store
        self._went_on_ms = max(id_reset_ms // 2, 1)
        self._timeout_s = timeout_s

    def run_of(self, tape: OwnedTape, within: int) -> LowerRun | None:
        """The trades among the first so many waiting that are no repeats although their ids are lower."""
        run = tape.lower_run(self._went_on_ms, within)
        if run is None or run.at > 0 or not (run.is_over and tape.restored):
            return run
        refute(tape, run.at, run.end)
        return self.run_of(tape, within)

    @staticmethod
    def is_enough(tape: OwnedTape, run: LowerRun) -> bool:
        """Whether to ask the exchange."""
        waited_s = time.monotonic() - (tape.lower_since_s or time.monotonic())
        is_long = run.market >= LOWER_CONFIRMING or waited_s >= FEWER_AFTER_S
        return tape.restored and run.at == 0 and is_long

    async def settle(self, tape: OwnedTape, run: LowerRun) -> None:
        """Ask the exchange, as often as it takes, and follow the ids or pass them over.

        Raises:
            LeaseLost: the symbol is another worker's.
            StoreError, RedisError: it is found again by the next round.
        """
        name, symbol = tape.claim.context.name, tape.claim.symbol
        entries = tape.waiting[run.at : run.end]
        first_entry, first = entries[0]
        log.info("trade_ids_lower", venue=name, symbol=symbol, last=tape.last_id, first=first.trade_id,
                    trades=len(entries))  # fmt: skip
        try:
            answer = await self._answer(tape, run)
        finally:
            tape.hole_reason = ""
        if not answer.began_anew:
            refute(tape, run.at, run.end)
            return
        last_id, since_ms = tape.last_id, entry_ms(first_entry)
        await self._store.restart(symbol, answer.first, last_id, since_ms, tape.token)
        tape.began_anew(answer.first, since_ms)
        RESTARTED.labels(name).inc()
        log.error("trade_ids_restarted", venue=name, symbol=symbol, last=last_id, first=answer.first)

    async def _answer(self, tape: OwnedTape, run: LowerRun) -> Confirmation:
        trades = [trade for _, trade in tape.waiting[run.at : run.end]]
        if tape.is_numbered:  # the log's numbers rise as long as it is the same log
            return Confirmation(True, trades[0].trade_id)
        attempt, pauses = 0, Pauses(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        while True:
            urgency = Urgency.BROKEN if attempt < 3 else Urgency.START
            problem = "the exchange's newest trades are older"
            try:
                venue, symbol = tape.claim.context.venue, tape.claim.symbol
                body = await self._rest.get(
                    venue.trades_request(symbol, None, tape.last_trade_time), urgency, self._timeout_s
                )
                answer = confirmed(trades, venue.trades(symbol, body), tape.last_id, tape.last_trade_time)
                if answer.began_anew is not None:
                    return answer if not answer.began_anew else await self._from_the_first(tape, answer)
            except RateLimited:
                continue  # the budget makes the next request wait until it may be sent
            except NotServed:  # nor will it ever tell
                return Confirmation(True, max(1, trades[0].trade_id))
            except (RestError, MalformedFrame) as error:
                problem = str(error)
            attempt += 1
            self._tell_unconfirmed(tape, trades[0].trade_id, attempt, problem)
            await asyncio.sleep(pauses.take())

    async def _from_the_first(self, tape: OwnedTape, answer: Confirmation) -> Confirmation:
        """The same with the first of the new ids that REST has: those that the log took for repeats, too.

        Raises:
            RestError, MalformedFrame: ask again later.
        """
        venue, symbol, first = tape.claim.context.venue, tape.claim.symbol, answer.first
        for _ in range(MOST_PAGES):
            if first <= 1:
                break
            before = venue.trades_request(symbol, max(1, first - venue.trades_span), tape.last_trade_time)
            body = await self._rest.get(before, Urgency.START, self._timeout_s)
            earlier = first_of(venue.trades(symbol, body), first, tape.last_trade_time)
            if earlier == first:
                break
            first = earlier
        return Confirmation(True, first)

    @staticmethod
    def _tell_unconfirmed(tape: OwnedTape, first: int, attempt: int, problem: str) -> None:
        name, symbol = tape.claim.context.name, tape.claim.symbol
        UNCONFIRMED.labels(name).inc()
        log.warning("trade_ids_unconfirmed", venue=name, symbol=symbol, attempt=attempt, error=problem)
        begun = f"The ids of trades seem to have begun anew at {first}"
        tape.hole_reason = f"{begun}, and the exchange does not say so yet: {problem}"


def refute(tape: OwnedTape, at: int, end: int) -> None:
    """Pass over waiting trades, by their places, whose ids are not the exchange's; counted and told."""
    name, symbol = tape.claim.context.name, tape.claim.symbol
    REFUTED.labels(name).inc(end - at)
    log.warning("trade_ids_refuted", venue=name, symbol=symbol, last=tape.last_id,
                first=tape.waiting[at][1].trade_id, trades=end - at)  # fmt: skip
    tape.give_up(at, end)
