"""
L{restbridge.webhook.outbox}, with all that is under it, against a model: whatever happens, nothing is lost,
and each conversation is delivered in its order.
"""

from __future__ import annotations

import os
from typing import Any
from unittest.mock import patch

import attrs
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import Deferred, succeed
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish.domish import Element

from restbridge.config import Callback
from restbridge.stanzas.jid import JID
from restbridge.stanzas.media import TEXT
from restbridge.store import journal as journalModule
from restbridge.store.database import StoreFailed
from restbridge.store.journal import LEASE, Journal
from restbridge.store.sqlite import SQLiteConnection
from restbridge.webhook import conversations, health, outbox
from restbridge.webhook.durable import Durable
from restbridge.webhook.outbox import Outbox
from restbridge.webhook.post import Response
from restbridge.webhook.replies import Replies
from tests.store.fakes import FakeStore
from tests.webhook.fakes import response, stanza

EXAMPLES = int(os.environ.get("RESTBRIDGE_OUTBOX_EXAMPLES", "100"))
"""Histories that are tried; more of them take longer."""

HISTORIES = settings(
    max_examples=EXAMPLES,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

DOMAINS = ("one.localhost", "two.localhost")
"""Of two bridges that share a database."""

PAGE = 3
MAX_HELD = 3
CLAIMED = 2
AT_ONCE = 2

SETTINGS = Callback(url="http://h/", delivery="durable", retries=(5.0, 30.0), probes=(1.0, 8.0), giveUp=300.0)

PAUSE = 7
"""Seconds that a receiver asks for."""

OUTCOMES: dict[str, Response | Exception] = {
    "200": response(200),
    "200 with a reply": response(200, "hi", TEXT),
    "400": response(400, phrase="Bad Request"),
    "410": response(410, phrase="Gone"),
    "500": response(500),
    "503": response(503),
    "429": response(429, headers={"Retry-After": str(PAUSE)}),
    "time-out": DeferredTimeout(),
    "refused": Refused(),
}

FINAL = {"200", "200 with a reply", "400", "410"}

Conversation = tuple[str, str]


@attrs.frozen(eq=False)
class Open:
    """
    A call that nobody has answered.

    @ivar probe: whether it began while the callback was down.
    """

    bridge: Bridge
    text: str
    conversation: Conversation
    probe: bool
    answer: Deferred[Response] = attrs.field(factory=Deferred)


class Way:
    """
    A stream that is always up.
    """

    def whenUp(self) -> Deferred[None]:
        return succeed(None)

    def confirm(self, stanza: Element) -> Deferred[Element | None]:
        return succeed(None)


class Bridge:
    """
    One bridge, from its start to its end.
    """

    def __init__(self, domain: str, world: World, now: float) -> None:
        self.domain = domain
        self.world = world
        self.pausedUntil = 0.0
        self.ended: Deferred[None] | None = None
        self.clock = Clock()
        self.clock.advance(now)
        self.store = FakeStore(world.connection)
        self.journal = Journal(store=self.store, holder=domain, most=1000, clock=self.clock)
        self.replies = Replies(journal=self.journal, domain=domain, way=Way())
        self.outbox = Outbox(
            settings=SETTINGS,
            call=self.call,
            journal=self.journal,
            replied=self.replies.wake,
            clock=self.clock,
        )
        self.durable = Durable(
            journal=self.journal, outboxes=[self.outbox], replies=self.replies, clock=self.clock
        )
        self.durable.startService()

    async def call(self, stanza: Element, webhook: str) -> Response:
        return await self.world.called(self, stanza, webhook)


class World(RuleBasedStateMachine):
    """
    Two bridges, their database, and the receiver of their calls.

    @ivar accepted: the texts of what was accepted, by conversation, in order.
    @ivar refused: of what a sender was told is not: it may be delivered or not.
    @ivar settled: of what the receiver has taken, or refused for good.
    @ivar faults: what must not happen, and did.
    """

    def __init__(self) -> None:
        super().__init__()
        self.patches: list[Any] = [
            patch.object(journalModule, "PAGE", PAGE),
            patch.object(conversations, "PAGE", PAGE),
            patch.object(conversations, "MAX_HELD", MAX_HELD),
            patch.object(conversations, "CLAIMED", CLAIMED),
            patch.object(outbox, "AT_ONCE", AT_ONCE),
            patch.object(health, "uniform", lambda least, most: (least + most) / 2),
        ]
        for each in self.patches:
            each.start()
        globalLogPublisher.addObserver(self.observe)  # type: ignore[arg-type]  # a function is an observer
        self.connection = SQLiteConnection(":memory:")
        self.now = 1_800_000_000.0
        self.accepted: dict[Conversation, list[str]] = {}
        self.refused: set[str] = set()
        self.settled: set[str] = set()
        self.webhooks: dict[str, str] = {}
        self.open: list[Open] = []
        self.faults: list[str] = []
        self.sent = 0
        self.kind = False
        self.gone: list[Bridge] = []
        self.bridges = {domain: Bridge(domain, self, self.now) for domain in DOMAINS}

    def observe(self, event: LogEvent) -> None:
        if "log_failure" in event:
            self.faults.append(event["log_failure"].getTraceback())

    # What the bridges do.

    async def called(self, bridge: Bridge, stanza: Element, webhook: str) -> Response:
        """
        A bridge has begun a call.
        """
        text = str(stanza.body)
        conversation = (JID.parse(stanza["from"]).bare, JID.parse(stanza["to"]).bare)
        opened = Open(bridge, text, conversation, bridge.outbox._health.isDown(bridge.clock.seconds()))
        self.look(opened, webhook)
        if self.kind:
            self.settled.add(text)
            return response(200)
        self.open.append(opened)
        return await opened.answer

    def look(self, opened: Open, webhook: str) -> None:
        """
        Whether a call may be made.
        """
        bridge, text = opened.bridge, opened.text
        others = [each for each in self.open if each.bridge is bridge]
        if any(each.conversation == opened.conversation for each in others):
            self.faults.append(f"two calls of {opened.conversation} at once")
        if opened.probe and any(each.probe for each in others):
            self.faults.append("two probes at once")
        if bridge.clock.seconds() < bridge.pausedUntil:
            self.faults.append("a call in a pause that was asked for")
        if len(others) > AT_ONCE:
            self.faults.append("too many calls at once")
        if text not in self.webhooks and webhook in self.webhooks.values():
            self.faults.append("two messages under one webhook-id")
        before = [each for each in self.before(opened) if each in self.waiting()]
        if text not in self.webhooks and before:
            self.faults.append(f"{text} is called for before {before}")
        if self.webhooks.setdefault(text, webhook) != webhook:
            self.faults.append("one message under two webhook-ids")

    def before(self, opened: Open) -> list[str]:
        """
        What was accepted of a conversation before.
        """
        whole = self.accepted.get(opened.conversation, [])
        return whole[: whole.index(opened.text)] if opened.text in whole else []

    def texts(self, table: str) -> list[str]:
        rows = self.connection.execute(f"SELECT stanza FROM {table}").fetchall()
        return [str(stanza(xml).body) for (xml,) in rows]

    def waiting(self) -> list[str]:
        return self.texts("messages")

    # What happens.

    @rule(domain=st.sampled_from(DOMAINS), sender=st.integers(0, 4), many=st.integers(1, 5))
    def arrive(self, domain: str, sender: int, many: int) -> None:
        for _ in range(many):
            self.sent += 1
            text, conversation = f"text {self.sent}", (f"s{sender}@example.net", f"bot@{domain}")
            xml = f"<message from='{conversation[0]}/r' to='{conversation[1]}'><body>{text}</body></message>"
            # Until it is known, it may be both.
            self.accepted.setdefault(conversation, []).append(text)
            accepting = Deferred.fromCoroutine(self.bridges[domain].outbox.accept(stanza(xml)))
            accepting.addErrback(self.told, conversation, text)
            if not accepting.called:
                self.refused.add(text)
                accepting.addCallback(self.taken, text)

    def taken(self, _: None, text: str) -> None:
        self.refused.discard(text)

    def told(self, failure: Any, conversation: Conversation, text: str) -> None:
        failure.trap(StoreFailed)
        self.accepted[conversation].remove(text)
        self.refused.add(text)

    @precondition(lambda self: self.open)
    @rule(outcome=st.sampled_from(sorted(OUTCOMES)), data=st.data())
    def answer(self, outcome: str, data: st.DataObject) -> None:
        self.tell(data.draw(st.sampled_from(self.open), label="call"), outcome)

    @precondition(lambda self: self.open)
    @rule(outcome=st.sampled_from(sorted(OUTCOMES)))
    def answerAll(self, outcome: str) -> None:
        for opened in list(self.open):
            self.tell(opened, outcome)

    def tell(self, opened: Open, outcome: str) -> None:
        self.open.remove(opened)
        bridge, answer = opened.bridge, OUTCOMES[outcome]
        if outcome in FINAL:
            self.settled.add(opened.text)
        if outcome == "429":
            bridge.pausedUntil = max(bridge.pausedUntil, bridge.clock.seconds() + PAUSE)
        if isinstance(answer, Response):
            opened.answer.callback(answer)
        else:
            opened.answer.errback(answer)

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.0, 5.0, 12.0, 30.0, LEASE + 1]), steps=st.integers(1, 5))
    def passTime(self, seconds: float, steps: int) -> None:
        """
        A long step is that of a machine that has slept.
        """
        for _ in range(steps):
            self.now += seconds
            for bridge in list(self.bridges.values()):
                bridge.clock.advance(self.now - bridge.clock.seconds())

    @rule(domain=st.sampled_from(DOMAINS), broken=st.booleans(), lies=st.booleans())
    def storeFails(self, domain: str, broken: bool, lies: bool) -> None:
        store = self.bridges[domain].store
        store.broken, store.lies = broken, lies

    @rule(domain=st.sampled_from(DOMAINS), holds=st.booleans(), pieces=st.integers(1, 9))
    def storeWorks(self, domain: str, holds: bool, pieces: int) -> None:
        store = self.bridges[domain].store
        store.holds = holds
        store.work(pieces if holds else 1_000_000)

    @rule(domain=st.sampled_from(DOMAINS), committed=st.integers(0, 5))
    def crash(self, domain: str, committed: int) -> None:
        self.bridges[domain].store.die(committed)
        self.replace(self.bridges[domain])

    @rule(domain=st.sampled_from(DOMAINS))
    def stop(self, domain: str) -> None:
        bridge = self.bridges[domain]
        if bridge.ended is None:
            bridge.ended = bridge.durable.stopService()

    @precondition(lambda self: any(each.ended and each.ended.called for each in self.bridges.values()))
    @rule()
    def startAgain(self) -> None:
        for bridge in list(self.bridges.values()):
            if bridge.ended is not None and bridge.ended.called:
                bridge.store.die(1_000_000)
                self.replace(bridge)

    def replace(self, bridge: Bridge) -> None:
        # Nothing of it comes to an end any more, not even by the collection of garbage.
        self.gone.append(bridge)
        # The receiver may have taken what it was called for.
        self.open = [each for each in self.open if each.bridge is not bridge]
        self.bridges[bridge.domain] = Bridge(bridge.domain, self, self.now)

    # What holds.

    @invariant()
    def faultless(self) -> None:
        assert not self.faults, "\n".join(self.faults)

    @invariant()
    def nothingLost(self) -> None:
        there = {*self.waiting(), *self.texts("dead_letters"), *self.settled, *self.refused}
        assert not {text for texts in self.accepted.values() for text in texts} - there

    @invariant()
    def bounded(self) -> None:
        for bridge in self.bridges.values():
            held = bridge.outbox._conversations._held
            assert len(held) <= MAX_HELD
            assert all(len(each.loaded) <= PAGE for each in held.values())

    def teardown(self) -> None:
        try:
            self.settle()
        finally:
            globalLogPublisher.removeObserver(self.observe)  # type: ignore[arg-type]
            for each in self.patches:
                each.stop()
            for bridge in self.bridges.values():
                bridge.store.die(0)

    def settle(self) -> None:
        """
        Once all works again, all that waits is delivered.
        """
        for bridge in list(self.bridges.values()):
            bridge.store.broken = bridge.store.holds = False
            bridge.store.work()
            if bridge.ended is not None:
                bridge.store.die(0)
                self.replace(bridge)
        self.kind = True
        for opened in list(self.open):
            self.tell(opened, "200")
        for _ in range(int(LEASE) + 60):
            self.passTime(1.0, 1)
        self.faultless()
        self.nothingLost()
        assert not self.waiting(), self.waiting()
        assert all(bridge.journal.pending == 0 for bridge in self.bridges.values())


class OutboxTests(SynchronousTestCase):
    def test_histories(self) -> None:
        """
        In any history nothing is lost, and the messages of a conversation go in their order.
        """
        run_state_machine_as_test(World, settings=HISTORIES)
