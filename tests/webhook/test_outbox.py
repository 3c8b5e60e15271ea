"""
L{restbridge.webhook.outbox}
"""

from __future__ import annotations

from string import ascii_lowercase

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import ConnectionRefusedError as Refused

from restbridge.stanzas.errors import errorOf
from restbridge.stanzas.media import TEXT
from restbridge.stanzas.xml import XMLRefused
from restbridge.store.journal import LEASE
from restbridge.webhook.outbox import AT_ONCE, TICK
from tests.webhook.fakes import DOMAIN, response, stanza
from tests.webhook.outboxcase import OutboxTestCase


class OrderTests(OutboxTestCase):
    def test_order(self) -> None:
        """
        The next message of a conversation is called for when the one before is done, others at once.
        """
        self.arrive("a1", "a2", "b1")
        self.assertEqual(["a1", "b1"], self.open())
        self.answer("a1", 200)
        self.assertEqual(["b1", "a2"], self.open())

    def test_committed(self) -> None:
        """
        It is done when the journal has said so.
        """
        self.arrive("a1", "a2")
        self.store.holds = True
        self.answer("a1", 200)
        self.assertEqual([], self.open())
        self.store.work()
        self.assertEqual(["a2"], self.open())

    def test_atOnce(self) -> None:
        """
        So many calls are under way at once, and no more; conversations take turns.
        """
        names = [chr(ord("ぁ") + number) for number in range(AT_ONCE + 2)]
        self.arrive(*(f"{name}1" for name in names), f"{names[0]}2")
        self.assertEqual(AT_ONCE, len(self.open()))
        self.answer(f"{names[0]}1", 200)
        self.assertEqual(f"{names[-2]}1", self.open()[-1])

    def test_delivered(self) -> None:
        """
        What is delivered is gone, without a reply or with one.
        """
        self.arrive("a1", "b1")
        self.answer("a1", 202)
        self.answer("b1", response(200, "hi", TEXT))
        self.assertEqual(([], []), (self.waiting(), self.dead()))
        (reply,) = self.replies()
        self.assertEqual(("hi", "b@example.net/r"), (str(reply.body), reply["to"]))
        self.assertEqual(1, self.replied)

    def test_refused(self) -> None:
        """
        What is refused for good is a dead letter; its sender hears of it, and the next message goes on.
        """
        self.arrive("a1", "a2")
        self.answer("a1", 410)
        self.assertEqual((["a2"], ["a1"], ["a2"]), (self.waiting(), self.dead(), self.open()))
        (reply,) = self.replies()
        self.assertEqual(("error", "a1"), (reply["type"], reply["id"]))

    def test_noReply(self) -> None:
        """
        Nothing answers an error.
        """
        self.arrive("a1", kind="error")
        self.answer("a1", 410)
        self.assertEqual((["a1"], [], 0), (self.dead(), self.replies(), self.replied))

    def test_noId(self) -> None:
        """
        A reply has an id, though what it answers has none: by it the stream knows that it was taken.
        """
        xml = f"<message from='a@example.net' to='bot@{DOMAIN}'><body>a1</body></message>"
        self.successResultOf(Deferred.fromCoroutine(self.outbox.accept(stanza(xml))))
        self.answer("a1", 410)
        (reply,) = self.replies()
        self.assertTrue(reply["id"])

    def test_tooLong(self) -> None:
        """
        What could not be read again is not taken at all.
        """
        body = ">" * 200_000
        xml = f"<message from='a@example.net' to='bot@{DOMAIN}'><body>{body}</body></message>"
        refused = Deferred.fromCoroutine(self.outbox.accept(stanza(xml)))
        self.failureResultOf(refused, XMLRefused)
        self.assertEqual([], self.waiting())


