"""
C{/api/sse}: what happens in the rooms of a user, as it happens.
"""

from __future__ import annotations

import time
from typing import Any

from tests.live.case import LiveCase
from tests.live.client_api import jid
from tests.live.ejabberd import Ejabberd
from tests.live.eventsource import Event, EventSource
from tests.live.muclight import SERVICE, MucLightService
from tests.live.process import eventually
from tests.live.prosody import Prosody
from tests.live.test_client_rooms import MUC, WithRooms
from tests.live.web import asUser

Change = tuple[str, str]


class RoomEvents(WithRooms):
    """
    What is an event, and to whom it comes.
    """

    def testSaid(self) -> None:
        """
        What one says over HTTP all hear, oneself as well: with the fields of the history, the room, and a
        time in microseconds.
        """
        owner, member = self.newUser(), self.newUser()
        room = self.made(member, owner=owner)
        sources = [self.listen(user) for user in (owner, member)]
        before = time.time()
        for user in (owner, member):
            used = self.say(room, f"by {user}", user, markable=True)
            for source in sources:
                event = source.expect(f"by {user}")
                self.assertEqual("room.message", event.name)
                shown = event.json()
                timestamp = shown.pop("timestamp")
                self.assertTrue(before - 1 <= timestamp / 1e6 <= time.time() + 1, timestamp)
                wanted = {"type": "message", "id": used, "from": jid(user), "room": room}
                self.assertEqual({**wanted, "body": f"by {user}", "markable": True}, shown)
        marker = {"type": "displayed", "id": used}
        self.got("POST", f"/rooms/{room}/messages", {"chat_marker": marker}, member)
        for source in sources:
            self.waitFor(source, lambda one: one.get("chat_marker") == marker)
            self.assertEqual(3, len(source.seen))

    def testAffiliations(self) -> None:
        """
        Who is added and who is removed all hear, each once, also who it is about, with the id of the history.
        """
        owner, member, other = self.newUser(), self.newUser(), self.newUser()
        room = self.made(member, owner=owner)
        sources = [self.listen(user) for user in (owner, member, other)]
        path = f"/rooms/{room}/users"
        for turn in range(2):
            self.done("POST", path, {"user": jid(other)}, owner)
            self.say(room, f"hello {turn}", owner)
            self.done("DELETE", f"{path}/{jid(other)}", user=owner)
            self.say(room, f"bye {turn}", owner)
            sources[0].expect(f"bye {turn}")
            sources[1].expect(f"bye {turn}")
        self.waitFor(sources[2], lambda one: one.get("affiliation") == "none", 2)
        changes = [(jid(other), "member"), (jid(other), "none")] * 2
        for source in sources:
            self.assertEqual(changes, self.changes(source))
        self.assertEqual(["hello 0", "hello 1"], [text for text in sources[2].bodies() if text != "None"])
        history = {one["id"] for one in self.said(room, user=owner) if one["type"] == "affiliation"}
        for source in sources:
            for event in source.seen:
                shown = event.json()
                if shown["type"] == "affiliation":
                    self.assertEqual((self.address(room), room), (shown["from"], shown["room"]))
                    self.assertIn(shown["id"], history)

    def testAddedWhileListening(self) -> None:
        """
        A room that a user makes, or is added to, while listening is heard from then on.
        """
        owner, member = self.newUser(), self.newUser()
        sources = [self.listen(user) for user in (owner, member)]
        room = self.made(member, owner=owner)
        self.say(room, "at once", owner)
        for source in sources:
            source.expect("at once")
            self.assertEqual([(jid(member), "member")], self.changes(source))

    def testLeft(self) -> None:
        """
        Who leaves hears it himself, and the others do.
        """
        owner, member = self.newUser(), self.newUser()
        room = self.made(member, owner=owner)
        sources = [self.listen(user) for user in (owner, member)]
        self.done("DELETE", f"/rooms/{room}/users/{jid(member)}", user=member)
        for source in sources:
            self.waitFor(source, lambda one: one.get("affiliation") == "none")
        self.say(room, "alone", owner)
        sources[0].expect("alone")
        for source in sources:
            self.assertEqual([(jid(member), "none")], self.changes(source))
        self.assertEqual(1, len(sources[1].seen))

    def testSeveral(self) -> None:
        """
        Each stream brings what happens in each room, once and in order.
        """
        owner = self.newUser()
        rooms = [self.made(owner=owner) for _ in range(12)]
        sources = [self.listen(owner) for _ in range(3)]
        for number in range(24):
            self.say(rooms[number % 12], f"text {number}", owner)
        for source in sources:
            source.expect("text 23")
            self.assertEqual([f"text {number}" for number in range(24)], source.bodies())

    def listen(self, user: str) -> EventSource:
        """
        Open a stream, which must be there at once.
        """
        source = EventSource(self.bridge.port, asUser(user))
        self.addCleanup(source.close)
        self.assertEqual(200, source.status)
        return source

    def waitFor(self, source: EventSource, fits: Any, times: int = 1) -> list[Event]:
        """
        Wait until a stream has brought so many events that fit.
        """

        def found() -> list[Event] | None:
            fitting = [event for event in source.seen if fits(event.json())]
            return fitting if len(fitting) >= times else None

        return eventually(found, f"{times} events")

    def changes(self, source: EventSource) -> list[Change]:
        """
        The affiliations that a stream has told.
        """
        shown = [event.json() for event in source.seen]
        return [(one["user"], one["affiliation"]) for one in shown if one.get("type") == "affiliation"]


