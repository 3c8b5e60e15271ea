"""
RFC 6120, section 8.3: what went wrong.
"""

from __future__ import annotations

from typing import Any

from twisted.words.xish.domish import Element

from restbridge.stanzas.compounds import Payload
from restbridge.stanzas.errors import CONDITIONS, TYPES, StanzaError
from restbridge.stanzas.fields import Custom
from restbridge.stanzas.values import TEXT
from restbridge.stanzas.writing import Writing
from restbridge.stanzas.xml import NS_CLIENT


def _read(element: Element, levels: int) -> dict[str, str]:
    error = StanzaError.fromElement(element)
    found = {"type": error.type, "condition": error.condition, "text": error.text, "by": error.by}
    return {key: value for key, value in found.items() if value is not None}


def _write(parent: Element, value: Any, context: Writing) -> None:
    if type(value) is not dict:
        raise context.refuse("must be an object")
    texts: dict[str, str] = {}
    for key, item in value.items():
        if key not in ("type", "condition", "text", "by"):
            context.ignore(str(key))
            continue
        context.path.append(key)
        texts[key] = context.text(item)
        context.path.pop()
    condition = texts.setdefault("condition", "undefined-condition")
    if condition not in CONDITIONS:
        raise context.refuse("must be a condition of RFC 6120, section 8.3.3", "condition")
    if texts.setdefault("type", CONDITIONS[condition]) not in TYPES:
        raise context.refuse(f"must be one of {', '.join(TYPES)}", "type")
    parent.addChild(StanzaError(**texts).toElement())


ERROR = Payload(
    key="error",
    field=Custom(
        reads=((NS_CLIENT, "error"),),
        reader=_read,
        writer=_write,
        schema={
            "type": "object",
            "properties": {
                "type": {"type": "string", "enum": list(TYPES)},
                "condition": {"type": "string", "enum": list(CONDITIONS)},
                "text": TEXT.schema,
                "by": TEXT.schema,
            },
        },
    ),
    title="RFC 6120: Stanza error",
    example={"type": "cancel", "condition": "item-not-found", "text": "No such room"},
    note="For stanzas of type `error`. Left out, `type` is the condition's own.",
)
