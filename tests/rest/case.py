"""
C{/rest} from bytes to bytes, over a link that the test plays.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.words.xish.domish import Element

from restbridge.config import HTTP, Rest
from restbridge.rest.api import RestAPI
from restbridge.stanzas.xml import parseDocument, serialize
from restbridge.web.credentials import Credentials, tokenHash
from restbridge.web.guard import Guard
from restbridge.web.site import BridgeSite
from tests.web.client import DOMAIN, Client, LoggingTestCase, Reply, Threads, account, basic

BOT = f"bot@{DOMAIN}"
XML = "application/xmpp+xml"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
TEXT = "text/plain"


class FakeLink:
    """
    A L{restbridge.boundaries.Link} without a server.

    @ivar sent: what was written.
    @ivar timeouts: of the requests.
    @ivar fault: raised in place of anything being written.
    @ivar holds: whether the server takes its time to take a message or presence.
    @ivar error: what the server says to a message or presence.
    @ivar answer: what the entity asked says; L{None} to stay silent.
    @ivar awaited: the requests that nobody has answered.
    @ivar forgotten: how many of them were cancelled.
    @ivar results: the messages that an archive brings.
    """

    def __init__(self) -> None:
        self.sent: list[Element] = []
        self.timeouts: list[float] = []
        self.fault: Exception | None = None
        self.holds = False
        self.error: Element | None = None
        self.answer: Element | None = None
        self.awaited: list[Deferred[Element]] = []
        self.forgotten = 0
        self.results: list[Element] = []

    def whyDown(self) -> str | None:
        return None

    def send(self, stanza: Element) -> None:
        if self.fault is not None:
            raise self.fault
        # What can't be written isn't sent.
        self.sent.append(parseDocument(serialize(stanza).encode()))

    def confirm(self, stanza: Element) -> Deferred[Element | None]:
        self.send(stanza)
        return Deferred(self._forget) if self.holds else succeed(self.error)

    def request(self, iq: Element, timeout: float) -> Deferred[Element]:
        self.send(iq)
        self.timeouts.append(timeout)
        if self.answer is not None:
            return succeed(self.answer)
        self.awaited.append(Deferred(self._forget))
        return self.awaited[-1]

    async def query(self, iq: Element, timeout: float) -> list[Element]:
        return [*self.results, await self.request(iq, timeout)]

    def _forget(self, _: object) -> None:
        self.forgotten += 1


class RestTestCase(LoggingTestCase):
    """
    A bridge with the accounts C{bot} and C{clerk}, and one connection to it.
    """

    def setUp(self) -> None:
        super().setUp()
        accounts = [
            account(tokens=(tokenHash("a token"),)),
            account("clerk", sendAs=(f"desk-*@{DOMAIN}",)),
        ]
        guard = Guard(domain=DOMAIN, credentials=Credentials(accounts=accounts, threads=Threads()))
        self.link = FakeLink()
        api = RestAPI(guard=guard, link=self.link, settings=Rest(iqTimeout=120, iqMaxTimeout=300))
        self.api = api
        self.site = BridgeSite(settings=HTTP(), mounts={b"rest": api.app.resource()})
        self.client = Client(self.site)

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