class FailureTests(OutboxTestCase):
    def test_down(self) -> None:
        """
        Where nobody is, nothing is called for but a probe, after 1, 2, 4 ... seconds, up to the longest; the
        first that comes through sets all free.
        """
        self.outbox.stop()
        self.start(probes=(1.0, 4.0))
        self.arrive("a1")
        for seconds in (1, 2, 4, 4):
            self.answer("a1", Refused())
            self.wait(seconds - 0.5)
            self.assertEqual([], self.open())
            self.wait(0.5)
            self.assertEqual(["a1"], self.open())
        self.arrive("b1", "c1")
        self.assertEqual(["a1"], self.open())
        self.answer("a1", 200)
        self.assertEqual(["b1", "c1"], self.open())

    def test_probes(self) -> None:
        """
        The oldest message is probed with first, then the others, one at a time.
        """
        self.arrive("a1", "b1", "c1")
        for text in ("c1", "b1", "a1"):
            self.answer(text, 503)
        self.wait(1)
        self.assertEqual(["a1"], self.open())
        self.wait(100)
        self.assertEqual(["a1"], self.open())
        for text in ("a1", "b1", "c1"):
            self.answer(text, 503)
            self.wait(20)
        self.assertEqual(["a1", "b1", "c1", "a1"], [text for text, _ in self.made()][3:])

    def test_doubtful(self) -> None:
        """
        When one conversation fails, others go one at a time; when they come through, it was the message.
        """
        self.arrive("a1")
        self.answer("a1", 500)
        self.arrive("b1", "c1", "a2")
        self.assertEqual(["b1"], self.open())
        self.answer("b1", 200)
        self.assertEqual(["c1"], self.open())
        self.wait(4.5)
        self.assertEqual(["c1"], self.open())
        self.wait(0.5 + TICK)
        self.assertEqual(["c1", "a1"], self.open())

    def test_doubtfulDown(self) -> None:
        """
        When two fail, it is the callback.
        """
        self.arrive("a1")
        self.answer("a1", DeferredTimeout())
        self.arrive("b1", "c1")
        self.answer("b1", DeferredTimeout())
        self.assertEqual([], self.open())

    def test_poison(self) -> None:
        """
        A message that fails while others come through is tried again after C{retries}, the last of which
        repeats; it holds back its own conversation alone.
        """
        self.outbox.stop()
        self.start(retries=(5.0, 30.0))
        self.arrive("a1", "a2")
        for number, pause in enumerate((5, 30, 30)):
            self.arrive(f"b{number}")
            self.answer(f"b{number}", 200)
            self.answer("a1", 500)
            began = self.clock.seconds()
            while "a1" not in self.open():
                self.wait(0.5)
            self.assertTrue(pause <= self.clock.seconds() - began <= pause + TICK, number)
        self.assertNotIn("a2", [text for text, _ in self.made()])
        self.answer("a1", 200)
        self.assertEqual(["a2"], self.open())
        self.assertEqual(1, len({each.webhook for each in self.calls if each.text == "a1"}))

    def test_absentForOne(self) -> None:
        """
        So it is where it looks as if nobody were there: others wait once, and not again.
        """
        self.arrive("a1", "b1")
        self.answer("a1", 503)
        self.answer("b1", 200)
        self.assertEqual(["a1"], self.open())
        self.answer("a1", 503)
        self.arrive("c1")
        self.assertEqual(["c1"], self.open())
        self.answer("c1", 200)
        began = self.clock.seconds()
        while "a1" not in self.open():
            self.arrive(f"d{self.clock.seconds()}")
            self.answer(self.open()[-1], 200)
            self.wait(0.5)
        self.assertTrue(5 <= self.clock.seconds() - began <= 5 + TICK)
        self.answer("a1", 503)
        self.arrive("e1")
        self.assertEqual(["e1"], self.open())

    def test_asked(self) -> None:
        """
        A pause that the receiver asks for is kept by all, also when another asks for a longer one later.
        """
        self.arrive("a1", "b1", "c1")
        self.answer("a1", response(429, headers={"Retry-After": "5"}))
        self.wait(1)
        self.answer("b1", response(503, headers={"Retry-After": "10"}))
        self.answer("c1", 200)
        self.arrive("d1")
        self.wait(9.5)
        self.assertEqual([], self.open())
        self.wait(0.5)
        self.assertEqual(1, len(self.open()))
        self.answer(self.open()[0], 200)
        self.assertEqual(2, len(self.open()))

    def test_asleep(self) -> None:
        """
        While a probe is under way nobody else is called, though calls from before fail only now.
        """
        self.arrive("a1", "b1")
        self.answer("a1", Refused())
        self.wait(1)
        self.assertEqual(["b1", "a1"], self.open())
        self.answer("b1", DeferredTimeout())
        self.wait(100)
        self.assertEqual(["a1"], self.open())

    def test_dropped(self) -> None:
        """
        When the message of a probe is there no more, others are probed with.
        """
        self.arrive("a1")
        self.answer("a1", Refused())
        self.wait(0.5)
        self.arrive("b1")
        self.store.rows("DELETE FROM messages WHERE number = 1")
        self.answerProbes(30)
        self.assertIn("b1", self.open())

    def answerProbes(self, seconds: int) -> None:
        for _ in range(seconds):
            self.wait(1)
            if "a1" in self.open():
                self.answer("a1", Refused())

    def test_giveUpAlone(self) -> None:
        """
        What fails for too long, while others come through, is a dead letter; its sender hears of it. What
        came behind it has its turn, however long it has waited.
        """
        self.outbox.stop()
        self.start(retries=(5.0,), giveUp=12.0)
        self.arrive("a1")
        for number in range(3):
            self.arrive(f"b{number}")
            self.answer(f"b{number}", 200)
            self.assertEqual([], self.dead())
            self.answer("a1", 500)
            self.arrive("a2") if not number else None
            self.wait(6)
        self.arrive("b9")
        self.answer("b9", 200)
        if "a1" in self.open():
            self.answer("a1", 500)
        self.assertEqual(["a1"], self.dead())
        (error,) = filter(None, map(errorOf, self.replies()))
        self.assertEqual("remote-server-timeout", error.condition)
        self.assertIn("a2", self.open())

    def test_giveUpAll(self) -> None:
        """
        Where nothing comes through, all that waits for too long is given up, called for or not.
        """
        self.outbox.stop()
        self.start(giveUp=10.0, probes=(1.0, 2.0))
        self.arrive("a1", "a2", "b1")
        self.answer("a1", Refused())
        self.answer("b1", Refused())
        self.arrive("c1")
        self.wait(0.5)
        for _ in range(40):
            self.wait(0.5)
            for text in self.open():
                self.answer(text, Refused())
        self.assertEqual((["a1", "a2", "b1", "c1"], []), (self.dead(), self.waiting()))
        self.assertEqual(4, len(self.replies()))
        self.arrive("d1")
        self.wait(5)
        self.assertEqual(["d1"], self.open())


