"""
L{restbridge.xmpp.management}: what was handled, counted.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from restbridge.xmpp.management import (
    ASK_AFTER,
    MAX_ID,
    MAX_KEPT,
    MAX_SECONDS,
    MAX_UNHANDLED,
    HandledTooMuch,
    Ledger,
    countOf,
)
from tests.xmpp.fakes import stanza

NS = "urn:xmpp:sm:3"


def answer(attributes: str, name: str = "enabled") -> Ledger | None:
    """
    The ledger of a login whose server answers so.
    """
    return Ledger.of(stanza(f"<{name} xmlns='{NS}' {attributes}/>"))


class EnabledTests(SynchronousTestCase):
    """
    What a server says to the wish for stream management.
    """

    def ledger(self, attributes: str) -> Ledger:
        ledger = answer(attributes)
        assert ledger is not None
        return ledger

    def test_resumable(self) -> None:
        """
        A login is kept for as long as the server does, and not for longer than a minute.
        """
        for written, seconds in (("", 60), (" max='60'", 60), (" max='7'", 7), (" max='600'", MAX_SECONDS)):
            for resume in ("true", "1"):
                ledger = self.ledger(f"id='a' resume='{resume}'{written}")
                self.assertEqual((ledger.name, ledger.seconds), ("a", seconds))

    def test_notResumable(self) -> None:
        """
        It is not kept where the server doesn't, or says nothing sensible.
        """
        for written in (
            "",
            "id='a'",
            "id='a' resume='false'",
            "id='a' resume='yes'",
            "resume='true'",
            "id='' resume='true'",
            f"id='{'a' * (MAX_ID + 1)}' resume='true'",
            "id='a' resume='true' max='0'",
        ):
            self.assertIsNone(self.ledger(written).name, written)

    def test_nonsense(self) -> None:
        """
        A time that is none is one that was not said.
        """
        for written in ("-1", "1e9", "x", "", "9" * 5000, "٣"):
            ledger = self.ledger(f"id='a' resume='true' max='{written}'")
            self.assertEqual((ledger.name, ledger.seconds), ("a", MAX_SECONDS))

    def test_failed(self) -> None:
        """
        A server may refuse; then nothing is counted.
        """
        for name in ("failed", "r", "a", "resumed"):
            self.assertIsNone(answer("id='a' resume='true'", name))


class LedgerCase(SynchronousTestCase):
    """
    Has a ledger.
    """

    def setUp(self) -> None:
        self.ledger = Ledger(name="some id", seconds=60)

    def send(self, number: int, data: bytes | None = None) -> None:
        for _ in range(number):
            self.ledger.sent(data)


class OutTests(LedgerCase):
    """
    What was sent.
    """

    def test_resumed(self) -> None:
        """
        What the server hasn't handled is sent again, if it is of that kind, in its order; and counted anew.
        """
        for data in (b"1", b"2", None, b"3", None, b"4"):
            self.ledger.sent(data)
        self.assertEqual(self.ledger.resumed(1), [b"2", b"3", b"4"])
        for data in (b"2", b"3", b"4"):
            self.ledger.sent(data)
        self.assertEqual(self.ledger.resumed(3), [b"4"])
        self.ledger.sent(b"4")
        self.assertEqual(self.ledger.resumed(4), [])

    def test_handled(self) -> None:
        """
        What the server has handled is not sent again, however often it says so.
        """
        self.send(5, b"x")
        for count in (0, 2, 2, 4):
            self.ledger.handled(count)
        self.assertEqual(self.ledger.resumed(4), [b"x"])

    def test_tooMuch(self) -> None:
        """
        A server can't have handled more than was sent, nor less than before.
        """
        self.send(3)
        self.ledger.handled(2)
        for count in (4, 1, 0, 2**32 - 1):
            error = self.assertRaises(HandledTooMuch, self.ledger.handled, count)
            self.assertRaises(HandledTooMuch, self.ledger.resumed, count)
            self.assertIn(f" h='{count}' send-count='3'", error.error)
        self.ledger.handled(3)

    def test_asked(self) -> None:
        """
        The server is asked once for all that is in flight, and again when it has answered and more is.
        """
        asked = []
        for _ in range(3 * ASK_AFTER):
            self.send(1)
            asked.append(self.ledger.asks())
        self.assertEqual(asked, [number == ASK_AFTER - 1 for number in range(3 * ASK_AFTER)])
        self.ledger.handled(ASK_AFTER)
        self.assertEqual([self.ledger.asks(), self.ledger.asks()], [True, False])
        self.ledger.handled(3 * ASK_AFTER)
        self.assertFalse(self.ledger.asks())

    def test_askedAgain(self) -> None:
        """
        A question whose answer was lost with the connection is asked again.
        """
        self.send(ASK_AFTER, b"x")
        self.assertTrue(self.ledger.asks())
        for data in self.ledger.resumed(0):
            self.ledger.sent(data)
        self.assertTrue(self.ledger.asks())

    def test_bounded(self) -> None:
        """
        A server that never acknowledges doesn't have the bridge keep everything: the login can't be resumed
        any more, and what the server says then doesn't matter.
        """
        for number, data in ((MAX_UNHANDLED + 1, None), (MAX_KEPT // 100 + 1, b"x" * 100)):
            self.setUp()
            self.send(number - 1, data)
            self.assertEqual(self.ledger.name, "some id")
            self.send(2, data)
            self.assertIsNone(self.ledger.name)
            self.ledger.handled(2**31)
            self.assertFalse(self.ledger.asks())

    def test_keptIsForgotten(self) -> None:
        """
        What was acknowledged doesn't count towards that.
        """
        for number in range(1, 3 * MAX_KEPT // 1000):
            self.send(1, b"x" * 1000)
            self.ledger.handled(number)
        self.assertEqual(self.ledger.name, "some id")

    def test_notResumable(self) -> None:
        """
        Where there is no resumption nothing is kept, nor is the server asked.
        """
        self.ledger = Ledger(name=None, seconds=60)
        self.send(2 * ASK_AFTER, b"x")
        self.assertFalse(self.ledger.asks())
        self.ledger.handled(7)

    def test_wrapsAround(self) -> None:
        """
        After 2**32 stanzas the count begins anew, on both sides.
        """
        self.ledger._handled = self.ledger._received = 2**32 - 2
        self.send(4, b"x")
        self.ledger.handled(2**32 - 1)
        self.ledger.handled(1)
        self.assertEqual(self.ledger.resumed(1), [b"x"])
        for _ in range(3):
            self.ledger.received(stanza("<message/>"))
        self.assertEqual(self.ledger.acknowledgement(), f"<a xmlns='{NS}' h='1'/>")

    @given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=30))
    def test_model(self, turns: list[tuple[int, int]]) -> None:
        """
        Whatever is sent and acknowledged, what is sent again is what the server has not handled.
        """
        self.setUp()
        sent: list[bytes] = []
        handled = 0
        for more, acknowledged in turns:
            for _ in range(more):
                sent.append(b"%d" % len(sent))
                self.ledger.sent(sent[-1])
            handled = min(handled + acknowledged, len(sent))
            self.ledger.handled(handled)
        self.assertEqual(self.ledger.resumed(handled), sent[handled:])


class InTests(LedgerCase):
    """
    What came.
    """

    def test_received(self) -> None:
        """
        Stanzas count, and nothing else.
        """
        for xml in (
            "<message/>",
            "<presence/>",
            "<iq/>",
            f"<r xmlns='{NS}'/>",
            "<message xmlns='x'/>",
            "<other/>",
        ):
            self.ledger.received(stanza(xml))
        self.assertEqual(self.ledger.acknowledgement(), f"<a xmlns='{NS}' h='3'/>")
        self.assertEqual(self.ledger.resumption(), f"<resume xmlns='{NS}' previd='some id' h='3'/>")

    def test_anyId(self) -> None:
        """
        A name may be anything that an attribute can hold.
        """
        name = "<'\"&>\n"
        resume = stanza(Ledger(name=name, seconds=1).resumption())
        self.assertEqual(resume["previd"], name)

    def test_count(self) -> None:
        """
        A count is a number of 32 bits.
        """
        for written, count in (("0", 0), ("4294967295", 2**32 - 1)):
            self.assertEqual(countOf(stanza(f"<a xmlns='{NS}' h='{written}'/>")), count)
        for nonsense in ("", "-1", "x", "1.5", " 1", "4294967296", "9" * 5000, "٣"):
            self.assertIsNone(countOf(stanza(f"<a xmlns='{NS}' h='{nonsense}'/>")), nonsense)
        self.assertIsNone(countOf(stanza(f"<a xmlns='{NS}'/>")))
