"""
One bridge for a component at a time: the others wait, and one of them takes over when it is gone.

A server may take a second connection for the same component, and then spread the stanzas over both. So a
bridge connects only while it has the component's lease, which is in the store that all of them share::

    start -> take, every EVERY -> another's     -> wait, or disconnect at once
                               -> one's own     -> connect; its end is put off
                               -> nobody knows  -> as before, until its end
    end, by one's own clock    -> disconnect, before another bridge may have it
    stop  -> the stream is closed -> given back: another bridge has it within EVERY
"""

from __future__ import annotations

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from restbridge.steady import Later, SteadyClock
from restbridge.store.database import StoreFailed
from restbridge.store.lease import TERM, Lease
from restbridge.xmpp.component import Component

EVERY = 2.0
"""Seconds from one look at the lease to the next."""

MARGIN = 3.0
"""Seconds before the lease's end in which the stream is closed, however late this process gets to it."""


class Standby(Service):
    """
    Lets a component connect while this bridge has its lease.
    """

    log = Logger()

    def __init__(
        self,
        *,
        lease: Lease,
        component: Component,
        clock: IReactorTime | SteadyClock,
    ) -> None:
        """
        @param component: started after this, and stopped before it.
        @param clock: one that nobody sets.
        """
        self._lease = lease
        self._component = component
        self._clock = clock
        self._end: IDelayedCall | Later | None = None
        self._said: str | None = None
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock  # type: ignore[assignment]  # as much of one as it needs

    def startService(self) -> None:
        super().startService()
        self._looking.start(EVERY)

    def stopService(self) -> Deferred[None]:
        """
        Let another bridge have the lease.
        """
        super().stopService()
        self._looking.stop()
        self._disarm()
        return Deferred.fromCoroutine(self._giveBack())

    async def _look(self) -> None:
        asked = self._clock.seconds()
        try:
            other = await self._lease.take()
        except StoreFailed as problem:
            self._unknown(problem)
        else:
            if other is None:
                self._had(asked)
            else:
                self._say(f"the lease of {self._lease.name} is that of {other}")
                self._wait(f"another bridge serves {self._lease.name}")

    def _had(self, asked: float) -> None:
        """
        The lease is had.

        @param asked: when it was asked for, by C{clock}.
        """
        left = asked + TERM - MARGIN - self._clock.seconds()
        if left <= 0 or not self.running:
            # It took too long to hear of it; the next look tells.
            return
        isNew = self._end is None
        self._disarm()
        self._end = self._clock.callLater(left, self._ended)
        if isNew:
            self._say(f"the lease of {self._lease.name} is this bridge's")
            self._component.enter()

    def _unknown(self, problem: StoreFailed) -> None:
        self._say(f"nobody knows whose the lease of {self._lease.name} is: {problem}")
        if self._end is None:
            self._wait(f"the store doesn't say whether another bridge serves {self._lease.name}")

    def _ended(self) -> None:
        self._end = None
        self._wait(f"the lease of {self._lease.name} could not be renewed in the store")

    def _wait(self, why: str) -> None:
        self._disarm()
        self._component.leave(f"waiting as a standby: {why}")

    def _disarm(self) -> None:
        end, self._end = self._end, None
        if end is not None and end.active():
            end.cancel()

    def _say(self, what: str) -> None:
        if what != self._said:
            self._said = what
            self.log.info("Standby: {what}", what=what)

    async def _giveBack(self) -> None:
        try:
            await self._lease.giveBack()
        except StoreFailed as problem:
            self.log.error(
                "Other bridges have to wait for the end of the lease of {name}: {reason}",
                name=self._lease.name,
                reason=str(problem),
            )
