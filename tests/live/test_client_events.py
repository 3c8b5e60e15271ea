"""
C{/api/sse}: what is written to a user, as it happens, and each message once, whatever comes in between.
"""

from __future__ import annotations

import socket
import threading
import time

from tests.live.bridge import Bridge, usersTable
from tests.live.case import LiveCase
from tests.live.client import CLIENT, Client, Predicate, kind
from tests.live.client_api import WithClientAPI, jid
from tests.live.ejabberd import Ejabberd
from tests.live.eventsource import Event, EventSource, request
from tests.live.process import LOOPBACK, eventually
from tests.live.prosody import Prosody
from tests.live.servers import HOST
from tests.live.users import PING, numbers, saying
from tests.live.web import asUser, basic

CARBONS = "<enable xmlns='urn:xmpp:carbons:2'/>"
SOON = 3.0
"""Seconds within which what has happened is known."""


class Listening(WithClientAPI):
    """
    Users who listen.
    """

    def listen(self, user: str, lastId: str | None = None, bridge: Bridge | None = None) -> EventSource:
        """
        Open a stream, which must be there at once.
        """
        source = EventSource((bridge or self.bridge).port, asUser(user), lastId)
        self.addCleanup(source.close)
        self.assertEqual(200, source.status)
        return source

    def listenAgain(self, user: str, lastId: str | None, bridge: Bridge) -> EventSource:
        """
        As a browser does, until it is let in.
        """

        def opened() -> EventSource | None:
            source = EventSource(bridge.port, asUser(user), lastId)
            self.addCleanup(source.close)
            self.assertIn(source.status, (200, 503))
            return source if source.status == 200 else None

        return eventually(opened, "a stream", pause=0.2)


class WithStreams(Listening):
    """
    Users who listen, and those who write to them.
    """

    def say(self, sender: str, to: str, text: str, bridge: Bridge | None = None) -> str:
        """
        Send a message over HTTP.

        @return: its id.
        """
        answer = self.api("POST", "/messages", {"to": jid(to), "body": text}, sender, bridge=bridge)
        self.assertEqual(200, answer.status, answer.text())
        return str(answer.json()["id"])

    def device(self, user: str, priority: int, carbons: bool, resource: str = "phone") -> Client:
        """
        A client of a user, with this priority.
        """
        client = self.login(user, resource)
        if carbons:
            self.assertEqual("result", client.request(jid(user), CARBONS, "set").get("type"))
        client.send(f"<presence><priority>{priority}</priority></presence>")
        client.request("localhost", PING)
        return client

    def told(self, user: str, *sources: EventSource, sender: str = "bob") -> None:
        """
        All that was sent to a user so far has come to these streams.
        """
        text = f"mark {next(numbers)}"
        self.say(sender, user, text)
        for source in sources:
            source.expect(text)

    def texts(self, source: EventSource) -> list[str | None]:
        """
        What a stream has brought, but for the marks.
        """
        return [text for text in source.bodies() if text is None or not text.startswith("mark ")]


