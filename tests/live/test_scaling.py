"""
More than one bridge: equal ones behind a load balancer, one of which dies under load; and a standby that
takes over, by the server's refusal on Prosody, by a lease in the store on ejabberd.

How long a take-over took is printed. Its bounds here are generous: they are to tell seconds from minutes.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from restbridge.standby import EVERY
from restbridge.store.lease import TERM, Lease
from tests.live.bridge import Bridge, botTable, componentTable
from tests.live.case import BRIDGE, LiveCase, Promises
from tests.live.client import body, kind
from tests.live.deliverycase import WITNESS, DeliveryCase
from tests.live.ejabberd import Ejabberd
from tests.live.moody import FAILS, OK, SLOW, always, inTurn
from tests.live.postgresql import PostgreSQL, postgresql
from tests.live.process import eventually, temporaryFolder
from tests.live.prosody import Prosody
from tests.live.relay import Filter, Relay
from tests.live.stored import StoredInPostgreSQL
from tests.live.users import saying
from tests.live.web import Answer, ask
from tests.store import test_lease

SECOND = "bridge2.localhost"

SOON = 8.0
"""Seconds in which a standby has taken over from a bridge that said that it goes."""

LATE = TERM + EVERY + SOON
"""Likewise, from one that said nothing, where a lease decides."""

OVERDUE = 90.0
"""Seconds after which others have taken over what a dead bridge was about to deliver, with some to spare."""


class Silence(Relay):
    """
    A cable that can swallow all that is said in both directions, with its connections open.

    @ivar swallows: set to do so.
    """

    def __init__(self, port: int) -> None:
        self.swallows = threading.Event()
        super().__init__(port)

    def _fromClient(self) -> Filter:
        return self._through

    def _fromServer(self) -> Filter:
        return self._through

    def _through(self, data: bytes) -> bytes:
        return b"" if self.swallows.is_set() else data


class Balancer:
    """
    Posts to several bridges in turn, as behind a load balancer: what isn't answered, or not now, is asked
    again of the next one, with the same key.

    @ivar done: the texts that were answered with 202, with whose answer it was.
    @ivar repeats: how many requests it took beyond one each.
    """

    def __init__(self, bridges: Sequence[Bridge], to: str) -> None:
        self._bridges = itertools.cycle(bridges)
        self._to = to
        self._lock = threading.Lock()
        self.done: dict[str, Answer] = {}
        self.repeats = 0

    @contextmanager
    def load(self, threads: int) -> Iterator[None]:
        """
        Have so many clients post as long as the block lasts, and to the end of what they have begun.
        """
        enough = threading.Event()
        clients = [threading.Thread(target=self._client, args=(name, enough)) for name in range(threads)]
        for client in clients:
            client.start()
        try:
            yield
        finally:
            enough.set()
            for client in clients:
                client.join(120)

    def seeMore(self, count: int) -> None:
        """
        Wait until so many more are done.
        """
        before = len(self.done)
        eventually(lambda: len(self.done) >= before + count, f"{count} more posts", 60)

    def post(self, text: str) -> Answer:
        """
        Post until it is taken.
        """
        deadline = time.monotonic() + 100
        while time.monotonic() < deadline:
            answer = self._once(text)
            if answer is not None and answer.status not in (409, 503):
                return answer
            self.repeats += 1
            time.sleep(0.2)
        raise AssertionError(f"{text} was never answered")

    def _client(self, name: int, enough: threading.Event) -> None:
        for number in itertools.count():
            if enough.wait(0.01):
                return
            text = f"{name}-{number}"
            self.done[text] = self.post(text)

    def _once(self, text: str) -> Answer | None:
        with self._lock:
            bridge = next(self._bridges)
        try:
            return bridge.post("/rest", message(text, self._to), headers={"Idempotency-Key": f'"{text}"'})
        except OSError:
            return None


def message(text: str, to: str) -> str:
    """
    A message as JSON; one that no archive keeps, since ejabberd's slows down as it grows.
    """
    return json.dumps({"kind": "message", "type": "headline", "to": to, "body": text})


def status(bridge: Bridge) -> int:
    """
    Of C{/readyz}; 0 where nobody answers.
    """
    try:
        return ask(bridge.port, "GET", "/readyz", timeout=5).status
    except OSError:
        return 0


class EqualsOnEjabberd(LiveCase):
    """
    Bridges with a domain each, on one ejabberd and one PostgreSQL.
    """

    makeServer = Ejabberd
    needsBridge = False

    def setUp(self) -> None:
        super().setUp()
        store = {"url": postgresql().freshDatabase()}
        self.bridges = [
            self.startBridge(componentTable(self.server.componentPort(domain), domain), store=store)
            for domain in (BRIDGE, SECOND)
        ]
        self.alice = self.login("alice")

    def arrivals(self) -> dict[str, list[tuple[str | None, str | None]]]:
        """
        The ids and senders of what has come to alice, by the texts.
        """
        for number, bridge in enumerate(self.bridges):
            # What was sent before is there when this is.
            self.assertEqual(202, bridge.post("/rest", message(f"last {number}", self.alice.jid)).status)
            self.alice.expect(saying(f"last {number}"))
        found: dict[str, list[tuple[str | None, str | None]]] = {}
        for one in self.alice.mailbox.all(
            lambda one: kind(one) == "message" and one.get("type") == "headline"
        ):
            found.setdefault(str(body(one)), []).append((one.get("id"), one.get("from")))
        return found

    def testOneKilled(self) -> None:
        """
        One of two is killed under load, and started again: each request is done, and done once. What was
        under way when it was killed, and only that, may come twice, with the same id.
        """
        balancer = Balancer(self.bridges, self.alice.jid)
        first, _ = self.bridges
        threads = 6
        with balancer.load(threads):
            balancer.seeMore(150)
            first.process.kill()
            balancer.seeMore(150)
            first.start()
            balancer.seeMore(150)
        arrived = self.arrivals()
        self.assertEqual({202}, {answer.status for answer in balancer.done.values()})
        self.assertEqual(set(), set(balancer.done) - set(arrived), "lost")
        twice = {text: came for text, came in arrived.items() if len(came) > 1}
        self.assertEqual({}, {text: came for text, came in twice.items() if len({i for i, _ in came}) > 1})
        self.assertLessEqual(len(twice), threads)
        senders = {str(sender).partition("/")[0] for came in arrived.values() for _, sender in came}
        self.assertEqual({f"bot@{BRIDGE}", f"bot@{SECOND}"}, senders, "both have worked")
        print(f"\n{len(balancer.done)} posted, {balancer.repeats} repeats, {len(twice)} came twice")

    def testRepeated(self) -> None:
        """
        What one has answered the other knows: it is not sent again.
        """
        for bridge, key in zip(self.bridges, ("k2", "k3"), strict=True):
            for other in (bridge, *self.bridges):
                answer = other.post("/rest", message(key, self.alice.jid), headers={"Idempotency-Key": key})
                self.assertEqual(202, answer.status)
        arrived = self.arrivals()
        self.assertEqual([1, 1], [len(arrived[key]) for key in ("k2", "k3")])
        self.assertEqual([f"bot@{BRIDGE}", f"bot@{SECOND}"], [arrived[key][0][1] for key in ("k2", "k3")])


class Standbys(Promises):
    """
    Two bridges for one domain.

    @cvar killed: seconds in which the standby has taken over from a bridge that was killed.
    """

    needsBridge = False
    killed: float

    def more(self) -> dict[str, Any]:
        """
        What the section C{[component]} has beside the ordinary.
        """
        raise NotImplementedError

    def sectionsOf(self) -> dict[str, Any]:
        """
        Further sections of the configuration.
        """
        return {}

    def begin(self, ready: bool = True, **sections: Any) -> Bridge:
        """
        Another bridge for the domain.
        """
        component = {**componentTable(self.server.componentPort(BRIDGE)), **self.more()}
        return self.startBridge(component, ready, **{"accounts": {"bot": botTable()}, **sections})

    def pair(self, **sections: Any) -> tuple[Bridge, Bridge]:
        """
        One that serves, and one that stands by.
        """
        sections = {**self.sectionsOf(), **sections}
        active, standby = self.begin(**sections), self.begin(ready=False, **sections)
        self.assertWaits(standby)
        return active, standby

    def assertWaits(self, bridge: Bridge) -> None:
        """
        It stands by, and says so.
        """
        words = "waiting as a standby: "
        eventually(lambda: bridge.waitFor("/readyz", 503).text().startswith(words), "the reason", 20)
        self.assertEqual(200, ask(bridge.port, "GET", "/healthz").status)

    def assertServes(self, bridge: Bridge) -> None:
        """
        All that is asked of it is answered: nobody else is sent the answers.
        """
        for _ in range(20):
            answer = bridge.get("/rest/ping/localhost")
            self.assertEqual((200, "result"), (answer.status, answer.json().get("type")))

    def takesOver(self, standby: Bridge, since: float, within: float, what: str) -> None:
        """
        Wait until it does.
        """
        standby.waitFor("/readyz", 200, 2 * within)
        seconds = time.monotonic() - since
        print(f"\n{self.server.name}: the standby serves {seconds:.1f} s after {what}")
        self.assertLess(seconds, within)
        self.assertServes(standby)

    def testWaits(self) -> None:
        """
        While one serves the other waits: it takes nothing, says why, and logs it once.
        """
        active, standby = self.pair()
        since = standby.process.logSize()
        self.assertServes(active)
        answer = standby.post("/rest", message("in vain", "alice@localhost"))
        self.assertEqual(503, answer.status)
        self.assertIn("waiting as a standby", answer.text())
        time.sleep(3 * EVERY)
        self.assertServes(active)
        self.assertEqual(503, status(standby))
        self.assertNotIn("waiting as a standby", standby.process.log(since))
        self.assertEqual(1, standby.process.log().count("waiting as a standby"))

    def testKilled(self) -> None:
        """
        When the one is killed the other takes over; the one, started again, waits.
        """
        active, standby = self.pair()
        since = time.monotonic()
        active.process.kill()
        self.takesOver(standby, since, self.killed, "SIGKILL")
        active.start(ready=False)
        self.assertWaits(active)
        self.assertServes(standby)

    def testStopped(self) -> None:
        """
        When it is stopped in order the other takes over within moments; and back.
        """
        active, standby = self.pair()
        for one, other in ((active, standby), (standby, active)):
            since = time.monotonic()
            self.assertEqual(0, one.process.stop())
            self.takesOver(other, since, SOON, "SIGTERM")
            one.start(ready=False)
            self.assertWaits(one)


class LeasesOnPostgreSQL(StoredInPostgreSQL, test_lease.LeaseTests):
    """
    What L{restbridge.store.lease} promises, on PostgreSQL.
    """

    async def test_race(self) -> None:
        """
        Of several that take it at the same time one has it; when its term is over, too.
        """
        names = [f"bridge {number}" for number in range(4)]
        bridges = [Lease(store=self.started(), name=test_lease.NAME, holder=name) for name in names]
        for _ in range(20):
            others = await gatherResults([Deferred.fromCoroutine(one.take()) for one in bridges])
            self.assertEqual(1, others.count(None))
            self.assertEqual({None, names[others.index(None)]}, set(others))
            await self.expire()


class StandbyOnProsody(Standbys, LiveCase):
    """
    Prosody refuses the second connection: nothing has to be configured, and no store is shared.
    """

    makeServer = Prosody
    killed = SOON

    def more(self) -> dict[str, Any]:
        return {}


class LeaseOnProsody(Standbys, LiveCase):
    """
    With a lease it does as well; it may be in a file, for bridges on one machine.
    """

    makeServer = Prosody
    killed = LATE

    def more(self) -> dict[str, Any]:
        return {"standby": True}

    def sectionsOf(self) -> dict[str, Any]:
        folder = self.enterContext(temporaryFolder("shared"))
        return {"store": {"url": f"sqlite:{folder / 'shared.sqlite'}"}}


class LeaseOnEjabberd(Standbys, DeliveryCase, LiveCase):
    """
    ejabberd would take both, and send each a part: a lease in the store decides.
    """

    makeServer = Ejabberd
    killed = LATE

    def more(self) -> dict[str, Any]:
        return {"standby": True}

    def sectionsOf(self) -> dict[str, Any]:
        return {"store": self.freshStore()}

    def freshStore(self) -> dict[str, Any]:
        return {"url": postgresql().freshDatabase()}

    def testOutbox(self) -> None:
        """
        What the one had journalled when it was killed the other delivers, in order with what comes next, and
        the replies have the address that was written to.
        """
        moody, witness = self.moody(), self.moody()
        messages = {"stanzas": ["message"]}
        callbacks = [
            self.calling(witness, to=[f"{WITNESS}@*"], **messages),
            self.calling(moody, **messages),
        ]
        active, standby = self.pair(callbacks=callbacks)
        moody.mood = always(FAILS)
        senders = self.senders()
        for sender in senders:
            sender.write(20)
        self.settle(senders, witness)
        active.process.kill()
        standby.waitFor("/readyz", 200, LATE)
        moody.mood = inTurn(*[OK, SLOW] * 20, then=OK)
        for sender in senders:
            sender.write(20)
            # Behind what has been written; an error would have come before the answer.
            sender.client.request(BRIDGE, "<ping xmlns='urn:xmpp:ping'/>")
        self.assertEqual([40 + 1] * 3, [len(sender.accepted()) for sender in senders])
        self.assertKept(senders, lambda: moody.calls + witness.calls, timeout=OVERDUE)

    def testStoreRestart(self) -> None:
        """
        A database that is restarted costs no stream.
        """
        own = self._ownDatabase()
        active, standby = self.pair(store={"url": own.freshDatabase()})
        since = active.process.logSize()
        own.restart()
        for _ in range(int(TERM)):
            time.sleep(1)
            self.assertEqual((200, 503), (status(active), status(standby)))
        self.assertNotIn("The XMPP stream is down", active.process.log(since))
        self.assertServes(active)

    def testStoreGone(self) -> None:
        """
        One that stays away has the stream closed, since nobody knows then who else is there; when it is back
        one of the two serves.
        """
        own = self._ownDatabase()
        pair = self.pair(store={"url": own.freshDatabase()})
        own.stop()
        eventually(lambda: not self._serving(pair), "the stream to be closed", TERM)
        own.start()
        eventually(lambda: self._serving(pair), "one of them to serve", SOON + 5)
        self._assertOne(pair, TERM)

    def testCutOff(self) -> None:
        """
        One that doesn't hear of the database any more, while others do, is gone before another takes over;
        and waits when it hears of it again.
        """
        cable = Silence(postgresql().port)
        self.addCleanup(cable.close)
        url = postgresql().freshDatabase()
        behind = url.replace(f":{cable.target}/", f":{cable.port}/")
        active = self.begin(store={"url": behind})
        standby = self.begin(ready=False, store={"url": url})
        self.assertWaits(standby)
        since = time.monotonic()
        cable.swallows.set()
        while status(standby) != 200:
            # It is asked first: what is connected after that is connected at the same time.
            self.assertLess(time.monotonic() - since, LATE)
            self.assertIn((status(standby), status(active)), ((503, 200), (503, 503), (200, 503)))
        self.takesOver(standby, since, LATE, "the cable to the database swallowed all")
        cable.swallows.clear()
        cable.cut()
        self._assertOne((active, standby), 2 * EVERY)
        self.assertServes(standby)

    def _ownDatabase(self) -> PostgreSQL:
        own = PostgreSQL()
        self.addCleanup(own.close)
        return own.start()

    def _serving(self, bridges: Iterable[Bridge]) -> list[Bridge]:
        return [bridge for bridge in bridges if status(bridge) == 200]

    def _assertOne(self, bridges: Sequence[Bridge], seconds: float) -> None:
        """
        One of them serves, for so long.
        """
        (serving,) = self._serving(bridges)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.assertEqual([serving], self._serving(bridges))
            time.sleep(0.1)
        self.assertServes(serving)
