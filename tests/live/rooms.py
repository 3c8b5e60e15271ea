"""
Rooms for tests.
"""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import quote
from xml.etree.ElementTree import Element

from tests.live.client import Client, Predicate, kind
from tests.live.client_api import WithClientAPI, jid
from tests.live.muclight import SERVICE, MucLightService
from tests.live.prosody import Prosody
from tests.live.servers import ROOMS, Server
from tests.live.users import numbers

MUC = "http://jabber.org/protocol/muc"
ROOM = {"name": "The name", "subject": "The subject"}

STRANGER = "Given user does not occupy this room"


def fresh(prefix: str = "room") -> str:
    """
    The id of a room that there has never been.
    """
    return f"{prefix}{next(numbers)}"


class WithRooms(WithClientAPI):
    """
    What the tests of rooms do again and again.

    @cvar rooms: the domain of the rooms.
    """

    rooms: ClassVar[str] = ROOMS

    def address(self, room: str) -> str:
        """
        The address of a room.
        """
        return f"{room}@{self.rooms}"

    def invitation(self, room: str) -> Predicate:
        """
        Direct invitations (XEP-0249) to a room.
        """

        def fits(stanza: Element) -> bool:
            invited = stanza.find("{jabber:x:conference}x")
            return (
                kind(stanza) == "message" and invited is not None and invited.get("jid") == self.address(room)
            )

        return fits

    def made(self, *members: str, owner: str = "alice") -> str:
        """
        The id of a new room, with these members.
        """
        room = str(self.got("POST", "/rooms", ROOM, owner)["id"])
        for member in members:
            self.done("POST", f"/rooms/{room}/users", {"user": jid(member)}, owner)
        return room

    def say(self, room: str, text: str, user: str = "alice", **more: Any) -> str:
        """
        Say something in a room; the message's id.
        """
        return str(self.got("POST", f"/rooms/{room}/messages", {"body": text, **more}, user)["id"])

    def said(self, room: str, query: str = "", user: str = "alice") -> list[dict[str, Any]]:
        """
        The history of a room.
        """
        found = self.got("GET", f"/rooms/{room}/messages{query}", user=user)
        assert isinstance(found, list)
        return found

    def shown(self, room: str, user: str = "alice") -> dict[str, str]:
        """
        Roles of the participants, by their addresses.
        """
        found = self.got("GET", f"/rooms/{quote(room)}", user=user)
        self.assertEqual({"name", "subject", "participants"}, set(found))
        return {one["user"]: one["role"] for one in found["participants"]}

    def listed(self, user: str) -> list[str]:
        """
        The ids of a user's rooms.
        """
        return [room["id"] for room in self.got("GET", "/rooms", user=user)]

    def join(self, client: Client, room: str, nickname: str) -> None:
        """
        Have an ordinary client join a room.
        """
        client.send(f"<presence to='{self.address(room)}/{nickname}'><x xmlns='{MUC}'/></presence>")
        client.expect(
            lambda one: kind(one) == "presence" and one.get("from") == f"{self.address(room)}/{nickname}"
        )


class WithMucLight(WithRooms):
    """
    On Prosody with a stub of MUC Light, which goes before its own rooms.
    """

    makeServer: ClassVar[type[Server]] = Prosody
    rooms: ClassVar[str] = SERVICE

    def setUp(self) -> None:
        """
        Attach the service, for this test.
        """
        super().setUp()
        self.service = MucLightService(self.server.componentPort(SERVICE))
        self.addCleanup(self.service.close)
