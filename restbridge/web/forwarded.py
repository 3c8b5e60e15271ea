"""
Which client a request comes from, behind proxies that the operator trusts (RFC 7239).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address

from twisted.web.http_headers import Headers

_FOR = re.compile(r'(?:^|[;,])\s*for\s*=\s*("[^"]*"|[^;,\s]+)', re.IGNORECASE)
_MAX_HOPS = 20


def clientAddress(peer: str, headers: Headers, trusted: Sequence[IPv4Network | IPv6Network]) -> str:
    """
    The nearest address that is not a trusted proxy's.

    @param peer: whom the connection came from.
    """
    if not trusted or not _isIn(peer, trusted):
        return peer
    for hop in reversed(_hops(headers)):
        if not _isAddress(hop):
            return peer
        peer = hop
        if not _isIn(hop, trusted):
            return peer
    return peer


def _hops(headers: Headers) -> list[str]:
    forwarded = _lines(headers, b"forwarded")
    if forwarded:
        hops = [found for line in forwarded for found in _FOR.findall(line)]
    else:
        hops = [hop for line in _lines(headers, b"x-forwarded-for") for hop in line.split(",")]
    return [_withoutPort(hop.strip().strip('"')) for hop in hops[-_MAX_HOPS:]]


def _lines(headers: Headers, name: bytes) -> list[str]:
    return [line.decode("latin-1") for line in headers.getRawHeaders(name, [])]


def _withoutPort(node: str) -> str:
    if node.startswith("["):
        return node[1:].partition("]")[0]
    return node.partition(":")[0] if node.count(":") == 1 else node


def _isAddress(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _isIn(address: str, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    return _isAddress(address) and any(ip_address(address) in network for network in networks)
