"""
Webhooks whose receivers are hostile, or where they must not be: what the bridge reads of them, whom it calls.

Who is written to decides the callback, as in L{tests.live.test_webhook}.
"""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element

from tests.live.bridge import Bridge, componentTable
from tests.live.case import BRIDGE, LiveCase
from tests.live.client import Client, body, condition, kind
from tests.live.process import LOOPBACK, temporaryFolder
from tests.live.prosody import Prosody
from tests.live.receiver import JSON, XML, Receiver, Reply
from tests.live.servers import writeCertificate

UNREACHABLE = ("wait", "recipient-unavailable")
SPELLINGS = {
    "name": "localhost",
    "plain": "127.0.0.1",
    "short": "127.1",
    "number": "2130706433",
    "hexadecimal": "0x7f.1",
    "octal": "0177.0.0.1",
    "unspecified": "0.0.0.0",
    "mapped": "[::ffff:127.0.0.1]",
    "compatible": "[::127.0.0.1]",
    "wide": "\uff11\uff12\uff17.0.0.1",
}
"""Ways to write the loopback address, which all lead there or nowhere."""

GIGABYTE = 1024 * 1024 * 1024


class Raw:
    """
    A server that writes what no HTTP server would.

    @ivar accepted: how many connections came.
    @ivar read: what came by them.
    """

    def __init__(self, write: Callable[[socket.socket], None]) -> None:
        """
        @param write: called with each connection, when something has come by it.
        """
        self.accepted = 0
        self.read = b""
        self.closing = threading.Event()
        self._write = write
        self._listener = socket.create_server((LOOPBACK, 0))
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def close(self) -> None:
        self.closing.set()
        self._listener.close()

    def _serve(self) -> None:
        while not self.closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        try:
            with self.wrapped(connection) as wrapped:
                self.read += wrapped.recv(65536)
                self._write(wrapped)
        except OSError:
            """
            The bridge has had enough of it.
            """

    def wrapped(self, connection: socket.socket) -> socket.socket:
        """
        The connection as it is spoken on.
        """
        return connection