class StoreTests(OutboxTestCase):
    def again(self) -> None:
        """
        The store works again.
        """
        self.store.broken = self.store.lies = False
        self.wait(25)

    def test_delivered(self) -> None:
        """
        When the journal can't say that a message was delivered, it is called for again, as the same one.
        """
        for text, lies in (("a1", False), ("b1", True)):
            self.arrive(text, f"{text[0]}2")
            self.store.broken, self.store.lies = True, lies
            self.answer(text, 200)
            self.wait(5)
            self.assertEqual([], self.open())
            self.again()
            if not lies:
                self.assertEqual([text], self.open())
                self.answer(text, 200)
            self.assertEqual([f"{text[0]}2"], self.open())
            self.answer(f"{text[0]}2", 200)
        self.assertEqual([], self.waiting())
        self.assertEqual(1, len({each.webhook for each in self.calls if each.text == "a1"}))

    def test_postponed(self) -> None:
        """
        Likewise when it can't have a conversation wait.
        """
        self.arrive("a1", "a2", "b1")
        self.answer("b1", 200)
        self.store.broken = True
        self.answer("a1", 500)
        self.again()
        self.assertEqual(["a1"], self.open())

    def test_failed(self) -> None:
        """
        When it can't note why a callback fails, nothing else changes.
        """
        self.arrive("a1")
        self.store.broken = True
        self.answer("a1", Refused())
        self.store.broken = False
        self.wait(1)
        self.assertEqual(["a1"], self.open())

    def test_page(self) -> None:
        """
        When it can't be read any more what is probed with, that is tried again.
        """
        self.arrive("a1")
        for _ in range(5):
            self.answer("a1", Refused())
            self.wait(1)
            while "a1" not in self.open():
                self.wait(1)
        self.answer("a1", Refused())
        self.store.broken = True
        self.wait(40)
        self.assertEqual([], self.open())
        self.again()
        self.wait(60)
        self.assertEqual(["a1"], self.open())
        self.answer("a1", 200)
        self.assertEqual([], self.waiting())

    def test_finish(self) -> None:
        """
        When empty conversations can't be forgotten, they are later.
        """
        self.arrive("a1")
        self.answer("a1", 200)
        self.store.broken = True
        self.wait(2)
        self.again()
        self.assertEqual([], self.store.rows("SELECT * FROM conversations"))

    def test_lease(self) -> None:
        """
        What isn't known to be held is not called for; when it is claimed anew, what is under way isn't called
        for a second time.
        """
        self.arrive("a1", "a2", "b1")
        self.answer("b1", 200)
        self.store.broken = True
        self.wait(LEASE)
        self.store.broken = False
        self.arrive("c1")
        self.assertEqual(["a1"], self.open())
        self.wait(25)
        self.assertEqual(["a1", "c1"], self.open())
        self.answer("a1", 200)
        self.assertEqual(["c1", "a2"], self.open())

    def test_opened(self) -> None:
        """
        What comes between the end of a lease and the next look waits for that, and no longer.
        """
        self.clock.advance(LEASE)
        self.renew()
        self.arrive("a1")
        self.assertEqual([], self.open())
        self.wait(TICK)
        self.assertEqual(["a1"], self.open())

    def test_renewed(self) -> None:
        """
        What is claimed before the journal says that it is held is called for when it has said so.
        """
        self.arrive("a1", "a2")
        self.answer("a1", 200)
        self.answer("a2", 200)
        self.clock.advance(LEASE)
        self.store.holds = True
        renewing = Deferred.fromCoroutine(self.journal.renew())
        self.arriving("b1")
        self.store.work(1)
        self.clock.advance(TICK)
        self.assertEqual([], self.open())
        self.store.work()
        self.store.holds = False
        self.successResultOf(renewing)
        self.wait(2 * TICK)
        self.assertEqual(["b1"], self.open())

    def test_down(self) -> None:
        """
        No probe is made of what isn't known to be held.
        """
        self.arrive("a1")
        self.answer("a1", Refused())
        self.store.broken = True
        self.clock.advance(LEASE)
        self.wait(10)
        self.assertEqual([], self.open())


