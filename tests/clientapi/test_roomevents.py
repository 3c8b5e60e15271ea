"""
L{restbridge.clientapi.roomevents}: what is told of rooms, and to whom. The usual course of things is kept by
tests/live.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish.domish import Element

from restbridge.boundaries import UserLink
from restbridge.clientapi.event import Event
from restbridge.clientapi.events import PATIENCE, Events
from restbridge.clientapi.muc import Muc
from restbridge.clientapi.muclight import MucLight
from restbridge.clientapi.occupancy import Attendance, Place
from restbridge.clientapi.roomevents import FRESH, RoomEvents
from restbridge.stanzas.errors import NoAnswer
from restbridge.stanzas.jid import JID
from restbridge.store.rooms import Change, RoomStore
from tests.clientapi.eventscase import EventsCase, Login, message
from tests.clientapi.roomlink import MUC, ROOM, RoomLink
from tests.store.fakes import MemoryStore
from tests.web.client import Client, basic

NOW = 1_700_000_000
ALICE, BOB = "alice@example.com", "bob@example.com"
ADMIN = f"{MUC}#admin"
INFO = "http://jabber.org/protocol/disco#info"
REGISTER = "jabber:iq:register"
LIGHT = "urn:xmpp:muclight:0"


class Notes(Events):
    """
    Events that are noted, in place of being brought.

    @ivar links: of those who listen.
    @ivar told: to whom what was told, and when.
    @ivar events: what was told.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock)
        self.links: dict[str, UserLink] = {}
        self.told: list[tuple[str, Mapping[str, Any], int]] = []
        self.events: list[Event] = []

    def listener(self, user: str) -> UserLink | None:
        return self.links.get(user)

    def publish(self, user: str, event: Event) -> None:
        assert event.name == "room.message"
        self.events.append(event)
        self.told.append((user, json.loads(event.data), event.moment))

    @property
    def changes(self) -> list[tuple[str, str, str]]:
        """
        To whom which changes were told.
        """
        return [(user, one["user"], one["affiliation"]) for user, one, _ in self.told]


class RoomEventsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.notes = Notes(self.clock)
        self.events = RoomEvents(events=self.notes, clock=self.clock)
        self.attendance = Attendance(clock=self.clock, audience=self.events)
        self.link = RoomLink()
        self.room = JID.parse(ROOM)

    def entered(self, link: RoomLink | None = None) -> Place:
        link = link or self.link
        entering = Deferred.fromCoroutine(self.attendance.of(link).enter(self.room))
        link.letIn()
        return self.successResultOf(entering)

    def occupant(self, nickname: str, affiliation: str, kind: str = "", codes: str = "") -> None:
        """
        The room says of C{nickname@example.com} that he is in it.
        """
        status = "".join(f"<status code='{code}'/>" for code in codes.split())
        given = f" type='{kind}'" if kind else ""
        self.link.hear(
            f"<presence from='{ROOM}/{nickname}'{given}><x xmlns='{MUC}#user'><item"
            f" affiliation='{affiliation}' jid='{nickname}@example.com/r'/>{status}</x></presence>"
        )

    def notice(self, user: str, affiliation: str, sender: str = ROOM) -> None:
        """
        The room says what somebody is who isn't in it.
        """
        self.link.hear(
            f"<message from='{sender}'><x xmlns='{MUC}#user'><item affiliation='{affiliation}'"
            f" jid='{user}@example.com'/></x></message>"
        )

    def say(self, nickname: str, content: str, more: str = "id='m'") -> None:
        self.link.hear(f"<message from='{ROOM}/{nickname}' type='groupchat' {more}>{content}</message>")


