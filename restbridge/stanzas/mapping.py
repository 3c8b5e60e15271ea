"""
Stanzas as JSON, and back, by the declarations of L{restbridge.stanzas.kinds}.
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.words.xish.domish import Element

from restbridge.stanzas.kinds import KINDS, impliedKind, impliedType
from restbridge.stanzas.writing import MAX_NESTING, MappingRefused, Writing
from restbridge.stanzas.xml import NS_CLIENT

__all__ = ["Mapped", "MappingRefused", "UnknownKind", "fromJSON", "toJSON"]


class UnknownKind(ValueError):
    """
    A C{kind} that is neither message, presence nor iq.
    """


@attrs.frozen(kw_only=True)
class Mapped:
    """
    A stanza, and what could not become part of it.

    @ivar ignored: the paths of the keys that no declaration knows: C{dataform.fields[0].colour}.
    """

    stanza: Element
    ignored: tuple[str, ...] = ()


def toJSON(stanza: Element) -> dict[str, Any]:
    """
    What a stanza says, as far as JSON can express it; the rest is left out.

    @param stanza: a message, presence or iq.
    """
    return {"kind": stanza.name, **KINDS[stanza.name].stanza.read(stanza, MAX_NESTING)}


def fromJSON(json: Any, *, asModRest: bool = False) -> Mapped:
    """
    The stanza that JSON describes.

    @param json: made of dicts, lists, strings, numbers, booleans and L{None}.
    @param asModRest: make what mod_rest's C{/rest/echo} would show, faults included; never send that.
    @raise MappingRefused: the value of a known key is of the wrong type, or can't be carried by XML.
    @raise UnknownKind: its C{kind} is unknown.
    """
    context = Writing(asModRest=asModRest)
    if type(json) is not dict:
        raise context.refuse("must be an object")
    kind = json["kind"] if "kind" in json else impliedKind(json)
    if type(kind) is not str:
        raise context.refuse("must be a string", "kind")
    if kind not in KINDS:
        raise UnknownKind(f"the kind {kind[:40]!r} is unknown")
    stanza = Element((NS_CLIENT, kind), NS_CLIENT)
    KINDS[kind].stanza.fill(stanza, {key: value for key, value in json.items() if key != "kind"}, context)
    type_ = impliedType(kind, json) if "type" not in json else None
    if type_ is not None:
        stanza["type"] = type_
    return Mapped(stanza=stanza, ignored=tuple(context.ignored))
