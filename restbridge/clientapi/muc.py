"""
Rooms on a group chat service of XEP-0045: persistent, members-only, hidden, archived, and not anonymous, so
that members may read who is in them.

::

    look  -> disco#info: is it there? | the affiliation lists: who is in it? am I? -> name, participants
    enter -> look, join                                                          -> a Place, its subject

L{Membership} changes who is in it; what was said and changed is put together in C{muchistory}.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.words.xish.domish import Element

from restbridge.boundaries import UserLink
from restbridge.clientapi.dataforms import addForm
from restbridge.clientapi.groupchat import (
    NO_AFFILIATIONS,
    NO_CONFIG,
    NO_ROOMS,
    STRANGER,
    TIMEOUT,
    Details,
    RoomRefused,
    Window,
    ask,
    bareAddress,
    exists,
    inAnswer,
    notFound,
    only,
    together,
    visited,
)
from restbridge.clientapi.history import Archived, Item, Query, newest
from restbridge.clientapi.membership import Membership, affiliated
from restbridge.clientapi.muchistory import merged, shown
from restbridge.clientapi.occupancy import ROLES, Attendance, Place, Places
from restbridge.clientapi.roomevents import RoomEvents
from restbridge.stanzas.errors import LinkDown, NoAnswer, StanzaError
from restbridge.stanzas.jid import JID
from restbridge.stanzas.muc import NS_MUC
from restbridge.stanzas.payloads.forms import NS_FORMS
from restbridge.stanzas.replies import newId
from restbridge.stanzas.xml import NS_CLIENT
from restbridge.store.rooms import Change, RoomStore
from restbridge.web.answer import Refusal
from restbridge.xmpp.entity import NS_INFO

log = Logger()

NS_OWNER = f"{NS_MUC}#owner"
NS_CONFIG = f"{NS_MUC}#roomconfig"
NS_INVITATION = "jabber:x:conference"
NS_PUBSUB = "http://jabber.org/protocol/pubsub"
NS_BOOKMARKS = "urn:xmpp:bookmarks:1"
NS_HINTS = "urn:xmpp:hints"

ROOM = {
    "muc#roomconfig_persistentroom": "1",
    "muc#roomconfig_membersonly": "1",
    "muc#roomconfig_publicroom": "0",
    "muc#roomconfig_moderatedroom": "0",
    "muc#roomconfig_whois": "anyone",
    "muc#roomconfig_enablearchiving": "1",
    # ejabberd's own names, of archiving and of the list of occupants.
    "mam": "1",
    "public_list": "0",
}
"""The fields of a room's configuration; a service has its choice of them."""

LATE = 10_000
"""Milliseconds by which a change may be later than the message after it: by another clock, or because Prosody
tells whole seconds."""

AHEAD = 1000
"""Changes that may have come in that time."""

_MEMBERS_ONLY = "muc_membersonly"


@attrs.frozen(kw_only=True)
class Look:
    """
    What can be seen of a room without entering it.

    @ivar affiliations: by bare address.
    @ivar own: the user's affiliation.
    """

    name: str
    affiliations: Mapping[str, str]
    own: str

    @property
    def participants(self) -> dict[str, str]:
        """
        Roles, by bare address.
        """
        return {user: ROLES[affiliation] for user, affiliation in self.affiliations.items()}


