"""
Throw-away XMPP servers: what Prosody and ejabberd have in common.

Each instance has its own folder and its own ports on the loopback address, so that any number of them can run
at once::

    with ExitStack() as stack:
        server = stack.enter_context(Prosody())
        server.start()

Every server knows the host C{localhost} with the accounts of L{ACCOUNTS}, rooms at C{conference.localhost},
archives of both, and the components of L{COMPONENTS}. L{tests.live.prosody} and L{tests.live.ejabberd} say
how. A test that needs a server of another kind says so in a subclass::

    class Strict(Prosody):
        mechanisms = ("SCRAM-SHA-1",)
"""

from __future__ import annotations

import hashlib
import re
import socket
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import ClassVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.live.process import LOOPBACK, Process, eventually, freePorts, temporaryFolder

HOST = "localhost"
ROOMS = "conference.localhost"
ACCOUNTS = ("alice", "bob", "kate")
SECRET = "secret"
PROBE = "probe.localhost"
COMPONENTS = ("bridge.localhost", "bridge2.localhost", PROBE)
TOKEN_MECHANISMS = ("OAUTHBEARER", "X-OAUTH2")
MECHANISMS = (
    *("PLAIN", "DIGEST-MD5", "ANONYMOUS", "EXTERNAL", *TOKEN_MECHANISMS),
    *(f"SCRAM-SHA-{size}{plus}" for size in (1, 256, 512) for plus in ("", "-PLUS")),
)
"""All that a server might offer."""


class ServerMissing(Exception):
    """
    The server is not installed. The tests fail then: real servers are what they are for.
    """

    def __init__(self, package: str, what: str) -> None:
        super().__init__(f"{what} not found; the live tests need it: apt-get install {package}")


class Refused(Exception):
    """
    The server did not accept a component's handshake.
    """


def passwordOf(account: str) -> str:
    """
    The password of an account, as C{alicepw} for C{alice}.
    """
    return f"{account}pw"


def attach(port: int, domain: str, secret: str = SECRET, timeout: float = 5.0) -> socket.socket:
    """
    Attach a component that says nothing (XEP-0114), by nothing but a socket.

    @raise Refused: the server closed the stream, or answered with an error.
    @raise OSError: nobody listens, or nobody answered in time.
    """
    connection = socket.create_connection((LOOPBACK, port), timeout)
    try:
        connection.sendall(
            b"<stream:stream xmlns='jabber:component:accept' "
            b"xmlns:stream='http://etherx.jabber.org/streams' to='%s'>" % domain.encode()
        )
        header = readUntil(connection, re.compile(rb"<stream:stream[^>]*\bid=['\"]([^'\"]+)"))
        digest = hashlib.sha1(header.group(1) + secret.encode()).hexdigest()
        connection.sendall(f"<handshake>{digest}</handshake>".encode())
        readUntil(connection, re.compile(rb"<handshake"))
    except BaseException:
        connection.close()
        raise
    return connection


def readUntil(connection: socket.socket, pattern: re.Pattern[bytes]) -> re.Match[bytes]:
    """
    Read until the pattern is there.

    @raise Refused: a stream error came, or the end.
    """
    seen = b""
    while not (match := pattern.search(seen)):
        if b"<stream:error" in seen or not (more := connection.recv(4096)):
            raise Refused(seen.decode("utf-8", "replace"))
        seen += more
    return match


