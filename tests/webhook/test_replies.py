"""
L{restbridge.webhook.replies}
"""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.words.xish.domish import Element

from restbridge.stanzas.errors import LinkDown
from restbridge.stanzas.xml import XMLRefused
from restbridge.store.journal import Entry, Journal, Reply
from restbridge.webhook.replies import AT_ONCE, Replies
from tests.store.fakes import FakeStore
from tests.web.client import LoggingTestCase
from tests.webhook.fakes import DOMAIN


class FakeWay:
    """
    A L{restbridge.webhook.replies.Way}.

    @ivar written: the ids of the stanzas that were written, and what waits for the server to take them.
    @ivar holds: whether the server takes its time.
    """

    def __init__(self) -> None:
        self.written: list[str] = []
        self.open: list[Deferred[Element | None]] = []
        self.holds = False
        self.faults: list[Exception] = []
        self._awaiting: list[Deferred[None]] | None = None

    def down(self) -> None:
        self._awaiting = []
        lost, self.open = self.open, []
        for each in lost:
            each.errback(LinkDown("gone"))

    def up(self) -> None:
        awaiting, self._awaiting = self._awaiting or [], None
        for each in awaiting:
            each.callback(None)

    def whenUp(self) -> Deferred[None]:
        if self._awaiting is None:
            return succeed(None)
        self._awaiting.append(Deferred())
        return self._awaiting[-1]

    def confirm(self, stanza: Element) -> Deferred[Element | None]:
        if self._awaiting is not None:
            raise LinkDown("down")
        if self.faults:
            raise self.faults.pop(0)
        self.written.append(stanza["id"])
        if not self.holds:
            return succeed(None)
        self.open.append(Deferred())
        return self.open[-1]


class RepliesTests(LoggingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.store = FakeStore()
        self.journal = Journal(store=self.store, holder=DOMAIN, most=1000, clock=Clock())
        self.way = FakeWay()
        self.replies = Replies(journal=self.journal, domain=DOMAIN, way=self.way)

    def keep(self, *ids: str, domain: str = DOMAIN) -> None:
        for each in ids:
            entry = Entry(callback="c", sender="s", recipient="r", webhook=each, received=0, stanza="")
            accepted = self.successResultOf(Deferred.fromCoroutine(self.journal.accept(entry, hold=True)))
            reply = Reply(domain, f"<message id='{each}'/>")
            work = self.journal.delivered(accepted.message, reply)
            self.successResultOf(Deferred.fromCoroutine(work))

    def left(self) -> int:
        return len(self.store.rows("SELECT * FROM replies"))

    def test_order(self) -> None:
        """
        Replies are sent in their order, however many there are, and then they are gone; those of other
        bridges are none of ours.
        """
        ids = [str(number) for number in range(AT_ONCE + 5)]
        self.keep(*ids)
        self.keep("other", domain="other.localhost")
        self.replies.wake()
        self.assertEqual((ids, 1), (self.way.written, self.left()))

    def test_while(self) -> None:
        """
        What comes while others are sent is sent behind them.
        """
        self.way.holds = True
        self.keep("1")
        self.replies.wake()
        self.keep("2")
        self.replies.wake()
        self.assertEqual(["1"], self.way.written)
        self.way.open.pop().callback(None)
        self.assertEqual(["1", "2"], self.way.written)

    def test_down(self) -> None:
        """
        While there is no stream they wait for it.
        """
        self.way.down()
        self.keep("1")
        self.replies.wake()
        self.assertEqual(([], 1), (self.way.written, self.left()))
        self.way.up()
        self.assertEqual((["1"], 0), (self.way.written, self.left()))

    def test_breaks(self) -> None:
        """
        What the server hasn't taken when the stream breaks is sent again, in order.
        """
        self.way.holds = True
        self.keep("1", "2", "3")
        self.replies.wake()
        self.way.open.pop(0).callback(None)
        self.way.down()
        self.assertEqual(2, self.left())
        self.way.holds = False
        self.way.up()
        self.assertEqual(["1", "2", "3", "2", "3"], self.way.written)
        self.assertEqual(0, self.left())

    def test_refused(self) -> None:
        """
        What can't be sent is logged, and holds back nothing.
        """
        for fault in (XMLRefused("too long"), KeyError("id")):
            self.way.faults = [fault]
            self.keep("1", "2")
            self.replies.wake()
            self.assertEqual((["2"], 0), (self.way.written, self.left()))
            self.assertIn(repr(fault), self.logged[-1])
            self.way.written.clear()

    def test_store(self) -> None:
        """
        When the store fails they wait for the next time.
        """
        self.keep("1")
        self.store.broken = True
        self.replies.wake()
        self.assertIn("wait for the store", self.logged[-1])
        self.store.broken = False
        self.replies.wake()
        self.assertEqual((["1"], 0), (self.way.written, self.left()))

    def test_stop(self) -> None:
        """
        What the server hasn't taken when the bridge stops is kept for the next start; nothing more is sent.
        """
        self.way.holds = True
        self.keep("1", "2")
        self.replies.wake()
        self.way.open[0].callback(None)
        self.replies.stop()
        self.assertEqual([("<message id='2'/>",)], self.store.rows("SELECT stanza FROM replies"))
        self.replies.wake()
        self.assertEqual(["1", "2"], self.way.written)

    def test_stopWaiting(self) -> None:
        """
        Nor does the stop wait for the stream.
        """
        self.way.down()
        self.keep("1")
        self.replies.wake()
        self.replies.stop()
        self.way._awaiting = None
        self.replies.wake()
        self.assertEqual(([], 1), (self.way.written, self.left()))