class Muc:
    """
    A L{restbridge.clientapi.groupchat.RoomService}.
    """

    def __init__(
        self,
        domain: str,
        *,
        attendance: Attendance,
        events: RoomEvents,
        store: RoomStore,
        clock: IReactorTime,
    ) -> None:
        """
        @param events: the audience of C{attendance}.
        """
        self.domain = domain
        self._attendance = attendance
        self._events = events
        self._store = store
        self._membership = Membership(attendance=attendance, events=events, store=store, clock=clock)

    async def create(self, link: UserLink, room: JID, name: str, subject: str) -> None:
        if await _exists(link, room):
            raise exists()
        places = self._attendance.of(link)
        try:
            place = await places.enter(room)
        except RoomRefused as refused:
            raise _taken(refused.error) from None
        if not place.created:
            if place.affiliation not in ROLES:
                places.leave(room)
            raise exists()
        # Another request of the same user may have waited for the same place.
        place.created = False
        try:
            await _configure(link, room, {**ROOM, "muc#roomconfig_roomname": name})
            if subject:
                await places.setSubject(place, subject)
        except RoomRefused as refused:
            await _destroy(link, room)
            raise inAnswer(refused.error, NO_ROOMS) from None
        await self._store.begin(room, link.address.toBare())

    async def listed(self, link: UserLink) -> list[Details]:
        known, marked = await together([self._store.of(link.address.toBare()), _bookmarks(link)])
        rooms = {room.bare: room for room in (*known, *marked) if room.domain == self.domain}
        return await visited(
            (rooms[address] for address in sorted(rooms)), lambda room: self.details(link, room)
        )

    async def details(self, link: UserLink, room: JID) -> Details:
        look = await self._look(link, room)
        place = await self._enter(link, room)
        # What the room tells later is newer.
        place.affiliations = {**look.participants, **place.affiliations}
        return Details(
            address=room, name=look.name, subject=place.subject or "", participants=look.participants
        )

    async def configure(self, link: UserLink, room: JID, name: str, subject: str) -> None:
        await self._look(link, room)
        try:
            await _configure(link, room, {"muc#roomconfig_roomname": name})
            place = await self._enter(link, room)
            if place.subject != subject:
                await self._attendance.of(link).setSubject(place, subject)
        except RoomRefused as refused:
            raise inAnswer(refused.error, NO_CONFIG) from None

    async def add(self, link: UserLink, room: JID, user: JID) -> None:
        look = await self._look(link, room)
        if look.own == "member":
            raise Refusal(403, text=NO_AFFILIATIONS)
        if user.bare in look.affiliations:
            return
        await self._membership.change(link, room, user, "member")
        link.send(_invitation(room, user))
        listener = self._events.listener(user.bare)
        if listener is not None:
            await self._attend(listener, room)

    async def remove(self, link: UserLink, room: JID, user: JID) -> None:
        look = await self._look(link, room)
        if user == link.address.toBare():
            await self._leave(link, room, look)
        elif look.own == "member":
            raise Refusal(403, text=NO_AFFILIATIONS)
        elif user.bare in look.affiliations:
            await self._membership.change(link, room, user, "none")

    async def send(self, link: UserLink, room: JID, message: Element) -> None:
        # A message without a text is archived where that is asked for.
        if not str(only(message, NS_CLIENT, "body")):
            message.addElement((NS_HINTS, "store"))
        places = self._attendance.of(link)
        try:
            try:
                await places.say(await self._enter(link, room), message)
            except RoomRefused as refused:
                if refused.error.condition != "not-acceptable":
                    raise
                # The room has forgotten its occupants, as after a restart of the service.
                places.forget(room)
                await places.say(await self._enter(link, room), message)
        except RoomRefused as refused:
            raise inAnswer(refused.error) from None

    async def history(self, link: UserLink, room: JID, window: Window) -> list[Item]:
        await self._look(link, room)
        if window.limit == 0:
            return []
        before = window.before
        latest = None if before is None else before + LATE
        changes = await self._store.changes(room, latest, window.limit + AHEAD)
        # A change is told by the message behind it, and those that came with it: so much later that may be.
        more = 1 + max(Counter(change.after for change in changes).values(), default=0)
        until = None if before is None else before + more
        limit = window.limit + 1 + more
        said = await newest(link, Query(archive=room, before=until, limit=limit), shown, TIMEOUT)
        everything = merged(said, changes, room, first=len(said) < limit, last=before is None)
        found = [item for item in everything if window.holds(item["timestamp"])]
        return found[-window.limit :]

    async def follow(self, link: UserLink) -> None:
        # Whoever knows a room's subject is in it, and knows who else has a place.
        await self.listed(link)

    async def heard(self, link: UserLink) -> list[JID]:
        return self._attendance.of(link).rooms

    def shown(self, archived: Archived) -> Item | None:
        if "/" not in archived.message["from"]:
            # What the room itself says is no event either.
            return None
        item = shown(archived)
        return None if item is None else {key: value for key, value in item.items() if key != "archived"}

    async def changes(self, room: JID, since: int, skipped: int, limit: int) -> list[Change]:
        return await self._store.since(room, since, skipped, limit)

    async def changesOf(self, user: JID, since: int, limit: int) -> list[tuple[JID, Change]]:
        found = await self._store.sinceOf(user, since, limit)
        return [(room, change) for room, change in found if room.domain == self.domain]

    async def _attend(self, link: UserLink, room: JID) -> None:
        """
        Have a session in a room, if that lets it in.
        """
        try:
            await self.details(link, room)
        except Refusal as refusal:
            log.warn("{user} can't enter {room}: {why}", user=link.address, room=room, why=refusal.text)
        except (LinkDown, NoAnswer) as reason:
            log.warn("{user} can't enter {room}: {why}", user=link.address, room=room, why=str(reason))

    async def _look(self, link: UserLink, room: JID) -> Look:
        """
        Look at a room.

        @raise Refusal: 404, there is none; 403, the user has no place in it.
        """
        try:
            looks: list[Any] = [_info(link, room), self._affiliations(link, room), self._store.departed(room)]
            info, affiliations, departed = await together(looks)
        except RoomRefused as refused:
            raise inAnswer(refused.error) from None
        own = link.address.bare
        if affiliations is None:
            affiliations = await self._unlisted(link, room, info)
        elif affiliations.get(own) in ("owner", "admin"):
            await self._membership.tell(link, room, departed, affiliations)
        left = {user: which for user, which in affiliations.items() if user not in departed}
        if own not in left:
            raise Refusal(403, text=STRANGER)
        return Look(name=_name(info), affiliations=dict(sorted(left.items())), own=left[own])

    async def _affiliations(self, link: UserLink, room: JID) -> dict[str, str] | None:
        """
        The lists of a room; L{None} where the user must not read them.
        """
        try:
            lists = await together(affiliated(link, room, affiliation) for affiliation in ROLES)
        except RoomRefused as refused:
            if refused.error.condition not in ("forbidden", "not-allowed"):
                raise
            return None
        return {user: which for users, which in zip(lists, ROLES, strict=True) for user in users}

    async def _unlisted(self, link: UserLink, room: JID, info: Element) -> dict[str, str]:
        """
        What a user may know who must not read the lists, in a room that was made elsewhere: the own
        affiliation. A room of members alone lets nobody else in; whoever enters another one is no member yet.
        """
        if _MEMBERS_ONLY not in _features(info):
            raise Refusal(403, text=STRANGER)
        try:
            place = await self._attendance.of(link).enter(room)
        except RoomRefused as refused:
            raise inAnswer(refused.error) from None
        return {link.address.bare: place.affiliation} if place.affiliation in ROLES else {}

    async def _enter(self, link: UserLink, room: JID) -> Place:
        """
        The session's place in a room.

        @raise Refusal: as C{_look}: entering a room that isn't there would make it.
        """
        places = self._attendance.of(link)
        place = places.of(room)
        if place is not None:
            return place
        if not await _exists(link, room):
            raise notFound()
        if link.address.bare in await self._store.departed(room):
            raise Refusal(403, text=STRANGER)
        place = await _entered(places, room)
        if place.created:
            # It was destroyed a moment ago, and is there again.
            await _destroy(link, room)
            raise notFound()
        if place.affiliation not in ROLES:
            places.leave(room)
            raise Refusal(403, text=STRANGER)
        return place

    async def _leave(self, link: UserLink, room: JID, look: Look) -> None:
        """
        A user leaves a room for good: the last one destroys it, the last owner hands it on.
        """
        own = link.address.toBare()
        others = {user: which for user, which in look.affiliations.items() if user != own.bare}
        if look.own != "owner":
            await self._membership.resign(link, room, look.own)
        elif not others:
            # ejabberd forgets an empty room that is not persistent, but not what was said there.
            await self._enter(link, room)
            await _destroy(link, room)
            await self._store.end(room)
        elif "owner" not in others.values():
            heir = min(others, key=lambda user: (others[user] != "admin", user))
            await self._membership.handOn(link, room, JID.parse(heir))
        else:
            await self._membership.change(link, room, own, "none")
        self._attendance.of(link).leave(room)


