"""
XEP-0071: XHTML-IM, the text of a message as HTML.
"""

from __future__ import annotations

from typing import Any

from twisted.words.xish.domish import Element

from restbridge.stanzas.compounds import Payload
from restbridge.stanzas.fields import Custom
from restbridge.stanzas.values import TEXT
from restbridge.stanzas.writing import Writing, childOf, elementsOf
from restbridge.stanzas.xml import XMLRefused, parseDocument, serialize

_XHTML_IM = "http://jabber.org/protocol/xhtml-im"
_XHTML = "http://www.w3.org/1999/xhtml"

MAX_LEVELS = 40
"""Levels of HTML elements: a stanza must stay within the limits of XML with all that is around them."""


def _read(element: Element, levels: int) -> str | None:
    for child in elementsOf(element):
        if (child.uri, child.name) == (_XHTML, "body"):
            try:
                return serialize(child, _XHTML)
            except XMLRefused:
                return None
    return None


def _deeper(element: Element, levels: int) -> bool:
    return levels == 0 or any(_deeper(child, levels - 1) for child in elementsOf(element))


def _write(parent: Element, value: Any, context: Writing) -> None:
    html = context.text(value)
    try:
        found = parseDocument(f"<html xmlns='{_XHTML}'>{html}</html>".encode())
    except XMLRefused as error:
        raise context.refuse(f"is not well-formed: {error}") from None
    body, *others = found.children or [""]
    if others or isinstance(body, str) or (body.uri, body.name) != (_XHTML, "body"):
        raise context.refuse("must be one <body> element")
    if _deeper(body, MAX_LEVELS):
        raise context.refuse(f"is nested deeper than {MAX_LEVELS} levels")
    childOf(parent, "html", _XHTML_IM).addChild(body)


HTML = Payload(
    key="html",
    field=Custom(
        takesText=True, reads=((_XHTML_IM, "html"),), reader=_read, writer=_write, schema=TEXT.schema
    ),
    title="XEP-0071: XHTML-IM",
    example="<body><p>Hi <strong>there</strong></p></body>",
    note="Well-formed, in one `<body>`.",
)
