"""
The rooms that users' sessions are in (XEP-0045, section 7): joined when that is needed, left when the session
ends, which the server tells the rooms. A session that goes on by another connection is in them still.

::

    enter -> presence to the room -> own presence, then the subject -> a Place
                                  -> error                          -> RoomRefused
    say   -> message to the room  -> its reflection                 -> done
                                  -> error                          -> RoomRefused
    take  <- what comes from rooms that were entered: nobody else sees it -> Audience

The presence goes to the room alone; the user's contacts, and the user's other clients, hear nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_hex
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.words.xish.domish import Element

from restbridge.boundaries import UserLink
from restbridge.clientapi.groupchat import TIMEOUT, RoomRefused, bareAddress, only
from restbridge.stanzas.errors import LinkDown, NoAnswer, StanzaError, errorOf
from restbridge.stanzas.jid import JID
from restbridge.stanzas.muc import (
    BANNED,
    CLOSED,
    CREATED,
    DISMISSED,
    KICKED,
    NS_MUC_USER,
    SELF,
    joining,
    leaving,
    statuses,
    subjectOf,
)
from restbridge.stanzas.replies import newId
from restbridge.stanzas.xml import NS_CLIENT

MAX_NICKNAME = 64
"""Characters of the user's name in a nickname."""

_THROWN_OUT = frozenset((BANNED, KICKED, DISMISSED, CLOSED))

ROLES = {"owner": "owner", "admin": "member", "member": "member"}
"""Affiliation -> what the API calls it; all others are none."""

Predicate = Callable[[Element], bool]


class Audience(Protocol):
    """
    Who is told what happens in rooms while a session is in them. Users are bare addresses.
    """

    def said(self, user: str, room: JID, sender: str, message: Element) -> None:
        """
        A message was sent to all.

        @param user: whose session has heard it.
        @param sender: a user, or an occupant where the room doesn't tell.
        """

    def changed(self, user: str, room: JID, changed: str, affiliation: str) -> None:
        """
        A user has another affiliation now.

        @param user: whose session has heard it.
        @param affiliation: C{owner}, C{member} or C{none}.
        """


@attrs.define(eq=False)
class _Waiter:
    """
    Somebody who waits for a stanza of a room.
    """

    fits: Predicate
    outcome: Deferred[Element] = attrs.field(factory=Deferred)


@attrs.define(eq=False, kw_only=True)
class Place:
    """
    A session's place in a room.

    @ivar nickname: nobody else has it.
    @ivar affiliation: the user's own, as the room has last said.
    @ivar subject: of the room; L{None} until the room has said it, which is when one has entered.
    @ivar created: whether the room was made by entering it.
    @ivar changing: held while the subject is changed: nothing but their order tells changes apart.
    @ivar addresses: bare addresses of the occupants, by their nicknames, where the room tells.
    @ivar affiliations: who is what, as the API calls it, by bare address, as far as is known.
    """

    room: JID
    nickname: str
    affiliation: str = "none"
    subject: str | None = None
    created: bool = False
    changing: DeferredSemaphore = attrs.field(factory=lambda: DeferredSemaphore(1))
    addresses: dict[str, str] = attrs.field(factory=dict)
    affiliations: dict[str, str] = attrs.field(factory=dict)
    _waiters: list[_Waiter] = attrs.field(factory=list)

    @property
    def own(self) -> JID:
        """
        The occupant's address.
        """
        return JID(self.room.local, self.room.domain, self.nickname)

    def heard(self, stanza: Element) -> None:
        """
        Something came from the room.
        """
        for waiter in [waiter for waiter in self._waiters if waiter.fits(stanza)]:
            self._waiters.remove(waiter)
            waiter.outcome.callback(stanza)

    def lost(self, error: Exception) -> None:
        """
        Nothing will come any more.
        """
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.outcome.errback(error)

    def awaited(self, fits: Predicate, clock: IReactorTime) -> Deferred[Element]:
        """
        The first stanza that fits. Fails with L{NoAnswer} after a while.
        """
        waiter = _Waiter(fits)
        self._waiters.append(waiter)

        def forget(result: object) -> object:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            return result

        def late(_: object, seconds: float) -> Element:
            raise NoAnswer(seconds)

        return waiter.outcome.addTimeout(TIMEOUT, clock, late).addBoth(forget)


