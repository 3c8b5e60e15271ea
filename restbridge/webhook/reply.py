"""
A receiver's answer as a stanza.

::

    202, 204     accepted: nothing goes back, except to an IQ, which gets its empty result
    other 2xx    the stanza in the body, be it an error; where there is none of the right kind, an empty one
    all others   the stanza error in the body, else the one that the status stands for

    to a room    only a message or presence that is in the body: no errors, nothing empty

To and from are the bridge's to set: a receiver speaks for the address that was written to, and to
whoever wrote.
"""

from __future__ import annotations

import msgspec
from twisted.logger import Logger
from twisted.words.xish.domish import Element

from restbridge.stanzas.errors import NS_STANZAS, StanzaError, errorOf, errorReply
from restbridge.stanzas.jid import JID
from restbridge.stanzas.mapping import MappingRefused
from restbridge.stanzas.media import JSON, TEXT, UnknownMediaType, Unreadable, decode, essence
from restbridge.stanzas.muc import isFromRoom
from restbridge.stanzas.nesting import decodeJSON
from restbridge.stanzas.replies import newId, resultFor, takesReply
from restbridge.stanzas.xml import NS_CLIENT, NS_XML
from restbridge.web.answer import writable
from restbridge.webhook.post import Response

MAX_TEXT = 1000
"""Characters of a receiver's words that go into a stanza error."""

log = Logger()


def replyTo(stanza: Element, response: Response) -> Element | None:
    """
    What goes back for C{stanza}; L{None} for nothing.
    """
    if not takesReply(stanza):
        return None
    if response.status in (202, 204):
        return _empty(stanza) if stanza.name == "iq" else None
    given = _stanzaIn(response, stanza.name)
    succeeded = 200 <= response.status < 300 and (given is None or given.getAttribute("type") != "error")
    if isFromRoom(stanza) and (given is None or not succeeded):
        # It would put the account out (see takesError), or be presence of its own under another's nickname.
        return None
    if succeeded:
        return _empty(stanza) if given is None else _from(given, stanza)
    return errorReply(stanza, _errorSaid(response)) if given is None else _refusal(stanza, given, response)


def _stanzaIn(response: Response, kind: str) -> Element | None:
    """
    The stanza of that kind which the body holds.
    """
    if not response.body and response.mediaType is None:
        return None
    try:
        given = decode(response.mediaType, _namingKind(response, kind)).stanza
    except (UnknownMediaType, Unreadable, MappingRefused) as problem:
        log.warn(
            "A callback's answer of {mediaType!r} is no stanza: {problem}",
            mediaType=response.mediaType,
            problem=problem,
        )
        return None
    return given if given.name == kind and given.uri == NS_CLIENT else None


def _namingKind(response: Response, kind: str) -> bytes:
    """
    The body; an error in JSON need not say what it answers.
    """
    if essence(response.mediaType or "") != JSON or b'"error"' not in response.body:
        return response.body
    try:
        found = decodeJSON(response.body)
    except ValueError:
        return response.body
    if not isinstance(found, dict) or "kind" in found or "error" not in found:
        return response.body
    return msgspec.json.encode({**found, "kind": kind, "type": "error"})


def _errorSaid(response: Response) -> StanzaError:
    text = ""
    if essence(response.mediaType or "") == TEXT:
        text = response.body.decode("utf-8", "replace").strip()[:MAX_TEXT]
    text = writable(text or f"{response.status} {response.phrase}")
    return StanzaError.fromStatus(response.status, text)


def _refusal(stanza: Element, given: Element, response: Response) -> Element:
    """
    The error that C{given} holds, with the conditions that only the application knows.
    """
    reply = errorReply(stanza, errorOf(given) or _errorSaid(response))
    own = [child for error in given.elements(NS_CLIENT, "error") for child in error.elements()]
    for error in reply.elements(NS_CLIENT, "error"):
        error.children.extend(child for child in own if child.uri != NS_STANZAS)
    return reply


def _from(given: Element, stanza: Element) -> Element:
    if stanza.name == "iq":
        return _addressed(given, stanza["from"], stanza["to"], "result", stanza.getAttribute("id"))
    kind = given.getAttribute("type")
    to = JID.parse(stanza["from"]).bare if kind == "groupchat" else stanza["from"]
    return _addressed(given, to, stanza["to"], kind, given.getAttribute("id"))


def _empty(stanza: Element) -> Element:
    """
    The reply that says nothing: the same type for a message or presence, a result for an IQ.
    """
    if stanza.name == "iq":
        return resultFor(stanza)
    reply = Element((NS_CLIENT, stanza.name))
    return _addressed(reply, stanza["from"], stanza["to"], stanza.getAttribute("type"), None)


def _addressed(reply: Element, to: str, sender: str, kind: str | None, identity: str | None) -> Element:
    language = reply.getAttribute((NS_XML, "lang"))
    reply.attributes = {"to": to, "from": sender, "id": identity or newId()}
    if kind is not None:
        reply["type"] = kind
    if language is not None:
        reply.attributes[(NS_XML, "lang")] = language
    return reply
