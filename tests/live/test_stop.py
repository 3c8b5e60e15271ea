"""
The bridge is told to stop: under load, while it waits for somebody, without a server, and by systemd.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import unittest
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from typing import Any

from tests.live.bridge import BOT, CHECKOUT, Bridge, componentTable, twistd, usersTable
from tests.live.case import BRIDGE, LiveCase, Promises
from tests.live.client import Client, body, condition, kind
from tests.live.ejabberd import Ejabberd
from tests.live.eventsource import EventSource
from tests.live.process import LOOPBACK, eventually, freePorts, temporaryFolder
from tests.live.prosody import Prosody
from tests.live.receiver import JSON, Reply
from tests.live.relay import Wiretap
from tests.live.web import Answer, ask, askOver, asUser

LONGEST = 12.5
"""Seconds that a stop takes, whatever hangs."""

HEADERS = {"Authorization": BOT, "Content-Type": JSON, "Accept": JSON}


class Caller:
    """
    Makes requests one after another, as long as the C{with} block lasts and there is somebody to answer.

    @ivar answers: by the numbers of the requests.
    @ivar unanswered: the numbers of those that were cut off.
    """

    def __init__(self, bridge: Bridge, call: Callable[[int], Answer]) -> None:
        self.answers: dict[int, Answer] = {}
        self.unanswered: list[int] = []
        self._bridge = bridge
        self._call = call
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Caller:
        self._thread.start()
        eventually(lambda: len(self.answers) > 20, "requests to run")
        return self

    def __exit__(self, *error: object) -> None:
        self._enough.set()
        self._thread.join(30)

    def _run(self) -> None:
        for number in itertools.count():
            if self._enough.is_set() or self._bridge.process.pid is None:
                return
            try:
                self.answers[number] = self._call(number)
            except ConnectionRefusedError:
                # The port is closed.
                return
            except (OSError, HTTPException):
                self.unanswered.append(number)


class Kept:
    """
    Pings over one connection, and over the next one when that is closed.
    """

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection(LOOPBACK, port, timeout=30)

    def __call__(self, number: int) -> Answer:
        try:
            return askOver(self._connection, "GET", "/rest/ping/localhost", headers=HEADERS)
        except (OSError, HTTPException):
            self._connection.close()
            raise


class Stopping:
    """
    A bridge that is told to stop, the moment that this is made.
    """

    def __init__(self, bridge: Bridge, number: signal.Signals = signal.SIGTERM) -> None:
        self._bridge = bridge
        self.began = time.monotonic()
        self.signal(number)

    def signal(self, number: signal.Signals) -> None:
        """
        Send it a signal.
        """
        assert self._bridge.process.pid is not None
        os.kill(self._bridge.process.pid, number)

    @property
    def seconds(self) -> float:
        """
        How long ago it was told.
        """
        return time.monotonic() - self.began

    def wait(self) -> int | None:
        """
        Wait for its end.

        @return: the exit status.
        """
        eventually(lambda: self._bridge.process.pid is None, "the bridge to end", 20)
        return self._bridge.process.stop()


def background(call: Callable[[], Answer]) -> tuple[threading.Thread, list[Answer]]:
    """
    Ask in a thread.
    """
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(call()), daemon=True)
    thread.start()
    return thread, answers


class Stops(Promises):
    """
    What the bridge promises to those who are there when it stops.
    """

    needsBridge = False

    def setUp(self) -> None:
        super().setUp()
        self.wire = Wiretap(self.server.componentPort(BRIDGE))
        self.addCleanup(self.wire.close)
        self.serving = self.startBridge(
            componentTable(self.wire.port),
            callbacks=[{"url": self.receiver.url("/hook"), "format": JSON}],
            users={"localhost": usersTable(self.server.c2sPort)},
        )

    def testUnderLoad(self) -> None:
        """
        Every request that the bridge has taken is answered, every 202 has arrived, what waits for an answer
        of two seconds gets it, event streams end in order, and so does the XMPP stream.
        """
        alice, bob = self.login("alice"), self.login("bob")
        source = EventSource(self.serving.port, asUser("kate"))
        self.addCleanup(source.close)
        idle = self._idle()
        self.receiver.answer("/hook", Reply(200, JSON, '{"body": "late, but there"}', delay=2))
        with (
            Caller(self.serving, self._post) as posts,
            Caller(self.serving, Kept(self.serving.port)) as pings,
        ):
            asking, answers = self._askSilently(bob)
            alice.message(f"bot@{BRIDGE}", "are you there?")
            self.receiver.expect(lambda request: request.method == "POST")
            stopping = Stopping(self.serving)
            source.expectEnd(2)
            self.assertEqual(b"", idle.recv(1))
            self.assertLess(stopping.seconds, 2)
            time.sleep(max(0, 2 - stopping.seconds))
            bob.send(f"<iq type='result' to='bot@{BRIDGE}' id='slow'/>")
            asking.join(5)
            self.assertEqual(0, stopping.wait())
        self.assertLess(stopping.seconds, LONGEST)
        self.assertEqual([(200, "close")], [(each.status, each.headers["connection"]) for each in answers])
        alice.expect(lambda one: body(one) == "late, but there")
        self._assertAccounted(posts, alice)
        self._assertAnswered(pings, 200)
        self._assertClosedInOrder()

    def testNeverAnswered(self) -> None:
        """
        Who is never answered holds the stop up for ten seconds, and is told: the caller by 503, the sender of
        a message whose receiver hangs by an error.
        """
        alice, bob = self.login("alice"), self.login("bob")
        self.receiver.answer("/hook", Reply(delay=60))
        asking, answers = self._askSilently(bob)
        alice.message(f"bot@{BRIDGE}", "are you there?")
        self.receiver.expect(lambda request: request.method == "POST")
        stopping = Stopping(self.serving)
        self.assertEqual(0, stopping.wait())
        self.assertGreater(stopping.seconds, 9)
        self.assertLess(stopping.seconds, LONGEST)
        asking.join(5)
        self.assertEqual([503], [each.status for each in answers])
        self.assertRegex(answers[0].headers["retry-after"], r"^\d+$")
        error = alice.expect(lambda one: kind(one) == "message" and one.get("type") == "error")
        self.assertEqual(("wait", "recipient-unavailable"), condition(error))
        self.assertIn("has not stopped", self.serving.process.log())
        self._assertClosedInOrder()

    def testAtOnce(self) -> None:
        """
        With nothing under way a stop takes no time, and the next bridge is attached at once.
        """
        for _ in range(3):
            stopping = Stopping(self.serving)
            self.assertEqual(0, stopping.wait())
            self.assertLess(stopping.seconds, 3)
            self.serving.start()
            self.assertEqual(200, self.serving.get("/rest/ping/localhost").status)

    def _idle(self) -> socket.socket:
        """
        A connection that was used, and may be used again.
        """
        connection = HTTPConnection(LOOPBACK, self.serving.port, timeout=10)
        self.addCleanup(connection.close)
        self.assertEqual(200, askOver(connection, "GET", "/healthz").status)
        kept: Any = connection.sock
        assert isinstance(kept, socket.socket)
        return kept

    def _askSilently(self, client: Client) -> tuple[threading.Thread, list[Answer]]:
        """
        An IQ that C{client} has got, and not answered.
        """
        client.keepSilent()
        query = f'{{"kind": "iq", "type": "get", "id": "slow", "ping": true, "to": "{client.jid}"}}'
        asking = background(lambda: self.serving.post("/rest", query))
        client.expect(lambda one: kind(one) == "iq" and one.get("id") == "slow")
        return asking

    def _post(self, number: int) -> Answer:
        message = f'{{"kind": "message", "to": "alice@localhost", "type": "chat", "body": "number {number}"}}'
        return ask(self.serving.port, "POST", "/rest", message.encode(), HEADERS)

    def _assertAccounted(self, posts: Caller, alice: Client) -> None:
        """
        What was answered 202 has arrived, and nothing else.
        """
        self._assertAnswered(posts, 202)
        taken = {f"number {number}" for number, answer in posts.answers.items() if answer.status == 202}
        eventually(lambda: taken <= self._arrived(alice), "all messages to arrive")
        self.assertEqual(taken, self._arrived(alice))

    def _arrived(self, alice: Client) -> set[str | None]:
        found = alice.mailbox.all(lambda one: kind(one) == "message")
        return {text for text in map(body, found) if text is not None and text.startswith("number")}

    def _assertAnswered(self, caller: Caller, status: int) -> None:
        """
        The requests were answered; or not taken, as those are that cross with the closing of their
        connection, or of the port.
        """
        self.assertLessEqual(len(caller.unanswered), 2)
        for answer in caller.answers.values():
            self.assertIn(answer.status, (status, 503), answer.text())
            if answer.status == 503:
                self.assertEqual("close", answer.headers["connection"])
                self.assertRegex(answer.headers["retry-after"], r"^\d+$")

    def _assertClosedInOrder(self) -> None:
        """
        The bridge has said goodbye to the XMPP server (RFC 6120, section 4.4).
        """
        said = self.wire.sent()
        self.assertEqual((1, True), (said.count(b"</stream:stream>"), said.endswith(b"</stream:stream>")))


class OnProsody(Stops, LiveCase):
    """
    Attached to Prosody.
    """

    makeServer = Prosody


class OnEjabberd(Stops, LiveCase):
    """
    Attached to ejabberd.
    """

    makeServer = Ejabberd


class Alone(unittest.TestCase):
    """
    A bridge whose XMPP server isn't there.
    """

    def setUp(self) -> None:
        self.bridge = Bridge(componentTable(freePorts(1)[0]))
        self.addCleanup(self.bridge.close)
        self.addCleanup(lambda: self.assertEqual([], self.bridge.faults()))

    def testStop(self) -> None:
        """
        It stops at once, whichever signal tells it to.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            self.bridge.start(ready=False)
            stopping = Stopping(self.bridge, number)
            self.assertEqual(0, stopping.wait())
            self.assertLess(stopping.seconds, 3)

    def testAgain(self) -> None:
        """
        A second signal neither hastens a stop nor is a fault; nor does who comes late with half a request get
        no answer.
        """
        self.bridge.start(ready=False)
        with socket.create_connection((LOOPBACK, self.bridge.port), 10) as client:
            client.sendall(b"POST /rest HTTP/1.1\r\nHost: bridge\r\nContent-Length: 2\r\n\r\n{")
            # Answered behind what was read of the other.
            self.assertEqual(200, self.bridge.get("/healthz").status)
            stopping = Stopping(self.bridge)
            log = self.bridge.process.log
            eventually(lambda: "Received SIGTERM" in log(), "the signal to be noticed")
            for number in (signal.SIGTERM, signal.SIGINT):
                stopping.signal(number)
                eventually(lambda number=number: f"{number.name}; restbridge is stopping" in log(), "another")  # type: ignore[misc]
            client.sendall(b"}")
            answer = b"".join(iter(lambda: client.recv(4096), b""))
        self.assertRegex(answer, rb"(?s)\AHTTP/1.1 503 .*\r\nConnection: close\r\n")
        self.assertEqual(0, stopping.wait())

    def testNotified(self) -> None:
        """
        systemd hears that the bridge is ready though the XMPP server is down, why it is, that the reactor
        lives, and that it stops.
        """
        folder = self.enterContext(temporaryFolder("systemd"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(str(folder / "notify"))
            systemd.settimeout(10)
            heard: list[str] = []

            def hear(state: str, times: int = 1) -> None:
                while sum(each.startswith(state) for each in heard) < times:
                    heard.append(systemd.recv(4096).decode())

            environment = {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "500000"}
            self.bridge.process.environment |= environment
            self.bridge.process.start()
            hear("READY=1")
            self.assertEqual(["READY=1"], heard)
            self.assertEqual(200, self.bridge.get("/healthz", auth=None).status)
            hear("STATUS=can't connect", 1)
            hear("WATCHDOG=1", 5)
            stopping = Stopping(self.bridge)
            hear("STOPPING=1")
            self.assertEqual(0, stopping.wait())
            systemd.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    heard.append(systemd.recv(4096).decode())
        self.assertEqual(1, heard.count("STOPPING=1"))

    def testUnit(self) -> None:
        """
        systemd itself finds no fault with the unit file, and little to attack in what it starts.
        """
        command = shutil.which("systemd-analyze")
        assert command, "systemd-analyze not found; this test needs it: apt-get install systemd"
        folder = self.enterContext(temporaryFolder("unit"))
        unit = folder / "restbridge.service"
        text = (CHECKOUT / "etc/systemd/restbridge.service").read_text("utf-8")
        unit.write_text(text.replace("/opt/restbridge/bin/twistd", twistd()))
        for arguments in (["verify"], ["security", "--offline=true", "--threshold=20", "--no-pager"]):
            ran = subprocess.run(
                [command, *arguments, str(unit)], capture_output=True, text=True, timeout=30, check=False
            )
            self.assertEqual((0, ""), (ran.returncode, ran.stderr), ran.stdout)
