"""Which network address a request comes from."""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

NETWORK = 64  # bits of an IPv6 address that one subscriber usually has to himself


def client_address(remote: str | None, forwarded: str | None, trusted_proxies: int) -> str:
    """Return the client's address: an IPv4 address, or the /64 network of an IPv6 one.

    ``remote`` is the other end of the connection, ``forwarded`` the value of X-Forwarded-For.
    ``trusted_proxies`` is how many proxies in front add to that header. What stands further left
    was written by the client and is not believed. Text that is no address gives "unknown".
    """
    address = remote or ""
    if trusted_proxies:
        hops = (forwarded or "").split(",")
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
