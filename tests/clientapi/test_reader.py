"""
L{restbridge.clientapi.reader} and L{restbridge.clientapi.replay}: what was missed, then what happens, each
once.
"""

from __future__ import annotations

from restbridge.clientapi.event import EventId
from restbridge.clientapi.reader import MARKED, SETTLE
from restbridge.clientapi.sse import MAX_EVENTS
from restbridge.stanzas.errors import NoAnswer, StanzaError
from tests.clientapi.eventscase import BOB, GONE, HERE, NOW, OWN, EventsCase, delay, message


class ReplayTests(EventsCase):
    """
    Who comes back with Last-Event-ID.
    """

    def test_replay(self) -> None:
        """
        What came meanwhile is brought, page by page, before what comes now; each once.
        """
        listener = self.listen()
        self.say("one", "two")
        listener.client.leave()
        missed = [f"missed {n}" for n in range(120)]
        self.miss(*missed)
        again = self.listen(listener.lastId)
        self.say("live")
        self.settle()
        self.say("later")
        self.assertEqual(again.texts, [*missed, "live", "later"])
        self.assertEqual([after for after, _ in self.login.asked], ["two", "missed 49", "missed 99"])

    def test_fault(self) -> None:
        """
        A fault of ours that ends a stream ends all of it: its connection, and what would have been written.
        """
        first = self.listen()
        self.say("one")
        first.client.leave()
        before = len(self.clock.getDelayedCalls())
        self.login.fails = RuntimeError("it broke")
        listener = self.listen(first.lastId)
        self.settle()
        self.assertTrue(listener.client.transport.disconnected)
        listener.client.leave()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(len(self.clock.getDelayedCalls()), before)

    def test_fromEach(self) -> None:
        """
        Each event's id, replayed or not, brings what came after it, whatever bridge is asked.
        """
        listener = self.listen()
        self.say("one", "two")
        self.receive(message("not archived"))
        self.say("three")
        ids = [event.id for event in listener.events]
        self.start()
        for number, rest in zip(ids, (["two", "three"], ["three"], ["three"], []), strict=True):
            again = self.listen(number)
            self.settle()
            self.assertEqual(again.texts, rest)

    def test_filter(self) -> None:
        """
        The archive holds what was no event: that isn't brought.
        """
        self.login.archive = [
            ("0", message("known")),
            ("1", message(None, more="<received xmlns='urn:xmpp:receipts' id='1'/>")),
            ("2", message("own", sender=f"{OWN}/phone", to=BOB)),
            ("3", message("normal", kind="normal")),
            ("4", message("note", sender=f"{OWN}/phone")),
            ("5", message("last")),
            ("6", message("note", sender=f"{OWN}/phone")),
        ]
        listener = self.listen(str(EventId(moment=1, number=0, complete=0, archived="0")))
        self.settle()
        self.assertEqual(listener.texts, ["last", "note"])
        self.assertEqual(listener.events[0].data["timestamp"], 1_699_999_980_500_000)

    def test_settles(self) -> None:
        """
        A login that has just become available waits until the archive holds all that came before; one that
        has been it for long doesn't.
        """
        known = str(EventId(moment=1, number=0, complete=0, archived="one"))
        self.miss("one", "two")
        listener = self.listen(known)
        self.clock.advance(SETTLE - 0.1)
        self.assertEqual((listener.texts, self.login.asked), ([], []))
        self.clock.advance(0.1)
        self.assertEqual(listener.texts, ["two"])
        self.assertEqual(self.listen(known).texts, ["two"])

    def test_stored(self) -> None:
        """
        What was stored for the user comes once, though it is in the archive, too; also if the server has
        forgotten to bring it before.
        """
        listener = self.listen()
        self.say("one")
        self.settle()
        listener.client.leave()
        self.clock.advance(10)
        self.miss("two")
        stored = self._stored("two")
        again = self.listen(listener.lastId)
        self.receive(stored)
        self.settle()
        self.receive(stored)
        self.assertEqual(again.texts, ["two"])
        self.clock.advance(10)
        again.client.leave()
        third = self.listen(again.lastId)
        self.receive(stored, self._stored("not archived", None))
        self.settle()
        self.assertEqual(third.texts, ["not archived"])

    def _stored(self, text: str, archived: str | None = "") -> str:
        """
        A message that was sent ten seconds after the start.
        """
        return message(text, text if archived == "" else archived, more=delay("2023-11-14T22:13:33Z"))

    def test_onceMore(self) -> None:
        """
        What a server delivers once more, because the login ended before it knew that it had come, comes once.
        """
        listener = self.listen()
        texts = [f"{number}" for number in range(MARKED)]
        self.say(*texts)
        ended = listener.lastId
        self.relogin()
        again = self.listen(ended)
        self.receive(*(self._stored(text) for text in texts), self._stored("new"))
        self.settle()
        self.assertEqual(again.texts, ["new"])

    def test_unknown(self) -> None:
        """
        A message that the archive has forgotten is found by its time.
        """
        self.miss("one", "two")
        listener = self.listen(str(EventId(moment=int(NOW * 1e6), number=0, complete=0, archived="gone")))
        self.settle()
        self.assertEqual(listener.texts, ["one", "two"])
        self.assertEqual(
            self.login.asked, [("gone", "2023-11-13T22:13:20.250Z"), (None, "2023-11-14T22:12:20.250Z")]
        )

    def test_notArchivedYet(self) -> None:
        """
        So is an event before which there was nothing in the archive.
        """
        listener = self.listen()
        self.receive(message("not archived"))
        listener.client.leave()
        self.miss("one")
        again = self.listen(listener.lastId)
        self.settle()
        self.assertEqual(again.texts, ["one"])
        self.assertEqual(self.login.asked, [(None, "2023-11-14T22:12:20.250Z")])

    def test_noArchive(self) -> None:
        """
        Without an archive nothing is replayed, and what comes is brought.
        """
        self.login.refusal = StanzaError.of("service-unavailable")
        listener = self.listen(str(EventId(moment=1, number=0, complete=0, archived="one")))
        self.receive(message("live"), self._stored("stored", "two"))
        self.settle()
        self.assertEqual(listener.texts, ["live", "stored"])

    def test_archiveFails(self) -> None:
        """
        When the archive can't be read now the stream ends, and the next one asks again: nothing is lost.
        """
        known = str(EventId(moment=1, number=0, complete=0, archived="one"))
        self.miss("one", "two")
        for refusal, fails in ((StanzaError.of("resource-constraint"), None), (None, NoAnswer(30))):
            self.login.refusal, self.login.fails = refusal, fails
            listener = self.listen(known)
            self.settle()
            self.assertEqual((listener.texts, listener.ended), ([], True))
        self.assertEqual(self.login.held, 0)
        self.login.fails = None
        again = self.listen(known)
        self.settle()
        self.assertEqual(again.texts, ["two"])

    def test_endsMeanwhile(self) -> None:
        """
        A replay ends with the client, with the login, and with what comes beyond measure.
        """
        known = str(EventId(moment=1, number=0, complete=0, archived="one"))
        self.miss("one", "two")
        self.login.holding = True
        left = self.listen(known)
        self.settle()
        left.client.leave()
        self.assertEqual(self.login.told, HERE + GONE)
        flooded = self.listen(known)
        self.receive(*(message(f"{n}") for n in range(MAX_EVENTS + 1)))
        self.assertTrue(flooded.client.closed)
        self.assertEqual(self.login.told, (HERE + GONE) * 2)
        waiting = self.listen(known)
        self.relogin()
        self.assertTrue(waiting.ended)
        self.settle()

    def test_foreign(self) -> None:
        """
        An id that was written by somebody else is none.
        """
        self.miss("one")
        for foreign in ("", "1", "1-2-3", "1-2-3-%00", "1-2-3-a b", "x" * 3000, "9" * 17 + "-0-0-one"):
            self.listen(foreign)
        self.settle()
        self.assertEqual(self.login.asked, [])

    def test_ids(self) -> None:
        """
        An id is one word of ASCII, whatever the archive's ids are, and is read as it was written.
        """
        for archived in ("1795331911387461", "a-b_c.d~e", "50% \r\n\u00fc\U0001f600", None):
            number = EventId(moment=1, number=2, complete=3, archived=archived)
            self.assertRegex(str(number), r"^[!-~]+$")
            self.assertEqual(EventId.parse(str(number)), number)
