"""Exchange's side of one socket: several channels a request, no numbers of the socket, and a key for single orders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from workers.sim.coinbase.conversation import CoinbaseConversation, json_text, texts_of
from workers.sim.coinbase.signature import problem_of
from workers.sim.engine.flavour import Output
from workers.sim.engine.limits import AttemptLimiter
from workers.sim.engine.subscriptions import Subscriptions

CHANNELS: Final = ("level2_batch", "matches", "heartbeat", "full")
WITH_KEY: Final = ("level2", "level3", "full")
"""Of these only `full` is simulated."""
MOST_SUBSCRIPTIONS: Final = 10
"""Of one product and channel by one address."""
NO_KEY: Final = "level2, level3, and full channels now require authentication."
FAILED: Final = "Failed to subscribe"
NOT_LET_IN: Final = "Authentication Failed"


class ExchangeConversation(CoinbaseConversation):
    """One client of Exchange; see `CoinbaseConversation`.

    Args:
        key: the parts of the one key that is known, as the settings of a venue call them.
    """

    def __init__(
        self,
        subscriptions: Subscriptions,
        requests: AttemptLimiter,
        address: str,
        now_s: float,
        key: Mapping[str, str],
    ) -> None:
        super().__init__(subscriptions, requests, address, now_s)
        self._key = key

    def perform(self, action: str, request: dict[str, Any], now_s: float, clock_ms: int) -> Iterator[Output]:
        """`last_match` comes before the acknowledgement, the book after it (captured)."""
        streams, problem = _named(request, self.subscribed() if action == "unsubscribe" else {})
        if (
            action == "subscribe"
            and "signature" in request
            and (wrong := problem_of(request, self._key, clock_ms))
        ):
            yield self.error(NOT_LET_IN, json_text({"message": wrong}))
            return
        if action == "subscribe" and not problem:
            problem = self._problem(streams)
        if problem:
            yield self.error(FAILED, problem)
            return
        if action == "unsubscribe":
            for stream in streams:
                self.detach(stream)
        else:
            for stream in streams:
                if not stream.startswith("level2_batch:") and (first := self.attach(stream)) is not None:
                    yield first
        books = [stream for stream in streams if stream.startswith("level2_batch:")]
        channels = self.subscribed()
        for stream in books if action == "subscribe" else ():
            listed = channels.setdefault("level2_batch", [])
            listed += [stream.partition(":")[2]] * (stream not in self._streams)
        rows = [{"name": name, "product_ids": products} for name, products in channels.items()]
        yield json_text({"type": "subscriptions", "channels": rows})
        for stream in books if action == "subscribe" else ():
            if (first := self.attach(stream)) is not None:
                yield first

    def _problem(self, streams: list[str]) -> str:
        refused = self.refused(streams)
        if refused:
            return f"{refused} is not a valid product"
        for stream in streams:
            topic = self._subscriptions.find(stream)
            if topic is not None and self._subscriptions.of_address(topic) >= MOST_SUBSCRIPTIONS:
                channel, _, product = stream.partition(":")
                return f"subscription limit exceeded for {product} on channel {channel}"
        return ""

    def error(self, message: str, reason: str) -> str:
        """`{"type":"error","message":"Failed to subscribe","reason":"…"}`."""
        return json_text({"type": "error", "message": message} | ({"reason": reason} if reason else {}))


def _named(request: dict[str, Any], default: dict[str, list[str]]) -> tuple[list[str], str]:
    """The streams of a request, `channel:product`, and what is wrong with it: channels are names, or objects.

    Whether its signature is good is not looked at.

    Args:
        default: products of a channel for which none are named.
    """
    everywhere = texts_of(request.get("product_ids"))
    channels = request.get("channels")
    streams: dict[str, None] = {}
    for channel in channels if isinstance(channels, list) else ():
        name = channel.get("name") if isinstance(channel, dict) else channel
        products = texts_of(channel.get("product_ids")) if isinstance(channel, dict) else []
        if name in WITH_KEY and not (name == "full" and "signature" in request):
            return [], NO_KEY
        if name not in CHANNELS:
            return [], f"{json_text(name)[:40]} is not a valid channel"
        products = products or everywhere or default.get(name, [])
        if not products:
            return [], f"You need to specify at least one product ID for channel {name}"
        streams.update((f"{name}:{product}", None) for product in products)
    return list(streams), "" if streams else "No channels provided"
