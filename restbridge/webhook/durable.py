"""
All durable callbacks as one service: what is held, for how long, and what is left when the bridge stops.

::

    start -> what this bridge held before is due -> outboxes, replies
             every RENEW: held for another lease; now and then, old dead letters are deleted
    stop  -> outboxes come to their end -> nothing is held: other bridges, or the next start, go on at once
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from restbridge.store.database import StoreFailed
from restbridge.store.journal import LEASE, Journal
from restbridge.webhook.outbox import Outbox
from restbridge.webhook.replies import Replies

RENEW = LEASE / 3
"""Seconds."""

PURGE_EVERY = 90
"""Renewals."""

FIRST = 1.0
"""Seconds until the journal is asked again that failed at the start."""


class Durable(Service):
    """
    Runs outboxes over one journal.
    """

    log = Logger()

    def __init__(
        self, *, journal: Journal, outboxes: Sequence[Outbox], replies: Replies, clock: IReactorTime
    ) -> None:
        self._journal = journal
        self._outboxes = outboxes
        self._replies = replies
        self._clock = clock
        self._began = False
        self._renewals = 0
        self._keeping = LoopingCall(self._keep)
        self._keeping.clock = clock

    def startService(self) -> None:
        super().startService()
        self._keeping.start(FIRST)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._keeping.stop()
        return Deferred.fromCoroutine(self._end())

    async def _keep(self) -> None:
        try:
            if not self._began:
                await self._begin()
            await self._journal.renew()
            # It may have been the store that kept them.
            self._replies.wake()
            if self._renewals % PURGE_EVERY == 0:
                await self._journal.purge()
            self._renewals += 1
        except StoreFailed as reason:
            self.log.error("The journal failed: {reason}", reason=str(reason))

    async def _begin(self) -> None:
        await self._journal.release()
        if not self.running:
            return
        self._began = True
        self._keeping.interval = RENEW
        for outbox in self._outboxes:
            outbox.start()

    async def _end(self) -> None:
        # What takes too long is left behind; the rest is done all the same.
        with suppress(CancelledError):
            for ended in [outbox.stop() for outbox in self._outboxes]:
                await ended
        self._replies.stop()
        try:
            await self._journal.release()
        except StoreFailed as reason:
            self.log.error("What was held is free only in a minute: {reason}", reason=str(reason))
