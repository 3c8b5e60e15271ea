"""
L{restbridge.xmpp.exchange}: IQs and their answers.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish.domish import Element

from restbridge.stanzas.errors import DuplicateId, LinkDown, NoAnswer
from restbridge.xmpp.exchange import Exchange
from restbridge.xmpp.traffic import Traffic
from tests.xmpp.fakes import stanza

PING = "<iq type='get' from='bot@bridge.localhost' to='localhost' id='1'><ping xmlns='urn:xmpp:ping'/></iq>"
PONG = "<iq type='result' from='localhost' to='bot@bridge.localhost' id='1'/>"


class ExchangeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.sent: list[Element] = []
        self.traffic = Traffic()
        self.exchange = Exchange(clock=self.clock, send=self.sent.append, traffic=self.traffic)

    def request(self, xml: str = PING, timeout: float = 120) -> Deferred[Element]:
        return self.exchange.request(stanza(xml), timeout)

    def assertNothingLeft(self) -> None:
        self.assertEqual(self.exchange.pending, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_result(self) -> None:
        """
        A result of the entity asked ends the request.
        """
        waiting = self.request()
        self.assertEqual([iq["id"] for iq in self.sent], ["1"])
        answer = stanza(PONG)
        self.assertTrue(self.exchange.take(answer))
        self.assertIs(self.successResultOf(waiting), answer)
        self.assertNothingLeft()

    def test_error(self) -> None:
        """
        An error is an answer, too.
        """
        waiting = self.request()
        error = stanza("<iq type='error' from='localhost' to='bot@bridge.localhost' id='1'/>")
        self.assertTrue(self.exchange.take(error))
        self.assertIs(self.successResultOf(waiting), error)
        self.assertNothingLeft()

    def test_timeout(self) -> None:
        """
        A request that nobody answers fails when its time is over.
        """
        waiting = self.request(timeout=5)
        self.clock.advance(4.9)
        self.assertNoResult(waiting)
        self.clock.advance(0.2)
        self.failureResultOf(waiting, NoAnswer)
        self.assertNothingLeft()

    def test_cancelled(self) -> None:
        """
        A request whose caller has gone is forgotten; its answer is for somebody else to take.
        """
        waiting = self.request()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertFalse(self.exchange.take(stanza(PONG)))
        self.assertNothingLeft()

    def test_linkLost(self) -> None:
        """
        No request outlives the stream.
        """
        waiting = [self.request(), self.request(PING.replace("id='1'", "id='2'"))]
        self.exchange.linkLost("the server closed the connection")
        for deferred in waiting:
            self.assertEqual(
                self.failureResultOf(deferred, LinkDown).getErrorMessage(), "the server closed the connection"
            )
        self.assertNothingLeft()

    def test_lostTogether(self) -> None:
        """
        Who hears that one is lost may give up the others: those are forgotten already, or will be.
        """
        first, second = self.request(), self.request(PING.replace("id='1'", "id='2'"))
        first.addErrback(lambda _: second.cancel())
        self.exchange.linkLost("gone")
        self.failureResultOf(second, CancelledError)
        self.assertNothingLeft()

    def test_linkDown(self) -> None:
        """
        A request that can't be sent is not kept.
        """

        def down(_: Element) -> None:
            raise LinkDown("not connected yet")

        exchange = self.exchange = Exchange(clock=self.clock, send=down, traffic=self.traffic)
        self.assertRaises(LinkDown, exchange.request, stanza(PING), 1)
        self.assertNothingLeft()

    def test_impostors(self) -> None:
        """
        An answer counts only from whom was asked. From anybody else it is dropped, so that no webhook takes
        it for something either, and counted.
        """
        waiting = self.request()
        for sender in ("mallory@localhost", "localhost/x", "bot@bridge.localhost", "localhost.evil"):
            for kind in ("result", "error"):
                impostor = PONG.replace("'localhost'", f"'{sender}'").replace("result", kind)
                self.assertTrue(self.exchange.take(stanza(impostor)), impostor)
        self.assertNoResult(waiting)
        self.assertEqual(self.traffic.impostors, 8)
        self.assertTrue(self.exchange.take(stanza(PONG)))
        self.assertEqual(self.successResultOf(waiting)["from"], "localhost")
        self.assertNothingLeft()

    def test_tooLate(self) -> None:
        """
        An answer after the end is nobody's, and nobody is accused.
        """
        waiting = [self.request(), self.request(PING.replace("to='localhost'", "to='example.com'"))]
        self.exchange.take(stanza(PONG))
        self.assertTrue(self.exchange.take(stanza(PONG.replace("'localhost'", "'example.com'"))))
        for late in (PONG, PONG.replace("'localhost'", "'mallory@localhost'")):
            self.assertFalse(self.exchange.take(stanza(late)))
        self.assertEqual((self.traffic.impostors, len(list(map(self.successResultOf, waiting)))), (0, 2))
        self.assertNothingLeft()

    def test_others(self) -> None:
        """
        What has another address, another id, or is no answer, is for somebody else to take.
        """
        waiting = self.request()
        for impostor in (
            PONG.replace("to='bot@", "to='other@"),
            PONG.replace("id='1'", "id='2'"),
            PONG.replace("id='1'", ""),
            PONG.replace("type='result'", "type='get'"),
            PONG.replace("iq", "message"),
        ):
            self.assertFalse(self.exchange.take(stanza(impostor)), impostor)
        self.assertNoResult(waiting)
        self.assertEqual(self.traffic.impostors, 0)

    def test_duplicate(self) -> None:
        """
        Two requests to one peer with one id could not be told apart: the second is refused, unsent.
        """
        self.request()
        self.assertRaises(DuplicateId, self.request)
        self.assertEqual(len(self.sent), 1)
        self.assertEqual(self.exchange.pending, 1)
