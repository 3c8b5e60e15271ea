"""
L{restbridge.users.routes}: where a login connects to, and whose certificate it believes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

from OpenSSL.SSL import Error as TLSError
from service_identity import VerificationError
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IProtocolFactory,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.names.common import ResolverBase
from twisted.names.dns import SRV, Record_SRV, RRHeader
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from restbridge.config import UserDomain
from restbridge.stanzas.errors import LinkDown
from restbridge.users.routes import CONNECT_TIMEOUT, Routes, optionsForTLS
from restbridge.xmpp.c2s import Route
from restbridge.xmpp.locate import Locator
from tests.live.servers import writeCertificate

DOMAIN = "example.com"
ADDRESS = "192.0.2.1"
HANDSHAKE = b"\x16\x03"
"""What every TLS connection begins with (RFC 8446, section 5.1)."""


@implementer(IHostnameResolver)
class Names:
    """
    The addresses of hosts: all have the same.

    @ivar asked: the hosts that somebody wanted to connect to.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        self.asked.append(hostName)
        resolution = cast(IHostResolution, None)
        resolutionReceiver.resolutionBegan(resolution)
        resolutionReceiver.addressResolved(IPv4Address("TCP", ADDRESS, portNumber))
        resolutionReceiver.resolutionComplete()
        return resolution


