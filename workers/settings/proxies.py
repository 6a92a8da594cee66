"""Checking the proxy a venue's settings name."""

from __future__ import annotations

from difflib import get_close_matches
from importlib.util import find_spec
from typing import Final
from urllib.parse import urlsplit

from workers.extras import install_command
from workers.masking import mask_address
from workers.settings.schema import DIRECT
from workers.settings.symbols import Refusal

SOCKS: Final = ("socks4", "socks5", "socks5h")
SCHEMES: Final = ("http", "https", *SOCKS)


def check_proxy(key: str, proxy: str, refused: Refusal) -> None:
    """One proxy: a URL of a known kind, `direct`, or nothing. Raises: SettingsError."""
    if proxy in ("", DIRECT):
        return
    if not proxy.startswith(tuple(f"{scheme}://" for scheme in SCHEMES)):
        near = get_close_matches(proxy, [DIRECT], 1)
        problem = f"{mask_address(proxy)!r} must be {DIRECT!r} or begin with {', '.join(SCHEMES)} and ://"
        raise refused(key, problem, near[0] if near else "")
    try:
        parts = urlsplit(proxy)
        usable = bool(parts.hostname) and (parts.port or 80) > 0 and parts.path in ("", "/")
    except ValueError:
        usable = False
    if not usable:
        raise refused(
            key,
            f"{mask_address(proxy)!r} must be scheme://host:port, or scheme://user:password@host:port",
            "",
        )
    if proxy.startswith("socks") and find_spec("aiohttp_socks") is None:
        raise refused(key, f"SOCKS proxies need aiohttp-socks: {install_command('socks')}", "")