class Events(WithStreams):
    """
    What is an event, and what it says.
    """

    def testAnswer(self) -> None:
        """
        The answer begins at once, whatever is accepted, in a form that no proxy holds back.
        """
        source = self.listen(self.newUser())
        self.assertEqual("text/event-stream", source.headers["content-type"])
        self.assertEqual("no-cache", source.headers["cache-control"])
        self.assertEqual("no", source.headers["x-accel-buffering"])
        self.assertTrue(source.isOpen)
        self.assertEqual([], source.seen)

    def testMessage(self) -> None:
        """
        A message over HTTP is an event with the fields that it has in the history; its time is in
        microseconds.
        """
        user = self.newUser()
        source = self.listen(user)
        before = time.time()
        sent = self.say("bob", user, "Hello")
        event = source.expect("Hello")
        self.assertEqual(("message", ()), (event.name, event.lines))
        self.assertTrue(event.id)
        shown = event.json()
        timestamp = shown.pop("timestamp")
        self.assertEqual({"to": jid(user), "from": jid("bob"), "id": sent, "body": "Hello"}, shown)
        self.assertIsInstance(timestamp, int)
        self.assertTrue(before - 1 <= timestamp / 1e6 <= time.time() + 1, timestamp)

    def testFromClient(self) -> None:
        """
        So is one from another client, with its thread and its properties.
        """
        user, bob = self.newUser(), self.login("bob")
        source = self.listen(user)
        space = "http://www.jivesoftware.com/xmlns/xmpp/properties"
        bob.send(
            f"<message type='chat' to='{jid(user)}' id='c1'><body>From a client</body>"
            f"<thread parent='p1'>t1</thread><properties xmlns='{space}'><property><name>some</name>"
            "<value type='string'>text</value></property></properties></message>"
        )
        shown = source.expect("From a client").json()
        self.assertEqual((jid(user), jid("bob"), "c1"), (shown["to"], shown["from"], shown["id"]))
        self.assertEqual(
            ("t1", "p1", {"some": "text"}), (shown["thread"], shown["parent"], shown["properties"])
        )

    def testAnyText(self) -> None:
        """
        Texts of any length, lines and characters come as they were sent, one event each.
        """
        user = self.newUser()
        source = self.listen(user)
        for text in (
            "line\nline\n\ndata: x\r\nid: 7",
            "\u2028\u0085 \U0001d56c \U0010fffd ü",
            "<b>&amp;",
            "x" * 65_536,
        ):
            self.say("bob", user, text)
            shown = source.expect(text.replace("\r\n", "\n") if "\r" in text else text)
            self.assertEqual(jid("bob"), shown.json()["from"])
        self.assertEqual(4, len(source.seen))

    def testSeveral(self) -> None:
        """
        Each stream of a user brings each message, once and in order.
        """
        user, bob = self.newUser(), self.login("bob")
        sources = [self.listen(user) for _ in range(12)]
        expected = [f"number {n}" for n in range(30)]
        for text in expected:
            bob.message(jid(user), text)
        for source in sources:
            source.expect(expected[-1])
            self.assertEqual(expected, source.bodies())
            self.assertEqual(30, len({event.id for event in source.seen}))

    def testNoEvent(self) -> None:
        """
        What has no text or is no chat message is no event, and no end of the stream.
        """
        user, bob = self.newUser(), self.login("bob")
        source = self.listen(user)
        typing = "<composing xmlns='http://jabber.org/protocol/chatstates'/>"
        receipt = "<received xmlns='urn:xmpp:receipts' id='1'/>"
        for stanza in (
            *(
                f"<message type='chat' to='{jid(user)}'>{payload}</message>"
                for payload in (typing, receipt, "")
            ),
            *(
                f"<message type='{each}' to='{jid(user)}'><body>{each}</body></message>"
                for each in ("normal", "headline", "groupchat")
            ),
            f"<message type='error' to='{jid(user)}'><error type='cancel'/></message>",
            f"<presence to='{jid(user)}'/>",
            f"<presence type='subscribe' to='{jid(user)}'/>",
            f"<iq type='get' id='p1' to='{jid(user)}'>{PING}</iq>",
        ):
            bob.send(stanza)
        bob.message(jid(user), "a text")
        source.expect("a text")
        self.assertEqual(["a text"], source.bodies())
        self.assertTrue(source.isOpen)

    def testOwn(self) -> None:
        """
        What a user writes, over HTTP or otherwise, is no event of the user's own; what one writes to
        oneself is.
        """
        user = self.newUser()
        phone, source = self.device(user, 0, carbons=True), self.listen(user)
        self.say(user, "bob", "over HTTP")
        phone.message(jid("bob"), "by phone")
        phone.request("localhost", PING)
        self.say(user, user, "to myself over HTTP")
        source.expect("to myself over HTTP")
        phone.message(jid(user), "to myself by phone")
        source.expect("to myself by phone")
        self.told(user, source)
        self.assertEqual(["to myself over HTTP", "to myself by phone"], self.texts(source))

    def testRefused(self) -> None:
        """
        Without credentials or with wrong ones: 401; by other methods: 405; OPTIONS: 200.
        """
        for auth in (None, asUser("alice", "wrong"), basic("bot", "x")):
            answer = self.api("GET", "/sse", user=None, headers={"Authorization": auth} if auth else {})
            self.assertRefused(401, None, answer)
            self.assertIn("Basic", answer.headers["www-authenticate"])
        for method in ("POST", "PUT", "DELETE", "HEAD"):
            answer = self.api(method, "/sse", {})
            self.assertEqual((405, "OPTIONS, GET"), (answer.status, answer.headers["allow"]))
        self.assertEqual(200, self.api("OPTIONS", "/sse").status)

    def testOffline(self) -> None:
        """
        What was stored while nobody was there comes as events, again after the next absence.
        """
        user, bob = self.newUser(), self.login("bob")
        for turn in range(2):
            expected = [f"stored {turn} {n}" for n in range(3)]
            for text in expected:
                bob.message(jid(user), text)
            bob.request("localhost", PING)
            source = self.listen(user)
            source.expect(expected[-1])
            self.assertEqual(expected, source.bodies())
            source.close()
            # Prosody forgets what it stores in the second in which it has delivered what was stored.
            time.sleep(1.1)


