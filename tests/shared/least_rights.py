"""The users of config/redis-acl on a server of a test, and what they were refused there."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from workers.settings.paths import data_folder

EXAMINED = {b"info", b"config|get", b"memory|usage", b"client", b"client|setinfo"}
"""What the doctor, the keeper and redis-py ask for where they may, and do without where not."""


def rules_of_users() -> dict[str, list[str]]:
    """What the file says of each user."""
    text = (data_folder() / "config" / "redis-acl").read_text(encoding="utf-8")
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    assert {line[0] for line in lines} == {"user"}
    return {name: rules for _, name, *rules in lines}


async def with_users(server: str) -> dict[str, str]:
    """The users of the file, made on a server; the URL of each."""
    client: Any = Redis.from_url(server, protocol=2)
    await client.flushall()
    urls = {}
    for name, rules in rules_of_users().items():
        secret = f"secret-of-{name}"
        await client.execute_command(
            "ACL", "SETUSER", name, *(f">{secret}" if rule[:1] == ">" else rule for rule in rules)
        )
        urls[name] = f"{server.replace('unix://', f'unix://{name}:{secret}@')}"
    await client.execute_command("ACL", "LOG", "RESET")
    await client.aclose()
    return urls


async def refused(server: str) -> set[tuple[bytes, bytes]]:
    """What users asked for and may not: (user, command or key)."""
    client: Any = Redis.from_url(server, protocol=2)
    entries = await client.execute_command("ACL", "LOG", "128")
    await client.aclose()
    found = [
        entry if isinstance(entry, dict) else dict(zip(entry[::2], entry[1::2], strict=True))
        for entry in entries
    ]
    plain = [{str(k, "utf-8") if isinstance(k, bytes) else k: v for k, v in entry.items()} for entry in found]
    as_bytes = [(entry["username"], entry["object"]) for entry in plain]
    return {tuple(v.encode() if isinstance(v, str) else v for v in pair) for pair in as_bytes}  # type: ignore[misc]
