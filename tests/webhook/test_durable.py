"""
L{restbridge.webhook.durable}
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError as Refused

from restbridge.store.journal import LEASE, Message, Reply
from restbridge.webhook.durable import FIRST, PURGE_EVERY, RENEW, Durable
from restbridge.webhook.replies import Replies
from tests.webhook.fakes import DOMAIN
from tests.webhook.outboxcase import OutboxTestCase
from tests.webhook.test_replies import FakeWay


class DurableTests(OutboxTestCase):
    def start(self, **settings: object) -> None:
        """
        A bridge that was not started yet.
        """
        self.make(**settings)
        self.way = FakeWay()
        self.replies_ = Replies(journal=self.journal, domain=DOMAIN, way=self.way)
        self.durable = Durable(
            journal=self.journal, outboxes=[self.outbox], replies=self.replies_, clock=self.clock
        )

    def leave(self, *texts: str) -> None:
        """
        Messages are left by a bridge that was killed.
        """
        self.arrive(*texts)
        self.calls.clear()
        self.start()

    def test_start(self) -> None:
        """
        What this bridge held before it died goes on at once, and replies are sent.
        """
        self.leave("a1")
        self.store.rows("INSERT INTO replies (domain, stanza) VALUES (?, ?)", DOMAIN, "<message id='1'/>")
        self.durable.startService()
        self.assertEqual((["a1"], ["1"]), (self.open(), self.way.written))

    def test_fails(self) -> None:
        """
        A journal that fails at the start is asked again soon; then all goes its way.
        """
        self.leave("a1")
        self.store.broken = True
        self.durable.startService()
        self.clock.pump([FIRST] * 5)
        self.assertIn("The journal failed", self.logged[-1])
        self.store.broken = False
        self.clock.advance(FIRST)
        self.assertEqual(["a1"], self.open())

    def test_renewed(self) -> None:
        """
        What is held stays held, for as long as the bridge runs.
        """
        self.durable.startService()
        self.arrive("a1")
        self.clock.pump([RENEW / 2] * 20)
        self.assertTrue(self.journal.holds)
        self.assertEqual((1, 1), (self.journal.term, len(self.calls)))
        ((due,),) = self.store.rows("SELECT due FROM conversations")
        self.assertGreater(due, self.journal.now())

    def test_purged(self) -> None:
        """
        Old dead letters are deleted now and then.
        """
        self.durable.startService()
        self.arrive("a1")
        self.answer("a1", 410)
        self.store.rows("UPDATE dead_letters SET died = 0")
        self.clock.pump([RENEW] * PURGE_EVERY)
        self.assertEqual([], self.dead())

    def test_replies(self) -> None:
        """
        Replies that the store could not give are asked for again.
        """
        self.durable.startService()
        self.arrive("a1")
        work = self.journal.delivered(self.first(), Reply(DOMAIN, "<message id='1'/>"))
        self.successResultOf(Deferred.fromCoroutine(work))
        self.store.broken = True
        self.replies_.wake()
        self.store.broken = False
        self.clock.pump([RENEW / 2] * 3)
        self.assertEqual(["1"], self.way.written)

    def first(self) -> Message:
        (message,) = self.successResultOf(Deferred.fromCoroutine(self.journal.page(1)))
        return message

    def test_stop(self) -> None:
        """
        At the end nothing is held: others go on at once.
        """
        self.durable.startService()
        self.arrive("a1", "a2")
        stopped = self.durable.stopService()
        self.assertNoResult(stopped)
        self.answer("a1", 200)
        self.successResultOf(stopped)
        now = self.journal.now()
        self.assertEqual([(None, now)], self.store.rows("SELECT holder, due FROM conversations"))
        self.clock.advance(LEASE)
        self.assertEqual([], self.open())

    def test_late(self) -> None:
        """
        Also when a call takes longer than the bridge has time.
        """
        self.durable.startService()
        self.arrive("a1")
        stopped = self.durable.stopService()
        stopped.cancel()
        self.successResultOf(stopped)
        self.assertEqual([(None,)], self.store.rows("SELECT holder FROM conversations"))
        self.answer("a1", Refused())
        self.assertEqual(["a1"], self.waiting())

    def test_stopFails(self) -> None:
        """
        A store that fails doesn't hold up the end.
        """
        self.durable.startService()
        self.arrive("a1")
        self.answer("a1", Refused())
        self.store.broken = True
        self.successResultOf(self.durable.stopService())
        self.assertIn("free only in a minute", self.logged[-1])

    def test_stopEarly(self) -> None:
        """
        A bridge that stops before it has begun begins nothing.
        """
        self.leave("a1")
        self.store.holds = True
        self.durable.startService()
        stopped = self.durable.stopService()
        self.store.work()
        self.successResultOf(stopped)
        self.clock.advance(LEASE)
        self.assertEqual(([], []), (self.open(), self.clock.getDelayedCalls()))
