"""
L{restbridge.xmpp.userstream}: a stream that is logged in, with a server that the test plays.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish.domish import Element

from restbridge.boundaries import Credential
from restbridge.stanzas.errors import LinkDown, NoAnswer
from restbridge.stanzas.xml import StanzaTooLarge, XMLRefused, serialize
from restbridge.workers import Workers
from restbridge.xmpp.c2s import Logins
from restbridge.xmpp.confirmations import DEADLINE, KEEPALIVE
from restbridge.xmpp.userstream import CLOSE_TIMEOUT, MAX_SENT, QUERIES, UserStream
from tests.web.client import Threads
from tests.xmpp.fakes import ALICE, PASSWORD, Taking, UserServer, stanza, stanzas

MESSAGE = "<message to='bob@localhost' id='m1'><body>Hi</body></message>"
OWN = "<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>"
PING = "<iq type='get' to='bob@localhost/desk' id='1'><ping xmlns='urn:xmpp:ping'/></iq>"
ARCHIVE = "<iq type='set' id='1'><query xmlns='urn:xmpp:mam:2' queryid='q'/></iq>"


class LinkCase(SynchronousTestCase):
    """
    Is logged in as alice.

    @ivar ends: the reasons that were given for the end of the stream.
    """

    language = ""

    def setUp(self) -> None:
        self.clock = Clock()
        self.server = UserServer()
        self.server.language = self.language
        login = self.login()
        self.server.accept()
        self.link = self.successResultOf(login)
        self.me = self.link.address.full
        self.ends: list[str] = []
        self.link.whenEnded(self.ends.append)

    def login(self) -> Deferred[UserStream]:
        logins = Logins(
            domain="localhost",
            routes=self.server.routes,
            options=lambda: optionsForClientTLS("localhost"),
            workers=Workers(Threads()),
            clock=self.clock,
        )
        return logins.login(ALICE, Credential(PASSWORD))

    def sent(self, xml: str) -> str:
        """
        What goes out for a stanza.
        """
        self.link.send(stanza(xml))
        return self.server.read()

    def request(self, xml: str, timeout: float = 9) -> Deferred[Element]:
        return self.link.request(stanza(xml), timeout)

    def confirm(self, xml: str = MESSAGE) -> Deferred[Element | None]:
        return self.link.confirm(stanza(xml))

    def query(self) -> Deferred[list[Element]]:
        return Deferred.fromCoroutine(self.link.query(stanza(ARCHIVE), 9))

    def routeBarrier(self) -> None:
        """
        The server passes what was last written on to whom it is for, which is who wrote it.
        """
        self.clock.advance(0)
        barrier = stanzas(self.server.read())[-1]
        self.assertEqual((barrier.name, barrier["type"], barrier["to"]), ("iq", "result", self.me))
        barrier["from"] = self.me
        self.server.write(serialize(barrier))

    def assertUp(self) -> None:
        self.assertIsNone(self.link.whyDown())
        self.assertTrue(self.server.connected)
        self.assertEqual(self.ends, [])
        self.server.read()
        self.assertEqual(self.sent(MESSAGE), MESSAGE)

    def assertDown(self, words: str) -> None:
        """
        The stream has ended for that reason, and has said so once.
        """
        self.assertEqual(self.ends, [self.link.whyDown()])
        self.assertIn(words, self.ends[0])
        self.assertFalse(self.server.connected)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertRaises(LinkDown, self.link.send, stanza(MESSAGE))


class OutTests(LinkCase):
    """
    What goes out.
    """

    def test_from(self) -> None:
        """
        The server fills in who sends: it isn't said, whichever of the own addresses the stanza names.
        """
        for address in ("", " from='alice@localhost'", f" from='{self.me}'"):
            self.assertEqual(self.sent(MESSAGE.replace("<message", f"<message{address}")), MESSAGE)

    def test_toNobody(self) -> None:
        """
        What is for nobody is for the own account; a presence is for all contacts.
        """
        self.assertEqual(self.sent("<message id='1'/>"), "<message id='1' to='alice@localhost'/>")
        self.assertEqual(self.sent("<iq type='get' id='1'/>"), "<iq type='get' id='1' to='alice@localhost'/>")
        self.assertEqual(self.sent("<presence id='1'/>"), "<presence id='1'/>")
        self.assertEqual(self.sent("<presence to='room@localhost/a'/>"), "<presence to='room@localhost/a'/>")

    def test_unchanged(self) -> None:
        """
        Nothing else of a stanza is touched.
        """
        xml = (
            "<message to='bob@localhost' xml:lang='en'><body>&lt;Hi&gt;</body>"
            "<x xmlns='y' a='b'><z/></x></message>"
        )
        self.assertEqual(self.sent(xml), xml)

    def test_tooLarge(self) -> None:
        """
        A stanza that would end the stream is refused; the stream goes on. What counts is its size as XML.
        """
        message = stanza(MESSAGE)
        message.addElement("body", content="&" * (MAX_SENT // 5))
        for refused in (self.link.send, self.link.confirm):
            self.assertRaises(StanzaTooLarge, refused, message)
        iq = stanza(OWN)
        iq.addElement("x", content="x" * MAX_SENT)
        self.assertRaises(StanzaTooLarge, self.link.request, iq, 9)
        self.assertFalse(self.link.busy)
        self.assertUp()

    def test_notXML(self) -> None:
        """
        So is what can't stand in XML.
        """
        message = stanza(MESSAGE)
        message.addElement("body", content="\x07")
        self.assertRaises(XMLRefused, self.link.send, message)
        self.assertUp()


class AnswerTests(LinkCase):
    """
    What comes back.
    """

    def test_own(self) -> None:
        """
        The own account answers with its address or without, which is how the answer comes back.
        """
        for sender in ("", " from='alice@localhost'", " from='ALICE@localhost'"):
            for to in ("", f" to='{self.me}'"):
                for kind in ("result", "error"):
                    waiting = self.request(OWN)
                    self.server.write(f"<iq type='{kind}' id='1'{sender}{to}><x xmlns='y'/></iq>")
                    answer = self.successResultOf(waiting)
                    self.assertEqual(
                        serialize(answer), f"<iq type='{kind}' id='1' to='{self.me}'><x xmlns='y'/></iq>"
                    )
        self.assertFalse(self.link.busy)

    def test_fromBare(self) -> None:
        """
        A stanza from the bare address goes out from the full one, to which the answer comes.
        """
        waiting = self.request(OWN.replace("<iq", "<iq from='alice@localhost'"))
        confirmed = self.confirm(MESSAGE.replace("<message", "<message from='alice@localhost'"))
        self.server.write(
            f"<iq type='result' id='1' to='{self.me}'/>"
            f"<message type='error' id='m1' from='bob@localhost' to='{self.me}'/>"
        )
        self.successResultOf(waiting)
        self.assertIsNotNone(self.successResultOf(confirmed))

    def test_others(self) -> None:
        """
        Others answer with theirs.
        """
        waiting = self.request(PING)
        self.assertTrue(self.link.busy)
        self.server.write(f"<iq type='result' id='1' from='bob@localhost/desk' to='{self.me}'/>")
        self.assertEqual(self.successResultOf(waiting)["from"], "bob@localhost/desk")
        self.assertFalse(self.link.busy)

    def test_impostors(self) -> None:
        """
        An answer counts only from whom was asked.
        """
        waiting = self.request(OWN)
        for sender in ("bob@localhost", "localhost", self.me, "alice@localhost/other", "alice@example.com"):
            self.server.write(f"<iq type='result' id='1' from='{sender}' to='{self.me}'/>")
        self.server.write("<iq type='result' id='1' to='alice@localhost'/>")
        self.assertNoResult(waiting)

    def test_impostorsOfOthers(self) -> None:
        """
        The own account and the server don't answer for others.
        """
        waiting = self.request(PING)
        for sender in ("bob@localhost", "bob@localhost/other", "localhost", "alice@localhost"):
            self.server.write(f"<iq type='result' id='1' from='{sender}' to='{self.me}'/>")
        self.assertNoResult(waiting)

    def test_noAnswer(self) -> None:
        """
        Nobody waits for longer than they want.
        """
        waiting = self.request(PING, 5)
        self.clock.advance(5)
        self.failureResultOf(waiting, NoAnswer)
        self.assertUp()

    def test_archive(self) -> None:
        """
        The results of the own archive come without its address, or with it; others' are not its own.
        """
        collected = self.query()
        self.assertIn("to='alice@localhost'", self.server.read())
        result = "<message{} id='{}'><result xmlns='urn:xmpp:mam:2' queryid='q' id='{}'/></message>"
        for number, sender in enumerate(("", " from='alice@localhost'", " from='eve@localhost'", "")):
            self.server.write(result.format(sender, number, number))
        self.server.write("<iq type='result' id='1'/>")
        found = self.successResultOf(collected)
        self.assertEqual(
            [(one.name, one["id"]) for one in found[:-1]], [("message", number) for number in "013"]
        )
        self.assertEqual((found[-1].name, found[-1]["type"]), ("iq", "result"))
        self.assertEqual([one.getAttribute("from") for one in found], [None] * 4)

    def test_manyQueries(self) -> None:
        """
        No more than a few archive queries are under way; the others follow in their order.
        """
        queries = [
            Deferred.fromCoroutine(self.link.query(stanza(ARCHIVE.replace("'1'", f"'{number}'")), 9))
            for number in range(QUERIES + 2)
        ]
        self.assertEqual(self.server.read().count("<query"), QUERIES)
        queries.pop(QUERIES).addErrback(lambda _: None).cancel()
        self.server.write("<iq type='result' id='0'/>")
        self.clock.advance(0)
        self.assertIn(f"id='{QUERIES + 1}'", self.server.read())
        for number in range(1, QUERIES + 2):
            self.server.write(f"<iq type='result' id='{number}'/>")
        for query in queries:
            self.assertEqual(1, len(self.successResultOf(query)))

    def test_queriesInVain(self) -> None:
        """
        Those that wait for their turn when the connection breaks fail like the others, however many.
        """
        queries = [
            Deferred.fromCoroutine(self.link.query(stanza(ARCHIVE.replace("'1'", f"'{number}'")), 9))
            for number in range(1000)
        ]
        self.server.drop()
        self.clock.pump([0] * 1000)
        for query in queries:
            self.failureResultOf(query, LinkDown)

    def test_queriesInLine(self) -> None:
        """
        Waiting for a turn is part of the time that a query may take.
        """
        queries = [
            Deferred.fromCoroutine(self.link.query(stanza(ARCHIVE.replace("'1'", f"'{number}'")), 9))
            for number in range(QUERIES + 1)
        ]
        self.clock.pump([1] * 9)
        for query in queries:
            self.failureResultOf(query, NoAnswer)

    def test_barrier(self) -> None:
        """
        A stanza is taken when what was sent to oneself behind it has come back.
        """
        waiting = self.confirm()
        self.assertTrue(self.link.busy)
        self.routeBarrier()
        self.assertIsNone(self.successResultOf(waiting))
        self.assertFalse(self.link.busy)

    def test_barrierOfOthers(self) -> None:
        """
        Nobody else can say so, not even the own account.
        """
        waiting = self.confirm()
        self.clock.advance(0)
        barrier = stanzas(self.server.read())[-1]
        for sender in ("bob@localhost", "localhost", "alice@localhost", "alice@localhost/other", ""):
            barrier["from"] = sender
            self.server.write(serialize(barrier))
        self.assertNoResult(waiting)

    def test_refused(self) -> None:
        """
        The server's error about a stanza is its answer, whoever it is from.
        """
        error = "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        for kind, to, sender in (
            ("message", "bob@localhost", "bob@localhost"),
            ("message", "", None),
            ("presence", "localhost", "localhost"),
        ):
            waiting = self.confirm(f"<{kind} to='{to}' id='1'/>" if to else f"<{kind} id='1'/>")
            written = f" from='{to}'" if to else ""
            self.server.write(f"<{kind} type='error' id='1'{written} to='{self.me}'>{error}</{kind}>")
            answer: Any = self.successResultOf(waiting)
            self.assertEqual((answer["type"], answer.getAttribute("from")), ("error", sender))
            self.routeBarrier()

    def test_presenceToAll(self) -> None:
        """
        A presence for all contacts is confirmed, too.
        """
        waiting = self.confirm("<presence id='1'/>")
        self.server.write(
            "<presence type='error' id='1' from='bob@localhost'/><presence type='error' id='1'/>"
        )
        self.assertNoResult(waiting)
        self.routeBarrier()
        self.assertIsNone(self.successResultOf(waiting))

    def test_keepalive(self) -> None:
        """
        A server that is silent for long is asked whether it is there; one that isn't is left.
        """
        self.clock.advance(KEEPALIVE)
        self.assertFalse(self.link.busy)
        self.routeBarrier()
        self.clock.advance(KEEPALIVE)
        waiting = self.request(PING, KEEPALIVE)
        self.clock.advance(DEADLINE)
        self.failureResultOf(waiting, LinkDown)
        self.assertTrue(self.server.aborted)
        self.assertDown("did not answer")


class LanguageTests(LinkCase):
    """
    The language of a stream is that of all its stanzas (RFC 6120, section 8.1.5).
    """

    language = "en"

    def languages(self, answers: list[Any]) -> list[str | None]:
        return [one.getAttribute(("http://www.w3.org/XML/1998/namespace", "lang")) for one in answers]

    def test_removed(self) -> None:
        """
        A server may repeat it in each stanza; answers come back without.
        """
        waiting, confirmed, collected = self.request(PING), self.confirm(), self.query()
        self.server.write(
            "<iq type='result' id='1' from='bob@localhost/desk' xml:lang='en'/>"
            "<message type='error' id='m1' from='bob@localhost' xml:lang='en'/>"
            "<message xml:lang='en'><result xmlns='urn:xmpp:mam:2' queryid='q'/></message>"
            "<iq type='result' id='1' xml:lang='en'/>"
        )
        answers = [self.successResultOf(waiting), self.successResultOf(confirmed)]
        self.assertEqual(self.languages([*answers, *self.successResultOf(collected)]), [None] * 4)

    def test_kept(self) -> None:
        """
        Another language is the answer's own.
        """
        waiting = self.request(OWN)
        self.server.write("<iq type='result' id='1' xml:lang='de'/>")
        self.assertEqual(self.languages([self.successResultOf(waiting)]), ["de"])

    def test_unknown(self) -> None:
        """
        So is any where the stream has none.
        """
        self.language = ""
        self.setUp()
        waiting = self.request(OWN)
        self.server.write("<iq type='result' id='1' xml:lang='en'/>")
        self.assertEqual(self.languages([self.successResultOf(waiting)]), ["en"])


class InTests(LinkCase):
    """
    What nobody waits for.
    """

    def setUp(self) -> None:
        super().setUp()
        self.taker = Taking()

    def test_acknowledged(self) -> None:
        """
        A message is acknowledged at once: the server may hold back what comes next.
        """
        before = self.server.acknowledged
        self.server.write(f"<message from='bob@localhost' to='{self.me}'/>")
        self.assertEqual(1, self.server.acknowledged - before)

    def test_unclaimed(self) -> None:
        """
        An IQ that nobody takes gets service-unavailable, also from the own account and the server.
        """
        for sender, to in (
            ("bob@localhost/x", "bob@localhost/x"),
            ("localhost", "localhost"),
            ("", ALICE.bare),
        ):
            for kind in ("get", "set"):
                written = f" from='{sender}'" if sender else ""
                self.server.write(f"<iq type='{kind}' id='7'{written}><q xmlns='x'/></iq>")
                (answer,) = stanzas(self.server.read())
                self.assertEqual(answer.attributes, {"type": "error", "id": "7", "to": to})
                self.assertIsNotNone(answer.error)
                self.assertIn("service-unavailable", serialize(answer))

    def test_dropped(self) -> None:
        """
        What expects no answer gets none where nobody takes it.
        """
        self.server.write(
            "<message from='bob@localhost'><body>Hi</body></message><presence from='bob@localhost'/>"
            "<iq type='result' id='1' from='bob@localhost'/><iq type='error' id='1'/><iq id='1'/>"
            "<message type='error' from='bob@localhost'/><other/>"
        )
        self.assertEqual(self.server.read(), "")
        self.assertUp()

    def test_offered(self) -> None:
        """
        What nobody waits for is offered to the takers, with the addresses that it has by default.
        """
        self.link.offerTo([self.taker])
        waiting = self.request(OWN)
        self.server.write(
            "<iq type='result' id='1'/><message><body>Hi</body></message>"
            "<presence from='BOB@localhost/x' to='alice@localhost'/><iq type='set' id='2'/>"
        )
        self.successResultOf(waiting)
        self.assertEqual(
            [(one.name, one["from"], one["to"]) for one in self.taker.taken],
            [
                ("message", "alice@localhost", self.me),
                ("presence", "bob@localhost/x", "alice@localhost"),
                ("iq", "alice@localhost", self.me),
            ],
        )
        self.assertUp()

    def test_oversized(self) -> None:
        """
        A stanza past a limit is refused to its sender; the stream goes on.
        """
        self.link.offerTo([self.taker])
        deep = "<a>" * 200 + "</a>" * 200
        self.server.write(f"<message from='eve@localhost' id='8'>{deep}</message><message/>")
        (answer,) = stanzas(self.server.read())
        self.assertEqual(answer.attributes, {"type": "error", "id": "8", "to": "eve@localhost"})
        self.assertIn("policy-violation", serialize(answer))
        self.assertEqual(len(self.taker.taken), 1)
        self.assertUp()

    def test_sameBytes(self) -> None:
        """
        What comes in the same bytes as the end of the login is not lost.
        """
        ends: list[str] = []

        def greeted(link: UserStream) -> None:
            link.offerTo([self.taker])
            link.whenEnded(ends.append)

        greeting = self.login().addCallback(greeted)
        for move in self.server.moves()[:-1]:
            move()
        iq = stanza(self.server.read())
        self.server.write(f"<iq type='result' id='{iq['id']}'/><message/></stream:stream>")
        self.successResultOf(greeting)
        self.assertEqual((len(self.taker.taken), len(ends)), (1, 1))


class EndTests(LinkCase):
    """
    How a stream ends.
    """

    def setUp(self) -> None:
        super().setUp()
        self.waiting: list[Deferred[Any]] = [
            self.request(PING),
            self.query(),
            self.confirm(),
            self.confirm("<message id='2'/>"),
        ]
        self.server.read()

    def assertAllFailed(self, words: str) -> None:
        """
        Nobody waits any more.
        """
        for waiting in self.waiting:
            self.assertIn(words, str(self.failureResultOf(waiting, LinkDown).value))
        self.assertFalse(self.link.busy)

    def test_connectionLost(self) -> None:
        """
        What waits fails when the connection ends.
        """
        self.server.drop()
        self.assertDown("the server closed the connection")
        self.assertAllFailed("the server closed the connection")

    def test_connectionBroken(self) -> None:
        """
        Or breaks.
        """
        self.server.drop(ConnectionLost())
        self.assertDown("the connection broke")
        self.assertAllFailed("the connection broke")

    def test_streamError(self) -> None:
        """
        Or the server ends the stream with an error, which is said.
        """
        self.server.error("conflict")
        self.assertDown("the server ended the session: conflict")
        self.assertAllFailed("conflict")

    def test_streamClosed(self) -> None:
        """
        Or without.
        """
        self.server.write("</stream:stream>")
        self.assertDown("the server closed the")
        self.assertAllFailed("the server closed the")

    def test_malformed(self) -> None:
        """
        Or sends what is no XML.
        """
        self.server.write("<message></iq>")
        self.assertDown("mismatched tag")
        self.assertAllFailed("mismatched tag")

    def test_atOnce(self) -> None:
        """
        With a stream error all ends at once, however long the connection takes.
        """
        self.server.lingers = True
        self.server.error("conflict")
        self.assertAllFailed("conflict")
        self.assertIn("conflict", self.link.whyDown() or "")
        self.assertRaises(LinkDown, self.link.send, stanza(MESSAGE))
        self.assertEqual(self.ends, [])
        self.server.drop()
        self.assertDown("conflict")

    def test_lingering(self) -> None:
        """
        A server that ends a stream and then doesn't close the connection doesn't keep it.
        """
        for end in (
            "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
            "<message></iq>",
            "</stream:stream>",
        ):
            self.setUp()
            for waiting in self.waiting:
                waiting.addErrback(lambda _: None)
            self.server.lingers = True
            self.server.write(end)
            self.assertTrue(self.server.closed)
            self.clock.advance(CLOSE_TIMEOUT)
            self.assertTrue(self.server.aborted, end)
            self.assertDown("")

    def test_whenEnded(self) -> None:
        """
        All who want to know are told, in their order.
        """
        told: list[tuple[str, str]] = []
        self.link.whenEnded(lambda reason: told.append(("first", reason)))
        self.link.whenEnded(lambda reason: told.append(("second", reason)))
        self.server.error("conflict")
        self.assertAllFailed("conflict")
        self.assertEqual([name for name, reason in told if "conflict" in reason], ["first", "second"])

    def test_close(self) -> None:
        """
        A stream is closed in order: its end tag, then the connection.
        """
        closed = self.link.close()
        self.assertEqual(self.server.read(), "</stream:stream>")
        self.assertTrue(self.server.closed)
        self.assertFalse(self.server.aborted)
        self.successResultOf(closed)
        self.assertAllFailed("the session was closed")
        self.assertDown("the session was closed")

    def test_closing(self) -> None:
        """
        While the server closes its side, nothing is sent nor taken any more.
        """
        taker = Taking()
        self.link.offerTo([taker])
        self.server.lingers = True
        closed = self.link.close()
        self.server.read()
        self.assertRaises(LinkDown, self.link.send, stanza(MESSAGE))
        self.assertRaises(LinkDown, self.link.confirm, stanza(MESSAGE))
        self.assertRaises(LinkDown, self.link.request, stanza(PING), 9)
        self.failureResultOf(self.query(), LinkDown)
        self.server.write("<message/><iq type='get' id='1'/>")
        self.assertEqual((self.server.read(), taker.taken), ("", []))
        self.assertNoResult(closed)
        self.assertEqual(self.ends, [])
        self.server.drop()
        self.successResultOf(closed)
        self.assertDown("the session was closed")
        self.assertAllFailed("the session was closed")

    def test_closeTimeout(self) -> None:
        """
        A server that doesn't close its side is left after a while.
        """
        self.server.lingers = True
        closed = self.link.close()
        self.clock.advance(CLOSE_TIMEOUT - 0.1)
        self.assertNoResult(closed)
        self.clock.advance(0.1)
        self.assertTrue(self.server.aborted)
        self.successResultOf(closed)
        self.assertDown("the session was closed")
        self.assertAllFailed("")

    def test_closeWhileFailing(self) -> None:
        """
        A stream error that comes while the stream is closed changes nothing.
        """
        self.server.lingers = True
        closed = self.link.close()
        self.server.error("conflict")
        self.assertNoResult(closed)
        self.clock.advance(CLOSE_TIMEOUT)
        self.successResultOf(closed)
        self.assertDown("the session was closed")
        self.assertAllFailed("")

    def test_closeTwice(self) -> None:
        """
        Whoever closes a stream learns when its connection is gone, also the second.
        """
        self.server.lingers = True
        closed = [self.link.close(), self.link.close()]
        self.assertEqual(self.server.read(), "</stream:stream>")
        for one in closed:
            self.assertNoResult(one)
        self.server.drop()
        for one in closed:
            self.successResultOf(one)
        self.assertDown("the session was closed")
        self.assertAllFailed("")

    def test_closeEnded(self) -> None:
        """
        There is nothing to close in a stream that has ended.
        """
        self.server.drop()
        self.successResultOf(self.link.close())
        self.assertEqual(self.server.read(), "")
        self.assertAllFailed("")

    def test_closeAbandoned(self) -> None:
        """
        Who doesn't wait for the end changes nothing.
        """
        self.server.lingers = True
        closed = self.link.close()
        closed.addErrback(lambda _: None)
        closed.cancel()
        self.server.drop()
        self.assertDown("the session was closed")
        self.assertAllFailed("")
