"""
XMPP addresses (RFC 7622), checked and normalised as the servers do it.

Twisted's own JID drops an empty local part or resource silently, accepts parts of any length, and
refuses what Unicode has assigned since version 3.2, emoji among it, which servers pass on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from encodings.idna import nameprep as nameprepLabel
from functools import lru_cache
from ipaddress import IPv6Address

import attrs
from twisted.words.protocols.jabber import xmpp_stringprep

MAX_PART = 1023
"""Bytes of each part (RFC 7622, sections 3.2 to 3.4)."""

_LONGEST_REMEMBERED = 256
"""Characters; longer addresses are rare, and strangers could fill the memory with them."""

_PLAIN_LOCAL = re.compile(r"[a-z0-9!#$%()*+,\-.;=?\[\\\]^_`{|}~]+")
_PLAIN_DOMAIN = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*")
_PLAIN_RESOURCE = re.compile(r"[ -~]+")
_NOT_IN_DOMAIN = re.compile(r"[\s\x00-\x20\x7f\"&'/:<>@\\]")


def _openEnded(profile: xmpp_stringprep.Profile) -> xmpp_stringprep.Profile:
    # RFC 3454, section 7: a query may hold code points that are not assigned yet.
    return xmpp_stringprep.Profile(
        mappings=profile.mappings, prohibiteds=profile.prohibiteds, check_unassigneds=False
    )


_nodeprep = _openEnded(xmpp_stringprep.nodeprep)
_resourceprep = _openEnded(xmpp_stringprep.resourceprep)


class InvalidJID(ValueError):
    """
    A text that is no XMPP address; its text names the part and what is wrong with it.
    """


@attrs.frozen
class JID:
    """
    An address: C{local@domain/resource}, C{local} and C{resource} optional, all three normalised.

    @ivar bare: the address without the resource.
    @ivar full: the whole address.
    """

    local: str | None
    domain: str
    resource: str | None
    bare: str = attrs.field(init=False, eq=False, repr=False)
    full: str = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        bare = self.domain if self.local is None else f"{self.local}@{self.domain}"
        object.__setattr__(self, "bare", bare)
        object.__setattr__(self, "full", bare if self.resource is None else f"{bare}/{self.resource}")

    def __str__(self) -> str:
        return self.full

    def toBare(self) -> JID:
        """
        The address without its resource.
        """
        return JID(self.local, self.domain, None)

    @classmethod
    def parse(cls, text: str) -> JID:
        """
        @raise InvalidJID: it is none.
        """
        if len(text) > 3 * MAX_PART + 2:
            raise InvalidJID(f"an address of {len(text)} characters; each part may hold {MAX_PART} bytes")
        return _remembered(text) if len(text) <= _LONGEST_REMEMBERED else _parse(text)


def _parse(text: str) -> JID:
    bare, slash, resource = text.partition("/")
    local, at, domain = bare.rpartition("@")
    return JID(
        _prepared("local part", local, _PLAIN_LOCAL, _nodeprep.prepare) if at else None,
        _prepared("domain", domain.removesuffix("."), _PLAIN_DOMAIN, _domainprep),
        _prepared("resource", resource, _PLAIN_RESOURCE, _resourceprep.prepare) if slash else None,
    )


_remembered = lru_cache(maxsize=4096)(_parse)


def _prepared(part: str, text: str, plain: re.Pattern[str], prepare: Callable[[str], str]) -> str:
    if not plain.fullmatch(text):
        try:
            text = prepare(text)
            size = len(text.encode())
        except UnicodeError as error:
            raise InvalidJID(f"its {part} is not valid: {error}") from None
    else:
        size = len(text)
    if not text:
        raise InvalidJID(f"its {part} is empty")
    if size > MAX_PART:
        raise InvalidJID(f"its {part} has more than {MAX_PART} bytes")
    return text


def _domainprep(text: str) -> str:
    if text.startswith("[") and text.endswith("]"):
        try:
            return f"[{IPv6Address(text[1:-1])}]"
        except ValueError:
            raise UnicodeError("not an IPv6 address") from None
    prepared = ".".join(nameprepLabel(label) for label in re.split("[.\u3002\uff0e\uff61]", text))
    if prepared and (not all(prepared.split(".")) or _NOT_IN_DOMAIN.search(prepared)):
        raise UnicodeError("an empty label, or a character that no domain can hold")
    return prepared
