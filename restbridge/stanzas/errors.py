"""
Errors: one table of stanza error conditions with their types and HTTP statuses, and the value that
goes between the XML, the JSON and the HTTP form of an error.
"""

from __future__ import annotations

from http import HTTPStatus

import attrs
from twisted.words.xish.domish import Element

from restbridge.stanzas.muc import isFromRoom
from restbridge.stanzas.replies import swapped, takesReply
from restbridge.stanzas.xml import NS_CLIENT

NS_STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"

TYPES = ("auth", "cancel", "continue", "modify", "wait")
"""RFC 6120, section 8.3.2."""

_TABLE = (
    ("bad-request", "modify", 400),
    ("conflict", "cancel", 409),
    ("feature-not-implemented", "cancel", 501),
    ("forbidden", "auth", 403),
    ("gone", "cancel", 410),
    ("internal-server-error", "cancel", 500),
    ("item-not-found", "cancel", 404),
    ("jid-malformed", "modify", 400),
    ("not-acceptable", "modify", 406),
    ("not-allowed", "cancel", 405),
    ("not-authorized", "auth", 401),
    ("payment-required", "auth", 402),
    ("policy-violation", "modify", 403),
    ("recipient-unavailable", "wait", 404),
    ("redirect", "modify", 302),
    ("registration-required", "auth", 407),
    ("remote-server-not-found", "cancel", 404),
    ("remote-server-timeout", "wait", 504),
    ("resource-constraint", "wait", 503),
    ("service-unavailable", "cancel", 503),
    ("subscription-required", "auth", 407),
    ("undefined-condition", "cancel", 500),
    ("unexpected-request", "wait", 400),
)
"""Condition, its usual type (RFC 6120, section 8.3.3), and the HTTP status that says the same."""

CONDITIONS = {condition: usual for condition, usual, _ in _TABLE}
"""Condition -> its usual type."""

STATUSES = {condition: status for condition, _, status in _TABLE}
"""Condition -> the HTTP status that says the same (where there is one; XEP-0086 else)."""

_FROM_STATUS = {
    400: ("modify", "bad-request"),
    401: ("auth", "not-authorized"),
    402: ("auth", "payment-required"),
    403: ("auth", "forbidden"),
    404: ("cancel", "item-not-found"),
    405: ("cancel", "not-allowed"),
    406: ("modify", "not-acceptable"),
    408: ("wait", "remote-server-timeout"),
    409: ("cancel", "conflict"),
    410: ("cancel", "gone"),
    413: ("modify", "resource-constraint"),
    422: ("modify", "bad-request"),
    423: ("wait", "resource-constraint"),
    429: ("wait", "resource-constraint"),
    451: ("auth", "forbidden"),
    500: ("wait", "internal-server-error"),
    501: ("cancel", "feature-not-implemented"),
    502: ("wait", "remote-server-timeout"),
    503: ("cancel", "service-unavailable"),
    504: ("wait", "remote-server-timeout"),
}
"""What a callback's status says, as mod_rest has it; every other one is cancel, undefined-condition."""


class LinkDown(Exception):
    """
    Nothing can be sent: there is no stream to the XMPP server.

    @ivar reason: why, for an operator.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class LoginRefused(Exception):
    """
    The XMPP server doesn't accept the credential of a user.

    @ivar condition: SASL's (RFC 6120, section 6.5), for the log; it isn't for the user to see.
    """

    def __init__(self, condition: str) -> None:
        super().__init__(f"the server refused the login: {condition}")
        self.condition = condition


class NoAnswer(Exception):
    """
    The entity asked has not answered in time.

    @ivar seconds: how long it had.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no answer within {seconds:g} seconds")
        self.seconds = seconds


class DuplicateId(ValueError):
    """
    An IQ with the same addresses and id awaits its answer still.
    """


@attrs.frozen(kw_only=True)
class StanzaError:
    """
    What went wrong with a stanza (RFC 6120, section 8.3).

    @ivar type: one of L{TYPES}, as far as the sender of a received error keeps to it.
    @ivar condition: a key of L{CONDITIONS}, likewise.
    @ivar text: in words.
    @ivar by: who says so, if not the sender of the stanza.
    """

    condition: str
    type: str
    text: str | None = None
    by: str | None = None

    @classmethod
    def of(cls, condition: str, text: str | None = None) -> StanzaError:
        """
        An error of the condition's usual type.
        """
        return cls(condition=condition, type=CONDITIONS[condition], text=text)

    @classmethod
    def fromStatus(cls, status: int, text: str | None = None) -> StanzaError:
        """
        What an HTTP status says.

        @param text: in words; the status with its usual words if left out.
        """
        kind, condition = _FROM_STATUS.get(status, ("cancel", "undefined-condition"))
        return cls(condition=condition, type=kind, text=text or _inWords(status))

    @classmethod
    def fromElement(cls, element: Element) -> StanzaError:
        """
        The error that an C{<error/>} holds; what is missing is C{cancel}, C{undefined-condition}.
        """
        condition = text = None
        for child in element.elements():
            if child.uri == NS_STANZAS:
                if child.name == "text":
                    text = "".join(part for part in child.children if isinstance(part, str))
                else:
                    condition = condition or child.name
        return cls(
            condition=condition or "undefined-condition",
            type=element.attributes.get("type", "cancel"),
            text=text,
            by=element.attributes.get("by"),
        )

    def toElement(self) -> Element:
        """
        The C{<error/>} for a stanza.
        """
        element = Element((NS_CLIENT, "error"), NS_CLIENT)
        element["type"] = self.type
        if self.by is not None:
            element["by"] = self.by
        element.addElement((NS_STANZAS, self.condition))
        if self.text is not None:
            element.addElement((NS_STANZAS, "text"), content=self.text)
        return element


def _inWords(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def errorOf(stanza: Element) -> StanzaError | None:
    """
    The error in a stanza of type C{error}; L{None} if it holds none.
    """
    for child in stanza.elements(NS_CLIENT, "error"):
        return StanzaError.fromElement(child)
    return None


def takesError(stanza: Element) -> bool:
    """
    Whether an error may go back for C{stanza}. A room is not to hear that what it passes on could not be
    delivered: it puts out whoever says so.
    """
    return takesReply(stanza) and not isFromRoom(stanza)


def errorReply(stanza: Element, error: StanzaError) -> Element:
    """
    The answer to C{stanza} that says C{error}: its addresses swapped, its id, without its payload.
    """
    reply = Element((NS_CLIENT, stanza.name), NS_CLIENT)
    reply.attributes = {**swapped(stanza), "type": "error"}
    reply.addChild(error.toElement())
    return reply