class Discretion(WithStreams):
    """
    A stream is in nobody's way, and is gone with its client.
    """

    def testOtherClients(self) -> None:
        """
        Whatever its priority, another client of the user gets all that it would get, and so does the stream.
        """
        bob = self.login("bob")
        for carbons in (False, True):
            for priority in (0, 1, 5, -1):
                with self.part(f"priority {priority}, carbons {carbons}"):
                    user = self.newUser()
                    phone, source = self.device(user, priority, carbons), self.listen(user)
                    self.told(user, source)
                    bare, full = f"bare {user}", f"full {user}"
                    bob.message(jid(user), bare)
                    bob.message(phone.jid, full)
                    phone.expect(_brings(full))
                    if priority >= 0 or carbons:
                        phone.expect(_brings(bare))
                    self.told(user, source)
                    self.assertEqual([bare, full], self.texts(source))

    def testPresence(self) -> None:
        """
        Contacts see the user as long as there is a stream, and not a moment longer, however it ends.
        """
        user, contact = self.newUser(), self.newUser()
        seen, own = self.login(contact), self.login(user)
        seen.send(f"<presence type='subscribe' to='{jid(user)}'/>")
        seen.expect(lambda one: kind(one) == "presence" and one.get("from") == own.jid)
        first = self.listen(user)
        here = seen.expect(lambda one: kind(one) == "presence" and "restbridge" in one.get("from", ""))
        full = here.get("from")
        self.assertEqual((None, self.fullJid(user)), (here.get("type"), full))
        second = self.listen(user)
        first.close()
        self.told(user, second)
        seen.request("localhost", PING)
        self.assertEqual([], seen.mailbox.all(lambda one: one.get("from") == full))
        began = time.monotonic()
        second.close()
        gone = seen.expect(lambda one: kind(one) == "presence" and one.get("from") == full, SOON)
        self.assertEqual("unavailable", gone.get("type"))
        self.assertLess(time.monotonic() - began, 1)
        self.listen(user)
        seen.expect(lambda one: one.get("from") == full and one.get("type") is None, SOON)

    def testStored(self) -> None:
        """
        When the last stream has gone, messages wait for the user's next client, as without the bridge.
        """
        user, bob = self.newUser(), self.login("bob")
        source = self.listen(user)
        self.told(user, source)
        source.close()
        time.sleep(1.1)
        bob.message(jid(user), "while away")
        bob.request("localhost", PING)
        self.login(user).expect(saying("while away"))

    def testInUse(self) -> None:
        """
        A login is kept as long as a stream needs it, and let go after that.
        """
        bridge = self.usersBridge(users={HOST: usersTable(self.server.c2sPort, idle=1)})
        user, bob = self.newUser(), self.login("bob")
        source = self.listen(user, bridge=bridge)
        full = self.fullJid(user, bridge)
        time.sleep(3)
        bob.message(jid(user), "still there")
        source.expect("still there")
        self.assertEqual((full, 1), (self.fullJid(user, bridge), self.server.logins(user)))
        source.close()
        time.sleep(3)
        self.assertNotEqual(full, self.fullJid(user, bridge))


