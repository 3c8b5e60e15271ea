"""
The way from a request to its route, and back.
"""

from __future__ import annotations

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from restbridge.config import HTTP
from restbridge.web.answer import Answer
from restbridge.web.routes import Routed, route
from restbridge.web.site import BridgeRequest, BridgeSite
from tests.web.client import Client, LoggingTestCase


class API:
    """
    Answers when it is told to, whoever is still there.

    @ivar waiting: what the requests wait for.
    @ivar refuses: whether it can say why something isn't answered.
    """

    app = Klein()

    def __init__(self) -> None:
        self.waiting: list[Deferred[None]] = []
        self.refuses = True

    @route(app, "/api/wait")
    async def wait(self, request: BridgeRequest) -> Answer:
        """
        Wait, also for nobody.
        """
        waiting: Deferred[None] = Deferred(lambda waiting: waiting.callback(None))
        self.waiting.append(waiting)
        await waiting
        return Answer(200, b"waited", "text/plain")

    def refuse(self, request: BridgeRequest, failure: Failure) -> Answer:
        if not self.refuses:
            raise RuntimeError("no words")
        return Answer(400)


class RoutedTests(LoggingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.api = API()
        self.client = Client(BridgeSite(settings=HTTP(), mounts={b"api": Routed(self.api)}))

    def test_later(self) -> None:
        """
        What a route returns is the answer, whenever that is.
        """
        self.client.begin("GET", "/api/wait")
        self.api.waiting.pop().callback(None)
        self.assertEqual(self.client.read("GET")[0].body, b"waited")

    def test_left(self) -> None:
        """
        Nobody is answered who has left.
        """
        self.client.begin("GET", "/api/wait")
        self.client.leave()
        self.assertTrue(self.api.waiting.pop().called)
        self.assertEqual((self.client.transport.value(), self.flushLoggedErrors()), (b"", []))

    def test_refused(self) -> None:
        """
        What no route takes the API refuses.
        """
        self.assertEqual(self.client.request("GET", "/api/nowhere").status, 400)

    def test_noWords(self) -> None:
        """
        A refusal that fails is a fault of ours; nobody waits for it in vain.
        """
        self.api.refuses = False
        self.assertEqual(self.client.request("GET", "/api/nowhere").status, 500)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
