"""
C{POST /rest} with an Idempotency-Key: once, and through a stream that breaks.
"""

from __future__ import annotations

from typing import TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.words.xish.domish import Element

from restbridge.stanzas.errors import LinkDown
from restbridge.stanzas.xml import parseDocument
from restbridge.web.idempotency import PATIENCE, Once
from tests.rest import case
from tests.rest.case import JSON, TEXT, XML, RestTestCase
from tests.web.client import Client, FakeLink, FakeUserLink, Reply, basic
from tests.web.keys import MemoryStore, once

T = TypeVar("T")

PATH = "/rest/message/chat/romeo@example.net"
PING = "<iq type='get' to='example.net'{}><ping xmlns='urn:xmpp:ping'/></iq>"
PONG = "<iq type='result' from='example.net' to='bot@bridge.localhost' id='1'/>"
QUERY = "<iq type='set' to='example.net' id='1'><query xmlns='urn:xmpp:mam:2'/></iq>"


class BreakingLink(FakeLink):
    """
    A link whose stream breaks, with what is under way.

    @ivar breaks: how often still.
    @ivar reason: why it is down.
    @ivar waits: for how long somebody would have waited until it is up again.
    """

    def __init__(self) -> None:
        super().__init__()
        self.breaks = 0
        self.reason: str | None = None
        self.waits: list[float] = []

    def whyDown(self) -> str | None:
        return self.reason

    def send(self, stanza: Element) -> None:
        if self.reason is not None:
            raise LinkDown(self.reason)
        super().send(stanza)

    def confirm(self, stanza: Element) -> Deferred[Element | None]:
        return self._orBroken(super().confirm(stanza))

    def request(self, iq: Element, timeout: float) -> Deferred[Element]:
        return self._orBroken(super().request(iq, timeout))

    def _orBroken(self, answer: Deferred[T]) -> Deferred[T]:
        if self.breaks == 0:
            return answer
        self.breaks -= 1
        self.reason = "the cable is cut"
        return fail(LinkDown(self.reason))

    async def restored(self, timeout: float) -> bool:
        self.waits.append(timeout)
        if not self.returns:
            return False
        self.reason = None
        return True


class BreakingLogin(BreakingLink, FakeUserLink):
    """
    The login of a user, likewise.
    """


class KeyedTestCase(RestTestCase):
    def makeLink(self) -> FakeLink:
        self.breaking = BreakingLink()
        return self.breaking

    def once(self) -> Once:
        self.clock = Clock()
        self.store = self.makeStore()
        return once(self.store, self.clock)

    def makeStore(self) -> MemoryStore:
        return MemoryStore()

    def say(self, text: str = "hello", key: str | None = "k1", path: str = PATH, **headers: str) -> Reply:
        return self.post(text, TEXT, path, **headers, **({} if key is None else {"Idempotency_Key": key}))

    def ids(self) -> list[str]:
        """
        Of what was sent.
        """
        return [stanza["id"] for stanza in self.link.sent]


class OnceTests(KeyedTestCase):
    def test_message(self) -> None:
        """
        A message whose key comes again is not sent again, whatever else is sent meanwhile.
        """
        self.assertEqual((202, None), self.told(self.say()))
        self.assertEqual((202, None), self.told(self.say(key=None)))
        self.assertEqual((202, None), self.told(self.say(key="k2")))
        self.assertEqual((202, "true"), self.told(self.say()))
        self.assertEqual(3, len(set(self.ids())))

    def told(self, reply: Reply) -> tuple[int, str | None]:
        return reply.status, reply.headers["Idempotent-Replayed"]

    def test_iq(self) -> None:
        """
        So it is with a request; the answer is what was answered then, its headers among it.
        """
        self.link.answer = parseDocument(PONG.encode())
        body = '{"kind":"iq","type":"get","to":"example.net","ping":true,"pong":1}'
        first = self.post(body, Idempotency_Key="k1")
        self.link.answer = None
        second = self.post(body, Idempotency_Key="k1")
        self.assertEqual((200, "true"), self.told(second))
        self.assertEqual((first.body, first.type), (second.body, second.type))
        self.assertEqual("pong", second.headers["Restbridge-Ignored"])
        self.assertEqual(1, len(self.link.sent))

    def test_accounts(self) -> None:
        """
        A key of another account is another key.
        """
        self.say()
        self.assertEqual((202, None), self.told(self.say(**basic("clerk"))))
        self.assertEqual((202, "true"), self.told(self.say(**basic("clerk"))))
        self.assertEqual((202, "true"), self.told(self.say(**basic("bot@bridge.localhost"))))
        self.assertEqual(2, len(self.link.sent))

    def test_forms(self) -> None:
        """
        What is wrong with a key is said in the form that the caller reads.
        """
        self.say()
        other = self.say("another")
        self.assertEqual((422, "conflict"), (other.status, other.json["error"]["condition"]))
        for accept, mediaType in ((XML, XML), ("text/html", "text/html; charset=utf-8"), (JSON, JSON)):
            reply = self.say(key="not a key", accept=accept)
            self.assertEqual((400, mediaType), (reply.status, reply.type))
            self.assertIn(b"Idempotency-Key must be", reply.body)
        self.assertEqual(1, len(self.link.sent))

    def test_guard(self) -> None:
        """
        Nobody learns of a key who isn't let in.
        """
        self.say()
        runs = self.store.runs
        self.assertEqual(403, self.say(**basic("bot", "wrong")).status)
        self.assertEqual(runs, self.store.runs)

    def test_echo(self) -> None:
        """
        What sends nothing needs no key, nor does a question.
        """
        runs = self.store.runs
        self.assertEqual(200, self.say(path="/rest/echo").status)
        self.client.begin("GET", "/rest/ping/example.net", {**basic(), "Idempotency-Key": "k1"})
        self.assertEqual((runs, 1), (self.store.runs, len(self.link.sent)))

    def test_ids(self) -> None:
        """
        The id of the client stays; one that is made up is the same when the same is sent again.
        """
        self.breaking.breaks = 2
        self.assertEqual(503, self.say().status)
        self.breaking.reason = None
        self.assertEqual(503, self.say().status)
        self.breaking.reason = None
        self.assertEqual(202, self.say().status)
        self.assertEqual(1, len(set(self.ids())))
        self.assertEqual(3, len(self.ids()))
        self.post("<message to='a@b' id='own'/>", XML, Idempotency_Key="k2")
        self.assertEqual("own", self.ids()[-1])


