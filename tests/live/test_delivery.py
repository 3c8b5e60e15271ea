"""
What durable webhooks and confirmed sends promise, while everything around them fails.

A promise is kept on SQLite with Prosody, and on PostgreSQL with ejabberd. What a user sent counts unless an
error came back for it. What the bridge has not read when it is killed is gone, since a component's stream has
no acknowledgements (XEP-0114); so the users also write to a witness, a receiver that never fails: what was
sent before something that the witness has is journalled, and what is journalled is never lost.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from statistics import median
from typing import Any
from xml.etree.ElementTree import Element

from tests.live.bridge import Bridge, componentTable
from tests.live.case import BRIDGE, LiveCase
from tests.live.client import CLIENT, Client, body, condition, kind
from tests.live.deliverycase import WITNESS, DeliveryCase, Interruption, Sender, Sent, disorder
from tests.live.ejabberd import Ejabberd
from tests.live.moody import (
    AWAY,
    BREAKS,
    FAILS,
    HANGS,
    OK,
    SLOW,
    Call,
    Mood,
    Moody,
    always,
    busy,
    inTurn,
)
from tests.live.postgresql import postgresql
from tests.live.process import NotInTime, eventually
from tests.live.prosody import Prosody
from tests.live.relay import Filter, Relay
from tests.live.web import Answer

SECOND = "bridge2.localhost"

FAULTS = (
    *(OK, FAILS, OK, SLOW, OK, BREAKS, OK, OK, busy(1), OK, HANGS, OK, OK, SLOW, FAILS, OK),
    *(busy(1, 429), OK, OK, AWAY, OK, OK),
)
"""Each of them, among successes."""

IN_TIME = 2.0
"""Seconds within which every request over HTTP is answered, whatever the server does."""

LEASE = 90.0
"""Seconds after which others have taken over what a dead bridge was about to deliver, with some to spare."""

ARCHIVE = (
    "<query xmlns='urn:xmpp:mam:2'><set xmlns='http://jabber.org/protocol/rsm'>"
    "<max>50</max>{after}</set></query>"
)

RSM = "{http://jabber.org/protocol/rsm}"


class Posters:
    """
    Post messages, each with a text of its own, as long as the C{with} block lasts.

    @ivar answers: by the texts.
    @ivar errors: requests without an answer.
    """

    def __init__(self, bridge: Bridge, to: str, count: int = 6) -> None:
        self._bridge = bridge
        self._to = to
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._post, args=(number,)) for number in range(count)]
        self.answers: dict[str, Answer] = {}
        self.errors: list[OSError] = []

    def __enter__(self) -> Posters:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join(30)

    def taken(self) -> set[str]:
        """
        The texts that were answered with 202.
        """
        return {text for text, answer in dict(self.answers).items() if answer.status == 202}

    def seeMore(self, count: int) -> None:
        """
        Wait until so many more are taken.
        """
        before = len(self.taken())
        eventually(lambda: len(self.taken()) >= before + count, f"{count} more posts", 30)

    def _post(self, poster: int) -> None:
        """
        As fast as the answers come, almost.
        """
        for number in itertools.count():
            if self._enough.wait(0.005):
                return
            text = f"{poster}-{number}"
            message = {"kind": "message", "type": "chat", "to": self._to, "body": text}
            try:
                self.answers[text] = self._bridge.post("/rest", json.dumps(message))
            except OSError as error:
                self.errors.append(error)


def _errorTo(sent: str, stanza: Element) -> bool:
    return kind(stanza) == "message" and stanza.get("type") == "error" and stanza.get("id") == sent


class Faults(DeliveryCase):
    """
    What durable callbacks promise whoever fails: the receiver, and the bridge itself.
    """

    def testKilled(self) -> None:
        """
        Three users write three hundred messages while the receiver fails in every way, and the bridge is
        killed twice with most of them in its journal: all are delivered.
        """
        moody, witness = self.moody(), self.moody()
        bridge = self._witnessed(moody, witness)
        senders = self.senders()
        for _ in range(2):
            moody.mood = inTurn(*FAULTS, then=FAILS)
            _atOnce(partial(sender.write, 36) for sender in senders)
            self.settle(senders, witness)
            self._assertBacklog(senders, moody)
            bridge.process.kill()
            moody.mood = inTurn(*FAULTS)
            bridge.start()
        _atOnce(partial(sender.write, 28) for sender in senders)
        self.settle(senders, witness)
        self.assertEqual([100] * 3, [_toBots(sender.accepted()) for sender in senders])
        self.assertKept(senders, lambda: moody.calls + witness.calls)

    def testKilledMidway(self) -> None:
        """
        A bridge killed while users write loses at most what it had not read yet.
        """
        moody, witness = self.moody(), self.moody()
        bridge = self._witnessed(moody, witness)
        senders = self.senders()
        interruptions = []
        with _writing(senders):
            for _ in range(2):
                moody.mood = inTurn(*FAULTS)
                _seeMore(moody, 20)
                bridge.process.kill()
                witnessed = _witnessed(witness.calls)
                bridge.start()
                interruptions.append(Interruption(witnessed, time.monotonic()))
            _seeMore(moody, 20)
        self.settle(senders, witness)
        self.assertKept(senders, lambda: moody.calls + witness.calls, interruptions)

    def testStopped(self) -> None:
        """
        A bridge stopped in good order while users write as fast as they can loses nothing.
        """
        moody, witness = self.moody(), self.moody()
        bridge = self._witnessed(moody, witness)
        senders = self.senders()
        for _ in range(2):
            with _writing(senders, pause=0.01):
                _seeMore(moody, 20)
                bridge.process.stop()
            bridge.start()
        self.settle(senders, witness)
        self.assertKept(senders, lambda: moody.calls + witness.calls)

    def _witnessed(self, moody: Moody, witness: Moody) -> Bridge:
        """
        A bridge with a receiver for everything, but for what is for the witness.
        """
        return self.durable(self.calling(witness, to=[f"{WITNESS}@*"]), self.calling(moody))

    def _assertBacklog(self, senders: Sequence[Sender], moody: Moody) -> None:
        """
        There is something to lose.
        """
        delivered = sum(call.accepted for call in moody.calls)
        self.assertGreater(sum(_toBots(sender.sent) for sender in senders) - delivered, 30)


def _toBots(sent: Iterable[Sent]) -> int:
    return sum(not each.to.startswith(WITNESS) for each in sent)


def _witnessed(calls: Iterable[Call]) -> dict[str, int]:
    """
    The last number of each user.
    """
    last: dict[str, int] = {}
    for call in calls:
        user = call.conversation[0]
        last[user] = max(int(call.text), last.get(user, 0))
    return last


def _atOnce(works: Iterable[Callable[[], None]]) -> None:
    """
    Do all of it, each in a thread.
    """
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)


@contextlib.contextmanager
def _writing(senders: Iterable[Sender], pause: float = 0.1) -> Iterator[None]:
    """
    Let all write as long as the block lasts.
    """
    enough = threading.Event()
    threads = [threading.Thread(target=sender.writeUntil, args=(enough, pause)) for sender in senders]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        enough.set()
        for thread in threads:
            thread.join(30)


def _seeMore(moody: Moody, count: int) -> None:
    """
    Wait for more calls to come.
    """
    before = len(moody.calls)
    eventually(lambda: len(moody.calls) >= before + count, f"{count} more calls", 30)


class Answers(DeliveryCase):
    """
    What follows from a receiver's answers, and from their absence.
    """

    def testPermanent(self) -> None:
        """
        A permanent refusal is told to the sender, and isn't tried again; the operator finds the message among
        the dead letters, and what comes next in the conversation is delivered.
        """
        moody = self.moody()
        bridge = self.durable(self.calling(moody))
        alice = self.login("alice")
        expected = {
            400: ("modify", "bad-request"),
            404: ("cancel", "item-not-found"),
            410: ("cancel", "gone"),
        }
        for status, error in expected.items():
            with self.part(str(status)):
                moody.mood = inTurn(Mood(status))
                sent = alice.message(f"bot{status}@{BRIDGE}", f"refused by {status}")
                self.assertEqual(error, condition(alice.expect(partial(_errorTo, sent))))
                alice.message(f"bot{status}@{BRIDGE}", f"after {status}")
                self._expectText(moody, f"after {status}")
                self.assertDead(bridge, f"bot{status}@")
        self.assertEqual([1] * 6, [call.attempt for call in moody.calls])

    def testReply(self) -> None:
        """
        A stanza in the answer goes to the sender once, and so it is after failures.
        """
        moody = self.moody()
        self.durable(self.calling(moody))
        alice = self.login("alice")
        moody.mood = inTurn(FAILS, BREAKS, then=Mood(200, '{"body": "hello yourself"}'))
        alice.message(f"bot@{BRIDGE}", "hello")
        reply = alice.expect(lambda one: kind(one) == "message", 15)
        self.assertEqual((f"bot@{BRIDGE}", "hello yourself"), (reply.get("from"), body(reply)))
        self.assertEqual([1, 2, 3], [call.attempt for call in moody.calls])
        self._assertSilent(alice)

    def testRetryAfter(self) -> None:
        """
        A receiver that says when to come again is left alone until then.
        """
        moodies = {status: self.moody() for status in (429, 503)}
        self.durable(
            *(self.calling(moody, to=[f"bot{status}@*"]) for status, moody in moodies.items()),
        )
        alice = self.login("alice")
        for status, moody in moodies.items():
            moody.mood = inTurn(busy(4, status))
            alice.message(f"bot{status}@{BRIDGE}", "busy?")
        for status, moody in moodies.items():
            with self.part(str(status)):
                eventually(moody.texts, "a second call", 15)
                first, second = moody.calls
                self.assertTrue(4.0 <= second.at - first.at < 9.0, f"came again in {second.at - first.at} s")

    def testPoison(self) -> None:
        """
        A message that always fails holds back its own conversation, and no other: not even while it is the
        oldest of all.
        """
        moody = self.moody()
        self.durable(self.calling(moody))
        alice, bob = self.login("alice"), self.login("bob")
        moody.mood = lambda call: FAILS if call.text == "poison" else OK
        alice.message(f"bot@{BRIDGE}", "poison")
        _seeMore(moody, 2)
        alice.message(f"bot@{BRIDGE}", "behind it")
        for number in range(10):
            alice.message(f"other{number}@{BRIDGE}", f"alice {number}")
            bob.message(f"bot@{BRIDGE}", f"bob {number}")
        eventually(lambda: len(moody.texts()) == 20, "the other conversations", 10)
        _seeMore(moody, 2)
        self.assertNotIn("behind it", [call.text for call in moody.calls])
        moody.mood = always(OK)
        self._expectText(moody, "behind it")
        self.assertEqual(["poison", "behind it"], moody.texts()[20:])
        self.assertEqual(22, len(moody.texts()))

    def testProbes(self) -> None:
        """
        A receiver that is down is asked after about 1, 2 and 4 seconds, by one message; when it is up, all
        that has waited comes at once.
        """
        moody = self.moody()
        self.durable(self.calling(moody, retries=[1], probes=[1, 4]))
        moody.mood = always(Mood(503))
        alice = self.login("alice")
        alice.message(f"bot0@{BRIDGE}", "0")
        _seeMore(moody, 2)
        for number in range(1, 40):
            alice.message(f"bot{number % 10}@{BRIDGE}", str(number))
        eventually(lambda: len(moody.calls) > 3, "three probes", 20)
        pauses = [later.at - earlier.at for earlier, later in itertools.pairwise(moody.calls)]
        for pause, least, most in zip(pauses, (0.5, 1.0, 2.0), (2.0, 4.0, 8.0), strict=True):
            self.assertTrue(least <= pause <= most, f"pauses: {pauses}")
        moody.mood = always(OK)
        eventually(lambda: len(moody.texts()) == 40, "everything", 15)
        flowed = [call.at for call in moody.calls if call.accepted]
        self.assertLess(max(flowed) - min(flowed), 2.0)
        self.assertEqual({}, disorder(moody.calls))

    def testFull(self) -> None:
        """
        A full journal takes no more: senders are told to wait, and what was taken is delivered.
        """
        moody = self.moody()
        self.durable(self.calling(moody), store={**self.freshStore(), "max_pending": 20})
        moody.mood = always(FAILS)
        sender = Sender(self.login("alice"), [BRIDGE])
        sender.write(60)
        errors = partial(sender.client.mailbox.all, lambda one: one.get("type") == "error")
        eventually(lambda: len(errors()) >= 40, "errors")
        self.assertEqual({("wait", "resource-constraint")}, set(map(condition, errors())))
        self.assertEqual(20, len(sender.accepted()))
        moody.mood = always(OK)
        self.assertKept([sender], lambda: moody.calls)
        self.assertEqual({sent.number for sent in sender.accepted()}, set(map(int, moody.texts())))
        sender.write(1)
        self._expectText(moody, "61")

    def testRequest(self) -> None:
        """
        A request is made at once and once, while its sender waits, whatever else waits for the same receiver.
        """
        moody = self.moody()
        self.durable(self.calling(moody, timeout=1))
        alice = self.login("alice")
        moody.mood = lambda call: Mood(200, '{"version": {"name": "Bot"}}') if call.kind == "iq" else FAILS
        for number in range(5):
            alice.message(f"bot@{BRIDGE}", str(number))
        _seeMore(moody, 2)
        took = []
        for _ in range(3):
            asked = time.monotonic()
            answer = alice.request(f"bot@{BRIDGE}", "<query xmlns='jabber:iq:version'/>")
            took.append(time.monotonic() - asked)
            self.assertEqual("Bot", answer.findtext("{jabber:iq:version}query/{jabber:iq:version}name"))
        self.assertLess(median(took), 0.9)
        for mood, error in ((FAILS, "internal-server-error"), (HANGS, ""), (BREAKS, "")):
            with self.part(repr(mood)):
                moody.mood = always(mood)
                answer = alice.request(f"bot@{BRIDGE}", "<query xmlns='jabber:iq:version'/>")
                self.assertEqual("error", answer.get("type"))
                self.assertIn(error, condition(answer)[1])
        moody.mood = always(OK)
        eventually(lambda: len(moody.texts()) >= 6, "the messages", 15)
        requests = [call for call in moody.calls if call.kind == "iq"]
        self.assertEqual([1] * 6, [call.attempt for call in requests])
        self.assertTrue(all(call.genuine for call in requests))

    def assertDead(self, bridge: Bridge, address: str) -> None:
        """
        The operator finds one message to this address, a dead letter.
        """
        listed = [line for line in self.outbox(bridge, "list").splitlines() if address in line]
        self.assertEqual(1, len(listed), listed)
        self.assertIn("dead", listed[0].lower())

    def _expectText(self, moody: Moody, text: str) -> None:
        eventually(lambda: text in moody.texts(), text, 15)

    def _assertSilent(self, client: Client) -> None:
        """
        Nothing more comes, not even after another try.
        """
        time.sleep(2.5)
        client.request(BRIDGE, "<ping xmlns='urn:xmpp:ping'/>")
        self.assertEqual([], client.mailbox.all(lambda one: kind(one) == "message"))


class Leaky(Relay):
    """
    A relay that can lose what the bridge says.

    @ivar leaks: set to lose it.
    @ivar lost: the bytes that were.
    """

    def __init__(self, port: int) -> None:
        self.leaks = threading.Event()
        self.lost = 0
        super().__init__(port)

    def _fromClient(self) -> Filter:
        """
        Nothing of it, while it leaks.
        """

        def leak(data: bytes) -> bytes:
            if not self.leaks.is_set():
                return data
            self.lost += len(data)
            return b""

        return leak


class Confirmations(DeliveryCase):
    """
    What a 202 promises.
    """

    def testCut(self) -> None:
        """
        However often the connection breaks, with how much still on its way: what was answered with 202 has
        arrived.
        """
        relay = Leaky(self.server.componentPort(SECOND))
        self.addCleanup(relay.close)
        bridge = self.startBridge(componentTable(relay.port, SECOND))
        alice = self.login("alice")
        with Posters(bridge, alice.jid) as posters:
            for _ in range(3):
                posters.seeMore(40)
                relay.leaks.set()
                eventually(lambda: relay.lost > 0, "something to be lost")
                relay.cut()
                relay.leaks.clear()
                relay.lost = 0
        self.assertAnswered(posters)

        def missing() -> set[str]:
            return posters.taken() - {
                str(body(one)) for one in alice.mailbox.all(lambda one: kind(one) == "message")
            }

        with contextlib.suppress(NotInTime):
            eventually(lambda: not missing(), "all messages", 5)
        self.assertEqual(set(), missing())

    def assertAnswered(self, posters: Posters) -> None:
        """
        Each request got its answer in time.
        """
        answers = posters.answers.values()
        self.assertEqual([], posters.errors)
        self.assertLessEqual({answer.status for answer in answers}, {202, 503})
        self.assertEqual([], [answer for answer in answers if answer.seconds >= IN_TIME])


class OnSQLite(Faults, Answers, Confirmations, LiveCase):
    """
    The promises on SQLite, with Prosody.
    """

    makeServer = Prosody

    def freshStore(self) -> dict[str, Any]:
        """
        In the bridge's own folder.
        """
        return {"url": "sqlite:outbox.sqlite"}

    def testServerRestart(self) -> None:
        """
        While the server is stopped and started, every request is answered in time, and what was answered with
        202 is in the archive.
        """
        bridge = self.durable()
        with Posters(bridge, "kate@localhost") as posters:
            posters.seeMore(200)
            self.addCleanup(self._reviveServer)
            self.server.stop()
            bridge.waitFor("/readyz", 503)
            eventually(lambda: len(posters.answers) - len(posters.taken()) > 20, "refusals")
            self.server.start()
            bridge.waitFor("/readyz", 200, 20)
            posters.seeMore(200)
        self.assertAnswered(posters)
        self.assertEqual(set(), posters.taken() - _archive(self.login("kate")))

    def _reviveServer(self) -> None:
        """
        Start it, if the test has not come to that.
        """
        if self.server.process.pid is None:
            self.server.start()


def _archive(client: Client) -> set[str]:
    """
    The texts in a user's archive.
    """
    after = ""
    while True:
        end = client.request(client.jid.partition("/")[0], ARCHIVE.format(after=after), "set")
        last = end.findtext(f".//{RSM}last")
        if last is None:
            break
        after = f"<after>{last}</after>"
    results = client.mailbox.all(lambda one: one.find(".//{urn:xmpp:mam:2}result") is not None)
    return {str(one.findtext(f".//{CLIENT}message/{CLIENT}body")) for one in results}


class OnPostgreSQL(Faults, Answers, Confirmations, LiveCase):
    """
    The promises on PostgreSQL, with ejabberd.
    """

    makeServer = Ejabberd

    def freshStore(self) -> dict[str, Any]:
        """
        A database of its own.
        """
        return {"url": postgresql().freshDatabase()}

    def testOneOfTwoKilled(self) -> None:
        """
        Of two bridges on one store, one is killed for ever: the other delivers what it had journalled.
        """
        moody, witness = self.moody(), self.moody()
        store = self.freshStore()
        callbacks = [self.calling(witness, to=[f"{WITNESS}@*"]), self.calling(moody)]
        doomed, _ = (self.durable(*callbacks, domain=domain, store=store) for domain in (BRIDGE, SECOND))
        senders = self.senders(BRIDGE, SECOND)
        moody.mood = inTurn(*[OK, SLOW] * 20, then=SLOW)
        _atOnce(partial(sender.write, 100) for sender in senders)
        self.settle(senders, witness)
        moody.mood = inTurn(*FAULTS, *[SLOW] * 10, HANGS, HANGS, HANGS)
        _seeMore(moody, 5)
        doomed.process.kill()
        self.assertLess(len(moody.texts()), 250, "nothing was left to lose")
        self.assertKept(senders, lambda: moody.calls + witness.calls, timeout=LEASE)

    def testStoreRestart(self) -> None:
        """
        A database that is restarted under load costs its users errors at most: what was accepted is
        delivered.
        """
        moody, witness = self.moody(), self.moody()
        self._witnessed(moody, witness)
        senders = self.senders()
        with _writing(senders):
            _seeMore(moody, 20)
            postgresql().restart()
            _seeMore(moody, 20)
        self.settle(senders, witness)
        self.assertKept(senders, lambda: moody.calls + witness.calls)
