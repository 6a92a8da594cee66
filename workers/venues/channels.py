"""Channels that the settings ask for by name, besides books, trades and best levels: any stream of the exchange.

What they bring is filed as it came. The exchange numbers none of it in a way that holds for all channels, so the log
does, and a message is known again by what it says: two lines bring the same one, and it is appended once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from math import inf
from typing import Final, NamedTuple

from workers.model.derivatives.figures import DerivativesUpdate
from workers.venues.messages import Subscription
from workers.venues.requests import RestRequest

PATIENCE: Final = 12.0
"""Some channels bring something once a minute: two minutes of silence of one are odd, ten seconds are not."""
QUIET: Final = inf
"""Of channels that speak only when something happens, such as a liquidation."""


class ExtraChannel(NamedTuple):
    """What is known of a channel; of most nothing has to be.

    patience: see `Subscription`.
    whole_market: it is one stream for all symbols, which its messages name.
    read: what a message, as the log has it, says of a derivative; raises MalformedFrame. None: nothing that is typed.
    changes_only: its messages say what changed; all of it comes with a subscription.
    request: it is no stream: REST is asked for it, symbol by symbol, and the reply is the message.
    """

    patience: float = PATIENCE
    whole_market: bool = False
    read: Callable[[bytes], DerivativesUpdate] | None = None
    request: Callable[[str], RestRequest] | None = None
    changes_only: bool = False


def name_of(*parts: bytes) -> str:
    """By what a message is known again: the digest of what it says."""
    return blake2b(b"\0".join(parts), digest_size=12).hexdigest()


def extras_of(streams: Iterable[Subscription]) -> Mapping[str, Subscription]:
    """Those of some streams that the settings ask for by name, by their wire names."""
    return {each.stream: each for each in streams if each.is_extra}
