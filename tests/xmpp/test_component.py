"""
L{restbridge.xmpp.component} and the stream under it, with a server that the test plays.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish.domish import Element
from zope.interface import implementer

from restbridge.stanzas.errors import LinkDown
from restbridge.stanzas.xml import StanzaTooLarge, XMLRefused
from restbridge.xmpp.component import MAX_SENT, Component
from restbridge.xmpp.entity import Entity
from restbridge.xmpp.stream import CLOSE_TIMEOUT, CONTESTED, HANDSHAKE_TIMEOUT
from tests.xmpp.fakes import Server, Taking, stanza

PING = "<iq type='get' from='bot@bridge.localhost' to='localhost' id='1'><ping xmlns='urn:xmpp:ping'/></iq>"
STREAM_ERROR = "<stream:error><{} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"


@implementer(ILogObserver)
class Observer:
    """
    Collects what is logged.
    """

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines

    def __call__(self, event: LogEvent) -> None:
        self.lines.append(formatEvent(event))


class ComponentTestCase(SynchronousTestCase):
    """
    @cvar waits: whether the component waits until it may connect.
    """

    waits: ClassVar[bool] = False

    def setUp(self) -> None:
        self.clock = Clock()
        self.server = Server()
        self.component = Component(
            domain="bridge.localhost",
            secret="secret",
            confirm=True,
            entity=Entity(domain="bridge.localhost", accounts=("bot",)),
            endpoint=self.server,
            clock=self.clock,
            waits=self.waits,
        )
        self.logged: list[str] = []
        observer = Observer(self.logged)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.addCleanup(self.component.stopService)

    def connect(self) -> None:
        self.component.startService()
        self.server.accept()

    def said(self, words: str) -> int:
        return sum(words in line for line in self.logged)


class LifeTests(ComponentTestCase):
    def test_handshake(self) -> None:
        """
        The stream is up once the server has accepted the handshake: SHA-1 of stream id and secret
        (XEP-0114, section 3).
        """
        self.component.startService()
        self.assertIn("to='bridge.localhost'", self.server.read())
        up = self.component.whenUp()
        self.server.write(
            "<stream:stream xmlns='jabber:component:accept' "
            "xmlns:stream='http://etherx.jabber.org/streams' id='3BF96D32'>"
        )
        expected = sha1(b"3BF96D32secret").hexdigest()
        self.assertEqual(self.server.read(), f"<handshake>{expected}</handshake>")
        self.assertNoResult(up)
        self.assertIsNotNone(self.component.whyDown())
        self.server.write("<handshake/>")
        self.successResultOf(up)
        self.assertIsNone(self.component.whyDown())

    def test_downIsSaidAtOnce(self) -> None:
        """
        While the stream is down nothing is queued: who sends is told why, at once.
        """
        self.server.refuses = True
        self.component.startService()
        for send in (
            lambda: self.component.send(stanza(PING)),
            lambda: self.component.confirm(stanza(PING)),
            lambda: self.component.request(stanza(PING), 1),
        ):
            self.assertRaises(LinkDown, send)
        self.server.refuses = False
        self.clock.advance(1)
        self.server.accept()
        self.assertEqual(self.server.read(), "")

    def test_restored(self) -> None:
        """
        Whoever waits for a stream that is down is told when it is up, or that this takes too long.
        """
        self.connect()
        self.assertIs(True, self.successResultOf(self.restored(0)))
        self.server.refuses = True
        self.server.drop()
        soon, later = self.restored(1), self.restored(100)
        self.clock.advance(1)
        self.assertIs(False, self.successResultOf(soon))
        self.server.refuses = False
        self.clock.advance(30)
        self.assertNoResult(later)
        self.server.accept()
        self.assertIs(True, self.successResultOf(later))

    def restored(self, timeout: float) -> Deferred[bool]:
        return Deferred.fromCoroutine(self.component.restored(timeout))

    def test_connectionLost(self) -> None:
        """
        What waits when the connection breaks fails, and a new connection is made.
        """
        self.connect()
        waiting: list[Any] = [self.component.request(stanza(PING), 9), self.component.confirm(stanza(PING))]
        self.server.drop()
        for deferred in waiting:
            self.failureResultOf(deferred, LinkDown)
        self.assertIn("closed", self.component.whyDown() or "")
        self.clock.advance(0.2)
        self.server.accept()
        self.assertIsNone(self.component.whyDown())

    def test_backoffGrows(self) -> None:
        """
        A server that can't be reached is tried less and less often: first within 0.2 s, then at most
        every 15 to 30 s.
        """
        self.server.refuses = True
        self.component.startService()
        self.clock.advance(0.2)
        self.assertEqual(self.server.attempts, 2)
        self.clock.pump([0.1] * 6000)
        self.assertLess(self.server.attempts, 60)
        before = self.server.attempts
        self.clock.pump([0.1] * 301)
        self.assertIn(self.server.attempts - before, (1, 2, 3))

    def test_backoffWithoutHandshake(self) -> None:
        """
        A port that opens is not a server that accepts: the wait grows until the handshake succeeds.
        """
        self.component.startService()
        for _ in range(8):
            self.server.open()
            self.server.drop()
            self.clock.advance(30)
        attempts = self.server.attempts
        self.server.open()
        self.server.drop()
        self.clock.advance(5)
        self.assertEqual(self.server.attempts, attempts)
        self.clock.advance(25)
        self.server.accept()
        self.server.drop()
        self.clock.advance(0.2)
        self.assertEqual(self.server.attempts, attempts + 2)

    def test_reasonSaidOnce(self) -> None:
        """
        The same reason is logged once, not with every attempt.
        """
        self.server.refuses = True
        self.component.startService()
        self.clock.pump([1] * 120)
        self.assertEqual(self.said("can't connect"), 1)

    def test_advice(self) -> None:
        """
        A wrong secret, a conflict and an unknown component are logged in words that tell what to do.
        """
        for condition, advice in (
            ("not-authorized", "make component.secret the same"),
            ("conflict", "stop the other bridge"),
            ("host-unknown", "add it to the server's configuration"),
            ("policy-violation", "policy-violation"),
        ):
            self.setUp()
            self.component.startService()
            self.server.open()
            self.server.write(STREAM_ERROR.format(condition))
            self.assertIn(advice, self.component.whyDown() or "")
            self.assertEqual(self.said(advice), 1)
            self.assertFalse(self.server.connected)

    def test_conflict(self) -> None:
        """
        Whose place is taken waits for it, says so once, and tries every other second however long that takes;
        when the place is free it serves.
        """
        self.component.startService()
        for number in range(1, 200):
            self.assertEqual(number, self.server.attempts)
            self.server.open()
            self.server.write(STREAM_ERROR.format("conflict"))
            self.assertIn("waiting as a standby: the server has another", self.component.whyDown() or "")
            self.clock.advance(0.9)
            self.assertFalse(self.server.connected)
            self.clock.advance(CONTESTED - 0.9)
        self.assertEqual(1, self.said("waiting as a standby"))
        self.server.accept()
        self.assertIsNone(self.component.whyDown())

    def test_conflictAfterwards(self) -> None:
        """
        What comes after a conflict is waited for as ever.
        """
        self.component.startService()
        self.server.open()
        self.server.write(STREAM_ERROR.format("conflict"))
        self.server.refuses = True
        self.clock.advance(CONTESTED)
        attempts = self.server.attempts
        self.clock.advance(0.2)
        self.assertEqual(attempts + 1, self.server.attempts)

    def test_handshakeTimeout(self) -> None:
        """
        A server that accepts the connection and says nothing is given up.
        """
        self.component.startService()
        self.clock.advance(HANDSHAKE_TIMEOUT)
        self.assertIn("did not accept", self.component.whyDown() or "")

    def test_stop(self) -> None:
        """
        Stopping closes the stream in order: nothing more is sent, and what the server has sent by then is
        taken. It leaves nothing behind.
        """
        self.connect()
        taker = Taking()
        self.component.offerTo([taker])
        pending = self.component.request(stanza(PING), 30)
        stopped = self.component.stopService()
        self.assertIn("</stream:stream>", self.server.read())
        self.failureResultOf(pending, LinkDown)
        self.assertRaises(LinkDown, self.component.send, stanza(PING))
        self.server.write("<message from='bob@localhost' to='bot@bridge.localhost'><body>Hi</body></message>")
        self.assertEqual(len(taker.taken), 1)
        self.assertNoResult(stopped)
        self.server.write("</stream:stream>")
        self.server.drop()
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopUnanswered(self) -> None:
        """
        A server that doesn't close its side is waited for, but not for long.
        """
        self.connect()
        stopped = self.component.stopService()
        self.clock.advance(CLOSE_TIMEOUT)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertFalse(self.server.connected)


class WaitingTests(ComponentTestCase):
    """
    A component that is told when it may connect.
    """

    waits = True

    def test_enter(self) -> None:
        """
        It connects when it is told to, whether that is before it is started or after.
        """
        for calls in ((self.component.startService, self.component.enter), (self.component.enter,)):
            self.assertFalse(self.server.connected)
            for call in calls:
                call()
            self.server.accept()
            self.assertIsNone(self.component.whyDown())
            self.component.leave("another's turn")
        self.component.stopService()
        self.component.enter()
        self.assertFalse(self.server.connected)
        self.component.startService()
        self.assertTrue(self.server.connected)

    def test_leave(self) -> None:
        """
        Told to leave, it breaks the connection at once, says why once, and makes no other; what waits fails.
        """
        self.component.enter()
        self.connect()
        pending = self.component.request(stanza(PING), 30)
        for _ in range(2):
            self.component.leave("another's turn")
            self.assertFalse(self.server.connected)
            self.assertEqual("another's turn", self.component.whyDown())
        self.failureResultOf(pending, LinkDown)
        self.assertRaises(LinkDown, self.component.send, stanza(PING))
        self.clock.pump([1] * 60)
        self.assertEqual((1, 1), (self.server.attempts, self.said("another's turn")))
        self.component.enter()
        self.server.accept()
        self.assertIsNone(self.component.whyDown())

    def test_leaveMidway(self) -> None:
        """
        So it does in the middle of a handshake, and between two attempts.
        """
        self.component.enter()
        self.component.startService()
        self.server.open()
        self.component.leave("another's turn")
        self.assertFalse(self.server.connected)
        self.server.refuses = True
        self.component.enter()
        attempts = self.server.attempts
        self.component.leave("another's turn")
        self.clock.pump([1] * 60)
        self.assertEqual((attempts, "another's turn"), (self.server.attempts, self.component.whyDown()))


class TrafficTests(ComponentTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.connect()
        self.taker = Taking()

    def test_namespaces(self) -> None:
        """
        Stanzas are jabber:client inside, and of the stream's own namespace on the wire.
        """
        self.component.offerTo([self.taker])
        self.server.write("<message from='BOB@localhost' to='bot@bridge.localhost'><body>Hi</body></message>")
        (message,) = self.taker.taken
        self.assertEqual((message.uri, message["from"]), ("jabber:client", "bob@localhost"))
        self.component.send(stanza(PING))
        self.assertEqual(
            self.server.read(),
            PING,
        )

    def test_acknowledged(self) -> None:
        """
        Messages that come together are acknowledged at once, and once: the server may hold back what comes
        next. What is answered needs no more than the answer.
        """
        message = "<message from='bob@localhost' to='bot@bridge.localhost'/>"
        self.server.write(message * 2)
        self.assertEqual(1, self.server.acknowledged)
        self.server.write(
            "<iq type='get' from='bob@localhost' to='bridge.localhost' id='7'>"
            "<ping xmlns='urn:xmpp:ping'/></iq>"
        )
        self.assertIn("type='result'", self.server.read())
        self.assertEqual(1, self.server.acknowledged)

    def test_whatEndsAStreamIsNotSent(self) -> None:
        """
        A stanza that would make a server close the shared stream is refused before a byte is written.
        """
        for xml in (
            "<message to='bob@localhost'/>",
            "<message to='bob@localhost' from='bob@localhost'/>",
            "<message to='bob@localhost' from='bot@sub.bridge.localhost'/>",
        ):
            self.assertRaises(XMLRefused, self.component.send, stanza(xml))
        message = stanza("<message to='bob@localhost' from='bot@bridge.localhost'/>")
        message.addElement("body", content="\x07")
        self.assertRaises(XMLRefused, self.component.send, message)
        self.assertEqual(self.server.read(), "")

    def test_largestStanza(self) -> None:
        """
        The size that counts is the one on the wire, escaped.
        """
        message = stanza("<message to='bob@localhost' from='bot@bridge.localhost'/>")
        message.addElement("body", content="&" * (MAX_SENT // 5))
        self.assertRaises(StanzaTooLarge, self.component.send, message)
        self.assertEqual(self.server.read(), "")

    def test_ownAccount(self) -> None:
        """
        What is for nobody is for the sender's own account: an IQ is answered here, a message is sent there.
        """
        ping = stanza(PING.replace(" to='localhost'", ""))
        answer = self.successResultOf(self.component.request(ping, 1))
        self.assertEqual((answer["type"], answer.getAttribute("from")), ("result", None))
        self.component.send(stanza("<message from='bot@bridge.localhost/desk'/>"))
        self.assertEqual(
            self.server.read(), "<message from='bot@bridge.localhost/desk' to='bot@bridge.localhost'/>"
        )

    def test_answersForItself(self) -> None:
        """
        The bridge answers for its domain and its accounts where nobody else does.
        """
        self.server.write(
            "<iq type='get' from='bob@localhost' to='bot@bridge.localhost' id='7'>"
            "<ping xmlns='urn:xmpp:ping'/></iq>"
        )
        self.assertIn("type='result'", self.server.read())

    def test_unclaimedIQ(self) -> None:
        """
        An IQ that nobody takes gets service-unavailable; a message or an answer gets nothing.
        """
        self.server.write(
            "<iq type='get' from='bob@localhost' to='bridge.localhost' id='7'><q xmlns='x'/></iq>"
        )
        answer = self.server.read()
        self.assertIn("id='7'", answer)
        self.assertIn("<service-unavailable", answer)
        self.server.write("<iq type='result' from='bob@localhost' to='bridge.localhost' id='7'/>")
        self.server.write("<message from='bob@localhost' to='bridge.localhost'><body>Hi</body></message>")
        self.assertEqual(self.server.read(), "")

    def test_faultyTaker(self) -> None:
        """
        A taker that fails costs one stanza, not the stream.
        """

        class Faulty:
            def take(self, stanza: Element) -> bool:
                raise ZeroDivisionError

        self.component.offerTo([Faulty()])
        self.server.write(
            "<iq type='get' from='bob@localhost' to='bridge.localhost' id='7'><q xmlns='x'/></iq>"
        )
        self.assertIn("<internal-server-error", self.server.read())
        self.assertIsNone(self.component.whyDown())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_oversized(self) -> None:
        """
        A stanza past a limit is refused to its sender; the next one is read as if nothing had been.
        """
        self.component.offerTo([self.taker])
        deep = "<a>" * 200 + "</a>" * 200
        self.server.write(f"<message from='eve@localhost' to='bot@bridge.localhost' id='8'>{deep}</message>")
        self.assertIn("<policy-violation", self.server.read())
        self.server.write("<message from='bob@localhost' to='bot@bridge.localhost'/>")
        self.assertEqual([message["from"] for message in self.taker.taken], ["bob@localhost"])

    def test_malformedStream(self) -> None:
        """
        A stream that can't be read any more is connected anew.
        """
        self.server.write("<message></iq>")
        self.assertIn("mismatched tag", self.component.whyDown() or "")
        self.clock.advance(0.2)
        self.server.accept()
        self.assertIsNone(self.component.whyDown())

    def test_withoutAddresses(self) -> None:
        """
        What has no usable addresses can't be answered; it is logged, and the stream goes on.
        """
        self.server.write("<iq type='get' id='7'/><iq type='get' from='@' to='bridge.localhost' id='7'/>")
        self.assertEqual(self.server.read(), "")
        self.assertEqual(self.said("The server sent a iq"), 2)
