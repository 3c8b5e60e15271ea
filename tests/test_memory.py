"""
L{restbridge.memory}: what a burst took is given back.
"""

from __future__ import annotations

from pathlib import Path
from resource import getpagesize

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from restbridge.memory import EVERY, givingBack

PIECE = 1000
"""Bytes that come from the C library's heap: Python has its own for what is smaller."""

PIECES = 40_000

MOST = PIECE * PIECES * 3 // 4
"""Bytes of all pieces that have to come back: their neighbours share pages with them."""


def resident() -> int:
    """
    Bytes of this process that are in memory.
    """
    return int(Path("/proc/self/statm").read_text().split()[1]) * getpagesize()


class GivingBackTests(SynchronousTestCase):
    def test_burst(self) -> None:
        """
        What was taken and is free again is given back in time, though something behind it stays.
        """
        clock = Clock()
        (service,) = givingBack()
        service.clock = clock
        service.startService()
        self.addCleanup(service.stopService)
        pieces = [bytes(PIECE) for _ in range(PIECES)]
        stays = pieces.pop()
        del pieces
        before = resident()
        clock.advance(EVERY)
        self.assertGreater(before - resident(), MOST)
        self.assertEqual(PIECE, len(stays))

    def test_another(self) -> None:
        """
        A C library that has no such function is left as it is.
        """
        self.assertEqual([], givingBack(object()))
