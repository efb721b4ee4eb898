"""Which network address a request comes from."""

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

NETWORK = 64  # bits of an IPv6 address that one subscriber usually has to himself


def client_address(environ: Mapping[str, Any], trusted_proxies: int) -> str:
    """The client's address: an IPv4 address, or the /64 network of an IPv6 one.

    ``trusted_proxies`` is how many proxies in front add to X-Forwarded-For; what stands further
    left was written by the client and is not believed. Text that is no address is one and the same.
    """
    address = str(environ.get("REMOTE_ADDR", ""))
    if trusted_proxies:
        hops = str(environ.get("HTTP_X_FORWARDED_FOR", "")).split(",")
        if len(hops) >= trusted_proxies and hops[-trusted_proxies].strip():
            address = hops[-trusted_proxies].strip()
    return _network(address)


@lru_cache(maxsize=1_024)
def _network(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return "unknown"
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ip_network((int(parsed), NETWORK), strict=False))
