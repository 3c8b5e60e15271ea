"""
What the bridge is like while it is attacked, and afterwards.

Attacks are made one after the other, with the probe beside them: L{tests.live.abuse}.
"""

from __future__ import annotations

import gzip
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

from slixmpp.xmlstream.xmlstream import NotConnectedError

from tests.live.abuse import addresses, bodies, credentials, stanzas, wire
from tests.live.abuse.attack import Attack, faults, make
from tests.live.abuse.probe import Probe, probeTable
from tests.live.abuse.stanzas import CLOSED, DIRECT, DURABLE, NOTHING, Hostile
from tests.live.bridge import BEARER, botTable, componentTable
from tests.live.case import BRIDGE, LiveCase
from tests.live.client import Client
from tests.live.ejabberd import Ejabberd
from tests.live.process import LOOPBACK, NotInTime, eventually
from tests.live.prosody import Prosody
from tests.live.receiver import JSON, XML, Receiver, Reply
from tests.live.servers import HOST
from tests.live.test_webhook_safety import RAW, Raw
from tests.live.users import PING, WithUsers, numbers
from tests.live.web import asUser

STALL = 0.25
"""Seconds by which the attacked bridge may answer later than one that idles."""

TRIES = 3
"""How often an attack is made before a stall is believed: an attack's own comes back each time."""

GROWTH = 1.1
"""What of its memory the bridge may have afterwards."""

FIELDS = "".join(f"<field var='{number}'><value>{number}</value></field>" for number in range(4_000))
LARGE = "".join(
    f"<message to='{to}'><x xmlns='jabber:x:data' type='form'>{FIELDS}</x></message>"
    for to in (DIRECT, DURABLE)
)
"""What good users send, if a good deal of it."""


