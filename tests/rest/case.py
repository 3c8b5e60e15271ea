"""
C{/rest} from bytes to bytes, over a link that the test plays.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.words.xish.domish import Element

from restbridge.config import HTTP, Rest
from restbridge.rest.api import RestAPI
from restbridge.stanzas.xml import parseDocument, serialize
from restbridge.web.attempts import Attempts
from restbridge.web.credentials import Credentials, tokenHash
from restbridge.web.guard import Accounts, Guard
from restbridge.web.idempotency import Once
from restbridge.web.routes import Routed
from restbridge.web.site import BridgeSite
from restbridge.workers import Workers
from tests.web.client import (
    DOMAIN,
    Client,
    FakeLink,
    FakeUsers,
    LoggingTestCase,
    Reply,
    Threads,
    account,
    basic,
)
from tests.web.keys import once

BOT = f"bot@{DOMAIN}"
XML = "application/xmpp+xml"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
TEXT = "text/plain"


class Turns(Clock):
    """
    A clock that turns as a reactor does: what is to be called at once is called in the next turn.

    @ivar pace: seconds for which it goes on each time that somebody looks at it.
    """

    pace = 0.0

    def seconds(self) -> float:
        self.rightNow += self.pace
        return self.rightNow

    def advance(self, amount: float) -> None:
        self.rightNow += amount
        due = [call for call in self.calls if call.getTime() <= self.rightNow]
        for call in due:
            if call.active():
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)


class RestTestCase(LoggingTestCase):
    """
    A bridge with the accounts C{bot} and C{clerk}, and one connection to it.

    @ivar turns: its reactor's.
    """

    def setUp(self) -> None:
        super().setUp()
        self.turns = Turns()
        accounts = [
            account(tokens=(tokenHash("a token"),)),
            account("clerk", sendAs=(f"desk-*@{DOMAIN}",)),
        ]
        self.link = self.makeLink()
        self.users = FakeUsers()
        credentials = Credentials(
            accounts=accounts, workers=Workers(Threads()), attempts=Attempts(clock=Clock())
        )
        guard = Guard(
            accounts=Accounts(domain=DOMAIN, credentials=credentials, link=self.link), users=self.users
        )
        api = RestAPI(
            guard=guard, settings=Rest(iqTimeout=120, iqMaxTimeout=300), once=self.once(), clock=self.turns
        )
        self.api = api
        # What Hypothesis makes up comes by one connection each, which is never closed.
        settings = HTTP(maxConnections=10**6, maxConnectionsPerAddress=10**6)
        self.site = BridgeSite(settings=settings, mounts={b"rest": Routed(api)})
        self.client = Client(self.site)

    def makeLink(self) -> FakeLink:
        """
        The component's.
        """
        return FakeLink()

    def once(self) -> Once:
        """
        What knows of keys.
        """
        return once()

    def post(
        self,
        body: bytes | str,
        mediaType: str | None = JSON,
        path: str = "/rest",
        accept: str = JSON,
        **headers: str,
    ) -> Reply:
        """
        @param headers: C{_} stands for C{-}.
        """
        given = {
            **basic(),
            "Accept": accept,
            **{name.replace("_", "-"): text for name, text in headers.items()},
        }
        if mediaType is not None:
            given["Content-Type"] = mediaType
        return self.client.request("POST", path, given, body)

    def get(self, path: str, accept: str = JSON) -> Reply:
        return self.client.request("GET", path, {**basic(), "Accept": accept})

    @property
    def sent(self) -> Element:
        """
        The one stanza that was written.
        """
        (stanza,) = self.link.sent
        return stanza

    def assertSent(self, xml: str) -> None:
        """
        The one stanza that was written is C{xml}, but for an id where that has none.
        """
        sent, expected = self.sent, parseDocument(xml.encode())
        self.assertTrue(sent["id"])
        expected.attributes.setdefault("id", sent["id"])
        self.assertEqual(sent.attributes, expected.attributes)
        self.assertEqual(list(map(_text, sent.children)), list(map(_text, expected.children)))

    def assertRefused(self, reply: Reply, status: int, condition: str) -> str:
        """
        It is a refusal, nothing was sent.

        @return: its text.
        """
        self.assertEqual((reply.status, reply.json["error"]["condition"]), (status, condition), reply.body)
        self.assertEqual(reply.json["code"], status)
        self.assertEqual(self.link.sent, [])
        return str(reply.json["error"]["text"])


def _text(child: Element | str) -> str:
    return child if isinstance(child, str) else serialize(child)
