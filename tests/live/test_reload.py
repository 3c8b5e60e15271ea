"""
Another configuration while the bridge runs: whoever is connected doesn't notice.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import unittest
from hashlib import sha256
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from tests.live.bridge import BEARER, CHECKOUT, Bridge, botTable, componentTable, twistd
from tests.live.case import BRIDGE, LiveCase, Promises
from tests.live.client import body, kind
from tests.live.ejabberd import Ejabberd
from tests.live.process import LEASH, LOOPBACK, eventually, freePorts, temporaryFolder
from tests.live.prosody import Prosody
from tests.live.receiver import JSON, Reply, Request
from tests.live.servers import writeCertificate
from tests.live.test_stop import Caller, Kept
from tests.live.web import askOver

PING = "/rest/ping/localhost"


HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "http"}
os.execvp(sys.argv[2], sys.argv[2:])
"""


def opened(token: str) -> dict[str, Any]:
    """
    An account that a token opens.
    """
    return {"tokens": [f"sha256:{sha256(token.encode()).hexdigest()}"]}


class Reloads(Promises):
    """
    What the bridge promises to those who are there when its configuration changes.
    """

    needsBridge = False

    def setUp(self) -> None:
        super().setUp()
        self.bridge = self.startBridge(
            componentTable(self.relay.port),
            callbacks=[self.callback("/old"), self.callback("/staying", to=[f"stay@{BRIDGE}"])],
            accounts={"bot": botTable(), "old": opened("old's")},
        )
        self._attachments = self.relay.connections

    def callback(self, path: str, **more: Any) -> dict[str, Any]:
        return {"url": self.receiver.url(path), "format": JSON, "to": [f"bot@{BRIDGE}"], **more}

    def status(self, authorization: str) -> int:
        return self.bridge.get(PING, auth=authorization).status

    def called(self, path: str) -> Request:
        return self.receiver.expect(lambda request: request.path == path)

    def testAccounts(self) -> None:
        """
        Under load: a new account may call, a removed one may not any more, other tokens count; no request
        fails, and the stream is the one that it was.
        """
        self.assertEqual((200, 200), (self.status("Bearer old's"), self.status(BEARER)))
        changed = {**botTable(), "tokens": opened("bot's")["tokens"]}
        with Caller(self.bridge, Kept(self.bridge.port)) as calls:
            self.bridge.configure(accounts={"bot": changed, "new": opened("new's")})
            said = self.bridge.reload()
            before = len(calls.answers)
            eventually(lambda: len(calls.answers) > before + 50, "more requests")
        self.assertEqual({200}, {each.status for each in calls.answers.values()})
        self.assertEqual([], calls.unanswered)
        statuses = [self.status(f"Bearer {each}") for each in ("new's", "bot's", "old's")]
        self.assertEqual(([200, 200, 403], 403), (statuses, self.status(BEARER)))
        self.assertIn(
            "accounts.bot.password changed, accounts.bot.tokens changed, accounts.old removed, "
            "accounts.new added\n",
            said,
        )
        self.assertNotRegex(said, r"argon2|sha256")
        items = self.login("alice").request(BRIDGE, "<query xmlns='http://jabber.org/protocol/disco#items'/>")
        found = {item.get("jid") for item in items.iter("{http://jabber.org/protocol/disco#items}item")}
        self.assertEqual({f"bot@{BRIDGE}", f"new@{BRIDGE}"}, found)
        self.assertAttached()

    def testCallbacks(self) -> None:
        """
        A new callback is called, a removed one isn't any more, and a call to it that is under way comes to
        its end, with its reply.
        """
        alice = self.login("alice")
        self.receiver.answer("/old", Reply(200, "text/plain", "from the old one", delay=2))
        alice.message(f"bot@{BRIDGE}", "first")
        self.called("/old")
        staying = self.callback("/staying", to=[f"stay@{BRIDGE}"])
        self.bridge.configure(callbacks=[self.callback("/new"), staying])
        said = self.bridge.reload()
        for label, how in (("/old", "removed"), ("/new", "added")):
            self.assertIn(f'callbacks."{self.receiver.url(label)}" {how}', said)
        self.assertNotIn("/staying", said)
        alice.message(f"bot@{BRIDGE}", "second")
        self.assertIn("second", self.called("/new").body.decode())
        alice.message(f"stay@{BRIDGE}", "third")
        self.called("/staying")
        alice.expect(lambda one: kind(one) == "message" and body(one) == "from the old one")
        self.assertEqual([], self.receiver.requests.all(lambda request: request.path == "/old"))
        self.assertAttached()

    def testDurable(self) -> None:
        """
        What waits for a durable callback goes to where it is now, in its order; what waits for one that is
        removed stays, and goes to the next one of its name.
        """
        alice = self.login("alice")
        self.receiver.answer("/broken", Reply(503))
        durable = {"delivery": "durable", "name": "events", "probes": [1, 1]}
        self.bridge.configure(callbacks=[self.callback("/broken", **durable)])
        self.bridge.reload()
        for text in ("first", "second"):
            alice.message(f"bot@{BRIDGE}", text)
        self.called("/broken")
        self.bridge.configure(callbacks=[self.callback("/working", **durable)])
        self.assertIn("callbacks.events.url changed", self.bridge.reload())
        for text in ("first", "second"):
            self.assertIn(text, self.called("/working").body.decode())
        self.bridge.configure(callbacks=[self.callback("/broken", **durable)])
        self.bridge.reload()
        alice.message(f"bot@{BRIDGE}", "third")
        self.called("/broken")
        self.bridge.configure(callbacks=[])
        self.assertIn("callbacks.events removed", self.bridge.reload())
        self.bridge.configure(callbacks=[self.callback("/last", **durable)])
        self.bridge.reload()
        self.assertIn("third", self.called("/last").body.decode())
        self.assertEqual(
            [], self.receiver.requests.all(lambda request: request.path in ("/working", "/last"))
        )
        self.assertAttached()

    def testFaulty(self) -> None:
        """
        A file with faults changes nothing; each of them is logged, by its path.
        """
        for write in (
            lambda: self.bridge.configure(
                accounts={"new": {**opened("new's"), "pasword": "s3cret"}}, http={"listen": "tcp:x"}
            ),
            lambda: self.bridge.file.write_text("[component"),
            self.bridge.file.unlink,
        ):
            write()
            said = self.bridge.reload("is refused: all stays as it was")
            statuses = [self.status(each) for each in ("Bearer old's", BEARER, "Bearer new's")]
            self.assertEqual([200, 200, 403], statuses)
            if "listen" in said:
                self.assertRegex(said, r"accounts\.new\.pasword: unknown key")
                self.assertRegex(said, r'http\.listen: "tcp:x" is not')
                self.assertNotIn("s3cret", said)
        self.assertIn("can't be read", said)
        self.assertAttached()

    def testRestart(self) -> None:
        """
        What takes a restart is named, each time; what doesn't is in force all the same, unless it is about
        addresses of another domain.
        """
        http = {"listen": f"tcp:{self.bridge.port}:interface={LOOPBACK}", "max_body": 20000}
        accounts = {"bot": botTable(), "new": opened("new's")}
        self.bridge.configure(http=http, accounts=accounts, store={"url": "sqlite:other.sqlite"})
        for _ in range(2):
            self.assertIn("Restart to change: http.max_body, store.url\n", self.bridge.reload("Restart"))
        self.assertEqual(200, self.status("Bearer new's"))
        self.bridge.configure(
            accounts={"bot": botTable(), "other": opened("other's")},
            callbacks=[],
            component=componentTable(self.relay.port, "other.localhost"),
        )
        self.assertIn("Restart to change: component.domain, ", self.bridge.reload("Restart"))
        self.assertEqual((200, 403), (self.status("Bearer new's"), self.status("Bearer other's")))
        self.assertAttached()