class BridgesTests(KeyedTestCase):
    """
    Two bridges on one store.
    """

    def setUp(self) -> None:
        self.shared = MemoryStore()
        super().setUp()
        self.links, self.clients = [self.link], [self.client]
        self.patch(case, "DOMAIN", "bridge2.localhost")
        super().setUp()
        self.links.append(self.link)
        self.clients.append(self.client)

    def makeStore(self) -> MemoryStore:
        return self.shared

    def test_accounts(self) -> None:
        """
        An account has the same keys at both, though it has an address of its own at each.
        """
        for key, clients in (("k1", self.clients), ("k2", self.clients[::-1])):
            for client in clients:
                self.assertEqual(202, self.sayBy(client, key).status)
        (first,), (second,) = (link.sent for link in self.links)
        self.assertEqual(["bot@bridge.localhost", "bot@bridge2.localhost"], [first["from"], second["from"]])

    def sayBy(self, client: Client, key: str) -> Reply:
        self.client = client
        return self.say(key=key)

    def test_id(self) -> None:
        """
        What one could not do the other does, with the id that it would have had.
        """
        self.breaking.breaks = 1
        for status, client in zip((503, 202), self.clients[::-1], strict=True):
            self.assertEqual(status, self.sayBy(client, "k1").status)
        (first,), (second,) = (link.sent for link in self.links)
        self.assertEqual(first["id"], second["id"])


class BreakTests(KeyedTestCase):
    def test_again(self) -> None:
        """
        What was not confirmed when the stream broke is sent again as soon as there is another one, as it was.
        """
        self.breaking.breaks, self.breaking.returns = 2, True
        self.assertEqual(202, self.say().status)
        first, *others = self.link.sent
        self.assertEqual(2, len(others))
        for each in others:
            self.assertEqual(first.toXml(), each.toXml())
        self.assertEqual([PATIENCE, PATIENCE], self.breaking.waits)

    def test_iq(self) -> None:
        """
        So is a request that was not answered, and a query of an archive.
        """
        self.link.answer = parseDocument(PONG.encode())
        for stanza in (PING.format(""), QUERY):
            self.link.sent.clear()
            self.breaking.breaks, self.breaking.returns = 1, True
            self.assertEqual(200, self.post(stanza, XML, Idempotency_Key=str(len(stanza))).status)
            first, second = self.link.sent
            self.assertEqual(first.toXml(), second.toXml())

    def test_unkeyed(self) -> None:
        """
        Without a key nobody asked for that: 503.
        """
        self.breaking.breaks, self.breaking.returns = 1, True
        self.assertEqual(503, self.say(key=None).status)
        self.assertEqual(([], 1), (self.breaking.waits, len(self.link.sent)))

    def test_gone(self) -> None:
        """
        A stream that doesn't come back ends in a 503 that is not kept.
        """
        self.breaking.breaks = 1
        self.assertEqual(503, self.say().status)
        self.breaking.reason = None
        self.assertEqual(202, self.say().status)

    def test_down(self) -> None:
        """
        Nobody waits for a stream that is down when the request comes: it was not sent.
        """
        self.breaking.reason, self.breaking.returns = "the cable is cut", True
        self.assertEqual(503, self.say().status)
        self.assertEqual(([], []), (self.breaking.waits, self.link.sent))


class UserTests(KeyedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.users.link = self.login = BreakingLogin()

    def test_once(self) -> None:
        """
        Users have keys, too.
        """
        for _ in range(2):
            self.assertEqual(202, self.say(**basic("alice@example.com")).status)
        self.assertEqual(1, len(self.login.sent))

    def test_break(self) -> None:
        """
        A user's login that ends is not made again by the bridge: 503, and the next request makes it.
        """
        self.login.breaks, self.login.returns = 1, True
        self.assertEqual(503, self.say(**basic("alice@example.com")).status)
        self.users.link = another = FakeUserLink()
        self.assertEqual(202, self.say(**basic("alice@example.com")).status)
        (first,), (second,) = self.login.sent, another.sent
        self.assertEqual(first["id"], second["id"])
