"""
C{/api/messages}: one-to-one messages, sent and from the archive.
"""

from __future__ import annotations

from twisted.words.xish.domish import Element

from restbridge.clientapi.call import Call, address, before, limit, text
from restbridge.clientapi.history import Archived, Item, Query, newest
from restbridge.stanzas.jid import JID, InvalidJID
from restbridge.stanzas.xml import NS_CLIENT, firstOf
from restbridge.web.answer import Answer, asJSON

NS_PROPERTIES = "http://www.jivesoftware.com/xmlns/xmpp/properties"

MAX_MESSAGES = 50
"""Messages of one answer, however many are asked for."""


async def send(call: Call) -> Answer:
    """
    C{POST /api/messages}: send a chat message; 200 with its id once the server has taken it.

    As with MongooseIM the answer is the same whether or not somebody is there to get it.
    """
    document = call.document()
    missing, invalid = "Missing recipient JID", "Invalid recipient JID"
    to = address(text(document, "to", missing=missing, invalid=invalid), invalid)
    body = text(document, "body", missing="Missing message body", invalid="Invalid message body")
    message = Element((NS_CLIENT, "message"))
    message["type"], message["to"], message["id"] = "chat", to.full, call.id.hex[16:]
    message.addElement("body", content=body)
    await call.link.confirm(message)
    return asJSON(200, {"id": message["id"]})


async def history(call: Call) -> Answer:
    """
    C{GET /api/messages}, C{GET /api/messages/{with}}: the newest messages in the order of time.
    """
    other = address(call.path["other"], "Invalid interlocutor JID") if "other" in call.path else None
    parameters = call.parameters("limit", "before")
    wanted = min(limit(parameters, default=MAX_MESSAGES), MAX_MESSAGES)
    query = Query(other=other and other.toBare(), before=before(parameters), limit=wanted)
    return asJSON(200, await newest(call.link, query, _Selection(other), call.timeout))


class _Selection:
    """
    What is shown of an archive.
    """

    def __init__(self, other: JID | None) -> None:
        """
        @param other: with whom messages were exchanged, and with which of the client's resources, if
            that is named: Prosody's archive knows bare addresses only.
        """
        self._resource = None if other is None or other.resource is None else other.full
        self._notes: set[tuple[str, str]] = set()

    def __call__(self, archived: Archived) -> Item | None:
        message = archived.message
        if self._resource is not None and self._resource not in (message["from"], message["to"]):
            return None
        shown = item(archived)
        return None if shown is None or self._isRepeated(message, shown) else shown

    def _isRepeated(self, message: Element, shown: Item) -> bool:
        """
        Whether it is what one has written to oneself, and has been shown: archives hold it as sent and as
        received.
        """
        note = message["from"], message.getAttribute("id", "")
        if shown["from"] != shown["to"] or not note[1]:
            return False
        repeated = note in self._notes
        self._notes.add(note)
        return repeated


def item(archived: Archived) -> Item | None:
    """
    What the API shows of a message; L{None} where it has no text or is not from one to another.
    """
    shown = _shown(archived.message)
    return None if shown is None else {"timestamp": archived.timestamp, "id": archived.id, **shown}


def _shown(message: Element) -> Item | None:
    body = firstOf(message, NS_CLIENT, "body")
    if body is None or message.getAttribute("type", "normal") not in ("chat", "normal"):
        return None
    try:
        ends = {end: JID.parse(message[end]).bare for end in ("to", "from")}
    except (KeyError, InvalidJID):
        return None
    shown: Item = {**ends, "body": str(body), **_thread(message)}
    if message.getAttribute("id"):
        shown["id"] = message["id"]
    properties = _properties(message)
    if properties:
        shown["properties"] = properties
    return shown


def _thread(message: Element) -> dict[str, str]:
    """
    The thread that a message belongs to, and that one's parent (RFC 6121, section 5.2.5).
    """
    thread = firstOf(message, NS_CLIENT, "thread")
    if thread is None:
        return {}
    parent = thread.getAttribute("parent")
    return {"thread": str(thread)} | ({} if parent is None else {"parent": parent})


def _properties(message: Element) -> dict[str, str]:
    """
    Smack's stanza properties: names and values, all of them as texts; what isn't both is left out.
    """
    found = {}
    for properties in message.elements(NS_PROPERTIES, "properties"):
        for each in properties.elements(NS_PROPERTIES, "property"):
            name = firstOf(each, NS_PROPERTIES, "name")
            value = firstOf(each, NS_PROPERTIES, "value")
            if name is not None and value is not None:
                found[str(name)] = str(value)
    return found
