"""
What goes back over HTTP: answers, and refusals, which are raised and turned into answers in one place.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import attrs
import msgspec
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.words.xish.domish import Element
from werkzeug.exceptions import HTTPException

from restbridge.stanzas.errors import DuplicateId, LinkDown, NoAnswer
from restbridge.stanzas.media import ERRORS, HTML, JSON, XML, choose
from restbridge.stanzas.xml import StanzaTooLarge, XMLRefused, illegalCharacter, serialize
from restbridge.store.database import StoreFailed

NS_STREAM_ERRORS = "urn:ietf:params:xml:ns:xmpp-streams"

log = Logger()

Headers = tuple[tuple[str, str], ...]


@attrs.frozen
class Answer:
    """
    A whole HTTP answer.

    @ivar mediaType: of the body; L{None} where there is no body.
    @ivar headers: beside those that tell of the body.
    """

    status: int
    body: bytes = b""
    mediaType: str | None = None
    headers: Headers = ()


def asJSON(status: int, document: object) -> Answer:
    """
    An answer in JSON.
    """
    return Answer(status, msgspec.json.encode(document), JSON)


@attrs.define(eq=False)
class Refusal(Exception):
    """
    A request that is not fulfilled.

    @ivar status: HTTP's.
    @ivar condition: the stanza error condition that says the same (RFC 6120, section 8.3.3).
    @ivar kind: the stanza error type: auth, cancel, modify or wait.
    @ivar text: what is wrong, for whoever sent the request.
    @ivar context: details for a program to read.
    """

    status: int
    kind: str | None = None
    condition: str | None = None
    text: str | None = None
    context: Mapping[str, Any] = MappingProxyType({})
    headers: Headers = ()


def notFound(method: str, path: str) -> Refusal:
    """
    Nothing is served there, or not with this method.
    """
    return Refusal(404, "cancel", "item-not-found", f"nothing answers to {method} {path}")


def unavailable(reason: str) -> Refusal:
    """
    What the request needs is down; it may be tried again.
    """
    return Refusal(503, "wait", "service-unavailable", reason, headers=(("Retry-After", "1"),))


def ownFault() -> Refusal:
    """
    Something went wrong that nobody has thought of, and was logged.
    """
    return Refusal(500, "cancel", "internal-server-error", "restbridge failed; its log says why")


def refusalAnswer(refusal: Refusal, accept: str) -> Answer:
    """
    A refusal in the form that the caller prefers: HTML, C{<error/>} or JSON.

    @param accept: the Accept header.
    """
    mediaType = choose(accept, "", ERRORS)
    body = {HTML: _asHTML, XML: _asXML, JSON: _asJSON}[mediaType](refusal)
    if mediaType == HTML:
        mediaType = "text/html; charset=utf-8"
    return Answer(refusal.status, body, mediaType, refusal.headers)


def refusalFor(request: IRequest, failure: Failure) -> Refusal:
    """
    What a route's failure means to the caller. A fault of ours goes into the log, not to the caller.
    """
    error = failure.value
    if isinstance(error, Refusal):
        return error
    if isinstance(error, HTTPException):
        # mod_rest answers 404 to a method that it doesn't know, too.
        return notFound(request.method.decode("latin-1"), request.path.decode("latin-1"))
    if isinstance(error, CancelledError):
        return Refusal(408, "wait", "remote-server-timeout", "the client has left")
    if isinstance(error, StoreFailed):
        # Where the file is, and what is wrong with it, is the operator's to know.
        log.error("The store failed: {reason}", reason=str(error))
        return unavailable("restbridge's store can't be used now; its log says why")
    refusal = _ofLink(error)
    if refusal is not None:
        return refusal
    log.failure("A request could not be answered", failure)
    return ownFault()


def _ofLink(error: BaseException | None) -> Refusal | None:
    """
    What the errors of a L{restbridge.boundaries.Link} mean.
    """
    match error:
        case LinkDown():
            return unavailable(str(error))
        case NoAnswer():
            return Refusal(504, "wait", "remote-server-timeout", str(error))
        case DuplicateId():
            return Refusal(409, "cancel", "conflict", str(error))
        case StanzaTooLarge():
            sizes = {"size": error.size, "limit": error.limit}
            return Refusal(413, "modify", "resource-constraint", str(error), sizes)
        case XMLRefused():
            return Refusal(422, "modify", "not-acceptable", str(error))
    return None


def _asJSON(refusal: Refusal) -> bytes:
    document: dict[str, Any] = {"type": "error", "code": refusal.status}
    if refusal.condition is not None:
        document["error"] = errorDocument(refusal)
    return msgspec.json.encode(document)


def errorDocument(refusal: Refusal) -> dict[str, Any]:
    """
    What is wrong, as JSON says it.
    """
    return {
        "type": refusal.kind,
        "condition": refusal.condition,
        "text": refusal.text,
        "code": refusal.status,
        "source": "restbridge",
        "context": dict(refusal.context),
    }


def _asXML(refusal: Refusal) -> bytes:
    # mod_rest's form: that of a stream error (RFC 6120, section 4.9.2).
    error = Element(("http://etherx.jabber.org/streams", "error"))
    error.addElement((NS_STREAM_ERRORS, refusal.condition or "undefined-condition"))
    if refusal.text:
        error.addElement((NS_STREAM_ERRORS, "text"), content=writable(refusal.text))
    return serialize(error).encode()


def writable(text: str) -> str:
    """
    A text for people, with U+FFFD for each character that XML can't hold.
    """
    while (illegal := illegalCharacter(text)) is not None:
        text = text.replace(illegal, "\N{REPLACEMENT CHARACTER}")
    return text


def _asHTML(refusal: Refusal) -> bytes:
    title = f"{refusal.status} {HTTPStatus(refusal.status).phrase}"
    text = escape(refusal.text or "")
    return (
        f"<!DOCTYPE html><html><head><meta charset='utf-8'><title>{title}</title></head>"
        f"<body><h1>{title}</h1><p>{text}</p></body></html>\n"
    ).encode()
