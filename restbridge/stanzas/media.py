"""
Media types: the bytes of a request as a stanza, a stanza as the bytes of an answer.

::

    body -> decode  -> Mapped      by Content-Type, amended by the path /rest/{kind}/{type}/{to}
    path -> ask     -> Mapped      GET /rest/{query}/{to}
    Accept -> answerType -> encode -> body
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import cbor2
import msgspec
from twisted.words.xish.domish import Element

from restbridge.stanzas import bodies
from restbridge.stanzas.bodies import Unreadable
from restbridge.stanzas.mapping import Mapped, UnknownKind, toJSON
from restbridge.stanzas.queries import QUERIES, ask
from restbridge.stanzas.xml import serialize

__all__ = [
    "CBOR",
    "ERRORS",
    "FORM",
    "HTML",
    "INPUTS",
    "JSON",
    "OUTPUTS",
    "QUERIES",
    "TEXT",
    "XML",
    "UnknownMediaType",
    "Unreadable",
    "answerType",
    "ask",
    "choose",
    "decode",
    "encode",
    "essence",
]

XML = "application/xmpp+xml"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
TEXT = "text/plain"
CBOR = "application/cbor"
HTML = "text/html"

INPUTS = (XML, JSON, FORM, TEXT, CBOR)
"""What a request, or the answer of a callback, may be written in; in the order of preference."""

OUTPUTS = (XML, JSON, FORM, CBOR)
"""What an answer may be written in."""

ERRORS = (HTML, XML, JSON)
"""What an error may be written in."""


class UnknownMediaType(ValueError):
    """
    A request in a media type that is none of L{INPUTS}, or in none.
    """


_DECODERS: Mapping[str, Callable[[bytes, str | None, bool], Mapped]] = {
    XML: bodies.decodeXML,
    JSON: bodies.decodeJSON,
    FORM: bodies.decodeForm,
    TEXT: bodies.decodeText,
    CBOR: bodies.decodeCBOR,
}


def choose(accept: str | None, contentType: str | None, supported: Sequence[str]) -> str:
    """
    The supported type that C{Accept} names first; as mod_rest has it, quality values don't count, and
    the type of the request stands last in the list.

    @return: the first supported one if none is named.
    """
    wanted = f"{accept or ''},{contentType or ''}".lower()
    found = {each: wanted.find(each) for each in supported}
    return min((each for each in supported if found[each] >= 0), key=found.__getitem__, default=supported[0])


def answerType(accept: str | None, contentType: str | None) -> str:
    """
    The media type of an answer. CBOR is for requests in CBOR or without a body: to others mod_rest
    answers as if it had never heard of it.
    """
    spoken = not contentType or essence(contentType) == CBOR
    return choose(accept, contentType, OUTPUTS if spoken else [each for each in OUTPUTS if each != CBOR])


def essence(contentType: str) -> str:
    """
    A media type without its parameters.
    """
    return contentType.partition(";")[0].strip().lower()


def decode(
    contentType: str | None, body: bytes, path: str | None = None, *, asModRest: bool = False
) -> Mapped:
    """
    The stanza in a request, or in the answer of a callback. Of XML, any document of one element.

    @param path: what follows C{/rest/}, percent-decoded: C{message/chat/juliet@example.com}, or
        C{iq/version/example.com}. It outweighs the body; XML ignores it.
    @param asModRest: what mod_rest's C{/rest/echo} would show; never send that.
    @raise UnknownMediaType: not one of L{INPUTS}.
    @raise Unreadable: not well-formed, or a path that leads nowhere.
    @raise restbridge.stanzas.mapping.MappingRefused: well-formed, but no stanza.
    """
    decoder = _DECODERS.get(essence(contentType or ""))
    if decoder is None:
        raise UnknownMediaType(contentType or "none")
    try:
        return decoder(body, path, asModRest)
    except UnknownKind as error:
        raise Unreadable("unknown-kind", str(error)) from None


def encode(mediaType: str, answer: Element | Sequence[Element], *, asModRest: bool = False) -> bytes:
    """
    A stanza in a media type of L{OUTPUTS} or L{TEXT}; several of them, an archive's results and their
    end, as C{{"xmpp": [...]}} or C{<xmpp>}.

    @param asModRest: leave tabs and line feeds in XML attributes as they are; an XML reader will take
        them for spaces.
    @raise restbridge.stanzas.xml.XMLRefused: it can't be written as XML.
    """
    text = _ENCODERS[mediaType](answer)
    if asModRest and mediaType == XML:
        # In text these two stand as they are, so that a reference can only be one in an attribute.
        text = text.replace(b"&#9;", b"\t").replace(b"&#10;", b"\n")
    return text


def _encodeXML(answer: Element | Sequence[Element]) -> bytes:
    if isinstance(answer, Element):
        return serialize(answer).encode()
    return f"<xmpp>{''.join(serialize(stanza) for stanza in answer)}</xmpp>".encode()


def _json(answer: Element | Sequence[Element]) -> dict[str, Any]:
    if isinstance(answer, Element):
        return toJSON(answer)
    return {"xmpp": [toJSON(stanza) for stanza in answer]}


def _last(answer: Element | Sequence[Element]) -> Element:
    return answer if isinstance(answer, Element) else answer[-1]


def _encodeForm(answer: Element | Sequence[Element]) -> bytes:
    texts = {key: _formText(value) for key, value in toJSON(_last(answer)).items()}
    return urlencode({key: text for key, text in texts.items() if text is not None}).encode()


def _formText(value: Any) -> str | None:
    if value is True:
        return ""
    return str(value) if type(value) in (str, int) else None


def _encodeText(answer: Element | Sequence[Element]) -> bytes:
    return str(toJSON(_last(answer)).get("body", "")).encode()


_ENCODERS: Mapping[str, Callable[[Element | Sequence[Element]], bytes]] = {
    XML: _encodeXML,
    JSON: lambda answer: msgspec.json.encode(_json(answer)),
    FORM: _encodeForm,
    TEXT: _encodeText,
    CBOR: lambda answer: cbor2.dumps(_json(answer)),
}
