"""
The logins that the bridge holds for XMPP users: how many there are, how long they last, and what ends them.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.live.bridge import Bridge, usersTable
from tests.live.case import LiveCase
from tests.live.client import Client, kind
from tests.live.ejabberd import Ejabberd
from tests.live.process import LOOPBACK, eventually, freePorts
from tests.live.prosody import Prosody
from tests.live.servers import HOST, passwordOf
from tests.live.users import WithUsers
from tests.live.web import Answer, asUser

MANY = 50
SOON = 5.0
"""Seconds within which a request is answered, if no other entity has to answer it."""


def askSilent(bridge: Bridge, name: str, client: Client, seconds: int) -> Answer:
    """
    As a user, ask a client that doesn't answer, and wait so long.
    """
    query = f'{{"kind": "iq", "type": "get", "ping": true, "to": "{client.jid}"}}'
    return bridge.post("/rest", query, auth=asUser(name), headers={"Prosody-Rest-Timeout": str(seconds)})


class Load:
    """
    Several users who ask and send without a pause, as long as the C{with} block lasts.

    @ivar answers: in the order in which they came.
    @ivar errors: requests without an answer.
    """

    def __init__(self, bridge: Bridge, names: Sequence[str]) -> None:
        self._bridge = bridge
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(name,), daemon=True) for name in names]
        self.answers: list[Answer] = []
        self.errors: list[OSError] = []

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join(60)

    def _ask(self, name: str) -> None:
        """
        Ask the own account, then send to a user who is away.
        """
        auth = asUser(name)
        while not self._enough.wait(0.01):
            try:
                self.answers.append(self._bridge.get("/rest/ping/", auth=auth))
                path = "/rest/message/headline/bob@localhost"
                self.answers.append(self._bridge.post(path, "x", "text/plain", auth=auth))
            except OSError as error:
                self.errors.append(error)


class Sessions(WithUsers):
    """
    One login for each user, opened on use, shared, let go.
    """

    def testManyUsers(self) -> None:
        """
        Fifty users who come at once all get in, by one login each.
        """
        names = [self.newUser() for _ in range(MANY)]
        answers = self._atOnce([asUser(name) for name in names])
        self.assertEqual([200] * MANY, [answer.status for answer in answers])
        self.assertEqual({f"{name}@{HOST}" for name in names}, set(map(_askedBy, answers)))
        self.assertEqual([1] * MANY, [self.server.logins(name) for name in names])

    def testManyRequests(self) -> None:
        """
        Fifty requests of one user that come at once share one login, and so does all that follows.
        """
        name = self.newUser()
        answers = self._atOnce([asUser(name)] * MANY)
        self.assertEqual([200] * MANY, [answer.status for answer in answers])
        self.assertEqual(1, self.server.logins(name))
        self.assertEqual([200] * 3, [self.ping(name).status for _ in range(3)])
        self.assertEqual(1, self.server.logins(name))

    def testSpellings(self) -> None:
        """
        However a user spells the address, it is the same login.
        """
        name = self.newUser()
        for spelling in (name, name.upper(), name.title()):
            self.assertEqual(200, self.ping(spelling, passwordOf(name)).status)
        self.assertEqual(1, self.server.logins(name))

    def testIdle(self) -> None:
        """
        A session that nobody uses is closed; the next request opens another.
        """
        bridge, bob, name = self._bridgeWith(idle=1), self.login("bob"), self.newUser()
        full = self.fullJid(name, bridge)
        self.assertTrue(self.isOnline(bob, full))
        eventually(lambda: not self.isOnline(bob, full), "the session to be let go", pause=0.1)
        self.assertEqual(1, self.server.logins(name))
        self.assertEqual(200, self.ping(name, bridge=bridge).status)
        self.assertEqual(2, self.server.logins(name))

    def testInUse(self) -> None:
        """
        A session in use stays, however seldom it is used within its time, and however long a request takes.
        """
        bridge, bob, name = self._bridgeWith(idle=1), self.login("bob"), self.newUser()
        bob.keepSilent()
        full = self.fullJid(name, bridge)
        until = time.monotonic() + 3
        while time.monotonic() < until:
            self.assertEqual(200, self.ping(name, bridge=bridge).status)
            time.sleep(0.4)
        waiting = askSilent(bridge, name, bob, 3)
        self.assertEqual(504, waiting.status, waiting.text())
        self.assertEqual((full, 1), (self.fullJid(name, bridge), self.server.logins(name)))

    def testMaxSessions(self) -> None:
        """
        Who finds all sessions taken gets 503, without a login, and gets in when one is let go. Those who have
        a session go on.
        """
        bridge = self._bridgeWith(idle=2, max_sessions=2)
        first, second, third = (self.newUser() for _ in range(3))
        for name in (first, second):
            self.assertEqual(200, self.ping(name, bridge=bridge).status)
        self.assertUnavailable(self.ping(third, bridge=bridge))
        self.assertEqual(0, self.server.logins(third))
        self.assertEqual(200, self.ping(first, bridge=bridge).status)
        eventually(lambda: self.ping(third, bridge=bridge).status == 200, "a session to be let go", pause=0.2)
        self.assertEqual([1, 1, 1], [self.server.logins(name) for name in (first, second, third)])

    def _bridgeWith(self, **settings: Any) -> Bridge:
        """
        A bridge with other settings for users.
        """
        return self.usersBridge(users={HOST: usersTable(self.server.c2sPort, **settings)})

    def _atOnce(self, auths: Sequence[str]) -> list[Answer]:
        """
        One request each, all at the same time.
        """
        together = threading.Barrier(len(auths))

        def one(auth: str) -> Answer:
            together.wait(30)
            return self.bridge.get("/rest/ping/", auth=auth)

        with ThreadPoolExecutor(len(auths)) as threads:
            return list(threads.map(one, auths))


class Ends(WithUsers):
    """
    What ends a session from the outside, and what its users see of it.
    """

    throughRelay = False

    def setUp(self) -> None:
        """
        The test before may have stopped the server; wait until the bridge has got over it.
        """
        super().setUp()
        self.bridge.waitFor("/readyz", 200, 40)

    def testEnded(self) -> None:
        """
        When the server ends a session, the next requests open another.
        """
        bob, name = self.login("bob"), self.newUser()
        full = self.fullJid(name)
        self.server.endSession(name)
        eventually(lambda: not self.isOnline(bob, full), "the session to end")
        self._eventually(name, 200, (503,))
        self.assertNotEqual(full, self.fullJid(name))
        self.assertEqual(2, self.server.logins(name))

    def testDeleted(self) -> None:
        """
        A deleted account is refused at the next request, open session or not.
        """
        bob, name = self.login("bob"), self.newUser()
        full = self.fullJid(name)
        self.server.deleteAccount(name)
        eventually(lambda: not self.isOnline(bob, full), "the session to end")
        self._eventually(name, 403, (503,))
        self.assertEqual(403, self.ping(name).status)

    def testRequestsInFlight(self) -> None:
        """
        A request that waits when the session ends gets 503 at once.
        """
        bob = self.login("bob")
        bob.keepSilent()
        for end in (self.server.endSession, self.server.deleteAccount):
            with self.part(end.__name__):
                name = self.newUser()
                with ThreadPoolExecutor(1) as thread:
                    waiting = thread.submit(askSilent, self.bridge, name, bob, 30)
                    bob.expect(lambda one: kind(one) == "iq" and one.get("type") == "get")
                    end(name)
                    self.assertUnavailable(waiting.result(SOON))

    def testRestart(self) -> None:
        """
        A restart of the server under load costs 503s, promptly; soon afterwards everyone is served again.
        """
        names = [self.newUser() for _ in range(10)]
        self.addCleanup(self._reviveServer)
        with Load(self.bridge, names) as load:
            eventually(lambda: len(load.answers) > 100, "requests to run")
            self.server.restart()
            for name in names:
                eventually(lambda name=name: self.ping(name).status == 200, f"{name} to be served")  # type: ignore[misc]
            before = len(load.answers)
            eventually(lambda: len(load.answers) > before + 100, "requests to run")
        self.assertEqual([], load.errors)
        self.assertEqual({200, 202, 503}, {answer.status for answer in load.answers})
        self.assertLess(max(answer.seconds for answer in load.answers), 10)
        for answer in load.answers:
            if answer.status == 503:
                self.assertUnavailable(answer)
        self.assertLessEqual({answer.status for answer in load.answers[-20:]}, {200, 202})

    def testUnreachable(self) -> None:
        """
        A server that isn't there, or that says nothing, costs a 503, and not much of the caller's time.
        """
        (dead,) = freePorts(1)
        mute = socket.create_server((LOOPBACK, 0))
        self.addCleanup(mute.close)
        for name, port in (("dead", dead), ("mute", mute.getsockname()[1])):
            with self.part(name):
                bridge = self.usersBridge(users={HOST: usersTable(port)})
                answer = self.ping("alice", bridge=bridge)
                self.assertUnavailable(answer)
                self.assertLess(answer.seconds, SOON)

    def _eventually(self, name: str, status: int, meanwhile: tuple[int, ...]) -> None:
        """
        A user is answered with this status; meanwhile, the bridge may have to learn what the server did.
        """

        def answered() -> bool:
            answer = self.ping(name)
            self.assertIn(answer.status, (status, *meanwhile), answer.text())
            return answer.status == status

        eventually(answered, f"{name} to be answered with {status}")

    def _reviveServer(self) -> None:
        """
        Start it, if the test has not come to that.
        """
        if self.server.process.pid is None:
            self.server.start()


def _askedBy(answer: Answer) -> str:
    """
    The bare address of who asked.
    """
    return str(answer.json()["to"]).partition("/")[0]


class OnProsody(Sessions, Ends, LiveCase):
    """
    Sessions on Prosody.
    """

    makeServer = Prosody


class OnEjabberd(Sessions, Ends, LiveCase):
    """
    Sessions on ejabberd.
    """

    makeServer = Ejabberd
