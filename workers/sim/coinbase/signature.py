"""What this exchange verifies of a request that is signed with the one key it knows (Coinbase docs)."""

from __future__ import annotations

import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

SIGNED: Final = "GET/users/self/verify"
LATEST_S: Final = 30.0
"""How far a signature's time may be from the exchange's."""


def problem_of(request: Mapping[str, Any], known: Mapping[str, str], clock_ms: int) -> str:
    """What is wrong with the signature of a request; empty for a good one.

    Args:
        known: the parts of the one key, as the settings of a venue call them; empty where there is none.
    """
    key, passphrase, timestamp, signature = (
        str(request.get(name, "")) for name in ("key", "passphrase", "timestamp", "signature")
    )
    if not known or not hmac.compare_digest(key.encode(), known["api_key"].encode()):
        return "invalid api key"
    if not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", timestamp):
        return "invalid timestamp"
    if abs(float(timestamp) - clock_ms / 1000) > LATEST_S:
        return "request timestamp expired"
    made = hmac.new(b64decode(known["api_secret"]), f"{timestamp}{SIGNED}".encode(), sha256).digest()
    if not hmac.compare_digest(signature.encode(), b64encode(made)):
        return "invalid signature"
    if not hmac.compare_digest(passphrase.encode(), known["api_passphrase"].encode()):
        return "Invalid Passphrase"
    return ""
