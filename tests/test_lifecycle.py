"""
L{restbridge.lifecycle}: how the bridge ends.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock

from restbridge.lifecycle import GRACE, PATIENCE, Orderly, Signals
from tests.web.client import LoggingTestCase


class Part(Service):
    """
    A part of something; it notes what happens to it.
    """

    def __init__(self, name: str, history: list[str], stopping: Callable[[], Any]) -> None:
        self.setName(name)
        self._history = history
        self._stopping = stopping

    def startService(self) -> None:
        super().startService()
        self._history.append(f"{self.name} started")

    def stopService(self) -> Any:
        super().stopService()
        self._history.append(f"{self.name} stops")
        return self._stopping()


class OrderlyTests(LoggingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.history: list[str] = []
        self.whole = Orderly(clock=self.clock)

    def add(self, name: str, stopping: Callable[[], Any] = lambda: None) -> None:
        Part(name, self.history, stopping).setServiceParent(self.whole)

    def stop(self) -> Deferred[None]:
        self.whole.startService()
        self.history.clear()
        return self.whole.stopService()

    def test_start(self) -> None:
        """
        The parts start in their order.
        """
        self.add("store")
        self.add("ports")
        self.whole.startService()
        self.assertEqual(self.history, ["store started", "ports started"])

    def test_stop(self) -> None:
        """
        They stop the other way round, each when the one before has stopped.
        """
        stopped: Deferred[None] = Deferred()
        self.add("store")
        self.add("ports", lambda: stopped)
        whole = self.stop()
        self.assertFalse(self.whole.running)
        self.assertEqual(self.history, ["ports stops"])
        self.clock.advance(PATIENCE - 1)
        self.assertNoResult(whole)
        stopped.callback(None)
        self.assertEqual(self.history, ["ports stops", "store stops"])
        self.successResultOf(whole)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_late(self) -> None:
        """
        A part that takes longer than all have together is named in the log and cancelled; the next one's
        turn comes.
        """
        cancelled: list[object] = []
        self.add("store")
        self.add("ports", lambda: Deferred(cancelled.append))
        whole = self.stop()
        self.clock.advance(PATIENCE)
        self.successResultOf(whole)
        self.assertEqual(len(cancelled), 1)
        self.assertEqual(self.history, ["ports stops", "store stops"])
        self.assertIn("Part has not stopped in time", " ".join(self.logged))

    def test_grace(self) -> None:
        """
        Where others have used up the time, a part has a moment all the same.
        """
        closed: Deferred[None] = Deferred()
        self.add("store", lambda: closed)
        self.add("ports", Deferred)
        whole = self.stop()
        self.clock.advance(PATIENCE)
        self.clock.advance(GRACE / 2)
        closed.callback(None)
        self.successResultOf(whole)
        self.assertEqual(sum("has not stopped" in line for line in self.logged), 1)

    def test_never(self) -> None:
        """
        Parts that all hang, be it even when they are cancelled, hold up the end for no longer than said.
        """

        async def stubborn() -> None:
            while True:
                try:
                    await Deferred()
                except Exception:
                    self.history.append("cancelled")

        for name in ("store", "streams", "webhooks", "ports"):
            self.add(name, lambda: Deferred.fromCoroutine(stubborn()))
        whole = self.stop()
        self.clock.advance(PATIENCE)
        self.clock.pump([GRACE] * 3)
        self.successResultOf(whole)
        self.assertEqual(self.history.count("cancelled"), 4)

    def test_broken(self) -> None:
        """
        A part that can't be stopped is said to, and hinders no other.
        """

        def raises() -> None:
            raise RuntimeError("broken on purpose")

        self.add("store")
        self.add("ports", raises)
        self.successResultOf(self.stop())
        self.assertEqual(self.history, ["ports stops", "store stops"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class SignalsTests(LoggingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.reactor = MemoryReactorClock()
        self.signals = Signals(reactor=self.reactor)
        for number in (signal.SIGTERM, signal.SIGINT):
            self.addCleanup(signal.signal, number, signal.getsignal(number))

    def test_once(self) -> None:
        """
        The first signal stops the reactor; another one is noted, and changes nothing.
        """
        stops: list[None] = []
        self.reactor.stop = lambda: stops.append(None)  # type: ignore[method-assign]
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            self.signals.received(number)
        self.assertEqual(len(stops), 1)
        self.assertEqual(
            self.logged,
            [
                "Received SIGTERM",
                "Received SIGTERM; restbridge is stopping already",
                "Received SIGINT; restbridge is stopping already",
            ],
        )

    def test_handled(self) -> None:
        """
        The signals are its own as soon as the reactor, which sets handlers of its own first, runs.
        """
        before = signal.getsignal(signal.SIGTERM)
        self.signals.startService()
        self.assertIs(signal.getsignal(signal.SIGTERM), before)
        self.reactor.run()
        for number in (signal.SIGTERM, signal.SIGINT):
            self.assertIsNot(signal.getsignal(number), before)
