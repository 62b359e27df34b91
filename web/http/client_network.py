"""The network of a client, by which connections and attempts are counted."""

from ipaddress import IPv6Address, ip_address, ip_network

MAX_ADDRESS_CHARACTERS = 60
_IPV6_PREFIX_BITS = 64
"""A provider assigns each IPv6 customer at least a network of this size."""


def client_network(address: str) -> str:
    """Return the name that counts one client's attempts. An IPv6 client owns a whole network."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address[:MAX_ADDRESS_CHARACTERS]
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    if isinstance(ip, IPv6Address) and not ip.is_loopback:
        return str(ip_network((int(ip), _IPV6_PREFIX_BITS), strict=False))
    return str(ip)
