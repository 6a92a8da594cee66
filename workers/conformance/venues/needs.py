"""Which venues know a fault, read off what is true of them."""

from __future__ import annotations

from workers.venues.facts import Continuity, Facts


def every_venue(facts: Facts) -> bool:
    """Any exchange knows it."""
    return True


def in_band(facts: Facts) -> bool:
    """Books begin with a message of their stream."""
    return facts.snapshots == "in band"


def sees_losses(facts: Facts) -> bool:
    """A message that is missing shows at the next one."""
    return in_band(facts) and facts.continuity not in (Continuity.NONE, Continuity.RISING)


def numbers_connections(facts: Facts) -> bool:
    """The frames of a socket are numbered, whosever they are."""
    return in_band(facts) and facts.continuity is Continuity.CONNECTION


def counts_trades(facts: Facts) -> bool:
    """A trade that is missing shows at the next one."""
    return facts.trade_ids == "consecutive"


def numbers_books(facts: Facts) -> bool:
    """The messages of a book are numbered."""
    return in_band(facts) and facts.continuity.by_id


def sends_checksums(facts: Facts) -> bool:
    """The exchange says a checksum of the book."""
    return in_band(facts) and facts.checksum is not None
