"""
The server goes away, comes back, or won't have us: what HTTP callers and operators see of it.
"""

from __future__ import annotations

import threading
from typing import Any

from tests.live.bridge import Bridge, componentTable
from tests.live.case import BRIDGE, LiveCase, Promises
from tests.live.client import body, kind
from tests.live.ejabberd import Ejabberd
from tests.live.process import eventually
from tests.live.prosody import Prosody
from tests.live.receiver import JSON, XML, Receiver, Reply
from tests.live.relay import Relay
from tests.live.web import Answer

SECOND = "bridge2.localhost"
SOON = 2.0
"""Seconds within which each answer must come while the server is away."""

MESSAGE = '{"kind": "message", "to": "alice@localhost", "body": "hello"}'


class Asker:
    """
    Asks for a ping again and again, as long as the C{with} block lasts.

    @ivar answers: in order.
    @ivar errors: requests without an answer.
    """

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self.answers: list[Answer] = []
        self.errors: list[OSError] = []

    def __enter__(self) -> Asker:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._enough.set()
        self._thread.join(30)

    def _ask(self) -> None:
        """
        Twenty times a second.
        """
        while not self._enough.wait(0.05):
            try:
                self.answers.append(self._bridge.get("/rest/ping/localhost"))
            except OSError as error:
                self.errors.append(error)


class Outages(Promises):
    """
    What the bridge promises while its server is not there for it.
    """

    throughRelay = False

    @classmethod
    def callbacks(cls, receiver: Receiver) -> list[dict[str, Any]]:
        """
        One callback for everything.
        """
        return [{"url": receiver.url("/hook"), "format": JSON}]

    def setUp(self) -> None:
        """
        The test before may have stopped the server; wait until the bridge has got over it.
        """
        super().setUp()
        self.bridge.waitFor("/readyz", 200, 40)

    def testRestart(self) -> None:
        """
        A restart of the server under requests costs 503s, promptly; then all works again without a restart of
        ours.
        """
        with Asker(self.bridge) as asker:
            eventually(lambda: len(asker.answers) > 3, "requests to run")
            self._stopServer()
            self._assertDown(self.bridge)
            self.server.start()
            self.bridge.waitFor("/readyz", 200, 20)
        self.assertEqual([], asker.errors)
        self.assertLess(max(answer.seconds for answer in asker.answers), SOON)
        self.assertLessEqual({200, 503}, {answer.status for answer in asker.answers})
        for answer in asker.answers:
            if answer.status != 200:
                self._assertRefused(answer)
        self._assertWorks(self.bridge)

    def testBridgeFirst(self) -> None:
        """
        A bridge that starts before its server serves HTTP, says what it waits for, and attaches when it can.
        """
        self._stopServer()
        bridge = self.startBridge(componentTable(self.server.componentPort(SECOND), SECOND), ready=False)
        self._assertDown(bridge)
        self.server.start()
        bridge.waitFor("/readyz", 200, 20)
        self.assertEqual(200, bridge.get("/rest/ping/localhost").status)

    def testCut(self) -> None:
        """
        A connection that breaks while a request waits ends that request at once, and is made again.
        """
        relay = Relay(self.server.componentPort(SECOND))
        self.addCleanup(relay.close)
        bridge = self.startBridge(componentTable(relay.port, SECOND))
        bob = self.login("bob")
        bob.keepSilent()
        waiting: list[Answer] = []
        query = f'{{"kind": "iq", "type": "get", "ping": true, "to": "{bob.jid}"}}'
        thread = threading.Thread(target=lambda: waiting.append(bridge.post("/rest", query)))
        thread.start()
        bob.expect(lambda one: kind(one) == "iq" and one.get("type") == "get")
        relay.cut()
        thread.join(10)
        self._assertRefused(waiting[0])
        eventually(lambda: relay.connections > 1, "another connection")
        bridge.waitFor("/readyz", 200)
        self.assertEqual(200, bridge.get("/rest/ping/localhost").status)

    def testWrongSecret(self) -> None:
        """
        A wrong secret is said in words that tell what to do, in the log and by C{/readyz}; the secret itself
        isn't.
        """
        component = componentTable(self.server.componentPort(SECOND), SECOND, "not-the-0ne")
        bridge = self.startBridge(component, ready=False)
        self._assertSays(bridge, "secret", "component.secret")
        self.assertNotIn("not-the-0ne", bridge.process.log())
        self.assertEqual(200, bridge.get("/healthz", auth=None).status)
        self._assertRefused(bridge.get("/rest/ping/localhost"))

    def _stopServer(self) -> None:
        """
        Stop it, and see to it that the next test has it again.
        """
        self.addCleanup(self._reviveServer)
        self.server.stop()

    def _reviveServer(self) -> None:
        """
        Start it, if the test has not come to that.
        """
        if self.server.process.pid is None:
            self.server.start()

    def _assertDown(self, bridge: Bridge) -> None:
        """
        Everyone is told that the server is away, each in a way of their own.
        """
        reason = bridge.waitFor("/readyz", 503, 5)
        self.assertRegex(reason.text(), r"\w+ \w+", "/readyz gives no reason")
        self.assertEqual(200, bridge.get("/healthz", auth=None).status)
        self._assertRefused(bridge.post("/rest", MESSAGE))
        asXML = bridge.get("/rest/ping/localhost", accept=XML)
        self.assertEqual((503, XML), (asXML.status, asXML.type))

    def _assertRefused(self, answer: Answer) -> None:
        """
        503, promptly, with the time after which to try again.
        """
        self.assertEqual(503, answer.status, answer.text())
        self.assertRegex(answer.headers.get("retry-after", ""), r"^\d+$")
        self.assertEqual((JSON, 503), (answer.type, answer.json()["code"]))

    def _assertWorks(self, bridge: Bridge) -> None:
        """
        Stanzas flow, both ways.
        """
        self.receiver.answer("/hook", Reply(200, JSON, '{"body": "hello yourself"}'))
        alice = self.login("alice")
        self.assertEqual(202, bridge.post("/rest", MESSAGE).status)
        alice.expect(lambda one: kind(one) == "message" and body(one) == "hello")
        alice.message(f"bot@{BRIDGE}", "and back?")
        alice.expect(lambda one: kind(one) == "message" and body(one) == "hello yourself")

    def _assertSays(self, bridge: Bridge, *words: str) -> None:
        """
        The log and C{/readyz} say one of the words, whatever the case.
        """

        def said(text: str) -> bool:
            return any(word in text.lower() for word in words)

        eventually(lambda: said(bridge.process.log()), f"the log to say {words[0]}")
        eventually(lambda: said(bridge.get("/readyz", auth=None).text()), f"/readyz to say {words[0]}")
        self.assertEqual(503, bridge.get("/readyz", auth=None).status)


class OnProsody(Outages, LiveCase):
    """
    Outages of Prosody.
    """

    makeServer = Prosody

    def testConflict(self) -> None:
        """
        A second bridge for the same domain says that the first is there, and leaves it alone.
        """
        second = self.startBridge(componentTable(self.server.componentPort(BRIDGE)), ready=False)
        self._assertSays(second, "conflict", "already")
        self._assertWorks(self.bridge)


class OnEjabberd(Outages, LiveCase):
    """
    Outages of ejabberd, which lets a second component of the same domain in without a word.
    """

    makeServer = Ejabberd
