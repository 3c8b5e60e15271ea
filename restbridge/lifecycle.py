"""
How the bridge ends: its parts stop one after another, and none of them holds up the end.

::

    SIGTERM, SIGINT -> Signals -> reactor -> Orderly: the last part, ..., the first -> the process ends
                                             (a part that is late is logged, and left behind)
"""

from __future__ import annotations

import signal
from typing import Any

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

PATIENCE = 10.0
"""Seconds, from the beginning of the stop, that all parts together have for what is under way."""

GRACE = 0.5
"""Seconds that each part has, though those before it have used up the others."""


class Orderly(MultiService):
    """
    Services that start in their order, and stop one after another, the last first.
    """

    log = Logger()

    def __init__(self, *, clock: IReactorTime) -> None:
        super().__init__()
        self._clock = clock

    def stopService(self) -> Deferred[None]:
        """
        Stop them all. A part that takes too long is cancelled, and the next one's turn comes.
        """
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        began = self._clock.seconds()
        self.log.info("restbridge is stopping; what is under way has {seconds:g} s", seconds=PATIENCE)
        for service in reversed(list(self)):
            left = began + PATIENCE - self._clock.seconds()
            await self._stopOne(service, max(left, GRACE))
        self.log.info("restbridge has stopped in {seconds:.1f} s", seconds=self._clock.seconds() - began)

    async def _stopOne(self, service: IService, seconds: float) -> None:
        # A part that is cancelled may wait for something else then: only the first of the two is awaited.
        inTime: Deferred[bool] = Deferred()
        alarm = self._clock.callLater(seconds, inTime.callback, False)

        def stopped(result: object) -> None:
            if not alarm.active():
                # How what is left behind ends is nobody's concern.
                return
            alarm.cancel()
            if isinstance(result, Failure):
                self.log.failure("{part} could not be stopped", result, part=name)
            inTime.callback(True)

        name = type(service).__name__
        stopping = maybeDeferred(service.stopService).addBoth(stopped)
        if not await inTime:
            self.log.warn("{part} has not stopped in time: what is under way there is given up", part=name)
            stopping.cancel()


class Signals(Service):
    """
    SIGTERM and SIGINT stop the bridge, once.

    By Twisted's own way a second signal is a traceback in the log, and C{twistd} ends by the signal, which
    those who run containers take for a failure.
    """

    log = Logger()

    def __init__(self, *, reactor: Any) -> None:
        self._reactor = reactor
        self._received = False

    def startService(self) -> None:
        super().startService()
        # The reactor sets handlers of its own when it begins to run.
        self._reactor.callWhenRunning(self._handle)

    def received(self, number: int) -> None:
        """
        A signal came.
        """
        name = signal.Signals(number).name
        if self._received:
            self.log.info("Received {name}; restbridge is stopping already", name=name)
            return
        self._received = True
        self.log.info("Received {name}", name=name)
        self._reactor.stop()

    def _handle(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: self._reactor.callFromThread(self.received, number))
