"""
L{restbridge.xmpp.confirmations}: whether the server took it.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish.domish import Element

from restbridge.stanzas.errors import LinkDown
from restbridge.xmpp.confirmations import DEADLINE, KEEPALIVE, TOGETHER, UNDER_WAY, Confirmations
from tests.xmpp.fakes import stanza


class ConfirmationsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.sent: list[Element] = []
        self.flushed: list[int] = []
        self.aborted: list[str] = []
        self.confirmations = Confirmations(
            address="bridge.localhost/barrier",
            clock=self.clock,
            send=self.sent.append,
            flush=lambda: self.flushed.append(len(self.sent)),
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

    def turn(self) -> None:
        """
        The reactor goes on.
        """
        self.clock.advance(0)

    def returnBarrier(self, number: int = -1) -> None:
        self.turn()
        self.assertTrue(self.confirmations.take(self.barriers()[number]))

    def test_taken(self) -> None:
        """
        A stanza is taken when the barrier behind it has come back.
        """
        waiting = self.confirm("1")
        self.turn()
        self.assertEqual([sent.name for sent in self.sent], ["message", "iq"])
        self.assertNoResult(waiting)
        self.returnBarrier()
        self.assertIsNone(self.successResultOf(waiting))
        self.assertEqual(self.confirmations.waiting, 0)

    def test_shared(self) -> None:
        """
        What is sent in one turn of the reactor shares a barrier.
        """
        waiting = [self.confirm(number) for number in "123"]
        self.returnBarrier()
        self.assertEqual([sent.name for sent in self.sent], ["message"] * 3 + ["iq"])
        for deferred in waiting:
            self.assertIsNone(self.successResultOf(deferred))

    def test_many(self) -> None:
        """
        Many of one turn go out a few at a time, each few with a barrier; the rest at the end of the turn.
        """
        waiting = [self.confirm(str(number)) for number in range(2 * TOGETHER + 1)]
        self.assertEqual(len(self.barriers()), 2)
        self.assertEqual(self.flushed, [TOGETHER + 1, 2 * (TOGETHER + 1)])
        self.turn()
        self.assertEqual(len(self.barriers()), 3)
        for number in range(3):
            self.returnBarrier(number)
        for deferred in waiting:
            self.assertIsNone(self.successResultOf(deferred))

    def test_justEnough(self) -> None:
        """
        No barrier goes out that covers nothing.
        """
        for number in range(TOGETHER):
            self.confirm(str(number))
        self.turn()
        self.assertEqual(len(self.barriers()), 1)

    def test_inTurn(self) -> None:
        """
        The next turn has a barrier of its own, that need not wait for the first.
        """
        first = self.confirm("1")
        self.turn()
        second = self.confirm("2")
        self.turn()
        self.assertEqual(len(self.barriers()), 2)
        self.returnBarrier(0)
        self.assertIsNone(self.successResultOf(first))
        self.assertNoResult(second)
        self.returnBarrier(1)
        self.assertIsNone(self.successResultOf(second))

    def test_busy(self) -> None:
        """
        With as many under way as may be, what is sent shares one that goes out when the first is back.
        """
        early = [self.confirmedInATurn(str(number)) for number in range(UNDER_WAY)]
        late = [self.confirmedInATurn(number) for number in ("later", "last")]
        self.assertEqual(len(self.barriers()), UNDER_WAY)
        self.returnBarrier(0)
        self.turn()
        self.assertEqual(len(self.barriers()), UNDER_WAY + 1)
        for number in range(1, UNDER_WAY):
            self.returnBarrier(number)
        for deferred in early:
            self.assertIsNone(self.successResultOf(deferred))
        for deferred in late:
            self.assertNoResult(deferred)
        self.returnBarrier()
        for deferred in late:
            self.assertIsNone(self.successResultOf(deferred))
        self.assertEqual(self.confirmations.waiting, 0)

    def test_overtaken(self) -> None:
        """
        A barrier that comes back has all behind it that was sent before: those before it count as back.
        """
        waiting = [self.confirmedInATurn("1"), self.confirmedInATurn("2")]
        self.returnBarrier(1)
        for deferred in waiting:
            self.assertIsNone(self.successResultOf(deferred))
        self.returnBarrier(0)

    def confirmedInATurn(self, number: str) -> Deferred[Element | None]:
        waiting = self.confirm(number)
        self.turn()
        return waiting

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
        waiting = [self.confirmedInATurn("1"), self.confirm("2")]
        self.confirmations.linkLost("gone")
        for deferred in waiting:
            self.failureResultOf(deferred, LinkDown)
        self.assertEqual(self.confirmations.waiting, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_oldBarrier(self) -> None:
        """
        A barrier of an earlier stream confirms nothing on the new one.
        """
        self.confirmedInATurn("1").addErrback(lambda _: None)
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
        self.assertIsNone(self.successResultOf(waiting))

    def test_silence(self) -> None:
        """
        A server that doesn't send a barrier back in time is taken for dead.
        """
        self.confirmedInATurn("1")
        self.clock.advance(DEADLINE / 2)
        self.confirmedInATurn("2")
        self.clock.advance(DEADLINE / 2)
        self.assertEqual(len(self.aborted), 1)

    def test_late(self) -> None:
        """
        Each barrier has its time from when it was sent.
        """
        self.confirmedInATurn("1")
        self.clock.advance(DEADLINE - 1)
        second = self.confirmedInATurn("2")
        self.returnBarrier(0)
        self.clock.advance(DEADLINE - 1)
        self.assertEqual(self.aborted, [])
        self.assertNoResult(second)
        self.clock.advance(1)
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
