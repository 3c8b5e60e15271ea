"""
What happens in rooms, as events of those who are in them.

::

    MUC        a room's session -> said, changed         -> RoomEvents -> Events, for the session's user
               the API          -> changed               ->
    MUC Light  a user's session -> told                  ->

A change that the API makes has one id, in the history and in the events of those whom the room tells of it.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.words.xish.domish import Element

from restbridge.boundaries import UserLink
from restbridge.clientapi.events import Events
from restbridge.clientapi.groupchat import shownContent
from restbridge.clientapi.history import Item
from restbridge.stanzas.jid import JID
from restbridge.stanzas.replies import newId
from restbridge.store.rooms import Change

FRESH = 10_000
"""Milliseconds within which rooms tell of a change."""


class RoomEvents:
    """
    A L{restbridge.clientapi.occupancy.Audience}. Users are bare addresses.
    """

    def __init__(self, *, events: Events, clock: IReactorTime) -> None:
        self._events = events
        self._clock = clock
        self._made: dict[tuple[str, str, str], Change] = {}

    def listener(self, user: str) -> UserLink | None:
        """
        The login of a user who has an event stream open.
        """
        return self._events.listener(user)

    def said(self, user: str, room: JID, sender: str, message: Element) -> None:
        content = shownContent(message)
        if content:
            used = message.getAttribute("id") or newId()
            self.told(user, room, {"type": "message", "id": used, "from": sender, **content})

    def changed(self, user: str, room: JID, changed: str, affiliation: str) -> None:
        self._forget()
        change = self._made.get((room.bare, changed, affiliation))
        used = newId() if change is None else change.id
        item = {"type": "affiliation", "id": used, "from": room.bare}
        self.told(user, room, {**item, "user": changed, "affiliation": affiliation})

    def told(self, user: str, room: JID, item: Item) -> None:
        """
        Tell a user what happened in a room just now.

        @param item: as in the history.
        """
        now = int(self._clock.seconds() * 1_000_000)
        document = {**item, "timestamp": now, "room": room.local}
        self._events.publish(user, "room.message", document, moment=now)

    def announce(self, room: JID, change: Change) -> None:
        """
        A change is being made: what is told of it has its id.
        """
        self._forget()
        self._made[room.bare, change.user, change.affiliation] = change

    def _forget(self) -> None:
        oldest = self._clock.seconds() * 1000 - FRESH
        self._made = {key: change for key, change in self._made.items() if change.time >= oldest}
