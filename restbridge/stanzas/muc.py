"""
What is said between a room and who is in it (XEP-0045): presence to come and to go, and how to read what the
room says.
"""

from __future__ import annotations

from twisted.words.xish.domish import Element

from restbridge.stanzas.jid import JID
from restbridge.stanzas.replies import newId
from restbridge.stanzas.xml import NS_CLIENT, firstOf

NS_MUC = "http://jabber.org/protocol/muc"
NS_MUC_USER = f"{NS_MUC}#user"

SELF = "110"
"""The presence is the one of whom it is sent to."""

CREATED = "201"
"""The room was made by entering it."""

BANNED, RENAMED, KICKED, DISMISSED, CLOSED, SHUTDOWN, FAULTY = "301", "303", "307", "321", "322", "332", "333"
"""
Why somebody is in the room no more: banned; only known by another nickname; kicked; no member any more; no
member of what is for members alone from now on; the service ends; something went wrong.
"""


def joining(occupant: JID) -> Element:
    """
    Presence that enters a room, without asking for its history (sections 7.2.2 and 7.2.14).

    @param occupant: the address wanted there.
    """
    presence = _presence(occupant)
    presence.addElement((NS_MUC, "x")).addElement("history")["maxstanzas"] = "0"
    return presence


def leaving(occupant: JID) -> Element:
    """
    Presence that leaves a room (section 7.14).
    """
    presence = _presence(occupant)
    presence["type"] = "unavailable"
    return presence


def _presence(occupant: JID) -> Element:
    presence = Element((NS_CLIENT, "presence"))
    presence["to"], presence["id"] = occupant.full, newId()
    return presence


def statuses(presence: Element) -> frozenset[str]:
    """
    The status codes of a presence (section 15.6).
    """
    return frozenset(
        status.getAttribute("code", "")
        for user in presence.elements(NS_MUC_USER, "x")
        for status in user.elements(NS_MUC_USER, "status")
    )


def subjectOf(stanza: Element) -> str | None:
    """
    The subject that a message sets (section 8.1).
    """
    if stanza.name != "message" or stanza.getAttribute("type") != "groupchat":
        return None
    if firstOf(stanza, NS_CLIENT, "body") is not None:
        return None
    subject = firstOf(stanza, NS_CLIENT, "subject")
    return None if subject is None else str(subject)


def isFromRoom(stanza: Element) -> bool:
    """
    Whether a message or presence is one that a room passes on to its occupants, whom it knows by full
    addresses, or says itself.
    """
    if stanza.name == "iq":
        return False
    if stanza.name == "message" and stanza.getAttribute("type") == "groupchat":
        return "/" in stanza.getAttribute("to", "")
    return firstOf(stanza, NS_MUC_USER, "x") is not None
