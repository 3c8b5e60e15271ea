"""
C{/api/sse}: what happens in the rooms of a user, as it happens.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from http.client import HTTPException
from typing import Any

from tests.live.bridge import Bridge
from tests.live.case import LiveCase
from tests.live.client_api import jid
from tests.live.ejabberd import Ejabberd
from tests.live.eventsource import Event, EventSource
from tests.live.muclight import SERVICE, MucLightService
from tests.live.process import eventually
from tests.live.prosody import Prosody
from tests.live.receiver import JSON
from tests.live.rooms import MUC, ROOM, WithRooms
from tests.live.test_client_events import Chatter, Listening
from tests.live.web import ask, asUser

Change = tuple[str, str]


class RoomEvents(WithRooms, Listening):
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

    def testMissed(self) -> None:
        """
        Who comes back has what was said and changed meanwhile, over several pages, and nothing else: with the
        fields and in the order of the history, once, behind each event alike.
        """
        owner, member, other = self.newUser(), self.newUser(), self.newUser()
        rooms = [self.made(member, owner=owner) for _ in range(3)]
        for room in rooms:
            self.say(room, "before", owner)
        source = self.listen(member)
        for room in rooms:
            self.say(room, "live", owner)
            self.done("POST", f"/rooms/{room}/users", {"user": jid(other)}, owner)
        self.waitFor(source, lambda one: one.get("user") == jid(other), 3)
        source.close()
        for turn in range(60):
            self.say(rooms[0], f"missed {turn}", owner)
            if turn % 20 == 0:
                verb = "DELETE" if turn % 40 == 0 else "POST"
                self.changed(verb, rooms[0], other, owner)
        self.say(rooms[1], "missed", owner)
        again = self.listen(member, source.lastId)
        self.say(rooms[0], "now", owner)
        again.expect("now")
        events = [*source.seen, *again.seen]
        self.assertHeard(rooms, member, events)
        for place in (0, 2, 5, 7, 30, len(events) - 2):
            source = self.listen(member, events[place].id)
            text = f"mark {place}"
            self.say(rooms[2], text, owner)
            source.expect(text)
            self.assertHeard(rooms, member, [*events[: place + 1], *source.seen])
            events = [*events[: place + 1], *source.seen]

    def changed(self, verb: str, room: str, user: str, owner: str) -> None:
        """
        Add or remove somebody.
        """
        if verb == "POST":
            self.done("POST", f"/rooms/{room}/users", {"user": jid(user)}, owner)
        else:
            self.done("DELETE", f"/rooms/{room}/users/{jid(user)}", user=owner)

    def assertHeard(self, rooms: list[str], user: str, events: list[Event]) -> None:
        """
        Events are what the history has of these rooms, behind what was said C{before} all of them.
        """
        for room in rooms:
            found = [one for event in events if (one := event.json())["room"] == room]
            history = self.said(room, "?limit=500", user)
            began = [one.get("body") for one in history].index("before") + 1
            for one in found:
                self.assertEqual(room, one.pop("room"))
            shown = [{key: one[key] for key in one if key != "timestamp"} for one in found]
            wanted = [{key: one[key] for key in one if key != "timestamp"} for one in history[began:]]
            self.assertEqual(wanted, shown)
            for one, told in zip(history[began:], found, strict=True):
                self.assertLess(abs(one["timestamp"] / 1e3 - told["timestamp"] / 1e6), 2)

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
        When the server ends the login the stream ends; the next is in the rooms again, and nothing is lost.
        """
        owner, member = self.newUser(), self.newUser()
        room = self.made(member, owner=owner)
        source = self.listen(member)
        self.say(room, "there", owner)
        source.expect("there")
        self.server.endSession(member)
        self._expectReturn(source, room, owner, member)

    def testServerRestarted(self) -> None:
        """
        So it is when the server is restarted.
        """
        owner, member = self.newUser(), self.newUser()
        room = self.made(member, owner=owner)
        source = self.listen(member)
        self.say(room, "there", owner)
        source.expect("there")
        self.server.restart()
        self._expectReturn(source, room, owner, member)
        eventually(
            lambda: self.bridge.get("/readyz", auth=None).status == 200, "the component to be back", 30
        )

    def testKilled(self) -> None:
        """
        However often the bridge is killed, and the client leaves, while messages and changes of affiliations
        keep coming in several rooms: each comes once, and messages in their order.
        """
        bridge = self.usersBridge()
        owner, member = self.newUser(), self.newUser()
        rooms = [self._madeAt(bridge, owner, member) for _ in range(3)]
        phone = self.login(owner)
        for room in rooms:
            self.join(phone, room, "phone")
        addresses = [self.address(room) for room in rooms]
        lastId: str | None = None
        seen: list[Event] = []
        source = self.listenAgain(member, None, bridge)
        chatter = Chatter(phone, *addresses, kind="groupchat")
        with chatter, Guests(bridge, rooms, owner) as guests:
            for turn in range(5):
                wanted = len(source.seen) + 25
                eventually(lambda s=source, w=wanted: len(s.seen) >= w, "events", 30)  # type: ignore[misc]
                if turn % 2:
                    source.close()
                else:
                    bridge.process.kill()
                    source.expectEnd()
                    bridge.start()
                seen += source.seen
                lastId = source.lastId
                source = self.listenAgain(member, lastId, bridge)
            guests.stop()
            chatter.stop()
            for _ in rooms:
                chatter.write()
            for text in chatter.sent[-len(rooms) :]:
                source.expect(text, 30)
        seen += source.seen
        for number, room in enumerate(rooms):
            told = [one for event in seen if (one := event.json())["room"] == room]
            texts = [one["body"] for one in told if one["type"] == "message"]
            self.assertEqual(chatter.sent[number :: len(rooms)], texts)
            users = [one["user"] for one in told if one["type"] == "affiliation"]
            self.assertEqual(len(set(users)), len(users))
            self.assertEqual(set(), guests.added[room] - set(users))
            self.assertEqual(set(), set(users) - guests.added[room] - guests.unsure)
        self.assertLess(max(len(event.id or "") for event in seen), 1000)

    def _madeAt(self, bridge: Bridge, owner: str, member: str) -> str:
        room = self.api("POST", "/rooms", ROOM, owner, bridge=bridge).json()["id"]
        answer = self.api("POST", f"/rooms/{room}/users", {"user": jid(member)}, owner, bridge=bridge)
        self.assertEqual(204, answer.status)
        return str(room)

    def _expectReturn(self, source: EventSource, room: str, owner: str, member: str) -> None:
        source.expectEnd()

        def said() -> bool:
            return self.api("POST", f"/rooms/{room}/messages", {"body": "between"}, owner).status == 200

        eventually(said, "the room to be there", 30, pause=0.2)
        again = self.listenAgain(member, source.lastId, self.bridge)
        self.say(room, "back", owner)
        again.expect("back")
        self.assertEqual(["between", "back"], again.bodies())


