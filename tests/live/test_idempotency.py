"""
Requests with an Idempotency-Key: what arrives at their receivers, and how often, whatever happens to the
bridge, to its streams and to the client meanwhile.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred, gatherResults

from restbridge.store.answers import HELD, Answers
from tests.live.bridge import PASSWORD, Bridge, botTable, componentTable, usersTable
from tests.live.case import LiveCase, Promises
from tests.live.client import Client, body, kind
from tests.live.ejabberd import Ejabberd
from tests.live.postgresql import postgresql
from tests.live.process import eventually
from tests.live.prosody import Prosody
from tests.live.receiver import JSON
from tests.live.relay import Filter, Relay
from tests.live.servers import HOST
from tests.live.stored import StoredInPostgreSQL
from tests.live.users import numbers
from tests.live.web import Answer, ask, asUser, basic
from tests.store import test_answers

DOMAIN = "bridge2.localhost"

BOT = basic("bot", PASSWORD)
CLERK = basic("clerk", PASSWORD)


class Muffler(Relay):
    """
    A cable that can let nothing through any more, in each direction, without being cut.

    @ivar fromClient: whether what clients say is lost.
    @ivar fromServer: whether what the server says is.
    @ivar lost: what clients have said in vain.
    """

    def __init__(self, port: int) -> None:
        self.fromClient = self.fromServer = False
        self.lost = b""
        super().__init__(port)

    def mend(self) -> None:
        """
        Cut what is connected; new connections work.
        """
        self.fromClient = self.fromServer = False
        self.cut()

    def _fromClient(self) -> Filter:
        return self._lose

    def _fromServer(self) -> Filter:
        return lambda data: b"" if self.fromServer else data

    def _lose(self, data: bytes) -> bytes:
        if not self.fromClient:
            return data
        self.lost += data
        return b""


class Asked:
    """
    A request that waits for its answer, in a thread.
    """

    def __init__(self, asking: Callable[[], Answer]) -> None:
        self._asking = asking
        self._answers: list[Answer] = []
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    @property
    def waits(self) -> bool:
        return self._thread.is_alive()

    def answer(self, timeout: float = 40.0) -> Answer:
        """
        The answer; there must be one.
        """
        self._thread.join(timeout)
        assert self._answers, "no answer came"
        return self._answers[0]

    def end(self) -> None:
        """
        Wait until there is an answer, or none can come any more.
        """
        self._thread.join(10)
        assert not self.waits, "the request waits still"

    def _ask(self) -> None:
        try:
            self._answers.append(self._asking())
        except OSError:
            # The bridge was killed.
            return


def message(text: str, to: str = "alice@localhost", **more: str) -> str:
    """
    A message as JSON.
    """
    return json.dumps({"kind": "message", "type": "chat", "to": to, "body": text, **more})


class Keys(Promises):
    """
    A bridge for each test, between it and the server a cable that can be harmed.
    """

    needsBridge = False

    def store(self) -> dict[str, Any]:
        """
        The section C{[store]} of the bridge's configuration.
        """
        return {"url": "sqlite:restbridge.sqlite"}

    def setUp(self) -> None:
        super().setUp()
        self.cable = Muffler(self.server.componentPort(DOMAIN))
        self.addCleanup(self.cable.close)
        table = componentTable(self.cable.port, DOMAIN)
        clerk = {"password": botTable()["password"]}
        users = {HOST: usersTable(self.server.c2sPort)}
        self.own = self.startBridge(
            table, accounts={"bot": botTable(), "clerk": clerk}, users=users, store=self.store()
        )
        self.alice = self.login("alice")
        self.text = f"text {next(numbers)}"

    def post(
        self,
        stanza: str,
        key: str | None = '"k1"',
        path: str = "/rest",
        auth: str = BOT,
        bridge: Bridge | None = None,
    ) -> Answer:
        headers = {} if key is None else {"Idempotency-Key": key}
        return (bridge or self.own).post(path, stanza, auth=auth, headers=headers)

    def arrived(self) -> list[str | None]:
        """
        The ids of the messages with this test's text that have arrived at alice, after all that was sent
        before.
        """
        last = f"last {next(numbers)}"
        self.assertEqual(202, self.post(message(last), None).status)
        self.alice.expect(lambda one: body(one) == last)
        return [one.get("id") for one in self.alice.mailbox.all(self._isOurs)]

    def _isOurs(self, stanza: Any) -> bool:
        return kind(stanza) == "message" and body(stanza) == self.text

    def waitForMessage(self, count: int = 1) -> None:
        """
        Wait until alice has got so many, without taking them.
        """
        eventually(lambda: len(self.alice.mailbox.all(self._isOurs)) >= count, f"{count} messages")

    def assertFirst(self, status: int, answer: Answer) -> None:
        self.assertEqual((status, None), (answer.status, answer.headers.get("idempotent-replayed")), answer)

    def assertReplayed(self, first: Answer, second: Answer) -> None:
        """
        The second is the first once more, and says so.
        """
        self.assertEqual("true", second.headers.get("idempotent-replayed"), second)
        self.assertEqual((first.status, first.type, first.body), (second.status, second.type, second.body))

    def silentBob(self) -> Client:
        """
        Somebody who answers when the test says so.
        """
        bob = self.login("bob")
        bob.keepSilent()
        return bob

    def ping(self, bob: Client, key: str, timeout: float = 30.0) -> Answer:
        """
        Ask him.
        """
        given = {"Authorization": BOT, "Content-Type": JSON, "Accept": JSON, "Idempotency-Key": key}
        stanza = json.dumps({"kind": "iq", "type": "get", "to": bob.jid, "ping": True})
        return ask(self.own.port, "POST", "/rest", stanza.encode(), given, timeout=timeout)

    def pinged(self, bob: Client) -> Any:
        return bob.expect(lambda one: kind(one) == "iq" and one.get("type") == "get")

    def answerOf(self, bob: Client, query: Any) -> None:
        bob.send(f"<iq type='result' id='{query.get('id')}' to='{query.get('from')}'/>")

    def testTwice(self) -> None:
        """
        A message that is posted twice with a key arrives once; both get the same answer.
        """
        first = self.post(message(self.text))
        self.assertFirst(202, first)
        self.assertReplayed(first, self.post(message(self.text)))
        self.assertReplayed(first, self.post(message(self.text), "k1"))
        self.assertEqual(1, len(self.arrived()))

    def testRequest(self) -> None:
        """
        A request is answered a second time without being asked a second time, in its own words.
        """
        disco = json.dumps({"kind": "iq", "type": "get", "to": HOST, "disco": True})
        first = self.post(disco)
        self.assertFirst(200, first)
        self.assertTrue(first.json()["disco"]["features"])
        self.assertReplayed(first, self.post(disco))

    def testOther(self) -> None:
        """
        Another message with the same key is refused.
        """
        self.post(message("another"))
        answer = self.post(message(self.text))
        self.assertEqual((422, "conflict"), (answer.status, answer.json()["error"]["condition"]))
        self.assertEqual([], self.arrived())

    def testCallers(self) -> None:
        """
        Other accounts and users have other keys.
        """
        for caller in (BOT, CLERK, asUser("bob")):
            self.assertFirst(202, self.post(message(self.text), auth=caller))
        self.assertEqual(3, len(set(self.arrived())))

    def testAtOnce(self) -> None:
        """
        While the first is under way, 409; afterwards its answer.
        """
        bob = self.silentBob()
        first = Asked(lambda: self.ping(bob, "k1"))
        query = self.pinged(bob)
        second = self.ping(bob, "k1")
        self.assertEqual(409, second.status)
        self.assertRegex(second.headers["retry-after"], "^[1-9][0-9]*$")
        self.answerOf(bob, query)
        self.assertFirst(200, first.answer())
        self.assertReplayed(first.answer(), self.ping(bob, "k1"))

    def testStorm(self) -> None:
        """
        Of many at the same moment one is done.
        """
        asked = [Asked(lambda: self.post(message(self.text))) for _ in range(20)]
        answers = [each.answer() for each in asked]
        self.assertLessEqual({answer.status for answer in answers}, {202, 409})
        fresh = [one for one in answers if one.status == 202 and "idempotent-replayed" not in one.headers]
        self.assertEqual((1, 1), (len(fresh), len(self.arrived())))

    def testImpatient(self) -> None:
        """
        A client that has left finds the answer that it didn't wait for.
        """
        bob = self.silentBob()
        with self.assertRaises(OSError):
            self.ping(bob, "k1", timeout=0.5)
        query = self.pinged(bob)
        self.assertEqual(409, self.ping(bob, "k1").status)
        self.answerOf(bob, query)
        answer = eventually(lambda: self._unlessUnderWay(self.ping(bob, "k1")), "the answer")
        self.assertEqual((200, "true"), (answer.status, answer.headers.get("idempotent-replayed")))

    def _unlessUnderWay(self, answer: Answer) -> Answer | None:
        return None if answer.status == 409 else answer

    def testRestart(self) -> None:
        """
        A restart of the bridge loses no answer.
        """
        first = self.post(message(self.text))
        self.own.process.stop()
        self.own.start()
        self.assertReplayed(first, self.post(message(self.text)))
        self.assertEqual(1, len(self.arrived()))

    def testKilledAfterwards(self) -> None:
        """
        Nor does SIGKILL, right after it was given.
        """
        first = self.post(message(self.text))
        self.own.process.kill()
        self.own.start()
        self.assertReplayed(first, self.post(message(self.text)))
        self.assertEqual(1, len(self.arrived()))

    def testKilledMeanwhile(self) -> None:
        """
        What SIGKILL has interrupted is done again when the request comes again, with the same id, by which
        the receiver can tell.
        """
        self.cable.fromServer = True
        first = Asked(lambda: self.post(message(self.text)))
        self.waitForMessage()
        self.own.process.kill()
        first.end()
        self.cable.mend()
        self.own.start()
        second = self.post(message(self.text))
        self.assertFirst(202, second)
        self.assertReplayed(second, self.post(message(self.text)))
        ids = self.arrived()
        self.assertEqual((2, 1), (len(ids), len(set(ids))))

    def testCutBehind(self) -> None:
        """
        A stream that breaks between a message and its confirmation costs nobody an answer who has a key: the
        message is sent again, with the same id.
        """
        self.cable.fromServer = True
        asked = Asked(lambda: self.post(message(self.text)))
        self.waitForMessage()
        self.cable.mend()
        self.assertFirst(202, asked.answer())
        self.assertReplayed(asked.answer(), self.post(message(self.text)))
        ids = self.arrived()
        self.assertEqual((2, 1), (len(ids), len(set(ids))))

    def testCutBefore(self) -> None:
        """
        One that is lost on its way arrives, once.
        """
        self.cable.fromClient = True
        asked = Asked(lambda: self.post(message(self.text, id="own")))
        eventually(lambda: self.text.encode() in self.cable.lost, "the message to be lost")
        self.cable.mend()
        self.assertFirst(202, asked.answer())
        self.assertEqual(["own"], self.arrived())

    def testCutUnkeyed(self) -> None:
        """
        Without a key: 503, and it is not sent again.
        """
        self.cable.fromServer = True
        asked = Asked(lambda: self.post(message(self.text), None))
        self.waitForMessage()
        self.cable.mend()
        self.assertEqual(503, asked.answer().status)
        self.own.waitFor("/readyz", 200)
        self.assertEqual(1, len(self.arrived()))

    def testCutRequest(self) -> None:
        """
        A request whose answer is lost is asked again, with the same id.
        """
        bob = self.silentBob()
        asked = Asked(lambda: self.ping(bob, "k1"))
        first = self.pinged(bob)
        self.cable.mend()
        second = self.pinged(bob)
        self.answerOf(bob, second)
        self.assertFirst(200, asked.answer())
        self.assertEqual(first.get("id"), second.get("id"))

    def testClientAPI(self) -> None:
        """
        The posts of C{/api}: messages, rooms, users and messages of rooms, contacts.
        """
        name = f"room {next(numbers)}"
        said = {"to": "alice@localhost", "body": self.text}
        sent = self._twice("/api/messages", said)
        self.assertEqual([sent.json()["id"]], self.arrived())
        room = self._twice("/api/rooms", {"name": name, "subject": ""}).json()["id"]
        rooms = self.own.get("/api/rooms", auth=asUser("bob")).json()
        self.assertEqual([room], [each["id"] for each in rooms if each["name"] == name])
        self._twice(f"/api/rooms/{room}/users", {"user": "kate@localhost"})
        self._twice(f"/api/rooms/{room}/messages", {"body": self.text})
        history = self.own.get(f"/api/rooms/{room}/messages", auth=asUser("bob")).json()
        self.assertEqual([self.text], [each["body"] for each in history if each["type"] == "message"])
        self._twice("/api/contacts", {"jid": "kate@localhost"})

    def _twice(self, path: str, document: dict[str, str]) -> Answer:
        """
        Post the same as bob, twice; and another thing, which is refused.
        """
        key = f'"key {path}"'.replace(" ", "-")
        first = self.post(json.dumps(document), key, path, asUser("bob"))
        self.assertIn(first.status, (200, 201, 204), first.text())
        self.assertReplayed(first, self.post(json.dumps(document), key, path, asUser("bob")))
        other = self.post(json.dumps({**document, "other": 1}), key, path, asUser("bob"))
        self.assertEqual((422, str), (other.status, type(other.json())))
        return first


class OnProsody(Keys, LiveCase):
    """
    On Prosody, with SQLite.
    """

    makeServer = Prosody


class OnEjabberd(Keys, LiveCase):
    """
    On ejabberd, with SQLite.
    """

    makeServer = Ejabberd


class OnPostgreSQL(Keys, LiveCase):
    """
    On Prosody, with PostgreSQL.
    """

    makeServer = Prosody

    def store(self) -> dict[str, Any]:
        if not hasattr(self, "url"):
            self.url = postgresql().freshDatabase()
        return {"url": self.url}

    def usersBridge(self) -> Bridge:
        """
        Another bridge for the same users, on the same database.
        """
        return self.startBridge(None, users={HOST: usersTable(self.server.c2sPort)}, store=self.store())

    def testShared(self) -> None:
        """
        A user who posts to another bridge on the same database gets the answer of the first; 409 while that
        is under way there.
        """
        other = self.usersBridge()
        first = self.post(message(self.text), auth=asUser("bob"))
        self.assertFirst(202, first)
        self.assertReplayed(first, self.post(message(self.text), auth=asUser("bob"), bridge=other))
        kate = self.login("kate")
        kate.keepSilent()
        stanza = json.dumps({"kind": "iq", "type": "get", "to": kate.jid, "ping": True})
        asked = Asked(lambda: self.post(stanza, "k2", auth=asUser("bob")))
        query = self.pinged(kate)
        self.assertEqual(409, self.post(stanza, "k2", auth=asUser("bob"), bridge=other).status)
        self.answerOf(kate, query)
        self.assertFirst(200, asked.answer())
        self.assertReplayed(asked.answer(), self.post(stanza, "k2", auth=asUser("bob"), bridge=other))


class AnswersOnPostgreSQL(StoredInPostgreSQL, test_answers.AnswersTests):
    """
    What L{restbridge.store.answers} promises, on PostgreSQL.
    """

    async def test_race(self) -> None:
        """
        Of several bridges that begin the same at the same time, one does; of those that take over what a dead
        one has left, too.
        """
        bridges = [Answers(self.started(), holder=f"bridge {number}") for number in range(4)]
        for number in range(20):
            asked = attrs.evolve(test_answers.ASKED, key=f"k{number}")
            for each in (asked, test_answers.later(asked, HELD)):
                begun = await gatherResults([Deferred.fromCoroutine(one.begin(each)) for one in bridges])
                self.assertEqual(1, begun.count(None))
