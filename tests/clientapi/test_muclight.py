"""
L{restbridge.clientapi.muclight}: what is asked of MUC Light, and what its answers mean.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from restbridge.clientapi.events import Events
from restbridge.clientapi.groupchat import NO_AFFILIATIONS, NO_CONFIG, STRANGER, Window
from restbridge.clientapi.muclight import MucLight
from restbridge.clientapi.roomevents import RoomEvents
from restbridge.stanzas.errors import StanzaError, errorReply
from restbridge.stanzas.jid import JID
from restbridge.stanzas.xml import NS_CLIENT, parseDocument
from restbridge.store.rooms import RoomStore
from restbridge.web.answer import Refusal
from tests.clientapi.roomlink import ROOM, RoomLink
from tests.store.fakes import MemoryStore

LIGHT = "urn:xmpp:muclight:0"
ITEMS = "http://jabber.org/protocol/disco#items"
MAM = "urn:xmpp:mam:2"
RSM = "http://jabber.org/protocol/rsm"

ALICE, BOB = JID.parse("alice@example.com"), JID.parse("bob@example.com")


class MucLightTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.link = RoomLink()
        self.store = RoomStore(MemoryStore())
        events = RoomEvents(events=Events(clock=Clock()), clock=Clock())
        self.light = MucLight("rooms.example.com", events=events, store=self.store)
        self.room = JID.parse(ROOM)
        self.become("owner")

    def become(self, role: str) -> None:
        """
        Have the room say that alice is that.
        """
        self.link.says[f"{LIGHT}#info"] = (
            f"<query xmlns='{LIGHT}#info'><version>1</version><configuration><roomname>N</roomname>"
            "<subject>S</subject></configuration><occupants><user affiliation='member'>bob@example.com</user>"
            f"<user affiliation='{role}'>alice@example.com</user></occupants></query>"
        )

    def done(self, work: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def assertRefused(self, status: int, text: str, work: Any) -> None:
        refusal = self.failureResultOf(Deferred.fromCoroutine(work), Refusal).value
        self.assertEqual((status, text), (refusal.status, refusal.text))

    def test_details(self) -> None:
        """
        One request tells all.
        """
        found = self.done(self.light.details(self.link, self.room))
        self.assertEqual(("N", "S"), (found.name, found.subject))
        self.assertEqual([(ALICE.bare, "owner"), (BOB.bare, "member")], list(found.participants.items()))
        self.assertEqual(1, len(self.link.sent))

    def test_absentOrNot(self) -> None:
        """
        What the service doesn't tell apart, a room that isn't there and another's, the store does.
        """
        self.link.says[f"{LIGHT}#info"] = "item-not-found"
        self.assertRefused(404, "Room not found", self.light.details(self.link, self.room))
        self.done(self.store.begin(self.room, BOB))
        self.assertRefused(403, STRANGER, self.light.details(self.link, self.room))
        # Bob is in it no more, and nobody else was.
        self.link.address = JID("bob", "example.com", "r")
        self.assertRefused(404, "Room not found", self.light.details(self.link, self.room))

    def test_create(self) -> None:
        """
        A room is made with name and subject, or was there.
        """
        self.link.says[f"{LIGHT}#create"] = ""
        self.done(self.light.create(self.link, self.room, "N", "S"))
        configuration = self.link.asked(f"{LIGHT}#create")[0].configuration
        self.assertEqual(("N", "S"), (str(configuration.roomname), str(configuration.subject)))
        self.assertEqual([self.room], self.done(self.store.of(ALICE)))
        for condition, text in (
            ("conflict", "Room already exists"),
            ("not-allowed", "Given user does not have permission to create rooms"),
        ):
            self.link.says[f"{LIGHT}#create"] = condition
            self.assertRefused(403, text, self.light.create(self.link, self.room, "N", "S"))

    def test_refused(self) -> None:
        """
        What the service forbids is said in MongooseIM's words.
        """
        self.become("member")
        for what in ("#configuration", "#affiliations"):
            self.link.says[LIGHT + what] = "not-allowed"
        kate = JID.parse("kate@example.com")
        self.assertRefused(403, NO_CONFIG, self.light.configure(self.link, self.room, "N", "S"))
        self.assertRefused(403, NO_AFFILIATIONS, self.light.add(self.link, self.room, kate))
        self.assertRefused(403, NO_AFFILIATIONS, self.light.add(self.link, self.room, BOB))
        self.assertRefused(403, NO_AFFILIATIONS, self.light.remove(self.link, self.room, BOB))

    def test_nothingToChange(self) -> None:
        """
        The service takes no change that is none: it isn't asked for one.
        """
        self.done(self.light.add(self.link, self.room, BOB))
        self.done(self.light.remove(self.link, self.room, JID.parse("kate@example.com")))
        self.assertEqual([], self.link.asked(f"{LIGHT}#affiliations"))

    def test_sendRefused(self) -> None:
        """
        An error to a message is an answer.
        """
        message = parseDocument(f"<message xmlns='{NS_CLIENT}' id='m'><body>x</body></message>".encode())
        message["from"] = message["to"] = ROOM
        self.link.error = errorReply(message, StanzaError.of("item-not-found"))
        self.assertRefused(404, "Room not found", self.light.send(self.link, self.room, message))

    def test_pages(self) -> None:
        """
        All pages of a user's rooms are read; a service that always has another is not believed.
        """
        self.link.says[f"rooms.example.com {ITEMS}"] = (
            f"<query xmlns='{ITEMS}'><item jid='{ROOM}'/><item jid='@@'/>"
            f"<set xmlns='{RSM}'><last>{ROOM}</last></set></query>"
        )
        found = self.done(self.light.listed(self.link))
        self.assertEqual([self.room], [room.address for room in found])
        first, second = self.link.asked(ITEMS)
        self.assertIsNone(first.set)
        self.assertEqual(ROOM, str(second.set.after))

    def test_history(self) -> None:
        """
        Messages are from users, changes from the room; of a change the first user is shown, and nothing of
        what the API itself changes.
        """
        changes = "".join(
            f"<user affiliation='{affiliation}'>{user}</user>"
            for user, affiliation in ((BOB, "owner"), (ALICE, "none"))
        )
        configured = f"<x xmlns='{LIGHT}#configuration'><subject>s</subject></x><body/>"
        contents = [
            (f"{ROOM}/bob@example.com", "m1", "<body>x</body><markable xmlns='urn:xmpp:chat-markers:0'/>"),
            (
                ROOM,
                "restbridge-untold-1",
                f"<x xmlns='{LIGHT}#configuration'><subject>s</subject></x><body/>",
            ),
            (ROOM, "m2", configured),
            (ROOM, "m3", f"<x xmlns='{LIGHT}#affiliations'><version>1</version>{changes}</x><body/>"),
        ]
        self.link.says[MAM] = f"<fin xmlns='{MAM}' complete='true'/>"
        self.link.results = [
            parseDocument(
                f"<message from='{ROOM}' to='{ALICE}'><result xmlns='{MAM}' id='{number}'>"
                "<forwarded xmlns='urn:xmpp:forward:0'>"
                f"<delay xmlns='urn:xmpp:delay' stamp='1970-01-01T00:00:0{number}Z'/>"
                f"<message xmlns='{NS_CLIENT}' from='{sender}' id='{used}'>{content}</message>"
                "</forwarded></result></message>".encode()
            )
            for number, (sender, used, content) in enumerate(contents)
        ]
        found = self.done(self.light.history(self.link, self.room, Window(before=None, limit=50)))
        wanted: list[dict[str, Any]] = [
            {"type": "message", "id": "m1", "from": BOB.bare, "timestamp": 0, "body": "x", "markable": True},
            {"type": "message", "id": "m2", "from": ROOM, "timestamp": 2000, "body": ""},
            {
                "type": "affiliation",
                "id": "m3",
                "from": ROOM,
                "timestamp": 3000,
                "user": BOB.bare,
                "affiliation": "owner",
            },
        ]
        self.assertEqual(wanted, found)
