"""What Coinbase Exchange wants of a subscription that is for holders of a key: a request to verify, signed."""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from hashlib import sha256
from typing import Final

SIGNED: Final = "GET/users/self/verify"
"""As if this were asked of REST."""


def signed(key: str, secret: str, passphrase: str, now_ms: int) -> dict[str, str]:
    """The fields that a subscription has besides.

    Args:
        secret: as it is given out, in base64. Raises: ValueError, where it is not.
        now_ms: the time, ms since 1970: the exchange refuses one that is half a minute off.
    """
    timestamp = f"{now_ms // 1000}.{now_ms % 1000:03d}"
    digest = hmac.new(b64decode(secret, validate=True), f"{timestamp}{SIGNED}".encode(), sha256).digest()
    return {
        "key": key,
        "passphrase": passphrase,
        "timestamp": timestamp,
        "signature": b64encode(digest).decode(),
    }