class Abuse(WithUsers):
    """
    What holds under attack: see L{_underAttack}.
    """

    sections: ClassVar[dict[str, Any]] = {
        "accounts": {"bot": botTable(), **probeTable()},
        "http": {"header_timeout": 1, "body_timeout": 1},
    }

    @classmethod
    def callbacks(cls, receiver: Receiver) -> list[dict[str, Any]]:
        """
        A direct and a durable one, and those whose receivers misbehave.
        """
        urls = {name: receiver.url(f"/{name}") for name in ("direct", "durable", "bomb", "loop", "hang")}
        for name, answer in (("endless", "body"), ("headers", "headers")):
            urls[name] = f"http://{LOOPBACK}:{Raw(RAW[answer]).port}/"
        return [
            {
                "url": url,
                "to": [f"{name}-*@{BRIDGE}"],
                "format": "json",
                "timeout": 2,
                "delivery": "durable" if name == "durable" else "direct",
            }
            for name, url in urls.items()
        ]

    def setUp(self) -> None:
        """
        The probe, beside an idle bridge.
        """
        super().setUp()
        component = componentTable(self.server.componentPort("bridge2.localhost"), "bridge2.localhost")
        idle = self.startBridge(component, accounts=probeTable())
        self.probe = Probe(self.bridge.port, idle.port)
        self.addCleanup(self.probe.close)
        misbehave(self.receiver)

    def _underAttack(self, attacks: Iterable[tuple[str, Callable[[], list[str]]]]) -> None:
        """
        Every attack is answered as it says; meanwhile others are served as if nothing were. The stream to
        the server stays, and afterwards the memory is what it was.

        @param attacks: each with its name, and what makes it and says what was wrong.
        """
        self._warmUp()
        time.sleep(1)
        began = time.monotonic()
        before = self._memory()
        for name, attack in attacks:
            with self.part(name):
                self._attack(name, attack)
        self.probe.settle(time.monotonic())
        self.assertEqual([], self.probe.failures(began)[:5])
        self.assertAttached()
        eventually(lambda: self._memory() < before * GROWTH, self._grown(before), 15)

    def _attack(self, name: str, attack: Callable[[], list[str]]) -> None:
        stalls = []
        for _ in range(TRIES):
            began, waited = time.monotonic(), self._waited()
            wrong = attack()
            ended = time.monotonic()
            self.probe.settle(ended)
            self.assertEqual([], wrong)
            excess, told = self.probe.excess(began, ended)
            delay = self._waited() - waited
            if excess - delay < STALL:
                return
            stalls.append(f"{told}; {delay * 1000:.0f} ms for want of a processor")
        self.fail(f"others wait during {name!r}: {stalls}")

    def _waited(self) -> float:
        """
        Seconds that the bridge was ready to run and others ran (proc(5), C{schedstat}).
        """
        return int(Path(f"/proc/{self.bridge.process.pid}/schedstat").read_text().split()[1]) / 1e9

    def _grown(self, before: int) -> str:
        return f"memory, {self._memory()} KiB now, to be what it was, {before} KiB"

    def _memory(self) -> int:
        """
        What the bridge has in memory, in KiB.
        """
        status = Path(f"/proc/{self.bridge.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    def _warmUp(self) -> None:
        """
        What good callers do, large and small, in every form.
        """
        text = "x" * 150_000
        message = f'{{"to": "{HOST}", "body": "{text}"}}'
        for _ in range(10):
            self.bridge.post("/rest/echo", message, auth=BEARER)
            self.bridge.post("/rest/echo", f"<message><body>{text}</body></message>", XML, XML, auth=BEARER)
            self.bridge.post(
                "/rest/echo", "<message>" + "<a/>" * 30_000 + "</message>", XML, XML, auth=BEARER
            )
            self.bridge.post("/rest/echo", '{"body": [' + "0," * 60_000 + "0]}", auth=BEARER)
            self.bridge.get("/api/contacts", auth=asUser("alice"))
            self.bridge.get("/openapi.json")


class Requests(Abuse):
    """
    Attacks over HTTP.
    """

    def _http(self, attacks: Iterable[Attack]) -> Iterator[tuple[str, Callable[[], list[str]]]]:
        for attack in attacks:
            yield attack.name, lambda attack=attack: faults(attack, make(attack, self.bridge.port))  # type: ignore[misc]  # bound now


class Protocol(Requests):
    """
    Attacks on HTTP, and on the readers of bodies.
    """

    def testProbe(self) -> None:
        """
        A bridge that is held up is found out, and one that isn't is not.
        """

        def hold() -> list[str]:
            assert self.bridge.process.pid is not None
            os.kill(self.bridge.process.pid, signal.SIGSTOP)
            time.sleep(2 * STALL)
            os.kill(self.bridge.process.pid, signal.SIGCONT)
            return []

        self.probe.settle(time.monotonic())
        with self.assertRaisesRegex(AssertionError, "others wait"):
            self._attack("held up", hold)
        self._attack("not held up", list)

    def testWire(self) -> None:
        """
        HTTP itself.
        """
        self._underAttack(self._http(chain(wire.framing(), wire.headers(), wire.patience(), wire.paths())))

    def testBodies(self) -> None:
        """
        The readers of bodies.
        """
        self._underAttack(self._http(chain(bodies.json(), bodies.cbor(), bodies.xml(), bodies.others())))


class Identity(Requests):
    """
    Attacks by who one says to be.
    """

    def testCredentials(self) -> None:
        """
        Credentials, and headers whose values are looked at.
        """
        groups = (
            credentials.refused(),
            credentials.headers(),
            credentials.users(),
            credentials.guesses(),
        )
        self._underAttack(self._http(chain(*groups)))


class Addresses(Requests):
    """
    Attacks by addresses.
    """

    def testAddresses(self) -> None:
        """
        To whom one writes, and from whom.
        """
        self._underAttack(self._http(chain(addresses.impossible(), addresses.foreign())))


class Stanzas(Abuse):
    """
    Attacks over XMPP.
    """

    def testStanzas(self) -> None:
        """
        What users send, while receivers of webhooks misbehave.
        """
        self._mallory = self.login("bob")
        self._mallory.send(LARGE * 10)
        groups = (
            stanzas.shapes(),
            stanzas.addresses(),
            stanzas.answers(),
            stanzas.floods(),
            stanzas.receivers(),
        )
        self._underAttack((each.name, lambda each=each: self._send(each)) for each in chain(*groups))  # type: ignore[misc]  # bound now

    def _send(self, hostile: Hostile) -> list[str]:
        """
        Send, and say what came back and mustn't have.
        """
        back = self._backFrom(hostile.sends())
        found = []
        if not set(back) <= hostile.expects:
            found.append(f"came back: {sorted(set(back))}")
        if len(back) > max(1, hostile.most):
            found.append(f"came back: {len(back)} stanzas")
        return found

    def _backFrom(self, xml: str) -> list[str]:
        """
        The types of the stanzas that the component sends for this, or what stands for none.
        """
        client = self._mallory
        self._quiet(client)
        try:
            # Prosody as Debian 13 has it reads a long tag when as much again has come behind it.
            client.send(xml + " " * len(xml))
            self._synchronize(client)
        except NotConnectedError:
            self._mallory = self.login("bob")
            return [CLOSED]
        back = client.mailbox.all(lambda one: BRIDGE in (one.get("from") or ""))
        return [one.get("type") or "normal" for one in back] or [NOTHING]

    def _quiet(self, client: Client) -> None:
        """
        Wait until nothing comes any more that was for an earlier attack, and forget it.
        """
        came = -1
        while came != (came := len(client.mailbox.all(lambda one: True))):
            time.sleep(0.05)
        client.mailbox.clear()

    def _synchronize(self, client: Client) -> None:
        """
        Wait until the component has read all that C{client} has sent.

        @raise NotConnectedError: the server has ended the client's stream.
        """
        used = f"last{next(numbers)}"
        client.send(f"<iq type='get' to='{BRIDGE}' id='{used}'>{PING}</iq>")
        deadline = time.monotonic() + 10
        while True:
            try:
                client.expect(lambda one: one.get("id") == used, 0.2)
            except NotInTime:
                assert time.monotonic() < deadline, "the component doesn't answer"
                client.send(" ")
            else:
                return


def misbehave(receiver: Receiver) -> None:
    """
    Let the receiver of some callbacks do what none should.
    """
    packed = gzip.compress(bytes(50_000_000), 9)
    receiver.answer("/hang", Reply(200, delay=10))
    receiver.answer("/bomb", Reply(200, JSON, packed, {"Content-Encoding": "gzip"}))
    receiver.answer("/loop", Reply(200, JSON, f'{{"type": "error", "to": "loop-bot@{BRIDGE}", "body": "x"}}'))


class OnProsody(Protocol, Identity, Addresses, Stanzas, LiveCase):
    """
    Everything, with Prosody at the other end.
    """

    makeServer = Prosody


class OnEjabberd(Stanzas, LiveCase):
    """
    What reaches the server, with ejabberd there.
    """

    makeServer = Ejabberd