class StopTests(OutboxTestCase):
    def test_underWay(self) -> None:
        """
        What is under way comes to its end; nothing else is begun.
        """
        self.arrive("a1", "a2", "b1")
        stopped = self.outbox.stop()
        self.answer("b1", 200)
        self.assertNoResult(stopped)
        self.answer("a1", 200)
        self.successResultOf(stopped)
        self.wait(100)
        self.assertEqual(([], ["a2"]), (self.open(), self.waiting()))

    def test_nothing(self) -> None:
        """
        Where nothing is under way, there is nothing to wait for; no probe is made any more.
        """
        self.arrive("a1")
        self.answer("a1", Refused())
        self.successResultOf(self.outbox.stop())
        self.wait(100)
        self.assertEqual([], self.open())

    def test_afterwards(self) -> None:
        """
        What comes now is written down, and left to others, or to the next start.
        """
        self.outbox.stop()
        self.arrive("a1")
        self.assertEqual([(None,)], self.store.rows("SELECT holder FROM conversations"))
        self.start()
        self.assertEqual(["a1"], self.open())

    def test_crash(self) -> None:
        """
        A bridge that is killed goes on where it was, in order, under the same ids.
        """
        texts = [f"{letter}{number}" for letter in ascii_lowercase[:5] for number in range(3)]
        self.arrive(*texts)
        before = {each.text: each.webhook for each in self.calls}
        self.calls = []
        self.outbox.stop()
        self.start()
        self.wait(TICK)
        self.assertEqual(before, {each.text: each.webhook for each in self.calls})
