"""
What an operator reads: metrics, and the log in both of its forms.
"""

from __future__ import annotations

import json
import os
import signal
import unittest
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ClassVar

from prometheus_client.parser import text_string_to_metric_families as readText

from tests.live.bridge import BEARER, PASSWORD, TOKEN, Bridge, componentTable
from tests.live.case import BRIDGE, LiveCase
from tests.live.process import LOOPBACK, eventually, freePorts
from tests.live.prosody import Prosody
from tests.live.receiver import JSON, XML, Receiver, Reply
from tests.live.servers import HOST, SECRET, passwordOf
from tests.live.users import WithUsers
from tests.live.web import ask, asUser, basic

MESSAGE = '{"kind": "message", "to": "alice@localhost", "body": "hello"}'
SPOOF = "<iq type='result' to='bot@bridge.localhost' id='guessed'/>"
SPOOFED = "restbridge_xmpp_spoofed_answers_total"
PING = '{"ping": true}'
KEY = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"


def listening(port: int) -> dict[str, Any]:
    """
    The section C{[metrics]}.
    """
    return {"listen": f"tcp:{port}:interface={LOOPBACK}"}


class Scrape:
    """
    What a bridge tells at one moment.
    """

    def __init__(self, port: int) -> None:
        answer = ask(port, "GET", "/metrics")
        assert answer.status == 200, answer
        families = list(readText(answer.body.decode()))
        self._samples = [sample for family in families for sample in family.samples]

    def sum(self, name: str, **labels: str) -> float:
        """
        The sum of all samples with these labels.
        """
        return sum(
            each.value
            for each in self._samples
            if each.name == name and labels.items() <= each.labels.items()
        )


class Operating(WithUsers):
    """
    A bridge with metrics, a direct callback and a durable one.
    """

    (port,) = freePorts(1)
    sections: ClassVar[dict[str, Any]] = {"metrics": listening(port)}

    @classmethod
    def callbacks(cls, receiver: Receiver) -> list[dict[str, Any]]:
        direct = {"url": receiver.url("/direct"), "name": "direct", "to": ["direct@bridge.localhost"]}
        durable = {"url": receiver.url("/durable"), "name": "durable", "delivery": "durable"}
        return [{**each, "format": JSON} for each in (direct, durable)]

    def scrape(self) -> Scrape:
        return Scrape(self.port)

    def until(self, name: str, value: float, **labels: str) -> None:
        """
        Wait until a metric has a value.
        """
        eventually(lambda: self.scrape().sum(name, **labels) == value, f"{name} {labels} to be {value}", 15)

    def testRequests(self) -> None:
        """
        Requests, and the stanzas that they become, are counted.
        """
        before = self.scrape()
        for _ in range(3):
            self.assertEqual(202, self.bridge.post("/rest", MESSAGE).status)
        self.assertEqual(200, self.bridge.get("/rest/ping/localhost").status)
        after = self.scrape()
        for count, name, labels in (
            (3, "restbridge_http_requests_total", {"route": "/rest", "code": "202"}),
            (3, "restbridge_http_request_duration_seconds_count", {"route": "/rest", "method": "POST"}),
            (1, "restbridge_http_requests_total", {"route": "/rest/<name>/<path:to>", "code": "200"}),
            (3, "restbridge_xmpp_stanzas_sent_total", {"domain": BRIDGE, "kind": "message"}),
        ):
            self.assertEqual(count, after.sum(name, **labels) - before.sum(name, **labels), name)
        self.assertEqual(1, after.sum("restbridge_xmpp_component_up", domain=BRIDGE))
        self.assertGreater(after.sum("process_open_fds"), 3)

    def testSessions(self) -> None:
        """
        Logins of users are told, and what goes over their streams.
        """
        name = self.newUser()
        before = self.scrape()
        self.assertEqual(200, self.ping(name).status)
        after = self.scrape()
        for metric in ("restbridge_sessions", "restbridge_xmpp_streams_total"):
            self.assertEqual(1, after.sum(metric, domain=HOST) - before.sum(metric, domain=HOST))
        labels = {"domain": HOST, "kind": "iq"}
        received = "restbridge_xmpp_stanzas_received_total"
        self.assertGreaterEqual(after.sum(received, **labels) - before.sum(received, **labels), 1)

    def testReconnect(self) -> None:
        """
        A stream that breaks is seen, and so is that it came back.
        """
        streams = self.scrape().sum("restbridge_xmpp_streams_total", domain=BRIDGE)
        self.relay.cut()
        self.until("restbridge_xmpp_streams_total", streams + 1, domain=BRIDGE)
        self.until("restbridge_xmpp_component_up", 1, domain=BRIDGE)

    def testPending(self) -> None:
        """
        IQs that wait, and answers to them from somebody else, are seen.
        """
        alice, bob = self.login("alice"), self.login("bob")
        alice.keepSilent()
        spoofed = self.scrape().sum(SPOOFED, domain=BRIDGE)
        iq = f"<iq type='get' id='guessed' to='{alice.jid}'><query xmlns='urn:x'/></iq>"
        with ThreadPoolExecutor() as threads:
            answer = threads.submit(
                self.bridge.post, "/rest", iq, XML, auth=BEARER, headers={"Prosody-Rest-Timeout": "4"}
            )
            self.until("restbridge_xmpp_pending_iqs", 1, domain=BRIDGE)
            bob.send(SPOOF)
            self.until(SPOOFED, spoofed + 1, domain=BRIDGE)
            self.assertEqual(504, answer.result().status)
        self.until("restbridge_xmpp_pending_iqs", 0, domain=BRIDGE)

    def testWebhooks(self) -> None:
        """
        Calls are counted by how they ended; what waits for a durable callback is told, with its age.
        """
        self.receiver.answer("/durable", Reply(503))
        alice = self.login("alice")
        before = self.scrape().sum("restbridge_webhook_attempts_total", callback="direct", outcome="2xx")
        alice.message("direct@bridge.localhost", "hello")
        self.until("restbridge_webhook_attempts_total", before + 1, callback="direct", outcome="2xx")
        alice.message("bot@bridge.localhost", "hello")
        self.until("restbridge_webhook_pending_messages", 1, callback="durable")
        scrape = self.scrape()
        self.assertGreater(scrape.sum("restbridge_webhook_oldest_message_age_seconds", callback="durable"), 0)
        self.assertGreaterEqual(
            scrape.sum("restbridge_webhook_attempts_total", callback="durable", outcome="5xx"), 1
        )
        self.receiver.answer("/durable", Reply(204))
        self.until("restbridge_webhook_pending_messages", 0, callback="durable")
        self.assertEqual(1, self.scrape().sum("restbridge_webhook_store_up"))


