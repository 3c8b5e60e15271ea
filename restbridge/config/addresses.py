"""
Domains, local parts, rooms and patterns of XMPP addresses; origins and networks of HTTP.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network

from restbridge.config.reading import Place, shown, text
from restbridge.config.values import Glob
from restbridge.stanzas.jid import JID, InvalidJID

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_WILD = re.compile(r"[*?\[]")


def domain(value: object, place: Place) -> str:
    """
    An XMPP domain, normalised.
    """
    written = text(value, place)
    try:
        address = JID.parse(written)
    except InvalidJID as error:
        raise place.refused(f"must be a domain, not {shown(written)}: {error}") from None
    if address.full != address.domain:
        raise place.refused(f'must be a domain alone, without "@" and "/", not {shown(written)}')
    return address.domain


def localpart(name: str, place: Place) -> str:
    """
    The name of an account, normalised.
    """
    try:
        address = JID.parse(f"{name}@localhost")
    except InvalidJID as error:
        raise place.refused(f"must be the local part of an address: {error}") from None
    if not address.local or address.full != f"{address.local}@localhost":
        raise place.refused('must be the local part of an address, without "@" and "/"')
    return address.local


def room(value: object, place: Place) -> JID:
    """
    The address of a room.
    """
    written = text(value, place)
    try:
        address = JID.parse(written)
    except InvalidJID as error:
        raise place.refused(f"must be the address of a room, not {shown(written)}: {error}") from None
    if address.local is None or address.resource is not None:
        raise place.refused(
            f'must be the address of a room, such as "team@conference.example.com", not {shown(written)}'
        )
    if address.domain == place.domain:
        raise place.refused(f"is an address of the component itself, not of a room: {shown(written)}")
    return address


def nickname(value: object, place: Place) -> str:
    """
    What somebody may be called in a room (XEP-0045, section 4.1), normalised.
    """
    written = text(value, place)
    try:
        name = JID.parse(f"room@localhost/{written}").resource
    except InvalidJID as error:
        raise place.refused(f"must be a nickname, not {shown(written)}: {error}") from None
    if name is None or not name.strip():
        raise place.refused("must be a nickname that can be seen")
    return name


def glob(value: object, place: Place) -> Glob:
    """
    A pattern that some address of the component can fit.
    """
    pattern = Glob(text(value, place))
    domainPattern = pattern.pattern.rpartition("@")[2]
    if place.domain and not _WILD.search(domainPattern) and domainPattern != place.domain:
        raise place.refused(
            f"{shown(value)} fits no address of the component, whose domain is {place.domain}"
        )
    return pattern


def ownGlob(value: object, place: Place) -> Glob:
    """
    A pattern that only addresses of the component can fit.
    """
    pattern = Glob(text(value, place))
    if place.domain and pattern.pattern.rpartition("@")[2] != place.domain:
        raise place.refused(
            f'must end with "@{place.domain}", the component\'s domain, not be {shown(value)}'
        )
    return pattern


def origin(value: object, place: Place) -> str:
    """
    An origin as a browser sends it (RFC 6454, section 6.2), or C{*} for any.
    """
    written = text(value, place)
    if written != "*" and not _ORIGIN.fullmatch(written.lower()):
        raise place.refused(
            f'must be "*" or an origin such as "https://app.example.com", not {shown(written)}'
        )
    return written.lower()


def network(value: object, place: Place) -> IPv4Network | IPv6Network:
    """
    An IP address, or a network in CIDR notation.
    """
    written = text(value, place)
    try:
        return ip_network(written)
    except ValueError as error:
        raise place.refused(f"must be an IP address or a network such as 10.0.0.0/8: {error}") from None
