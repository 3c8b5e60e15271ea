"""
XEP-0030: service discovery, with the extensions of XEP-0128.

A query without content is C{true}, or its node.
"""

from __future__ import annotations

from typing import Any

from twisted.words.xish.domish import Element

from restbridge.stanzas.compounds import Each, Object, Payload
from restbridge.stanzas.fields import Attribute, Custom, SingleAttribute
from restbridge.stanzas.payloads.forms import DATA, NS_FORMS, nest, readData, writeData
from restbridge.stanzas.values import TEXT
from restbridge.stanzas.writing import Writing, childOf, elementsOf
from restbridge.stanzas.xml import NS_XML

_INFO = "http://jabber.org/protocol/disco#info"
_ITEMS = "http://jabber.org/protocol/disco#items"
_QUESTION = ({"const": True}, TEXT.schema)


def _readExtensions(element: Element) -> dict[str, Any]:
    extensions = {}
    for form in element.elements(NS_FORMS, "x"):
        data = readData(form)
        kind = data.pop("FORM_TYPE", None)
        if isinstance(kind, list):
            kind = kind[0] if kind else None
        if isinstance(kind, str):
            extensions[kind] = data
    return extensions


def _writeExtensions(parent: Element, value: Any, context: Writing) -> None:
    if type(value) is not dict:
        raise context.refuse("must be an object")
    for kind, data in value.items():
        context.path.append(kind)
        if type(data) is not dict:
            raise context.refuse("must be an object")
        form = writeData(parent, "result", {"FORM_TYPE": kind, **data}, context)
        if not context.asModRest:
            next(iter(elementsOf(form)))["type"] = "hidden"
        context.path.pop()


SHAPE = Object(
    uri=_INFO,
    name="query",
    members={
        "node": Attribute(),
        "identities": Each(
            name="identity",
            item=Object(
                members={
                    "category": Attribute(),
                    "type": Attribute(),
                    "name": Attribute(),
                    "lang": Attribute(name=(NS_XML, "lang")),
                }
            ),
        ),
        "features": Each(name="feature", item=SingleAttribute(attribute="var")),
        "extensions": Custom(
            writer=_writeExtensions, schema={"type": "object", "additionalProperties": DATA}
        ),
    },
)


def _readInfo(element: Element, levels: int) -> Any:
    if not element.firstChildElement():
        return element.attributes.get("node", True)
    found = {"identities": [], "features": [], **SHAPE.read(element, levels)}
    extensions = _readExtensions(element)
    return {**found, "extensions": extensions} if extensions else found


def _writeInfo(parent: Element, value: Any, context: Writing) -> None:
    query = childOf(parent, "query", _INFO)
    if type(value) is str:
        query["node"] = context.text(value)
    elif value is not True:
        SHAPE.fill(query, value, context)


DISCO = Payload(
    key="disco",
    field=Custom(
        takesText=True,
        reads=((_INFO, "query"),),
        reader=_readInfo,
        writer=_writeInfo,
        schema={"anyOf": [*_QUESTION, SHAPE.schema]},
    ),
    title="XEP-0030: Service Discovery, information",
    example={
        "identities": [{"category": "server", "type": "im", "name": "Prosody"}],
        "features": ["urn:xmpp:ping"],
        "extensions": {
            "http://jabber.org/network/serverinfo": {"abuse-addresses": ["mailto:abuse@example.com"]}
        },
    },
    note="A question is `true`, or the node as a string.",
)

ITEM = Object(members={"jid": Attribute(), "node": Attribute(), "name": Attribute()})


def _readItems(element: Element, levels: int) -> Any:
    found = [ITEM.read(item, levels) for item in element.elements(_ITEMS, "item")]
    return found or element.attributes.get("node", True)


def _writeItems(parent: Element, value: Any, context: Writing) -> None:
    query = childOf(parent, "query", _ITEMS)
    if type(value) is str:
        query["node"] = context.text(value)
    elif type(value) is dict:
        _ITEMS_QUERY.fill(query, value, context)
    elif value is not True:
        context.each(value, lambda item: ITEM.write(query, "item", item, context))
        if context.asModRest:
            nest(query, "item")


_ITEMS_QUERY = Object(members={"node": Attribute(), "items": Each(name="item", item=ITEM)})

ITEMS = Payload(
    key="items",
    field=Custom(
        takesText=True,
        reads=((_ITEMS, "query"),),
        reader=_readItems,
        writer=_writeItems,
        schema={"anyOf": [*_QUESTION, {"type": "array", "items": ITEM.schema}, _ITEMS_QUERY.schema]},
    ),
    title="XEP-0030: Service Discovery, items",
    example=[{"jid": "conference.example.com", "name": "Rooms"}],
    note='A question is `true`, or the node as a string or as `{"node": ...}`; an answer without items too.',
)