def writeCertificate(path: Path, *hosts: str, curve: ec.EllipticCurve | None = None) -> None:
    """
    Write a fresh self-signed certificate for C{hosts} to C{path}, and its key to a C{.key} beside it.
    """
    key = ec.generate_private_key(curve or ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    path.with_suffix(".key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


class Server:
    """
    A server that starts, stops and starts again with the same folder, ports and accounts.

    @ivar c2sPort: for clients, without encryption.
    @ivar tlsPort: for clients, with STARTTLS; L{certificate} is what to trust.
    @ivar directTlsPort: for clients, with TLS from the first byte.
    @cvar mechanisms: the SASL mechanisms that clients are offered; L{None} for the server's own choice.
    @cvar demandsTLS: whether nobody may log in outside TLS, not even on L{c2sPort}.
    @cvar certificateName: the host that the certificate is for.
    @cvar hashed: whether passwords are stored as SCRAM-SHA-1 hashes.
    @cvar tokens: whether the L{token} of an account opens it.
    @cvar keeps: seconds for which a login is kept whose connection broke (XEP-0198); L{None} where streams
        are not managed.
    """

    name: str
    mechanisms: ClassVar[tuple[str, ...] | None] = None
    demandsTLS: ClassVar[bool] = False
    certificateName: ClassVar[str] = HOST
    hashed: ClassVar[bool] = False
    tokens: ClassVar[bool] = False
    keeps: ClassVar[int | None] = 60
    refusesSecondComponent: bool
    """Whether a second connection for the same component domain gets C{<conflict/>}."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.folder = self._stack.enter_context(temporaryFolder(self.name))
        self.certificate = self.folder / "certificate.pem"
        self.c2sPort, self.tlsPort, self.directTlsPort = freePorts(3)
        writeCertificate(self.certificate, self.certificateName, f"conference.{self.certificateName}")
        self.process: Process

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def componentPort(self, domain: str) -> int:
        """
        Where the component of this domain attaches.
        """
        raise NotImplementedError

    def start(self, timeout: float = 30.0) -> None:
        """
        Start, and wait until a component's handshake is accepted.
        """
        self.process.start()
        try:
            eventually(self._accepts, f"{self.name} to accept a component", timeout)
            self._createAccounts()
        except BaseException:
            self.process.kill()
            raise

    def stop(self) -> None:
        """
        End in good order; the folder stays.
        """
        self.process.stop()

    def restart(self) -> None:
        """
        Stop, and start again.
        """
        self.stop()
        self.start()

    def close(self) -> None:
        """
        End for ever, and leave nothing behind.
        """
        self.process.kill()
        self._stack.close()

    def attach(self, domain: str, secret: str = SECRET) -> socket.socket:
        """
        Attach a component that never answers.
        """
        return attach(self.componentPort(domain), domain, secret)

    def addAccount(self, name: str, password: str) -> None:
        """
        Make an account, on the running server.
        """
        raise NotImplementedError

    def changePassword(self, name: str, password: str) -> None:
        """
        Give an account another password. Prosody ends its sessions then, ejabberd does not.
        """
        raise NotImplementedError

    def deleteAccount(self, name: str) -> None:
        """
        Delete an account, which ends its sessions.
        """
        raise NotImplementedError

    def endSession(self, name: str) -> None:
        """
        End an account's sessions.
        """
        raise NotImplementedError

    def logins(self, name: str) -> int:
        """
        How often a client has logged in to an account, from first to last.
        """
        raise NotImplementedError

    def token(self, name: str) -> str:
        """
        A fresh token that opens an account, where the server takes L{tokens}.
        """
        raise NotImplementedError

    def _disabled(self) -> tuple[str, ...]:
        """
        The SASL mechanisms that clients are not offered.
        """
        tokens = TOKEN_MECHANISMS if self.tokens else ()
        if self.mechanisms is None:
            return tuple(each for each in TOKEN_MECHANISMS if each not in tokens)
        return tuple(each for each in MECHANISMS if each not in self.mechanisms + tokens)

    def _accepts(self) -> bool:
        """
        An open port is no sign yet: ejabberd listens half a second before it answers.
        """
        self.process.mustRun()
        try:
            attach(self.componentPort(PROBE), PROBE, timeout=1.0).close()
        except (Refused, OSError):
            return False
        return True

    def _createAccounts(self) -> None:
        """
        For a server that makes accounts only while it runs; must not mind accounts that exist.
        """