@implementer(IReactorPluggableNameResolver)
class Reactor(MemoryReactorClock):
    """
    A reactor in which all names resolve, and nothing connects unless told to.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names = Names()
        self.nameResolver = self.names


class Records(ResolverBase):
    """
    A name server that knows SRV records.

    @ivar records: by service.
    """

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[str, list[Record_SRV]] = {}

    def lookupService(self, name: str, timeout: Any = None) -> Deferred[Any]:
        records = self.records.get(name.removesuffix(f"._tcp.{DOMAIN}"), [])
        return succeed(([RRHeader(type=SRV, payload=record) for record in records], [], []))


class RoutesTests(SynchronousTestCase):
    """
    The ways to a domain, as the server at their ends sees them.
    """

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.dns = Records()

    def ask(self, **settings: Any) -> Deferred[Sequence[Route]]:
        routes = Routes(
            settings=UserDomain(domain=DOMAIN, **settings),
            locator=Locator(resolver=self.dns, clock=self.reactor),
            reactor=self.reactor,
        )
        return Deferred.fromCoroutine(routes())

    def routes(self, **settings: Any) -> Sequence[Route]:
        return self.successResultOf(self.ask(**settings))

    def connect(self, route: Route) -> bytes:
        """
        What is sent as soon as there is a connection, before anybody has anything to say.
        """
        connected = route.endpoint.connect(Factory.forProtocol(Protocol))
        client: Any = (self.reactor.tcpClients or self.reactor.unixClients)[-1]
        factory = next(part for part in client if IProtocolFactory.providedBy(part))
        protocol: Any = factory.buildProtocol(IPv4Address("TCP", ADDRESS, 5222))
        transport = StringTransport()
        protocol.makeConnection(transport)
        self.successResultOf(connected)
        written: bytes = transport.value()
        return written

    def assertSTARTTLS(self, route: Route) -> None:
        """
        TLS comes later.
        """
        self.assertTrue(route.startTLS)
        self.assertEqual(self.connect(route), b"")

    def assertDirect(self, route: Route) -> None:
        """
        TLS comes first, and no second time; it says for which domain and, as other protocols may be
        behind the same port, for what (XEP-0368).
        """
        self.assertFalse(route.startTLS)
        hello = self.connect(route)
        self.assertTrue(hello.startswith(HANDSHAKE), hello)
        self.assertIn(DOMAIN.encode(), hello)
        self.assertIn(b"xmpp-client", hello)

    def srv(self, service: str, *records: tuple[str, int, int]) -> None:
        """
        The target, port and priority of each record of a service.
        """
        self.dns.records[service] = [
            Record_SRV(target=target.encode(), port=port, priority=priority)
            for target, port, priority in records
        ]

    def test_configured(self) -> None:
        """
        A configured endpoint is the one route: by STARTTLS unless it says otherwise; DNS isn't asked.
        """
        self.srv("_xmpp-client", ("elsewhere.example.com", 5222, 0))
        for settings in ({}, {"tls": "required"}):
            (route,) = self.routes(connect="tcp:192.0.2.7:5299", **settings)
            self.assertSTARTTLS(route)
            self.assertEqual(self.reactor.tcpClients.pop()[:2], ("192.0.2.7", 5299))

    def test_configuredDirect(self) -> None:
        """
        With C{direct} the endpoint is inside TLS.
        """
        (route,) = self.routes(connect="tcp:192.0.2.7:5223", tls="direct")
        self.assertDirect(route)
        self.assertEqual(self.reactor.tcpClients.pop()[:2], ("192.0.2.7", 5223))

    def test_configuredOff(self) -> None:
        """
        With C{off} there is no TLS, neither first nor later.
        """
        (route,) = self.routes(connect="tcp:127.0.0.1:5222", tls="off")
        self.assertFalse(route.startTLS)
        self.assertEqual(self.connect(route), b"")

    def test_configuredUNIX(self) -> None:
        """
        A socket of this machine is an endpoint, too.
        """
        (route,) = self.routes(connect="unix:/run/xmpp.sock", tls="off")
        self.assertFalse(route.startTLS)
        self.assertEqual(self.connect(route), b"")
        self.assertEqual(self.reactor.unixClients[0][0], "/run/xmpp.sock")

    def test_records(self) -> None:
        """
        Else the routes are those of DNS, in its order, each in TLS as its record says.
        """
        self.srv("_xmpp-client", ("a.example.com", 5222, 10), ("c.example.com", 5299, 30))
        self.srv("_xmpps-client", ("b.example.com", 443, 20))
        first, second, third = self.routes()
        self.assertSTARTTLS(first)
        self.assertDirect(second)
        self.assertSTARTTLS(third)
        self.assertEqual(self.reactor.names.asked, ["a.example.com", "b.example.com", "c.example.com"])
        self.assertEqual([client[1] for client in self.reactor.tcpClients], [5222, 443, 5299])

    def test_recordsDirect(self) -> None:
        """
        With C{direct} only those of direct TLS are used.
        """
        self.srv("_xmpp-client", ("a.example.com", 5222, 10))
        self.srv("_xmpps-client", ("b.example.com", 443, 20))
        (route,) = self.routes(tls="direct")
        self.assertDirect(route)
        self.assertEqual(self.reactor.names.asked, ["b.example.com"])

    def test_noRecords(self) -> None:
        """
        Without records the domain itself is tried, on the port of the service.
        """
        (route,) = self.routes()
        self.assertSTARTTLS(route)
        (route,) = self.routes(tls="direct")
        self.assertDirect(route)
        self.assertEqual(self.reactor.names.asked, [DOMAIN, DOMAIN])
        self.assertEqual([client[1] for client in self.reactor.tcpClients], [5222, 5223])

    def test_timeout(self) -> None:
        """
        A host that DNS names doesn't keep the next one waiting for long.
        """
        for route in self.routes():
            self.connect(route)
        self.assertEqual([client[3] for client in self.reactor.tcpClients], [CONNECT_TIMEOUT])

    def test_declined(self) -> None:
        """
        If the domain says that it has no server, so does this.
        """
        self.srv("_xmpp-client", ("", 0, 0))
        self.failureResultOf(self.ask(), LinkDown)


class Client(Protocol):
    """
    Who speaks TLS, and nothing inside it.

    @ivar problem: why the connection has ended; L{None} while it lasts.
    """

    problem: BaseException | None = None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.problem = reason.value


def connect(*factories: TLSMemoryBIOFactory) -> None:
    """
    Connect two parties in memory, and close the connection if the first wants to.
    """
    parties = [factory.buildProtocol(IPv4Address("TCP", ADDRESS, 5222)) for factory in factories]
    wires = [StringTransport(), StringTransport()]
    for party, wire in zip(parties, wires, strict=True):
        party.makeConnection(wire)
    while any(wire.value() for wire in wires):
        for wire, other in zip(wires, reversed(parties), strict=True):
            data = wire.value()
            wire.clear()
            if data:
                other.dataReceived(data)
    if wires[0].disconnecting:
        parties[0].connectionLost(connectionDone)


class TrustTests(SynchronousTestCase):
    """
    Handshakes with servers of all kinds, in memory.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def certificate(self, name: str, *hosts: str) -> Path:
        """
        A self-signed certificate for hosts.
        """
        path = self.folder / f"{name}.pem"
        writeCertificate(path, *hosts)
        return path

    def bundle(self, *certificates: Path) -> Path:
        """
        A C{ca_file} with certificates and, as is usual, words about each.
        """
        path = self.folder / "roots.pem"
        path.write_bytes(b"".join(b"# a root\n" + each.read_bytes() for each in certificates))
        return path

    def problem(self, server: Path, caFile: Path | None, domain: str = DOMAIN) -> BaseException | None:
        """
        What keeps a login from going on with the server of a certificate.
        """
        client = Client()
        options = optionsForTLS(UserDomain(domain=domain, caFile=caFile))
        identity = PrivateCertificate.loadPEM(server.read_bytes() + server.with_suffix(".key").read_bytes())
        near = TLSMemoryBIOFactory(options, True, Factory.forProtocol(lambda: client))
        far = TLSMemoryBIOFactory(identity.options(), False, Factory.forProtocol(Protocol))
        connect(near, far)
        return client.problem

    def assertUntrusted(self, problem: BaseException | None) -> None:
        self.assertIsInstance(problem, TLSError)
        self.assertIn("certificate verify failed", str(problem))

    def test_caFile(self) -> None:
        """
        Any certificate in the file is trusted, wherever it is there, and no other.
        """
        trusted = [self.certificate(f"trusted {n}", f"{n}.example.com", DOMAIN) for n in range(3)]
        roots = self.bundle(*trusted)
        for certificate in trusted:
            self.assertIsNone(self.problem(certificate, roots))
        self.assertUntrusted(self.problem(self.certificate("other", DOMAIN), roots))

    def test_name(self) -> None:
        """
        A trusted certificate must be for the domain's own name.
        """
        elsewhere = self.certificate("elsewhere", "example.org", "xmpp.example.com")
        here = self.certificate("here", "www.example.com", DOMAIN)
        roots = self.bundle(elsewhere, here)
        self.assertIsInstance(self.problem(elsewhere, roots), VerificationError)
        self.assertIsNone(self.problem(here, roots))

    def trustOnThisMachine(self, certificate: Path) -> None:
        """
        Add to the system's roots.
        """
        self.enterContext(patch.dict(os.environ, {"SSL_CERT_FILE": str(certificate)}))

    def test_system(self) -> None:
        """
        Without a file the system's roots are trusted, and no other certificate.
        """
        certificate = self.certificate("system", DOMAIN)
        self.assertUntrusted(self.problem(certificate, None))
        self.trustOnThisMachine(certificate)
        self.assertIsNone(self.problem(certificate, None))
        self.assertIsInstance(self.problem(certificate, None, "example.org"), VerificationError)

    def test_insteadOfSystem(self) -> None:
        """
        With a file the system's roots count no more.
        """
        certificate = self.certificate("system", DOMAIN)
        self.trustOnThisMachine(certificate)
        self.assertUntrusted(self.problem(certificate, self.certificate("trusted", DOMAIN)))

    def test_international(self) -> None:
        """
        A domain beyond ASCII is in certificates as it is in DNS.
        """
        certificate = self.certificate("munich", "xn--mnchen-3ya.example")
        self.assertIsNone(self.problem(certificate, certificate, "münchen.example"))

    def test_address(self) -> None:
        """
        For a domain that is an IP address the certificate must be for that address.
        """
        certificate = self.certificate("address", DOMAIN)
        for domain, address in (("[2001:db8::1]", "2001:db8::1"), ("192.0.2.1", "192.0.2.1")):
            problem = self.problem(certificate, certificate, domain)
            self.assertIsInstance(problem, VerificationError)
            self.assertIn(f"'{address}'", repr(problem))
