"""What is held back of the books one worker publishes, and when that is over."""

from __future__ import annotations

from typing import Any

from workers.books.publishing import BookPublishing
from workers.runtime.context import venue_contexts
from workers.runtime.quarantine import SETTLED_S, Quarantine
from workers.settings.loading import parse
from workers.store.books.publishing import Signals

SETTINGS = """
[venues.usdm]
market = "usdm"
symbols = ["BTCUSDT"]
"""


async def test_a_key_that_can_be_written_again_is_held_back_no_longer():
    settings = parse(SETTINGS, "a test", {}).settings
    [context] = venue_contexts(settings)
    now = [0.0]
    unused: Any = None
    quarantine = Quarantine(unused, "books", lambda: now[0])
    publishing = BookPublishing(unused, [context], {}, {}, unused, quarantine, unused)
    quarantine.stumbled(context, "BTCUSDT", "publish", ValueError("a key is of another type"))
    for now[0] in (1.0, 1.0 + SETTLED_S):
        await publishing._heed(context, Signals([], {}), {"BTCUSDT": 1})
    assert quarantine.reason(context, "BTCUSDT") == ""
    assert not quarantine._held
