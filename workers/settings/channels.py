"""The lists of further channels in the settings: how they are spelled, and what cannot be meant."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Collection, Sequence
from typing import Final

from workers.settings.schema import VenueSettings
from workers.settings.signed import SignedVenueSettings
from workers.settings.symbols import Refusal

SPELLED: Final = re.compile(r"[!A-Za-z0-9][A-Za-z0-9@_.+-]{0,63}")
"""What a channel may be called: its name is the end of a key, and a part of a path in the archive."""
TAKEN: Final = frozenset(
    {
        "depth",
        "aggTrade",
        "bookTicker",
        "orders",
        "snapshot",
        "top",
        "gaps",
        "audit",
        "derivatives",
        "liquidations",
    }
)
"""What the fleet's own streams are called."""


def _problem(channel: str, before: Sequence[str], own: Collection[str]) -> str:
    if not SPELLED.fullmatch(channel):
        return "it must be a stream's name without its symbol, such as kline_1m"
    if channel in before:
        return "it is there twice"
    return "the fleet follows that one by itself" if channel in TAKEN or channel in own else ""


def check_channels(section: str, venue: VenueSettings, refused: Refusal) -> None:
    """The channels of a venue, and its single orders. Raises: SettingsError."""
    if venue.orders and not venue.tells_orders:
        problem = f"single orders of {venue.exchange} are not followed by this release"
        raise refused(f"{section}.orders", problem, "false")
    if venue.orders and isinstance(venue, SignedVenueSettings):
        if missing := venue.missing_key(section.removeprefix("venues.")):
            raise refused(f"{section}.orders", missing, "false")
        if odd := venue.odd_part_of_key():
            problem = "it has blanks or signs that no key has: copy it as the exchange gave it out"
            raise refused(f"{section}.{odd}", problem, "")
        try:
            b64decode(venue.api_secret, validate=True)
        except ValueError:
            problem = "it is no base64: copy it as the exchange gave it out"
            raise refused(f"{section}.api_secret", problem, "") from None
    key, own = f"{section}.channels", venue.own_channels
    if own is None:
        if not venue.channels:
            return
        raise refused(key, f"further channels of {venue.exchange} are not followed by this release", "")
    for index, channel in enumerate(venue.channels):
        problem, better = _problem(channel, venue.channels[:index], own), ""
        if not problem:
            problem, better = venue.channel_problem(channel)
        if problem:
            raise refused(key, f"{channel[:80]!r} cannot be a channel: {problem}", better)
