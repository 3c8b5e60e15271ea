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
from twisted.internet.defer import CancelledError, Deferred, DeferredList, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

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
        self._outboxes = [*outboxes]
        self._closing: dict[Outbox, Deferred[None]] = {}
        self._unclosed: list[Outbox] = []
        self._replies = replies
        self._clock = clock
        self._began = False
        self._renewals = 0
        self._keeping = LoopingCall(self._keep)
        self._keeping.clock = clock

    def startService(self) -> None:
        super().startService()
        self._keepIfNeeded()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        if not self._keeping.running:
            return succeed(None)
        self._keeping.stop()
        return Deferred.fromCoroutine(self._end())

    def change(self, outboxes: Sequence[Outbox]) -> None:
        """
        From now on these are the outboxes. Of those that are none of them any more the calls that are under
        way come to their end; what waits there stays in the journal.
        """
        gone = [outbox for outbox in self._outboxes if outbox not in outboxes]
        new = [outbox for outbox in outboxes if outbox not in self._outboxes]
        self._outboxes = [*outboxes]
        if self._began and self.running:
            for outbox in new:
                self._startBehind(outbox)
        for outbox in gone:
            closing = self._closing[outbox] = Deferred.fromCoroutine(self._close(outbox))
            closing.addErrback(self._broken).addBoth(self._closed, outbox)
        if self.running:
            self._keepIfNeeded()

    def _startBehind(self, outbox: Outbox) -> None:
        """
        Start an outbox when one of its name that was removed, if any, has come to its end: they would take
        the same conversations for their own.
        """
        name = outbox.settings.outbox
        closing = [ended for each, ended in self._closing.items() if each.settings.outbox == name]

        def start(_: object) -> None:
            if self.running and outbox in self._outboxes:
                outbox.start()

        DeferredList(closing).addCallback(start)

    def _keepIfNeeded(self) -> None:
        # Without an outbox nobody may need the store.
        if self._outboxes and not self._keeping.running:
            self._keeping.start(FIRST)

    def _closed(self, _: object, outbox: Outbox) -> None:
        self._closing.pop(outbox, None)

    def _broken(self, failure: Failure) -> None:
        if failure.check(StoreFailed):
            self.log.error("The journal failed: {reason}", reason=failure.getErrorMessage())
        else:
            self.log.failure("A durable callback could not be ended", failure)

    async def _close(self, outbox: Outbox) -> None:
        try:
            await outbox.close()
        except StoreFailed:
            self._unclosed.append(outbox)
            raise

    async def _keep(self) -> None:
        try:
            if not self._began:
                await self._begin()
            await self._journal.renew()
            # It may have been the store that kept them.
            self._replies.wake()
            for outbox in [*self._unclosed]:
                await outbox.close()
                self._unclosed.remove(outbox)
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
            for ended in [*(outbox.stop() for outbox in self._outboxes), *self._closing.values()]:
                await ended
        self._replies.stop()
        try:
            await self._journal.release()
        except StoreFailed as reason:
            self.log.error("What was held is free only in a minute: {reason}", reason=str(reason))
