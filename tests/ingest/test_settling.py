"""When a new socket can be relied on, so that it takes over from the one before."""

from __future__ import annotations

from workers.ingest.settling import SETTLE_S, Settling
from workers.ingest.subscriptions import Refusals, Subscriptions
from workers.venues.channels import QUIET
from workers.venues.messages import Subscription


def test_a_socket_whose_streams_are_mostly_silent_waits_for_its_answers() -> None:
    """Else the one before would be closed while nothing is subscribed on it, on both lines after one notice."""
    streams = Subscriptions(Refusals(1.0), 100, 10.0)
    streams.want([Subscription("btcusdt@forceOrder", "forceOrder", "BTCUSDT", QUIET)])
    settling = Settling(streams, 60.0)
    settling.opened(0.0)
    request = streams.next()
    assert request is not None
    streams.sent(1, "subscribe", request.streams, 0.0)
    settling.look(1.0)
    assert not settling.done.is_set()
    streams.acknowledged(1)
    for now in (2.0, 2.0 + SETTLE_S):
        assert not settling.done.is_set()
        settling.look(now)
    assert settling.done.is_set()
