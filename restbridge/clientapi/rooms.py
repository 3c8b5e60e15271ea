"""
C{/api/rooms}: rooms, who is in them, and what is said there.

::

    request -> the user's group chat service -> room id, body, each with its refusals -> RoomService -> Answer
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from secrets import token_hex
from typing import Any
from uuid import UUID

from twisted.logger import Logger
from twisted.words.xish.domish import Element

from restbridge.boundaries import UserLink
from restbridge.clientapi.call import MAX_SHOWN, Call, address, bad, before, carried, limit
from restbridge.clientapi.discovery import RoomServices
from restbridge.clientapi.groupchat import MARKERS, NS_MARKERS, RoomService, Window, throughout
from restbridge.clientapi.missed import Missed
from restbridge.stanzas.errors import LinkDown, NoAnswer
from restbridge.stanzas.jid import JID, InvalidJID
from restbridge.stanzas.xml import NS_CLIENT
from restbridge.store.database import StoreFailed
from restbridge.web.answer import Answer, Refusal, asJSON
from restbridge.web.thrift import Together

log = Logger()

DEFAULT_MESSAGES = 50
MAX_MESSAGES = 500


class Rooms:
    """
    The endpoints.
    """

    def __init__(self, *, services: RoomServices) -> None:
        self._services = services
        self._following: Together[None] = Together()

    async def listed(self, call: Call) -> Answer:
        """
        C{GET /api/rooms}: the rooms in which the user has a place.
        """
        service = await self._services.of(call.link)
        found = await service.listed(call.link)
        return asJSON(
            200, [{"id": room.address.local, "name": room.name, "subject": room.subject} for room in found]
        )

    async def shown(self, call: Call) -> Answer:
        """
        C{GET /api/rooms/{room}}; without a room, all of them.
        """
        if "room" not in call.path:
            return await self.listed(call)
        service = await self._services.of(call.link)
        found = await service.details(call.link, _room(call, service))
        participants = [{"user": user, "role": role} for user, role in sorted(found.participants.items())]
        return asJSON(200, {"name": found.name, "subject": found.subject, "participants": participants})

    async def create(self, call: Call) -> Answer:
        """
        C{POST /api/rooms}: make a room.
        """
        service = await self._services.of(call.link)
        return await self._made(call, service, JID(token_hex(10), service.domain, None))

    async def createNamed(self, call: Call) -> Answer:
        """
        C{PUT /api/rooms/{room}}: make a room of this id.
        """
        service = await self._services.of(call.link)
        if "room" not in call.path:
            raise bad("Missing room ID")
        return await self._made(call, service, _room(call, service))

    async def configure(self, call: Call) -> Answer:
        """
        C{PUT /api/rooms/{room}/config}: change name and subject.
        """
        service = await self._services.of(call.link)
        room = _room(call, service)
        name, subject = _nameAndSubject(call.document())
        await throughout(service.configure(call.link, room, name, subject))
        return Answer(204)

    async def add(self, call: Call) -> Answer:
        """
        C{POST /api/rooms/{room}/users}: give somebody a place.
        """
        service = await self._services.of(call.link)
        room = _room(call, service)
        user = _user(call.document().get("user"))
        await throughout(service.add(call.link, room, user))
        return Answer(204)

    async def remove(self, call: Call) -> Answer:
        """
        C{DELETE /api/rooms/{room}/users/{user}}: take somebody's place away, or leave.
        """
        service = await self._services.of(call.link)
        room = _room(call, service)
        user = _user(call.path.get("user"))
        await throughout(service.remove(call.link, room, user))
        return Answer(204)

    async def send(self, call: Call) -> Answer:
        """
        C{POST /api/rooms/{room}/messages}: say something; 200 with its id once the room has sent it to all.
        """
        service = await self._services.of(call.link)
        room = _room(call, service)
        message = _message(call.document(), call.id)
        await service.send(call.link, room, message)
        return asJSON(200, {"id": message["id"]})

    async def history(self, call: Call) -> Answer:
        """
        C{GET /api/rooms/{room}/messages}: what was said and changed last, in the order of time.
        """
        service = await self._services.of(call.link)
        room = _room(call, service)
        parameters = call.parameters("limit", "before")
        wanted = limit(parameters, default=DEFAULT_MESSAGES, most=MAX_MESSAGES)
        window = Window(before=before(parameters), limit=wanted)
        return asJSON(200, await service.history(call.link, room, window))

    async def follow(self, link: UserLink) -> Missed | None:
        """
        Have what happens in a user's rooms told as events, if the user's server has rooms.

        @return: what was told while nobody listened.
        """
        service = None
        try:
            service = await self._services.of(link)
            # Many streams of a user may begin at once.
            await self._following.call(link.address.full.encode(), partial(service.follow, link))
        except Refusal as refusal:
            # Where there are no rooms, nothing is missed.
            if refusal.status != 404:
                log.warn("{user}'s rooms are not followed: {why}", user=link.address.bare, why=refusal.text)
        except (LinkDown, NoAnswer, StoreFailed) as reason:
            log.warn("{user}'s rooms are not followed: {why}", user=link.address.bare, why=str(reason))
        return None if service is None else Missed(link=link, service=service)

    async def _made(self, call: Call, service: RoomService, room: JID) -> Answer:
        name, subject = _nameAndSubject(call.document())
        await throughout(service.create(call.link, room, name, subject))
        return asJSON(201, {"id": room.local})


def _room(call: Call, service: RoomService) -> JID:
    """
    The room of the path: its id, or its address.
    """
    given = call.path["room"]
    if "@" not in given:
        # MongooseIM takes what is no id for an address of another domain.
        return address(f"{given}@{service.domain}", "Invalid MUC Light domain")
    room = address(given, "Invalid room ID")
    if room.domain != service.domain:
        raise bad("Invalid MUC Light domain")
    if room.resource is not None:
        raise bad("Invalid room ID")
    return room


def _nameAndSubject(document: Mapping[str, Any]) -> tuple[str, str]:
    for key in ("name", "subject"):
        if key not in document:
            raise bad(f"Missing room {key}")
    return _configured(document["name"], "roomname"), _configured(document["subject"], "subject")


def _configured(value: object, key: str) -> str:
    if not isinstance(value, str):
        raise bad(f"Validation failed for key: {key} with reason type_error")
    written = carried(value, f"Validation failed for key: {key}")
    # As XML is read (section 2.11): what is the same then changes nothing, which Prosody doesn't answer.
    return written.replace("\r\n", "\n").replace("\r", "\n")


def _user(given: object) -> JID:
    """
    The bare address of somebody.
    """
    if given is None:
        raise bad("Missing JID")
    if not isinstance(given, str):
        raise bad("Invalid user JID")
    try:
        user = JID.parse(given)
    except InvalidJID:
        raise bad(f"Invalid user JID: {given[:MAX_SHOWN]}") from None
    return user.toBare()


def _message(document: Mapping[str, Any], used: UUID) -> Element:
    """
    What a document says, as a message with an id.
    """
    message = Element((NS_CLIENT, "message"))
    message["id"] = str(used)
    if "body" in document:
        body = document["body"]
        if not isinstance(body, str):
            raise bad("Invalid message body")
        message.addElement("body", content=carried(body, "Invalid message body"))
    if "chat_marker" in document:
        kind, marked = _marker(document["chat_marker"])
        message.addElement((NS_MARKERS, kind))["id"] = marked
    if not message.children:
        raise bad("No valid message elements")
    if "body" in document and document.get("markable") is True:
        message.addElement((NS_MARKERS, "markable"))
    return message


def _marker(given: object) -> tuple[str, str]:
    match given:
        case {"type": str(kind), "id": str(marked)} if kind in MARKERS:
            return kind, carried(marked, "Invalid chat marker")
    raise bad("Invalid chat marker")
