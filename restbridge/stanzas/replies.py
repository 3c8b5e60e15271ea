"""
Which stanza calls for a reply, and whom a reply is for (RFC 6120, section 8).
"""

from __future__ import annotations

from secrets import token_urlsafe

from twisted.words.xish.domish import Element

from restbridge.stanzas.xml import NS_CLIENT


def newId() -> str:
    """
    An id that nobody can guess.
    """
    return token_urlsafe(18)


def expectsAnswer(stanza: Element) -> bool:
    """
    Whether it is an IQ of type get or set (section 8.2.3).
    """
    return stanza.name == "iq" and stanza.getAttribute("type") in ("get", "set")


def takesReply(stanza: Element) -> bool:
    """
    Nothing answers an error or a result (sections 8.2.3 and 8.3.1).
    """
    return stanza.getAttribute("type") not in ("error", "result")


def resultFor(iq: Element) -> Element:
    """
    The empty result to an IQ (section 8.2.3).
    """
    result = Element((NS_CLIENT, "iq"))
    result.attributes = {**swapped(iq), "type": "result"}
    return result


def swapped(stanza: Element) -> dict[str, str]:
    """
    The addresses and the id of a reply.
    """
    given = stanza.attributes
    reply = {"to": given.get("from"), "from": given.get("to"), "id": given.get("id")}
    return {key: value for key, value in reply.items() if value is not None}
