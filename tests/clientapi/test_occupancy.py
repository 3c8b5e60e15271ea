"""
L{restbridge.clientapi.occupancy}: sessions in rooms.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish.domish import Element

from restbridge.clientapi.events import Events
from restbridge.clientapi.groupchat import TIMEOUT, RoomRefused
from restbridge.clientapi.occupancy import Attendance, Place
from restbridge.clientapi.roomevents import RoomEvents
from restbridge.stanzas.errors import LinkDown, NoAnswer
from restbridge.stanzas.jid import JID
from restbridge.stanzas.xml import NS_CLIENT
from tests.clientapi.roomlink import MUC, ROOM, RoomLink


class OccupancyTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.link = RoomLink()
        self.attendance = Attendance(
            clock=self.clock, audience=RoomEvents(events=Events(clock=self.clock), clock=self.clock)
        )
        self.places = self.attendance.of(self.link)
        self.room = JID.parse(ROOM)

    def enter(self) -> Deferred[Place]:
        return Deferred.fromCoroutine(self.places.enter(self.room))

    def entered(self) -> Place:
        entering = self.enter()
        self.link.letIn()
        return self.successResultOf(entering)

    def presence(self, nickname: str, kind: str = "", item: str = "", codes: str = "") -> None:
        status = "".join(f"<status code='{code}'/>" for code in codes.split())
        given = f" type='{kind}'" if kind else ""
        self.link.hear(
            f"<presence from='{ROOM}/{nickname}'{given}>"
            f"<x xmlns='{MUC}#user'><item {item}/>{status}</x></presence>"
        )


class EnteringTests(OccupancyTestCase):
    def test_entered(self) -> None:
        """
        Presence goes to the room alone, without asking for its history; one is in with the subject.
        """
        entering = self.enter()
        (presence,) = self.link.sent
        self.assertRegex(presence["to"], rf"^{ROOM}/alice-[0-9a-f]{{8}}$")
        self.assertEqual("0", presence.x.history["maxstanzas"])
        self.assertIsNone(self.places.of(self.room))
        self.assertNoResult(entering)
        self.link.letIn("admin", "Tea")
        place = self.successResultOf(entering)
        self.assertEqual(("admin", "Tea", False), (place.affiliation, place.subject, place.created))
        self.assertIs(place, self.places.of(self.room))
        self.assertIs(place, self.successResultOf(self.enter()))
        self.assertEqual(1, len(self.link.sent))

    def test_shared(self) -> None:
        """
        Who comes meanwhile waits for the same; it goes on when the first has left.
        """
        first, second = self.enter(), self.enter()
        first.cancel()
        self.failureResultOf(first)
        self.link.letIn()
        self.assertIs(self.successResultOf(second), self.places.of(self.room))
        self.assertEqual(1, len(self.link.sent))

    def test_refused(self) -> None:
        """
        A room's error reaches all who wait, and nothing is left behind.
        """
        waiting = [self.enter(), self.enter()]
        (presence,) = self.link.sent
        self.link.hear(
            f"<presence from='{presence['to']}' type='error' id='{presence['id']}'><error type='auth'>"
            "<registration-required xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>"
        )
        for each in waiting:
            error = self.failureResultOf(each, RoomRefused).value.error
            self.assertEqual("registration-required", error.condition)
        self.assertFalse(self.link.hear(f"<message from='{ROOM}' type='groupchat'><body>x</body></message>"))
        self.assertEqual(1, len(self.link.sent))

    def test_silent(self) -> None:
        """
        A room that says nothing is given up, and left, as it may have let the session in.
        """
        entering = self.enter()
        self.clock.advance(TIMEOUT)
        self.failureResultOf(entering, NoAnswer)
        self.assertEqual("unavailable", self.link.sent[-1]["type"])
        self.assertEqual(self.link.sent[0]["to"], self.link.sent[-1]["to"])
        self.assertFalse(self.clock.getDelayedCalls())

    def test_linkLost(self) -> None:
        """
        When the session ends all who wait hear of it, and the next session begins anew.
        """
        entering = self.enter()
        self.link.end("gone")
        self.assertEqual("gone", str(self.failureResultOf(entering, LinkDown).value))
        self.assertFalse(self.clock.getDelayedCalls())
        self.assertIsNot(self.places, self.attendance.of(self.link))
        self.failureResultOf(self.enter(), LinkDown)

    def test_broken(self) -> None:
        """
        When the connection breaks all who wait hear of it at once. When it is back the session is in those
        rooms that it was in, and in no other.
        """
        place = self.entered()
        message = Element((NS_CLIENT, "message"))
        message["id"] = "m"
        other = JID.parse("other@rooms.example.com")
        waiting: list[Deferred[object]] = [
            Deferred.fromCoroutine(self.places.say(place, message)),
            Deferred.fromCoroutine(self.places.setSubject(place, "Tea")),
            Deferred.fromCoroutine(self.places.setSubject(place, "Milk")),
            Deferred.fromCoroutine(self.places.enter(other)),
        ]
        sent = len(self.link.sent)
        self.link.lose()
        for each in waiting:
            self.failureResultOf(each, LinkDown)
        self.assertFalse(self.clock.getDelayedCalls())
        self.link.resume()
        self.assertIs(place, self.successResultOf(self.enter()))
        self.assertEqual([self.room], self.places.rooms)
        self.assertEqual(sent, len(self.link.sent))
        again = Deferred.fromCoroutine(self.places.enter(other))
        self.assertEqual(sent + 1, len(self.link.sent))
        self.link.letIn()
        self.successResultOf(again)

    def test_otherNickname(self) -> None:
        """
        A room may call the session by another name.
        """
        entering = self.enter()
        self.presence("other", item=f"affiliation='member' jid='{self.link.address.full}'", codes="110 210")
        self.link.hear(f"<message from='{ROOM}' type='groupchat'><subject/></message>")
        self.assertEqual(f"{ROOM}/other", self.successResultOf(entering).own.full)

    def test_occupants(self) -> None:
        """
        A place knows who is in the room, where the room tells.
        """
        place = self.entered()
        self.presence("bob", item="jid='BOB@example.com/phone'")
        self.presence("eve")
        self.presence("kate", item="jid='kate@example.com'")
        self.presence("kate", kind="unavailable", item="jid='kate@example.com'")
        own = {place.nickname: "alice@example.com"}
        self.assertEqual({**own, "bob": "bob@example.com"}, place.addresses)

    def test_taken(self) -> None:
        """
        What comes from a room that one is in is nobody else's; other stanzas, and private ones, are.
        """
        self.entered()
        for xml, taken in (
            (f"<message from='{ROOM}/bob' type='groupchat'><body>x</body></message>", True),
            (f"<message from='{ROOM}'><x xmlns='{MUC}#user'><item affiliation='none'/></x></message>", True),
            (f"<presence from='{ROOM}'><c xmlns='http://jabber.org/protocol/caps'/></presence>", True),
            (f"<message from='{ROOM}/bob' type='chat'><body>x</body></message>", False),
            (f"<iq from='{ROOM}/bob' type='get' id='1'/>", False),
            ("<message from='other@rooms.example.com/bob' type='groupchat'><body>x</body></message>", False),
            ("<presence from='bob@example.com/phone'/>", False),
        ):
            self.assertEqual(taken, self.link.hear(xml), xml)

    def test_thrownOut(self) -> None:
        """
        Who is thrown out is in no more: who waits for something hears it.
        """
        place = self.entered()
        message = Element((NS_CLIENT, "message"))
        message["id"] = "m"
        saying = Deferred.fromCoroutine(self.places.say(place, message))
        self.presence(place.nickname, "unavailable", "affiliation='none'", "321 110")
        self.assertEqual("forbidden", str(self.failureResultOf(saying, RoomRefused).value))
        self.assertIsNone(self.places.of(self.room))
        self.assertFalse(self.clock.getDelayedCalls())

    def test_takenOut(self) -> None:
        """
        Whom the server has taken out may come back, and is told apart.
        """
        place = self.entered()
        setting = Deferred.fromCoroutine(self.places.setSubject(place, "x"))
        self.presence(place.nickname, "unavailable", "affiliation='member'", "110")
        self.assertEqual("not-acceptable", str(self.failureResultOf(setting, RoomRefused).value))
        self.assertIsNone(self.places.of(self.room))

    def test_left(self) -> None:
        """
        Leaving is said to the room.
        """
        place = self.entered()
        self.places.leave(self.room)
        self.assertEqual(
            (place.own.full, "unavailable"), (self.link.sent[-1]["to"], self.link.sent[-1]["type"])
        )
        self.places.leave(self.room)
        self.assertEqual(2, len(self.link.sent))


class SayingTests(OccupancyTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.place = self.entered()
        self.message = Element((NS_CLIENT, "message"))
        self.message["id"] = "m"
        self.message.addElement("body", content="x")

    def say(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.places.say(self.place, self.message))

    def test_reflected(self) -> None:
        """
        Something is said when the room sends it to all: with its id, from one's own place.
        """
        saying = self.say()
        sent = self.link.sent[-1]
        self.assertEqual((ROOM, "groupchat", "m"), (sent["to"], sent["type"], sent["id"]))
        for sender, used in ((f"{ROOM}/bob", "m"), (self.place.own.full, "n")):
            self.link.hear(f"<message from='{sender}' type='groupchat' id='{used}'><body>x</body></message>")
            self.assertNoResult(saying)
        self.link.hear(
            f"<message from='{self.place.own.full}' type='groupchat' id='m'><body>x</body></message>"
        )
        self.successResultOf(saying)
        self.assertFalse(self.clock.getDelayedCalls())

    def test_refused(self) -> None:
        """
        An error to another message is not for this one.
        """
        saying = self.say()
        error = (
            f"<message from='{ROOM}' type='error' id='{{}}'><error type='modify'>"
            "<not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
        )
        self.link.hear(error.format("other"))
        self.assertNoResult(saying)
        self.link.hear(error.format("m"))
        refused = self.failureResultOf(saying, RoomRefused).value
        self.assertEqual("not-acceptable", refused.error.condition)

    def test_subject(self) -> None:
        """
        A subject is set when the room says one from one's own place, with an id or without, in whatever
        words; a message with a body sets none.
        """
        setting = Deferred.fromCoroutine(self.places.setSubject(self.place, "New\r"))
        self.assertEqual("New\r", str(self.link.sent[-1].subject))
        own = self.place.own.full
        for sender, content in (
            (own, "<subject>New</subject><body>x</body>"),
            (f"{ROOM}/bob", "<subject>Old</subject>"),
            (own, "<body>New</body>"),
        ):
            self.link.hear(f"<message from='{sender}' type='groupchat'>{content}</message>")
            self.assertNoResult(setting)
        self.assertEqual("Old", self.place.subject)
        self.link.hear(f"<message from='{own}' type='groupchat'><subject>New</subject></message>")
        self.successResultOf(setting)
        self.assertEqual("New", self.place.subject)

    def test_subjects(self) -> None:
        """
        One subject is set after the other.
        """
        setting = [Deferred.fromCoroutine(self.places.setSubject(self.place, text)) for text in ("a", "b")]
        for text, each in zip(("a", "b"), setting, strict=True):
            self.assertEqual(text, str(self.link.sent[-1].subject))
            self.link.hear(
                f"<message from='{self.place.own.full}' type='groupchat'><subject>{text}</subject></message>"
            )
            self.successResultOf(each)

    def test_late(self) -> None:
        """
        What is neither said nor refused is given up; so is what can't be sent.
        """
        saying = self.say()
        self.clock.advance(TIMEOUT)
        self.failureResultOf(saying, NoAnswer)
        self.link.fault = LinkDown("reset")
        self.failureResultOf(self.say(), LinkDown)
        self.assertFalse(self.clock.getDelayedCalls())