class SaidTests(RoomEventsTestCase):
    def test_said(self) -> None:
        """
        A message is told with its room, the sender's address, and the time in microseconds.
        """
        place = self.entered()
        self.occupant("bob", "member")
        self.clock.advance(0.5)
        self.say("bob", "<body>x</body><markable xmlns='urn:xmpp:chat-markers:0'/>")
        now = NOW * 1_000_000 + 500_000
        shown = {"type": "message", "id": "m", "from": BOB, "body": "x", "markable": True}
        self.assertEqual([(ALICE, {**shown, "timestamp": now, "room": "room"}, now)], self.notes.told)
        self.say(place.nickname, "<body/>")
        self.say("stranger", "<body>y</body>", "")
        found = [(one["from"], one["body"]) for _, one, _ in self.notes.told[1:]]
        self.assertEqual([(ALICE, ""), (f"{ROOM}/stranger", "y")], found)
        self.assertTrue(self.notes.told[-1][1]["id"])

    def test_archived(self) -> None:
        """
        What the room's archive calls a message tells it from others, and is its id if it has no other; what
        others say about that means nothing.
        """
        self.entered()
        known = "<stanza-id xmlns='urn:xmpp:sid:0' by='{}' id='a1'/>"
        self.say("bob", f"<body>x</body>{known.format(ROOM)}", "")
        self.say("bob", f"<body>x</body>{known.format(ALICE)}", "id='a1'")
        self.assertEqual([f"{ROOM}\na1", None], [event.key for event in self.notes.events])
        self.assertEqual([None, f"{ROOM}/bob a1"], [event.alias for event in self.notes.events])
        self.assertEqual(["a1", "a1"], [one["id"] for _, one, _ in self.notes.told])

    def test_notSaid(self) -> None:
        """
        No event is what has no text, is the subject, is said in private, or comes from the room itself.
        """
        self.entered()
        self.say("bob", "<composing xmlns='http://jabber.org/protocol/chatstates'/>")
        self.say("bob", "<subject>x</subject>")
        for xml in (
            f"<message from='{ROOM}/bob' type='chat'><body>x</body></message>",
            f"<message from='{ROOM}/bob'><body>x</body></message>",
            f"<message from='{ROOM}' type='groupchat'><body>x</body></message>",
        ):
            self.link.hear(xml)
        self.assertEqual([], self.notes.told)

    def test_history(self) -> None:
        """
        What comes before the subject was said before the session came.
        """
        Deferred.fromCoroutine(self.attendance.of(self.link).enter(self.room))
        self.say("bob", "<body>old</body>")
        self.link.letIn()
        self.assertEqual([], self.notes.told)


class ChangedTests(RoomEventsTestCase):
    def test_changed(self) -> None:
        """
        A change of somebody in the room or elsewhere is told once, as the API calls it.
        """
        self.entered()
        self.occupant("bob", "member")
        for affiliation in ("member", "admin", "owner", "owner", "admin"):
            self.occupant("bob", affiliation)
        for affiliation in ("member", "admin", "outcast", "none"):
            self.notice("kate", affiliation)
        self.occupant("bob", "none", "unavailable", "321")
        kate = "kate@example.com"
        self.assertEqual(
            [
                (ALICE, BOB, "owner"),
                (ALICE, BOB, "member"),
                (ALICE, kate, "member"),
                (ALICE, kate, "none"),
                (ALICE, BOB, "none"),
            ],
            self.notes.changes,
        )
        now = NOW * 1_000_000
        shown = dict(self.notes.told[0][1])
        self.assertTrue(shown.pop("id"))
        wanted = {"type": "affiliation", "from": ROOM, "user": BOB, "affiliation": "owner"}
        self.assertEqual({**wanted, "timestamp": now, "room": "room"}, shown)

    def test_unchanged(self) -> None:
        """
        Who comes and goes is no change; nor is that somebody is nothing who was nothing, and what an occupant
        claims.
        """
        self.entered()
        self.occupant("bob", "member")
        self.occupant("bob", "none", "unavailable")
        self.notice("kate", "none")
        self.notice("kate", "owner", f"{ROOM}/bob")
        self.assertEqual([], self.notes.told)

    def test_oneself(self) -> None:
        """
        Who is thrown out is told so.
        """
        place = self.entered()
        self.link.hear(
            f"<presence from='{place.own.full}' type='unavailable'><x xmlns='{MUC}#user'>"
            "<item affiliation='none'/><status code='321'/><status code='110'/></x></presence>"
        )
        self.assertEqual([(ALICE, ALICE, "none")], self.notes.changes)

    def test_announced(self) -> None:
        """
        A change that was made here has the id that it has in the history, once, and for a while.
        """
        self.entered()
        change = Change(time=NOW * 1000, user=BOB, affiliation="member", id="known", after="")
        self.events.announce(self.room, change)
        self.notice("kate", "member")
        for affiliation in ("member", "none", "member", "none"):
            self.notice("bob", affiliation)
        self.assertEqual([1], [n for n, (_, one, _) in enumerate(self.notes.told) if one["id"] == "known"])
        self.assertEqual([1], [n for n, event in enumerate(self.notes.events) if event.key is not None])
        self.events.announce(self.room, change)
        self.clock.advance(FRESH / 1000 + 1)
        self.notice("bob", "member")
        self.assertNotEqual("known", self.notes.told[-1][1]["id"])


