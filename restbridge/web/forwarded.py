"""
Which client a request comes from, behind proxies that the operator trusts (RFC 7239).

A proxy appends what it has seen to one of two headers, and hands on what the client wrote into the other:
where they don't say the same neither is believed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

from twisted.web.http_headers import Headers

Address: TypeAlias = IPv4Address | IPv6Address
Networks: TypeAlias = Sequence[IPv4Network | IPv6Network]

_FOR = re.compile(r'(?:^|;)\s*for\s*=\s*("[^"]*"|[^;\s]+)', re.IGNORECASE)
_MAX_HOPS = 20


def clientAddress(peer: str, headers: Headers, trusted: Networks) -> str:
    """
    The nearest address that is not a trusted proxy's.

    @param peer: whom the connection came from.
    """
    nearest = _address(peer)
    if nearest is None or not _isIn(nearest, trusted):
        return peer
    found = {
        _client(nearest, hops, trusted)
        for hops in (_forwarded(headers), _elements(headers, b"x-forwarded-for"))
        if hops
    }
    return str(found.pop() if len(found) == 1 else nearest)


def isProxy(peer: str, trusted: Networks) -> bool:
    """
    Whether a connection comes from a trusted proxy.
    """
    address = _address(peer)
    return address is not None and _isIn(address, trusted)


def stranger(peer: str, trusted: Networks) -> bool:
    """
    Whether a connection comes from elsewhere than this machine, or a trusted proxy.
    """
    address = _address(peer)
    return address is not None and not address.is_loopback and not _isIn(address, trusted)


def _client(nearest: Address, hops: list[str], trusted: Networks) -> Address:
    for hop in reversed(hops[-_MAX_HOPS:]):
        address = _address(_withoutPort(hop.strip().strip('"')))
        if address is None:
            break
        nearest = address
        if not _isIn(nearest, trusted):
            break
    return nearest


def _forwarded(headers: Headers) -> list[str]:
    """
    Each element by itself, though a quoted string may hold a comma: a quote that the client left open must
    not reach into what the proxy has appended.
    """
    found = (_FOR.search(element) for element in _elements(headers, b"forwarded"))
    return [match.group(1) for match in found if match]


def _elements(headers: Headers, name: bytes) -> list[str]:
    return [element for line in _lines(headers, name) for element in line.split(",")]


def _lines(headers: Headers, name: bytes) -> Iterator[str]:
    return (line.decode("latin-1") for line in headers.getRawHeaders(name, []))


def _withoutPort(node: str) -> str:
    if node.startswith("["):
        return node[1:].partition("]")[0]
    return node.partition(":")[0] if node.count(":") == 1 else node


def _address(text: str) -> Address | None:
    """
    An address, an IPv4 one also where IPv6 carries it. A zone (C{%eth0}) may be any text, and means something
    on the proxy's own machine only: such an address is none.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return None
        return address.ipv4_mapped or address
    return address


def _isIn(address: Address, networks: Networks) -> bool:
    return any(address in network for network in networks)
