"""
L{restbridge.webhook.conversations}: what is in memory of the journal, and how both agree.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from restbridge.store import journal as journalModule
from restbridge.store.journal import Entry, Journal
from restbridge.webhook import conversations as module
from restbridge.webhook.conversations import FRESH, Conversation, Conversations
from tests.store.fakes import FakeStore
from tests.webhook.fakes import DOMAIN

T = TypeVar("T")

PAGE = 3


class ConversationsTests(SynchronousTestCase):
    """
    @ivar ready: the conversations that were said to be.
    """

    def setUp(self) -> None:
        for each in (module, journalModule):
            self.patch(each, "PAGE", PAGE)
        self.patch(module, "MAX_HELD", 4)
        self.patch(module, "CLAIMED", 2)
        self.clock = Clock()
        self.clock.advance(1000)
        self.store = FakeStore()
        self.journal = Journal(store=self.store, holder=DOMAIN, most=1000, clock=self.clock)
        self.ready: list[Conversation] = []
        self.conversations = Conversations(
            callback="one", journal=self.journal, clock=self.clock, ready=self.ready.append
        )

    def begin(self, work: Coroutine[Any, Any, T]) -> Deferred[T]:
        return Deferred.fromCoroutine(work)

    def done(self, work: Coroutine[Any, Any, T]) -> T:
        return self.successResultOf(self.begin(work))

    def accept(self, *texts: str, hold: bool = True) -> list[Deferred[None]]:
        """
        Messages, each from whom its first letter names.
        """
        entries = [
            Entry(callback="one", sender=text[0], recipient="bot", webhook=text, received=0, stanza=text)
            for text in texts
        ]
        return [self.begin(self.conversations.accept(entry, hold=hold)) for entry in entries]

    def first(self, conversation: Conversation) -> str | None:
        message = self.done(self.conversations.first(conversation))
        return None if message is None else message.stanza

    def deliver(self, conversation: Conversation) -> Deferred[None]:
        """
        The first message is done.
        """
        return self.begin(self.journal.delivered(conversation.loaded.popleft(), None))

    def all(self, conversation: Conversation) -> list[str]:
        """
        All that comes of it, one after another.
        """
        found = []
        while (text := self.first(conversation)) is not None:
            found.append(text)
            self.successResultOf(self.deliver(conversation))
            self.assertLessEqual(len(conversation.loaded), PAGE)
        return found

    def look(self) -> None:
        self.done(self.conversations.look())

    def test_ready(self) -> None:
        """
        A conversation is said to be ready once, until it is given back.
        """
        self.accept("a1", "a2")
        (conversation,) = self.ready
        self.successResultOf(self.deliver(conversation))
        self.conversations.giveBack(conversation)
        self.assertEqual([conversation] * 2, self.ready)

    def test_pages(self) -> None:
        """
        Of a long conversation a page is in memory; the rest is read in its turn, in order.
        """
        texts = [f"a{number}" for number in range(8)]
        self.accept(*texts)
        self.assertEqual(texts, self.all(self.ready[0]))

    def test_whileRead(self) -> None:
        """
        What comes while a page is read is behind it, whichever the journal does first.
        """
        texts = [f"a{number}" for number in range(4)]
        self.accept(*texts)
        (conversation,) = self.ready
        for _ in range(3):
            self.successResultOf(self.deliver(conversation))
        self.store.holds = True
        before = self.accept("a4")
        reading = self.begin(self.conversations.first(conversation))
        after = self.accept("a5")
        self.assertNoResult(reading)
        self.store.work()
        self.store.holds = False
        for each in (*before, *after):
            self.successResultOf(each)
        self.successResultOf(reading)
        self.assertEqual(["a3", "a4", "a5"], self.all(conversation))

    def test_whileFinished(self) -> None:
        """
        What comes while an empty conversation is being forgotten is not: before, it is of the same
        conversation, and behind, of another one.
        """
        for late in (False, True):
            self.ready.clear()
            self.accept("a1")
            (conversation,) = self.ready
            self.successResultOf(self.deliver(conversation))
            self.conversations.giveBack(conversation)
            self.store.holds = True
            begun = [] if late else self.accept("a2")
            looking = self.begin(self.conversations.look())
            begun += self.accept("a2") if late else []
            self.store.work()
            self.store.holds = False
            for each in [looking, *begun]:
                self.successResultOf(each)
            self.assertEqual(late, self.ready[-1] is not conversation)
            self.assertEqual((2, ["a2"]), (len(self.ready), self.all(self.ready[-1])))
            self.conversations.giveBack(self.ready[-1])
            self.look()

    def test_forgotten(self) -> None:
        """
        An empty conversation leaves nothing behind, in memory or in the journal; when that fails, later.
        """
        self.accept("a1")
        (conversation,) = self.ready
        self.successResultOf(self.deliver(conversation))
        self.conversations.giveBack(conversation)
        self.store.broken = True
        self.failureResultOf(self.begin(self.conversations.look()))
        self.store.broken = False
        self.look()
        self.assertEqual(([], {}), (self.store.rows("SELECT * FROM conversations"), self.conversations._held))

    def test_many(self) -> None:
        """
        No more than so many are in memory, though they come at once; the others are claimed when there is
        room.
        """
        self.store.holds = True
        self.accept(*(f"{letter}1" for letter in "abcdefghi"))
        self.store.work()
        self.store.holds = False
        self.assertEqual(4, len(self.ready))
        self.assertTrue(self.conversations.behind)
        found = []
        while self.ready:
            self.assertLessEqual(len(self.conversations._held), 4)
            conversation = self.ready.pop(0)
            found += self.all(conversation)
            self.conversations.giveBack(conversation)
            self.look()
        self.assertEqual(list("abcdefghi"), sorted(text[0] for text in found))
        self.assertFalse(self.conversations.behind)

    def test_whileClaimed(self) -> None:
        """
        Nor when some come while others are claimed.
        """
        self.accept(*(f"{letter}1" for letter in "ab"), hold=False)
        self.store.holds = True
        looking = self.begin(self.conversations.look())
        begun = self.accept(*(f"{letter}1" for letter in "cdefa"))
        self.store.work()
        for each in (looking, *begun):
            self.successResultOf(each)
        self.assertEqual(4, len(self.conversations._held))
        self.assertEqual(["a1", "b1", "c1", "d1"], [each.loaded[0].stanza for each in self.ready])

    def test_postponed(self) -> None:
        """
        What comes to a conversation that waits, waits behind its first message.
        """
        self.accept("a1")
        (conversation,) = self.ready
        self.done(self.journal.postponed(conversation.loaded[0], "500", 5))
        self.conversations.forget(conversation)
        self.accept("a2")
        self.look()
        self.assertEqual([conversation], self.ready)
        self.clock.advance(5)
        self.look()
        self.assertEqual(["a1", "a2"], self.all(self.ready[1]))

    def test_fresh(self) -> None:
        """
        After a while a message is read again before it is called for; one that was dropped isn't.
        """
        self.accept("a1", "a2")
        self.store.rows("DELETE FROM messages WHERE stanza = 'a1'")
        self.clock.advance(FRESH - 1)
        self.assertEqual("a1", self.first(self.ready[0]))
        self.clock.advance(1)
        self.assertEqual("a2", self.first(self.ready[0]))

    def test_lost(self) -> None:
        """
        What nobody knows the state of is claimed anew; also what is lost while others are let go.
        """
        self.accept("a1", "b1")
        a, b = self.ready
        self.conversations.lose(a)
        self.store.holds = True
        looking = self.begin(self.conversations.look())
        self.conversations.lose(b)
        self.store.work()
        self.store.holds = False
        self.successResultOf(looking)
        self.look()
        self.assertEqual({"a1", "b1"}, {each.loaded[0].stanza for each in self.ready[2:]})

    def test_lostLate(self) -> None:
        """
        When somebody loses what has been claimed anew since, that is left alone.
        """
        self.accept("a1")
        (old,) = self.ready
        self.conversations.forgetAll([])
        self.look()
        self.conversations.forget(old)
        self.conversations.giveBack(old)
        self.accept("a2")
        self.assertEqual(["a1", "a2"], self.all(self.ready[1]))

    def test_underWay(self) -> None:
        """
        What is on its way when all is forgotten is not there a second time; claimed meanwhile, it is read
        again, else it is forgotten when it comes back.
        """
        self.accept("a1", "a2", "b1")
        a, b = self.ready
        self.conversations.forgetAll([a, b])
        self.assertIsNone(self.first(a))
        self.done(self.journal.release())
        self.store.rows("UPDATE conversations SET holder = 'other', due = 9e15 WHERE sender = 'b'")
        self.look()
        self.assertEqual([a, b], self.ready)
        for each in (a, b):
            self.conversations.giveBack(each)
        self.assertEqual([a, b, a], self.ready)
        self.assertEqual({a.number: a}, self.conversations._held)
        self.store.rows("DELETE FROM messages WHERE stanza = 'a1'")
        self.assertEqual("a2", self.first(a))
