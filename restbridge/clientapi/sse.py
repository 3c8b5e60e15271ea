"""
An answer that stays open: server-sent events (HTML Standard, section 9.2), written as fast as the
client reads, and no faster.

::

    send -> (the client keeps up)   the connection
         -> (it doesn't)            kept, up to MAX_EVENTS and MAX_BYTES -> (more) connection aborted

Who reads too slowly loses the connection, not the events: it comes back with Last-Event-ID.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime, ITCPTransport
from twisted.logger import Logger
from zope.interface import implementer

from restbridge.web.site import BridgeRequest

MAX_EVENTS = 1000
"""Events that wait for a client that doesn't read."""

MAX_BYTES = 1024 * 1024
"""Bytes of them."""

COMMENT_EVERY = 30.0
"""Seconds after which something is written, so that nothing on the way takes the connection for dead."""

HEADERS = (
    ("Content-Type", "text/event-stream"),
    ("Cache-Control", "no-cache"),
    # Keeps nginx, and what has learned it from there, from holding events back.
    ("X-Accel-Buffering", "no"),
)

_COMMENT = b":\n\n"


def written(name: str, number: str, data: bytes) -> bytes:
    """
    An event as it goes over the line.

    @param number: its id.
    @param data: one line.
    """
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (number.encode(), name.encode(), data)


@implementer(IPushProducer)
class Outlet:
    """
    One client's open answer.

    @ivar over: whether nothing more is to be written.
    """

    log = Logger()

    def __init__(self, *, request: BridgeRequest, clock: IReactorTime) -> None:
        self.over = False
        self._request = request
        self._clock = clock
        self._unsent: deque[bytes] = deque()
        self._bytes = 0
        # What comes before the headers waits for them.
        self._paused = True
        self._change: Deferred[None] | None = None
        self._comment: IDelayedCall | None = None

    def open(self) -> None:
        """
        Write the headers.
        """
        self._request.setResponseCode(200)
        for name, value in HEADERS:
            self._request.setHeader(name, value)
        self._request.registerProducer(self, True)
        self._request.write(b"")
        self.resumeProducing()
        self._comment = self._clock.callLater(COMMENT_EVERY, self._sayNothing)

    def send(self, event: bytes) -> None:
        """
        Write an event, or keep it until the client has read what came before.
        """
        if self.over:
            return
        self._unsent.append(event)
        self._bytes += len(event)
        self._write()
        if len(self._unsent) > MAX_EVENTS or self._bytes > MAX_BYTES:
            self.abort()

    def abort(self) -> None:
        """
        Break the connection: too much waits for a client that doesn't read.
        """
        self.log.info("An event stream is ended: its client reads too slowly")
        self.end()
        cast(ITCPTransport, self._request.transport).abortConnection()

    def end(self) -> None:
        """
        Write nothing more.
        """
        self.over = True
        self._unsent.clear()
        self._bytes = 0
        if self._comment is not None and self._comment.active():
            self._comment.cancel()
        self._changed()

    def close(self) -> None:
        """
        Give the request back, whose client is still there, to be finished.
        """
        self.end()
        self._request.unregisterProducer()

    async def drained(self) -> None:
        """
        Wait until the client keeps up, or the end.
        """
        await self._until(lambda: not self._paused)

    async def passed(self, moment: float) -> None:
        """
        Wait until this time, or the end.

        @param moment: seconds of the clock.
        """
        left = moment - self._clock.seconds()
        if left <= 0:
            return
        alarm = self._clock.callLater(left, self._changed)
        try:
            await self._until(lambda: not alarm.active())
        finally:
            if alarm.active():
                alarm.cancel()

    async def ended(self) -> None:
        """
        Wait for the end.
        """
        await self._until(lambda: False)

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._write()
        self._changed()

    def stopProducing(self) -> None:
        """
        The connection is gone, as the request is told, too.
        """

    async def _until(self, reached: Callable[[], bool]) -> None:
        while not (self.over or reached()):
            self._change = Deferred()
            await self._change

    def _changed(self) -> None:
        change, self._change = self._change, None
        if change is not None and not change.called:
            change.callback(None)

    def _write(self) -> None:
        while self._unsent and not self._paused:
            event = self._unsent.popleft()
            self._bytes -= len(event)
            self._request.write(event)

    def _sayNothing(self) -> None:
        self._comment = self._clock.callLater(COMMENT_EVERY, self._sayNothing)
        if not self._paused:
            self._request.write(_COMMENT)