class Returning(WithStreams):
    """
    Who comes back with Last-Event-ID has each message exactly once.
    """

    def testReplay(self) -> None:
        """
        What came meanwhile comes first, over several pages: what would have been an event, and nothing else.
        """
        user, bob = self.newUser(), self.login("bob")
        phone = self.device(user, 0, carbons=False)
        source = self.listen(user)
        self.told(user, source)
        source.close()
        expected = []
        for n in range(130):
            expected.append(f"missed {n}")
            bob.message(jid(user), f"missed {n}")
            if n % 10 == 0:
                phone.message(jid("bob"), f"answered {n}")
                bob.message(jid(user), f"normal {n}", "normal")
        phone.expect(saying("missed 129"))
        again = self.listen(user, source.lastId)
        again.expect("missed 129")
        bob.message(jid(user), "now")
        shown = again.expect("now").json()
        self.assertEqual([*expected, "now"], again.bodies())
        self.assertEqual(len(again.seen), len({event.id for event in again.seen}))
        times = [event.json()["timestamp"] for event in again.seen]
        self.assertEqual(sorted(times[:-1]), times[:-1])
        self.assertLess(abs(shown["timestamp"] / 1e6 - time.time()), 5)

    def testEachPlace(self) -> None:
        """
        Each event's id brings what came after it, whether that event was live, stored or replayed.
        """
        user, bob = self.newUser(), self.login("bob")
        source = self.listen(user)
        for n in range(4):
            bob.message(jid(user), f"live {n}")
        source.expect("live 3")
        source.close()
        time.sleep(1.1)
        for n in range(4):
            bob.message(jid(user), f"stored {n}")
        bob.request("localhost", PING)
        again = self.listen(user, source.lastId)
        again.expect("stored 3")
        all_ = source.seen + again.seen
        bodies = [event.body() for event in all_]
        self.assertEqual([f"{how} {n}" for how in ("live", "stored") for n in range(4)], bodies)
        for place, event in enumerate(all_):
            replayed = self.listen(user, event.id)
            self.told(user, replayed)
            self.assertEqual(bodies[place + 1 :], self.texts(replayed))

    def testToOneself(self) -> None:
        """
        What one has written to oneself, which an archive has twice, comes once.
        """
        user = self.newUser()
        phone = self.device(user, 0, carbons=False)
        source = self.listen(user)
        self.told(user, source)
        source.close()
        self.say(user, user, "note one")
        phone.message(jid(user), "note two")
        phone.expect(saying("note two"))
        again = self.listen(user, source.lastId)
        self.told(user, again)
        self.assertEqual(["note one", "note two"], self.texts(again))

    def testForeignIds(self) -> None:
        """
        An id that no stream of the bridge has written is like none.
        """
        user = self.newUser()
        source = self.listen(user)
        self.told(user, source)
        for foreign in ("1", "", "abc", "-1", "1-1", "x" * 5000, "1-0-%00", "9-9-9-9"):
            with self.part(foreign[:20]):
                again = self.listen(user, foreign)
                self.told(user, again)
                self.assertEqual([], self.texts(again))

    def testForgotten(self) -> None:
        """
        A message that the archive doesn't know is found by its time.
        """
        user = self.newUser()
        source = self.listen(user)
        self.told(user, source)
        assert source.lastId is not None
        moment, _, complete, _ = source.lastId.split("-", 3)
        source.close()
        self.say("bob", user, "after it")
        again = self.listen(user, f"{moment}-0-{complete}-nobody-knows-it")
        again.expect("after it")

    def testEndedLogin(self) -> None:
        """
        When the server ends the login the stream ends; the next one logs in again, and nothing is lost.
        """
        user, bob = self.newUser(), self.login("bob")
        source = self.listen(user)
        bob.message(jid(user), "before")
        source.expect("before")
        self.server.endSession(user)
        source.expectEnd()
        bob.message(jid(user), "between")
        bob.request("localhost", PING)
        again = self.listenAgain(user, source.lastId, self.bridge)
        bob.message(jid(user), "after")
        again.expect("after")
        # What the server itself has lost nobody could bring.
        kept = [one["body"] for one in self.api("GET", f"/messages/{jid('bob')}", user=user).json()]
        self.assertEqual(["before", "between", "after"], kept)
        self.assertEqual(["between", "after"], again.bodies(), f"{source.lastId} to {again.lastId}")

    def testRestart(self) -> None:
        """
        Over restarts of the bridge, and of the client, while messages keep coming, each one comes once.
        """
        bridge, user = self.usersBridge(), self.newUser()
        source = self.listen(user, bridge=bridge)
        self.told(user, source)
        lastId = source.lastId
        source.close()
        with Chatter(self.login("bob"), jid(user)) as bob:
            seen: list[Event] = []
            for turn in range(4):
                source = self.listenAgain(user, lastId, bridge)
                eventually(lambda source=source: len(source.seen) >= 20, "events")  # type: ignore[misc]
                if turn % 2:
                    source.close()
                else:
                    bridge.process.stop()
                    source.expectEnd()
                    bridge.start()
                seen += source.seen
                lastId = source.lastId
            bob.stop()
            source = self.listenAgain(user, lastId, bridge)
            bob.write()
            source.expect(bob.sent[-1])
            seen += source.seen
        self.assertEqual(bob.sent, [event.body() for event in seen])
        self.assertEqual(len(seen), len({event.id for event in seen}))

    def testSlowReader(self) -> None:
        """
        A client that doesn't read is cut off before much is kept for it, in nobody's way; it comes back and
        has each message once.
        """
        user, bob = self.newUser(), self.login("bob")
        other, first = self.listen(user), self.listen(user)
        self.told(user, other, first)
        lastId = first.lastId
        first.close()
        slow = socket.socket()
        self.addCleanup(slow.close)
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((LOOPBACK, self.bridge.port))
        slow.sendall(request(asUser(user), lastId))
        self.assertIn(b"200 OK", slow.recv(300))
        began = self.bridge.process.logSize()
        expected = []
        for n in range(120):
            expected.append(f"{n} {'long ' * 12_000}")
            bob.message(jid(user), expected[-1])
        eventually(
            lambda: "reads too slowly" in self.bridge.process.log(began), "the slow one to be cut off", 30
        )
        other.expect(expected[-1], 30)
        self.assertEqual(expected, self.texts(other))
        with self.assertRaises(OSError):
            while slow.recv(65_536):
                pass
            raise ConnectionResetError
        again = self.listen(user, lastId)
        again.expect(expected[-1], 30)
        self.assertEqual(expected, self.texts(again))


