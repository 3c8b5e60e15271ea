"""
The servers, the client, the receiver and the relay that the other live tests rely on. No bridge is needed
here.
"""

from __future__ import annotations

import base64
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import unittest
from unittest import mock

from tests.live.bridge import CHECKOUT
from tests.live.case import LiveCase, Promises
from tests.live.client import Client, body, condition, kind
from tests.live.ejabberd import Ejabberd
from tests.live.process import LOOPBACK, NotInTime, eventually, freePorts
from tests.live.prosody import Prosody
from tests.live.receiver import Receiver, Reply, Request
from tests.live.relay import Relay
from tests.live.servers import Refused, ServerMissing, passwordOf, readUntil
from tests.live.stripper import Stripper, Stripping
from tests.live.web import ask

DISCO = "http://jabber.org/protocol/disco#info"
PING = "<ping xmlns='urn:xmpp:ping'/>"

CLIENT_HEADER = (
    b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    b" to='localhost' version='1.0'>"
)

VICTIM = """
import sys, time
from tests.live.{module} import {name}
server = {name}()
server.start()
print(server.process.pid, server.folder, flush=True)
time.sleep(60)
"""


class Instances(Promises):
    """
    What a throw-away server can do.
    """

    needsBridge = False

    def testClientsTalk(self) -> None:
        """
        Two users of the accounts that each server has can log in and write to each other.
        """
        alice, bob = self.login("alice"), self.login("bob")
        alice.message(bob.jid, "h\u00ebllo <&> \U0001f642")
        self.assertEqual("h\u00ebllo <&> \U0001f642", body(bob.expect(lambda one: kind(one) == "message")))

    def testRequests(self) -> None:
        """
        A client gets the answer to its request: a result, an error, or none from one who keeps silent.
        """
        alice, bob = self.login("alice"), self.login("bob")
        self.assertEqual("result", alice.request("localhost", PING).get("type"))
        refused = alice.request(bob.jid, "<query xmlns='urn:example:unknown'/>")
        self.assertEqual("cancel", condition(refused)[0])
        bob.keepSilent()
        with self.assertRaises(NotInTime):
            alice.request(bob.jid, PING, timeout=0.5)

    def testComponents(self) -> None:
        """
        Components attach with the secret, and are refused with another.
        """
        for domain in ("bridge.localhost", "bridge2.localhost"):
            self.server.attach(domain).close()
            with self.assertRaises(Refused):
                self.server.attach(domain, "another")

    def testRooms(self) -> None:
        """
        The rooms' service is there, and keeps archives.
        """
        alice = self.login("alice")
        info = alice.request("conference.localhost", f"<query xmlns='{DISCO}'/>")
        features = [feature.get("var") for feature in info.iter(f"{{{DISCO}}}feature")]
        self.assertIn("http://jabber.org/protocol/muc", features)
        archive = alice.request(alice.jid.partition("/")[0], "<query xmlns='urn:xmpp:mam:2'/>", "set")
        self.assertEqual("result", archive.get("type"))

    def testSTARTTLS(self) -> None:
        """
        On a port of its own a server speaks TLS after STARTTLS, with a certificate that can be trusted.
        """
        trusted = ssl.create_default_context(cafile=self.server.certificate)
        with socket.create_connection((LOOPBACK, self.server.tlsPort), 5) as connection:
            connection.sendall(CLIENT_HEADER)
            self.assertIn(b"starttls", readUntil(connection, re.compile(b"</stream:features>")).string)
            connection.sendall(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
            readUntil(connection, re.compile(b"<proceed[^>]*>"))
            with trusted.wrap_socket(connection, server_hostname="localhost") as secured:
                self.assertIn("TLS", secured.version() or "")

    def testDirectTLS(self) -> None:
        """
        On a port of its own a server speaks TLS from the first byte.
        """
        trusted = ssl.create_default_context(cafile=self.server.certificate)
        with (
            socket.create_connection((LOOPBACK, self.server.directTlsPort), 5) as connection,
            trusted.wrap_socket(connection, server_hostname="localhost") as secured,
        ):
            self.assertIn("PLAIN", offers(secured))

    def testAccounts(self) -> None:
        """
        Accounts are made, get another password and go while the server runs; each login is counted.
        """
        self.server.addAccount("dave", "p\"'w\\\u00e9")
        self._enter("dave", "p\"'w\\\u00e9")
        self.server.changePassword("dave", "another")
        self._enter("dave", "another")
        self.assertRaises(AssertionError, self._enter, "dave", "p\"'w\\\u00e9")
        self.assertEqual(2, self.server.logins("dave"))
        self.server.deleteAccount("dave")
        self.assertRaises(AssertionError, self._enter, "dave", "another")

    def testSessionsEnd(self) -> None:
        """
        The server ends sessions when told to, and when their account goes.
        """
        bob = self.login("bob")
        for number, end in enumerate((self.server.endSession, self.server.deleteAccount)):
            self.server.addAccount(f"erin{number}", "pw")
            erin = self._enter(f"erin{number}", "pw")
            # slixmpp's own answer, and then the server's.
            self.assertEqual("feature-not-implemented", condition(bob.request(erin.jid, PING))[1])
            end(f"erin{number}")
            self.assertEqual("service-unavailable", condition(bob.request(erin.jid, PING))[1])

    def _enter(self, account: str, password: str) -> Client:
        """
        Log in with this password.
        """
        client = Client()
        self.addCleanup(client.close)
        client.connect(f"{account}@localhost/phone", password, self.server.c2sPort)
        return client

    def testTwoAtOnce(self) -> None:
        """
        Two of a kind run at once, and a restart of one keeps its ports and does not touch the other.
        """
        with self.makeServer() as second:
            second.start()
            second.restart()
            second.attach("bridge.localhost").close()
            self.server.attach("bridge.localhost").close()

    def testKilledTests(self) -> None:
        """
        A server does not outlive the tests that started it, even when these are killed.
        """
        program = VICTIM.format(module=self.server.name, name=type(self.server).__name__)
        command = [sys.executable, "-c", program]
        with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as victim:
            assert victim.stdout is not None
            pid, folder = victim.stdout.readline().split()
            self.addCleanup(subprocess.run, ["rm", "-rf", folder])
            os.kill(victim.pid, signal.SIGKILL)
        eventually(lambda: not _lives(int(pid)), "the server to go")


class Peculiarities(Promises):
    """
    A throw-away server of another kind.
    """

    needsBridge = False

    def testMechanisms(self) -> None:
        """
        Inside TLS clients are offered what was chosen and a mechanism for tokens; outside they aren't, here.
        """
        for port in (self.server.c2sPort, self.server.tlsPort):
            with socket.create_connection((LOOPBACK, port), 5) as connection:
                self.assertEqual(set(), offers(connection))
        offered = offers(self._enter())
        self.assertEqual(1, len(offered & {"OAUTHBEARER", "X-OAUTH2"}))
        self.assertEqual({"PLAIN"}, offered - {"OAUTHBEARER", "X-OAUTH2"})

    def testCertificate(self) -> None:
        """
        The certificate is for the host that it was made for, and for no other.
        """
        self.assertRaisesRegex(ssl.SSLCertVerificationError, "Hostname mismatch", self._enter, True)
        certificate = self._enter().getpeercert() or {}
        self.assertIn(("DNS", "elsewhere.example"), certificate["subjectAltName"])

    def testHashed(self) -> None:
        """
        Passwords that are stored as hashes open their accounts.
        """
        plain = f"\0alice\0{passwordOf('alice')}"
        self.assertIn(b"<success", self._answer("PLAIN", plain))

    def testTokens(self) -> None:
        """
        A token opens its account, and no other.
        """
        token = self.server.token("alice")
        forms = {
            "OAUTHBEARER": f"n,a={{0}}@localhost,\1auth=Bearer {token}\1\1",
            "X-OAUTH2": f"\0{{0}}\0{token}",
        }
        (mechanism,) = forms.keys() & offers(self._enter())
        self.assertIn(b"<success", self._answer(mechanism, forms[mechanism].format("alice")))
        self.assertNotIn(b"<success", self._answer(mechanism, forms[mechanism].format("bob")))

    def _enter(self, checkHost: bool = False) -> ssl.SSLSocket:
        """
        A connection inside TLS.
        """
        trusted = ssl.create_default_context(cafile=self.server.certificate)
        trusted.check_hostname = checkHost
        plain = socket.create_connection((LOOPBACK, self.server.directTlsPort), 5)
        self.addCleanup(plain.close)
        secured = trusted.wrap_socket(plain, server_hostname="localhost")
        self.addCleanup(secured.close)
        return secured

    def _answer(self, mechanism: str, text: str) -> bytes:
        """
        What the server says to the first message of a mechanism.
        """
        connection = self._enter()
        offers(connection)
        connection.sendall(
            b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='%s'>%s</auth>"
            % (mechanism.encode(), base64.b64encode(text.encode()))
        )
        return readUntil(connection, re.compile(rb"<(success|challenge|failure)\b[^>]*>")).string


class PeculiarProsody(Prosody):
    """
    Everything that can be said of a Prosody.
    """

    mechanisms = ("PLAIN",)
    demandsTLS = True
    certificateName = "elsewhere.example"
    hashed = True
    tokens = True


class PeculiarEjabberd(Ejabberd):
    """
    Everything that can be said of an ejabberd.
    """

    mechanisms = ("PLAIN",)
    demandsTLS = True
    certificateName = "elsewhere.example"
    hashed = True
    tokens = True


class OnPeculiarProsody(Peculiarities, LiveCase):
    """
    Prosody of another kind.
    """

    makeServer = PeculiarProsody


class OnPeculiarEjabberd(Peculiarities, LiveCase):
    """
    ejabberd of another kind.
    """

    makeServer = PeculiarEjabberd


class OnProsody(Instances, LiveCase):
    """
    Prosody's throw-away instances.
    """

    makeServer = Prosody


class OnEjabberd(Instances, LiveCase):
    """
    ejabberd's throw-away instances.
    """

    makeServer = Ejabberd


class MissingServer(unittest.TestCase):
    """
    A machine without the servers.
    """

    def testSaysWhatToInstall(self) -> None:
        """
        A server that is not installed is an error that names its package, never a skipped test.
        """
        for make, package in ((Prosody, "prosody"), (Ejabberd, "ejabberd")):
            with self.subTest(package), mock.patch("shutil.which", return_value=None):
                self.assertRaisesRegex(ServerMissing, f"apt-get install {package}", make)


class Helpers(unittest.TestCase):
    """
    The receiver and the relay.
    """

    def setUp(self) -> None:
        """
        A receiver to talk to.
        """
        self.receiver = Receiver()
        self.addCleanup(self.receiver.close)
        self.port = int(self.receiver.url("").rpartition(":")[2])

    def testReceiver(self) -> None:
        """
        The receiver answers as told, and keeps what it got; OPTIONS are kept apart.
        """
        self.receiver.answer("/a", Reply(404, "text/plain", "no"))
        self.receiver.answer("/a/b", lambda request: Reply(200, body=request.body))
        self.receiver.answerProbe("/a", "application/json")
        refused = ask(self.port, "POST", "/a?x", b"1")
        self.assertEqual((404, b"no"), (refused.status, refused.body))
        self.assertEqual(b"2", ask(self.port, "POST", "/a/b", b"2").body)
        self.assertEqual("application/json", ask(self.port, "OPTIONS", "/a").headers["accept"])
        self.assertEqual(204, ask(self.port, "POST", "/", b"3").status)
        kept = self.receiver.requests.all(lambda one: True)
        self.assertEqual([b"1", b"2", b"3"], [one.body for one in kept])

    def testRelay(self) -> None:
        """
        The relay forwards, counts, and cuts.
        """
        relay = Relay(self.port)
        self.addCleanup(relay.close)
        self.assertEqual(204, ask(relay.port, "POST", "/x", b"1").status)
        self.assertEqual(204, ask(relay.port, "POST", "/x", b"2").status)
        self.assertEqual(2, relay.connections)

        def cut(request: Request) -> Reply:
            relay.cut()
            return Reply()

        self.receiver.answer("/cut", cut)
        self.assertRaises(OSError, ask, relay.port, "POST", "/cut", b"3")

    def testStripper(self) -> None:
        """
        The man in the middle lets everything through but the offer of STARTTLS, and remembers what the client
        said.
        """
        server = socket.create_server((LOOPBACK, 0))
        self.addCleanup(server.close)
        stripper = Stripper(server.getsockname()[1])
        self.addCleanup(stripper.close)
        with socket.create_connection((LOOPBACK, stripper.port), 5) as client:
            client.sendall(b"hello")
            speaker, _ = server.accept()
            with speaker:
                self.assertEqual(b"hello", speaker.recv(100))
                speaker.sendall(b"<a/><stream:features><starttls xmlns='x'/><b/></stream:features>")
                came = readUntil(client, re.compile(b"</stream:features>")).string
        self.assertEqual(b"<a/><stream:features><b/></stream:features>", came)
        self.assertEqual(b"hello", stripper.sent())

    def testStripping(self) -> None:
        """
        No piece of an offer gets through, wherever it is cut.
        """
        offer = b"<starttls xmlns='x'><required/></starttls>"
        features = b"<a/><stream:features>%s<b/></stream:features><c/>"
        whole = features % offer
        for cut in range(len(whole)):
            stripping = Stripping()
            passed = stripping.feed(whole[:cut]) + stripping.feed(whole[cut:])
            self.assertEqual(features % b"", passed, cut)

    def testPortsDiffer(self) -> None:
        """
        Ports that are asked for at once, or one soon after the other, are not the same.
        """
        self.assertEqual(50, len(set(freePorts(50))))
        self.assertEqual(500, len({freePorts(1)[0] for _ in range(500)}))


def offers(connection: socket.socket) -> set[str]:
    """
    Open a stream, and see which SASL mechanisms the server offers.
    """
    connection.sendall(CLIENT_HEADER)
    features = readUntil(connection, re.compile(b"</stream:features>")).string.decode()
    return set(re.findall("<mechanism>([^<]*)</mechanism>", features))


def _lives(pid: int) -> bool:
    """
    Whether a process is there, and not only its corpse.
    """
    try:
        with open(f"/proc/{pid}/stat") as status:
            return status.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False