class OperatingProsody(Operating, LiveCase):
    makeServer = Prosody


class Logging(WithUsers):
    """
    Bridges of their own, with a log in JSON of all that there is to say.
    """

    needsBridge = False

    def logging(self, *arguments: str, **sections: Any) -> Bridge:
        component = componentTable(self.server.componentPort(BRIDGE))
        bridge = Bridge(component, sections.pop("callbacks", []), users=self.users(self.server), **sections)
        self.addCleanup(bridge.close)
        self.watch(bridge)
        bridge.process.command += arguments
        return bridge.start()

    def lines(self, bridge: Bridge) -> list[dict[str, Any]]:
        return [json.loads(line) for line in bridge.process.log().splitlines()]

    def testRequest(self) -> None:
        """
        A request's lines are found by its id: the stanza that is sent, its answer, and the end.
        """
        bridge = self.logging("--log-format", "json", "--log-level", "xmpp=debug")
        for number in range(3):
            name = {"X-Request-ID": f"mine-{number}"}
            answer = bridge.post("/rest/iq/get/localhost", PING, headers=name)
            self.assertEqual((200, f"mine-{number}"), (answer.status, answer.headers["x-request-id"]))
        sent, received, done = (line for line in self.lines(bridge) if line.get("request") == "mine-1")
        self.assertEqual(["debug", "debug", "info"], [line["level"] for line in (sent, received, done)])
        self.assertEqual(("sent", "iq", HOST), (sent["way"], sent["kind"], sent["recipient"]))
        self.assertEqual(("received", sent["id"]), (received["way"], received["id"]))
        self.assertEqual(("POST", 200), (done["method"], done["status"]))

    def isSaid(self, bridge: Bridge, words: str) -> bool:
        return words in bridge.process.log()

    def testSecrets(self) -> None:
        """
        Whatever secrets and texts a bridge is told, its log has none of them, even when it says all that
        there is to say.
        """
        self.receiver.answer("/hook", Reply(500, body="body-of-reply"))
        url = self.receiver.url("/hook?key=secret-of-query").replace("http://", "http://hook:secret-of-url@")
        callback = {
            "url": url,
            "secret": KEY,
            "headers": {"X-Key": "secret-of-header"},
            "format": JSON,
        }
        port, nobody = freePorts(2)
        dead = {"url": f"http://hook:secret-of-url@{LOOPBACK}:{nobody}/?key=secret-of-query"}
        bridge = self.logging(
            *("--log-format", "json", "--log-level", "debug"),
            callbacks=[
                {**callback, "delivery": "durable", "to": ["durable@bridge.localhost"]},
                {**dead, "to": ["dead@bridge.localhost"]},
                {**dead, "delivery": "durable", "to": ["dead-durable@bridge.localhost"]},
                callback,
            ],
            metrics=listening(port),
        )
        said = "body-of-message"
        wrong = ("Bearer wrong-token", basic("bot", "wrong-password"))
        for auth in (BEARER, basic("bot", PASSWORD), asUser("alice"), *wrong):
            message = json.dumps({"kind": "message", "to": "bot@bridge.localhost", "body": said})
            name = {"X-Request-ID": "{secret-id}"}
            bridge.post("/rest?key=secret-of-caller", message, auth=auth, headers=name)
            bridge.post("/rest", f"<message><body>{said}", "application/xmpp+xml", auth=auth)
        asking = asUser("alice", "wrong-password")
        self.assertEqual(403, bridge.get("/rest/ping/localhost", auth=asking).status)
        self.receiver.expect(lambda request: said.encode() in request.body)
        alice = self.login("alice")
        for local in ("dead", "dead-durable", "durable"):
            alice.message(f"{local}@bridge.localhost", said)
        self.receiver.expect(lambda request: said.encode() in request.body)
        for words in ("could not be delivered", "does not answer yet", "fails: "):
            eventually(partial(self.isSaid, bridge, words), f"the log to tell of what {words}")
        metrics = ask(port, "GET", "/metrics").body.decode()
        bridge.process.stop()
        log = bridge.process.log()
        self.assertGreater(len(self.lines(bridge)), 30)
        for text in (
            said,
            "body-of-reply",
            "secret-of",
            "secret-id",
            KEY,
            KEY[6:],
            TOKEN,
            PASSWORD,
            "wrong-",
        ):
            self.assertNotIn(text, log)
            self.assertNotIn(text, metrics)
        for value in (
            passwordOf("alice"),
            BEARER.split()[1],
            basic("bot", PASSWORD).split()[1],
            f'"{SECRET}"',
        ):
            self.assertNotIn(value, log)


