"""Names of machines: which of them mean this one, and what a `Host` header names."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address


def host_of(header: str) -> str:
    """The name or address in a `Host` header or an address to bind, lower case, without port, brackets and last dot."""
    text = header.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    name = text if text.count(":") > 1 else text.partition(":")[0]
    return name.rstrip(".")


def address_of(host: str) -> IPv4Address | IPv6Address | None:
    """A host as an address; None for a name. IPv4 in IPv6 is the IPv4 address."""
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def is_loopback_host(host: str) -> bool:
    """Whether only this machine reaches a host of that name: `localhost`, `127.0.0.0/8`, `::1`."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    found = address_of(host)
    return found is not None and found.is_loopback


def http_url(host: str, port: int) -> str:
    """The address of a server there; one of IPv6 stands in brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
