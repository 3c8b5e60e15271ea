"""
Calls to the receivers: treq over one pool of connections.

::

    Poster.call -> (kept connection | fresh one) -> Response, read up to a limit
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IConsumer, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import (
    URI,
    Agent,
    BrowserLikePolicyForHTTPS,
    HTTPConnectionPool,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseNeverReceived,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

MAX_RESPONSE = 256 * 1024
"""Bytes of a receiver's answer that are read."""

KEPT_CONNECTIONS = 16
"""Idle connections that are kept to one receiver."""


class ResponseTooLarge(Exception):
    """
    A receiver answered with more than L{MAX_RESPONSE} bytes.
    """


@attrs.frozen(kw_only=True)
class Response:
    """
    A receiver's answer.

    @ivar mediaType: its Content-Type header; L{None} without one.
    """

    status: int
    phrase: str
    mediaType: str | None
    body: bytes
    headers: Headers = attrs.field(factory=Headers, eq=False)


@implementer(IStreamClientEndpoint)
@attrs.define
class _Noting:
    """
    An endpoint that remembers whether it was asked to connect: whether a request got a connection of
    its own.
    """

    endpoint: IStreamClientEndpoint
    connected: bool = False

    def connect(self, factory: IProtocolFactory) -> Deferred[Any]:
        self.connected = True
        return self.endpoint.connect(factory)


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """
    @ivar last: the endpoint of the request that was made last.
    """

    last: _Noting

    def __init__(self, reactor: Any, policy: IPolicyForHTTPS) -> None:
        self._reactor = reactor
        self._policy = policy

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        endpoint: IStreamClientEndpoint = HostnameEndpoint(self._reactor, uri.host, uri.port)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._policy.creatorForNetloc(uri.host, uri.port), endpoint)
        self.last = _Noting(endpoint)
        return self.last


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


class Poster:
    """
    Makes the calls. Redirects are not followed, and nothing of a call is kept after it.
    """

    def __init__(self, *, reactor: Any, policy: IPolicyForHTTPS | None = None) -> None:
        """
        @param policy: how TLS peers are verified; by default against the system's roots.
        """
        self._pool = HTTPConnectionPool(reactor, persistent=True)
        self._pool.maxPersistentPerHost = KEPT_CONNECTIONS
        # It would retry only what it takes for idempotent, which no POST is; see call.
        self._pool.retryAutomatically = False
        self._endpoints = _Endpoints(reactor, policy or BrowserLikePolicyForHTTPS())
        self._agent = Agent.usingEndpointFactory(reactor, self._endpoints, self._pool)
        fresh = HTTPConnectionPool(reactor, persistent=False)
        self._freshAgent = Agent.usingEndpointFactory(reactor, self._endpoints, fresh)
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
        endpoint = self._endpoints.last
        try:
            response = await request
        except (ResponseNeverReceived, RequestTransmissionFailed) as failed:
            cancelled = any(reason.check(CancelledError) for reason in failed.reasons)
            if endpoint.connected or cancelled:
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
            url,
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
