"""
HTTP/1.1 from a client that may be slow, or worse.

::

    idle    --first byte-->    headers --the last of them--> body --the last byte--> answer -> idle
    idle_timeout: closed       header_timeout: 408           body_timeout, one second more for each KiB: 408

    all of a request at once  -> answer, without the rest (L{restbridge.web.head})
    an answer that isn't read -> no more requests are read, or answered -> idle_timeout: closed
    pipelined requests        -> one in a turn of the reactor
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

from restbridge.config import HTTP
from restbridge.web.head import Whole, whole
from restbridge.web.requestid import HEADER

RATE = 1024
"""Bytes of a body that buy a second more for the rest."""


def closing(status: bytes, request: str = "") -> bytes:
    """
    The whole answer to a request of which there is too little, or too much, to say anything else.

    @param request: its id, if its headers were there.
    """
    named = HEADER + b": " + request.encode() + b"\r\n" if request else b""
    return b"HTTP/1.1 " + status + b"\r\n" + named + b"Connection: close\r\nContent-Length: 0\r\n\r\n"


class BoundedChannel(HTTPChannel):
    """
    One client's connection. Twisted's own bounds a pause, not a request, has no answer to a line that is too
    long, and goes on with what is pipelined whether or not anybody reads the answers.
    """

    settings: HTTP
    clock: IReactorTime
    transport: Any
    requests: list[Any]
    persistent: bool
    timeOut: float | None  # type: ignore[assignment]  # Twisted says int, and takes both
    callLater: Callable[..., Any]
    _buffer: bytes

    _deadline: float | None = None
    _alarm: IDelayedCall | None = None

    _reading = False
    """Whether a request has begun that isn't there whole."""

    _granted = 0.0
    """Seconds that its body has been given, so far."""

    def bind(self, settings: HTTP, clock: IReactorTime) -> None:
        """
        Go by these limits, from the start.
        """
        self.settings = settings
        self.clock = clock
        self.MAX_LENGTH = self.totalHeadersSize = settings.maxHeaders

    def setTimeout(self, period: float | None) -> float | None:
        # Twisted's moves, makes or cancels a timer each time, thrice a request; where thousands wait, moving
        # one forward is a search through all of them. This one looks again when it rings.
        before, self.timeOut = self.timeOut, period
        if period is None:
            self._deadline = None
            return before
        self._deadline = self.clock.seconds() + period
        if self._alarm is not None and self._alarm.getTime() > self._deadline:
            self._disarm()
        if self._alarm is None:
            self._alarm = self.callLater(period, self._rings)
        return before

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _rings(self) -> None:
        self._alarm = None
        if self._deadline is None:
            return
        left = self._deadline - self.clock.seconds()
        if left > 0:
            self._alarm = self.callLater(left, self._rings)
        else:
            self._deadline = None
            self.timeoutConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        # What is pipelined would be answered to nobody, who could not be told to have left.
        self.paused = False
        super().connectionLost(reason)
        self._disarm()

    def dataReceived(self, data: bytes) -> None:
        request = whole(data, self.totalHeadersSize) if self._awaitsRequest() else None
        if request is None:
            super().dataReceived(data)
        else:
            self._take(request)

    def _awaitsRequest(self) -> bool:
        """
        Whether what comes next is the first byte of a request, and would be answered.
        """
        return not (
            self._reading or self.requests or self._buffer or self.paused or self.transport.disconnecting
        ) and bool(self.line_mode and self.persistent)

    def _take(self, given: Whole) -> None:
        """
        What Twisted's parser does with a request, without its states: none of them would last.
        """
        request = self.requestFactory(self, False)
        self.requests.append(request)
        for name, value in given.fields:
            request.requestHeaders.addRawHeader(name, value)
        self._command, self._path, self._version = given.method, given.target, b"HTTP/1.1"
        self.length = len(given.body)
        super().allHeadersReceived()
        if given.body:
            request.handleContentChunk(given.body)
        self.allContentReceived()

    def resetTimeout(self) -> None:
        # Called with all that comes in: only the first byte of a request changes the deadline.
        if self.timeOut and not (self._reading or self.paused):
            self._reading = True
            self.setTimeout(self.settings.headerTimeout)

    def headerReceived(self, line: bytes) -> bool:
        try:
            return bool(super().headerReceived(line))
        except ValueError:
            # A Content-Length of more digits than Python reads.
            self._respondToBadRequestAndDisconnect()
            return False

    def allHeadersReceived(self) -> None:
        super().allHeadersReceived()
        if self.length != 0:
            self._reading, self._granted = True, self.settings.bodyTimeout
            self.setTimeout(self._granted)

    def allContentReceived(self) -> None:
        self._reading, self._granted = False, 0.0
        # What Twisted sets again behind the answer.
        self.timeOut = self.settings.idleTimeout
        super().allContentReceived()

    def requestDone(self, request: Any) -> None:
        pipelined = any(self._dataBuffer) or bool(self._buffer)
        self.paused = self._waitingForTransport or pipelined
        if not self.persistent:
            self.setTimeout(self.settings.idleTimeout)
        super().requestDone(request)
        if self.persistent and self.paused:
            self._networkProducer.pauseProducing()
            if pipelined:
                # Other connections have their turn, too.
                self.callLater(0, self._goOn)

    def _goOn(self) -> None:
        if self.paused and not self._waitingForTransport and not self.transport.disconnecting:
            self._networkProducer.resumeProducing()
            self._replay()

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self._replay()

    def _replay(self) -> None:
        """
        On with what came while nothing was read.
        """
        if self.paused:
            self.paused = False
            waiting = self.clearLineBuffer()
            if waiting:
                self.dataReceived(waiting)

    def timeoutConnection(self) -> None:
        if self._granted:
            more = self.settings.bodyTimeout + self.requests[-1].size / RATE - self._granted
            if more >= 1:
                self._granted += more
                self.setTimeout(more)
                return
        if self._reading and not self.transport.disconnecting:
            self.transport.write(closing(b"408 Request Timeout", self._named()))
        super().timeoutConnection()

    def lineLengthExceeded(self, line: bytes) -> None:
        self._close(b"431 Request Header Fields Too Large")

    def _respondToBadRequestAndDisconnect(self) -> None:
        large = (
            self._receivedHeaderSize > self.totalHeadersSize or self._receivedHeaderCount > self.maxHeaders
        )
        self._close(b"431 Request Header Fields Too Large" if large else b"400 Bad Request")

    def _close(self, status: bytes) -> None:
        if not self.transport.disconnecting:
            self.transport.write(closing(status, self._named()))
            self.loseConnection()

    def _named(self) -> str:
        """
        The id of the request whose body is being read; empty while there are only headers.
        """
        name: str = self.requests[-1].id if self._granted else ""
        return name
