"""A list of hosts and networks, as a setting."""

import ipaddress
from dataclasses import dataclass

from config.addresses import check_host
from config.types import InvalidValue, SettingType

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class HostList:
    """Names of hosts in lower case, and networks. An address is a network of one."""

    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    def contains(self, host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        """Return whether the list has the name `host`, or a network with `address` in it."""
        return self.has_name(host) or any(address in network for network in self.networks)

    def has_name(self, host: str) -> bool:
        return _plain(host) in self.names


def host_list() -> SettingType[HostList]:
    def read(text: str) -> HostList:
        entries = [entry.strip() for entry in text.split(",")]
        networks = {entry: _network(entry) for entry in entries}
        names = frozenset(_plain(entry) for entry, network in networks.items() if network is None)
        return HostList(names, tuple(network for network in networks.values() if network is not None))

    return SettingType(
        read,
        "host names, IP addresses and networks with commas between them, without ports",
        "shop.internal,10.0.0.0/8,fd00::/8",
    )


def _network(entry: str) -> Network | None:
    """Return the entry as a network; None where it is a name. Raise InvalidValue."""
    try:
        return ipaddress.ip_network(entry.removeprefix("[").removesuffix("]"), strict=False)
    except ValueError:
        if not entry:
            raise InvalidValue("has an extra comma") from None
        try:
            check_host(entry.rstrip("."))
        except InvalidValue:
            reason = "has an entry that is no host, no IP address and no network"
            raise InvalidValue(reason) from None
    return None


def _plain(host: str) -> str:
    return host.lower().rstrip(".")
