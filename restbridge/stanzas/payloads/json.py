"""
XEP-0432: Simple JSON Messaging. The JSON stands in the element as text: compact, its keys in the order
in which they came.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
from twisted.words.xish.domish import Element

from restbridge.stanzas.compounds import Object, Payload
from restbridge.stanzas.fields import Attribute, Content, Custom
from restbridge.stanzas.nesting import decodeJSON, isWithin
from restbridge.stanzas.values import TEXT
from restbridge.stanzas.writing import Writing, childOf, textOf

_URI = "urn:xmpp:json-msg:0"

MAX_JSON_DEPTH = 64
"""Levels of lists and objects."""

_SCALARS = (str, int, bool, type(None))


def _levels(value: Any) -> list[Any]:
    """
    The values one level below; refuses what CBOR can hold and JSON can't.
    """
    if type(value) is dict:
        if not all(type(key) is str for key in value):
            raise ValueError("holds a key that is no string")
        return list(value.values())
    if type(value) is list:
        return value
    if not (type(value) in _SCALARS or (type(value) is float and math.isfinite(value))):
        raise ValueError("holds a value that JSON can't carry")
    return []


def toText(value: Any) -> str:
    """
    Compact JSON.

    @raise ValueError: it can't be written as such.
    """
    if not isWithin(value, MAX_JSON_DEPTH):
        raise ValueError(f"is nested deeper than {MAX_JSON_DEPTH} levels")
    level = [value]
    while level:
        level = [below for item in level for below in _levels(item)]
    return msgspec.json.encode(value).decode()


def _fromText(text: str) -> Any:
    try:
        return decodeJSON(text, MAX_JSON_DEPTH)
    except ValueError:
        # mod_rest answers 500; the text as it stands is worth more to whoever debugs the sender.
        return text


def _read(element: Element, levels: int) -> dict[str, Any]:
    datatype = element.attributes.get("datatype")
    found = {} if datatype is None else {"datatype": datatype}
    text = textOf(element)
    return {**found, "data": _fromText(text)} if text else found


def _write(parent: Element, value: Any, context: Writing) -> None:
    payload = childOf(parent, "payload", _URI)
    if value is True:
        return
    if type(value) is not dict:
        raise context.refuse("must be an object")
    for key, item in value.items():
        context.path.append(key)
        if key == "datatype":
            payload["datatype"] = context.text(item)
        elif key == "data":
            payload.addContent(_written(item, context))
        else:
            context.ignore()
        context.path.pop()


def _written(value: Any, context: Writing) -> str:
    try:
        text = toText(value)
    except ValueError as error:
        raise context.refuse(str(error)) from None
    return context.text(text)


PAYLOAD = Payload(
    key="payload",
    field=Custom(
        reads=((_URI, "payload"),),
        reader=_read,
        writer=_write,
        schema={
            "anyOf": [
                {"const": True},
                {"type": "object", "properties": {"datatype": TEXT.schema, "data": {}}},
            ]
        },
    ),
    title="XEP-0432: Simple JSON Messaging",
    example={"datatype": "urn:example:thing", "data": {"n": 1, "l": [1, 2, "three"]}},
)

NESTED_PAYLOAD = Payload(
    key="payload",
    field=Object(uri=_URI, members={"datatype": Attribute(), "data": Content()}),
    title="XEP-0432: Simple JSON Messaging, in a forwarded message",
    example={"datatype": "urn:example:thing", "data": '{"n":1}'},
)
