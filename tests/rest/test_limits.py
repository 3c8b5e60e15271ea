"""
How much one caller may ask of C{/rest}.
"""

from __future__ import annotations

from restbridge.config import Rest
from restbridge.rest.api import RestAPI
from restbridge.web.routes import Routed
from restbridge.web.site import BridgeSite
from tests.rest.case import BOT, RestTestCase
from tests.web.client import Client, basic
from tests.web.keys import once

IQ = '{"kind": "iq", "type": "get", "to": "a@b.example", "ping": true}'
MESSAGE = '{"kind": "message", "to": "a@b.example", "body": "x"}'
HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}


class PendingTests(RestTestCase):
    """
    Two IQs may wait at once.
    """

    def setUp(self) -> None:
        super().setUp()
        api = RestAPI(guard=self.api.guard, settings=Rest(iqMaxPending=2), once=once(), clock=self.turns)
        self.site = BridgeSite(settings=self.site.settings, mounts={b"rest": Routed(api)})
        self.client = Client(self.site)

    def waiting(self, number: int) -> list[Client]:
        clients = [Client(self.site) for _ in range(number)]
        for client in clients:
            client.begin("POST", "/rest", {**basic(), **HEADERS}, IQ)
        return clients

    def test_pending(self) -> None:
        """
        One more IQ of the same account is refused, and not sent; other accounts, and messages, don't mind.
        """
        self.waiting(2)
        reply = self.post(IQ)
        error = reply.json["error"]
        self.assertEqual(
            (reply.status, error["condition"], error["type"]), (429, "resource-constraint", "wait")
        )
        self.assertEqual((error["context"], reply.headers["Retry-After"]), ({"limit": 2}, "1"))
        self.assertIn(BOT, error["text"])
        self.assertEqual(len(self.link.sent), 2)
        self.assertEqual(self.post(MESSAGE).status, 202)
        self.client.begin("POST", "/rest", {**basic("clerk"), **HEADERS}, IQ)
        self.assertEqual(len(self.link.sent), 4)

    def test_over(self) -> None:
        """
        An IQ that is answered, or whose client has left, waits no more.
        """
        first, second = self.waiting(2)
        first.leave()
        self.link.awaited[1].callback(self.link.sent[1])
        self.assertEqual(len(second.read("POST")), 1)
        self.waiting(2)
        self.assertEqual(len(self.link.sent), 4)
        self.assertEqual(self.post(IQ).status, 429)


class MethodTests(RestTestCase):
    def test_case(self) -> None:
        """
        Methods are case-sensitive: what is no POST does nothing, with an Idempotency-Key or without.
        """
        headers = {**basic(), "Content-Type": "application/json", "Accept": "application/json"}
        reply = self.client.request("post", "/rest", headers, '{"to": "a@b.example", "body": "x"}')
        self.assertEqual((404, []), (reply.status, self.link.sent))
