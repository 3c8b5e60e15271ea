"""
Which addresses belong to somebody on the public internet, for callbacks that may reach nobody else.

The ranges are those of IANA's registries of special-purpose addresses, and of IPv6 addresses that carry
an IPv4 one: what is behind such an address depends on the network that it is used in.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from twisted.internet.error import ConnectError

_IPV4 = {
    "unspecified": ["0.0.0.0/8"],
    "loopback": ["127.0.0.0/8"],
    "private": ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"],
    "carrier-grade NAT": ["100.64.0.0/10"],
    "link-local": ["169.254.0.0/16"],
    "documentation": ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"],
    "benchmark": ["198.18.0.0/15"],
    "multicast": ["224.0.0.0/4"],
    "reserved": ["192.0.0.0/24", "192.88.99.0/24", "240.0.0.0/4"],
}
_IPV6 = {
    "unspecified": ["::/128"],
    "loopback": ["::1/128"],
    "IPv4-mapped": ["::ffff:0:0/96"],
    "IPv4-translated": ["::ffff:0:0:0/96"],
    "IPv4-compatible": ["::/96"],
    "NAT64": ["64:ff9b::/96", "64:ff9b:1::/48"],
    "Teredo": ["2001::/32"],
    "benchmark": ["2001:2::/48"],
    "documentation": ["2001:db8::/32", "3fff::/20"],
    "6to4": ["2002::/16"],
    "unique-local": ["fc00::/7"],
    "link-local": ["fe80::/10"],
    "site-local": ["fec0::/10"],
    "multicast": ["ff00::/8"],
    "reserved": ["2001::/23"],
}
"""The first of an address's ranges counts; what is in none is public, within L{_PUBLIC}."""

_RANGES: list[tuple[IPv4Network | IPv6Network, str]] = [
    *((IPv4Network(each), rule) for rule, ranges in _IPV4.items() for each in ranges),
    *((IPv6Network(each), rule) for rule, ranges in _IPV6.items() for each in ranges),
]
_PUBLIC = IPv6Network("2000::/3")
"""All that is given out of IPv6 so far (RFC 4291, section 2.4)."""

_ISATAP = (0x00005EFE, 0x02005EFE)
"""Between the network and an IPv4 address (RFC 5214, section 6.1)."""


class AddressRefused(ConnectError):
    """
    A host has an address that a callback may not reach.
    """

    def __init__(self, host: str, address: str, rule: str) -> None:
        super().__init__(string=f"{host} has the address {address} ({rule}), and allow_private is false")

    def __str__(self) -> str:
        return str(self.args[0])


def check(host: str, addresses: Iterable[str]) -> None:
    """
    @raise AddressRefused: one of a host's addresses isn't public.
    """
    for address in addresses:
        rule = refusedBy(ip_address(address))
        if rule is not None:
            raise AddressRefused(host, address, rule)


def refusedBy(address: IPv4Address | IPv6Address) -> str | None:
    """
    What an address is instead of public; L{None} if it is public.
    """
    for network, rule in _RANGES:
        if address in network:
            return rule
    if isinstance(address, IPv4Address):
        return None
    if address not in _PUBLIC:
        return "reserved"
    return _refusedByISATAP(int(address))


def _refusedByISATAP(address: int) -> str | None:
    if address >> 32 & 0xFFFFFFFF not in _ISATAP:
        return None
    rule = refusedBy(IPv4Address(address & 0xFFFFFFFF))
    return None if rule is None else f"ISATAP of {rule}"
