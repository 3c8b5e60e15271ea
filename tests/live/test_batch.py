"""
Many stanzas in one C{POST /rest}, on real servers.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar
from xml.etree.ElementTree import Element

from tests.live.bridge import Bridge, componentTable, usersTable
from tests.live.case import LiveCase, Promises
from tests.live.client import Client, body, kind
from tests.live.ejabberd import Ejabberd
from tests.live.process import eventually
from tests.live.prosody import Prosody
from tests.live.receiver import JSON
from tests.live.servers import HOST, Server
from tests.live.test_idempotency import Asked, Muffler
from tests.live.users import numbers
from tests.live.web import Answer, asUser

NDJSON = "application/x-ndjson"
MOST = 1000

DOMAIN = "bridge2.localhost"


def message(text: object, **more: object) -> dict[str, Any]:
    """
    A message to alice that no archive keeps.
    """
    return {"kind": "message", "type": "headline", "to": "alice@localhost", "body": str(text), **more}


def ping(to: str = HOST, **more: object) -> dict[str, Any]:
    """
    A ping.
    """
    return {"kind": "iq", "type": "get", "to": to, "ping": True, **more}


def lines(stanzas: Sequence[Any]) -> bytes:
    """
    One on each; bytes stand for themselves.
    """
    return b"\n".join(one if isinstance(one, bytes) else json.dumps(one).encode() for one in stanzas)


def results(answer: Answer) -> list[Any]:
    """
    Of a batch that was done.
    """
    assert answer.status == 200, answer
    return [json.loads(line) for line in answer.body.splitlines()]


class Batches(Promises):
    """
    What C{/rest} promises to who sends much.
    """

    sections: ClassVar[dict[str, Any]] = {"http": {"requests_per_minute": 0}}

    @classmethod
    def users(cls, server: Server) -> dict[str, Any]:
        return {HOST: usersTable(server.c2sPort)}

    def setUp(self) -> None:
        super().setUp()
        # Tests share a user: what comes late from another one is not ours.
        self.name = f"batch {next(numbers)}"

    def post(self, stanzas: Sequence[Any], bridge: Bridge | None = None, **more: Any) -> Answer:
        return (bridge or self.bridge).post("/rest", lines(stanzas), NDJSON, NDJSON, **more)

    def text(self, number: int) -> str:
        return f"{self.name}: {number}"

    def messages(self, count: int) -> list[dict[str, Any]]:
        return [message(self.text(number)) for number in range(count)]

    def isOurs(self, stanza: Element) -> bool:
        return kind(stanza) == "message" and (body(stanza) or "").startswith(f"{self.name}: ")

    def texts(self, alice: Client, text: str) -> list[Element]:
        """
        The messages with this text that are here.
        """
        return alice.mailbox.all(lambda one: body(one) == text)

    def arrived(self, alice: Client, count: int) -> list[Element]:
        """
        What has arrived, when so many have.
        """
        eventually(lambda: len(alice.mailbox.all(self.isOurs)) >= count, f"{count} messages", 30)
        return alice.mailbox.all(self.isOurs)

    def testOrder(self) -> None:
        """
        A thousand messages arrive once each, in the order of their lines.
        """
        alice = self.login("alice")
        self.assertEqual([{"status": 202}] * MOST, results(self.post(self.messages(MOST))))
        self.assertEqual(
            [self.text(number) for number in range(MOST)], [body(one) for one in self.arrived(alice, MOST)]
        )

    def testRequests(self) -> None:
        """
        A thousand IQs are asked at once, and each answer stands where its question did.
        """
        ids = [f"{self.name} {number}" for number in range(MOST)]
        found = results(self.post([ping(id=id_) for id_ in ids]))
        self.assertEqual([(200, "result")] * MOST, [(one["status"], one["answer"]["type"]) for one in found])
        self.assertEqual(ids, [one["answer"]["id"] for one in found])

    def testParallel(self) -> None:
        """
        IQs wait side by side, and hold up nothing that stands behind them.
        """
        silent = self.server.attach(DOMAIN)
        self.addCleanup(silent.close)
        alice = self.login("alice")
        stanzas = [*[ping(DOMAIN)] * 20, *self.messages(1), ping()]
        asked = Asked(lambda: self.post(stanzas, headers={"Prosody-Rest-Timeout": "3"}))
        self.arrived(alice, 1)
        self.assertTrue(asked.waits)
        answer = asked.answer()
        self.assertEqual([504] * 20 + [202, 200], [one["status"] for one in results(answer)])
        self.assertLess(answer.seconds, 2 * 3)

    def testMixed(self) -> None:
        """
        Each line has its own fate, and none of them that of the stream that all share.
        """
        alice = self.login("alice")
        stanzas = [
            message(self.text(0)),
            b"nonsense",
            {"to": "alice@localhost", "body": 5},
            {"to": "@", "body": "x"},
            {"to": "alice@localhost", "from": "alice@localhost", "body": "x"},
            {"to": "alice@localhost", "body": "\x00"},
            b'{"to": "alice@localhost", "body": "\\ud800"}',
            ping(),
            ping("nobody@localhost/nowhere"),
            {"kind": "iq", "type": "result", "to": HOST, "ping": True},
            message("&" * 60_000),
            message(self.text(1), colour="red"),
        ]
        found = results(self.post(stanzas))
        statuses = [202, 400, 422, 422, 403, 422, 400, 200, 200, 422, 413, 202]
        self.assertEqual(statuses, [one["status"] for one in found])
        self.assertEqual("service-unavailable", found[8]["answer"]["error"]["condition"])
        self.assertEqual(["colour"], found[-1]["ignored"])
        self.assertEqual([self.text(0), self.text(1)], [body(one) for one in self.arrived(alice, 2)])
        self.assertAttached()

    def testArray(self) -> None:
        """
        An array is answered by an array.
        """
        alice = self.login("alice")
        answer = self.bridge.post("/rest", json.dumps([*self.messages(2), ping(), 5]), JSON, JSON)
        self.assertEqual(JSON, answer.type)
        self.assertEqual([202, 202, 200, 400], [one["status"] for one in answer.json()])
        self.arrived(alice, 2)

    def testTooMuch(self) -> None:
        """
        What is too much is refused as a whole, and none of it is sent.
        """
        alice = self.login("alice")
        for stanzas in (self.messages(MOST + 1), [message(self.text(1) + "x" * 2000)] * 100):
            answer = self.post(stanzas)
            self.assertEqual(413, answer.status)
        self.assertEqual(202, results(self.post([message(f"{self.name}: last")]))[0]["status"])
        self.assertEqual([f"{self.name}: last"], [body(one) for one in self.arrived(alice, 1)])

    def testUsers(self) -> None:
        """
        Users send batches by their own logins.
        """
        alice = self.login("alice")
        found = results(self.post([*self.messages(3), ping()], auth=asUser("bob")))
        self.assertEqual([202, 202, 202, 200], [one["status"] for one in found])
        senders = {str(one.get("from")).partition("/")[0] for one in self.arrived(alice, 3)}
        self.assertEqual({"bob@localhost"}, senders)

    def testOthers(self) -> None:
        """
        Other requests have their turn in the middle of a batch: what they send goes out between its stanzas.
        """
        alice = self.login("alice")
        between = message(f"{self.name}: between")
        done = threading.Event()

        def ask() -> Answer:
            while not done.is_set():
                answer = self.bridge.post("/rest", json.dumps(between))
            return answer

        others = [Asked(ask) for _ in range(3)]
        for _ in range(5):
            self.assertEqual([{"status": 202}] * MOST, results(self.post(self.messages(MOST))))
        done.set()
        self.assertEqual([202] * 3, [other.answer().status for other in others])
        eventually(lambda: len(self.texts(alice, self.text(MOST - 1))) == 5, "the last of each", 60)
        arrived = [body(one) for one in alice.mailbox.all(self.isOurs)]
        ends = (between["body"], self.text(MOST - 1))
        inside = [one for one, after in pairwise(arrived) if after == ends[0] and one not in ends]
        self.assertTrue(inside)

    def testCut(self) -> None:
        """
        With a key a stream that breaks in the middle costs nothing: what the server hasn't confirmed is sent
        again, with the same ids, and the answer is the one that is kept.
        """
        cable = Muffler(self.server.componentPort(DOMAIN))
        self.addCleanup(cable.close)
        bridge = self.startBridge(componentTable(cable.port, DOMAIN))
        alice = self.login("alice")
        key = {"Idempotency-Key": '"k1"'}
        cable.fromServer = True
        asked = Asked(lambda: self.post(self.messages(100), bridge, headers=key))
        self.arrived(alice, 100)
        cable.mend()
        first = asked.answer()
        self.assertEqual([{"status": 202}] * 100, results(first))
        again = self.post(self.messages(100), bridge, headers=key)
        self.assertEqual((first.body, "true"), (again.body, again.headers.get("idempotent-replayed")))
        found = [(body(one), one.get("id")) for one in self.arrived(alice, 200)]
        self.assertEqual(found[:100], found[100:])
        self.assertEqual([self.text(number) for number in range(100)], [text for text, _ in found[:100]])
        self.assertEqual(100, len({id_ for _, id_ in found}))


class OnProsody(Batches, LiveCase):
    """
    On Prosody.
    """

    makeServer = Prosody


class OnEjabberd(Batches, LiveCase):
    """
    On ejabberd.
    """

    makeServer = Ejabberd