class MadeTests(RoomEventsTestCase):
    """
    What the API changes.
    """

    def setUp(self) -> None:
        super().setUp()
        self.store = RoomStore(MemoryStore())
        self.muc = Muc(
            "rooms.example.com",
            attendance=self.attendance,
            events=self.events,
            store=self.store,
            clock=self.clock,
        )
        self.bob = RoomLink()
        self.bob.address = JID("bob", "example.com", "r")
        for link in (self.link, self.bob):
            link.says[INFO] = f"<query xmlns='{INFO}'><feature var='muc_membersonly'/></query>"
            link.says[ADMIN] = ""
            link.affiliations = {"alice": "owner"}
        # By the time at which he asks, he is a member.
        self.bob.affiliations = {"alice": "owner", "bob": "member"}

    def test_added(self) -> None:
        """
        Who is added while listening is told, and in the room with the answer.
        """
        self.notes.links[BOB] = self.bob
        adding = Deferred.fromCoroutine(self.muc.add(self.link, self.room, JID.parse(BOB)))
        self.assertNoResult(adding)
        self.bob.letIn()
        self.successResultOf(adding)
        self.assertEqual([(BOB, BOB, "member")], self.notes.changes)
        self.assertIsNotNone(self.attendance.of(self.bob).of(self.room))

    def test_notLetIn(self) -> None:
        """
        If the room doesn't let him in he is added all the same.
        """
        self.notes.links[BOB] = self.bob
        silent = Deferred.fromCoroutine(self.muc.add(self.link, self.room, JID.parse(BOB)))
        self.clock.advance(60)
        self.successResultOf(silent)
        ended = Deferred.fromCoroutine(self.muc.add(self.link, self.room, JID.parse(BOB)))
        self.bob.end()
        self.successResultOf(ended)
        self.assertEqual([(BOB, BOB, "member")] * 2, self.notes.changes)

    def test_notListening(self) -> None:
        """
        Who doesn't listen enters nothing.
        """
        self.successResultOf(Deferred.fromCoroutine(self.muc.add(self.link, self.room, JID.parse(BOB))))
        self.assertEqual([], self.bob.sent)

    def test_inside(self) -> None:
        """
        Who is in the room hears of himself from there, and only from there.
        """
        self.notes.links[BOB] = self.bob
        self.entered(self.bob)
        self.link.affiliations = {"alice": "owner", "bob": "member"}
        self.successResultOf(Deferred.fromCoroutine(self.muc.remove(self.link, self.room, JID.parse(BOB))))
        self.assertEqual([], self.notes.changes)

    def resigned(self, says: str = "feature-not-implemented") -> None:
        """
        Bob leaves a room that can't be told.
        """
        self.link.affiliations = self.bob.affiliations
        looking = Deferred.fromCoroutine(self.muc.details(self.link, self.room))
        self.link.letIn("owner")
        self.successResultOf(looking)
        self.bob.says[REGISTER] = says
        self.successResultOf(Deferred.fromCoroutine(self.muc.remove(self.bob, self.room, JID.parse(BOB))))
        self.assertEqual([(ALICE, BOB, "none"), (BOB, BOB, "none")], sorted(self.notes.changes))
        (change,) = self.successResultOf(Deferred.fromCoroutine(self.store.changes(self.room, None, 9)))
        self.assertEqual({change.id}, {one["id"] for _, one, _ in self.notes.told})

    def test_resignedInside(self) -> None:
        """
        Who leaves a room that can't be told is told to have left all the same, to all who are in it.
        """
        self.notes.links[BOB] = self.bob
        self.entered(self.bob)
        self.resigned()

    def test_misunderstood(self) -> None:
        """
        So is who leaves one that takes it for something else, and has him as a member still.
        """
        self.resigned("")

    def test_silent(self) -> None:
        """
        So is who leaves one that says nothing more after that.
        """
        answered = self.bob.request

        def request(iq: Element, timeout: float) -> Deferred[Element]:
            return fail(NoAnswer(5)) if self.bob.asked(REGISTER) else answered(iq, timeout)

        self.patch(self.bob, "request", request)
        self.resigned("")

    def test_resignedElsewhere(self) -> None:
        """
        So is, to himself, who isn't in the room.
        """
        self.resigned()


