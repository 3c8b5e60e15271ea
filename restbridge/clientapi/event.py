"""
One event of C{/api/sse}: what it says, the id that a client comes back with, and what becomes one.

::

    message, carbon of one        -> received -> Event -> "id: EventId", data
    message of the user's archive -> archived -> Event -> likewise
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote

import attrs
import msgspec
from twisted.words.xish.domish import Element

from restbridge.clientapi.history import NS_DELAY, NS_FORWARD, Archived, milliseconds
from restbridge.clientapi.messages import item
from restbridge.stanzas.replies import newId
from restbridge.stanzas.xml import NS_CLIENT, illegalCharacter

NS_CARBONS = "urn:xmpp:carbons:2"
NS_STANZA_ID = "urn:xmpp:sid:0"

MAX_ARCHIVE_ID = 200
"""Characters of an archive's id. Longer ones name no event."""

_ID = re.compile(r"([0-9]{1,16})-([0-9]{1,9})-([0-9]{1,16})-([A-Za-z0-9_.~%-]{0,1000})")


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
    """

    name: str
    data: bytes
    moment: int
    archived: str | None = None
    key: str | None = None
    delayed: bool = False

    @classmethod
    def of(cls, name: str, document: Mapping[str, Any], moment: int, key: str | None = None) -> Event:
        """
        One that isn't in the user's own archive.
        """
        return cls(name=name, data=msgspec.json.encode(document), moment=moment, key=key)


@attrs.frozen(kw_only=True)
class EventId:
    """
    Where a stream goes on.

    @ivar moment: of the event, in microseconds since 1970.
    @ivar number: how many events since C{archived} are not in the archive.
    @ivar complete: from when on nothing in the archive is missing up to the event; likewise.
    @ivar archived: the last id of the archive up to the event; L{None} while there was none.
    """

    moment: int
    number: int
    complete: int
    archived: str | None

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
        return cls(moment=moment, number=number, complete=complete, archived=archived or None)

    def __str__(self) -> str:
        return f"{self.moment}-{self.number}-{self.complete}-{quote(self.archived or '', safe='')}"


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
    event = _event(message, own, _archiveId(message, own), moment)
    return event if event is None or stamp is None else attrs.evolve(event, delayed=True)


def archived(found: Archived, own: str) -> Event | None:
    """
    The event that a message of the user's archive is, if it is one.
    """
    if len(found.id) > MAX_ARCHIVE_ID:
        return None
    return _event(found.message, own, found.id, found.timestamp * 1000)


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
                return next(forwarded.elements(NS_CLIENT, "message"), None)
    return stanza


def _archiveId(message: Element, own: str) -> str | None:
    for found in message.elements(NS_STANZA_ID, "stanza-id"):
        name: str = found.getAttribute("id", "")
        if found.getAttribute("by") == own and 0 < len(name) <= MAX_ARCHIVE_ID:
            return name
    return None


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
