"""
L{restbridge.stanzas.values}: numbers as texts, and back.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from restbridge.stanzas.values import INTEGER, NUMBER


class NumberTests(SynchronousTestCase):
    def test_read(self) -> None:
        """
        A number is read as what it is; what is too large or none isn't one.
        """
        for text, number in (("12", 12), ("-1.5", -1.5), ("2e3", 2000.0)):
            self.assertEqual(NUMBER.fromText(text), number)
        for text in ("1e999", "x", "", "1" * 19, "0x1", "nan", "\u0661"):
            self.assertIsNone(NUMBER.fromText(text), text)

    def test_written(self) -> None:
        """
        A number is written as XML Schema has it; an integer that JSON has as a fraction is one.
        """
        self.assertEqual([NUMBER.toText(number) for number in (1.5, 2.0, 7)], ["1.5", "2", "7"])
        self.assertEqual(INTEGER.toText(2.0), "2")
        for value in (True, "1", 10**18, float("inf"), float("nan")):
            self.assertIsNone(NUMBER.toText(value), value)
            self.assertIsNone(INTEGER.toText(value), value)
