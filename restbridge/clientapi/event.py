"""
One event of C{/api/sse}: what it says, the id that a client comes back with, and what becomes one.

::

    message, carbon of one        -> received -> Event -> "id: EventId", data
    message of the user's archive -> archived -> Event -> likewise
    message of a room             -> ofMessage -> Event -> likewise
    change in a room              -> ofChange -> Event -> likewise
"""

from __future__ import annotations

import re
from datetime import datetime
from urllib.parse import quote, unquote

import attrs
import msgspec
from twisted.words.xish.domish import Element

from restbridge.clientapi.groupchat import shownChange
from restbridge.clientapi.history import NS_DELAY, NS_FORWARD, Archived, Item, milliseconds
from restbridge.clientapi.ledger import Known
from restbridge.clientapi.messages import item
from restbridge.stanzas.jid import JID
from restbridge.stanzas.replies import newId
from restbridge.stanzas.xml import NS_CLIENT, firstOf, illegalCharacter
from restbridge.store.rooms import Change

NS_CARBONS = "urn:xmpp:carbons:2"
NS_STANZA_ID = "urn:xmpp:sid:0"

ROOM_MESSAGE = "room.message"

MAX_ARCHIVE_ID = 200
"""Characters of an archive's id. Longer ones name no event."""

_ID = re.compile(
    r"([0-9]{1,16})-([0-9]{1,9})-([0-9]{1,16})-([A-Za-z0-9_.~%-]{0,2400})"
    r"(?::([0-9]{1,16}):((?:[A-Za-z0-9_-]{8}){0,500}))?"
)
"""The part that begins with a colon is younger than the rest: ids without it are of earlier versions."""


@attrs.frozen(kw_only=True)
class Event:
    """
    Something that happened to a user.

    @ivar name: the type of the event, as C{message}.
    @ivar data: what is said of it, in JSON.
    @ivar moment: when it happened, in microseconds since 1970.
    @ivar archived: its id in the user's own archive; L{None} for what isn't there.
    @ivar key: what tells it from others; L{None} where nothing does.
    @ivar delayed: whether it waited for the user.
    @ivar slot: of what happens in a room, what a later event of the same makes needless to be remembered;
        L{None} for one-to-one messages.
    @ivar alias: of what is said in a room, what may tell it from others while there is no key.
    @ivar behind: of what lets the user into a room, the slot and key of the message that it came after.
    """

    name: str
    data: bytes
    moment: int
    archived: str | None = None
    key: str | None = None
    delayed: bool = False
    slot: str | None = None
    alias: str | None = None
    behind: tuple[str, str] | None = None


@attrs.frozen(kw_only=True)
class EventId:
    """
    Where a stream goes on.

    @ivar moment: of the event, in microseconds since 1970.
    @ivar number: how many events since C{archived} are not in the archive.
    @ivar complete: from when on nothing in the archive is missing up to the event; likewise.
    @ivar archived: the last id of the archive up to the event; L{None} while there was none.
    @ivar known: what is known of rooms; L{None} where the id doesn't say.
    """

    moment: int
    number: int
    complete: int
    archived: str | None
    known: Known | None = None

    @classmethod
    def parse(cls, text: str) -> EventId | None:
        """
        Read it; L{None} for what no stream of ours has written.
        """
        parts = _ID.fullmatch(text)
        if parts is None:
            return None
        archived = unquote(parts[4])
        if illegalCharacter(archived) is not None:
            return None
        moment, number, complete = map(int, parts.groups()[:3])
        known = None if parts[5] is None else Known.parse(parts[5], parts[6])
        return cls(moment=moment, number=number, complete=complete, archived=archived or None, known=known)

    def __str__(self) -> str:
        own = f"{self.moment}-{self.number}-{self.complete}-{quote(self.archived or '', safe='')}"
        return own if self.known is None else f"{own}:{self.known}"


def received(stanza: Element, own: str, now: int) -> Event | None:
    """
    The event that a stanza is, if it is one.

    @param own: the bare address of the user.
    @param now: microseconds since 1970.
    """
    message = _message(stanza, own)
    if message is None:
        return None
    stamp = _delay(message, own)
    # Whoever sends a message may have written it all the same.
    moment = now if stamp is None else max(0, min(now, stamp))
    event = _event(message, own, stanzaId(message, own), moment)
    return event if event is None or stamp is None else attrs.evolve(event, delayed=True)


