"""
L{restbridge.webhook.durable}
"""

from __future__ import annotations

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.words.xish.domish import Element

from restbridge.store.journal import LEASE, Message, Reply
from restbridge.webhook.durable import FIRST, PURGE_EVERY, RENEW, Durable
from restbridge.webhook.outbox import TICK, Outbox
from restbridge.webhook.post import Response
from restbridge.webhook.replies import Replies
from tests.webhook.fakes import DOMAIN, response
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


class ChangeTests(OutboxTestCase):
    """
    A bridge that runs, whose callbacks become others.
    """

    def start(self, **settings: object) -> None:
        self.make(**settings)
        self.begin([self.outbox])

    def begin(self, outboxes: list[Outbox]) -> None:
        replies = Replies(journal=self.journal, domain=DOMAIN, way=FakeWay())
        self.durable = Durable(journal=self.journal, outboxes=outboxes, replies=replies, clock=self.clock)
        self.durable.startService()

    def another(self) -> Outbox:
        """
        An outbox of the same name.
        """
        return Outbox(
            settings=self.outbox.settings,
            call=self.call,
            journal=self.journal,
            replied=self.reply,
            clock=self.clock,
        )

    def holders(self) -> list[object]:
        return [holder for (holder,) in self.store.rows("SELECT holder FROM conversations")]

    def test_removed(self) -> None:
        """
        A call that is under way comes to its end; what waits behind it stays, and is nobody's.
        """
        self.arrive("a1", "a2", "b1")
        self.durable.change([])
        self.assertEqual([DOMAIN, DOMAIN], self.holders())
        self.answer("a1", 200)
        self.answer("b1", Refused())
        self.clock.pump([RENEW] * 10)
        self.assertEqual((["a2", "b1"], [], [None, None]), (self.waiting(), self.open(), self.holders()))

    def test_again(self) -> None:
        """
        The next callback of its name goes on with it.
        """
        self.arrive("a1", "a2")
        self.durable.change([])
        self.answer("a1", Refused())
        self.durable.change([self.another()])
        self.clock.advance(TICK)
        self.assertEqual(["a1"], self.open())
        self.answer("a1", 200)
        self.assertEqual(["a2"], self.open())

    def test_againUnderWay(self) -> None:
        """
        While a call of the removed one is under way, its successor waits for that conversation.
        """
        self.arrive("a1")
        self.durable.change([])
        self.outbox = self.another()
        self.durable.change([self.outbox])
        self.arrive("a2")
        self.clock.advance(TICK)
        self.assertEqual(["a1"], self.open())
        self.answer("a1", 200)
        self.clock.advance(0)
        self.clock.advance(TICK)
        self.assertEqual(["a2"], self.open())

    def test_accepting(self) -> None:
        """
        What was being written down when its callback was removed is nobody's, either.
        """
        self.store.holds = True
        arriving = self.arriving("a1")
        self.durable.change([])
        self.store.holds = False
        self.store.work()
        self.successResultOf(arriving)
        self.assertEqual(([None], []), (self.holders(), self.open()))

    def test_claiming(self) -> None:
        """
        Nor is what was about to be claimed then.
        """
        self.arrive("a1")
        self.answer("a1", 200)
        self.outbox = self.another()
        self.outbox.stop()
        self.arrive("b1")
        self.store.holds = True
        self.clock.advance(TICK)
        self.durable.change([])
        self.store.holds = False
        self.store.work()
        self.assertEqual(([None], ["b1"]), (self.holders(), self.waiting()))

    def test_storeFails(self) -> None:
        """
        Where the store fails at that moment it is let go with the next renewal.
        """
        self.arrive("a1")
        self.durable.change([])
        self.store.broken = True
        self.answer("a1", Refused())
        self.assertIn("The journal failed", self.logged[-1])
        self.store.broken = False
        self.clock.advance(RENEW)
        self.assertEqual([None], self.holders())

    def test_first(self) -> None:
        """
        Without an outbox the store isn't asked for anything; the first one has it kept.
        """
        self.successResultOf(self.durable.stopService())
        self.store.broken = True
        self.begin([])
        self.clock.pump([RENEW] * 10)
        self.successResultOf(self.durable.stopService())
        self.assertEqual([], self.logged)
        self.store.broken = False
        self.begin([])
        self.durable.change([self.another()])
        self.clock.pump([RENEW] * 10)
        self.assertTrue(self.journal.holds)

    def test_stop(self) -> None:
        """
        A bridge that stops waits for the last calls of what was removed.
        """
        self.arrive("a1")
        self.durable.change([])
        stopped = self.durable.stopService()
        self.assertNoResult(stopped)
        self.answer("a1", 200)
        self.successResultOf(stopped)

    def test_changed(self) -> None:
        """
        Where a callback that failed is somewhere else now, all that waits goes there at once, in its order;
        that it failed elsewhere is no message's fault.
        """
        self.arrive("a1", "a2", "b1")
        self.answer("a1", Refused())
        self.answer("b1", Refused())
        called: list[str] = []

        async def call(stanza: Element, webhook: str) -> Response:
            called.append(str(stanza.body))
            return response(200)

        self.outbox.change(attrs.evolve(self.outbox.settings, url="http://elsewhere/"), call)
        self.assertEqual(["a1", "b1", "a2"], called)
        self.assertEqual(([], 0), (self.waiting(), len(self.outbox._waiting)))

    def test_changedSuspects(self) -> None:
        """
        Also where others had come through meanwhile.
        """
        self.arrive("a1", "b1")
        self.answer("a1", Refused())
        self.answer("b1", Refused())
        for conversation in self.outbox._waiting.values():
            conversation.suspect = True
        self.clock.advance(0.1)
        self.outbox.change(self.outbox.settings, self.call)
        self.answer("a1", Refused())
        self.answer("b1", Refused())
        self.assertEqual([(0,)], self.store.rows("SELECT max(failures) FROM messages"))

    def test_changedInVain(self) -> None:
        """
        Where it fails as well nothing is postponed: a probe is made, by the pauses that are configured now.
        """
        self.arrive("a1", "b1")
        self.answer("a1", Refused())
        self.answer("b1", Refused())
        self.outbox.change(attrs.evolve(self.outbox.settings, probes=(40, 50)), self.call)
        self.answer("a1", Refused())
        self.answer("b1", Refused())
        since = len(self.calls)
        self.wait(39)
        self.assertEqual([], self.made(since))
        self.wait(2)
        self.assertEqual(["a1"], self.open())
