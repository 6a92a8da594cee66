"""How to ask the fleet's Redis by hand."""

from __future__ import annotations

import shlex
from pathlib import Path

from workers.settings.addresses import address_of
from workers.settings.paths import socket_path
from workers.settings.schema import Settings


def redis_cli_line(settings: Settings, home: Path, command: str) -> str:
    """A redis-cli line to paste, which asks for the password itself; empty for sentinels: redis-cli asks none."""
    url = settings.redis.url
    if not url:
        return f"redis-cli -s {shlex.quote(str(socket_path(home, 'redis.sock')))} {command}"
    address = address_of(url)
    if address.sentinels:
        return ""
    options = address.options
    words = ["-s", options["path"]] if "path" in options else ["-h", options["host"], "-p", options["port"]]
    words += ["-n", options["db"]] if options.get("db") else []
    words += ["--user", options["username"]] if "username" in options else []
    words += ["--askpass"] if "password" in options else []
    words += ["--tls"] if address.tls else []
    for option, name in (("--cacert", "ssl_ca_certs"), ("--cert", "ssl_certfile"), ("--key", "ssl_keyfile")):
        words += [option, options[name]] if name in options else []
    return f"redis-cli {shlex.join(str(word) for word in words)} {command}"