class Chatter:
    """
    Somebody who writes without a pause, as long as the C{with} block lasts.

    @ivar sent: the texts.
    """

    def __init__(self, client: Client, *to: str, kind: str = "chat") -> None:
        """
        @param to: addresses, each of which gets its share.
        @param kind: the type of the messages.
        """
        self.sent: list[str] = []
        self._client = client
        self._to = to
        self._kind = kind
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> Chatter:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """
        Write no more, and wait until the server has taken it all.
        """
        self._enough.set()
        self._thread.join(10)
        self._client.request("localhost", PING)

    def write(self) -> None:
        """
        Write once more.
        """
        number = len(self.sent)
        self.sent.append(f"chatter {number}")
        self._client.message(self._to[number % len(self._to)], self.sent[-1], self._kind)

    def _write(self) -> None:
        while not self._enough.wait(0.04):
            self.write()


def _brings(text: str) -> Predicate:
    """
    A message with this text, or a carbon of one.
    """
    return lambda one: kind(one) == "message" and any(each.text == text for each in one.iter(f"{CLIENT}body"))


class OnProsody(Events, Discretion, Returning, LiveCase):
    """
    Events on Prosody.
    """

    makeServer = Prosody


class OnEjabberd(Events, Discretion, Returning, LiveCase):
    """
    Events on ejabberd.
    """

    makeServer = Ejabberd
