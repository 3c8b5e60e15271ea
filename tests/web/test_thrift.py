"""
L{restbridge.web.thrift}
"""

from __future__ import annotations

from twisted.internet.task import Clock

from restbridge.web.thrift import Remembered
from tests.web.client import (
    LoggingTestCase,
)


class RememberedTests(LoggingTestCase):
    def test_bounded(self) -> None:
        """
        Who was asked for least lately makes room.
        """
        known: Remembered[int] = Remembered(clock=Clock(), most=2)
        a, b, c = map(known.mark, "abc")
        known.keep(a, 1, 10)
        known.keep(b, 2, 10)
        known.recall(a)
        known.keep(c, 3, 10)
        self.assertEqual([known.recall(mark) for mark in (a, b, c)], [1, None, 3])