class Occupancy(RoomEvents):
    """
    What depends on the login's being in the rooms, and on other clients there.
    """

    def testOtherClients(self) -> None:
        """
        So is what ordinary clients say and change; not subjects, private messages or what has no text.
        """
        owner, member, other = self.newUser(), self.newUser(), self.newUser()
        room = self.made(member, other, owner=owner)
        source = self.listen(member)
        phone = self.login(owner)
        self.join(phone, room, "phone")
        address = self.address(room)
        occupant = phone.expect(lambda one: one.get("from", "").startswith(f"{address}/{member}-"))
        nickname = occupant.get("from", "").partition("/")[2]
        phone.send(f"<message type='groupchat' to='{address}'><subject>Another</subject></message>")
        private = f"<body>private</body><x xmlns='{MUC}#user'/>"
        phone.send(f"<message type='chat' to='{address}/{nickname}'>{private}</message>")
        typing = "<composing xmlns='http://jabber.org/protocol/chatstates'/>"
        phone.send(f"<message type='groupchat' to='{address}'>{typing}</message>")
        for user, affiliation in ((other, "none"), (other, "outcast"), (other, "admin"), (other, "owner")):
            item = f"<item jid='{jid(user)}' affiliation='{affiliation}'/>"
            phone.request(address, f"<query xmlns='{MUC}#admin'>{item}</query>", "set")
        used = phone.message(address, "aloud", "groupchat")
        shown = source.expect("aloud").json()
        self.assertEqual((used, jid(owner)), (shown["id"], shown["from"]))
        changes = [(jid(other), each) for each in ("none", "member", "owner")]
        self.assertEqual(changes, self.changes(source))
        rooms = [event for event in source.seen if event.name == "room.message"]
        self.assertEqual(4, len(rooms), rooms)

    def testOwnerLeft(self) -> None:
        """
        When the owner leaves that is heard, and who is the owner now.
        """
        owner, member = self.newUser(), self.newUser()
        room = self.made(member, owner=owner)
        sources = [self.listen(user) for user in (owner, member)]
        self.done("DELETE", f"/rooms/{room}/users/{jid(owner)}", user=owner)
        for source in sources:
            self.waitFor(source, lambda one: one.get("affiliation") == "none")
            self.assertEqual([(jid(member), "owner"), (jid(owner), "none")], self.changes(source))

    def testNothingOld(self) -> None:
        """
        What was said before is no event; each stream begins with now, whatever the login did before.
        """
        owner, member = self.newUser(), self.newUser()
        room = self.made(member, owner=owner)
        self.say(room, "old", owner)
        self.got("GET", "/contacts", user=member)
        self.say(room, "old, too", member)
        for turn in range(3):
            source = self.listen(member)
            self.say(room, f"new {turn}", owner)
            source.expect(f"new {turn}")
            self.assertEqual([f"new {turn}"], source.bodies())
            source.close()

    def testReturning(self) -> None:
        """
        When the server ends the login the stream ends; the next one is in the rooms again.
        """
        owner, member = self.newUser(), self.newUser()
        room = self.made(member, owner=owner)
        source = self.listen(member)
        self.server.endSession(member)
        self._expectReturn(source, room, owner, member)

    def testServerRestarted(self) -> None:
        """
        So it is when the server is restarted.
        """
        owner, member = self.newUser(), self.newUser()
        room = self.made(member, owner=owner)
        source = self.listen(member)
        self.server.restart()
        self._expectReturn(source, room, owner, member)
        eventually(
            lambda: self.bridge.get("/readyz", auth=None).status == 200, "the component to be back", 30
        )

    def _expectReturn(self, source: EventSource, room: str, owner: str, member: str) -> None:
        source.expectEnd()

        def opened() -> EventSource | None:
            found = EventSource(self.bridge.port, asUser(member), source.lastId)
            self.addCleanup(found.close)
            return found if found.status == 200 else None

        again = eventually(opened, "a stream", 30, pause=0.2)
        self.say(room, "back", owner)
        again.expect("back")
        self.assertEqual(["back"], again.bodies())


class OnProsody(Occupancy, LiveCase):
    """
    On Prosody.
    """

    makeServer = Prosody


class OnEjabberd(Occupancy, LiveCase):
    """
    On ejabberd.
    """

    makeServer = Ejabberd


class OnMucLight(RoomEvents, LiveCase):
    """
    On Prosody with a stub of MUC Light.
    """

    makeServer = Prosody
    rooms = SERVICE

    def setUp(self) -> None:
        """
        Attach the service, for this test.
        """
        super().setUp()
        self.service = MucLightService(self.server.componentPort(SERVICE))
        self.addCleanup(self.service.close)

    def listen(self, user: str) -> EventSource:
        """
        Open a stream, of which the stub knows.
        """
        self.got("GET", "/rooms", user=user)
        return super().listen(user)