class Places:
    """
    The places of one session: a L{restbridge.boundaries.Taker} of what comes from their rooms.
    """

    def __init__(self, *, link: UserLink, clock: IReactorTime, audience: Audience) -> None:
        self._link = link
        self._clock = clock
        self._audience = audience
        self._user = link.address.bare
        self._places: dict[str, Place] = {}
        self._entering: dict[str, list[Deferred[Place]]] = {}
        # One session has one name everywhere; another of the same user has another.
        self._nickname = f"{(link.address.local or '')[:MAX_NICKNAME]}-{token_hex(4)}"
        link.offerTo([self])
        link.whenBroken(self._broken)
        link.whenEnded(lambda _: self._places.clear())

    @property
    def rooms(self) -> list[JID]:
        """
        Those that were entered.
        """
        return [place.room for place in self._places.values() if place.room.bare not in self._entering]

    def of(self, room: JID) -> Place | None:
        """
        The place in a room that was entered.
        """
        place = self._places.get(room.bare)
        return None if place is None or room.bare in self._entering else place

    async def enter(self, room: JID) -> Place:
        """
        Enter a room, which is made if it isn't there.

        @raise RoomRefused: it doesn't let the user in.
        """
        place = self.of(room)
        if place is not None:
            return place
        waiter: Deferred[Place] = Deferred()
        waiters = self._entering.setdefault(room.bare, [])
        waiters.append(waiter)
        if len(waiters) == 1:
            # Others may wait for it: it goes on when the request that it began with has left.
            Deferred.fromCoroutine(self._entered(room)).addBoth(self._settle, room)
        return await waiter

    def leave(self, room: JID) -> None:
        """
        Leave a room.
        """
        place = self._places.pop(room.bare, None)
        if place is not None and self._link.whyDown() is None:
            self._link.send(leaving(place.own))

    def forget(self, room: JID) -> None:
        """
        The room says that the session is not in it.
        """
        self._places.pop(room.bare, None)

    def changed(self, room: JID, user: str, affiliation: str) -> None:
        """
        Tell somebody's affiliation, unless that was told last, or the session isn't in the room.
        """
        place = self._places.get(room.bare)
        if place is not None and place.affiliations.get(user, "none") != affiliation:
            place.affiliations[user] = affiliation
            self._audience.changed(self._user, room, user, affiliation)

    async def say(self, place: Place, message: Element) -> None:
        """
        Send a message to a room; done when the room has sent it to all.

        @param message: with an id, without addresses.
        @raise RoomRefused: the room doesn't take it.
        """
        message["type"], message["to"] = "groupchat", place.room.bare
        await self._answered(place, message, lambda heard: _isReflection(heard, place, message["id"]))

    async def setSubject(self, place: Place, subject: str) -> None:
        """
        Change a room's subject; done when the room has told all, in whatever words.

        @raise RoomRefused: the user must not.
        """
        await place.changing.run(lambda: Deferred.fromCoroutine(self._changeSubject(place, subject)))

    async def _changeSubject(self, place: Place, subject: str) -> None:
        message = Element((NS_CLIENT, "message"))
        message["type"], message["to"], message["id"] = "groupchat", place.room.bare, newId()
        message.addElement("subject", content=subject)
        # Prosody leaves the id out.
        await self._answered(place, message, lambda heard: _isOwnSubject(heard, place))

    def take(self, stanza: Element) -> bool:
        sender = JID.parse(stanza["from"])
        place = self._places.get(sender.bare)
        if place is None or stanza.name == "iq" or stanza.getAttribute("type") == "chat":
            return False
        if stanza.name == "presence":
            self._presence(place, sender.resource, stanza)
        elif stanza.getAttribute("type") != "error":
            self._message(place, stanza)
        place.heard(stanza)
        return True

    async def _entered(self, room: JID) -> Place:
        place = self._places[room.bare] = Place(room=room, nickname=self._nickname)
        try:
            await self._answered(place, joining(place.own), lambda heard: place.subject is not None)
        except RoomRefused:
            self.forget(room)
            raise
        except BaseException:
            # It may be that the room has let the session in.
            self.leave(room)
            raise
        return place

    async def _answered(self, place: Place, stanza: Element, fits: Predicate) -> None:
        """
        Send a stanza, and wait for one that fits, or for an error.
        """

        def settles(heard: Element) -> bool:
            # Servers keep the id of what they refuse.
            return fits(heard) if errorOf(heard) is None else heard.getAttribute("id") == stanza["id"]

        self._link.send(stanza)
        error = errorOf(await place.awaited(settles, self._clock))
        if error is not None:
            raise RoomRefused(error)

    def _presence(self, place: Place, nickname: str | None, presence: Element) -> None:
        kind = presence.getAttribute("type")
        if nickname is None or kind == "error":
            return
        user = only(presence, NS_MUC_USER, "x")
        item = only(user, NS_MUC_USER, "item")
        codes = statuses(presence)
        isOwn = SELF in codes or nickname == place.nickname
        address = self._user if isOwn else bareAddress(item.getAttribute("jid", ""))
        thrownOut = bool(codes & _THROWN_OUT)
        if kind is None or thrownOut:
            # Whoever leaves keeps the affiliation.
            self._affiliated(place, address, item, isNew=nickname not in place.addresses)
        if isOwn:
            # The room may have chosen another nickname (section 7.2.2).
            place.nickname = nickname
            place.affiliation = item.getAttribute("affiliation", "none")
            place.created = place.created or CREATED in codes
            if kind == "unavailable":
                self._removed(place, thrownOut=thrownOut)
        if kind == "unavailable":
            place.addresses.pop(nickname, None)
            return
        if address is not None:
            place.addresses[nickname] = address

    def _message(self, place: Place, message: Element) -> None:
        """
        What the room says to all: a message, its subject, that somebody's affiliation has changed who isn't
        in it (section 9).
        """
        sender = JID.parse(message["from"]).resource
        subject = subjectOf(message)
        if subject is not None:
            place.subject = subject
        elif message.getAttribute("type") == "groupchat":
            self._said(place, sender, message)
        elif sender is None:
            for item in only(message, NS_MUC_USER, "x").elements(NS_MUC_USER, "item"):
                self._affiliated(place, bareAddress(item.getAttribute("jid", "")), item)

    def _said(self, place: Place, nickname: str | None, message: Element) -> None:
        # The room's history, if it comes unasked, comes before the subject.
        if nickname is not None and place.subject is not None:
            sender = place.addresses.get(nickname) or str(message["from"])
            self._audience.said(self._user, place.room, sender, message)

    def _affiliated(self, place: Place, user: str | None, item: Element, *, isNew: bool = False) -> None:
        """
        The room tells somebody's affiliation.

        @param isNew: whether the room didn't tell before that the user is in it.
        """
        if user is None or not item.hasAttribute("affiliation"):
            return
        affiliation = ROLES.get(item["affiliation"], "none")
        if isNew:
            place.affiliations[user] = affiliation
        self.changed(place.room, user, affiliation)

    def _removed(self, place: Place, *, thrownOut: bool) -> None:
        """
        The session is not in the room any more; unless it was thrown out it may come back. A server takes a
        session out of its rooms when that becomes unavailable (RFC 6121, section 4.6.3).
        """
        self.forget(place.room)
        place.lost(RoomRefused(StanzaError.of("forbidden" if thrownOut else "not-acceptable")))

    def _settle(self, result: object, room: JID) -> None:
        for waiter in self._entering.pop(room.bare):
            waiter.callback(result)  # type: ignore[arg-type]

    def _broken(self, reason: str) -> None:
        """
        Who waits learns it at once; the places are there still, as long as the login is.
        """
        for place in list(self._places.values()):
            place.lost(LinkDown(reason))


class Attendance:
    """
    The places of all sessions.
    """

    def __init__(self, *, clock: IReactorTime, audience: Audience) -> None:
        self._clock = clock
        self._audience = audience
        self._sessions: dict[UserLink, Places] = {}

    def of(self, link: UserLink) -> Places:
        """
        The places of a session.
        """
        places = self._sessions.get(link)
        if places is None:
            places = self._sessions[link] = Places(link=link, clock=self._clock, audience=self._audience)
            link.whenEnded(lambda _: self._sessions.pop(link, None))
        return places

    def changed(self, room: JID, user: str, affiliation: str) -> None:
        """
        Somebody's affiliation has changed: see L{Places.changed}.
        """
        for places in list(self._sessions.values()):
            places.changed(room, user, affiliation)


def _isReflection(stanza: Element, place: Place, used: str) -> bool:
    return (stanza.name, stanza["from"], stanza.getAttribute("id")) == ("message", place.own.full, used)


def _isOwnSubject(stanza: Element, place: Place) -> bool:
    return stanza["from"] == place.own.full and subjectOf(stanza) is not None