class Guests:
    """
    An owner who adds guests to rooms without a pause, over a bridge that may be gone.

    @ivar added: for each room, the addresses of those who are certainly in.
    @ivar unsure: of those where the bridge didn't say so.
    """

    def __init__(self, bridge: Bridge, rooms: list[str], owner: str) -> None:
        self.added: dict[str, set[str]] = {room: set() for room in rooms}
        self.unsure: set[str] = set()
        self._bridge = bridge
        self._rooms = rooms
        self._owner = owner
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._add, daemon=True)

    def __enter__(self) -> Guests:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """
        Add no more.
        """
        self._enough.set()
        self._thread.join(30)

    def _add(self) -> None:
        for number in itertools.count():
            if self._enough.wait(0.1):
                return
            room, guest = self._rooms[number % len(self._rooms)], jid(f"guest{number}")
            if self._isAdded(room, guest):
                self.added[room].add(guest)
            else:
                self.unsure.add(guest)

    def _isAdded(self, room: str, guest: str) -> bool:
        body = json.dumps({"user": guest}).encode()
        headers = {"Authorization": asUser(self._owner), "Content-Type": JSON, "Accept": JSON}
        try:
            path = f"/api/rooms/{room}/users"
            return ask(self._bridge.port, "POST", path, body, headers).status == 204
        except (OSError, HTTPException):
            return False


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

    def listen(self, user: str, lastId: str | None = None, bridge: Bridge | None = None) -> EventSource:
        """
        Open a stream, of which the stub knows.
        """
        self.got("GET", "/rooms", user=user)
        return super().listen(user, lastId, bridge)
