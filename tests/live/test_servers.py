"""
The servers, the client, the receiver and the relay that the other live tests rely on. No bridge is needed
here.
"""

from __future__ import annotations

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
from tests.live.client import body, condition, kind
from tests.live.ejabberd import Ejabberd
from tests.live.process import LOOPBACK, NotInTime, eventually, freePorts
from tests.live.prosody import Prosody
from tests.live.receiver import Receiver, Reply, Request
from tests.live.relay import Relay
from tests.live.servers import Refused, ServerMissing, readUntil
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

    def testPortsDiffer(self) -> None:
        """
        Ports that are asked for at once are not the same.
        """
        self.assertEqual(50, len(set(freePorts(50))))


def _lives(pid: int) -> bool:
    """
    Whether a process is there, and not only its corpse.
    """
    try:
        with open(f"/proc/{pid}/stat") as status:
            return status.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False
