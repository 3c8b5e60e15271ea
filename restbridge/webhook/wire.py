"""
Connections to receivers: to whom one may be made, and how much is read before there is an answer.

::

    name -> addresses, all of them checked -> one of those -> TLS, which verifies the name -> head, counted
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IProtocol,
    IProtocolFactory,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, HTTPConnectionPool
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS
from zope.interface import implementer

from restbridge.webhook.addresses import AddressRefused, check

MAX_HEAD = 32 * 1024
"""Bytes of a receiver's status line and headers, those of interim answers included, that are read."""

PIECE = 4096
"""Bytes of a head that are parsed in one go: for each line Twisted's parser copies what is left of them."""


class HeadTooLarge(Exception):
    """
    A receiver answered with more than L{MAX_HEAD} bytes, and the body had not begun.
    """


class HeadLimit(ProtocolWrapper):
    """
    One connection, between the transport and HTTP.
    """

    def __init__(self, factory: WrappingFactory[HeadLimit], wrappedProtocol: IProtocol) -> None:
        super().__init__(factory, wrappedProtocol)
        self._inHead = False
        self._read = 0
        self._problem: Failure | None = None

    def asks(self) -> None:
        """
        A request goes out.
        """
        self._inHead, self._read = True, 0

    def answered(self, result: Any) -> Any:
        """
        The head of its answer has been read, or there will be none.
        """
        self._inHead = False
        return result

    def dataReceived(self, data: bytes) -> None:
        while data and self._inHead:
            super().dataReceived(data[:PIECE])
            self._read += len(data[:PIECE])
            data = data[PIECE:]
            if self._inHead and self._read > MAX_HEAD:
                self._refuse()
                return
        if data:
            super().dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(self._problem or reason)

    def _refuse(self) -> None:
        self._inHead = False
        self._problem = Failure(HeadTooLarge(f"more than {MAX_HEAD} bytes of headers"))
        self.abortConnection()


class _HeadLimits(WrappingFactory):
    protocol = HeadLimit
    noisy = False


@attrs.frozen
class _Limited:
    """
    A connection as an agent sees it, for one request.
    """

    _connection: Any

    def request(self, request: object) -> Deferred[Any]:
        limit: HeadLimit = self._connection.transport
        limit.asks()
        answer: Deferred[Any] = self._connection.request(request)
        return answer.addBoth(limit.answered)


class Pool(HTTPConnectionPool):
    """
    Connections by L{Dialer}.
    """

    def getConnection(self, key: Hashable, endpoint: IStreamClientEndpoint) -> Deferred[Any]:
        return super().getConnection(key, endpoint).addCallback(_Limited)


@implementer(IStreamClientEndpoint)
@attrs.define
class Line:
    """
    The way to a receiver.

    @ivar connected: whether it was asked to connect: whether a request got a connection of its own.
    """

    endpoint: IStreamClientEndpoint
    connected: bool = False

    def connect(self, factory: IProtocolFactory) -> Deferred[Any]:
        self.connected = True
        connecting: Deferred[Any] = self.endpoint.connect(_HeadLimits(factory))
        return connecting.addCallback(lambda limit: limit.wrappedProtocol)


@implementer(IAgentEndpointFactory)
class Dialer:
    """
    Finds the way to a URL's host.

    @ivar last: the way of the request that was made last.
    """

    last: Line

    def __init__(self, *, reactor: Any, policy: IPolicyForHTTPS, allowPrivate: bool) -> None:
        """
        @param policy: how TLS peers are verified.
        @param allowPrivate: whether hosts may have addresses that aren't public.
        """
        self._reactor = reactor
        self._policy = policy
        self._allowPrivate = allowPrivate
        self._endpoints: dict[tuple[bytes, bytes, int], IStreamClientEndpoint] = {}

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        key = (uri.scheme, uri.host, uri.port)
        # An agent asks with each request, also where it has a connection; of hosts there are only those of
        # the configuration.
        if key not in self._endpoints:
            self._endpoints[key] = self._endpoint(*key)
        self.last = Line(self._endpoints[key])
        return self.last

    def _endpoint(self, scheme: bytes, host: bytes, port: int) -> IStreamClientEndpoint:
        plain = HostnameEndpoint if self._allowPrivate else PublicEndpoint
        endpoint: IStreamClientEndpoint = plain(self._reactor, host, port)
        if scheme == b"https":
            endpoint = wrapClientTLS(self._policy.creatorForNetloc(host, port), endpoint)
        return endpoint


@implementer(IStreamClientEndpoint)
@attrs.frozen
class PublicEndpoint:
    """
    The way to a host all of whose addresses are public. What it connects to is one of the addresses that
    were checked: its name isn't looked up a second time, when the answer may be another.
    """

    _reactor: Any
    _host: bytes
    _port: int

    def connect(self, factory: IProtocolFactory) -> Deferred[Any]:
        search = _Search(self._reactor)
        return HostnameEndpoint(search, self._host, self._port).connect(factory).addErrback(search.explain)


@implementer(IReactorPluggableNameResolver, IHostnameResolver)
@attrs.define
class _Search:
    """
    A reactor for one connection, which knows of no addresses where one of them isn't public.
    """

    _reactor: Any
    _refused: AddressRefused | None = None

    @property
    def nameResolver(self) -> IHostnameResolver:
        return self

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        installed: IHostnameResolver = self._reactor.installNameResolver(resolver)
        return installed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def resolveHostName(
        self, resolutionReceiver: IResolutionReceiver, hostName: str, *arguments: Any, **named: Any
    ) -> IHostResolution:
        resolver: IHostnameResolver = self._reactor.nameResolver
        checked = _Checked(resolutionReceiver, hostName, self)
        return resolver.resolveHostName(checked, hostName, *arguments, **named)

    def refuse(self, refused: AddressRefused) -> None:
        self._refused = refused

    def explain(self, failure: Failure) -> Failure:
        return failure if self._refused is None else Failure(self._refused)


@implementer(IResolutionReceiver)
@attrs.define
class _Checked:
    """
    Hands on a host's addresses when all are there, or none of them.
    """

    _receiver: Any
    _host: str
    _search: _Search
    _addresses: list[Any] = attrs.Factory(list)

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        self._receiver.resolutionBegan(resolutionInProgress)

    def addressResolved(self, address: IAddress) -> None:
        self._addresses.append(address)

    def resolutionComplete(self) -> None:
        try:
            check(self._host, [address.host for address in self._addresses])
        except AddressRefused as refused:
            self._search.refuse(refused)
        else:
            for address in self._addresses:
                self._receiver.addressResolved(address)
        self._receiver.resolutionComplete()
