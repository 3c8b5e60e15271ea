"""
L{restbridge.steady}: timers that no clock's owner moves.
"""

from __future__ import annotations

import threading
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from restbridge.steady import SteadyClock

PATIENCE = 10.0


class FakeReactor:
    """
    Keeps what other threads ask to be called.
    """

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.calls: list[Any] = []

    def callFromThread(self, call: Any) -> None:
        self.calls.append(call)
        self.asked.set()


class SteadyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.clock = SteadyClock(self.reactor)
        self.called: list[int] = []

    def test_later(self) -> None:
        """
        What is called later is called on the reactor's thread, when the time has come.
        """
        before = self.clock.seconds()
        call = self.clock.callLater(0.01, self.called.append, 1)
        self.assertTrue(self.reactor.asked.wait(PATIENCE))
        self.assertEqual(([], True), (self.called, call.active()))
        self.reactor.calls.pop()()
        self.assertEqual(([1], False), (self.called, call.active()))
        self.assertGreaterEqual(self.clock.seconds() - before, 0.01)

    def test_cancelled(self) -> None:
        """
        What was cancelled in time isn't called, also where its time has come already.
        """
        call = self.clock.callLater(0, self.called.append, 1)
        self.assertTrue(self.reactor.asked.wait(PATIENCE))
        call.cancel()
        self.reactor.calls.pop()()
        self.assertEqual(([], False), (self.called, call.active()))
