"""Hosts that speak Binance's protocol and count request weight by themselves, such as those of Binance.US."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

ASSUMED_WEIGHT: Final = 1200
"""A minute, until their exchangeInfo tells: no document at hand says what they allow; Binance once allowed so much."""


def other_domain(url: str) -> str:
    """`binance.us` for `https://api.binance.us`; empty for Binance's own hosts, and for addresses."""
    labels = (urlsplit(url).hostname or "").split(".")
    domain = ".".join(labels[-2:])
    return "" if len(labels) < 2 or labels[-1].isdigit() or domain == "binance.com" else domain
