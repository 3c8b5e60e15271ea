"""
L{restbridge.clientapi.missed} and L{restbridge.clientapi.ledger}: who comes back with Last-Event-ID has what
happened in rooms exactly once, in the order of each.
"""

from __future__ import annotations

import random
from typing import Any, cast

from restbridge.boundaries import UserLink
from restbridge.clientapi import missed
from restbridge.clientapi.api import ClientAPI
from restbridge.clientapi.event import EventId
from restbridge.clientapi.events import Events
from restbridge.clientapi.groupchat import AT_ONCE
from restbridge.clientapi.ledger import MAX_MARKS, RECENT, TOLERANCE, Known, Ledger, markOf
from restbridge.clientapi.missed import Missed
from restbridge.clientapi.rooms import Rooms
from restbridge.config import HTTP
from restbridge.web.guard import Guard
from restbridge.web.routes import Routed
from restbridge.web.site import BridgeSite
from tests.clientapi.eventscase import EventsCase, Listener, Read
from tests.clientapi.town import DOMAIN, Citizen, Service, Town
from tests.web.client import FakeUsers
from tests.web.keys import once

OWN = "alice@example.com"
SECONDS = 1_000_000
MAX_ID = 4096


class _Rooms(Rooms):
    """
    Those of a service that the test has made.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    async def follow(self, link: UserLink) -> Missed | None:
        return Missed(link=link, service=cast(Any, self._service))


class MissedCase(EventsCase):
    """
    A bridge whose user lives in a town.
    """

    names: tuple[str, ...] = ("tea", "milk", "sugar")

    def setUp(self) -> None:
        self.town: Town | None = None
        super().setUp()
        self.town = self.built()
        self.login = Citizen(self.town)
        self.service = Service(self.town, lambda: self.events, self.clock)
        self.start()

    def built(self) -> Town:
        return Town(self.clock, *self.names)

    def start(self) -> None:
        """
        Start a bridge, with nothing of what another may have known.
        """
        if self.town is None:
            return
        self.users = FakeUsers(self.login)
        self.events = Events(clock=self.clock)
        api = ClientAPI(
            guard=Guard(accounts=None, users=self.users),
            events=self.events,
            rooms=_Rooms(self.service),
            once=once(),
        )
        self.site = BridgeSite(settings=HTTP(), mounts={b"api": Routed(api)})

    @property
    def citizen(self) -> Citizen:
        assert isinstance(self.login, Citizen)
        return self.login

    def restart(self) -> None:
        """
        Bridge and server are there again, with nothing of what they knew but archives and store.
        """
        assert self.town is not None
        ended, self.login = self.citizen, Citizen(self.town)
        self.login.archive = ended.archive
        ended.end()
        self.start()

    def back(self, lastId: str | None) -> Listener:
        """
        Come back, and wait for what was missed.
        """
        listener = self.listen(lastId)
        self.settle()
        return listener


def told(events: list[Read], room: str) -> list[str]:
    """
    What was told of a room: texts, and ids of changes.
    """
    return [
        str(event.data.get("body", event.data["id"]))
        for event in events
        if event.name == "room.message" and event.data["room"] == room
    ]


class ReplayTests(MissedCase):
    def test_missed(self) -> None:
        """
        What was said and changed meanwhile comes in its order, as the history has it, before what comes now.
        """
        listener = self.listen()
        self.service.say("tea")
        listener.client.leave()
        self.clock.advance(3600)
        self.service.say("tea")
        self.clock.advance(1)
        self.service.change("tea")
        self.clock.advance(1)
        self.service.say("milk")
        self.service.say("tea")
        self.restart()
        again = self.listen(listener.lastId)
        self.service.say("tea")
        self.settle()
        self.assertEqual(["tea 1"], told(listener.events, "tea"))
        self.assertEqual(["tea 2", "c3", "tea 5", "tea 6"], told(again.events, "tea"))
        self.assertEqual(["milk 4"], told(again.events, "milk"))
        first, change = again.events[:2]
        moment = int((self.clock.seconds() - 2.51 - 2) * SECONDS)
        shown = {"type": "message", "id": "m2", "from": "bob@example.com", "body": "tea 2", "room": "tea"}
        self.assertEqual(shown, {key: value for key, value in first.data.items() if key != "timestamp"})
        self.assertAlmostEqual(moment, first.data["timestamp"], delta=2000)
        shown = {"type": "affiliation", "id": "c3", "from": f"tea@{DOMAIN}", "user": "kate@example.com"}
        shown |= {"affiliation": "member", "room": "tea"}
        self.assertEqual(shown, {key: value for key, value in change.data.items() if key != "timestamp"})
        self.assertAlmostEqual(moment + SECONDS, change.data["timestamp"], delta=2000)

    def test_nothingOld(self) -> None:
        """
        What happened before the first stream is no event, though it was a moment ago, and there is nothing to
        tell it by.
        """
        self.service.say("tea")
        self.service.change("milk")
        self.service.change("milk", OWN)
        listener = self.listen()
        self.service.say("sugar")
        listener.client.leave()
        self.restart()
        self.assertEqual([], self.back(listener.lastId).events)

    def test_oldIds(self) -> None:
        """
        An id of an earlier version brings one-to-one messages, and no rooms; what follows has ids that do.
        """
        self.service.say("tea")
        self.miss("known", "missed")
        old = str(EventId(moment=int(self.clock.seconds() * SECONDS), number=0, complete=0, archived="known"))
        self.assertNotIn(":", old)
        listener = self.back(old)
        self.assertEqual(["missed"], listener.texts)
        listener.client.leave()
        self.service.say("tea")
        self.assertEqual(["tea 2"], self.back(listener.lastId).texts)

    def test_ownAndRooms(self) -> None:
        """
        One-to-one messages come in between, and neither makes the other come twice or not at all.
        """
        listener = self.listen()
        self.say("one")
        self.service.say("tea")
        self.say("two")
        self.service.say("milk")
        ids = [event.id for event in listener.events]
        everything = ["one", "tea 1", "two", "milk 2"]
        self.assertEqual(everything, listener.texts)
        for place, lastId in enumerate(ids):
            self.restart()
            self.assertEqual(sorted(everything[place + 1 :]), sorted(self.back(lastId).texts))

    def test_liveMeanwhile(self) -> None:
        """
        While rooms are still asked one-to-one messages come at once; what is said in rooms comes behind what
        was missed there.
        """
        listener = self.listen()
        self.service.say("tea")
        listener.client.leave()
        self.service.say("tea")
        self.citizen.pausing = True
        again = self.back(listener.lastId)
        self.say("hello")
        self.service.say("tea")
        self.assertEqual(["hello"], again.texts)
        self.citizen.pausing = False
        while self.citizen.reply():
            pass
        self.assertEqual(["hello", "tea 2", "tea 3"], again.texts)

    def test_ownMeanwhile(self) -> None:
        """
        The id of a one-to-one message that comes before the rooms are caught up with knows no more of these.
        """
        for pause in (1, 3600):
            listener = self.listen()
            self.say(f"known {pause}")
            self.service.say("tea")
            listener.client.leave()
            self.clock.advance(pause)
            self.service.say("tea")
            self.clock.advance(pause)
            self.miss(f"missed {pause}")
            self.citizen.pausing = True
            again = self.back(listener.lastId)
            self.say(f"hello {pause}")
            self.assertEqual([f"missed {pause}", f"hello {pause}"], again.texts)
            again.client.leave()
            for event in again.events:
                self.restart()
                (said,) = told(self.back(event.id).events, "tea")
                assert self.town is not None
                self.assertEqual(self.town.said["tea"][-1], said)

    def test_unarchived(self) -> None:
        """
        What no archive holds comes only as it happens, and changes nothing for what is archived.
        """
        listener = self.listen()
        for archived in (True, False):
            self.service.say("tea", archived=archived)
        self.assertEqual(["tea 1", "tea 2"], listener.texts)
        listener.client.leave()
        self.restart()
        self.service.say("tea")
        self.assertEqual(["tea 3"], self.back(listener.lastId).texts)

    def test_added(self) -> None:
        """
        Who was added meanwhile is told so, and what was said from then on; who was removed is told that, too.
        """
        listener = self.listen()
        self.service.say("tea")
        listener.client.leave()
        for room, affiliation in (("milk", "member"), ("sugar", "none")):
            self.service.say(room)
            self.clock.advance(1)
            self.service.change(room, OWN, affiliation)
            self.service.change(room)
            self.clock.advance(1)
            self.service.say(room)
        self.service.entered = [room for room in self.service.entered if room.local != "sugar"]
        again = self.back(listener.lastId)
        self.assertEqual(["c3", "c4", "milk 5"], told(again.events, "milk"))
        self.assertEqual(["c7"], told(again.events, "sugar"))

    def test_addedBefore(self) -> None:
        """
        Who was added while listening, and comes back behind that, isn't told what was said before, either.
        """
        assert self.town is not None
        listener = self.listen()
        self.town.say("milk")
        self.service.change("milk", OWN)
        listener.client.leave()
        self.restart()
        self.service.say("milk")
        self.service.change("milk", OWN, "none")
        self.service.say("milk")
        self.service.change("milk", OWN)
        self.service.say("milk")
        again = self.back(listener.lastId)
        self.assertEqual(["c2"], told(listener.events, "milk"))
        self.assertEqual(["milk 3", "c4", "c6", "milk 7"], told(again.events, "milk"))
        third = self.back(again.events[2].id)
        self.assertEqual(["milk 7"], told(third.events, "milk"))

    def test_unreadable(self) -> None:
        """
        A room whose archive can't be read is no end of the others, nor of the stream.
        """
        listener = self.listen()
        self.service.say("tea")
        listener.client.leave()
        self.citizen.closed.add(self.service.entered[1])
        for name in self.names:
            self.service.say(name)
        again = self.back(listener.lastId)
        self.assertEqual(["tea 2", "sugar 4"], again.texts)
        self.service.say("milk")
        self.assertEqual("milk 5", again.texts[-1])
        self.assertFalse(again.ended)

    def test_gone(self) -> None:
        """
        A client that leaves meanwhile takes nothing along, nor does a login that ends.
        """
        listener = self.listen()
        self.service.say("tea")
        listener.client.leave()
        self.service.say("tea")
        self.citizen.pausing = True
        self.back(listener.lastId).client.leave()
        waiting = self.back(listener.lastId)
        self.restart()
        self.assertTrue(waiting.ended)
        self.assertEqual(["tea 2"], self.back(listener.lastId).texts)

    def test_slowReader(self) -> None:
        """
        What was missed comes as the client reads, and no more than a little waits for it.
        """
        listener = self.listen()
        self.service.say("tea")
        listener.client.leave()
        self.clock.advance(3600)
        for _ in range(200):
            self.service.say("tea")
        queries = self.citizen.queries
        again = self.listen(listener.lastId)
        again.pause()
        self.settle()
        # Each room once, and the first page.
        self.assertEqual(queries + 4, self.citizen.queries)
        again.resume()
        self.assertEqual([f"tea {n}" for n in range(2, 202)], again.texts)

    def test_large(self) -> None:
        """
        Of a page of large messages few wait; the others are asked for again.
        """
        self.patch(missed, "MAX_BYTES", 1)
        listener = self.listen()
        self.service.say("tea")
        listener.client.leave()
        for _ in range(5):
            self.service.say("tea")
            self.service.change("tea")
        queries = self.citizen.queries
        again = self.back(listener.lastId)
        assert self.town is not None
        self.assertEqual(self.town.said["tea"][1:], told(again.events, "tea"))
        self.assertEqual(queries + 3 + 5, self.citizen.queries)


class ManyTests(MissedCase):
    names = tuple(f"room{n}" for n in range(100))

    def test_many(self) -> None:
        """
        Many rooms are asked a few at once, and an id is short however many there are.
        """
        listener = self.listen()
        for name in self.names:
            self.service.say(name)
            self.service.change(name)
        listener.client.leave()
        self.restart()
        for name in self.names:
            self.service.say(name)
        self.citizen.pausing = True
        again = self.back(listener.lastId)
        self.assertEqual(AT_ONCE, self.citizen.most)
        while self.citizen.reply():
            pass
        for name in self.names:
            events = [*listener.events, *again.events]
            self.assertEqual(self.town_.said[name], told(events, name))
        self.assertLess(max(len(event.id) for event in [*listener.events, *again.events]), MAX_ID)

    def test_quiet(self) -> None:
        """
        A room in which nothing happened lately adds nothing to an id.
        """
        for name in self.names:
            self.service.say(name)
        self.clock.advance((RECENT + 2 * TOLERANCE) / SECONDS)
        listener = self.listen()
        self.service.say("room1")
        self.assertLess(len(listener.lastId), 100)

    @property
    def town_(self) -> Town:
        assert self.town is not None
        return self.town


class OnceTests(MissedCase):
    """
    However it happens, and wherever it is cut.
    """

    skew = 0.0
    wholeSeconds = False
    tellsIds = True
    seeds = range(15)

    def built(self) -> Town:
        town = super().built()
        town.skew, town.wholeSeconds, town.tellsIds = self.skew, self.wholeSeconds, self.tellsIds
        return town

    def test_eachPlace(self) -> None:
        """
        Each event's id brings exactly what came after it, also a second time.
        """
        self.service.say("tea")
        listener = self.listen()
        for turn in range(4):
            for name in self.names:
                self.service.say(name)
                if turn % 2:
                    self.service.change(name)
            self.clock.advance((0, 0.0001, 30, 70)[turn])
        live = [told(listener.events, name) for name in self.names]
        for place, event in enumerate(listener.events):
            self.restart()
            again = self.back(event.id)
            self._assertWhole([*listener.events[: place + 1], *again.events], live)
            for further, replayed in enumerate(again.events[::5]):
                self.restart()
                third = self.back(replayed.id)
                events = [*listener.events[: place + 1], *again.events[: further * 5 + 1], *third.events]
                self._assertWhole(events, live)

    def _assertWhole(self, events: list[Read], wanted: list[list[str]]) -> None:
        self.assertEqual(wanted, [told(events, name) for name in self.names])

    def test_any(self) -> None:
        """
        Whatever happens, whenever, while the client is there, away, or coming back.
        """
        for seed in self.seeds:
            self.setUp()
            found = Course(self, random.Random(seed)).run()
            self.assertEqual(self.wanted, found, seed)

    def test_anyPages(self) -> None:
        """
        So it is over many pages. A change may stand a little before the message that it came after, if that
        is on another page.
        """
        for seed in self.seeds:
            self.setUp()
            assert self.town is not None
            self.town.pageSize = 3
            found = Course(self, random.Random(seed)).run()
            for wanted, events in zip(self.wanted, found, strict=True):
                self.assertEqual(sorted(wanted), sorted(events), seed)
                self.assertEqual(_texts(wanted), _texts(events), seed)

    @property
    def wanted(self) -> list[list[str]]:
        """
        What there was to tell of each room, but for the first, which was said before.
        """
        assert self.town is not None
        first, *others = self.town.said.values()
        return [first[1:], *others]


def _texts(events: list[str]) -> list[str]:
    return [event for event in events if " " in event]


class OnceBySecondsTests(OnceTests):
    """
    With an archive that knows no more than the second, as Prosody's.
    """

    wholeSeconds = True


class OnceAheadTests(OnceTests):
    """
    With a server whose clock is ahead.
    """

    skew = 50.0


class OnceBehindTests(OnceTests):
    """
    With one whose clock is behind.
    """

    skew = -50.0


class OnceUntoldTests(OnceTests):
    """
    With rooms that don't tell what they archive a message as.
    """

    tellsIds = False


class Course:
    """
    One course of events, and what the client makes of it.
    """

    def __init__(self, case: OnceTests, dice: random.Random) -> None:
        self._case = case
        self._dice = dice
        self._seen: list[Read] = []
        case.service.say("tea")
        self._listener = case.listen()
        # Without an event there is no id to come back with.
        case.service.say("milk")

    def run(self) -> list[list[str]]:
        """
        Let it happen; what was told of each room.
        """
        for _ in range(60):
            step = self._dice.choice((self._say, self._say, self._say, self._change, self._wait, self._cut))
            step()
        self._cut()
        self._case.citizen.pausing = False
        while self._case.citizen.reply():
            pass
        self._case.settle()
        self._seen += self._listener.events
        return [told(self._seen, name) for name in self._case.names]

    def _say(self) -> None:
        self._case.service.say(self._dice.choice(self._case.names))

    def _change(self) -> None:
        self._case.service.change(self._dice.choice(self._case.names))

    def _wait(self) -> None:
        self._case.clock.advance(self._dice.choice((0, 0.0003, 0.4, 3, 20, 61, 200, 4000)))
        if self._dice.random() < 0.5:
            self._case.citizen.reply()

    def _cut(self) -> None:
        events = self._listener.events
        self._listener.client.leave()
        # What was under way at the end is lost.
        had = events[: self._dice.randint(0, len(events))] if self._seen else events
        self._seen += had
        for _ in range(self._dice.randint(0, 3)):
            self._dice.choice((self._say, self._change, self._wait))()
        if self._dice.random() < 0.5:
            self._case.restart()
        self._case.citizen.pausing = self._dice.random() < 0.5
        self._listener = self._case.listen(self._seen[-1].id)


class LedgerTests(EventsCase):
    def test_written(self) -> None:
        """
        What an id says of rooms is read as it was written; what isn't ours is none.
        """
        known = Known(until=12, marks=frozenset(map(markOf, ("a", "b\n", "\u00fc"))))
        for each in (known, Known(until=12), None):
            written = EventId(moment=1, number=2, complete=3, archived="a-b:c", known=each)
            self.assertRegex(str(written), r"^[!-~]+$")
            self.assertEqual(written, EventId.parse(str(written)))
        for foreign in ("1-2-3-a:", "1-2-3-a:1", "1-2-3-a:1:abc", "1-2-3-a:x:", "1-2-3-a:1::"):
            self.assertIsNone(EventId.parse(foreign))

    def test_bounded(self) -> None:
        """
        Of too many marks the oldest go, and of all those that time has made needless.
        """
        ledger = Ledger(Known(until=0))
        for number in range(MAX_MARKS + 5):
            ledger.note(f"slot{number}", number, f"key{number}")
        self.assertEqual(MAX_MARKS, len(ledger.known.marks))
        self.assertFalse(ledger.known.has("key4"))
        self.assertTrue(ledger.known.has("key5"))
        ledger.passed(RECENT + 10)
        self.assertFalse(ledger.known.has("key9"))
        self.assertTrue(ledger.known.has("key10"))
        ledger.suppose("old", 0, "old")
        ledger.passed(2 * RECENT)
        ledger.suppose("old", 0, "old")
        self.assertFalse(ledger.known.has("old"))