class OnProsody(Reloads, LiveCase):
    """
    Attached to Prosody.
    """

    makeServer = Prosody


class OnEjabberd(Reloads, LiveCase):
    """
    Attached to ejabberd.
    """

    makeServer = Ejabberd


class Alone(unittest.TestCase):
    """
    A bridge whose XMPP server isn't there.
    """

    def setUp(self) -> None:
        self.folder = self.enterContext(temporaryFolder("reload"))

    def start(self, **http: Any) -> Bridge:
        bridge = Bridge(componentTable(freePorts(1)[0]), http=http)
        self.addCleanup(bridge.close)
        self.addCleanup(lambda: self.assertEqual([], bridge.faults()))
        return bridge

    def testCertificate(self) -> None:
        """
        A certificate that was replaced is shown to the next who connects; who is connected goes on. One whose
        key isn't its own, or that is gone, is refused, at the start as well.
        """
        path = self.folder / "shown.pem"
        writeCertificate(path, "localhost")
        (port,) = freePorts(1)
        description = f"ssl:{port}:interface={LOOPBACK}:privateKey={path.with_suffix('.key')}:certKey={path}"
        plain = f"tcp:{freePorts(1)[0]}:interface={LOOPBACK}"
        bridge = self.start(listen=[plain, description])
        bridge.port = int(plain.split(":")[1])
        bridge.start(ready=False)
        old = self.connection(port, path)
        self.assertEqual(200, askOver(old, "GET", "/healthz").status)
        before = path.read_bytes()
        self.assertIn("In force now: what was\n", bridge.reload())
        writeCertificate(path, "localhost")
        self.assertIn(f"In force now: the certificate of {description} changed\n", bridge.reload())
        self.assertEqual(200, askOver(old, "GET", "/healthz").status)
        self.assertEqual(200, askOver(self.connection(port, path), "GET", "/healthz").status)
        path.with_suffix(".key").write_bytes(self.anotherKey())
        self.assertIn("http.listen[1]", bridge.reload("is refused"))
        self.assertEqual(200, askOver(self.connection(port, path), "GET", "/healthz").status)
        self.assertNotEqual(before, path.read_bytes())
        bridge.process.stop()
        bridge.process.start()
        eventually(lambda: bridge.process.pid is None, "the start to fail")
        self.assertRegex(bridge.process.log().splitlines()[-1], r"^http\.listen\[1\]: ")

    def connection(self, port: int, certificate: Path) -> HTTPConnection:
        """
        Over TLS, with who shows this certificate.
        """
        trusted = ssl.create_default_context(cafile=certificate)
        plain = socket.create_connection((LOOPBACK, port), 10)
        connection = HTTPConnection(LOOPBACK, port)
        connection.sock = trusted.wrap_socket(plain, server_hostname="localhost")
        self.addCleanup(connection.close)
        return connection

    def anotherKey(self) -> bytes:
        writeCertificate(self.folder / "another.pem", "localhost")
        return (self.folder / "another.key").read_bytes()

    def testNotified(self) -> None:
        """
        systemd hears when a reload begins, by the clock that it goes by, and when it is over, also when it
        was refused.
        """
        bridge = self.start()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(str(self.folder / "notify"))
            systemd.settimeout(10)
            bridge.process.environment["NOTIFY_SOCKET"] = str(self.folder / "notify")
            bridge.process.start()

            def hear(expected: str) -> list[str]:
                while not re.match(expected, said := systemd.recv(4096).decode()):
                    pass
                return said.splitlines()

            hear("READY=1$")
            for write in (bridge.configure, bridge.file.unlink):
                write()
                assert bridge.process.pid is not None
                began = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
                os.kill(bridge.process.pid, signal.SIGHUP)
                _, at = hear("RELOADING=1\n")
                hear("READY=1$")
                self.assertEqual("MONOTONIC_USEC", at.partition("=")[0])
                self.assertIn(int(at.partition("=")[2]) - began, range(10_000_000))

    def testSocket(self) -> None:
        """
        The bridge serves on a socket that it was handed over, as by systemd; who calls while it is restarted
        waits, and is answered.
        """
        bridge = self.start(listen="systemd:domain=INET:index=0")
        with socket.create_server((LOOPBACK, 0)) as listening:
            bridge.port = listening.getsockname()[1]
            for _ in range(2):
                connection = HTTPConnection(LOOPBACK, bridge.port, timeout=20)
                self.addCleanup(connection.close)
                connection.request("GET", "/healthz")
                process = self.handOver(listening, bridge)
                self.assertEqual(200, connection.getresponse().status)
                connection.close()
                process.terminate()
                self.assertEqual(0, process.wait(15), bridge.process.log())

    def handOver(self, listening: socket.socket, bridge: Bridge) -> subprocess.Popen[bytes]:
        """
        Start a bridge with a socket, as systemd does.
        """
        file = listening.fileno()
        leash = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid())]
        process = subprocess.Popen(
            [*leash, sys.executable, "-c", HAND_OVER, str(file), *bridge.process.command],
            pass_fds=[file],
            cwd=bridge.process.workingFolder,
            env=bridge.process.environment,
            stdout=self.enterContext(bridge.process.logFile.open("ab")),
            stderr=subprocess.STDOUT,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def testNoSocket(self) -> None:
        """
        Where none is handed over the start ends in words.
        """
        bridge = self.start(listen="systemd:domain=INET:index=0")
        bridge.process.start()
        eventually(lambda: bridge.process.pid is None, "the start to fail")
        self.assertEqual(
            "http.listen: systemd:domain=INET:index=0: systemd has handed over no such socket",
            bridge.process.log().splitlines()[-1],
        )

    def testCheck(self) -> None:
        """
        C{--check} says whether a configuration is all right, with the exit status, and starts nothing.
        """
        bridge = self.start()
        for http, status, said in (
            ({}, 0, f"{bridge.file}: all right\n"),
            ({"listn": "tcp:1", "max_body": 1}, 1, "http.listn: unknown key"),
        ):
            bridge.configure(http=http)
            ran = subprocess.run(
                [*bridge.process.command, "--check"],
                env=bridge.process.environment,
                cwd=self.folder,
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
            self.assertEqual(status, ran.returncode, ran)
            self.assertTrue((ran.stdout + ran.stderr).startswith(said), ran)
            self.assertEqual([], list(self.folder.iterdir()))

    def testUnits(self) -> None:
        """
        systemd itself finds no fault with the socket's unit beside the service's.
        """
        command = shutil.which("systemd-analyze")
        assert command, "systemd-analyze not found; this test needs it: apt-get install systemd"
        for name in ("restbridge.service", "restbridge.socket"):
            text = (CHECKOUT / "etc/systemd" / name).read_text("utf-8")
            (self.folder / name).write_text(text.replace("/opt/restbridge/bin/twistd", twistd()))
        ran = subprocess.run(
            [command, "verify", self.folder / "restbridge.socket"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        self.assertEqual((0, ""), (ran.returncode, ran.stderr), ran.stdout)
