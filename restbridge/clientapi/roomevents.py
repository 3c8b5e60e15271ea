"""
What happens in rooms, as events of those who are in them.

::

    MUC        a room's session -> said, changed         -> RoomEvents -> Events, for the session's user
               the API          -> changed               ->
    MUC Light  a user's session -> told                  ->

A change that the API makes has one id, in the history and in the events of those whom the room tells of it.
"""

from __future__ import annotations

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.words.xish.domish import Element

from restbridge.boundaries import UserLink
from restbridge.clientapi.event import ofChange, ofMessage, stanzaId
from restbridge.clientapi.events import Events
from restbridge.clientapi.groupchat import shownContent
from restbridge.clientapi.history import Item
from restbridge.stanzas.jid import JID
from restbridge.stanzas.replies import newId
from restbridge.store.rooms import Change

FRESH = 60_000
"""Milliseconds within which rooms tell of a change."""


@attrs.frozen
class _Made:
    """
    A change that the API makes.

    @ivar told: the users who have been told. What they are told again was changed again, by somebody else.
    """

    change: Change
    told: set[str] = attrs.field(factory=set)


class RoomEvents:
    """
    A L{restbridge.clientapi.occupancy.Audience}. Users are bare addresses.
    """

    def __init__(self, *, events: Events, clock: IReactorTime) -> None:
        self._events = events
        self._clock = clock
        self._made: dict[tuple[str, str, str], _Made] = {}

    def listener(self, user: str) -> UserLink | None:
        """
        The login of a user who has an event stream open.
        """
        return self._events.listener(user)

    def said(self, user: str, room: JID, sender: str, message: Element) -> None:
        content = shownContent(message)
        if content:
            archiveId = stanzaId(message, room.bare)
            used = message.getAttribute("id") or archiveId or newId()
            self.told(user, room, {"type": "message", "id": used, "from": sender, **content}, message)

    def changed(self, user: str, room: JID, changed: str, affiliation: str) -> None:
        made = self._madeFor(user, room, changed, affiliation)
        now = self._clock.seconds()
        known = Change(time=int(now * 1000), user=changed, affiliation=affiliation, id=newId(), after="")
        event = ofChange(room, made or known, int(now * 1_000_000), user, isKept=made is not None)
        self._events.publish(user, event)

    def told(self, user: str, room: JID, item: Item, message: Element) -> None:
        """
        Tell a user what happened in a room just now.

        @param item: as in the history.
        @param message: that it is shown of.
        """
        now = int(self._clock.seconds() * 1_000_000)
        self._events.publish(user, ofMessage(room, item, now, message, stanzaId(message, room.bare)))

    def announce(self, room: JID, change: Change) -> None:
        """
        A change is being made: what is told of it has its id.
        """
        self._forget()
        key = (room.bare, change.user, change.affiliation)
        # The oldest first.
        self._made.pop(key, None)
        self._made[key] = _Made(change)

    def _madeFor(self, user: str, room: JID, changed: str, affiliation: str) -> Change | None:
        """
        The change that a user is told of, if the API makes it.
        """
        self._forget()
        made = self._made.get((room.bare, changed, affiliation))
        if made is None or user in made.told:
            return None
        made.told.add(user)
        return made.change

    def _forget(self) -> None:
        oldest = self._clock.seconds() * 1000 - FRESH
        while self._made:
            key, made = next(iter(self._made.items()))
            if made.change.time >= oldest:
                return
            del self._made[key]
