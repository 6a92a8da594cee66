"""All scenarios."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Final

from workers.conformance.catalogue.answers import SNAPSHOTS, SOCKETS
from workers.conformance.catalogue.orders import ORDERS
from workers.conformance.catalogue.streams import CALM, MARKETS, STREAMS
from workers.conformance.catalogue.venues import VENUES
from workers.conformance.fleet import archive, failover, machines, rubbish, starvation, zombies
from workers.conformance.result import Level
from workers.conformance.scenario import OnFleet, Scenario
from workers.errors import WrongArgument

__all__ = ["CALM", "SCENARIOS", "chosen"]

NOTHING: Final = "No gap, no resync, no snapshot, no missing or doubled trade."

MACHINES: Final = (
    Scenario(
        "kill-ingest-a",
        "kill -9 of line a.",
        NOTHING,
        fleet=OnFleet(machines.kill_ingest_a, alone=True, undisturbed=True),
    ),
    Scenario(
        "kill-ingest-b",
        "kill -9 of line b.",
        NOTHING,
        fleet=OnFleet(machines.kill_ingest_b, alone=True, undisturbed=True),
    ),
    Scenario(
        "kill-both-lines",
        "kill -9 of both lines at once.",
        "What was missed is a gap: books resync, trades are fetched, all is right afterwards.",
        fleet=OnFleet(machines.kill_both_lines, alone=True),
    ),
    Scenario(
        "kill-books",
        "kill -9 of a books worker.",
        f"Another takes its books over from checkpoint and stream. {NOTHING}",
        fleet=OnFleet(machines.kill_books, alone=True, undisturbed=True),
    ),
    Scenario(
        "kill-trades",
        "kill -9 of a trades worker.",
        f"Another takes its symbols over. {NOTHING}",
        fleet=OnFleet(machines.kill_trades, alone=True, undisturbed=True),
    ),
    Scenario(
        "kill-all-owners",
        "kill -9 of every books and trades worker at once.",
        f"New ones take everything over from checkpoint and stream. {NOTHING}",
        fleet=OnFleet(machines.kill_all_owners, alone=True, undisturbed=True),
    ),
    Scenario(
        "kill-all-workers",
        "kill -9 of every worker at once, both lines included.",
        "What was missed is a gap: books resync, trades are fetched, all is right afterwards.",
        fleet=OnFleet(machines.kill_all_workers, alone=True),
    ),
    Scenario(
        "kill-keeper",
        "kill -9 of the keeper.",
        NOTHING,
        fleet=OnFleet(machines.kill_keeper, alone=True, undisturbed=True),
    ),
    Scenario(
        "kill-api",
        "kill -9 of the API.",
        NOTHING,
        fleet=OnFleet(machines.kill_api, alone=True, undisturbed=True),
    ),
    Scenario(
        "kill-archive",
        "kill -9 of the archive, again and again while it writes.",
        "Its files have every trade once.",
        fleet=OnFleet(archive.kill_archive),
        needs="pyarrow",
    ),
    Scenario(
        "zombie-books",
        "A books worker is stopped for longer than its lease, and goes on when others own its books.",
        f"It changes nothing. {NOTHING}",
        fleet=OnFleet(machines.zombie_books, alone=True, undisturbed=True),
    ),
    Scenario(
        "zombie-trades",
        "A trades worker is stopped for longer than its lease, and goes on when others own its symbols.",
        f"It changes nothing. {NOTHING}",
        fleet=OnFleet(machines.zombie_trades, alone=True, undisturbed=True),
    ),
    Scenario(
        "late-writes",
        "What a former owner had in hand is written after others own its symbols: a book, a checkpoint, a trade.",
        f"Each is refused for its fencing number. {NOTHING}",
        fleet=OnFleet(zombies.late_writes, undisturbed=True),
    ),
    Scenario(
        "zombie-line",
        "Line a is stopped for longer than any heartbeat, and goes on with what its sockets held.",
        f"What it brings late is known already. {NOTHING}",
        fleet=OnFleet(machines.stop_line, alone=True, undisturbed=True),
    ),
    Scenario(
        "redis-restart",
        "The server is stopped and started with what it had stored.",
        f"Everything goes on where it was. {NOTHING}",
        fleet=OnFleet(machines.restart_redis, alone=True, undisturbed=True),
    ),
    Scenario(
        "redis-killed",
        "kill -9 of the server, which comes back with its append-only file.",
        f"Everything goes on where it was. {NOTHING}",
        fleet=OnFleet(machines.kill_redis, alone=True, undisturbed=True),
    ),
    Scenario(
        "redis-data-lost",
        "The server comes back empty, while trades wait in it that nobody has applied.",
        "Groups, scripts and streams are made anew, books are right again, the gaps stream tells the lost trades.",
        fleet=OnFleet(machines.lose_redis_data, alone=True),
    ),
    Scenario(
        "redis-frozen",
        "The server stands still for seconds, longer than a lease.",
        f"Everything goes on where it was. {NOTHING}",
        fleet=OnFleet(machines.freeze_redis, alone=True, undisturbed=True),
    ),
    Scenario(
        "server-fail-over",
        "A replica becomes the primary and takes over its name, and once more the other way round.",
        "Workers give up connections to a server that is no primary and go on with the new one. Everything is right.",
        fleet=OnFleet(failover.fail_over, alone=True),
    ),
    Scenario(
        "redis-out-of-memory",
        "The server refuses writes for some seconds.",
        f"What arrived meanwhile is kept and written then. {NOTHING}",
        fleet=OnFleet(machines.starve_redis, alone=True, undisturbed=True),
    ),
    Scenario(
        "burst-on-starved-workers",
        "Everything runs ten times faster for some seconds, and each books and trades worker has a tenth of a core.",
        "All books and tapes come back while the workers are still starved. Everything is right afterwards.",
        fleet=OnFleet(starvation.burst_on_starved_workers, starvation.BOOKS, alone=True),
        takes_long=True,
    ),
    Scenario(
        "redis-killed-under-load",
        "kill -9 of the server while each books and trades worker has a tenth of a core and three times the load.",
        "All books and tapes come back without waiting for the load to fall. Everything is right afterwards.",
        fleet=OnFleet(starvation.redis_killed_under_load, starvation.BOOKS, alone=True),
        takes_long=True,
    ),
    Scenario(
        "too-little-for-all",
        "After such a burst the books and trades workers have so little of a core that nobody could serve all symbols.",
        "Some books and tapes are served and right instead of none. All are, once there is enough for them.",
        fleet=OnFleet(starvation.too_little_for_all, starvation.BOOKS, alone=True),
        takes_long=True,
    ),
    Scenario(
        "rubbish-in-every-key",
        "Every key family of one symbol holds rubbish for a moment, one after the other: of other types, or its own.",
        "No role ends, the log stays short, the other books and tapes are right; that symbol comes back with its keys.",
        fleet=OnFleet(
            rubbish.rubbish_in_every_key,
            ("usdm:RUBBISHUSDT", "usdm:BESIDEUSDT", "spot:BESIDEUSDT"),
            alone=True,
        ),
    ),
    Scenario(
        "exchange-frozen",
        "The exchange stands still for some seconds and goes on.",
        "Everything is right afterwards.",
        fleet=OnFleet(machines.freeze_exchange, alone=True),
    ),
)

SCENARIOS: Final[tuple[Scenario, ...]] = (
    *STREAMS,
    *MARKETS,
    *SNAPSHOTS,
    *SOCKETS,
    *MACHINES,
    *VENUES,
    *ORDERS,
)


def chosen(
    patterns: Sequence[str], levels: Sequence[Level], *, default: bool = True, others: bool = True
) -> list[Scenario]:
    """The scenarios whose names fit one of the shell patterns (all without any) and that run on a wanted level.

    Args:
        default: on the exchange that every scenario but those of `VENUES` and `ORDERS` is for.
        others: on the other ones.

    Raises:
        WrongArgument: a pattern fits none.
    """
    found = []
    for pattern in patterns or ["*"]:
        fitting = [
            one
            for one in SCENARIOS
            if fnmatchcase(one.name, pattern)
            and any(one.on(level, default=default, others=others) for level in levels)
        ]
        if not fitting:
            near = get_close_matches(pattern, [one.name for one in SCENARIOS], 1)
            told = "" if near else "; `fleet conform --list` tells them"
            raise WrongArgument(f"No scenario is called {pattern!r}{told}", meant=near[0] if near else "")
        found += fitting
    return [one for one in SCENARIOS if one in found]
