"""
A reactor and connections in memory, the receiver's end of which the test plays.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IReactorPluggableNameResolver
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from restbridge.webhook.post import Poster, Response

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
TIMEOUT = 30.0


@implementer(IHostResolution)
class Resolution:
    """
    The search for the addresses of a name.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """
        It is over as soon as it has begun.
        """


@implementer(IHostnameResolver)
class Resolver:
    """
    Every name has the same addresses.

    @ivar asked: for which names somebody has asked.
    """

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked: list[str] = []

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: object = None,
        transportSemantics: str = "TCP",
    ) -> Resolution:
        self.asked.append(hostName)
        resolution = Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        for address in self.addresses:
            made = IPv6Address if ":" in address else IPv4Address
            resolutionReceiver.addressResolved(made("TCP", address, portNumber))
        resolutionReceiver.resolutionComplete()
        return resolution


@implementer(IReactorPluggableNameResolver)
class Reactor(MemoryReactorClock):
    """
    A reactor in memory that resolves names at once.

    @ivar resolver: by this one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.resolve("192.0.2.1")

    def resolve(self, *addresses: str) -> None:
        """
        From now on every name has these addresses.
        """
        self.nameResolver = self.resolver = Resolver(*addresses)

    def installNameResolver(self, resolver: object) -> Any:
        raise NotImplementedError


class Connection(StringTransport):
    """
    The receiver's end of a connection.

    @ivar open: whether the bridge has not closed it.
    """

    def __init__(self, factory: Any, reactor: Reactor) -> None:
        super().__init__()
        self.open = True
        self._reactor = reactor
        self._protocol = factory.buildProtocol(None)
        self._protocol.makeConnection(self)

    def answer(self, data: bytes) -> None:
        self._protocol.dataReceived(data)

    def drop(self, reason: Exception | None = None) -> None:
        """
        Close it from the receiver's side.
        """
        self.open = False
        self._protocol.connectionLost(Failure(reason or ConnectionDone()))

    def loseConnection(self) -> None:
        if self.open:
            self.open = False
            # A protocol is never told before its call returns.
            self._reactor.callLater(0, self.drop)

    def abortConnection(self) -> None:
        self.loseConnection()

    def read(self) -> bytes:
        """
        What the bridge has written since the last time.
        """
        data: bytes = self.value()
        self.clear()
        return data


class PosterTestCase(SynchronousTestCase):
    """
    A poster, and what its receivers see.
    """

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.poster = self.makePoster()

    def makePoster(self) -> Poster:
        return Poster(reactor=self.reactor)

    def call(self, url: str = "http://h/a", body: bytes = b"body", **headers: str) -> Deferred[Response]:
        call = Deferred.fromCoroutine(self.poster.call("POST", url, headers, body, TIMEOUT))
        self.addCleanup(self._forget, call)
        return call

    def _forget(self, call: Deferred[Response]) -> None:
        call.addErrback(lambda _: None)
        call.cancel()

    def accept(self) -> Connection:
        """
        The connection that the bridge has just asked for; the only one.
        """
        (client,) = self.reactor.tcpClients
        self.reactor.tcpClients.clear()
        return Connection(client[2], self.reactor)

    def kept(self) -> Connection:
        """
        A connection that a call was made on, kept for the next.
        """
        call = self.call()
        connection = self.accept()
        connection.answer(OK)
        self.successResultOf(call)
        connection.clear()
        self.assertTrue(connection.open)
        return connection

    def assertIdle(self) -> None:
        """
        No call left anything to be done but to close a kept connection.
        """
        self.reactor.advance(0)
        calls = [call for call in self.reactor.getDelayedCalls() if "_removeConnection" not in str(call)]
        self.assertEqual((calls, self.reactor.tcpClients), ([], []))
