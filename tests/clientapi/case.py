"""
C{/api} from bytes to bytes, for a user whose server the test plays.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock

from restbridge.clientapi.api import ClientAPI, said
from restbridge.clientapi.discovery import RoomServices
from restbridge.clientapi.events import Events
from restbridge.clientapi.rooms import Rooms
from restbridge.config import HTTP
from restbridge.web.guard import Guard
from restbridge.web.idempotency import Once
from restbridge.web.routes import Routed
from restbridge.web.site import BridgeSite
from tests.clientapi.account import OWN, Account
from tests.web.client import Client, FakeUsers, LoggingTestCase, Reply, basic
from tests.web.keys import once

JSON = "application/json"
PAGE = "https://app.example.com"


class ClientAPITestCase(LoggingTestCase):
    """
    A bridge, and one connection to it.

    @ivar account: alice's, which most requests are for.
    """

    maxBody = 200_000

    def setUp(self) -> None:
        super().setUp()
        self.account = Account()
        self.users = FakeUsers(self.account)
        api = ClientAPI(
            guard=Guard(accounts=None, users=self.users),
            events=Events(clock=Clock()),
            rooms=Rooms(services=RoomServices(domains={}, kinds={})),
            once=self.once(),
        )
        settings = HTTP(maxBody=self.maxBody, corsOrigins=(PAGE,))
        site = BridgeSite(settings=settings, mounts={b"api": Routed(api)}, refusals={b"api": said})
        self.client = Client(site)

    def once(self) -> Once:
        """
        What knows of keys.
        """
        return once()

    def ask(
        self, method: str, path: str, document: Any = None, headers: dict[str, str] | None = None
    ) -> Reply:
        """
        Call C{/api} as alice.

        @param path: below C{/api}.
        @param document: what is sent as JSON, or bytes as they are; L{None} for no body.
        @param headers: more of them; they win.
        """
        body = document if isinstance(document, bytes) else _written(document)
        given = {**basic(OWN), "Accept": JSON, **({} if body is None else {"Content-Type": JSON})}
        return self.client.request(method, f"/api{path}", {**given, **(headers or {})}, body)

    def got(self, method: str, path: str, document: Any = None) -> Any:
        """
        What a call brings that must succeed.
        """
        reply = self.ask(method, path, document)
        self.assertEqual((reply.status, reply.type), (200, JSON), reply.body)
        return reply.json

    def done(self, method: str, path: str, document: Any = None) -> None:
        """
        A call that must succeed and brings nothing.
        """
        reply = self.ask(method, path, document)
        self.assertEqual((reply.status, reply.body), (204, b""))
        for header in ("Content-Type", "Content-Length"):
            self.assertNotIn(header, reply.headers)

    def assertRefused(self, reply: Reply, status: int, text: str | None) -> None:
        """
        It is a refusal whose body is one JSON string; L{None} for an empty one.
        """
        if text is None:
            self.assertEqual((reply.status, reply.body), (status, b""))
            self.assertNotIn("Content-Type", reply.headers)
        else:
            self.assertEqual((reply.status, reply.type, reply.json), (status, JSON, text), reply.body)

    def refused(self, status: int, text: str | None, method: str, path: str, document: Any = None) -> None:
        """
        A call that must be refused.
        """
        self.assertRefused(self.ask(method, path, document), status, text)


def _written(document: Any) -> bytes | None:
    return None if document is None else json.dumps(document).encode()