async def _info(link: UserLink, room: JID) -> Element:
    """
    What a room says of itself.
    """
    try:
        answer = await ask(link, room.bare, "get", Element((NS_INFO, "query")))
    except RoomRefused as refused:
        if refused.error.condition != "bad-request":
            raise
        # There is nothing in it but the address; ejabberd's word for one that is none.
        raise RoomRefused(StanzaError.of("jid-malformed")) from None
    return only(answer, NS_INFO, "query")


async def _exists(link: UserLink, room: JID) -> bool:
    try:
        await _info(link, room)
    except RoomRefused as refused:
        refusal = inAnswer(refused.error)
        if refusal.status != 404:
            raise refusal from None
        return False
    return True


def _features(info: Element) -> set[str]:
    return {feature.getAttribute("var", "") for feature in info.elements(NS_INFO, "feature")}


def _name(info: Element) -> str:
    for form in info.elements(NS_FORMS, "x"):
        for field in form.elements(NS_FORMS, "field"):
            if field.getAttribute("var") == "muc#roomconfig_roomname":
                return str(only(field, NS_FORMS, "value"))
    return str(only(info, NS_INFO, "identity").getAttribute("name", ""))


async def _configure(link: UserLink, room: JID, wanted: Mapping[str, str]) -> None:
    """
    Submit those fields that the room's form has: ejabberd refuses a form with another.
    """
    answer = await ask(link, room.bare, "get", Element((NS_OWNER, "query")))
    offered = only(only(answer, NS_OWNER, "query"), NS_FORMS, "x")
    names = {field.getAttribute("var") for field in offered.elements(NS_FORMS, "field")}
    payload = Element((NS_OWNER, "query"))
    addForm(payload, NS_CONFIG, {name: value for name, value in wanted.items() if name in names})
    await ask(link, room.bare, "set", payload)


