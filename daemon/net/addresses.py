"""The rules for public IP addresses and host names."""

import ipaddress

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

# This range contains all unicast addresses that IANA has assigned (RFC 4291 2.4).
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

# Names that lead to this machine or to a private network: RFC 6761, RFC 6762, RFC 8375, ICANN's resolution
# 2024.07.29.06 (internal), and names that routers and containers use.
_PRIVATE_DOMAINS = frozenset("localhost local localdomain internal intranet private corp home lan".split())
_PRIVATE_SUFFIXES = (".home.arpa",)


def is_public(address: IPAddress) -> bool:
    """Return whether an address belongs to the public internet.

    An IPv6 address that contains an IPv4 address is public if the IPv4 address is public.
    """
    address = _contained_ipv4(address) or address
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return address.is_global and not address.is_multicast


def is_public_name(host: str) -> bool:
    """Return whether a host name can belong to the public internet. Use no name server.

    A name of one part is private, such as the name of a container. An onion service is public.
    """
    name = host.lower().rstrip(".")
    _, dot, domain = name.rpartition(".")
    return bool(dot) and domain not in _PRIVATE_DOMAINS and not f".{name}".endswith(_PRIVATE_SUFFIXES)


def without_mapping(address: IPAddress) -> IPAddress:
    """Return the IPv4 address of an IPv4-mapped IPv6 address. Return any other address unchanged."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _contained_ipv4(address: IPAddress) -> ipaddress.IPv4Address | None:
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
