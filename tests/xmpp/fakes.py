"""
What the tests of xmpp/ stand on: stanzas by hand, and a server at the other end of a transport.
"""

from __future__ import annotations

import socket
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from scramp import ScramMechanism
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectError, ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.words.protocols.jabber.client import NS_XMPP_BIND, NS_XMPP_SESSION
from twisted.words.protocols.jabber.sasl import NS_XMPP_SASL
from twisted.words.protocols.jabber.xmlstream import NS_XMPP_TLS
from twisted.words.xish.domish import Element
from zope.interface import implementer

from restbridge.stanzas.jid import JID
from restbridge.stanzas.xml import NS_STREAMS, parseDocument
from restbridge.xmpp.c2s import Route

ALICE = JID.parse("alice@localhost")
PASSWORD = "password of alice"


def stanza(xml: str) -> Element:
    """
    The stanza that C{xml} writes.
    """
    return parseDocument(xml.encode())


def stanzas(xml: str) -> list[Element]:
    """
    The stanzas that C{xml} writes, one after the other.
    """
    return list(stanza(f"<all>{xml}</all>").elements())


class Taking:
    """
    A taker of everything.
    """

    def __init__(self) -> None:
        self.taken: list[Element] = []

    def take(self, stanza: Element) -> bool:
        self.taken.append(stanza)
        return True


