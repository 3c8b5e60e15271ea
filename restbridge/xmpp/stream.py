"""
One XML stream that is kept up: connected, introduced to the server, connected again when it breaks.

::

    ClientService -> endpoint -> GuardedXmlStream -> (handshake by the authenticator) -> up
                                                  -> stream error, silence, close     -> down, back-off

What comes up from it are whole stanzas; what goes down is text that was made by C{serialize}.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from random import uniform
from typing import Any

import attrs
from twisted.application.internet import ClientService
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import (
    IDelayedCall,
    IHandshakeListener,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    ITCPTransport,
    IWriteDescriptor,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.words.protocols.jabber.error import StreamError
from twisted.words.protocols.jabber.xmlstream import INIT_FAILED_EVENT, XmlStream, XmlStreamFactory
from twisted.words.xish.domish import Element
from twisted.words.xish.xmlstream import STREAM_ERROR_EVENT
from wokkel.subprotocols import StreamManager, XMPPHandler
from zope.interface import implementer

from restbridge.stanzas.errors import LinkDown
from restbridge.stanzas.jid import JID
from restbridge.stanzas.xml import NS_STREAMS, OversizedStanza, StreamParser

OVERSIZED_EVENT = "//event/restbridge/oversized"
CLOSED_EVENT = "//event/restbridge/closed"
SECURED_EVENT = "//event/restbridge/secured"

HANDSHAKE_TIMEOUT = 15.0
"""Seconds from the connection to a stream that is up."""

CLOSE_TIMEOUT = 3.0
"""Seconds for the server to close its side of a stream that is closed."""

CONTESTED = 2.0
"""Seconds, at most, until the next try where somebody else has the place: it may be free any time."""

STOPPING = "restbridge is stopping"


@implementer(IHandshakeListener)
class GuardedXmlStream(XmlStream):
    """
    Twisted's stream protocol over L{StreamParser}.

    @ivar address: what the server has bound, on the stream of a user.
    @ivar lang: the language of stanzas that name none, where the server has said one.
    @ivar unasked: whether there is, in what is being read, what need not be answered. What comes next may
        have to wait until it is acknowledged (Nagle's algorithm, which Prosody leaves on), and the system
        does that after 40 ms unless something is written before.
    """

    transport: Any
    address: JID
    lang: str | None = None
    unasked = False

    def connectionMade(self) -> None:
        if ITCPTransport.providedBy(self.transport):
            # A small stanza must not wait for the acknowledgement of the one before it (Nagle's algorithm).
            self.transport.setTcpNoDelay(True)
        super().connectionMade()

    def _initializeStream(self) -> None:
        if self.stream is not None:
            # What came behind <proceed/> came in the clear: none of it counts (RFC 6120, section 5.4.3.3).
            self.stream.disable()
        # self.namespace is set only when the header goes out, after this.
        parser = self.stream = StreamParser(self.authenticator.namespace)
        parser.DocumentStartEvent = self.onDocumentStart
        parser.ElementEvent = self.onElement
        parser.OversizedEvent = self._oversized
        parser.DocumentEndEvent = self.onDocumentEnd

    def send(self, obj: Any) -> None:
        if isinstance(obj, bytes):
            # Serialized already: Twisted's own asks twice whether it is an element.
            self.transport.write(obj)
        else:
            super().send(obj)

    def handshakeCompleted(self) -> None:
        """
        TLS is up.
        """
        self.dispatch(self, SECURED_EVENT)

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        if self.unasked:
            self.unasked = False
            self.acknowledge()

    def acknowledge(self) -> None:
        """
        Acknowledge what the server has sent, and what it sends next, without delay, where the system can.
        """
        connection = getattr(self.transport, "socket", None)
        if connection is not None and hasattr(socket, "TCP_QUICKACK"):
            # It may be closed by now, or no TCP at all.
            with suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def onDocumentEnd(self) -> None:
        self.dispatch(self, CLOSED_EVENT)
        super().onDocumentEnd()

    def _oversized(self, oversized: OversizedStanza) -> None:
        self.dispatch(oversized, OVERSIZED_EVENT)


@attrs.define
class Backoff:
    """
    How long to wait before the next connection: 0.1 s at first, doubling up to 30 s, with jitter.

    It starts over when the server has accepted the stream, not when the port opens: servers that
    refuse a secret, or are only starting, accept connections all the same.

    @ivar contested: whether somebody else had the place the last time.
    """

    first: float = 0.2
    longest: float = 30.0
    failures: int = 0
    contested: bool = False

    def delay(self, _attempt: int) -> float:
        """
        @return: seconds. Counts a failure; C{_attempt} is C{ClientService}'s own count, which starts
            over with each connection.
        """
        if self.contested:
            self.contested = False
            return CONTESTED * uniform(0.5, 1.0)  # noqa: S311  # likewise
        delay = min(self.longest, self.first * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return delay * uniform(0.5, 1.0)  # noqa: S311  # spreads load, guards nothing

    def reset(self) -> None:
        self.failures = 0


@implementer(IStreamClientEndpoint)
@attrs.define
class _Reporting:
    """
    An endpoint that says why it could not connect; C{ClientService} keeps that to itself.
    """

    endpoint: IStreamClientEndpoint
    report: Callable[[Failure], object]

    def connect(self, factory: IProtocolFactory) -> Deferred[Any]:
        def failed(failure: Failure) -> Failure:
            self.report(failure)
            return failure

        return self.endpoint.connect(factory).addErrback(failed)


@attrs.frozen(kw_only=True)
class Listener:
    """
    Whom a stream tells what happens to it.

    @ivar received: a stanza came.
    @ivar oversized: one came that passed a limit.
    @ivar up: stanzas can be sent.
    @ivar down: they can no more; called with the reason.
    """

    received: Callable[[Element], object]
    oversized: Callable[[OversizedStanza], object]
    up: Callable[[], object]
    down: Callable[[str], object]


class Stream(XMPPHandler):  # type: ignore[misc]  # wokkel is not typed
    """
    The state of one stream, as a subprotocol of wokkel's L{StreamManager}.

    The manager's own C{send} and C{request} are not used: the one queues without bound while the
    stream is down, the other believes an answer from anyone.

    @ivar reason: why the stream is down; L{None} while it is up.
    @ivar service: starts and stops it.
    """

    log = Logger()

    def __init__(
        self,
        *,
        endpoint: IStreamClientEndpoint,
        factory: XmlStreamFactory,
        clock: IReactorTime,
        explain: Callable[[str, str | None], str],
        listener: Listener,
    ) -> None:
        """
        @param explain: words that tell an operator what to do about a stream error, from its
            condition (RFC 6120, section 4.9.3) and text.
        """
        super().__init__()
        self.reason: str | None = "not connected yet"
        self._clock = clock
        self._explain = explain
        self._listener = listener
        self._failure: str | None = None
        self._said: str | None = None
        self._deadline: IDelayedCall | None = None
        self._closed: Deferred[None] | None = None
        self._backoff = Backoff()

        factory.protocol = GuardedXmlStream
        factory.noisy = False
        manager = StreamManager(factory, clock)
        factory.addBootstrap(STREAM_ERROR_EVENT, self._failed)
        factory.addBootstrap(INIT_FAILED_EVENT, self._failed)
        factory.addBootstrap(OVERSIZED_EVENT, listener.oversized)
        self.setHandlerParent(manager)
        self.service = ClientService(
            _Reporting(endpoint, self._unreachable), factory, retryPolicy=self._backoff.delay, clock=clock
        )

    def send(self, data: bytes) -> None:
        """
        @raise LinkDown: the stream is down; nothing was written.
        """
        if self.reason is not None:
            raise LinkDown(self.reason)
        self.xmlstream.send(data)

    def flush(self) -> None:
        """
        See L{sendNow}.
        """
        if self.xmlstream is not None:
            sendNow(self.xmlstream.transport)

    def close(self) -> Deferred[None]:
        """
        End the stream in order, for good: nothing more is sent, but what the server has sent by then is read
        (RFC 6120, section 4.4).
        """
        if self.reason is not None:
            return self.service.stopService()
        self._said = self._failure = STOPPING
        self.xmlstream.sendFooter()
        self._down(STOPPING)
        self._closed = Deferred()
        closed = self._closed.addTimeout(CLOSE_TIMEOUT, self._clock, lambda _, __: None)
        return closed.addCallback(lambda _: self.service.stopService())

    def pause(self, reason: str) -> None:
        """
        Break the connection at once; a new one is made when C{service} is started again.
        """
        self._failure = reason
        self._down(reason)
        stream = self.xmlstream
        self.service.stopService()
        if stream is not None:
            stream.transport.abortConnection()

    def abort(self, reason: str) -> None:
        """
        Break the connection at once; a new one is made.
        """
        if self.xmlstream is not None:
            self._failure = reason
            self.xmlstream.transport.abortConnection()

    def connectionMade(self) -> None:
        self._failure = None
        self._deadline = self._clock.callLater(
            HANDSHAKE_TIMEOUT, self.abort, f"the server did not accept the stream in {HANDSHAKE_TIMEOUT:g} s"
        )

    def connectionInitialized(self) -> None:
        self._disarm()
        self._backoff.reset()
        self._said = self.reason = None
        # Twisted's own dispatch matches each stanza against every observer's XPath.
        self.xmlstream.setDispatchFn(self._element)
        self._listener.up()

    def _element(self, element: Element) -> None:
        if element.uri == NS_STREAMS:
            self.xmlstream.onElement(element)
        else:
            self.xmlstream.unasked |= element.name != "iq"
            self._listener.received(element)

    def connectionLost(self, failure: Failure) -> None:
        super().connectionLost(failure)
        self._disarm()
        self._down(self._failure or closeInWords(failure))
        closed, self._closed = self._closed, None
        if closed is not None and not closed.called:
            closed.callback(None)

    def _disarm(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None

    def _unreachable(self, failure: Failure) -> None:
        self._down(f"can't connect: {failure.getErrorMessage()}")

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, StreamError):
            self._backoff.contested = error.condition == "conflict"
            self._failure = self._explain(error.condition, error.text)
        else:
            self._failure = f"the stream failed: {failure.getErrorMessage()}"
        if self.xmlstream is not None:
            self.xmlstream.transport.loseConnection()

    def _down(self, reason: str) -> None:
        wasUp, self.reason = self.reason is None, reason
        if reason != self._said:
            # Each reason once, not with every attempt.
            self._said = reason
            self.log.warn("The XMPP stream is down: {reason}", reason=reason)
        if wasUp:
            self._listener.down(reason)


def sendNow(transport: Any) -> None:
    """
    Send what was written to C{transport}, where Twisted would at the end of the reactor's turn: whoever reads
    it can set to work meanwhile. Where there is a layer between, as TLS, nothing changes.
    """
    # One that is to be closed behind what was written closes when the reactor writes that.
    if not transport.disconnecting and IWriteDescriptor.providedBy(transport):
        # What may be wrong with the connection comes up when the reactor looks at it next.
        transport.doWrite()


def closeInWords(failure: Failure) -> str:
    if failure.check(ConnectionDone, ConnectionAborted):
        return "the server closed the connection"
    return f"the connection broke: {failure.getErrorMessage()}"