class MucLightTests(RoomEventsTestCase):
    def setUp(self) -> None:
        super().setUp()
        light = MucLight("rooms.example.com", events=self.events, store=RoomStore(MemoryStore()))
        for _ in range(2):
            self.successResultOf(Deferred.fromCoroutine(light.follow(self.link)))

    def hear(self, content: str, sender: str = ROOM, used: str = "m", kind: str = "groupchat") -> bool:
        return self.link.hear(
            f"<message from='{sender}' to='{ALICE}' type='{kind}' id='{used}'>{content}</message>"
        )

    def test_told(self) -> None:
        """
        Messages and changes of affiliations are told, once, as they stand in the history.
        """
        self.assertTrue(self.hear("<body>x</body>", f"{ROOM}/{BOB}"))
        self.assertTrue(
            self.hear(
                f"<x xmlns='{LIGHT}#affiliations'><user affiliation='owner'>{BOB}</user>"
                f"<user affiliation='none'>{ALICE}</user></x><body/>"
            )
        )
        common = {"id": "m", "timestamp": NOW * 1_000_000, "room": "room"}
        change = {"type": "affiliation", "from": ROOM, "user": BOB, "affiliation": "owner"}
        said = {"type": "message", "from": BOB, "body": "x"}
        self.assertEqual([{**common, **said}, {**common, **change}], [one for _, one, _ in self.notes.told])

    def test_archived(self) -> None:
        """
        The place in the room's archive tells a message from others; a change has but its sender's id.
        """
        known = f"<stanza-id xmlns='urn:xmpp:sid:0' by='{ROOM}' id='a1'/>"
        self.hear(f"<body>x</body>{known}", f"{ROOM}/{BOB}")
        self.hear(f"<x xmlns='{LIGHT}#affiliations'><user affiliation='owner'>{BOB}</user></x><body/>")
        self.assertEqual([f"{ROOM}\na1", None], [event.key for event in self.notes.events])
        self.assertEqual(f"{ROOM} m", self.notes.events[1].alias)
        self.assertEqual({"room"}, {one["room"] for _, one, _ in self.notes.told})

    def test_notTold(self) -> None:
        """
        What the API has configured itself isn't told; other stanzas are left to others.
        """
        configured = f"<x xmlns='{LIGHT}#configuration'><roomname>x</roomname></x><body/>"
        self.assertTrue(self.hear(configured, used="restbridge-untold-1"))
        self.assertFalse(self.hear("<body>x</body>", "room@elsewhere.example.com/bob"))
        self.assertFalse(self.hear("<body>x</body>", kind="chat"))
        self.assertFalse(self.link.hear(f"<presence from='{ROOM}/bob'/>"))
        self.assertEqual([], self.notes.told)


class Silent(Login):
    """
    A login whose server doesn't say which rooms there are.
    """

    def request(self, iq: Element, timeout: float) -> Deferred[Element]:
        self.awaited.append(Deferred())
        return self.awaited[-1]


class PatienceTests(EventsCase):
    def test_slow(self) -> None:
        """
        A stream waits for the rooms a little, and then begins without them; what comes meanwhile is brought.
        """
        self.users.link = self.login = Silent()
        client = Client(self.site)
        client.begin("GET", "/api/sse", basic(ALICE))
        self.assertEqual(b"", client.transport.value())
        self.receive(message("meanwhile", "1"))
        self.clock.advance(PATIENCE)
        value = client.transport.value()
        self.assertIn(b"200 OK", value)
        self.assertIn(b"meanwhile", value)
