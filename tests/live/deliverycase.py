"""
What the tests of durable callbacks stand on: users who number what they write, bridges with a store each, and
what of it all must have arrived.
"""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.live.bridge import Bridge, componentTable, environment
from tests.live.case import BRIDGE, Promises
from tests.live.client import Client, kind
from tests.live.moody import (
    JSON,
    Call,
    Moody,
)
from tests.live.process import NotInTime, eventually
from tests.live.servers import ACCOUNTS

WITNESS = "witness"

SECRETS = [f"whsec_{b64encode(word * 6).decode()}" for word in (b"past", b"next")]
"""Two at once, as while an operator changes them."""

BRISK: dict[str, Any] = {
    "delivery": "durable",
    "format": JSON,
    "secret": SECRETS,
    "timeout": 2,
    "retries": [1],
    "probes": [1, 1],
}
"""A durable callback that loses no time over a failure."""


@dataclass(frozen=True)
class Sent:
    """
    What a user has sent.

    @ivar number: counts what this user sends, from 1 on; it is the text, too.
    @ivar at: when, on the monotonic clock.
    """

    number: int
    identity: str
    to: str
    at: float


class Sender:
    """
    A user who writes to several addresses in turn, and keeps account of it.
    """

    def __init__(self, client: Client, domains: Sequence[str]) -> None:
        self.client = client
        self.sent: list[Sent] = []
        self._witnesses = [f"{WITNESS}@{domain}" for domain in domains]
        self._addresses = itertools.cycle(
            [f"bot{number}@{domain}" for number in range(4) for domain in domains]
        )

    @property
    def jid(self) -> str:
        """
        Our bare address.
        """
        return self.client.jid.partition("/")[0]

    def write(self, count: int) -> None:
        """
        Write so many, each to the next address.
        """
        for _ in range(count):
            self._send(next(self._addresses))

    def callWitnesses(self) -> list[Sent]:
        """
        Write to the witness at each domain.
        """
        return [self._send(witness) for witness in self._witnesses]

    def writeUntil(self, enough: threading.Event, pause: float) -> None:
        """
        Write three every C{pause} seconds, one of them to the witness.
        """
        while not enough.wait(pause):
            self.write(2)
            self.callWitnesses()

    def accepted(self) -> list[Sent]:
        """
        What no error came back for.
        """
        errors = self.client.mailbox.all(lambda one: kind(one) == "message" and one.get("type") == "error")
        refused = {error.get("id") for error in errors}
        return [sent for sent in self.sent if sent.identity not in refused]

    def _send(self, to: str) -> Sent:
        number, at = len(self.sent) + 1, time.monotonic()
        sent = Sent(number, self.client.message(to, str(number)), to, at)
        self.sent.append(sent)
        return sent


@dataclass(frozen=True)
class Interruption:
    """
    A time without the bridge.

    @ivar witnessed: the last number that the witness had from each user when it began.
    """

    witnessed: dict[str, int]
    ended: float

    def mayHaveLost(self, user: str, sent: Sent) -> bool:
        """
        Whether something may have been on its way to the bridge when it was killed.
        """
        return sent.number > self.witnessed.get(user, 0) and sent.at < self.ended


class DeliveryCase(Promises):
    """
    What the tests of durable callbacks are made of.
    """

    needsBridge = False

    def freshStore(self) -> dict[str, Any]:
        """
        The section C{[store]} with an empty store.
        """
        raise NotImplementedError

    def moody(self) -> Moody:
        """
        A receiver for this test.
        """
        moody = Moody(SECRETS)
        self.addCleanup(moody.close)
        return moody

    def durable(
        self, *callbacks: dict[str, Any], domain: str = BRIDGE, store: dict[str, Any] | None = None
    ) -> Bridge:
        """
        A bridge for this test, with these callbacks.
        """
        component = componentTable(self.server.componentPort(domain), domain)
        return self.startBridge(component, callbacks=[*callbacks], store=store or self.freshStore())

    def calling(self, moody: Moody, **more: Any) -> dict[str, Any]:
        """
        A durable callback to this receiver.
        """
        return {"url": moody.url(), **BRISK, **more}

    def outbox(self, bridge: Bridge, *command: str) -> str:
        """
        What C{restbridge outbox} says to an operator.
        """
        program = str(Path(sys.executable).with_name("restbridge"))
        configuration = str(bridge.process.workingFolder / "restbridge.toml")
        done = subprocess.run(
            [program, "outbox", configuration, *command],
            env=bridge.process.environment | environment(),
            cwd=bridge.process.workingFolder,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        self.assertEqual(0, done.returncode, done.stderr)
        return done.stdout

    def senders(self, *domains: str) -> list[Sender]:
        """
        All users, ready to write to addresses at these domains.
        """
        return [Sender(self.login(account), domains or [BRIDGE]) for account in ACCOUNTS]

    def settle(self, senders: Iterable[Sender], witness: Moody) -> None:
        """
        Wait until all that these have sent is journalled.
        """
        for sender in senders:
            for sent in sender.callWitnesses():
                witness.expect(
                    partial(_is, (sender.jid, sent.to), sent.number), f"{sent.to} to be called", 40
                )

    def assertKept(
        self,
        senders: Iterable[Sender],
        calls: Callable[[], list[Call]],
        interruptions: Sequence[Interruption] = (),
        timeout: float = 40.0,
    ) -> None:
        """
        Everything accepted arrives: at least once, in order, signed, and repeated under one webhook-id only.
        """
        owed = {
            ((sender.jid, sent.to), str(sent.number))
            for sender in senders
            for sent in sender.accepted()
            if not any(each.mayHaveLost(sender.jid, sent) for each in interruptions)
        }

        def missing() -> list[tuple[tuple[str, str], str]]:
            return sorted(owed - {(call.conversation, call.text) for call in calls() if call.accepted})

        with contextlib.suppress(NotInTime):
            eventually(lambda: not missing(), "all calls", timeout)
        self.assertEqual(
            {"lost": [], "out of order": {}, "bad signatures": [], "of two ids": {}, "of one id": {}},
            {
                "lost": missing()[:20],
                "out of order": disorder(calls()),
                "bad signatures": [call for call in calls() if not call.genuine],
                "of two ids": _ambiguous(
                    ((call.conversation, call.text), call.webhookId) for call in calls()
                ),
                "of one id": _ambiguous((call.webhookId, (call.conversation, call.text)) for call in calls()),
            },
        )


def _is(conversation: tuple[str, str], number: int, call: Call) -> bool:
    return call.conversation == conversation and call.text == str(number)


def disorder(calls: Iterable[Call]) -> dict[tuple[str, str], list[int]]:
    """
    The conversations in which a message was tried after a later one, with the numbers as they were tried.
    """
    tried: dict[tuple[str, str], list[int]] = defaultdict(list)
    for call in calls:
        tried[call.conversation].append(int(call.text))
    return {conversation: numbers for conversation, numbers in tried.items() if numbers != sorted(numbers)}


def _ambiguous(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, set[Any]]:
    """
    What occurs together with more than one.
    """
    together: dict[Any, set[Any]] = defaultdict(set)
    for one, other in pairs:
        together[one].add(other)
    return {one: others for one, others in together.items() if len(others) > 1}
