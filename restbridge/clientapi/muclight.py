"""
Rooms on MongooseIM's own kind of group chat, MUC Light (urn:xmpp:muclight:0): without presence, with all that
the API asks for.

::

    look -> #info -> name, subject, participants | item-not-found: none, or none for this user

Such a service has the same answer for a room that isn't there and for one that is another's. A room that
somebody has used through this API is the latter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from weakref import WeakSet

import attrs
from twisted.words.xish.domish import Element

from restbridge.boundaries import UserLink
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
    only,
    shownContent,
    visited,
)
from restbridge.clientapi.history import NS_RSM, Archived, Item, Query, newest
from restbridge.clientapi.roomevents import RoomEvents
from restbridge.stanzas.errors import StanzaError, errorOf
from restbridge.stanzas.jid import JID, InvalidJID
from restbridge.stanzas.replies import newId
from restbridge.store.rooms import Change, RoomStore
from restbridge.web.answer import Refusal
from restbridge.xmpp.entity import NS_ITEMS

NS_MUCLIGHT = "urn:xmpp:muclight:0"
NS_CREATE = f"{NS_MUCLIGHT}#create"
NS_CONFIGURATION = f"{NS_MUCLIGHT}#configuration"
NS_AFFILIATIONS = f"{NS_MUCLIGHT}#affiliations"
NS_INFO = f"{NS_MUCLIGHT}#info"

MAX_PAGES = 100
"""Pages of a user's rooms; MongooseIM has ten rooms on each."""

_UNTOLD = "restbridge-untold-"
"""
How the ids of those requests begin which the history doesn't show: MongooseIM's own API tells nobody that it
made or configured a room. What a request changes is archived with its id.
"""


class MucLight:
    """
    A L{restbridge.clientapi.groupchat.RoomService}.
    """

    def __init__(self, domain: str, *, events: RoomEvents, store: RoomStore) -> None:
        self.domain = domain
        self._events = events
        self._store = store
        self._followed: WeakSet[UserLink] = WeakSet()

    async def create(self, link: UserLink, room: JID, name: str, subject: str) -> None:
        payload = Element((NS_CREATE, "query"))
        _configure(payload.addElement("configuration"), name, subject)
        try:
            await ask(link, room.bare, "set", payload, used=_UNTOLD + newId())
        except RoomRefused as refused:
            if refused.error.condition == "conflict":
                raise exists() from None
            raise inAnswer(refused.error, NO_ROOMS) from None
        await self._store.begin(room, link.address.toBare())

    async def listed(self, link: UserLink) -> list[Details]:
        return await visited(await _rooms(link, self.domain), lambda room: self.details(link, room))

    async def details(self, link: UserLink, room: JID) -> Details:
        payload = Element((NS_INFO, "query"))
        payload.addElement("version")
        try:
            answer = only(await ask(link, room.bare, "get", payload), NS_INFO, "query")
        except RoomRefused as refused:
            raise await self._refused(link, room, refused.error) from None
        configuration = only(answer, NS_INFO, "configuration")
        occupants = only(answer, NS_INFO, "occupants").elements(NS_INFO, "user")
        return Details(
            address=room,
            name=str(only(configuration, NS_INFO, "roomname")),
            subject=str(only(configuration, NS_INFO, "subject")),
            participants=dict(sorted(_users(occupants))),
        )

    async def configure(self, link: UserLink, room: JID, name: str, subject: str) -> None:
        payload = Element((NS_CONFIGURATION, "query"))
        _configure(payload, name, subject)
        try:
            await ask(link, room.bare, "set", payload, used=_UNTOLD + newId())
        except RoomRefused as refused:
            raise await self._refused(link, room, refused.error, NO_CONFIG) from None

    async def add(self, link: UserLink, room: JID, user: JID) -> None:
        found = await self.details(link, room)
        if user.bare not in found.participants:
            await self._affiliate(link, room, user, "member")
            await self._store.join(room, user)
        elif not _owns(link, found):
            raise Refusal(403, text=NO_AFFILIATIONS)

    async def remove(self, link: UserLink, room: JID, user: JID) -> None:
        found = await self.details(link, room)
        if user != link.address.toBare() and not _owns(link, found):
            raise Refusal(403, text=NO_AFFILIATIONS)
        if user.bare in found.participants:
            await self._affiliate(link, room, user, "none")
            await self._store.leave(room, user)

    async def send(self, link: UserLink, room: JID, message: Element) -> None:
        await self.details(link, room)
        message["type"], message["to"] = "groupchat", room.bare
        answer = await link.confirm(message)
        error = None if answer is None else errorOf(answer)
        if error is not None:
            raise await self._refused(link, room, error)

    async def history(self, link: UserLink, room: JID, window: Window) -> list[Item]:
        await self.details(link, room)
        return await newest(
            link, Query(archive=room, before=window.before, limit=window.limit), _item, TIMEOUT
        )

    async def follow(self, link: UserLink) -> None:
        # All of it comes to the user's sessions anyway.
        if link not in self._followed:
            self._followed.add(link)
            link.offerTo([_Listener(self.domain, link.address.bare, self._events)])

    async def heard(self, link: UserLink) -> list[JID]:
        return await _rooms(link, self.domain)

    def shown(self, archived: Archived) -> Item | None:
        return _item(archived)

    async def changes(self, room: JID, since: int, skipped: int, limit: int) -> list[Change]:
        # They are in the archive.
        return []

    async def changesOf(self, user: JID, since: int, limit: int) -> list[tuple[JID, Change]]:
        return []

    async def _affiliate(self, link: UserLink, room: JID, user: JID, affiliation: str) -> None:
        payload = Element((NS_AFFILIATIONS, "query"))
        payload.addElement("user", content=user.bare)["affiliation"] = affiliation
        try:
            await ask(link, room.bare, "set", payload)
        except RoomRefused as refused:
            raise await self._refused(link, room, refused.error, NO_AFFILIATIONS) from None

    async def _refused(
        self, link: UserLink, room: JID, error: StanzaError, forbidden: str = STRANGER
    ) -> Refusal:
        refusal = inAnswer(error, forbidden)
        if refusal.status != 404:
            return refusal
        # Whoever had a place in it has it no more.
        await self._store.leave(room, link.address.toBare())
        return Refusal(403, text=STRANGER) if await self._store.used(room) else refusal


