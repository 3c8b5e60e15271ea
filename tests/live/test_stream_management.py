"""
Logins of users on streams that the server manages (XEP-0198): they outlive their connections, and nothing is
lost or comes twice. And those on streams that it doesn't.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

from restbridge.clientapi.events import RETURN
from tests.live.bridge import Bridge, usersTable
from tests.live.case import LiveCase
from tests.live.client import Client, body, kind
from tests.live.client_api import jid
from tests.live.ejabberd import Ejabberd
from tests.live.eventsource import Event, EventSource
from tests.live.process import eventually
from tests.live.prosody import Prosody
from tests.live.relay import Filter, Wiretap
from tests.live.rooms import MUC, WithRooms
from tests.live.servers import HOST, ROOMS
from tests.live.test_client_events import Listening, WithStreams
from tests.live.test_sessions import SOON, askSilent
from tests.live.test_users import Sending, presence
from tests.live.users import PING, numbers, saying
from tests.live.web import Answer, asUser

IN_FLIGHT = 200
MANAGED = b"enable xmlns='urn:xmpp:sm:3'"


class Leaky(Wiretap):
    """
    A cable that may swallow what goes one way, until it is cut.
    """

    def __init__(self, port: int) -> None:
        self._swallows: str | None = None
        self._last: bytes | None = None
        super().__init__(port)

    def swallow(self, whose: str) -> None:
        """
        Pass on nothing more of what the C{client} or the C{server} says.
        """
        self._swallows = whose

    def swallowAnswer(self, said: bytes) -> None:
        """
        Pass on nothing of what the server says once a client has said this.
        """
        self._last = said

    def cut(self) -> None:
        super().cut()
        self._swallows = None

    def _fromClient(self) -> Filter:
        hear = super()._fromClient()

        def passed(data: bytes) -> bytes:
            heard = hear(data)
            if self._last is not None and self._last in data:
                self._swallows, self._last = "server", None
            return b"" if self._swallows == "client" else heard

        return passed

    def _fromServer(self) -> Filter:
        return lambda data: b"" if self._swallows == "server" else data


class Returning:
    """
    A client that comes back whenever its stream ends, with what it has seen last, as a browser does.
    """

    def __init__(self, port: int, name: str) -> None:
        self._port = port
        self._auth = asUser(name)
        self._enough = threading.Event()
        self._sources = [EventSource(port, self._auth)]
        self._thread = threading.Thread(target=self._return, daemon=True)
        self._thread.start()

    @property
    def seen(self) -> list[Event]:
        """
        All events so far, in their order.
        """
        return [event for source in self._sources for event in source.seen]

    @property
    def texts(self) -> list[str | None]:
        """
        Their texts.
        """
        return [event.body() for event in self.seen]

    @property
    def streams(self) -> int:
        """
        How many there were.
        """
        return len([source for source in self._sources if source.status == 200])

    def expect(self, text: str, timeout: float = 10.0) -> None:
        """
        Wait for a message with this text.
        """
        eventually(lambda: text in self.texts, f"the event {text!r}", timeout)

    def close(self) -> None:
        """
        Leave, and don't come back.
        """
        self._enough.set()
        self._sources[-1].close()
        self._thread.join(5)

    def _return(self) -> None:
        while not self._enough.is_set():
            source = self._sources[-1]
            source.expectEnd(600)
            if self._enough.is_set():
                return
            self._sources.append(EventSource(self._port, self._auth, source.lastId))


class WithCable(Listening):
    """
    A bridge whose users reach the server by a cable that can be cut.

    @ivar cable: hears what the bridge says.
    @ivar bob: writes.
    """

    def setUp(self) -> None:
        super().setUp()
        self.cable = Leaky(self.server.c2sPort)
        self.addCleanup(self.cable.close)
        self.bridge = self.usersBridge(users={HOST: usersTable(self.cable.port)})
        self.bob: Client = self.login("bob")

    def heard(self, element: bytes) -> int:
        """
        How often the bridge has begun an element.
        """
        return self.cable.sent().count(b"<" + element + b" ")

    def cut(self, name: str) -> str:
        """
        Cut the cable, and wait until the bridge has noticed.

        @return: the address that the user's session had.
        """
        full = self.fullJid(name)
        self.cable.cut()
        return full

    def returning(self, name: str) -> Returning:
        """
        A user's client.
        """
        client = Returning(self.bridge.port, name)
        self.addCleanup(client.close)
        return client

    def mustServe(self, name: str) -> None:
        """
        Wait until a user is served again.
        """
        eventually(lambda: self.ping(name).status == 200, "the user to be served")

    def write(self, name: str, *texts: str) -> None:
        """
        Have bob write to a user, and wait until the server has taken it.
        """
        for text in texts:
            self.bob.message(jid(name), text)
        self.bob.request("localhost", PING)


class Acknowledged(WithCable):
    """
    While the connection stands.
    """

    def testSent(self) -> None:
        """
        Whatever is sent at once is taken once each, or refused with the server's words; the server is asked
        now and then what it has handled.
        """
        name = self.newUser()
        auth = asUser(name)

        def send(number: int) -> Answer:
            to = "nobody" if number % 10 == 0 else "bob"
            return self.bridge.post(f"/rest/message/chat/{to}@{HOST}", f"n{number}", "text/plain", auth=auth)

        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(send, range(IN_FLIGHT)))
        refused = {number for number, answer in enumerate(answers) if answer.status == 200}
        self.assertEqual(set(range(0, IN_FLIGHT, 10)), refused)
        self.assertEqual({202}, {answer.status for answer in answers} - {200})
        self.bob.expect(saying(f"n{IN_FLIGHT - 1}"))
        self.bob.request("localhost", PING)
        arrived = self.bob.mailbox.all(lambda one: (body(one) or "").startswith("n"))
        self.assertEqual(IN_FLIGHT * 9 // 10 - 1, len(arrived))
        self.assertEqual(1, self.heard(MANAGED))
        self.assertGreater(self.heard(b"r"), 1)
        self.assertLess(self.heard(b"r"), IN_FLIGHT)


class Broken(WithCable):
    """
    When the connection breaks.
    """

    def testInFlight(self) -> None:
        """
        A request that waits gets 503 at once; the next one goes on with the session that there was.
        """
        name = self.newUser()
        self.bob.keepSilent()
        full = self.fullJid(name)
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(askSilent, self.bridge, name, self.bob, 30)
            self.bob.expect(lambda one: kind(one) == "iq" and one.get("type") == "get")
            self.cable.cut()
            self.assertUnavailable(waiting.result(SOON))
        self.assertEqual(200, self.ping(name).status)
        self.assertEqual(full, self.fullJid(name))
        self.assertEqual((2, 1, 1), (self.server.logins(name), self.heard(MANAGED), self.heard(b"resume")))

    def testAgain(self) -> None:
        """
        So it is as often as it breaks, also while much is under way: what was answered 202 arrives, what
        arrives came once.
        """
        name, enough = self.newUser(), threading.Event()
        auth = asUser(name)
        full = self.fullJid(name)
        statuses: dict[str, int] = {}

        def send() -> None:
            while not enough.is_set():
                text = f"{name} {next(numbers)}"
                path = f"/rest/message/chat/bob@{HOST}"
                statuses[text] = self.bridge.post(path, text, "text/plain", auth=auth).status

        threads = [threading.Thread(target=send, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            before = len(statuses)
            eventually(lambda before=before: len(statuses) > before + 40, "messages to flow")  # type: ignore[misc]
            self.cable.cut()
        enough.set()
        for thread in threads:
            thread.join(30)
        self.assertEqual(full, self.fullJid(name))
        self.write("bob", "the end")
        self.bob.expect(saying("the end"))
        arrived = [body(one) for one in self.bob.mailbox.all(lambda one: (body(one) or "").startswith(name))]
        self.assertEqual(len(set(arrived)), len(arrived), "some came twice")
        self.assertEqual(set(), {text for text, status in statuses.items() if status == 202} - set(arrived))
        self.assertEqual({202, 503}, set(statuses.values()))
        self.assertEqual(5, self.heard(b"resume"))

    def testRoom(self) -> None:
        """
        The session is still in its rooms.
        """
        name, room = self.newUser(), f"hall{next(numbers)}@{ROOMS}"
        auth = asUser(name)
        self.bob.send(f"<presence to='{room}/bob'><x xmlns='{MUC}'/></presence>")
        self.bob.expect(presence(f"{room}/bob"))
        submit = f"<query xmlns='{MUC}#owner'><x xmlns='jabber:x:data' type='submit'/></query>"
        self.bob.request(room, submit, "set")
        joining = f"<presence to='{room}/me'><x xmlns='{MUC}'/></presence>"
        self.bridge.post("/rest", joining, "application/xmpp+xml", auth=auth)
        self.bob.expect(presence(f"{room}/me"))
        self.cut(name)
        said = f"<message type='groupchat' to='{room}'><body>still here</body></message>"
        self.assertEqual(202, self.bridge.post("/rest", said, "application/xmpp+xml", auth=auth).status)
        self.assertEqual(f"{room}/me", self.bob.expect(saying("still here")).get("from"))

    def testServerRestarted(self) -> None:
        """
        A server that was restarted knows no session: there is a new one at once.
        """
        name = self.newUser()
        full = self.fullJid(name)
        self.server.restart()
        eventually(lambda: self.ping(name).status == 200, "the user to be served", 30, pause=0.2)
        self.assertNotEqual(full, self.fullJid(name))

    def testWrongPassword(self) -> None:
        """
        A session goes on for nobody who doesn't know the password.
        """
        name = self.newUser()
        full = self.cut(name)
        self.assertEqual(403, self.ping(name, "wrong").status)
        self.assertEqual(0, self.heard(b"resume"))
        self.assertEqual(full, self.fullJid(name))


class EventStreams(WithStreams, WithCable):
    """
    What an event stream sees of it, whose client comes back at once.
    """

    def assertNothingLeft(self, name: str, full: str) -> None:
        """
        The server has one session of the user, up to the end of the last stream, and nothing was sent back.
        """
        phone = self.device(name, -1, carbons=False)
        phone.expect(lambda one: kind(one) == "presence" and one.get("from") == full)
        phone.request("localhost", PING)
        self.assertEqual(set(), self._seen(phone))
        self.assertEqual([], self.bob.mailbox.all(lambda one: one.get("type") == "error"))

    def _seen(self, phone: Client) -> set[str]:
        """
        The user's other clients.
        """
        found = phone.mailbox.all(lambda one: kind(one) == "presence" and one.get("type") is None)
        return {one.get("from", "") for one in found} - {phone.jid}

    def testReturns(self) -> None:
        """
        The stream ends, its client comes back, the session goes on as it was; what was written meanwhile, to
        whatever address, comes once.
        """
        name = self.newUser()
        source = self.returning(name)
        self.write(name, "before")
        source.expect("before")
        full = self.fullJid(name)
        began = time.monotonic()
        self.cable.cut()
        self.bob.message(full, "away, to the session")
        self.write(name, "away")
        eventually(lambda: source.streams == 2, "the client to be back")
        self.assertLess(time.monotonic() - began, 1.5)
        source.expect("away")
        self.write(name, "after")
        source.expect("after")
        self.assertCountEqual(["before", "away, to the session", "away", "after"], source.texts)
        self.assertEqual((full, 2), (self.fullJid(name), source.streams))
        self.assertEqual((1, 1), (self.heard(MANAGED), self.heard(b"resume")))
        self.assertNothingLeft(name, full)

    def testFirst(self) -> None:
        """
        So it is for a client that has had no event yet, and has no id to come back with.
        """
        name = self.newUser()
        source = self.returning(name)
        full = self.cut(name)
        self.write(name, "away")
        source.expect("away")
        self.write(name, "after")
        source.expect("after")
        self.assertEqual(["away", "after"], source.texts)
        self.assertNothingLeft(name, full)

    def testSomebodyElse(self) -> None:
        """
        Whatever request comes first has the session go on: what has come until the client is back waits for
        it.
        """
        name = self.newUser()
        source = self.listen(name)
        full = self.cut(name)
        source.expectEnd(SOON)
        self.write(name, "away")
        self.assertEqual(full, self.fullJid(name))
        self.write(name, "still away")
        again = self.listen(name, source.lastId)
        self.write(name, "after")
        again.expect("after")
        self.assertEqual(["away", "still away", "after"], again.bodies())
        again.close()
        # Prosody forgets what it stores in the second in which it has delivered what was stored.
        time.sleep(1.1)
        self.write(name, "stored")
        phone = self.device(name, 0, carbons=False)
        phone.expect(saying("stored"))
        self.assertEqual(set(), self._seen(phone))

    def testSeveral(self) -> None:
        """
        All streams of the user end, and each is complete.
        """
        name = self.newUser()
        sources = [self.returning(name) for _ in range(5)]
        self.write(name, "before")
        for source in sources:
            source.expect("before")
        full = self.cut(name)
        self.write(name, "away")
        for source in sources:
            source.expect("away")
        self.write(name, "after")
        for source in sources:
            source.expect("after")
            self.assertEqual(["before", "away", "after"], source.texts)
        self.assertEqual((1, 1), (self.heard(MANAGED), self.heard(b"resume")))
        self.assertNothingLeft(name, full)

    def testNobody(self) -> None:
        """
        When no client comes back the user is not there any more, once something else has the session go on.
        """
        name = self.newUser()
        source = self.listen(name)
        full = self.cut(name)
        source.expectEnd(SOON)
        self.assertEqual(full, self.fullJid(name))
        time.sleep(RETURN + 1)
        self.assertEqual(full, self.fullJid(name))
        self.write(name, "stored")
        phone = self.device(name, 0, carbons=False)
        phone.expect(saying("stored"))
        self.assertEqual(set(), self._seen(phone))

    def testManyBreaks(self) -> None:
        """
        However often it breaks while messages keep coming, each one comes once. (Not in order: ejabberd
        swaps those that come to it while a session is resumed.)
        """
        name = self.newUser()
        source = self.returning(name)
        self.write(name, "before")
        source.expect("before")
        expected: list[str | None] = ["before"]
        for turn in range(8):
            for number in range(20):
                self.bob.message(jid(name), f"{turn} {number}")
                expected.append(f"{turn} {number}")
                if number == turn * 2:
                    self.cable.cut()
            self.mustServe(name)
        eventually(lambda: len(source.seen) >= len(expected), "all messages")
        self.write(name, "the end")
        source.expect("the end")
        self.assertCountEqual([*expected, "the end"], source.texts)
        self.assertNothingLeft(name, self.fullJid(name))


class InRooms(WithRooms, WithCable):
    """
    What rooms see of it, and who is in them.
    """

    def testRooms(self) -> None:
        """
        The session is in its rooms still: it enters none again, and what was said and changed meanwhile comes
        once.
        """
        owner, member, other = self.newUser(), self.newUser(), self.newUser()
        room = self.made(member, owner=owner)
        phone = self.login(owner)
        self.join(phone, room, "phone")
        source = self.returning(member)
        self.say(room, "before", owner)
        source.expect("before")
        full = self.fullJid(member)
        entrances = self.heard(b"presence to='" + self.address(room).encode())
        self.cable.cut()
        phone.message(self.address(room), "away", "groupchat")
        item = f"<item jid='{jid(other)}' affiliation='member'/>"
        phone.request(self.address(room), f"<query xmlns='{MUC}#admin'>{item}</query>", "set")
        source.expect("away")
        self.mustServe(owner)
        self.say(room, "after", owner)
        source.expect("after")
        self.say(room, "the end", member)
        source.expect("the end")
        told = [event.json() for event in source.seen]
        self.assertEqual(
            ["before", "away", "after", "the end"], [one["body"] for one in told if "body" in one]
        )
        self.assertEqual([jid(other)], [one["user"] for one in told if "user" in one])
        self.assertEqual(entrances, self.heard(b"presence to='" + self.address(room).encode()))
        self.assertEqual(full, self.fullJid(member))

    def testPostInFlight(self) -> None:
        """
        Who says something in a room while the connection breaks gets 503 at once. It is not sent again; if
        the room got it, it is heard once.
        """
        name = self.newUser()
        room = self.made(owner=name)
        phone = self.login(name)
        self.join(phone, room, "phone")
        source = self.returning(name)
        self.say(room, "before", name)
        source.expect("before")
        for text, swallowed in (("never sent", "client"), ("heard", "server")):
            with ThreadPoolExecutor(1) as thread:
                self.cable.swallow(swallowed)
                said = thread.submit(self.api, "POST", f"/rooms/{room}/messages", {"body": text}, name)
                self._expectSent(text)
                if swallowed == "server":
                    phone.expect(saying(text))
                self.cable.cut()
                self.assertEqual(503, said.result(1.0).status)
            self.mustServe(name)
        self.say(room, "after", name)
        source.expect("after")
        self.assertEqual(["before", "heard", "after"], source.texts)
        self.assertEqual(["before", "heard", "after"], [one["body"] for one in self.said(room, user=name)])

    def testEnteringInFlight(self) -> None:
        """
        So it is with who enters a room for that: the next time the session enters it, whether or not it is
        in it already.
        """
        owner, name = self.newUser(), self.newUser()
        room = self.made(name, owner=owner)
        phone = self.login(owner)
        self.join(phone, room, "phone")
        source = self.returning(owner)
        self.mustServe(name)
        full = self.fullJid(name)
        self.cable.swallowAnswer(b"<presence to='%s/%s-" % (self.address(room).encode(), name.encode()))
        with ThreadPoolExecutor(1) as thread:
            said = thread.submit(self.api, "POST", f"/rooms/{room}/messages", {"body": "lost"}, name)
            phone.expect(lambda one: one.get("from", "").startswith(f"{self.address(room)}/{name}-"))
            self.cable.cut()
            self.assertEqual(503, said.result(1.0).status)
        self.mustServe(name)
        self.say(room, "after", name)
        source.expect("after")
        self.assertEqual((["after"], full), (source.texts, self.fullJid(name)))

    def _expectSent(self, text: str) -> None:
        eventually(lambda: text.encode() in self.cable.sent(), f"{text!r} to be sent")


class Killed(WithStreams):
    """
    What is left of a bridge that was killed.
    """

    def testGhost(self) -> None:
        """
        The server keeps its sessions for no longer than it says; only then it answers for them. Meanwhile
        they are in no other's way.
        """
        keeps = self.server.keeps or 0
        bob, name = self.login("bob"), self.newUser()
        bridge: Bridge = self.usersBridge()
        full = self.fullJid(name, bridge)
        other = self.usersBridge()
        bridge.process.kill()
        self.assertNotEqual(full, self.fullJid(name, other))
        began = time.monotonic()
        self.assertFalse(self.isOnline(bob, full))
        self.assertTrue(keeps - 1 < time.monotonic() - began < keeps + 3)


class Outlived(WithCable):
    """
    What comes after the time for which a server keeps a session.
    """

    def testNothingComesBack(self) -> None:
        """
        Nothing is left over of an event stream whose client came back, and nobody hears of it.
        """
        name = self.newUser()
        source = self.returning(name)
        full = self.cut(name)
        self.bob.message(full, "away, to the session")
        self.write(name, "away")
        source.expect("away")
        time.sleep((self.server.keeps or 0) + 1)
        self.assertEqual(full, self.fullJid(name))
        self.write(name, "after")
        source.expect("after")
        self.assertCountEqual(["away, to the session", "away", "after"], source.texts)
        self.assertEqual([], self.bob.mailbox.all(lambda one: one.get("type") == "error"))


class Unmanaged(WithCable):
    """
    Where the server doesn't manage streams a session ends with its connection.
    """

    def testBroken(self) -> None:
        """
        The next request has a new session.
        """
        name = self.newUser()
        full = self.cut(name)
        eventually(lambda: self.ping(name).status == 200, "the user to be served")
        self.assertNotEqual(full, self.fullJid(name))
        self.assertEqual((0, 0), (self.heard(MANAGED), self.heard(b"resume")))


class ForgetfulProsody(Prosody):
    """
    Prosody that keeps a broken session for three seconds.
    """

    keeps: ClassVar[int | None] = 3


class ForgetfulEjabberd(Ejabberd):
    """
    Likewise.
    """

    keeps: ClassVar[int | None] = 3


class PlainProsody(Prosody):
    """
    Prosody without stream management.
    """

    keeps: ClassVar[int | None] = None


class PlainEjabberd(Ejabberd):
    """
    Likewise.
    """

    keeps: ClassVar[int | None] = None


class OnProsody(Acknowledged, Broken, EventStreams, LiveCase):
    """
    Prosody's C{mod_smacks}.
    """

    makeServer = Prosody


class OnEjabberd(Acknowledged, Broken, EventStreams, LiveCase):
    """
    ejabberd's C{mod_stream_mgmt}.
    """

    makeServer = Ejabberd


class InRoomsOnProsody(InRooms, LiveCase):
    """
    Rooms on Prosody.
    """

    makeServer = Prosody


class InRoomsOnEjabberd(InRooms, LiveCase):
    """
    Rooms on ejabberd.
    """

    makeServer = Ejabberd


class OnForgetfulProsody(Killed, Outlived, LiveCase):
    """
    What Prosody keeps.
    """

    makeServer = ForgetfulProsody


class OnForgetfulEjabberd(Killed, Outlived, LiveCase):
    """
    What ejabberd keeps.
    """

    makeServer = ForgetfulEjabberd


class OnPlainProsody(Sending, Unmanaged, LiveCase):
    """
    Prosody without it: all that is sent is confirmed all the same.
    """

    makeServer = PlainProsody


class OnPlainEjabberd(Sending, Unmanaged, LiveCase):
    """
    ejabberd without it.
    """

    makeServer = PlainEjabberd
    roomsAnswerLate = True
