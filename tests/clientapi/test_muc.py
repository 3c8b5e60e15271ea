"""
L{restbridge.clientapi.muc}: what the API makes of rooms with presence. The usual course of things is kept by
tests/live; here is what real servers don't do when asked.
"""

from __future__ import annotations

from typing import Any

from hypothesis import assume, given, settings
from hypothesis.strategies import booleans, lists, sampled_from, tuples
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish.domish import Element

from restbridge.clientapi import muc
from restbridge.clientapi.events import Events
from restbridge.clientapi.groupchat import STRANGER, Window
from restbridge.clientapi.history import Archived, Query, _Entry, _told
from restbridge.clientapi.muc import Muc
from restbridge.clientapi.muchistory import merged
from restbridge.clientapi.occupancy import Attendance
from restbridge.clientapi.roomevents import RoomEvents
from restbridge.stanzas.jid import JID
from restbridge.stanzas.xml import NS_CLIENT, parseDocument
from restbridge.store.rooms import Change, RoomStore
from restbridge.web.answer import Refusal
from tests.clientapi.roomlink import MUC, ROOM, RoomLink
from tests.store.fakes import MemoryStore

INFO = "http://jabber.org/protocol/disco#info"
ADMIN, OWNER = f"{MUC}#admin", f"{MUC}#owner"
FORM = "".join(
    f"<field var='{name}'/>"
    for name in ("muc#roomconfig_roomname", "muc#roomconfig_persistentroom", "muc#roomconfig_whois", "mam")
)
THERE = f"<query xmlns='{INFO}'><identity name='The name'/><feature var='muc_membersonly'/></query>"


class MucTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.room = JID.parse(ROOM)
        self.store = RoomStore(MemoryStore())
        self.clock = Clock()
        self.link = RoomLink()
        self.link.says[INFO] = THERE
        self.link.says[ADMIN] = f"<query xmlns='{ADMIN}'/>"
        self.link.says[OWNER] = (
            f"<query xmlns='{OWNER}'><x xmlns='jabber:x:data' type='form'>{FORM}</x></query>"
        )
        events = RoomEvents(events=Events(clock=self.clock), clock=self.clock)
        attendance = Attendance(clock=self.clock, audience=events)
        self.muc = Muc(
            "rooms.example.com", attendance=attendance, events=events, store=self.store, clock=self.clock
        )

    def run_(self, work: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(work)

    def done(self, work: Any) -> Any:
        return self.successResultOf(self.run_(work))

    def assertRefused(self, running: Deferred[Any], status: int, text: str) -> None:
        refusal = self.failureResultOf(running, Refusal).value
        self.assertEqual((status, text), (refusal.status, refusal.text))

    def listing(self, **affiliations: str) -> None:
        """
        Have the room tell affiliations.
        """
        self.link.affiliations = affiliations

    def message(self) -> Element:
        return parseDocument(f"<message xmlns='{NS_CLIENT}' id='m'><body>x</body></message>".encode())

    def presences(self) -> list[str]:
        return [stanza.getAttribute("type", "") for stanza in self.link.sent if stanza.name == "presence"]


class MakingTests(MucTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.link.says[INFO] = "item-not-found"

    def create(self) -> Deferred[Any]:
        return self.run_(self.muc.create(self.link, self.room, "Name", ""))

    def test_fields(self) -> None:
        """
        Of what is wanted only those fields are submitted that the room has.
        """
        creating = self.create()
        self.link.letIn("owner", codes="110 201")
        self.successResultOf(creating)
        submitted = self.link.asked(OWNER)[-1]
        fields = {field["var"]: str(field.value) for field in submitted.x.elements("jabber:x:data", "field")}
        self.assertEqual(
            {
                "FORM_TYPE": f"{MUC}#roomconfig",
                "muc#roomconfig_persistentroom": "1",
                "muc#roomconfig_whois": "anyone",
                "mam": "1",
                "muc#roomconfig_roomname": "Name",
            },
            fields,
        )
        self.assertEqual([self.room], self.done(self.store.of(JID.parse("alice@example.com"))))

    def test_twiceAtOnce(self) -> None:
        """
        Of two requests for the same room one makes it.
        """
        first, second = self.create(), self.create()
        self.link.letIn("owner", codes="110 201")
        self.successResultOf(first)
        self.assertRefused(second, 403, "Room already exists")
        self.assertEqual([""], self.presences())

    def test_anotherWasQuicker(self) -> None:
        """
        A room that somebody else made a moment ago is left.
        """
        creating = self.create()
        self.link.letIn("none")
        self.assertRefused(creating, 403, "Room already exists")
        self.assertEqual(["", "unavailable"], self.presences())

    def test_notConfigurable(self) -> None:
        """
        A room that can't be configured is not left behind.
        """
        creating = self.create()
        self.link.says[OWNER] = "forbidden"
        self.link.letIn("owner", codes="110 201")
        self.assertIn(self.failureResultOf(creating, Refusal).value.status, (403, 503))
        self.assertEqual([], self.done(self.store.of(JID.parse("alice@example.com"))))

    def test_notAllowed(self) -> None:
        """
        Where users may not make rooms that is said; an address that is blocked is one of a room.
        """
        for condition, text in (
            ("not-allowed", "Given user does not have permission to create rooms"),
            ("gone", "Room already exists"),
            ("item-not-found", "Room already exists"),
            ("registration-required", "Room already exists"),
        ):
            creating = self.create()
            presence = self.link.sent[-1]
            self.link.hear(
                f"<presence from='{presence['to']}' type='error' id='{presence['id']}'><error type='cancel'>"
                f"<{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>"
            )
            self.assertRefused(creating, 403, text)


class EnteringTests(MucTestCase):
    def send(self) -> Deferred[Any]:
        return self.run_(self.muc.send(self.link, self.room, self.message()))

    def test_notMade(self) -> None:
        """
        A room that has vanished between look and leap is not made by the leap.
        """
        sending = self.send()
        self.link.letIn("owner", codes="110 201")
        self.assertRefused(sending, 404, "Room not found")
        self.assertIsNotNone(self.link.asked(OWNER)[-1].destroy)

    def test_noMember(self) -> None:
        """
        A room that lets everybody in is none that everybody has a place in.
        """
        sending = self.send()
        self.link.letIn("none")
        self.assertRefused(sending, 403, STRANGER)
        self.assertEqual(["", "unavailable"], self.presences())

    def test_forgotten(self) -> None:
        """
        A room that has forgotten its occupants is entered again, once.
        """
        sending = self.send()
        self.link.letIn()
        error = (
            f"<message from='{ROOM}' type='error' id='m'><error type='cancel'>"
            "<not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
        )
        self.link.hear(error)
        self.assertNoResult(sending)
        self.link.letIn()
        self.assertEqual("m", self.link.sent[-1]["id"])
        self.link.hear(error)
        self.assertIn("not-acceptable", self.failureResultOf(sending, Refusal).value.text)

    def test_departed(self) -> None:
        """
        Who has left, as far as this API goes, doesn't come back by speaking.
        """
        left = Change(time=1, user="alice@example.com", affiliation="none", id="x", after="")
        self.done(self.store.record(self.room, left, departed=True))
        self.assertRefused(self.send(), 403, STRANGER)
        self.assertEqual([], self.presences())


class MissingTests(MucTestCase):
    """
    What is told to who was away.
    """

    def test_shown(self) -> None:
        """
        Of a room's archive what the history shows, but for what the room itself has said.
        """
        for sender, wanted in ((f"{ROOM}/bob", {"type": "message", "id": "m", "body": "x"}), (ROOM, None)):
            start = f"<message xmlns='{NS_CLIENT}' id='m' type='groupchat' from='{sender}'>"
            xml = f"{start}<body>x</body></message>"
            found = self.muc.shown(Archived(id="1", timestamp=5, message=parseDocument(xml.encode())))
            self.assertEqual(wanted and {**wanted, "from": sender, "timestamp": 5}, found)

    def test_heard(self) -> None:
        """
        One hears the rooms that one is in; not those that one is about to enter.
        """
        self.listing(alice="owner")
        entering = self.run_(self.muc.details(self.link, self.room))
        self.assertEqual([], self.done(self.muc.heard(self.link)))
        self.link.letIn("owner")
        self.successResultOf(entering)
        self.assertEqual([self.room], self.done(self.muc.heard(self.link)))

    def test_changes(self) -> None:
        """
        One's own changes are those in rooms of this service.
        """
        left = Change(time=7, user="alice@example.com", affiliation="none", id="x", after="")
        elsewhere = JID.parse("room@elsewhere.example.com")
        for room in (self.room, elsewhere):
            self.done(self.store.record(room, left))
        self.assertEqual([left], self.done(self.muc.changes(self.room, 7, 0, 9)))
        own = JID.parse("alice@example.com")
        self.assertEqual([(self.room, left)], self.done(self.muc.changesOf(own, 7, 9)))


class LookingTests(MucTestCase):
    def details(self) -> Deferred[Any]:
        return self.run_(self.muc.details(self.link, self.room))

    def test_unlisted(self) -> None:
        """
        In a room of members that hides its lists one knows oneself.
        """
        self.link.says[ADMIN] = "forbidden"
        looking = self.details()
        self.link.letIn("admin", "Tea")
        found = self.successResultOf(looking)
        self.assertEqual(({"alice@example.com": "member"}, "Tea"), (found.participants, found.subject))

    def test_open(self) -> None:
        """
        A room that is not for members alone, and hides its lists, is not even entered.
        """
        self.link.says[ADMIN] = "forbidden"
        self.link.says[INFO] = f"<query xmlns='{INFO}'/>"
        self.assertRefused(self.details(), 403, STRANGER)
        self.assertEqual([], self.presences())

    def test_trouble(self) -> None:
        """
        What is neither absence nor a ban is said as it is, also for a list of rooms.
        """
        self.done(self.store.begin(self.room, JID.parse("alice@example.com")))
        self.link.says[ADMIN] = "resource-constraint"
        for running in (self.details(), self.run_(self.muc.listed(self.link))):
            self.assertRefused(running, 503, "The room can't be used: resource-constraint")

    def test_malformed(self) -> None:
        """
        A room or user that the server takes for no address is said to be invalid; as for a room, of those in
        a list it is passed over.
        """
        self.done(self.store.begin(self.room, JID.parse("alice@example.com")))
        for condition in ("jid-malformed", "bad-request"):
            self.link.says[INFO] = condition
            self.assertRefused(self.details(), 400, "Invalid room ID")
            self.assertEqual([], self.done(self.muc.listed(self.link)))
        self.listing(alice="owner")
        self.link.says[INFO] = THERE
        for condition in ("jid-malformed", "bad-request"):
            self.link.says[ADMIN] = condition
            adding = self.run_(self.muc.add(self.link, self.room, JID.parse("x@example.com")))
            self.assertRefused(adding, 400, "Invalid user JID: x@example.com")

    def test_bookmarks(self) -> None:
        """
        What is no room in the bookmarks is passed over.
        """
        self.listing(alice="owner")
        self.link.says["http://jabber.org/protocol/pubsub"] = (
            "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:bookmarks:1'>"
            f"<item id='@@'/><item/><item id='x@elsewhere.example'/><item id='{ROOM}'/></items></pubsub>"
        )
        listing = self.run_(self.muc.listed(self.link))
        self.link.letIn("owner")
        self.assertEqual([self.room], [found.address for found in self.successResultOf(listing)])


class DepartureTests(MucTestCase):
    def test_seemsAlone(self) -> None:
        """
        A member who can't see the others doesn't end the room by leaving it.
        """
        self.link.says[ADMIN] = "forbidden"
        leaving = self.run_(self.muc.remove(self.link, self.room, JID.parse("alice@example.com")))
        self.link.letIn("member")
        self.successResultOf(leaving)
        self.assertEqual([], self.link.asked(OWNER))
        self.assertEqual({"alice@example.com"}, self.done(self.store.departed(self.room)))
        self.assertEqual(["", "unavailable"], self.presences())

    def test_told(self) -> None:
        """
        The next owner who comes along tells the room who has left; until then they are not shown.
        """
        left = Change(time=1, user="bob@example.com", affiliation="none", id="x", after="")
        self.done(self.store.record(self.room, left, departed=True))
        self.listing(alice="member", bob="member")
        self.done(self.muc.history(self.link, self.room, Window(before=None, limit=0)))
        self.assertEqual({"bob@example.com"}, self.done(self.store.departed(self.room)))
        self.listing(alice="owner", bob="member")
        self.done(self.muc.history(self.link, self.room, Window(before=None, limit=0)))
        told = [payload.item for payload in self.link.asked(ADMIN) if payload.item.hasAttribute("jid")]
        self.assertEqual([("bob@example.com", "none")], [(one["jid"], one["affiliation"]) for one in told])
        self.assertEqual(set(), self.done(self.store.departed(self.room)))


def said(archived: str, time: int) -> dict[str, Any]:
    return {"archived": archived, "type": "message", "timestamp": time}


def changed(number: int, after: str, time: int) -> Change:
    return Change(
        time=time, user=f"u{number}@example.com", affiliation="member", id=f"c{number}", after=after
    )


class HistoryTests(MucTestCase):
    @settings(deadline=None, max_examples=200)
    @given(
        moments=lists(tuples(sampled_from((1, 5, 50, 300, 900, 2500)), booleans()), min_size=4, max_size=25),
        wholeSeconds=booleans(),
        ahead=sampled_from((-1500, 0, 200, 1500)),
        limit=sampled_from((1, 2, 3, 7)),
    )
    def test_walk(self, moments: list[tuple[int, bool]], wholeSeconds: bool, ahead: int, limit: int) -> None:
        """
        Who goes back from page to page sees each item once, whatever the clocks of archive and bridge say.

        @param moments: milliseconds since the one before, and whether a message came then, or a change.
        @param ahead: the bridge's clock, in milliseconds.
        """
        self.setUp()
        self.patch(muc, "newest", self._newest)
        self.listing(alice="owner")
        self._messages: list[_Entry] = []
        now, latest = 100_000, 0
        for number, (later, isMessage) in enumerate(moments):
            now += later
            if isMessage:
                time = now // 1000 * 1000 if wholeSeconds else now
                self._messages.append(_Entry(time, said(f"m{number}", time) | {"id": f"m{number}"}))
                latest = self._told()[-1]["timestamp"]
            else:
                after = self._told()[-1]["archived"] if latest else ""
                self.record(changed(number, after, max(now + ahead, latest + 1)))
        whole = self.page(None, 500)
        self.assertEqual(len(moments), len(whole))
        times = [item["timestamp"] for item in whole]
        self.assertEqual(sorted(times), times)
        assume(len(set(times)) == len(times))
        walked: list[dict[str, Any]] = []
        page = self.page(None, limit)
        while page:
            walked = page + walked
            page = self.page(page[0]["timestamp"], limit)
        self.assertEqual(whole, walked)

    def record(self, change: Change) -> None:
        self.done(self.store.record(self.room, change))

    def page(self, before: int | None, limit: int) -> list[dict[str, Any]]:
        """
        A page of the history.
        """
        window = Window(before=before, limit=limit)
        found: list[dict[str, Any]] = self.done(self.muc.history(self.link, self.room, window))
        return found

    def _told(self) -> list[dict[str, Any]]:
        return _told(self._messages, None, complete=True)

    async def _newest(self, link: object, query: Query, item: object, timeout: float) -> list[dict[str, Any]]:
        """
        What the archive holds.
        """
        found = [one for one in self._told() if query.before is None or one["timestamp"] < query.before]
        return found[-query.limit :]


class MergingTests(SynchronousTestCase):
    def order(
        self, messages: list[dict[str, Any]], changes: list[Change], *, first: bool = True, last: bool = True
    ) -> list[tuple[str, int]]:
        found = merged(messages, changes, JID.parse(ROOM), first=first, last=last)
        self.assertTrue(all("archived" not in item for item in found))
        return [(item.get("id", "-"), item["timestamp"]) for item in found]

    def test_between(self) -> None:
        """
        A change comes between the messages that it came between, whatever the clocks say.
        """
        found = self.order(
            [said("1", 10_000), said("2", 10_002), said("3", 11_000), said("4", 12_000)],
            [
                changed(1, "", 9_500),
                changed(2, "1", 10_700),
                changed(3, "1", 10_800),
                changed(4, "2", 10_500),
                changed(5, "3", 9_000),
                changed(6, "3", 9_001),
                changed(7, "4", 12_345),
            ],
        )
        wanted = [
            ("c1", 9_500),
            ("-", 10_000),
            ("c2", 10_001),
            ("c3", 10_001),
            ("-", 10_002),
            ("c4", 10_500),
            ("-", 11_000),
            ("c5", 11_001),
            ("c6", 11_002),
            ("-", 12_000),
            ("c7", 12_345),
        ]
        self.assertEqual(wanted, found)

    def test_elsewhere(self) -> None:
        """
        A change after a message that is no more comes where its own time is; not where that message may be
        another one that is not known, unless it comes first.
        """
        messages = [said("7", 5), said("8", 10)]
        changes = [changed(1, "", 1), changed(2, "6", 2), changed(3, "x", 7), changed(4, "y", 11)]
        known = [("c1", 1), ("c2", 2), ("-", 5), ("c3", 7), ("-", 10)]
        self.assertEqual([*known, ("c4", 11)], self.order(messages, changes))
        self.assertEqual(known, self.order(messages, changes, last=False))
        self.assertEqual(known[:3] + known[4:], self.order(messages, changes, first=False))
        self.assertEqual([("c1", 1)], self.order([], [changed(1, "6", 1)]))

    def test_apart(self) -> None:
        """
        Changes at the same time are told one after another where there is room.
        """
        changes = [changed(number, "", 9) for number in range(3)]
        self.assertEqual([("c0", 7), ("c1", 8), ("c2", 9), ("-", 10)], self.order([said("1", 10)], changes))