@attrs.frozen
class _Listener:
    """
    Takes, for a user, what the service sends to all of a room.
    """

    domain: str
    user: str
    events: RoomEvents

    def take(self, stanza: Element) -> bool:
        sender = JID.parse(stanza["from"])
        isMessage = stanza.name == "message" and stanza.getAttribute("type") == "groupchat"
        if sender.domain != self.domain or not isMessage:
            return False
        item = _item(Archived(id=newId(), timestamp=0, message=stanza))
        if item is not None:
            self.events.told(self.user, sender.toBare(), item, stanza)
        return True


def _owns(link: UserLink, found: Details) -> bool:
    return found.participants.get(link.address.bare) == "owner"


def _configure(parent: Element, name: str, subject: str) -> None:
    parent.addElement("roomname", content=name)
    parent.addElement("subject", content=subject)


async def _rooms(link: UserLink, domain: str) -> list[JID]:
    """
    The rooms that a user is in.
    """
    found: dict[str, JID] = {}
    after: str | None = None
    for _ in range(MAX_PAGES):
        payload = Element((NS_ITEMS, "query"))
        if after is not None:
            payload.addElement((NS_RSM, "set")).addElement("after", content=after)
        try:
            answer = only(await ask(link, domain, "get", payload), NS_ITEMS, "query")
        except RoomRefused as refused:
            raise inAnswer(refused.error) from None
        page = [address for item in answer.elements(NS_ITEMS, "item") if (address := _address(item))]
        new = {room.bare: room for room in page if room.bare not in found}
        found |= new
        last = str(only(only(answer, NS_RSM, "set"), NS_RSM, "last"))
        if not last or not new:
            break
        after = last
    return [found[address] for address in sorted(found)]


def _address(item: Element) -> JID | None:
    bare = bareAddress(item.getAttribute("jid", ""))
    return None if bare is None else JID.parse(bare)


def _users(elements: Iterable[Element]) -> Iterator[tuple[str, str]]:
    """
    Users and what they are.
    """
    for element in elements:
        address = bareAddress(str(element))
        if address is not None:
            yield address, element.getAttribute("affiliation", "member")


def _item(archived: Archived) -> Item | None:
    """
    What the API shows of an archived message; of a change of affiliations the first.
    """
    message = archived.message
    used = message.getAttribute("id") or archived.id
    if used.startswith(_UNTOLD):
        return None
    shown = {"id": used, "from": _sender(message), "timestamp": archived.timestamp}
    for change in message.elements(NS_AFFILIATIONS, "x"):
        for user, affiliation in _users(change.elements(NS_AFFILIATIONS, "user")):
            return {"type": "affiliation", **shown, "user": user, "affiliation": affiliation}
    content = shownContent(message)
    return {"type": "message", **shown, **content} if content else None


def _sender(message: Element) -> str:
    """
    A room's occupants are called by their addresses; what is from none of them is from the room.
    """
    given = str(message.getAttribute("from", ""))
    try:
        sender = JID.parse(given)
    except InvalidJID:
        return given
    return sender.bare if sender.resource is None else bareAddress(sender.resource) or sender.full
