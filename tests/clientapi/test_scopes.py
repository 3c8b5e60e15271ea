"""
What an access token's scopes let its bearer do by C{/api}.
"""

from __future__ import annotations

from twisted.internet.task import Clock

from restbridge.clientapi.api import ClientAPI, said
from restbridge.clientapi.discovery import RoomServices
from restbridge.clientapi.events import Events
from restbridge.clientapi.rooms import Rooms
from restbridge.config import HTTP
from restbridge.web.grants import ADMIN, QUERY, SEND, Grant, TokenRefused
from restbridge.web.guard import Guard
from restbridge.web.oauth2 import OAuth2
from restbridge.web.routes import Routed
from restbridge.web.site import BridgeSite
from tests.clientapi.account import OWN
from tests.clientapi.case import ClientAPITestCase
from tests.web.client import Client, Reply

BEARER = {"Authorization": "Bearer token"}
MESSAGE = {"to": "bob@example.com", "body": "hello"}


class Tokens:
    """
    A L{restbridge.web.oauth2.Judge} that knows one token.
    """

    def __init__(self) -> None:
        self.scopes = frozenset[str]()

    async def grant(self, token: str) -> Grant:
        if token != "token":
            raise TokenRefused("is none")
        return Grant(name=OWN, scopes=self.scopes, until=None)


class ScopeTests(ClientAPITestCase):
    def setUp(self) -> None:
        super().setUp()
        self.tokens = Tokens()
        api = ClientAPI(
            guard=Guard(accounts=None, users=self.users, oauth2=OAuth2(self.tokens)),
            events=Events(clock=Clock()),
            rooms=Rooms(services=RoomServices(domains={}, kinds={})),
            once=self.once(),
        )
        site = BridgeSite(settings=HTTP(), mounts={b"api": Routed(api)}, refusals={b"api": said})
        self.client = Client(site)

    def test_scopes(self) -> None:
        """
        C{restbridge:query} is for C{GET}, C{restbridge:send} for all else, C{restbridge:admin} for both.
        """
        for scopes, lacking in (
            ({SEND}, {"GET": QUERY}),
            ({QUERY}, {"POST": SEND, "DELETE": SEND, "PUT": SEND}),
            (set[str](), {"GET": QUERY, "POST": SEND, "DELETE": SEND, "PUT": SEND}),
            ({SEND, QUERY}, {}),
            ({ADMIN}, {}),
        ):
            self.tokens.scopes = frozenset(scopes)
            for method, path, document in (
                ("POST", "/messages", MESSAGE),
                ("GET", "/contacts", None),
                ("PUT", "/contacts/bob@example.com", {"action": "invite"}),
                ("DELETE", "/contacts/bob@example.com", None),
            ):
                self.assertAllowed(self.ask(method, path, document, BEARER), lacking.get(method))
            if "GET" in lacking:
                self.assertAllowed(self.ask("GET", "/sse", headers=BEARER), QUERY)

    def assertAllowed(self, reply: Reply, lacking: str | None) -> None:
        """
        The request gets as far as what it asks for, or is told the scope that it lacks.
        """
        if lacking is None:
            self.assertNotIn(reply.status, (401, 403, 500))
            return
        self.assertRefused(reply, 403, f"Not allowed by the access token: it needs the scope {lacking}")
        self.assertIn(f'error="insufficient_scope", scope="{lacking}"', reply.headers["WWW-Authenticate"])

    def test_invalid(self) -> None:
        """
        A token that isn't good is 401 here, as for all who aren't let in.
        """
        reply = self.ask("GET", "/rooms/x", headers={"Authorization": "Bearer another"})
        self.assertRefused(reply, 401, None)
        self.assertIn('error="invalid_token"', reply.headers["WWW-Authenticate"])