class Secure(Raw):
    """
    One that speaks TLS with the certificate in a file.
    """

    def __init__(self, write: Callable[[socket.socket], None], certificate: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        super().__init__(write)

    def wrapped(self, connection: socket.socket) -> socket.socket:
        return self._context.wrap_socket(connection, server_side=True)


def accepts(connection: socket.socket) -> None:
    """
    204, as a receiver should.
    """
    connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")


def endlessly(begun: bytes, line: bytes) -> Callable[[socket.socket], None]:
    """
    An answer without an end, as fast as it is read.
    """

    def write(connection: socket.socket) -> None:
        connection.sendall(begun)
        while True:
            connection.sendall(line * (65536 // len(line)))

    return write


def slowly(connection: socket.socket) -> None:
    """
    An answer byte by byte.
    """
    for byte in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000:
        connection.sendall(bytes([byte]))
        time.sleep(0.2)


RAW = {
    "headers": endlessly(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "short-headers": endlessly(b"HTTP/1.1 200 OK\r\n", b":\n"),
    "folded": endlessly(b"HTTP/1.1 200 OK\r\nX: y\r\n", b" y\r\n"),
    "status": endlessly(b"HTTP/1.1 200 ", b"O"),
    "interim": endlessly(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": endlessly(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", b"{"),
    "drip": slowly,
}


class Safety(LiveCase):
    """
    What holds against receivers.
    """

    makeServer = Prosody

    @classmethod
    def callbacks(cls, receiver: Receiver) -> list[dict[str, Any]]:
        """
        One callback for each.
        """
        port = urlsplit(receiver.url("/")).port
        urls: dict[str, dict[str, Any]] = {
            name: {"url": receiver.url(f"/{name}"), "format": "json"} for name in ("redirect", "bomb", "good")
        }
        for name, write in RAW.items():
            url = f"http://{LOOPBACK}:{Raw(write).port}/"
            urls[name] = {"url": url, "format": "json", "timeout": 3}
        for name, host in SPELLINGS.items():
            url = f"http://{host}:{port}/private"
            urls[f"private-{name}"] = {"url": url, "allow_private": False, "timeout": 5}
        urls["durable"] = {
            "url": receiver.url("/durable"),
            "delivery": "durable",
            "allow_private": False,
            "probes": [0.1, 0.2],
        }
        named = [{**callback, "to": [f"{name}-bot@{BRIDGE}"]} for name, callback in urls.items()]
        return [*named, {"url": receiver.url("/own"), "to": [f"bot@{BRIDGE}"]}]

    def testPrivate(self) -> None:
        """
        With C{allow_private = false} the bridge calls nobody on its own machine, however the address is
        written; the sender is told what is told when nobody is there, and the log says why.
        """
        alice = self.login("alice")
        since = self.bridge.process.logSize()
        for name in SPELLINGS:
            with self.part(name):
                self.assertEqual(UNREACHABLE, condition(self._bounced(alice, f"private-{name}")))
        self.assertEqual([], self.receiver.requests.all(lambda one: True))
        self.assertEqual([], self.receiver.probes.all(lambda one: one.path == "/private"))
        log = self.bridge.process.log(since)
        for words in ("127.0.0.1 has the address 127.0.0.1 (loopback)", "0.0.0.0 (unspecified)"):
            self.assertIn(words, log)
        self.assertGood(alice)

    def testPrivateDurable(self) -> None:
        """
        A durable callback is tried again, as the operator may correct it, and the log says why.
        """
        alice = self.login("alice")
        since = self.bridge.process.logSize()
        sent = [alice.message(f"durable-bot@{BRIDGE}", text) for text in ("one", "two")]
        time.sleep(1.5)
        self.assertEqual([], self.receiver.requests.all(lambda one: True))
        self.assertEqual([], alice.mailbox.all(lambda one: one.get("id") in sent))
        self.assertIn("(loopback), and allow_private is false", self.bridge.process.log(since))

    def testRedirect(self) -> None:
        """
        No redirect is followed.
        """
        alice = self.login("alice")
        for status in (301, 302, 303, 307, 308):
            with self.part(str(status)):
                self.receiver.answer(
                    "/redirect", Reply(status, headers={"Location": self.receiver.url("/good")})
                )
                error = self._bounced(alice, "redirect")
                self.assertEqual(("cancel", "undefined-condition"), condition(error))
        self.assertEqual(
            ["/redirect"] * 5, [one.path for one in self.receiver.requests.all(lambda one: True)]
        )

    def testBomb(self) -> None:
        """
        A body that came compressed, though it was asked for as it is, is not inflated: neither a megabyte
        that would be a gigabyte, nor a small one.
        """
        alice = self.login("alice")
        headers = {"Content-Encoding": "gzip"}
        before = self._memory()
        self.receiver.answer("/bomb", Reply(200, JSON, bomb(), headers))
        self.assertGreater(len(bomb()), 1_000_000)
        began = time.monotonic()
        self.assertEqual(UNREACHABLE, condition(self._bounced(alice, "bomb")))
        self.assertLess(time.monotonic() - began, 5)
        for small in (bomb()[:200_000], gzip.compress(b'{"body": "hidden"}')):
            self.receiver.answer("/bomb", Reply(200, JSON, small, headers))
            alice.message(f"bomb-bot@{BRIDGE}", "?")
            self.assertIsNone(body(alice.expect(lambda one: kind(one) == "message")))
        self.assertLess(self._memory() - before, 32 * 1024)
        request = self.receiver.expect(lambda one: one.path == "/bomb")
        self.assertEqual("identity", request.headers["accept-encoding"])

    def testEndless(self) -> None:
        """
        An answer without an end is cut off, whatever it is made of; meanwhile others are served, and memory
        stays what it was.
        """
        alice = self.login("alice")
        self.assertGood(alice)
        before = self._memory()
        for name in RAW:
            with self.part(name):
                sent, began = alice.message(f"{name}-bot@{BRIDGE}", "?"), time.monotonic()
                self.assertGood(alice)
                error = alice.expect(_errorTo(sent), 6)
                self.assertEqual("wait", condition(error)[0])
                if name == "drip":
                    self.assertEqual("remote-server-timeout", condition(error)[1])
                    self.assertGreater(time.monotonic() - began, 2.5)
                else:
                    self.assertEqual(UNREACHABLE, condition(error))
        self.assertLess(self._memory() - before, 16 * 1024)

    def testImpostor(self) -> None:
        """
        The answer of somebody who wasn't asked is dropped: the caller gets that of whom was, and no webhook
        is called for the other.
        """
        alice, bob = self.login("alice"), self.login("bob")
        alice.keepSilent()
        request = f"<iq type='get' to='{alice.jid}' id='known'><question xmlns='urn:example:a'/></iq>"
        with ThreadPoolExecutor(1) as thread:
            asked = thread.submit(self.bridge.post, "/rest", request, XML, XML)
            alice.expect(lambda one: one.get("id") == "known")
            for answer in ("result", "error"):
                lie = f"<iq type='{answer}' to='bot@{BRIDGE}' id='known'><lie xmlns='urn:example:a'/></iq>"
                bob.send(lie)
            # What bob sent has arrived when this has.
            bob.request(f"nobody@{BRIDGE}", "<ping xmlns='urn:xmpp:ping'/>")
            self.assertFalse(asked.done())
            alice.send(f"<iq type='result' to='bot@{BRIDGE}' id='known'><truth xmlns='urn:example:a'/></iq>")
            found = asked.result(10)
        self.assertEqual((200, alice.jid), (found.status, found.xml().get("from")))
        self.assertIn("truth", found.text())
        self.assertEqual([], self.receiver.requests.all(lambda one: True))

    def testForeign(self) -> None:
        """
        A webhook's answer speaks for the address that was written to, whatever it says.
        """
        reply = f"<message from='bot@{BRIDGE}' to='bob@localhost'><body>x</body></message>"
        self.receiver.answer("/good", Reply(200, XML, reply))
        alice, bob = self.login("alice"), self.login("bob")
        alice.message(f"good-bot@{BRIDGE}", "?")
        answer = alice.expect(lambda one: kind(one) == "message")
        self.assertEqual((f"good-bot@{BRIDGE}", alice.jid), (answer.get("from"), answer.get("to")))
        bob.request(BRIDGE, "<ping xmlns='urn:xmpp:ping'/>")
        self.assertEqual([], bob.mailbox.all(lambda one: kind(one) == "message"))

    def assertGood(self, alice: Client) -> None:
        """
        Another callback is called, and answers, within a second.
        """
        self.receiver.answer("/good", Reply(200, JSON, '{"body": "good"}'))
        began = time.monotonic()
        alice.message(f"good-bot@{BRIDGE}", "?")
        self.assertEqual("good", body(alice.expect(lambda one: one.get("from") == f"good-bot@{BRIDGE}")))
        self.assertLess(time.monotonic() - began, 1)

    def _bounced(self, client: Client, name: str) -> Element:
        return client.expect(_errorTo(client.message(f"{name}-bot@{BRIDGE}", "anyone there?")))

    def _memory(self) -> int:
        """
        The most that the bridge has had in memory so far, in KiB.
        """
        status = Path(f"/proc/{self.bridge.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0])


class Verified(LiveCase):
    """
    TLS: the receiver is who its certificate says, and that must be the URL's host.
    """

    makeServer = Prosody
    needsBridge = False

    def testCertificate(self) -> None:
        """
        A receiver is called over TLS if its certificate is trusted and for the host of the URL; nothing is
        said to any other.
        """
        folder = Path(self.enterContext(temporaryFolder("receivers")))
        for name, host in (("right", "localhost"), ("other", "other.example"), ("unknown", "localhost")):
            writeCertificate(folder / f"{name}.pem", host)
        trusted = folder / "trusted.pem"
        trusted.write_bytes(b"".join((folder / f"{name}.pem").read_bytes() for name in ("right", "other")))
        servers = {name: Secure(accepts, folder / f"{name}.pem") for name in ("right", "other", "unknown")}
        for server in servers.values():
            self.addCleanup(server.close)
        callbacks = [
            {"url": f"https://localhost:{server.port}/", "format": "json", "to": [f"{name}-bot@{BRIDGE}"]}
            for name, server in servers.items()
        ]
        bridge = Bridge(componentTable(self.relay.port), callbacks)
        self.addCleanup(bridge.close)
        bridge.process.environment["SSL_CERT_FILE"] = str(trusted)
        self.watch(bridge)
        bridge.start()
        alice = self.login("alice")
        expected = {
            "right": ("result", (None, "")),
            "other": ("error", UNREACHABLE),
            "unknown": ("error", UNREACHABLE),
        }
        for name, (answer, error) in expected.items():
            with self.part(name):
                found = alice.request(f"{name}-bot@{BRIDGE}", "<ping xmlns='urn:xmpp:ping'/>")
                self.assertEqual((answer, error), (found.get("type"), condition(found)))
                self.assertGreater(servers[name].accepted, 0)
        self.assertIn(b"POST / HTTP/1.1", servers["right"].read)
        self.assertEqual((b"", b""), (servers["other"].read, servers["unknown"].read))


@cache
def bomb() -> bytes:
    """
    A gigabyte of nothing, compressed.
    """
    packer = zlib.compressobj(9, wbits=31)
    piece = bytes(1024 * 1024)
    return b"".join([*(packer.compress(piece) for _ in range(GIGABYTE // len(piece))), packer.flush()])


def _errorTo(sent: str) -> Callable[[Element], bool]:
    """
    A message of type error with this id.
    """
    return lambda one: kind(one) == "message" and one.get("type") == "error" and one.get("id") == sent
