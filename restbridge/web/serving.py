"""
The connections of HTTP's clients, from the first to the last.

::

    end -> a connection whose request is under way -> answer, "Connection: close" -> closed
        -> an idle one                             -> closed
        -> one without a request so far            -> 503 to its first, or cut off
        -> an answer that would never end          -> told to

    one more than may be open, in all or from an address -> broken at once

What is open still when all else has stopped is cut off by L{HangUp}.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cached_property
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from restbridge.config import HTTP
from restbridge.web.attempts import network
from restbridge.web.channel import BoundedChannel
from restbridge.web.forwarded import clientAddress, isProxy, stranger

FLUSH = 0.5
"""Seconds for the last answers to go out."""

_ALL = "everywhere"


class Connection(BoundedChannel):
    """
    One client's.

    @ivar connections: all of them, where it is listed while it is open.
    @ivar ending: whether it is closed behind the next answer.
    """

    connections: Connections
    ending = False

    def __init__(self) -> None:
        super().__init__()
        self._served = False
        self._host: str | None = None
        self._isProxy = False
        self._whenEnding: list[Callable[[], object]] = []

    @property
    def busy(self) -> bool:
        """
        Whether a request is being read or answered.
        """
        return bool(self.requests)

    def whenEnding(self, call: Callable[[], object]) -> None:
        """
        Call C{call} when the answer that is under way should come to its end.
        """
        if self.ending:
            call()
        else:
            self._whenEnding.append(call)

    def end(self) -> None:
        """
        Close it: behind the answer, if a request is under way, else now; but who has connected a moment ago
        is about to ask, and will be told.
        """
        self.ending = True
        calls, self._whenEnding = self._whenEnding, []
        if self.busy:
            self.persistent = False
        elif self._served:
            self.loseConnection()
        for call in calls:
            call()

    def origin(self, headers: Headers) -> str:
        """
        The network address that a request with these headers comes from, behind the proxies that are trusted;
        C{-} for a UNIX socket.
        """
        if self._host is None:
            # Not before a request: behind haproxy: the first bytes of the connection say whose it is.
            peer = self.transport.getPeer()
            self._host = peer.host if isinstance(peer, (IPv4Address, IPv6Address)) else "-"
            self._isProxy = isProxy(self._host, self.settings.trustedProxies)
        return (
            clientAddress(self._host, headers, self.settings.trustedProxies) if self._isProxy else self._host
        )

    @cached_property
    def _local(self) -> IAddress:
        local: IAddress = self.transport.getHost()
        return local

    def getHost(self) -> IAddress:
        # Each request asks, and it doesn't change: the system need not be asked each time.
        return self._local

    def connectionMade(self) -> None:
        super().connectionMade()
        # One that came in while the port was being closed is told so, with its first request.
        self.ending = self.connections.ending
        if not self.connections.opened(self):
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.connections.closed(self)

    def checkPersistence(self, request: Any, version: bytes) -> bool:
        return bool(super().checkPersistence(request, version)) and not self.ending

    def requestDone(self, request: Any) -> None:
        self._served = True
        self._whenEnding.clear()
        super().requestDone(request)


class Connections:
    """
    All that are open.

    @ivar ending: whether no more requests are taken.
    """

    log = Logger()

    def __init__(self, settings: HTTP) -> None:
        self.ending = False
        self._settings = settings
        self._open: dict[Connection, str] = {}
        self._from: Counter[str] = Counter()
        self._full: set[str] = set()
        self._awaited: list[tuple[set[Connection], Deferred[None]]] = []

    @property
    def number(self) -> int:
        """
        How many there are.
        """
        return len(self._open)

    def opened(self, connection: Connection) -> bool:
        """
        List a connection; or say that it is one too many.
        """
        whose = self._whose(connection)
        if len(self._open) >= self._settings.maxConnections:
            self._tell(_ALL, len(self._open))
            return False
        if whose and self._from[whose] >= self._settings.maxConnectionsPerAddress:
            self._tell(whose, self._from[whose])
            return False
        self._open[connection] = whose
        if whose:
            self._from[whose] += 1
        return True

    def closed(self, connection: Connection) -> None:
        whose = self._open.pop(connection, None)
        if whose is None:
            return
        if whose:
            self._from[whose] -= 1
            if self._from[whose] <= self._settings.maxConnectionsPerAddress // 2:
                self._full.discard(whose)
            if not self._from[whose]:
                del self._from[whose]
        if len(self._open) <= self._settings.maxConnections // 2:
            self._full.discard(_ALL)
        for awaited, gone in list(self._awaited):
            awaited.discard(connection)
            if not awaited:
                self._awaited.remove((awaited, gone))
                gone.callback(None)

    def end(self) -> Deferred[None]:
        """
        Take no more requests; fires when those under way are answered, and their connections closed.
        """
        self.ending = True
        busy = {connection for connection in self._open if connection.busy}
        for connection in list(self._open):
            connection.end()
        return self._whenGone(busy & self._open.keys())

    def whenGone(self) -> Deferred[None]:
        """
        Fires when none is open.
        """
        return self._whenGone(set(self._open))

    def abort(self) -> None:
        """
        Break what is open still.
        """
        for connection in list(self._open):
            connection.transport.abortConnection()

    def _whose(self, connection: Connection) -> str:
        """
        What a connection counts for beside the whole; an empty text for nothing.
        """
        peer = connection.transport.getPeer()
        if not isinstance(peer, (IPv4Address, IPv6Address)):
            return ""
        return network(peer.host) if stranger(peer.host, self._settings.trustedProxies) else ""

    def _tell(self, whose: str, number: int) -> None:
        # Once, and not again before half of them are gone.
        if whose not in self._full:
            self._full.add(whose)
            self.log.warn("{number} connections are open from {whose}: no more", number=number, whose=whose)

    def _whenGone(self, awaited: set[Connection]) -> Deferred[None]:
        if not awaited:
            return succeed(None)
        gone: Deferred[None] = Deferred()
        self._awaited.append((awaited, gone))
        return gone


class Serving(MultiService):
    """
    The ports that are listened on, and the requests that come in by them.
    """

    def __init__(self, connections: Connections) -> None:
        super().__init__()
        self._connections = connections

    def stopService(self) -> Deferred[Any]:
        """
        Close the ports, and answer what is under way.
        """
        return gatherResults([super().stopService(), self._connections.end()], consumeErrors=True)


class HangUp(Service):
    """
    Stops when all has that requests may wait for: what they are told then goes out, and the rest is cut off.
    """

    def __init__(self, *, connections: Connections, clock: IReactorTime) -> None:
        self._connections = connections
        self._clock = clock

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return self._connections.whenGone().addTimeout(
            FLUSH, self._clock, lambda _, __: self._connections.abort()
        )
