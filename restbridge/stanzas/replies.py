"""
Which stanza calls for a reply, and whom a reply is for (RFC 6120, section 8).
"""

from __future__ import annotations

from collections.abc import Iterator
from secrets import token_urlsafe

from twisted.words.xish.domish import Element

from restbridge.stanzas.xml import NS_CLIENT

_ID = 24
"""Characters, of six random bits each."""


def _drawn() -> Iterator[str]:
    """
    Ids, many for each time that the system is asked for something random: that costs more than all else
    about them.
    """
    while True:
        letters = token_urlsafe(_ID * 6 // 8 * 256)
        for start in range(0, len(letters), _ID):
            yield letters[start : start + _ID]


_ids = _drawn()


def newId() -> str:
    """
    An id that nobody can guess.
    """
    return next(_ids)


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
