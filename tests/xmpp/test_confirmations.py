"""
L{restbridge.xmpp.confirmations}: whether the server took it.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish.domish import Element

from restbridge.stanzas.errors import LinkDown
from restbridge.xmpp.confirmations import DEADLINE, KEEPALIVE, Confirmations
from tests.xmpp.fakes import stanza


class ConfirmationsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.sent: list[Element] = []
        self.aborted: list[str] = []
        self.confirmations = Confirmations(
            address="bridge.localhost/barrier",
            clock=self.clock,
            send=self.sent.append,
            abort=self.aborted.append,
        )
        self.confirmations.linkUp()

    def confirm(self, number: str) -> Deferred[Element | None]:
        message = (
            f"<message from='bot@bridge.localhost' to='bob@localhost' id='{number}'><body>Hi</body></message>"
        )
        return self.confirmations.confirm(stanza(message))

    def barriers(self) -> list[Element]:
        return [sent for sent in self.sent if sent.name == "iq"]

    def returnBarrier(self) -> None:
        self.assertTrue(self.confirmations.take(self.barriers()[-1]))

    def test_taken(self) -> None:
        """
        A stanza is taken when the barrier behind it has come back.
        """
        waiting = self.confirm("1")
        self.assertEqual([sent.name for sent in self.sent], ["message", "iq"])
        self.assertNoResult(waiting)
        self.returnBarrier()
        self.assertIsNone(self.successResultOf(waiting))
        self.assertEqual(self.confirmations.waiting, 0)

    def test_shared(self) -> None:
        """
        What is sent while a barrier is under way shares the next one.
        """
        first = self.confirm("1")
        others = [self.confirm("2"), self.confirm("3")]
        self.assertEqual(len(self.barriers()), 1)
        self.returnBarrier()
        self.successResultOf(first)
        self.assertEqual(len(self.barriers()), 2)
        for waiting in others:
            self.assertNoResult(waiting)
        self.returnBarrier()
        for waiting in others:
            self.assertIsNone(self.successResultOf(waiting))

    def test_error(self) -> None:
        """
        The server's error about a stanza that waits is its answer.
        """
        waiting, other = self.confirm("1"), self.confirm("2")
        error = stanza("<message type='error' from='bob@localhost' to='bot@bridge.localhost' id='1'/>")
        self.assertTrue(self.confirmations.take(error))
        self.assertIs(self.successResultOf(waiting), error)
        self.assertNoResult(other)
        self.returnBarrier()

    def test_othersErrors(self) -> None:
        """
        An error about anything else is left to others.
        """
        self.confirm("1")
        for error in (
            "<message type='error' from='bob@localhost' to='bot@bridge.localhost' id='2'/>",
            "<message type='error' from='eve@localhost' to='bot@bridge.localhost' id='1'/>",
            "<presence type='error' from='bob@localhost' to='bot@bridge.localhost' id='1'/>",
            "<message type='error' from='bob@localhost' to='bot@bridge.localhost'/>",
        ):
            self.assertFalse(self.confirmations.take(stanza(error)), error)

    def test_linkLost(self) -> None:
        """
        Stanzas that were not confirmed when the stream broke fail, covered by a barrier or not.
        """
        waiting = [self.confirm("1"), self.confirm("2")]
        self.confirmations.linkLost("gone")
        for deferred in waiting:
            self.failureResultOf(deferred, LinkDown)
        self.assertEqual(self.confirmations.waiting, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_oldBarrier(self) -> None:
        """
        A barrier of an earlier stream confirms nothing on the new one.
        """
        self.confirm("1").addErrback(lambda _: None)
        old = self.barriers()[-1]
        self.confirmations.linkLost("gone")
        self.confirmations.linkUp()
        waiting = self.confirm("2")
        self.assertTrue(self.confirmations.take(old))
        self.assertNoResult(waiting)
        self.returnBarrier()
        self.successResultOf(waiting)

    def test_callerLeaves(self) -> None:
        """
        A caller that no longer waits changes nothing for the others.
        """
        leaving, waiting = self.confirm("1"), self.confirm("2")
        leaving.addErrback(lambda _: None)
        leaving.cancel()
        self.returnBarrier()
        self.returnBarrier()
        self.assertIsNone(self.successResultOf(waiting))

    def test_silence(self) -> None:
        """
        A server that doesn't send a barrier back in time is taken for dead.
        """
        self.confirm("1")
        self.clock.advance(DEADLINE)
        self.assertEqual(len(self.aborted), 1)

    def test_keepalive(self) -> None:
        """
        After a while of silence, a barrier sees whether the stream lives; its return is enough.
        """
        self.clock.advance(KEEPALIVE)
        self.assertEqual(len(self.barriers()), 1)
        self.returnBarrier()
        self.clock.advance(KEEPALIVE - 1)
        self.assertEqual((len(self.barriers()), self.aborted), (1, []))
        self.clock.advance(1)
        self.clock.advance(DEADLINE)
        self.assertEqual(len(self.aborted), 1)
