"""
L{restbridge.store.journal}: what waits for durable callbacks.
"""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from restbridge.store.database import StoreFailed
from restbridge.store.journal import KEPT, LEASE, PAGE, Accepted, Entry, Journal, JournalFull, Message, Reply
from restbridge.store.sqlite import SQLiteConnection
from tests.store.fakes import FakeStore

T = TypeVar("T")

NOW = 1_800_000_000.0

REPLY = Reply("bridge.localhost", "<message/>")


class JournalTests(SynchronousTestCase):
    """
    @ivar other: another bridge's, over the same database.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.store = FakeStore()
        self.journal = self.make("bridge.localhost")
        self.other = self.make("other.localhost")
        self.count = 0

    def make(self, holder: str, most: int = 1000) -> Journal:
        return Journal(store=self.store, holder=holder, most=most, clock=self.clock)

    def done(self, work: Coroutine[Any, Any, T]) -> T:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def entry(self, sender: str = "romeo@example.net", **changes: Any) -> Entry:
        self.count += 1
        entry = Entry(
            callback="one",
            sender=sender,
            recipient="bot@bridge.localhost",
            webhook=f"msg_{self.count}",
            received=self.journal.now(),
            stanza=f"<message id='{self.count}'/>",
        )
        return attrs.evolve(entry, **changes)

    def accept(self, sender: str = "romeo@example.net", *, hold: bool = True, **changes: Any) -> Accepted:
        return self.done(self.journal.accept(self.entry(sender, **changes), hold=hold))

    def claim(self, journal: Journal | None = None, limit: int = 10) -> list[list[str]]:
        claimed = self.done((journal or self.journal).claim("one", limit))
        return [[message.webhook for message in page] for page in claimed.values()]

    def page(self, conversation: int) -> list[str]:
        return [message.webhook for message in self.done(self.journal.page(conversation))]

    def count_(self, table: str) -> int:
        count: int = self.store.rows(f"SELECT count(*) FROM {table}")[0][0]
        return count


class AcceptTests(JournalTests):
    def test_order(self) -> None:
        """
        A conversation's messages are read as they were written, a page at a time.
        """
        number = self.accept().message.conversation
        for _ in range(PAGE):
            self.accept()
        self.assertEqual([f"msg_{each}" for each in range(1, PAGE + 1)], self.page(number))

    def test_conversation(self) -> None:
        """
        The first message opens a conversation, which is this bridge's if it is to have it.
        """
        self.assertEqual([(True, True), (True, False)], [_held(self.accept()) for _ in range(2)])
        juliet = [_held(self.accept("juliet@example.net", hold=hold)) for hold in (False, True)]
        self.assertEqual([(False, True), (False, False)], juliet)

    def test_apart(self) -> None:
        """
        Another callback, sender or recipient is another conversation; nothing of an address is cut off.
        """
        long = "a" * 1023
        entries = [
            self.entry(),
            self.entry(callback="two"),
            self.entry("juliet@example.net"),
            self.entry(recipient="other@bridge.localhost"),
            self.entry(f"{long}@{long}", recipient=f"{long}@{long}"),
            self.entry(f"{long}@{long}", recipient=f"{long}@{long}b"),
            self.entry("ü@example.net"),
        ]
        numbers = {self.done(self.journal.accept(each, hold=True)).message.conversation for each in entries}
        self.assertEqual(len(entries), len(numbers))

    def test_full(self) -> None:
        """
        No more than so many wait; one that is done makes room.
        """
        self.journal = self.make("bridge.localhost", most=2)
        message = self.accept().message
        self.accept()
        self.failureResultOf(
            Deferred.fromCoroutine(self.journal.accept(self.entry(), hold=True)), JournalFull
        )
        self.assertEqual(2, self.count_("messages"))
        self.done(self.journal.delivered(message, None))
        self.accept()

    def test_failed(self) -> None:
        """
        What could not be written takes no room.
        """
        self.store.broken = True
        failing = self.journal.accept(self.entry(), hold=True)
        self.failureResultOf(Deferred.fromCoroutine(failing), StoreFailed)
        self.assertEqual(0, self.journal.pending)

    def test_kept(self) -> None:
        """
        Another start finds in the file what was written, and its numbers go on.
        """
        path = Path(self.mktemp())
        self.store = FakeStore(SQLiteConnection(path))
        self.journal = self.make("bridge.localhost")
        first = self.accept().message
        self.store.connection.close()
        self.store = FakeStore(SQLiteConnection(path))
        self.journal = self.make("bridge.localhost")
        self.done(self.journal.release())
        self.assertEqual([["msg_1"]], self.claim())
        self.done(self.journal.delivered(first, None))
        self.assertGreater(self.accept().message.number, first.number)


class HoldTests(JournalTests):
    def test_claimed(self) -> None:
        """
        What nobody has is claimed once, the longest due first, no more than wanted.
        """
        for sender in ("a@b", "c@d", "e@f"):
            self.accept(sender, hold=False)
            self.clock.advance(1)
        self.accept("a@b", hold=False)
        self.assertEqual([["msg_1", "msg_4"], ["msg_2"]], self.claim(limit=2))
        self.assertEqual([["msg_3"]], self.claim(self.other))
        self.assertEqual([], self.claim())

    def test_lease(self) -> None:
        """
        What a bridge holds is another's when its lease is over, not before; what is renewed isn't.
        """
        self.accept()
        self.clock.advance(LEASE - 1)
        self.assertEqual([], self.claim(self.other))
        self.done(self.journal.renew())
        self.clock.advance(LEASE - 1)
        self.assertEqual([], self.claim(self.other))
        self.clock.advance(1)
        self.assertFalse(self.journal.holds)
        self.assertEqual([["msg_1"]], self.claim(self.other))

    def test_lost(self) -> None:
        """
        Who comes too late to renew holds nothing any more, and says so.
        """
        self.accept()
        self.clock.advance(LEASE)
        self.claim(self.other)
        self.done(self.journal.renew())
        self.assertEqual((1, True), (self.journal.term, self.journal.holds))
        self.assertEqual([], self.claim())

    def test_late(self) -> None:
        """
        A renewal counts from when it was asked for, not from when the database had time.
        """
        self.store.holds = True
        renewing = Deferred.fromCoroutine(self.journal.renew())
        self.clock.advance(LEASE)
        self.store.work()
        self.successResultOf(renewing)
        self.assertFalse(self.journal.holds)

    def test_lapsed(self) -> None:
        """
        A lease that was over before it was renewed is not: another bridge may have been faster.
        """
        self.accept()
        self.clock.advance(LEASE / 2)
        self.store.holds = True
        renewing = Deferred.fromCoroutine(self.journal.renew())
        self.clock.advance(LEASE / 2)
        self.store.work()
        self.store.holds = False
        self.successResultOf(renewing)
        self.assertFalse(self.journal.holds)
        self.done(self.journal.renew())
        self.assertEqual((1, True), (self.journal.term, self.journal.holds))

    def test_unsure(self) -> None:
        """
        When nobody knows whether something has been taken, all is put back: it isn't held for ever.
        """
        self.accept(hold=False)
        self.store.broken = self.store.lies = True
        self.failureResultOf(Deferred.fromCoroutine(self.journal.claim("one", 10)), StoreFailed)
        self.store.broken = False
        self.assertEqual([], self.claim())
        self.done(self.journal.renew())
        self.assertEqual(1, self.journal.term)
        self.assertEqual([["msg_1"]], self.claim())
        self.done(self.journal.renew())
        self.assertEqual(1, self.journal.term)

    def test_release(self) -> None:
        """
        What is released is due at once; another bridge's is left alone.
        """
        self.accept()
        self.done(self.other.accept(self.entry("juliet@example.net"), hold=True))
        self.done(self.journal.release())
        self.assertEqual([["msg_1"]], self.claim(self.other))
        self.assertEqual([], self.claim())

    def test_letGo(self) -> None:
        """
        Some can be let go, only by who holds them.
        """
        numbers = [self.accept(sender).message.conversation for sender in ("a@b", "c@d")]
        self.done(self.other.letGo(numbers))
        self.assertEqual([], self.claim(self.other))
        self.done(self.journal.letGo(numbers[:1]))
        self.assertEqual([["msg_1"]], self.claim(self.other))

    def test_finish(self) -> None:
        """
        An empty conversation is forgotten; one that isn't is held as before.
        """
        messages = [self.accept(sender).message for sender in ("a@b", "c@d")]
        self.done(self.journal.delivered(messages[0], None))
        left = self.done(self.journal.finish([each.conversation for each in messages]))
        self.assertEqual({messages[1].conversation}, left)
        self.assertEqual((True, True), _held(self.accept("a@b")))
        self.assertEqual((True, False), _held(self.accept("c@d")))

    def test_emptied(self) -> None:
        """
        A conversation in which nothing is left is not claimed, but forgotten.
        """
        message = self.accept(hold=False).message
        self.done(self.journal.delivered(message, None))
        self.assertEqual([], self.claim())
        self.assertEqual(0, self.count_("conversations"))


class EndTests(JournalTests):
    def replies(self) -> list[str]:
        return [stanza for _, stanza in self.done(self.journal.replies("bridge.localhost", 100))]

    def test_delivered(self) -> None:
        """
        What is delivered is gone; its reply waits, and only once: others may have delivered it, too.
        """
        message = self.accept().message
        self.done(self.journal.delivered(message, REPLY))
        self.done(self.journal.delivered(message, REPLY))
        self.assertEqual([REPLY.stanza], self.replies())
        self.assertEqual((0, 0), (self.count_("messages"), self.journal.pending))

    def test_pending(self) -> None:
        """
        What waits is counted, though much is under way at the same time.
        """
        messages = [self.accept().message for _ in range(3)]
        self.store.holds = True
        works = [self.journal.delivered(each, None) for each in messages[:2]]
        works.append(self.journal.buried(messages[2], "410", None))
        ends = [Deferred.fromCoroutine(each) for each in works]
        accepting = Deferred.fromCoroutine(self.journal.accept(self.entry(), hold=True))
        self.store.work()
        for end in ends:
            self.successResultOf(end)
        self.successResultOf(accepting)
        self.assertEqual(1, self.journal.pending)

    def test_counted(self) -> None:
        """
        A renewal counts what waits, also of other bridges.
        """
        self.accept()
        self.done(self.other.renew())
        self.assertEqual(1, self.other.pending)

    def test_buried(self) -> None:
        """
        A dead letter has all that is known of it; it is buried once.
        """
        message = self.accept().message
        self.done(self.journal.postponed(message, "500", 0))
        self.done(self.journal.buried(message, "410 Gone", REPLY))
        self.done(self.journal.buried(message, "410 Gone", REPLY))
        (row,) = self.store.rows(
            "SELECT callback, sender, recipient, webhook, stanza, failures, problem, died FROM dead_letters"
        )
        self.assertEqual(
            (
                "one",
                "romeo@example.net",
                "bot@bridge.localhost",
                "msg_1",
                message.stanza,
                1,
                "410 Gone",
                NOW * 1000,
            ),
            row,
        )
        self.assertEqual((0, 0), (self.count_("messages"), self.journal.pending))
        self.assertEqual([REPLY.stanza], self.replies())

    def test_postponed(self) -> None:
        """
        A conversation that waits is nobody's until it is due; how often its message has failed is known.
        """
        message = self.accept().message
        self.done(self.journal.postponed(message, "500", 5.5))
        self.assertEqual((False, False), _held(self.accept()))
        self.clock.advance(5)
        self.assertEqual([], self.claim(self.other))
        self.clock.advance(0.5)
        ((first, _),) = self.done(self.other.claim("one", 1)).values()
        self.assertEqual(("msg_1", 1), (first.webhook, first.failures))

    def test_notHeld(self) -> None:
        """
        Whose lease is over can't have a conversation wait that another bridge has.
        """
        message = self.accept().message
        self.clock.advance(LEASE)
        self.claim(self.other)
        self.done(self.journal.postponed(message, "500", 0))
        self.assertEqual([], self.claim())

    def test_failed(self) -> None:
        """
        A failure that isn't the message's is no failure of it.
        """
        message = self.accept().message
        self.done(self.journal.failed(message, "refused"))
        self.assertEqual([(0, "refused")], self.store.rows("SELECT failures, problem FROM messages"))

    def test_replies(self) -> None:
        """
        Replies come in order, each domain's, until they are sent.
        """
        for number in range(4):
            domain = "other.localhost" if number == 1 else "bridge.localhost"
            self.done(self.journal.delivered(self.accept().message, Reply(domain, str(number))))
        found = self.done(self.journal.replies("bridge.localhost", 2))
        self.assertEqual(["0", "2"], [stanza for _, stanza in found])
        self.done(self.journal.sent([number for number, _ in found]))
        self.assertEqual(["3"], self.replies())

    def test_purged(self) -> None:
        """
        Old dead letters go, and the oldest of too many.
        """
        self.journal = self.make("bridge.localhost", most=2)
        for _ in range(4):
            self.done(self.journal.buried(self.accept().message, "410", None))
            self.clock.advance(1)
        self.done(self.journal.purge())
        dead = "SELECT webhook FROM dead_letters ORDER BY number"
        self.assertEqual([("msg_3",), ("msg_4",)], self.store.rows(dead))
        self.clock.advance(KEPT - 1)
        self.done(self.journal.purge())
        self.assertEqual([("msg_4",)], self.store.rows(dead))


def _held(accepted: Accepted) -> tuple[bool, bool]:
    assert isinstance(accepted.message, Message)
    return accepted.held, accepted.opened
