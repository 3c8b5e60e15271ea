"""
What a request costs, in calls: those of our own functions, and those that they make into others'. Seconds say
nothing on a machine that others use as well; these numbers are the same everywhere, and whoever raises one
says why.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

import restbridge
from restbridge.config import HTTP, Callback, Glob, Rest
from restbridge.rest.api import RestAPI
from restbridge.web.attempts import Attempts
from restbridge.web.credentials import Credentials, tokenHash
from restbridge.web.guard import Accounts, Guard
from restbridge.web.quota import Quota
from restbridge.web.routes import Routed
from restbridge.web.site import BridgeSite
from restbridge.webhook.callbacks import Callbacks
from restbridge.webhook.post import Poster
from restbridge.webhook.receiver import Receiver
from restbridge.workers import Workers
from restbridge.xmpp.component import Component
from restbridge.xmpp.entity import Entity
from tests.web.client import Client, FakeUsers, Threads, account
from tests.web.keys import once
from tests.webhook.wire import Connection, Reactor
from tests.xmpp.fakes import Server, stanza

DOMAIN = "bridge.localhost"
AUTHORIZATION = {"Authorization": "Bearer a token", "Accept": "application/json"}
MESSAGE = {
    "application/json": '{"kind":"message","type":"headline","to":"alice@localhost","body":"Full"}',
    "application/xmpp+xml": "<message type='headline' to='alice@localhost'><body>Full</body></message>",
}
URL = "http://192.0.2.1:8080/"
JSON = "application/json"
MARGIN = 1.05

OWN = str(Path(restbridge.__file__).parent)


def callsOf(work: Callable[[], object]) -> int:
    """
    The calls of our functions that C{work} leads to, and those that our functions make into C.
    """
    count = 0

    def observe(frame: FrameType, event: str, _: Any) -> None:
        nonlocal count
        if event in ("call", "c_call") and frame.f_code.co_filename.startswith(OWN):
            count += 1

    sys.setprofile(observe)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


class Calls(SynchronousTestCase):
    """
    Holds costs to their numbers.
    """

    def assertCalls(self, expected: int, work: Callable[[], object], what: str = "") -> None:
        """
        C{work} costs what it should. Less is no mistake, but the next would spend what was saved: say so
        here.
        """
        calls = self.costOf(work)
        self.assertTrue(
            expected / MARGIN <= calls <= expected * MARGIN, f"{what} {calls} calls, not {expected}"
        )

    def costOf(self, work: Callable[[], object]) -> int:
        """
        The calls of C{work}, without what is done once only.
        """
        work()
        return callsOf(work)


class RequestTests(Calls):
    """
    An account's requests, on a bridge whose server the test plays.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.server = Server()
        self.component = Component(
            domain=DOMAIN,
            secret="secret",
            confirm=True,
            entity=Entity(domain=DOMAIN, accounts=("bot",)),
            endpoint=self.server,
            clock=self.clock,
        )
        self.component.startService()
        self.addCleanup(self.component.stopService)
        self.server.accept()
        credentials = Credentials(
            accounts=[account(tokens=(tokenHash("a token"),))],
            workers=Workers(Threads()),
            attempts=Attempts(clock=self.clock),
        )
        guard = Guard(
            accounts=Accounts(domain=DOMAIN, credentials=credentials, link=self.component),
            users=FakeUsers(),
            quota=Quota(perMinute=60_000, burst=10_000, clock=self.clock),
        )
        api = RestAPI(guard=guard, settings=Rest(), once=once(), clock=self.clock)
        self.client = Client(BridgeSite(settings=HTTP(), mounts={b"rest": Routed(api)}))

    def test_message(self) -> None:
        """
        A message, from its request to the answer that the server has taken it.
        """
        # 28 more than before heads were read, and answers written, here: Twisted did it in some 200.
        for mediaType, most in (("application/json", 378), ("application/xmpp+xml", 365)):
            headers = {**AUTHORIZATION, "Content-Type": mediaType}
            self.assertCalls(most, partial(self._posted, headers), mediaType)

    def test_ping(self) -> None:
        """
        A ping of the server, from its request to the answer that it brings.
        """
        self.assertCalls(329, self._pinged)

    def test_pending(self) -> None:
        """
        A request costs no more when many others wait.
        """
        alone = self.costOf(self._pinged)
        for number in range(1000):
            ping = "<ping xmlns='urn:xmpp:ping'/>"
            iq = f"<iq type='get' from='bot@{DOMAIN}' to='localhost' id='{number}'>{ping}</iq>"
            self.component.request(stanza(iq), 60).addErrback(lambda _: None)
        self.assertEqual(alone, self.costOf(self._pinged))

    def _posted(self, headers: dict[str, str]) -> None:
        self.client.begin("POST", "/rest", headers, MESSAGE[headers["Content-Type"]])
        self.clock.advance(0)
        self._answer()
        self.assertEqual([202], [reply.status for reply in self.client.read("POST")])

    def _pinged(self) -> None:
        self.client.begin("GET", "/rest/ping/localhost", AUTHORIZATION)
        self._answer()
        self.assertEqual([200], [reply.status for reply in self.client.read("GET")])

    def _answer(self) -> None:
        """
        Answer the last IQ that came: the barrier, or the ping.
        """
        tag = re.findall(r"<iq ([^>]*)>", self.server.read())[-1]
        iq = dict(re.findall(r"(\w+)='([^']*)'", tag))
        self.server.write(f"<iq type='result' from='{iq['to']}' to='{iq['from']}' id='{iq['id']}'/>")


class DeliveryTests(Calls):
    """
    Calls of webhooks, over a connection in memory.
    """

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.connection: Connection | None = None

    def test_delivery(self) -> None:
        """
        A message, from its stanza to the answer of the callback.
        """
        self.assertCalls(91, self._delivering(0))

    def test_manyCallbacks(self) -> None:
        """
        It costs no more with a hundred callbacks that it isn't for.
        """
        self.assertEqual(self.costOf(self._delivering(0)), self.costOf(self._delivering(100)))

    def _delivering(self, others: int) -> Callable[[], None]:
        self.connection = None
        settings = [
            *(Callback(url=URL, format=JSON, to=(Glob(f"desk-{n}@{DOMAIN}"),)) for n in range(others)),
            Callback(url=URL, format=JSON),
        ]
        poster = Poster(reactor=self.reactor, allowPrivate=True)
        receivers = [
            Receiver(settings=each, domain=DOMAIN, caller=poster, clock=self.reactor) for each in settings
        ]
        callbacks = Callbacks(receivers=receivers, send=self.fail)
        message = stanza(f"<message from='alice@localhost' to='bot@{DOMAIN}'><body>Hi</body></message>")

        def deliver() -> None:
            self.assertTrue(callbacks.take(message))
            if self.connection is None:
                self.connection = Connection(self.reactor.tcpClients[-1][2], self.reactor)
            self.assertIn(b"POST / HTTP/1.1", self.connection.value())
            self.connection.clear()
            self.connection.answer(b"HTTP/1.1 204 No Content\r\n\r\n")

        return deliver
