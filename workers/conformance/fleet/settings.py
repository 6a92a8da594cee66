"""The settings of a suite's fleet and of its exchange: everything that waits is scaled down to seconds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from workers.sim.engine.faults import Fault

LEVELS: Final = 200
LEVELS_KEPT: Final = 600
"""Levels a side the books keep, more than an exchange has that does not misbehave."""
SIMULATOR: Final[dict[str, Any]] = {
    "rate_scale": 2.0,
    "levels_per_side": LEVELS,
    "jump_every_s": 0.0,
    "burst_every_s": 0.0,
    "spot_ping_s": 5.0,
    "shutdown_delay_s": 2.0,
    "connection_attempts": 100_000,
    "spot_weight_limit": 60_000,
    "usdm_weight_limit": 60_000,
    "snapshot_lag_ms": 100,
    "snapshot_refresh_ms": 200,
}
SHORT_DAY: Final = "lifetime value=6"
"""What is wrong with the other exchange: its day lasts six seconds."""

MARKETS: Final = {"usdm": "usdm", "spot": "spot", "legacy": "usdm", "brief": "usdm"}
"""The fleet's venues and their markets, in order; `brief` is on an exchange of its own."""
SNAPSHOT_DEPTHS: Final = {"usdm": 500, "spot": 100, "legacy": 500, "brief": 500}
"""500 levels are more than there are, so those books are complete; spot books know a range."""

SECTIONS: Final[dict[str, dict[str, Any]]] = {
    "fleet": {"log_level": "info", "heartbeat_ms": 1000, "lease_ms": 3000},
    "ingest": {
        "hold_ms": 3000,
        "trade_hold_ms": 1500,
        "silence_s": 6,
        "first_message_s": 3,
        "open_timeout_s": 3,
        "backoff_first_s": 0.2,
        "backoff_max_s": 1.0,
        "rotate_s": 100_000,
        "rotate_stagger_s": 0,
    },
    "books": {
        "levels": LEVELS_KEPT,
        "snapshot_delay_ms": 600,
        "snapshot_timeout_s": 6,
        "snapshot_retry_s": 0.5,
        "snapshot_retry_max_s": 2,
        "commit_ms": 500,
        "crossed_ms": 600,
        "stale_ms": 12_000,
    },
    "trades": {"close_grace_ms": 500, "repair_timeout_s": 2},
    "keeper": {"info_s": 2, "audit_s": 0, "audit_confirm_s": 0.5, "audit_weight_share": 0.5},
}
PATIENT: Final[dict[str, dict[str, Any]]] = {
    "ingest": {"silence_s": 30, "first_message_s": 10, "open_timeout_s": 10},
}
"""Where no scenario silences whole sockets: on a busy machine the exchange itself may say nothing for six seconds, and
lines that give up all their sockets for it have a gap."""


def auditing(books: Iterable[str]) -> dict[str, str]:
    """The environment of a keeper that audits these books and hardly others, again and again."""
    return {"FLEET_KEEPER__AUDIT_S": "1", **only_symbols(books)}


def only_symbols(books: Iterable[str]) -> dict[str, str]:
    """The environment of a worker that knows these books only, and one calm one of a venue without any."""
    found = symbols_of(books)
    names = {venue: found.get(venue, ["CALM1USDT"]) for venue in ("usdm", "spot")}
    return {f"FLEET_VENUES__{venue.upper()}__SYMBOLS": ",".join(symbols) for venue, symbols in names.items()}


def symbols_of(books: Iterable[str]) -> dict[str, list[str]]:
    """Venue by venue the symbols of books written `venue:SYMBOL`."""
    found: dict[str, list[str]] = {venue: [] for venue in MARKETS}
    for name in books:
        venue, _, symbol = name.partition(":")
        if symbol not in found[venue]:
            found[venue].append(symbol)
    return {venue: symbols for venue, symbols in found.items() if symbols}


def simulator(port: int, symbols: Mapping[str, Sequence[str]], faults: Sequence[str] = ()) -> str:
    """The settings of an exchange process, as JSON."""
    listed = {
        f"{market}_symbols": list(dict.fromkeys(name for venue in venues for name in symbols.get(venue, ())))
        for market, venues in {"usdm": ("usdm", "legacy", "brief"), "spot": ("spot",)}.items()
    }
    for text in faults:
        Fault.parse(text)
    return json.dumps({**SIMULATOR, **listed, "port": port, "faults": list(faults)}, ensure_ascii=False)


def fleet_file(
    home: Path,
    symbols: Mapping[str, Sequence[str]],
    ports: Mapping[str, int],
    redis_url: str,
    *,
    patient: bool = False,
) -> str:
    """The fleet's settings file.

    Args:
        patient: whether lines bear silent sockets for long.
    """
    changes = PATIENT if patient else {}
    tables: dict[str, dict[str, Any]] = {
        name: {**keys, **changes.get(name, {})} for name, keys in SECTIONS.items()
    }
    tables["fleet"]["home"] = str(home)
    tables["redis"] = {"url": redis_url, "port": 0}
    tables["api"] = {"port": ports["api"]}
    for venue, names in symbols.items():
        port = ports["brief" if venue == "brief" else "exchange"]
        tables[f"venues.{venue}"] = {
            "market": MARKETS[venue],
            "symbols": list(names),
            "websocket_url": f"ws://127.0.0.1:{port}/{MARKETS[venue]}",
            "rest_url": f"http://127.0.0.1:{port}/{MARKETS[venue]}",
            "snapshot_depth": SNAPSHOT_DEPTHS[venue],
        }
    if "legacy" in symbols:
        tables["venues.legacy"]["market_path"] = ""
    return "\n".join(
        f"[{name}]\n"
        + "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in keys.items())
        for name, keys in tables.items()
    )
