"""
L{restbridge.web.ports} and L{restbridge.web.certificates}
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL.SSL import Context
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from restbridge.config import HTTP, ConfigurationRefused
from restbridge.web.certificates import hasCertificate
from restbridge.web.ports import Ports
from restbridge.web.site import BridgeSite
from tests.live.servers import writeCertificate


class PortsTests(SynchronousTestCase):
    """
    A port with TLS, and one without.
    """

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.path = folder / "shown.pem"
        self.other = folder / "other.pem"
        for path in (self.path, self.other):
            writeCertificate(path, "localhost")
        self.description = f"ssl:8443:privateKey={self.path.with_suffix('.key')}:certKey={self.path}"
        self.reactor = MemoryReactorClock()
        self.ports = self.make(self.description, "tcp:8080")
        (self.certificate,) = self.ports.certificates
        self.ports.serving(BridgeSite(settings=HTTP(), mounts={})).startService()

    def make(self, *descriptions: str) -> Ports:
        return Ports(path="http.listen", descriptions=descriptions, reactor=self.reactor)

    def context(self) -> Context:
        """
        What TLS takes for the next connection.
        """
        (_, _, shown, *_) = self.reactor.sslServers[0]
        context: Context = shown.getContext()
        return context

    def replace(self, *suffixes: str) -> None:
        """
        Others come in the place of these files.
        """
        for suffix in suffixes:
            self.path.with_suffix(suffix).write_bytes(self.other.with_suffix(suffix).read_bytes())

    def test_listening(self) -> None:
        """
        The ports are those that are configured.
        """
        self.assertEqual([8443], [port for port, *_ in self.reactor.sslServers])
        self.assertEqual([8080], [port for port, *_ in self.reactor.tcpServers])

    def test_same(self) -> None:
        """
        A certificate that was not replaced is said to be the same.
        """
        self.assertFalse(self.certificate.read()())

    def test_replaced(self) -> None:
        """
        One that was replaced is shown, but not before that is wanted; nothing else is listened on.
        """
        before = self.context()
        self.replace(".pem", ".key")
        show = self.certificate.read()
        self.assertIs(before, self.context())
        self.assertTrue(show())
        self.assertIsNot(before, self.context())
        self.assertFalse(self.certificate.read()())
        self.assertEqual(1, len(self.reactor.sslServers))

    def test_refused(self) -> None:
        """
        One without its own key, with one that is too short, or that is gone, is refused by the path of the
        configuration's key; what was shown is shown.
        """
        before = self.context()
        self.replace(".pem")
        with self.assertRaises(ConfigurationRefused) as refused:
            self.certificate.read()
        self.assertEqual(["http.listen"], [fault.path for fault in refused.exception.faults])
        writeCertificate(self.path, "localhost", curve=ec.SECP192R1())
        self.assertRaises(ConfigurationRefused, self.certificate.read)
        self.path.unlink()
        self.assertRaises(ConfigurationRefused, self.certificate.read)
        self.assertIs(before, self.context())

    def test_proxied(self) -> None:
        """
        Behind a proxy that says whom it speaks for it is renewed as well.
        """
        ports = self.make(f"haproxy:{self.description}")
        ports.serving(BridgeSite(settings=HTTP(), mounts={})).startService()
        self.replace(".pem", ".key")
        self.assertTrue(ports.certificates[0].read()())
        self.assertFalse(hasCertificate("haproxy:tcp:80"))

    def test_noSocket(self) -> None:
        """
        A socket that systemd hasn't handed over is said not to be there.
        """
        with self.assertRaises(ConfigurationRefused) as refused:
            self.make("systemd:domain=INET:index=0")
        self.assertIn("http.listen: systemd:domain=INET:index=0: ", str(refused.exception))
