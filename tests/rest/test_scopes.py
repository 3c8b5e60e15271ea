"""
What an access token's scopes let its bearer do by C{/rest}.
"""

from __future__ import annotations

from restbridge.stanzas.jid import JID
from restbridge.web.grants import ADMIN, QUERY, SEND
from restbridge.web.guard import AccountPrincipal, Guard, Presented, Principal
from restbridge.web.idempotency import Once
from tests.rest.case import JSON, TEXT, RestTestCase
from tests.web.client import DOMAIN, Client, FakeUsers, Reply, account
from tests.web.keys import MemoryStore, once

MESSAGE = '{"kind": "message", "to": "a@example.com", "body": "hi"}'
PRESENCE = '{"kind": "presence", "to": "a@example.com"}'
IQ = '{"kind": "iq", "type": "get", "to": "example.com", "ping": true}'


class ScopeTests(RestTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.scopes = frozenset[str]()
        # Nobody answers an IQ: what comes in is all that matters.
        self.link.holds = True
        self.api.guard = _Scoped(self)

    def once(self) -> Once:
        return once(MemoryStore())

    def send(self, document: str, **headers: str) -> Reply:
        given = {"Authorization": "Bearer x", "Content-Type": JSON, "Accept": JSON, **headers}
        return self.client.request("POST", "/rest", given, document)

    def went(self) -> list[str]:
        """
        What has gone out since this was asked last.
        """
        names = [stanza.name for stanza in self.link.sent]
        self.link.sent.clear()
        return names

    def assertInsufficient(self, reply: Reply, scope: str) -> None:
        self.assertEqual((reply.status, self.went()), (403, []))
        error = reply.json["error"]
        self.assertEqual((error["condition"], error["context"]), ("forbidden", {"scope": scope}))
        self.assertIn(scope, error["text"])
        challenge = f'Bearer realm="restbridge", error="insufficient_scope", scope="{scope}"'
        self.assertEqual(reply.headers["WWW-Authenticate"], challenge)

    def assertGoes(self, method: str, path: str, document: str | None = None) -> None:
        headers = {"Authorization": "Bearer x"} | ({} if document is None else {"Content-Type": JSON})
        self.client.begin(method, path, headers, document)
        self.assertEqual(len(self.went()), 1)
        # What was sent waits for its answer, and so does the connection.
        self.client.leave()
        self.client = Client(self.site)

    def test_send(self) -> None:
        """
        C{restbridge:send} is for messages and presence, and for nothing else.
        """
        self.scopes = frozenset({SEND})
        self.assertGoes("POST", "/rest", MESSAGE)
        self.assertGoes("POST", "/rest", PRESENCE)
        self.assertInsufficient(self.send(IQ), QUERY)
        self.assertInsufficient(self.get("/rest/ping/example.com"), QUERY)

    def test_query(self) -> None:
        """
        C{restbridge:query} is for IQs, the queries of C{GET} among them, and for nothing else.
        """
        self.scopes = frozenset({QUERY})
        self.assertGoes("POST", "/rest", IQ)
        self.assertGoes("GET", "/rest/ping/example.com")
        self.assertGoes("GET", "/rest/archive/example.com")
        self.assertInsufficient(self.send(MESSAGE), SEND)
        self.assertInsufficient(self.send(PRESENCE), SEND)

    def test_admin(self) -> None:
        """
        C{restbridge:admin} is for both.
        """
        self.scopes = frozenset({ADMIN})
        self.assertGoes("POST", "/rest", MESSAGE)
        self.assertGoes("POST", "/rest", IQ)

    def test_none(self) -> None:
        """
        Without a scope nothing can be done, not even seen what would be sent.
        """
        self.assertInsufficient(self.send(MESSAGE), SEND)
        self.assertInsufficient(self.send(IQ), QUERY)
        headers = {"Authorization": "Bearer x", "Content-Type": TEXT, "Accept": JSON}
        self.assertInsufficient(self.client.request("POST", "/rest/echo", headers, "hello"), SEND)

    def test_key(self) -> None:
        """
        The refusal isn't kept for an Idempotency-Key: a better token may try again.
        """
        self.link.holds = False
        self.assertInsufficient(self.send(MESSAGE, **{"Idempotency-Key": '"1"'}), SEND)
        self.scopes = frozenset({SEND})
        self.assertEqual(self.send(MESSAGE, **{"Idempotency-Key": '"1"'}).status, 202)
        self.assertEqual(self.went(), ["message"])


class _Scoped(Guard):
    """
    Lets in the bot, with the scopes that the test wants.
    """

    def __init__(self, test: ScopeTests) -> None:
        super().__init__(accounts=None, users=FakeUsers())
        self._test = test

    async def principal(self, presented: Presented) -> Principal:
        bot = JID("bot", DOMAIN, None)
        scopes = self._test.scopes
        return AccountPrincipal(account=account(), address=bot, link=self._test.link, scopes=scopes)
