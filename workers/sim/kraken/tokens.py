"""Who may see single orders: tokens for those who sign their requests with the key that the exchange knows."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from itertools import count
from typing import Any, Final
from urllib.parse import parse_qs

PATH: Final = "/0/private/GetWebSocketsToken"
LASTS_S: Final = 900
KEPT: Final = 1_000
"""Tokens that are remembered."""
BAD_KEY: Final = "EAPI:Invalid key"
BAD_SIGNATURE: Final = "EAPI:Invalid signature"
BAD_NONCE: Final = "EAPI:Invalid nonce"


class KrakenTokens:
    """Gives tokens and knows those it gave.

    Args:
        key, secret: of the one user there is; empty: there is none.
    """

    def __init__(self, key: str, secret: str) -> None:
        self._key = key
        self._secret = secret
        self._nonce = -1
        self._numbers = count(1)
        self._given_ms: dict[str, float] = {}

    def answer(self, headers: Mapping[str, str], body: str, now_ms: float) -> dict[str, Any]:
        """The answer to a request for a token."""
        problem = self._problem(headers, body)
        if problem:
            return {"error": [problem]}
        number = f"{self._secret}/{next(self._numbers)}"
        token = base64.b64encode(hashlib.sha256(number.encode()).digest()).decode()
        self._given_ms[token] = now_ms
        while len(self._given_ms) > KEPT:
            del self._given_ms[next(iter(self._given_ms))]
        return {"error": [], "result": {"token": token, "expires": LASTS_S}}

    def _problem(self, headers: Mapping[str, str], body: str) -> str:
        nonces = parse_qs(body).get("nonce", [""])
        if not self._key or headers.get("API-Key") != self._key:
            return BAD_KEY
        if not nonces[0].isdecimal():
            return BAD_NONCE
        digest = hashlib.sha256((nonces[0] + body).encode()).digest()
        mac = hmac.new(base64.b64decode(self._secret), PATH.encode() + digest, hashlib.sha512)
        if not hmac.compare_digest(base64.b64encode(mac.digest()), headers.get("API-Sign", "").encode()):
            return BAD_SIGNATURE
        if int(nonces[0]) <= self._nonce:
            return BAD_NONCE
        self._nonce = int(nonces[0])
        return ""

    def given_ms(self, token: object, now_ms: float) -> float | None:
        """When a token was given that is still good for a subscription; None for another one."""
        given = self._given_ms.get(token) if isinstance(token, str) else None
        return given if given is not None and now_ms - given <= LASTS_S * 1000 else None