class Socket:
    """
    Counts what is acknowledged out of turn.
    """

    def __init__(self) -> None:
        self.acknowledged = 0

    def setsockopt(self, level: int, option: int, value: int) -> None:
        assert (level, option, value) == (socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        self.acknowledged += 1


class Transport(StringTransport):
    """
    A transport whose connection ends at once when it is closed or aborted; what is written later is lost.
    """

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.server = server
        self.socket = Socket()

    def write(self, data: bytes) -> None:
        if self.connected:
            super().write(data)

    def startTLS(self, options: object) -> None:
        self.server.tls = options

    def loseConnection(self) -> None:
        self.disconnecting = True
        if not self.server.lingers:
            self.server.drop()

    def abortConnection(self) -> None:
        self.disconnected = True
        self.server.drop(ConnectionAborted())


@implementer(IStreamClientEndpoint)
class Server:
    """
    A server to connect to, one connection at a time; the test plays its part.

    @ivar refuses: whether its port is closed.
    @ivar attempts: how often somebody tried to connect.
    @ivar lingers: whether a connection stays when the client closes it, as inside TLS until both have.
    @ivar tls: what the client has started TLS with.
    """

    def __init__(self) -> None:
        self.refuses = False
        self.attempts = 0
        self.lingers = False
        self.tls: object = None
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

    @property
    def closed(self) -> bool:
        """
        Whether the client has closed the connection.
        """
        return self._transport is not None and self._transport.disconnecting

    @property
    def aborted(self) -> bool:
        """
        Whether the client has aborted it.
        """
        return self._transport is not None and self._transport.disconnected

    @property
    def acknowledged(self) -> int:
        """
        How often the client has not waited with the acknowledgement of what was written.
        """
        assert self._transport is not None
        return self._transport.socket.acknowledged

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
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.transport.connected = False
            protocol.connectionLost(Failure(reason or ConnectionDone()))


@cache
def _kept(mechanism: str, password: str) -> Any:
    """
    What a server keeps of a password.
    """
    return ScramMechanism(mechanism).make_auth_info(password)


Move = Callable[[], None]


class UserServer(Server):
    """
    A server that users log in to. The test plays its part, or a login's usual course of L{moves}.

    @ivar mechanisms: what it offers; the first, a kind of SCRAM, is what it speaks.
    @ivar passwords: of its users.
    @ivar scram: its half of the dialogue, from its challenge on.
    @ivar features: XML of what it offers to who is logged in.
    @ivar name: what it calls itself.
    @ivar language: of its streams.
    @ivar address: what it has bound.
    @ivar heard: all that clients have written, in the clear and inside TLS.
    @ivar opened: whether a stream is open to the client.
    """

    def __init__(self, *, startTLS: bool = False) -> None:
        """
        @param startTLS: whether it offers TLS.
        """
        super().__init__()
        self._startTLS = startTLS
        self.mechanisms: Sequence[str] = ("SCRAM-SHA-1", "PLAIN")
        self.passwords = {"alice": PASSWORD}
        self.features = f"<bind xmlns='{NS_XMPP_BIND}'/><session xmlns='{NS_XMPP_SESSION}'/>"
        self.name = "localhost"
        self.language = ""
        self.address = ""
        self.heard = ""
        self.opened = False

    async def routes(self) -> Sequence[Route]:
        """
        The way to it.
        """
        return [Route(endpoint=self, startTLS=self._startTLS)]

    def moves(self) -> Sequence[Move]:
        """
        What it says in the course of a login, each when the client has said what calls for it.
        """
        return [
            *([self.header, self.offerTLS, self.proceed] if self._startTLS else []),
            *(self.header, self.offerMechanisms, self.challenge, self.succeed),
            *(self.header, self.offerFeatures, self.bind, self.establish),
        ]

    def accept(self) -> None:
        """
        Log somebody in.
        """
        for move in self.moves():
            move()

    def read(self) -> str:
        written = super().read()
        self.heard += written
        return written

    def header(self) -> None:
        """
        Open a stream.
        """
        self.read()
        self.opened = True
        language = f" xml:lang='{self.language}'" if self.language else ""
        self.write(
            f"<stream:stream xmlns='jabber:client' xmlns:stream='{NS_STREAMS}' "
            f"from='{self.name}' id='3BF96D32' version='1.0'{language}>"
        )

    def offer(self, features: str) -> None:
        self.write(f"<stream:features>{features}</stream:features>")

    def offerTLS(self) -> None:
        # What a server offers in the clear must not matter.
        self.offer(f"<starttls xmlns='{NS_XMPP_TLS}'/>{self._mechanisms()}")

    def proceed(self) -> None:
        """
        Begin TLS.
        """
        self.read()
        self.opened = False
        self.write(f"<proceed xmlns='{NS_XMPP_TLS}'/>")

    def offerMechanisms(self) -> None:
        self.offer(self._mechanisms())

    def _mechanisms(self) -> str:
        names = "".join(f"<mechanism>{name}</mechanism>" for name in self.mechanisms)
        return f"<mechanisms xmlns='{NS_XMPP_SASL}'>{names}</mechanisms>"

    def said(self) -> bytes:
        """
        What the client has just said in SASL.
        """
        return b64decode(str(stanza(self.read())))

    def challenge(self, data: bytes | None = None) -> None:
        """
        Ask for the client's proof; or say something else.
        """
        if data is None:
            mechanism = self.mechanisms[0]
            self.scram = ScramMechanism(mechanism).make_server(
                lambda user: _kept(mechanism, self.passwords[user])
            )
            self.scram.set_client_first(self.said().decode())
            data = self.scram.get_server_first().encode()
        self.write(f"<challenge xmlns='{NS_XMPP_SASL}'>{b64encode(data).decode()}</challenge>")

    def succeed(self, data: bytes | None = None) -> None:
        """
        Verify the client's proof and give one's own; or say something else.
        """
        if data is None:
            self.scram.set_client_final(self.said().decode())
            data = self.scram.get_server_final().encode()
        self.opened = False
        self.write(f"<success xmlns='{NS_XMPP_SASL}'>{b64encode(data).decode()}</success>")

    def fail(self, condition: str) -> None:
        """
        Let nobody in.
        """
        self.write(f"<failure xmlns='{NS_XMPP_SASL}'><{condition}/></failure>")

    def offerFeatures(self) -> None:
        self.read()
        self.offer(self.features)

    def bind(self, account: str = ALICE.bare) -> None:
        """
        Bind the resource that the client wants.
        """
        iq = stanza(self.read())
        self.address = f"{account}/{iq.bind.resource}"
        self.answer(iq, f"<bind xmlns='{NS_XMPP_BIND}'><jid>{self.address}</jid></bind>")

    def establish(self) -> None:
        """
        Establish the session.
        """
        self.answer(stanza(self.read()))

    def answer(self, iq: Element, payload: str = "", kind: str = "result") -> None:
        self.write(f"<iq type='{kind}' id='{iq['id']}'>{payload}</iq>")

    def error(self, condition: str) -> None:
        """
        End the stream with an error (RFC 6120, section 4.9).
        """
        if not self.opened:
            self.header()
        self.write(
            f"<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
            "</stream:stream>"
        )
