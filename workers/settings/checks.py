"""What types cannot say of settings: symbols, URLs, secrets, and values that only make sense together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from workers.errors import AddressUnusable, SettingsError
from workers.masking import mask_address
from workers.model.host_names import host_of, is_loopback_host
from workers.settings.addresses import address_of
from workers.settings.alert_rules import check_alerts
from workers.settings.api import ApiSettings
from workers.settings.channels import check_channels
from workers.settings.proxies import check_proxy
from workers.settings.schema import Settings
from workers.settings.signed import is_part_of_key
from workers.settings.symbols import Refusal, check_symbol, check_symbols

SECRETS: Final = frozenset({"redis.password", "postgres.dsn", "alerts.webhook_url", "alerts.commentary_key"})
"""Set by the environment alone, and never shown; so are the parts of venues' keys."""


def is_secret(key: str) -> bool:
    """Whether a dotted key is of a secret."""
    return key in SECRETS or is_part_of_key(key)


def _check_access(api: ApiSettings, refused: Refusal) -> None:
    if not (api.open or api.token_sha256 or is_loopback_host(host_of(api.host))):
        problem = f"{api.host!r} is open to other machines: set api.token_sha256, or api.open = true to let anybody ask"
        raise refused("api.host", problem, "127.0.0.1")


def _check_pairs(settings: Settings, origin: Mapping[str, str], refused: Refusal) -> None:
    ingest, fleet = settings.ingest, settings.fleet
    lease = "fleet.lease_ms must be at least twice fleet.heartbeat_ms, or a lease runs out between two beats"
    pairs = (
        ("ingest.backoff_max_s", "ingest.backoff_first_s", ingest.backoff_max_s >= ingest.backoff_first_s,
         "ingest.backoff_max_s must not be less than ingest.backoff_first_s"),
        ("fleet.lease_ms", "fleet.heartbeat_ms", fleet.lease_ms >= 2 * fleet.heartbeat_ms, lease),
    )  # fmt: skip
    for key, other, fits, problem in pairs:
        if not fits:
            raise refused(key if key in origin else other, problem, "")


def check_meaning(settings: Settings, origin: Mapping[str, str], name: str) -> None:
    """Refuse symbols, URLs and values that make no sense, alone or together.

    Args:
        settings: with the types they should have.
        origin: where each value came from, by dotted key.
        name: what messages call the text the settings are from.

    Raises:
        SettingsError: one of them cannot be used.
    """

    def refused(key: str, problem: str, suggestion: str = "") -> SettingsError:
        # Of a table in an array: its key, the table, or all of them, as the environment gives them.
        places = (origin.get(part) for part in (key, key.rpartition(".")[0], key.partition("[")[0]))
        place = origin.get(key, name) if "[" not in key else next(filter(None, places), name)
        return SettingsError(f"{place}, {key}", problem, suggestion)

    for secret in filter(is_secret, origin):
        if not origin[secret].startswith("environment"):
            variable = f"FLEET_{secret.replace('.', '__').upper()}"
            raise refused(secret, f"a secret does not belong in a file: set {variable} in the environment")
    _check_access(settings.api, refused)
    check_alerts(settings.alerts, refused)
    for venue, keys in settings.venues.items():
        check_symbols(f"venues.{venue}", keys, refused)
        check_channels(f"venues.{venue}", keys, refused)
    lists = {
        "exchange.spot_symbols": settings.exchange.spot_symbols,
        "exchange.usdm_symbols": settings.exchange.usdm_symbols,
    }
    for key, symbols in lists.items():
        for index, symbol in enumerate(symbols):
            check_symbol(key, symbol, symbols[:index], refused)
    try:
        if settings.redis.url:
            address_of(settings.redis.url)
    except AddressUnusable as error:
        raise refused("redis.url", f"{error.url!r}: {error.problem}", error.suggestion) from error
    urls: dict[str, tuple[str, tuple[str, ...]]] = {}
    for venue, keys in settings.venues.items():
        urls |= {
            f"venues.{venue}.{url}": (getattr(keys, url), ("ws://", "wss://")) for url in keys.socket_urls
        }
        urls[f"venues.{venue}.rest_url"] = (keys.rest_url, ("http://", "https://"))
        check_proxy(f"venues.{venue}.proxy", keys.proxy, refused)
    for key, (url, schemes) in urls.items():
        if url and not url.startswith(schemes):
            raise refused(key, f"{mask_address(url)!r} must begin with {' or '.join(schemes)}")
    _check_pairs(settings, origin, refused)
