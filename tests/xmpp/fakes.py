"""
What the tests of xmpp/ stand on: stanzas by hand, and a server at the other end of a transport.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.words.xish.domish import Element
from zope.interface import implementer

from restbridge.stanzas.xml import parseDocument


def stanza(xml: str) -> Element:
    """
    The stanza that C{xml} writes.
    """
    return parseDocument(xml.encode())


class Transport(StringTransport):
    """
    A transport whose connection ends at once when it is closed or aborted.
    """

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.server = server

    def loseConnection(self) -> None:
        self.server.drop()

    def abortConnection(self) -> None:
        self.server.drop()


@implementer(IStreamClientEndpoint)
class Server:
    """
    A server to connect to, one connection at a time; the test plays its part.

    @ivar refuses: whether its port is closed.
    @ivar attempts: how often somebody tried to connect.
    """

    def __init__(self) -> None:
        self.refuses = False
        self.attempts = 0
        self._protocol: Any = None
        self._transport: Transport | None = None

    def connect(self, factory: IProtocolFactory) -> Deferred[Any]:
        self.attempts += 1
        if self.refuses:
            return fail(ConnectError(string="refused"))
        self._protocol = factory.buildProtocol(None)  # type: ignore[arg-type]
        self._transport = Transport(self)
        self._protocol.makeConnection(self._transport)
        return succeed(self._protocol)

    @property
    def connected(self) -> bool:
        return self._protocol is not None

    def read(self) -> str:
        """
        What the client has written since the last time.
        """
        assert self._transport is not None
        written: str = self._transport.value().decode()
        self._transport.clear()
        return written

    def write(self, xml: str) -> None:
        """
        Send to the client.
        """
        self._protocol.dataReceived(xml.encode())

    def accept(self) -> None:
        """
        Open the stream and accept the handshake, whatever it is.
        """
        self.open()
        self.write("<handshake/>")

    def open(self) -> None:
        """
        Open the stream (XEP-0114, section 3).
        """
        self.write(
            "<stream:stream xmlns='jabber:component:accept' "
            "xmlns:stream='http://etherx.jabber.org/streams' id='3BF96D32' from='bridge.localhost'>"
        )
        self.read()

    def drop(self, reason: Exception | None = None) -> None:
        """
        End the connection.
        """
        protocol, self._protocol, self._transport = self._protocol, None, None
        if protocol is not None:
            protocol.connectionLost(Failure(reason or ConnectionDone()))
