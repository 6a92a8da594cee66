"""What stands between the wish for single orders and its frame: a token, and a limit on subscriptions a second.

A token is asked of REST with the user's own key, is good for 15 minutes, and is shown with every request about single
orders; a subscription that runs outlives it.

    POST /0/private/GetWebSocketsToken          API-Key: …   API-Sign: …          nonce=1616492376594
    {"error":[],"result":{"token":"1Dwc4lzSwNWOAwkMdqhssNNFhs1ed606d1WcF3XfEMw","expires":900}}
    {"error":["EAPI:Invalid key"]}

Sources: Kraken's guides "Spot REST authentication" and "Spot WebSocket authentication", and its page of `level3`.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Iterable
from hashlib import sha256, sha512
from hmac import digest
from typing import Final, NamedTuple

import msgspec

from workers.model.pauses import Pauses
from workers.plain_text import plain
from workers.venues.kraken import wire
from workers.venues.kraken.settings import KrakenSettings
from workers.venues.messages import Subscription
from workers.venues.requests import Post, RestRequest
from workers.venues.session import Event, RefusedStreams
from workers.venues.tolerant_json import UNUSABLE

PATH: Final = "/0/private/GetWebSocketsToken"
MARGIN_MS: Final = 60_000
"""A token is used no more so long before its end."""
MOST_BYTES: Final = 65_536
UNITS_A_SECOND: Final = 200
"""What subscriptions may cost a user in a second."""
UNITS: Final = {10: 5, 100: 25, 1000: 100}
"""What one costs, by its depth."""
FIRST_S: Final = 2.0
LONGEST_S: Final = 16.0
"""Pauses between two requests for a token that nobody answers; instead of the longest the streams count as refused."""
_PASSING: Final = ("nonce", "rate limit", "eservice", "egeneral:temporary")
"""In errors that say nothing against the key: two processes may have asked in the wrong order."""
_OF_TOKEN: Final = ("token", "session", "eapi:")
"""In errors that say something against the token."""

_reply = msgspec.json.Decoder(wire.Reply)
_text = msgspec.json.Decoder(str)
_seconds = msgspec.json.Decoder(int)


def signature(secret: str, path: str, nonce: str, body: str) -> str:
    """`API-Sign` of a request. Raises: ValueError, where the secret is no base64."""
    message = path.encode() + sha256((nonce + body).encode()).digest()
    return b64encode(digest(b64decode(secret, validate=True), message, sha512)).decode()


def is_of_token(message: str) -> bool:
    """Whether a subscription is refused for its token."""
    return any(word in message.lower() for word in _OF_TOKEN)


class KrakenKey:
    """The user's key: it signs requests for tokens, each with a higher nonce."""

    def __init__(self, settings: KrakenSettings) -> None:
        self._settings = settings
        self._nonce = 0

    def without_key(self, said: str) -> str:
        """What the exchange said, should it repeat a part of the key."""
        return self._settings.without_key(said)

    def request(self, now_ms: int) -> RestRequest:
        """The request for a token."""
        self._nonce = max(self._nonce + 1, now_ms)
        body = f"nonce={self._nonce}"
        sign = signature(self._settings.api_secret, PATH, str(self._nonce), body)
        headers = {
            "API-Key": self._settings.api_key,
            "API-Sign": sign,
            "Content-Type": "application/x-www-form-urlencoded",
        }
        url = f"{self._settings.rest_url.rstrip('/')}{PATH}"
        return RestRequest(url, 1, "kraken", MOST_BYTES, Post(body, headers))


class Wish(NamedTuple):
    """To have a stream of single orders, or not to have it any more; `request_id`: under which it was asked for."""

    method: str
    stream: Subscription
    request_id: int


class OrderAccess:
    """The wishes of one socket that wait for a token or for their second; times are ms."""

    def __init__(self, settings: KrakenSettings, key: KrakenKey) -> None:
        self._key = key
        self._a_second = max(1, UNITS_A_SECOND // UNITS[settings.orders_depth])
        self._wishes: deque[Wish] = deque()
        self.token = ""
        self._good_until_ms = self._ask_at_ms = 0
        self._sent_ms = -1_000
        self._asking = False
        self._doubted = False
        """The token was got because the one before it was refused."""
        self._refused_token = ""
        self._pauses = Pauses(FIRST_S, LONGEST_S)

    def want(self, method: str, streams: Iterable[Subscription], request_id: int) -> None:
        """Take up wishes, after those that wait."""
        self._wishes.extend(Wish(method, stream, request_id) for stream in streams)

    def request(self, now_ms: int) -> RestRequest | None:
        """The request for a token, where one is wanted and none is under way; `took` is to be told of its end."""
        due = self._wishes and not self._asking and now_ms >= max(self._good_until_ms, self._ask_at_ms)
        if not due:
            return None
        self._asking = True
        return self._key.request(now_ms)

    def took(self, body: bytes | None, now_ms: int) -> list[Event]:
        """A request for a token has ended: with a body, or without one. What is to be said of the wishes."""
        self._asking = False
        if body is None:
            return self._wait("REST does not answer the request for a token", now_ms)
        try:
            reply = _reply.decode(body)
            problem = plain(self._key.without_key("; ".join(reply.error)), 200)
            if any(word in problem.lower() for word in _PASSING):
                return self._wait(problem, now_ms)
            if problem:
                return self._give_up(problem)
            result = reply.result or {}
            token, seconds = _text.decode(result["token"]), _seconds.decode(result["expires"])
        except (*UNUSABLE, ValueError, KeyError):
            return self._wait("the answer to the request for a token is malformed", now_ms)
        lasts_ms = seconds * 1000
        self.token, self._good_until_ms = token, now_ms + max(lasts_ms - MARGIN_MS, lasts_ms // 2)
        self._pauses.reset()
        return []

    def due(self, now_ms: int) -> list[list[Wish]]:
        """The wishes whose time has come, those that one frame can name together; they wait no more."""
        if now_ms >= self._good_until_ms or now_ms - self._sent_ms < 1_000:
            return []
        frames: list[list[Wish]] = []
        for _ in range(min(self._a_second, len(self._wishes))):
            wish = self._wishes.popleft()
            if not frames or frames[-1][-1].method != wish.method:
                frames.append([])
            frames[-1].append(wish)
            self._sent_ms = now_ms
        return frames

    def accepted(self) -> None:
        """A token was good."""
        self._doubted = False

    def may_try_again(self, token: str) -> bool:
        """A token was refused. Whether a new one is worth a try: not if this one was got for that very reason."""
        if token == self._refused_token:
            return False
        if token != self.token:
            return True
        self.token, self._good_until_ms = "", 0
        if self._doubted:
            self._refused_token = token
        self._doubted = not self._doubted
        return self._doubted

    def _wait(self, problem: str, now_ms: int) -> list[Event]:
        """Ask again after a pause; after the longest of them the streams count as refused, and are heard of."""
        if self._pauses.next_s >= LONGEST_S:
            return self._give_up(problem)
        self._ask_at_ms = now_ms + int(self._pauses.take() * 1000)
        return []

    def _give_up(self, problem: str) -> list[Event]:
        self._pauses.reset()
        streams = dict.fromkeys(wish.stream.stream for wish in self._wishes if wish.method == "subscribe")
        self._wishes.clear()
        return [RefusedStreams([stream], 0, problem) for stream in streams]
