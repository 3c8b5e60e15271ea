"""
A batch and its stream: what confirms it, and what becomes of it when the stream breaks.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.words.xish.domish import Element

from restbridge.config import Rest
from restbridge.rest.api import RestAPI
from restbridge.rest.batch import MAX_STANZAS, SLICE
from restbridge.stanzas.xml import parseDocument
from restbridge.web.attempts import Attempts
from restbridge.web.credentials import Credentials
from restbridge.web.guard import Accounts, Guard
from restbridge.web.idempotency import PATIENCE, Once
from restbridge.web.routes import Routed
from restbridge.web.site import BridgeSite
from restbridge.workers import Workers
from restbridge.xmpp.component import Component
from restbridge.xmpp.confirmations import UNDER_WAY
from restbridge.xmpp.entity import Entity
from tests.rest.batches import ARCHIVE, PING, PONG, BatchTestCase, message
from tests.rest.case import BOT
from tests.web.client import DOMAIN, Client, FakeUsers, Threads, account
from tests.web.keys import MemoryStore, once
from tests.xmpp.fakes import Server


class StreamTestCase(BatchTestCase):
    """
    Batches over a component's stream, to a server that the test plays.
    """

    def setUp(self) -> None:
        super().setUp()
        self.server = Server()
        self.component = Component(
            domain=DOMAIN,
            secret="secret",
            confirm=True,
            entity=Entity(domain=DOMAIN, accounts={}),
            endpoint=self.server,
            clock=self.turns,
        )
        credentials = Credentials(
            accounts=[account()], workers=Workers(Threads()), attempts=Attempts(clock=self.turns)
        )
        accounts = Accounts(domain=DOMAIN, credentials=credentials, link=self.component)
        guard = Guard(accounts=accounts, users=FakeUsers())
        api = RestAPI(guard=guard, settings=Rest(), once=self.once(), clock=self.turns)
        self.site = BridgeSite(settings=self.site.settings, mounts={b"rest": Routed(api)})
        self.component.startService()
        self.server.accept()

    def once(self) -> Once:
        return once(MemoryStore(), self.turns)

    def take(self) -> list[Element]:
        """
        The stanzas that have come; the server gives back the barriers among them.
        """
        self.turns.advance(0)
        found = self.seen()
        for stanza in [each for each in found if _isBarrier(each)]:
            self.server.write(stanza.toXml())
        return [stanza for stanza in found if not _isBarrier(stanza)]

    def sending(self) -> list[Element]:
        """
        The stanzas that come in one turn, and nothing comes of them.
        """
        self.turns.advance(0)
        return [stanza for stanza in self.seen() if not _isBarrier(stanza)]

    def seen(self) -> list[Element]:
        """
        All that has come.
        """
        return list(parseDocument(f"<all>{self.server.read()}</all>".encode()).elements())

    def takeAll(self) -> list[Element]:
        """
        Likewise, until no more come.
        """
        found: list[Element] = []
        while more := self.take():
            found += more
        self.take()
        return found

    def restore(self) -> None:
        """
        The server is there again.
        """
        self.turns.advance(1)
        self.server.accept()


class BarrierTests(StreamTestCase):
    def test_one(self) -> None:
        """
        What is confirmed together costs a few round trips at once, not one for each stanza.
        """
        client = self.begin([message(number) for number in range(MAX_STANZAS)])
        barriers = 0
        while not client.transport.value():
            self.turns.advance(0)
            for stanza in self.seen():
                if _isBarrier(stanza):
                    barriers += 1
                    self.server.write(stanza.toXml())
            self.assertLessEqual(barriers, UNDER_WAY + 1)
        self.assertEqual([202] * MAX_STANZAS, self.statuses(client.read("POST")[0]))

    def test_refused(self) -> None:
        """
        What the server refuses before it takes the rest is the answer to its line.
        """
        client = self.begin([message(number, id=f"m{number}") for number in range(3)])
        self.turns.advance(0)
        self.server.write(f"<message type='error' from='a@b.example' to='{BOT}' id='m1'/>")
        self.assertEqual(["m0", "m1", "m2"], [stanza["id"] for stanza in self.takeAll()])
        self.assertEqual([202, 200, 202], self.statuses(client.read("POST")[0]))

    def test_tooLarge(self) -> None:
        """
        A stanza that grows too large as XML is refused, the others are sent.
        """
        client = self.begin([message("x"), message("&" * 60_000), message("y")])
        self.assertEqual(["x", "y"], [str(stanza.body) for stanza in self.takeAll()])
        self.assertEqual([202, 413, 202], self.statuses(client.read("POST")[0]))

    def test_down(self) -> None:
        """
        While the stream is down the whole is 503.
        """
        self.server.drop()
        for headers in ({}, {"Idempotency_Key": "k"}):
            reply = self.batch([message("x")], **headers)
            self.assertEqual((503, "1"), (reply.status, reply.headers["Retry-After"]))

    def test_break(self) -> None:
        """
        When it breaks meanwhile, those that aren't known to be taken are 503, and not sent again.
        """
        client = self.begin([message(number) for number in range(3)])
        self.turns.advance(0)
        self.seen()
        self.server.drop()
        self.assertEqual([503] * 3, self.statuses(client.read("POST")[0]))
        self.restore()
        self.assertEqual([], self.takeAll())


class KeyTests(StreamTestCase):
    TEXTS = ("0", "1", "2", "3")

    def begun(self, key: str = "k", texts: Sequence[str] = TEXTS) -> Client:
        return self.begin([message(text) for text in texts], Idempotency_Key=key)

    def ids(self, stanzas: Sequence[Element]) -> list[tuple[str, str]]:
        """
        Texts and ids.
        """
        return [(str(stanza.body), stanza["id"]) for stanza in stanzas]

    def assertAll(self, client: Client) -> None:
        """
        It is answered: all were taken.
        """
        self.assertEqual([202] * len(self.TEXTS), self.statuses(client.read("POST")[0]))

    def test_once(self) -> None:
        """
        It is done once, and its answer kept.
        """
        client = self.begun()
        sent = self.ids(self.takeAll())
        self.assertEqual(list(self.TEXTS), [text for text, _ in sent])
        self.assertEqual(4, len({id_ for _, id_ in sent}))
        (first,) = client.read("POST")
        again = self.begun()
        self.assertEqual([], self.takeAll())
        (second,) = again.read("POST")
        self.assertEqual((first.body, "true"), (second.body, second.headers["Idempotent-Replayed"]))

    def test_own(self) -> None:
        """
        Ids that the client gives stay; those of another key are others.
        """
        self.begun("a")
        first = self.ids(self.takeAll())
        self.begun("b")
        self.assertEqual(set(), set(first) & set(self.ids(self.takeAll())))
        self.begin([message("x", id="own")], Idempotency_Key="c")
        self.assertEqual([("x", "own")], self.ids(self.takeAll()))

    def test_break(self) -> None:
        """
        What wasn't confirmed when the stream broke is sent again as it was, in its order, and nothing else.
        """
        self.turns.pace = SLICE / 2
        client = self.begun()
        sent: list[Element] = []
        while not any(map(_isBarrier, sent)):
            self.turns.advance(0)
            sent += self.seen()
        barrier = next(filter(_isBarrier, sent))
        self.server.write(barrier.toXml())
        taken = self.ids(sent[: sent.index(barrier)])
        self.assertTrue(0 < len(taken) < len(self.TEXTS), taken)
        self.turns.pump([0] * len(self.TEXTS))
        self.turns.pace = 0
        whole = self.ids([stanza for stanza in sent + self.seen() if not _isBarrier(stanza)])
        self.server.drop()
        self.assertEqual(b"", client.transport.value())
        self.restore()
        self.assertEqual(taken + self.ids(self.takeAll()), whole)
        self.assertAll(client)

    def test_kinds(self) -> None:
        """
        Messages and IQs are sent again in the order of their lines.
        """
        client = self.begin([message(1), PING, message(2), ARCHIVE, message(3)], Idempotency_Key="k")
        sent = [stanza["id"] for stanza in self.sending()]
        self.server.drop()
        self.restore()
        self.assertEqual(sent, [stanza["id"] for stanza in self.takeAll()])
        for id_ in (sent[1], sent[3]):
            self.server.write(PONG.replace("id='1'", f"id='{id_}'"))
        self.assertEqual([202, 200, 202, 200, 202], self.statuses(client.read("POST")[0]))

    def test_behind(self) -> None:
        """
        What wasn't sent yet when it broke waits as well, behind what is sent again.
        """
        self.turns.pace = SLICE / 2
        client = self.begun()
        sent = self.sending()
        self.assertTrue(0 < len(sent) < len(self.TEXTS), sent)
        self.server.drop()
        for _ in self.TEXTS:
            self.turns.advance(0)
        self.turns.pace = 0
        self.restore()
        again = self.ids(self.takeAll())
        self.assertEqual(list(self.TEXTS), [text for text, _ in again])
        self.assertEqual(self.ids(sent), again[: len(sent)])
        self.assertAll(client)

    def test_gone(self) -> None:
        """
        A stream that doesn't come back makes the whole 503; the same again is sent with the same ids.
        """
        client = self.begun()
        sent = self.ids(self.sending())
        self.server.refuses = True
        self.server.drop()
        self.turns.advance(PATIENCE + 1)
        (reply,) = client.read("POST")
        self.assertEqual((503, "1"), (reply.status, reply.headers["Retry-After"]))
        self.server.refuses = False
        self.turns.pump([1] * 60)
        self.server.accept()
        client = self.begun()
        self.assertEqual(sent, self.ids(self.takeAll()))
        self.assertAll(client)

    def test_left(self) -> None:
        """
        Whoever leaves doesn't end it.
        """
        self.begun().leave()
        self.assertEqual(len(self.TEXTS), len(self.takeAll()))
        self.assertAll(self.begun())


def _isBarrier(stanza: Element) -> bool:
    return bool(stanza["id"].startswith("barrier-"))
