"""
Calls to the receivers: treq over one pool of connections.

::

    Poster.call -> (kept connection | fresh one) -> Response, read up to a limit
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import attrs
from hyperlink import EncodedURL
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IConsumer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    BrowserLikePolicyForHTTPS,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseNeverReceived,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from restbridge.webhook.wire import Dialer, Pool

MAX_RESPONSE = 256 * 1024
"""Bytes of a receiver's answer that are read."""

KEPT_CONNECTIONS = 64
"""Idle connections that are kept to one receiver."""

KNOWN_URLS = 256
"""URLs that need not be read again; one with the longest addresses in it takes tens of KiB."""


class ResponseTooLarge(Exception):
    """
    A receiver answered with more than L{MAX_RESPONSE} bytes.
    """


@attrs.frozen(kw_only=True)
class Response:
    """
    A receiver's answer.

    @ivar mediaType: its Content-Type header, C{encoded/gzip} or the like for a compressed body; L{None}
        without one.
    """

    status: int
    phrase: str
    mediaType: str | None
    body: bytes
    headers: Headers = attrs.field(factory=Headers, eq=False)


@implementer(IAgent)
@attrs.frozen
class _Plain:
    """
    Asks for bodies as they are: treq would ask for gzip, and inflate a megabyte to a gigabyte before anything
    counts it.
    """

    _agent: IAgent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        plain = Headers() if headers is None else headers.copy()
        plain.setRawHeaders(b"accept-encoding", [b"identity"])
        answer: Deferred[IResponse] = self._agent.request(method, uri, plain, bodyProducer)
        return answer.addCallback(_plain)


def _plain(response: IResponse) -> IResponse:
    """
    A response whose body is encoded all the same, as one of a type that nobody reads.
    """
    codings = b",".join(response.headers.getRawHeaders(b"content-encoding", []))
    response.headers.removeHeader(b"content-encoding")
    if codings.strip().lower() not in (b"", b"identity"):
        response.headers.setRawHeaders(b"content-type", [b"encoded/" + codings])
    return response


@implementer(IBodyProducer)
class _Body:
    """
    The body of a call, written in one go. Treq's own takes turns with all else that the global reactor
    does.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = len(data)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._data)
        return succeed(None)

    def stopProducing(self) -> None:
        """
        It has stopped already, as for the other two.
        """

    pauseProducing = resumeProducing = stopProducing


class _URI(EncodedURL):
    """
    A URL that is in ASCII already: treq has each made so, with each call.
    """

    def to_uri(self) -> _URI:
        return self


@lru_cache(KNOWN_URLS)
def _uri(url: str) -> EncodedURL:
    return _URI.from_text(EncodedURL.from_text(url).to_uri().to_text())


class Poster:
    """
    Makes the calls. Redirects are not followed, and nothing of a call is kept after it.
    """

    def __init__(
        self, *, reactor: Any, policy: IPolicyForHTTPS | None = None, allowPrivate: bool = True
    ) -> None:
        """
        @param policy: how TLS peers are verified; by default against the system's roots.
        @param allowPrivate: whether receivers may have addresses that aren't public.
        """
        self._pool = Pool(reactor, persistent=True)
        self._pool.maxPersistentPerHost = KEPT_CONNECTIONS
        # It would retry only what it takes for idempotent, which no POST is; see call.
        self._pool.retryAutomatically = False
        self._dialer = Dialer(
            reactor=reactor, policy=policy or BrowserLikePolicyForHTTPS(), allowPrivate=allowPrivate
        )
        self._agent = _Plain(Agent.usingEndpointFactory(reactor, self._dialer, self._pool))
        fresh = Pool(reactor, persistent=False)
        self._freshAgent = _Plain(Agent.usingEndpointFactory(reactor, self._dialer, fresh))
        self._clock = reactor

    async def call(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeout: float
    ) -> Response:
        """
        Make one call.

        A kept connection may have been closed by the receiver just before: a call that got no byte on
        it is made again on a fresh one. On a fresh connection the receiver may have acted on it, and
        it isn't.

        @param timeout: seconds for the whole call.
        @raise DeferredTimeout: the time is over.
        @raise ResponseTooLarge: see there.
        @raise AddressRefused: the receiver's addresses aren't public.
        @raise Exception: what Twisted's agent fails with.
        """
        whole = Deferred.fromCoroutine(self._call(method, url, headers, body))
        return await whole.addTimeout(timeout, self._clock, _timedOut)

    def close(self) -> Deferred[Any]:
        """
        Close the connections that are kept.
        """
        closed: Deferred[Any] = self._pool.closeCachedConnections()
        return closed

    async def _call(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        request = self._request(self._agent, method, url, headers, body)
        line = self._dialer.last
        try:
            response = await request
        except (ResponseNeverReceived, RequestTransmissionFailed) as failed:
            cancelled = any(reason.check(CancelledError) for reason in failed.reasons)
            if line.connected or cancelled:
                raise
            response = await self._request(self._freshAgent, method, url, headers, body)
        return await _read(response)

    @staticmethod
    def _request(
        agent: IAgent, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> Deferred[Any]:
        # A client of its own each time: treq's would remember cookies, from one call to the next.
        return HTTPClient(agent, data_to_body_producer=_Body).request(
            method,
            _uri(url),
            headers=Headers({name: [value] for name, value in headers.items()}),
            data=body,
            allow_redirects=False,
            unbuffered=True,
        )


def _timedOut(result: Response | Failure, seconds: float) -> Response:
    # An agent that is cancelled fails in ways of its own: with ResponseNeverReceived, for one.
    if isinstance(result, Failure):
        raise DeferredTimeout(seconds)
    return result


async def _read(response: IResponse) -> Response:
    phrase: bytes = response.phrase
    types = [value.decode("latin-1") for value in response.headers.getRawHeaders(b"content-type", [])]
    reader = _Reader()
    response.deliverBody(reader)
    return Response(
        status=response.code,
        phrase=phrase.decode("latin-1"),
        mediaType=types[-1] if types else None,
        body=await reader.finished,
        headers=response.headers,
    )


class _Reader(Protocol):
    """
    Reads a body up to L{MAX_RESPONSE}; past it, or when cancelled, the connection is closed.
    """

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self.finished: Deferred[bytes] = Deferred(lambda _: self._stop())

    def dataReceived(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= MAX_RESPONSE:
            self._pieces.append(data)
        elif not self.finished.called:
            self.finished.errback(ResponseTooLarge(f"a response of more than {MAX_RESPONSE} bytes"))
            self._stop()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.finished.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.finished.callback(b"".join(self._pieces))
        else:
            self.finished.errback(reason)

    def _stop(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()
