"""
Who has a place in a room of XEP-0045, as it changes.

::

    change -> announced -> the room            -> the store           -> who isn't in the room hears of it
    resign ->              knows a way, or not -> the store: departed -> tell: a later owner tells the room

What such a service doesn't do is done here: the affiliations' history is in the store; a server that lets
no member resign is told of it by the next owner who comes along.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.words.xish.domish import Element

from restbridge.boundaries import UserLink
from restbridge.clientapi.call import MAX_SHOWN, bad
from restbridge.clientapi.groupchat import (
    NO_AFFILIATIONS,
    TIMEOUT,
    RoomRefused,
    ask,
    bareAddress,
    inAnswer,
    only,
)
from restbridge.clientapi.history import Query, newest
from restbridge.clientapi.muchistory import shown
from restbridge.clientapi.occupancy import Attendance
from restbridge.clientapi.roomevents import RoomEvents
from restbridge.stanzas.errors import LinkDown, NoAnswer
from restbridge.stanzas.jid import JID
from restbridge.stanzas.muc import NS_MUC
from restbridge.stanzas.replies import newId
from restbridge.store.rooms import Change, RoomStore
from restbridge.web.answer import Refusal
from restbridge.xmpp.entity import NS_INFO

log = Logger()

NS_ADMIN = f"{NS_MUC}#admin"
NS_REGISTER = "jabber:iq:register"


class Membership:
    """
    The changes of affiliations, of all rooms.
    """

    def __init__(
        self, *, attendance: Attendance, events: RoomEvents, store: RoomStore, clock: IReactorTime
    ) -> None:
        """
        @param events: the audience of C{attendance}.
        """
        self._attendance = attendance
        self._events = events
        self._store = store
        self._clock = clock

    async def change(self, link: UserLink, room: JID, user: JID, affiliation: str) -> None:
        """
        Change somebody's affiliation, and keep that in mind.
        """
        change = await self._next(link, room, user, affiliation)
        hears = await self._hears(room, user)
        await _affiliate(link, room, user, affiliation)
        await self._store.record(room, change)
        if not hears:
            self._events.changed(user.bare, room, user.bare, affiliation)

    async def handOn(self, link: UserLink, room: JID, heir: JID) -> None:
        """
        The last owner leaves a room to somebody.
        """
        own = link.address.toBare()
        await self.change(link, room, heir, "owner")
        await _affiliate(link, room, own, "none")
        await self._store.leave(room, own)

    async def resign(self, link: UserLink, room: JID, affiliation: str) -> None:
        """
        A member or admin leaves. XEP-0045 leaves it open how: Prosody has it that registration is undone,
        ejabberd has no way, and a later owner tells it.

        @param affiliation: what the user has in the room.
        """
        change = await self._next(link, room, link.address.toBare(), "none")
        hears = await self._hears(room, link.address.toBare())
        payload = Element((NS_REGISTER, "query"))
        payload.addElement("remove")
        try:
            await ask(link, room.bare, "set", payload)
            # From 24.12 on ejabberd takes that for a nickname that is given up.
            departed = await _isStill(link, room, affiliation)
        except RoomRefused:
            departed = True
        await self._store.record(room, change, departed=departed)
        if departed:
            self._attendance.changed(room, change.user, change.affiliation)
        if not hears:
            self._events.changed(change.user, room, change.user, change.affiliation)

    async def tell(
        self, link: UserLink, room: JID, departed: Iterable[str], affiliations: Mapping[str, str]
    ) -> None:
        """
        Tell a room who has left it.
        """
        for user in map(JID.parse, departed):
            try:
                if user.bare in affiliations:
                    await _affiliate(link, room, user, "none")
                await self._store.leave(room, user)
            except Refusal as refusal:
                log.warn("{user} can't leave {room}: {why}", user=user, room=room, why=refusal.text)

    async def _hears(self, room: JID, user: JID) -> bool:
        """
        Whether the room itself will tell a user what changes for that user.
        """
        link = self._events.listener(user.bare)
        if link is None:
            return False
        with suppress(LinkDown, NoAnswer, RoomRefused):
            # Until then it may not have said yet that the session is in it no more.
            await ask(link, room.bare, "get", Element((NS_INFO, "query")))
        return self._attendance.of(link).of(room) is not None

    async def _next(self, link: UserLink, room: JID, user: JID, affiliation: str) -> Change:
        """
        A change that is to be made now.
        """
        after, earliest = await self._last(link, room)
        now = max(int(self._clock.seconds() * 1000), earliest)
        change = Change(time=now, user=user.bare, affiliation=affiliation, id=newId(), after=after)
        self._events.announce(room, change)
        return change

    async def _last(self, link: UserLink, room: JID) -> tuple[str, int]:
        """
        The archive's id of the newest message, and a time after it: clocks and whole seconds don't tell what
        came first.
        """
        try:
            said = await newest(link, Query(archive=room, limit=1), shown, TIMEOUT)
        except Refusal:
            # There is no archive: only changes will be shown.
            return "", 0
        return (str(said[0]["archived"]), said[0]["timestamp"] + 1) if said else ("", 0)


async def affiliated(link: UserLink, room: JID, affiliation: str) -> list[str]:
    """
    The bare addresses of those who have an affiliation.

    @raise RoomRefused: the user may not know.
    """
    payload = Element((NS_ADMIN, "query"))
    payload.addElement("item")["affiliation"] = affiliation
    answer = only(await ask(link, room.bare, "get", payload), NS_ADMIN, "query")
    addresses = (bareAddress(item.getAttribute("jid", "")) for item in answer.elements(NS_ADMIN, "item"))
    return [address for address in addresses if address is not None]


async def _isStill(link: UserLink, room: JID, affiliation: str) -> bool:
    """
    Whether the user has that affiliation: who has none may not ask. Where nobody answers it may be so: who
    tells the room later looks first.
    """
    try:
        return link.address.toBare().bare in await affiliated(link, room, affiliation)
    except RoomRefused:
        return False
    except (LinkDown, NoAnswer):
        return True


async def _affiliate(link: UserLink, room: JID, user: JID, affiliation: str) -> None:
    """
    Set an affiliation; one at a time, as Prosody takes no more.
    """
    payload = Element((NS_ADMIN, "query"))
    item = payload.addElement("item")
    item["affiliation"], item["jid"] = affiliation, user.bare
    try:
        await ask(link, room.bare, "set", payload)
    except RoomRefused as refused:
        if refused.error.condition in ("bad-request", "jid-malformed"):
            raise bad(f"Invalid user JID: {user.bare[:MAX_SHOWN]}") from None
        raise inAnswer(refused.error, NO_AFFILIATIONS) from None