def archived(found: Archived, own: str) -> Event | None:
    """
    The event that a message of the user's archive is, if it is one.
    """
    if len(found.id) > MAX_ARCHIVE_ID:
        return None
    return _event(found.message, own, found.id, found.timestamp * 1000)


def ofMessage(room: JID, item: Item, moment: int, message: Element, archiveId: str | None) -> Event:
    """
    The event that a message of a room is.

    @param item: as in the history.
    @param archiveId: of the room's archive; L{None} where the room doesn't tell.
    """
    key = None if archiveId is None else messageKey(room, archiveId)
    return Event(
        name=ROOM_MESSAGE,
        data=_document(room, item, moment),
        moment=moment,
        key=key,
        slot=room.bare if key is not None else f"{room.bare}\n",
        alias=messageAlias(message),
    )


def ofChange(room: JID, change: Change, moment: int, user: str, *, isKept: bool = True) -> Event:
    """
    The event that a change of an affiliation is.

    @param user: whom it is told.
    @param isKept: whether it is in the store.
    """
    key = changeKey(room, change) if isKept else None
    isEntrance = isKept and change.user == user and change.affiliation == "member"
    return Event(
        name=ROOM_MESSAGE,
        data=_document(room, shownChange(change, room), moment),
        moment=moment,
        key=key,
        slot=key or room.bare,
        behind=(room.bare, messageKey(room, change.after)) if isEntrance else None,
    )


def messageKey(room: JID, archiveId: str) -> str:
    """
    What tells an archived message of a room from all others.
    """
    return f"{room.bare}\n{archiveId}"


def changeKey(room: JID, change: Change) -> str:
    """
    Likewise, of a change.
    """
    return f"{room.bare}\n\n{change.id}"


def messageAlias(message: Element) -> str | None:
    """
    Likewise, of a message whose archive's id isn't known: its sender's own.
    """
    used = message.getAttribute("id")
    return f"{message['from']} {used}" if used else None


def stanzaId(message: Element, by: str) -> str | None:
    """
    The id that an archive has given to a message (XEP-0359).

    @param by: whose archive.
    """
    for found in message.elements(NS_STANZA_ID, "stanza-id"):
        name: str = found.getAttribute("id", "")
        if found.getAttribute("by") == by and 0 < len(name) <= MAX_ARCHIVE_ID:
            return name
    return None


def _document(room: JID, item: Item, moment: int) -> bytes:
    return msgspec.json.encode({**item, "timestamp": moment, "room": room.local})


def _message(stanza: Element, own: str) -> Element | None:
    """
    The message that a stanza is, or that it is a carbon of; carbons come from the own account only
    (XEP-0280, section 11). Copies of what the user has sent have no text of their own.
    """
    if stanza.name != "message":
        return None
    if stanza["from"] == own:
        for carbon in stanza.elements(NS_CARBONS, "received"):
            for forwarded in carbon.elements(NS_FORWARD, "forwarded"):
                return firstOf(forwarded, NS_CLIENT, "message")
    return stanza


def _delay(message: Element, own: str) -> int | None:
    """
    When a message was sent that the user's server has stored (XEP-0203), in microseconds since 1970.
    """
    for delay in message.elements(NS_DELAY, "delay"):
        try:
            if delay["from"] in (own, own.partition("@")[2]):
                return milliseconds(datetime.fromisoformat(delay["stamp"])) * 1000
        except (KeyError, ValueError, OverflowError):
            continue
    return None


def _event(message: Element, own: str, archiveId: str | None, moment: int) -> Event | None:
    """
    A message with a text is an event: one to the user, not one of the user's own, except to himself.
    """
    if message.getAttribute("type") != "chat":
        return None
    for end in ("from", "to"):
        # Left out, it is the own account (RFC 6120, sections 8.1.2.1 and 10.3.1).
        message.attributes.setdefault(end, own)
    # The same as in the history, but for the unit of its time.
    shown = item(Archived(id=archiveId or newId(), timestamp=moment, message=message))
    if shown is None or shown["from"] == own != shown["to"]:
        return None
    key = archiveId
    if shown["from"] == own and message.hasAttribute("id"):
        # What one writes to oneself is in the archive as sent and as received.
        key = f"{message['from']} {message['id']}"
    return Event(name="message", data=msgspec.json.encode(shown), moment=moment, archived=archiveId, key=key)