async def _destroy(link: UserLink, room: JID) -> None:
    """
    End a room; its address is free again. Prosody keeps that of a persistent room blocked for a month.
    """
    payload = Element((NS_OWNER, "query"))
    payload.addElement("destroy")
    try:
        await _configure(link, room, {"muc#roomconfig_persistentroom": "0"})
        await ask(link, room.bare, "set", payload)
    except RoomRefused as refused:
        if inAnswer(refused.error).status != 404:
            raise inAnswer(refused.error, NO_AFFILIATIONS) from None


def _taken(error: StanzaError) -> Refusal:
    """
    Why a room can't be made: the service lets nobody do so, or the address is another's, or was.
    """
    if error.condition == "not-allowed":
        return Refusal(403, text=NO_ROOMS)
    refusal = inAnswer(error)
    return exists() if refusal.status in (403, 404) else refusal


async def _entered(places: Places, room: JID) -> Place:
    try:
        return await places.enter(room)
    except RoomRefused as refused:
        raise inAnswer(refused.error) from None


async def _bookmarks(link: UserLink) -> list[JID]:
    """
    The rooms that the user's clients have bookmarked (XEP-0402).
    """
    payload = Element((NS_PUBSUB, "pubsub"))
    payload.addElement("items")["node"] = NS_BOOKMARKS
    try:
        answer = await ask(link, link.address.bare, "get", payload)
    except RoomRefused:
        return []
    items = only(only(answer, NS_PUBSUB, "pubsub"), NS_PUBSUB, "items").elements(NS_PUBSUB, "item")
    rooms = (bareAddress(item.getAttribute("id", "")) for item in items)
    return [JID.parse(room) for room in rooms if room is not None]


def _invitation(room: JID, user: JID) -> Element:
    """
    By this ordinary clients find the room (XEP-0249).
    """
    message = Element((NS_CLIENT, "message"))
    message["to"], message["id"] = user.bare, newId()
    message.addElement((NS_INVITATION, "x"))["jid"] = room.bare
    # For a user who is not online: without a body it would not be kept.
    message.addElement((NS_HINTS, "store"))
    return message
