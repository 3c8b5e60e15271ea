"""
L{restbridge.webhook.backlog}: what waits for durable callbacks.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from restbridge.store.journal import Entry, Journal, Message
from restbridge.webhook.backlog import FRESH, PATIENCE, SHARE, Backlog, Waiting
from tests.store.fakes import FakeStore

NOW = 1_800_000_000


class BacklogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.store = FakeStore()
        self.journal = Journal(store=self.store, holder="bridge.localhost", most=1000, clock=self.clock)
        self.backlog = Backlog(store=self.store, callbacks=lambda: ["one", "idle"], clock=self.clock)

    def do(self, work: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def look(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.backlog.look())

    def accept(self, callback: str, sender: str = "romeo@example.net") -> Message:
        entry = Entry(
            callback=callback,
            sender=sender,
            recipient="bot@bridge.localhost",
            webhook="msg_1",
            received=self.journal.now(),
            stanza="<message/>",
        )
        message: Message = self.do(self.journal.accept(entry, hold=True)).message
        return message

    def test_told(self) -> None:
        """
        Of each callback: how many messages wait, since when the oldest does, and how many nobody took; also
        of those that nothing waits for, and of those that are configured no more.
        """
        first = self.accept("one")
        self.clock.advance(1)
        self.accept("one", "juliet@example.net")
        self.accept("gone")
        self.do(self.journal.buried(self.accept("one"), "404", None))
        self.successResultOf(self.look())
        self.assertEqual(
            {
                "one": Waiting(2, first.received, 1),
                "idle": Waiting(),
                "gone": Waiting(1, (NOW + 1) * 1000, 0),
            },
            self.backlog.known,
        )
        self.assertTrue(self.backlog.works)

    def test_none(self) -> None:
        """
        Without durable callbacks the store is left alone: it may not even be there.
        """
        self.store.broken = True
        backlog = Backlog(store=self.store, callbacks=list, clock=self.clock)
        self.successResultOf(Deferred.fromCoroutine(backlog.look()))
        self.assertTrue(backlog.works)

    def test_seldom(self) -> None:
        """
        However often it is looked at, the store is asked once in a while.
        """
        self.successResultOf(self.look())
        self.accept("one")
        self.clock.advance(FRESH - 1)
        self.successResultOf(self.look())
        self.assertEqual(0, self.backlog.known["one"].messages)
        self.clock.advance(1)
        self.successResultOf(self.look())
        self.assertEqual(1, self.backlog.known["one"].messages)

    def test_together(self) -> None:
        """
        Those who look at the same time share one answer.
        """
        self.store.holds = True
        looks = [self.look(), self.look()]
        self.assertEqual(1, self.store.waiting)
        self.store.work()
        for look in looks:
            self.successResultOf(look)

    def test_slow(self) -> None:
        """
        A store that takes its time is waited for a while, and asked the more seldom; what was known counts
        meanwhile.
        """
        self.accept("one")
        self.successResultOf(self.look())
        self.clock.advance(FRESH)
        self.store.holds = True
        look = self.look()
        self.clock.advance(PATIENCE)
        self.successResultOf(look)
        self.assertFalse(self.backlog.works)
        self.assertEqual(1, self.backlog.known["one"].messages)
        self.store.work()
        self.assertTrue(self.backlog.works)
        self.clock.advance(PATIENCE * SHARE - PATIENCE - 1)
        self.successResultOf(self.look())
        self.assertEqual(0, self.store.waiting)
        self.clock.advance(1)
        self.look()
        self.assertEqual(1, self.store.waiting)
        self.store.work()

    def test_backSoon(self) -> None:
        """
        A store that was away is asked again soon, however long it has taken to say so.
        """
        self.store.holds = self.store.broken = True
        look = self.look()
        self.clock.advance(15)
        self.store.work()
        self.successResultOf(look)
        self.assertFalse(self.backlog.works)
        self.store.holds = self.store.broken = False
        self.clock.advance(FRESH)
        self.successResultOf(self.look())
        self.assertTrue(self.backlog.works)

    def test_broken(self) -> None:
        """
        A store that can't be read is told of, and what was known counts.
        """
        self.accept("one")
        self.successResultOf(self.look())
        self.clock.advance(FRESH)
        self.store.broken = True
        self.successResultOf(self.look())
        self.assertEqual((False, 1), (self.backlog.works, self.backlog.known["one"].messages))
        self.clock.advance(FRESH)
        self.store.broken = False
        self.successResultOf(self.look())
        self.assertTrue(self.backlog.works)

    def test_left(self) -> None:
        """
        Who looks may leave: the answer is known all the same.
        """
        self.store.holds = True
        look = self.look()
        look.addErrback(lambda _: None)
        look.cancel()
        self.store.work()
        self.assertIn("one", self.backlog.known)