class LoggingProsody(Logging, LiveCase):
    makeServer = Prosody


class FileTests(unittest.TestCase):
    """
    Bridges without a server, which is all the same to their logs.
    """

    def bridge(self, *arguments: str, before: tuple[str, ...] = ()) -> Bridge:
        bridge = Bridge(componentTable(freePorts(1)[0]))
        self.addCleanup(bridge.close)
        command = bridge.process.command
        command[command.index("restbridge") : command.index("restbridge")] = before
        command += arguments
        return bridge

    def hasEnded(self, bridge: Bridge) -> bool:
        return bridge.process.pid is None

    def testKilled(self) -> None:
        """
        The line about a request is there when its client has the answer, also if the bridge dies then.
        """
        bridge = self.bridge().start(ready=False)
        bridge.get("/healthz")
        answer = bridge.get("/nope")
        bridge.process.kill()
        self.assertRegex(
            bridge.process.log().splitlines()[-1],
            r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} \[restbridge\.web\.site\.BridgeSite#info "
            + answer.headers["x-request-id"]
            + r"\] 127\.0\.0\.1 GET /nope 404 \d+ \d+\.\dms$",
        )

    def testRotated(self) -> None:
        """
        A log file can be moved away: SIGUSR1 begins another one.
        """
        bridge = self.bridge(before=("--logfile", "bridge.log")).start(ready=False)
        file = bridge.process.workingFolder / "bridge.log"
        self.assertIn("/healthz", file.read_text("utf-8"))
        assert bridge.process.pid
        os.kill(bridge.process.pid, signal.SIGUSR1)
        eventually((file.parent / "bridge.log.1").exists, "the log to be rotated")
        bridge.get("/nope")
        self.assertIn("/nope", file.read_text())
        self.assertNotIn("/healthz", file.read_text())

    def testRefused(self) -> None:
        """
        What can't be chosen is said, and ends the start.
        """
        for arguments, word in (
            (("--log-format", "xml"), "'xml'"),
            (("--log-level", "web=loud"), "'loud'"),
            (("--log-level", "nose=info"), "'nose'"),
        ):
            bridge = self.bridge(*arguments)
            bridge.process.start()
            eventually(partial(self.hasEnded, bridge), "the bridge to end")
            self.assertIn(word, bridge.process.log())
            self.assertEqual(1, bridge.process.stop())

    def testQuiet(self) -> None:
        """
        Who doesn't want the access log has none of it.
        """
        bridge = self.bridge("--log-level", "web.site=warn").start(ready=False)
        bridge.get("/nope")
        self.assertNotIn("/nope", bridge.process.log())
        self.assertIn("BridgeSite starting", bridge.process.log())
